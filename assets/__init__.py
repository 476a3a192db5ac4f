"""Fitted loss models, reference data and icons that ship with mldsim."""
