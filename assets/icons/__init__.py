"""Shipped icons."""
