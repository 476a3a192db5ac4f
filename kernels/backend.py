"""Which device computes, and why not the others.

A backend is a small set of functions with the same signatures on every device, see `kernels.cpu.compiled`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class DeviceReport(NamedTuple):
    """What was found out about a device."""

    kind: str
    name: str
    usable: bool
    reason: str


class Kernels(NamedTuple):
    """The kernels of one device for one number of radial functions and highest rank."""

    gradients: Callable[..., None]
    forces: Callable[..., None]
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]


def probe() -> list[DeviceReport]:
    """All devices, usable or not, each with one sentence why; the preferred one first."""
    from mldsim.kernels import cuda

    usable, name, reason = cuda.available()
    return [DeviceReport("cuda", name, usable, reason), _cpu("")]


def _cpu(reason: str) -> DeviceReport:
    import numba

    threads = numba.get_num_threads()
    name = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    return DeviceReport("cpu", name, True, reason or f"Numba kernels on {os.cpu_count()} cores.")


def choose(kind: str) -> DeviceReport:
    """The device for ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    ValueError
        If ``cuda`` was asked for and cannot be used; the text is one sentence for the user.
    """
    if kind == "cpu":
        return _cpu("The CPU was asked for.")
    gpu = probe()[0]
    if gpu.usable:
        return gpu
    if kind == "cuda":
        raise ValueError(f"The CUDA device cannot be used: {gpu.reason}")
    return _cpu(f"No GPU is used: {gpu.reason}")


def kernels(kind: str, n_radial: int, max_rank: int) -> Kernels:
    """The kernels of a device; they compile on their first call."""
    if kind == "cuda":
        from mldsim.kernels import cuda

        return Kernels(*cuda.compiled(n_radial, max_rank), cuda.put, cuda.get)
    from mldsim.kernels import cpu

    return Kernels(*cpu.compiled(n_radial, max_rank), np.asarray, np.asarray)
