"""Which device is chosen, and what is said about it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mldsim.kernels
from mldsim.kernels import backend


class FakeDriver:
    """An NVIDIA driver as far as the probe asks it."""

    def __init__(self, *, version: int = 13000, init: int = 0, devices: int = 1) -> None:
        self.version, self.init, self.devices = version, init, devices

    def cuDriverGetVersion(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self.version
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.init

    def cuDeviceGetCount(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self.devices
        return 0

    def cuDeviceGet(self, found: Any, ordinal: int) -> int:  # noqa: N802
        found._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, text: Any, size: int, device: Any) -> int:  # noqa: N802
        text.value = b"NVIDIA H200"
        return 0


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(backend, "_simulating", lambda: False)
    backend._cuda.cache_clear()
    yield
    backend._cuda.cache_clear()


def drive(monkeypatch: pytest.MonkeyPatch, driver: FakeDriver) -> None:
    monkeypatch.setattr(backend, "_load_driver", lambda: driver)


def is_a_sentence(text: str) -> bool:
    return text.endswith(".") and not text.endswith("..") and text[0] == text[0].upper() and "\n" not in text


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "DRIVER", "libcuda-that-nobody-has.so.1")
    monkeypatch.setattr(backend.sys, "platform", "linux")
    gpu, cpu = backend.probe()
    assert (gpu.kind, gpu.usable) == ("cuda", False)
    assert gpu.reason == "No NVIDIA driver was found (libcuda-that-nobody-has.so.1 is missing)."
    assert (cpu.kind, cpu.usable) == ("cpu", True)
    chosen = backend.choose("auto")
    assert chosen.kind == "cpu"
    assert chosen.reason == "No GPU is used: no NVIDIA driver was found (libcuda-that-nobody-has.so.1 is missing)."
    with pytest.raises(
        ValueError, match=r"^The GPU cannot be used: no NVIDIA driver was found \(libcuda-that"
    ) as refused:
        backend.choose("cuda")
    assert is_a_sentence(str(refused.value))


@pytest.mark.parametrize(
    ("driver", "says"),
    [
        (FakeDriver(version=11040), "The NVIDIA driver is too old (it supports CUDA 11.4, 12.0 is needed)."),
        (FakeDriver(init=100), "The NVIDIA driver shows no GPU."),
        (FakeDriver(devices=0), "The NVIDIA driver shows no GPU."),
        (FakeDriver(init=999), "The NVIDIA driver does not start (CUDA error 999)."),
    ],
)
def test_a_driver_without_use(driver: FakeDriver, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, driver)
    assert backend.probe()[0].reason == says
    assert backend.choose("auto").reason == "No GPU is used: the" + says.removeprefix("The")


def test_a_broken_driver_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, FakeDriver(init=34))
    assert "does not belong to a running NVIDIA driver (CUDA error 34)" in backend.probe()[0].reason
    assert is_a_sentence(backend.probe()[0].reason)


def test_hidden_devices_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, FakeDriver(init=100))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert backend.probe()[0].reason == "The NVIDIA driver shows no GPU (CUDA_VISIBLE_DEVICES is '')."


@pytest.mark.parametrize(("version", "extra"), [(12080, "cuda12"), (13000, "cuda13")])
def test_a_missing_compiler_is_told_with_the_extra_to_install(
    version: int, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise RuntimeError("libNVVM cannot be found.\nDo this and that:")

    drive(monkeypatch, FakeDriver(version=version))
    cuda = pytest.importorskip("mldsim.kernels.cuda", exc_type=ImportError)
    monkeypatch.setattr(cuda, "compile_test_kernel", missing)
    reason = backend.probe()[0].reason
    assert "libNVVM cannot be found" in reason
    assert reason.endswith(f"pip install 'mldsim[{extra}]'.")
    assert is_a_sentence(reason)
    assert backend.choose("auto").kind == "cpu"


def test_missing_cupy_is_told_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, FakeDriver())
    cuda = pytest.importorskip("mldsim.kernels.cuda", exc_type=ImportError)
    monkeypatch.setattr(cuda, "compile_test_kernel", lambda: None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "mldsim.kernels.cuda_outbox", raising=False)
    monkeypatch.delattr(mldsim.kernels, "cuda_outbox", raising=False)
    reason = backend.probe()[0].reason
    assert reason.startswith("CuPy is missing (ModuleNotFoundError")
    assert reason.endswith("install it with pip install 'mldsim[cuda13]'.")
    assert is_a_sentence(reason)
    assert backend.choose("auto").kind == "cpu"


def test_a_gpu_that_runs_nothing_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("it computed wrong numbers")

    drive(monkeypatch, FakeDriver())
    cuda = pytest.importorskip("mldsim.kernels.cuda", exc_type=ImportError)
    monkeypatch.setattr(cuda, "compile_test_kernel", lambda: None)
    monkeypatch.setattr(cuda, "run_test_kernel", broken)
    monkeypatch.setattr(mldsim.kernels, "cuda_outbox", SimpleNamespace(check=lambda: None), raising=False)
    assert backend.choose("auto").kind == "cpu"
    assert "did not run a test kernel (RuntimeError: it computed wrong numbers)." in backend.probe()[0].reason


def test_a_gpu_is_preferred_when_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    drive(monkeypatch, FakeDriver())
    monkeypatch.setattr(backend, "_try", lambda install: None)
    assert backend.probe()[0] == ("cuda", "NVIDIA H200", True, "The driver supports CUDA 13.0 and a test kernel ran.")
    assert backend.choose("auto")[:3] == ("cuda", "NVIDIA H200", True)
    assert backend.choose("cuda").reason == "CUDA was asked for."
    assert backend.choose("cpu").kind == "cpu"


def test_the_simulator_is_used_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "_simulating", lambda: True)
    assert backend.probe()[0].name == "CUDA simulator"
    assert backend.probe()[0].usable
    assert backend.choose("cuda").kind == "cuda"
    chosen = backend.choose("auto")
    assert chosen.kind == "cpu"
    assert is_a_sentence(chosen.reason)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'tpu'; the devices are auto, cpu and cuda\.$"):
        backend.choose("tpu")


def test_cpu_says_how_many_threads() -> None:
    import numba

    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        assert backend.choose("cpu").name == "CPU, 1 thread"
    finally:
        numba.set_num_threads(before)


def test_probe_asks_the_driver_before_importing_anything_for_cuda() -> None:
    if backend.probe()[0].usable:
        pytest.skip("there is a GPU, so the CUDA target is needed")
    code = "import sys; from mldsim.kernels import backend; backend.probe(); print('numba.cuda' in sys.modules)"
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_kernels_import_where_no_cache_can_be_written(tmp_path: Path) -> None:
    """A read-only install of a user without a home; made of files where folders should be, which stops root as well."""
    package = tmp_path / "site" / "mldsim"
    kernels = Path(backend.__file__).parent
    shutil.copytree(kernels, package / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels" / "__pycache__").write_text("not a folder")
    shutil.copy(Path(mldsim.__file__), package / "__init__.py")
    nowhere = tmp_path / "file"
    nowhere.write_text("not a folder")
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment |= {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere / "cache"), "LOCALAPPDATA": str(nowhere)}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    code = """
import json, os
import numpy as np
import mldsim.kernels
from mldsim.kernels.neighbors import sort_into_cells
cell_of, first, order = sort_into_cells(np.array([[0.5, 0.5, 0.5], [1.5, 0.5, 0.5]]), np.full(3, 2.0), np.full(3, 2))
print(json.dumps([mldsim.kernels.__file__, os.environ["NUMBA_CACHE_DIR"], cell_of.tolist()]))
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, cache, cells = json.loads(done.stdout)
    assert Path(where).parent == package / "kernels"
    assert cells == [0, 4]
    assert Path(cache).parent == tmp_path
    assert not Path(cache).exists(), "the temporary folder is removed at exit"


def test_a_cache_that_was_set_is_left_alone(tmp_path: Path) -> None:
    code = "import mldsim.kernels, os, sys; print(os.environ['NUMBA_CACHE_DIR'], 'numba' in sys.modules)"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path), "False"]


def test_put_and_get_of_the_cpu_copy_nothing() -> None:
    kernels = backend.kernels("cpu", 3, 0)
    array = np.arange(3.0)
    assert kernels.get(kernels.put(array)) is array
