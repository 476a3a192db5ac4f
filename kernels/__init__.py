"""Numerical kernels: arrays in, arrays out. No classes of ours, no files, no Qt."""
