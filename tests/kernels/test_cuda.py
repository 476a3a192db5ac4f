"""The CUDA kernels, without a GPU: run in Numba's simulator, and compiled to PTX; with a GPU they run there too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mldsim.kernels import backend

SCRIPT = Path(__file__).with_name("compare_cuda.py")


def compared(simulator: bool) -> list[dict[str, Any]]:
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": str(int(simulator))}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=580, check=False
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def simulated() -> list[dict[str, Any]]:
    return compared(simulator=True)


@pytest.fixture(scope="module")
def computed() -> list[dict[str, Any]]:
    gpu = backend.probe()[0]
    if not gpu.usable or gpu.name == "CUDA simulator":
        pytest.skip(gpu.reason)
    return compared(simulator=False)


def check(found: dict[str, Any]) -> None:
    # What is left in float64 is the interpolation of the radial functions (the reference evaluates them directly).
    assert found["reference float64"] < 1e-9
    assert found["reference float32"] < 3e-5
    assert found.get("cpu float32", 0.0) < 3e-5
    assert found["closest"] < 1e-6
    assert found["repeats"], "the same input must give the same bits"
    # The cases are worth nothing without these.
    assert found["most_neighbors"] > 12
    assert found["images"] > 0
    assert found["wall"]


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("max_rank", range(4))
def test_agrees_with_the_reference_in_the_simulator(max_rank: int, simulated: list[dict[str, Any]]) -> None:
    assert simulated[max_rank]["device"] == "CUDA simulator"
    check(simulated[max_rank])


@pytest.mark.cuda
@pytest.mark.parametrize("max_rank", range(4))
def test_agrees_with_the_reference_on_a_gpu(max_rank: int, computed: list[dict[str, Any]]) -> None:
    check(computed[max_rank])


@pytest.mark.cuda
def test_what_is_sent_arrives_in_the_order_of_the_agents(run_python) -> None:
    """In the simulator, where NumPy stands for CuPy; on a GPU `kernels.backend` asks the same before it is used."""
    done = run_python("-c", "from mldsim.kernels import cuda_outbox; cuda_outbox.check()", NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``compiler(function, signature, cc)`` gives PTX, for any GPU and without one."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed; the extra `test` has it on Linux")
    from numba import config, cuda, float32

    if config.ENABLE_CUDASIM:
        pytest.skip("NUMBA_ENABLE_CUDASIM is set, and the simulator compiles nothing")
    from mldsim.kernels.cuda import FAST

    def compile_for(function: Any, signature: tuple[Any, ...], cc: tuple[int, int]) -> str:
        # Device functions are compiled for the GPU that is there; let this one be there.
        present = SimpleNamespace(compute_capability=cc)
        monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: present)
        return str(cuda.compile_ptx(function, signature, cc=cc, fastmath=FAST)[0])

    try:
        cuda.compile_ptx(lambda x: None, (float32,), cc=(9, 0))
    except Exception as error:  # noqa: BLE001 (whatever a missing toolkit raises)
        pytest.skip(f"Numba's CUDA toolkit (NVVM) is not installed: {error}")
    return compile_for


@pytest.mark.cuda
@pytest.mark.parametrize("cc", [(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_compiles_to_ptx(precision: str, cc: tuple[int, int], compiler: Any) -> None:
    from numba import types

    from mldsim.kernels import cuda

    real = types.float32 if precision == "float32" else types.float64
    np_real = np.dtype(precision).type
    gradients, forces = cuda.kernels(2, 8, 3, 4, np_real)
    rows = types.Array(real, 2, "C")
    pairs = (rows, types.int32[::1], rows, types.int32[:, ::1], types.int32[:, ::1])
    radial = (real, real, real, types.Array(real, 5, "C"))
    three, four, five, six = (types.Array(real, n, "C") for n in (3, 4, 5, 6))
    add_cubic, add_hops = cuda.cubic_kernel(2, 8, 3, 4, np_real), cuda.hop_kernel(2, 8, 4, np_real)
    give_back, waves = cuda.give_back_kernel(2, 8, 4, np_real), cuda.wave_kernels(2, np_real)
    tabulate, sum_up, give = waves
    kinds, vectors, vector = types.int32[::1], types.int32[:, ::1], real[::1]
    for kernel, signature in (
        (gradients, (*pairs, *radial, three, six, rows, real, real[::1], four, real[::1], four)),
        (add_cubic, (kinds, four, five, rows, rows, five, vector, four, rows, rows)),
        (add_hops, (*pairs, *radial, rows, five, five, vector, rows, four)),
        (tabulate, (rows, vector, rows, kinds, four, vector)),
        (sum_up, (vectors, kinds, four, vector, five, three)),
        (give, (kinds, vector, vectors, kinds, four, vector, three, three, vector, rows, rows)),
        (give_back, (kinds, five, rows, rows, rows, four)),
        (forces, (*pairs, *radial, four, rows, real, real, rows, four, rows, rows)),
    ):
        ptx = compiler(kernel.py_func, signature, cc)
        assert f".target sm_{cc[0]}{cc[1]}" in ptx
        assert ".entry" in ptx
        assert "atom." not in ptx
        if precision == "float32":
            # One forgotten double constant halves the speed of a data centre's GPU and ruins that of a desktop's.
            assert ".f64" not in ptx


def step_signature(real: Any) -> tuple[Any, ...]:
    """Types of the arguments of a kernel of whole steps."""
    from numba import types

    count, double = types.int64, types.float64
    one, two, three, four, five, six = (types.Array(real, n, "C") for n in range(1, 7))
    integers, pairs = types.int32[::1], types.int32[:, ::1]
    box = (double[::1], double[:, :, ::1], double[::1], pairs, pairs, integers, pairs, pairs, pairs, double[:, ::1])
    model = (two, two, real, real, real, five, three, six, two, real, real)
    found = (one, four, one, four, two, two)
    cubic, hops = (five, two, two, five, two, two), (five, five, four)
    waves = (one, pairs, integers, integers, integers, four, one, five, three, three)
    return (count, count, count, *box, *model, *found, *cubic, *hops, *waves)


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("form", "cc"),
    [
        ((2, 8, 2, 4, True, True, False, "float32"), (9, 0)),
        ((2, 2, 1, 1, True, True, False, "float64"), (8, 0)),
        ((2, 2, 0, 0, False, False, True, "float32"), (8, 0)),
        ((2, 2, 0, 0, False, False, True, "float64"), (9, 0)),
    ],
    ids=["all sm_90", "all, float64 sm_80", "own sm_80", "own, float64 sm_90"],
)
def test_whole_steps_compile_and_link(form: tuple[Any, ...], cc: tuple[int, int], compiler: Any) -> None:
    """To machine code, with the part of CUDA by which the blocks of a grid wait for each other."""
    linker = pytest.importorskip("cuda.bindings.nvjitlink", reason="nvJitLink comes with numba-cuda[cu13]")
    from numba import types
    from numba.cuda.cudadrv.libs import get_cudalib

    from mldsim.kernels import cuda_step

    *shape, precision = form
    real = types.float32 if precision == "float32" else types.float64
    kernel = cuda_step.step_kernel(cuda_step.Form(*shape, np.dtype(precision).type))
    ptx = compiler(kernel.py_func, step_signature(real), cc)
    # Whole numbers alone are added atomically: the agents of a cell are counted.
    assert {line.split()[0].rsplit(".", 1)[1] for line in ptx.splitlines() if "\tatom." in line} <= {"u32", "s32"}
    parts = [(linker.InputType.PTX, ptx.encode())]
    parts.append((linker.InputType.LIBRARY, Path(get_cudalib("cudadevrt", static=True)).read_bytes()))
    handle = linker.create(1, [f"-arch=sm_{cc[0]}{cc[1]}"])
    for number, (kind, data) in enumerate(parts):
        linker.add_data(handle, kind, data, len(data), f"part {number}")
    linker.complete(handle)  # raises where names are missing, or shared memory or parameters are too many
    assert linker.get_linked_cubin_size(handle) > 10_000
    linker.destroy(handle)


def test_a_model_too_large_for_a_block_is_refused_in_one_sentence() -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed; the extra `test` has it on Linux")
    from mldsim.kernels import cuda

    with pytest.raises(ValueError, match=r"shared memory .* use the CPU\.$"):
        cuda.kernels(9, 32, 3, 0, np.float64)
