"""Readers of labelled frames, one module a format."""
