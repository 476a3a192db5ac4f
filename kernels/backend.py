"""Which device computes, and why not the others.

A backend is a small set of functions with the same signatures on every device, see `kernels.cpu.compiled`.

The question whether there is a GPU is put to the NVIDIA driver first, which takes a millisecond; only when it shows one
is Numba's CUDA target imported and tried.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

OLDEST_CUDA = 12000
"""As `cuDriverGetVersion` counts: the CUDA version that a driver must support for the extras of this package."""

# Results of cuInit, from the CUDA driver API's CUresult.
_SUCCESS, _STUB_LIBRARY, _INSUFFICIENT_DRIVER, _NO_DEVICE, _DRIVER_MISMATCH = 0, 34, 35, 100, 803


class DeviceReport(NamedTuple):
    """What was found out about a device.

    Attributes
    ----------
    kind : str
        ``cpu`` or ``cuda``.
    name : str
        For the status line: ``CPU, 2 threads``, ``NVIDIA H200``.
    usable : bool
    reason : str
        One sentence: why it cannot be used, why it was chosen, or what there is to know about it.
    """

    kind: str
    name: str
    usable: bool
    reason: str


class Kernels(NamedTuple):
    """The kernels of one device for one number of radial functions and highest rank, see `kernels.cpu`."""

    gradients: Callable[..., None]
    forces: Callable[..., None]
    neighbors: Callable[..., tuple[Any, ...]]
    lanes: Callable[[int], int]
    table: Callable[[np.ndarray], np.ndarray]
    put: Callable[[np.ndarray], Any]
    get: Callable[[Any], np.ndarray]


class Mutual(NamedTuple):
    """The kernels of the parts that are not local (`kernels.mutual`): see `compiled_hops` and `compiled_give_back` of
    `kernels.cpu`, and `kernels.waves.compiled`."""

    hops: Callable[..., None]
    waves: Callable[..., None]
    give_back: Callable[..., None]


class _Unusable(Exception):
    """Why there is no GPU to compute on: a clause that can follow a colon or, capitalised, stand alone."""


def probe() -> list[DeviceReport]:
    """All devices, usable or not, each with one sentence about it; the preferred one first. Never raises."""
    gpu = _cuda()
    return [
        gpu._replace(reason=_capitalised(gpu.reason)),
        _cpu("It is always there; NUMBA_NUM_THREADS sets the number of threads."),
    ]


def choose(kind: str) -> DeviceReport:
    """The device for ``auto``, ``cpu`` or ``cuda``; its reason says why it is this one.

    Raises
    ------
    ValueError
        If ``cuda`` was asked for and cannot be used, or there is no such device; the text is one sentence for the user.
    """
    if kind not in ("auto", "cpu", "cuda"):
        raise ValueError(f"There is no device {kind!r}; the devices are auto, cpu and cuda.")
    if kind == "cpu":
        return _cpu("The CPU was asked for.")
    gpu = _cuda()
    if kind == "cuda":
        if not gpu.usable:
            raise ValueError(f"The GPU cannot be used: {gpu.reason}")
        return gpu._replace(reason="CUDA was asked for.")
    if not gpu.usable:
        return _cpu(f"No GPU is used: {gpu.reason}")
    if _simulating():
        return _cpu("No GPU is used: only Numba's CUDA simulator is there.")
    return gpu._replace(reason="The GPU was found and is preferred.")


def kernels(kind: str, n_radial: int, max_rank: int, n_hops: int = 0) -> Kernels:
    """The kernels of a device that `choose` returned; they compile on their first call."""
    if kind == "cuda":
        from mldsim.kernels import cuda

        passes = cuda.compiled(n_radial, max_rank, n_hops)
        return Kernels(*passes, cuda.neighbors, cuda.lanes, cuda.table, cuda.put, cuda.get)
    from mldsim.kernels import cpu, radial

    passes = cpu.compiled(n_radial, max_rank, n_hops)
    return Kernels(*passes, cpu.neighbors, cpu.lanes, radial.polynomials, np.asarray, np.asarray)


def cubic_kernel(kind: str, n_radial: int, max_rank: int, n_channels: int) -> Callable[..., None]:
    """The kernel of the cubic part, see `kernels.cpu.compiled_cubic`; it compiles on its first call."""
    if kind == "cuda":
        from mldsim.kernels import cuda

        return cuda.compiled_cubic(n_radial, max_rank, n_channels)
    from mldsim.kernels import cpu

    return cpu.compiled_cubic(n_radial, max_rank, n_channels)


def mutual_kernels(kind: str, n_radial: int, max_rank: int, n_channels: int) -> Mutual:
    """The kernels of the parts that are not local; they compile on their first call."""
    if kind == "cuda":
        from mldsim.kernels import cuda

        give_back = cuda.compiled_give_back(n_radial, max_rank, n_channels)
        return Mutual(cuda.compiled_hops(n_radial, n_channels), cuda.compiled_waves(), give_back)
    from mldsim.kernels import cpu, waves

    give_back = cpu.compiled_give_back(n_radial, max_rank, n_channels)
    return Mutual(cpu.compiled_hops(n_radial, n_channels), waves.compiled(), give_back)


def _cpu(reason: str) -> DeviceReport:
    import numba

    threads = numba.get_num_threads()
    return DeviceReport("cpu", f"CPU, {threads} thread{'s' if threads > 1 else ''}", True, reason)


@cache
def _cuda() -> DeviceReport:
    """The GPU, tried once per process; the reason is a clause, see `_Unusable`."""
    if _simulating():
        return DeviceReport(
            "cuda", "CUDA simulator", True, "NUMBA_ENABLE_CUDASIM is set, so kernels run in Numba's slow simulator."
        )
    try:
        driver = _load_driver()
        version = _started(driver)
        name = _name(driver)
        _try(f"pip install 'mldsim[cuda{13 if version >= 13000 else 12}]'")
    except _Unusable as why:
        return DeviceReport("cuda", "NVIDIA GPU", False, str(why))
    return DeviceReport("cuda", name, True, f"the driver supports CUDA {_dotted(version)} and a test kernel ran.")


def _simulating() -> bool:
    """Whether Numba was imported with its CUDA simulator in the place of CUDA."""
    import numba

    return bool(numba.config.ENABLE_CUDASIM)


def _load_driver() -> Any:
    if sys.platform == "darwin":
        raise _Unusable("macOS has no CUDA.")
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        raise _Unusable(f"no NVIDIA driver was found ({DRIVER} is missing).") from None


def _started(driver: Any) -> int:
    """Start the driver; returns the CUDA version it supports, 13000 for 13.0."""
    found = ctypes.c_int()
    # Answers without a GPU and before cuInit, so that an old driver is called old and not broken.
    if driver.cuDriverGetVersion(ctypes.byref(found)) == _SUCCESS and 0 < found.value < OLDEST_CUDA:
        raise _Unusable(
            f"the NVIDIA driver is too old (it supports CUDA {_dotted(found.value)}, {_dotted(OLDEST_CUDA)} is needed)."
        )
    result = driver.cuInit(0)
    if result == _NO_DEVICE:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        because = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES is {hidden!r})"
        raise _Unusable(f"the NVIDIA driver shows no GPU{because}.")
    if result in (_STUB_LIBRARY, _INSUFFICIENT_DRIVER, _DRIVER_MISMATCH):
        raise _Unusable(f"{DRIVER} does not belong to a running NVIDIA driver (CUDA error {result}); reinstall it.")
    if result != _SUCCESS:
        raise _Unusable(f"the NVIDIA driver does not start (CUDA error {result}).")
    if driver.cuDeviceGetCount(ctypes.byref(found)) != _SUCCESS or found.value < 1:
        raise _Unusable("the NVIDIA driver shows no GPU.")
    driver.cuDriverGetVersion(ctypes.byref(found))
    return found.value


def _name(driver: Any) -> str:
    """Name of the first device, the one Numba computes on."""
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuDeviceGet(ctypes.byref(device), 0) != _SUCCESS:
        return "NVIDIA GPU"
    driver.cuDeviceGetName(text, len(text), device)
    return text.value.decode(errors="replace") or "NVIDIA GPU"


def _try(install: str) -> None:
    """Compile and run a kernel: the only sure sign that driver, toolkit and GPU fit together."""
    # Missing or mismatched parts of the CUDA toolkit raise whatever they like, and none of it may stop the program.
    try:
        from mldsim.kernels import cuda

        cuda.compile_test_kernel()
    except Exception as error:
        raise _Unusable(f"Numba's CUDA compiler is missing ({summary(error)}); install it with {install}.") from error
    try:
        from mldsim.kernels import cuda_outbox
    except Exception as error:
        raise _Unusable(f"CuPy is missing ({summary(error)}); install it with {install}.") from error
    try:
        cuda.run_test_kernel()
        cuda_outbox.check()
    except Exception as error:
        raise _Unusable(f"the GPU did not run a test kernel ({summary(error)}).") from error


def summary(error: Exception) -> str:
    """Kind and first line of an error, for people."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('. :')}" if lines else type(error).__name__


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _capitalised(clause: str) -> str:
    return clause if clause.startswith("macOS") else clause[:1].upper() + clause[1:]
