"""The viewport of the window."""
