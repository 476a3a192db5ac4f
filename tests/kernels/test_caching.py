"""Kernels are compiled once, not at every start."""

import pytest

TWO_STARTS = """
import numpy as np
from mldsim.kernels.caching import found_again, njit

def made(factor):
    @njit
    def part(x):
        return factor * x

    @njit(cache=True)
    def kernel(x):
        return part(x) + 1.0

    return found_again(kernel, factor)

for factor in (2, 3):
    kernel = made(factor)
    print(kernel(1.0), sum(kernel.stats.cache_hits.values()))
"""

SEVERAL = """
import math, sys
import numpy as np
from mldsim.kernels.caching import found_again, njit

def made(n):
    @njit(cache=True)
    def part(x):
        total = 0.0
        for i in range(n):
            LONG
        return total + n

    @njit(cache=True)
    def kernel(x):
        return part(x)

    return found_again(kernel, n)

kernels = [made(int(n)) for n in sys.argv[1:]]
for kernel in kernels:
    print(kernel(np.ones(8)))
""".replace("LONG", "; ".join(f"total += math.sin({k}.5 * x[i] + total)" for k in range(60)))  # too long to be inlined

KEYS = """
from types import SimpleNamespace
from mldsim.kernels import cpu
code = SimpleNamespace(magic_tuple=lambda: "this processor")
for made_for in ((2, 0, 0), (2, 1, 0), (4, 1, 0), (4, 1, 3)):
    for kernel in cpu.compiled(*made_for):
        print(kernel._cache._index_key((), code))
"""

CUDA_KEYS = """
from types import SimpleNamespace
import numpy as np
from mldsim.kernels import cuda, cuda_step
code = SimpleNamespace(magic_tuple=lambda: "this GPU")
one = cuda_step.Form(2, 4, 1, 0, False, False, False, np.float32)
for form in (one, one._replace(own=True), one._replace(real=np.float64), one._replace(n_channels=2)):
    print(cuda_step.step_kernel(form)._cache._index_key((), code))
for kernel in (*cuda.kernels(2, 4, 1, 0, np.float32), *cuda.wave_kernels(2, np.float32)):
    print(kernel._cache._index_key((), code), kernel._cache.cache_path, kernel.py_func.__name__)
"""

FOR_A_GPU = """
from types import SimpleNamespace
import numba.cuda.codegen
import numba.cuda.dispatcher
import numpy as np
from numba import types
gpu = SimpleNamespace(compute_capability=(9, 0), id=0)
numba.cuda.dispatcher.get_current_device = lambda: gpu
numba.cuda.codegen.devices = SimpleNamespace(get_context=lambda: SimpleNamespace(device=gpu))
numba.cuda.dispatcher._Kernel.bind = lambda self: self.library.get_cubin((9, 0))  # all but the loading
from mldsim.kernels import cuda
rows, four, five = (types.Array(types.float32, n, "C") for n in (2, 4, 5))
for channels in (1, 2):
    kernel = cuda.give_back_kernel(2, 4, channels, np.float32)
    compiled = kernel.compile((types.int32[::1], five, rows, rows, rows, four))
    code = compiled.library.get_cubin((9, 0)).code
    print(hash(bytes(code)), sum(kernel.stats.cache_hits.values()))
"""


@pytest.fixture
def cuda_compiler():
    """Numba's CUDA target as the extras install it; its simulator compiles nothing."""
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed; the extra `test` has it on Linux")


@pytest.mark.cuda
def test_what_was_compiled_for_a_gpu_is_found_at_the_next_start(run_python, home, cuda_compiler):
    """As machine code of the card: here a card is only claimed, and nothing is loaded onto one."""
    script = home / "start.py"
    script.write_text(FOR_A_GPU)
    environment = {"NUMBA_CACHE_DIR": str(home / "cache"), "NUMBA_ENABLE_CUDASIM": "0", "PYTHONHASHSEED": "1"}
    first, second = (run_python(str(script), **environment) for _ in range(2))
    one, two = (line.split() for line in first.stdout.splitlines())
    assert [one[1], two[1]] == ["0", "0"], first.stderr
    assert one[0] != two[0]
    assert second.stdout.split() == [one[0], "1", two[0], "1"], second.stderr


@pytest.mark.cuda
def test_the_kernels_of_a_gpu_are_filed_under_what_they_were_made_for(run_python, cuda_compiler):
    first, second = (run_python("-c", CUDA_KEYS, NUMBA_ENABLE_CUDASIM="0").stdout.splitlines() for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) == 9


def test_what_was_compiled_is_found_at_the_next_start(run_python, home):
    script = home / "start.py"
    script.write_text(TWO_STARTS)
    environment = {"NUMBA_CACHE_DIR": str(home / "cache")}
    first, second = (run_python(str(script), **environment) for _ in range(2))
    assert first.stdout.split() == ["3.0", "0", "4.0", "0"], first.stderr
    assert second.stdout.split() == ["3.0", "1", "4.0", "1"], second.stderr


def test_what_two_starts_compiled_stays_apart_in_a_third(run_python, home):
    """Kernels for 2 and for 3: the same name and types, and each the first that its process compiles."""
    script = home / "start.py"
    script.write_text(SEVERAL)
    environment = {"NUMBA_CACHE_DIR": str(home / "cache")}
    alone = [run_python(str(script), n, **environment).stdout for n in ("2", "3")]
    assert alone[0] != alone[1]
    for first, second in ((0, 1), (1, 0)):
        numbers = [("2", "3")[which] for which in (first, second)]
        together = run_python(str(script), *numbers, **environment)
        assert together.stdout == alone[first] + alone[second], together.stderr


def test_the_force_kernels_are_filed_under_what_they_were_made_for(run_python):
    first, second = (run_python("-c", KEYS).stdout.splitlines() for _ in range(2))
    assert first == second
    gradients, forces = first[::2], first[1::2]  # two functions, each with a file of its own
    assert len(gradients) == len(forces) == 4
    assert len(set(gradients)) == 3  # which do not know of hops
    assert len(set(forces)) == 4
