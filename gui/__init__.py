"""The desktop application: views, and the controller that joins them to a running simulation."""
