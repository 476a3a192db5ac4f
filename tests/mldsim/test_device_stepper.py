"""Whole steps on the GPU are those of the CPU: in Numba's simulator, and on a GPU where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from mldsim.kernels import backend

SCRIPT = Path(__file__).with_name("compare_steps.py")


@cache
def compared(name: str, simulator: bool, steps: int) -> dict[str, Any]:
    """What the script finds; in a process of its own, because Numba chooses its target when it is imported."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": str(int(simulator)), "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(steps), name],
        env=environment, capture_output=True, text=True, timeout=580, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])[name]
    return found


def check(found: dict[str, Any], error: float) -> None:
    assert found["whole steps"], "the run has left the device"
    assert found["moved"] > 1e-3
    for what in ("positions", "velocities", "losses", "forces", "row"):
        assert found[what] < error, what
    assert found["copied"], "a copy must be of the moment when it was asked for, whatever is done meanwhile"
    assert found["portions"], "steps in one launch and in several must give the same bits"


CASES = ["nose-hoover", "csvr", "langevin", "own", "not local", "single"]
"""As in compare_steps.py."""


@pytest.mark.cuda
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", CASES)
def test_steps_in_the_simulator_are_those_of_the_cpu(name: str) -> None:
    found = compared(name, True, 3)
    assert found["device"] == "CUDA simulator"
    check(found, 1e-4 if name == "single" else 1e-9)
    # Nothing is shown without these: a list that was too short was made wider, and guards trip.
    assert found["columns"] > 20
    assert found["halted"] == [1, "a bond"]


@pytest.mark.cuda
@pytest.mark.parametrize("name", CASES)
def test_steps_on_a_gpu_are_those_of_the_cpu(name: str) -> None:
    gpu = backend.probe()[0]
    if not gpu.usable or gpu.name == "CUDA simulator":
        pytest.skip(gpu.reason)
    check(compared(name, False, 30), 1e-3 if name == "single" else 1e-8)
