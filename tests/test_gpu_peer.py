"""GPUMD gets the box that our models move, and its speed counts only where it moved water."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest

from mldsim.errors import InputError, WorkFailed
from mldsim.parameters import DeviceKind, ThermostatKind
from mldsim.state import State
from mldsim.water import water_box

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

TOLD = """
*                     version 5.6                             *
Time used for this run = 0.5 second.
Speed of this run = 2.1e+07 atom*step/second.
Time used for this run = 0.4 second.
Speed of this run = 2.62144e+07 atom*step/second.
---------------------------------------------------------------
"""

FORM = ["nep4 2 O H", "cutoff 6 4 119 42", "n_max 9 7", "basis_size 12 8", "l_max 4 2 0", "ANN 60 0"]


@pytest.fixture
def peer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/gpu_peer.py as a module."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("gpu_peer")


@pytest.fixture
def nep(tmp_path: Path) -> Path:
    path = tmp_path / "water.txt"
    path.write_text("\n".join([*FORM, "0.1", "0.2"]) + "\n")
    return path


def box() -> State:
    return water_box(64, 0.997, 300.0, 1, ("O", "H"), np.array([15.999, 1.008]))


def a_gpumd(folder: Path, body: str) -> Path:
    """A program that stands for `gpumd`."""
    path = folder / "gpumd"
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o755)
    return path


def that_ends_at(folder: Path, *temperatures: float) -> Path:
    rows = "".join(f"# columns T KE\n{one} 1.0\n" for one in temperatures)
    return a_gpumd(folder, f"open('thermo.out', 'a').write({rows!r}); print({TOLD!r})")


def test_gpumd_gets_our_positions_and_velocities(peer: Any, nep: Path, tmp_path: Path) -> None:
    state = box()
    state.positions[0] -= 3 * state.box  # as after a long way
    peer.write_input(tmp_path, state, nep, 200)
    atoms = ase.io.read(tmp_path / "model.xyz")
    assert atoms.get_chemical_symbols() == [state.symbols[kind] for kind in state.species]
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.array, np.diag(state.box), atol=1e-9)
    apart = atoms.positions - state.positions
    np.testing.assert_allclose(apart, state.box * np.round(apart / state.box), atol=1e-9)
    assert np.all((atoms.positions >= 0.0) & (atoms.positions <= state.box))
    np.testing.assert_allclose(atoms.arrays["vel"], state.velocities, atol=1e-9)


def test_gpumd_is_asked_for_two_runs_without_a_thermostat(peer: Any, nep: Path, tmp_path: Path) -> None:
    peer.write_input(tmp_path, box(), nep, 200)
    commands = (tmp_path / "run.in").read_text().splitlines()
    assert commands[:2] == ["potential nep.txt", "time_step 0.5"]
    assert commands[2:] == 2 * ["ensemble nve", "dump_thermo 200", "run 200"]
    assert (tmp_path / "nep.txt").read_text() == nep.read_text()


def test_the_speed_is_that_of_the_second_run(peer: Any) -> None:
    assert peer.speed(TOLD) == 2.62144e7
    assert peer.version(TOLD) == "GPUMD 5.6"
    with pytest.raises(WorkFailed, match="the speed of 0; it ended with: Run 200 steps"):
        peer.speed("Run 200 steps.\n-----\n")


def test_a_run_counts_only_if_it_moved_water(peer: Any, tmp_path: Path) -> None:
    (tmp_path / "thermo.out").write_text("290.0 1.0\n" * 2)  # of a run before
    assert peer.speed(peer.run_gpumd(that_ends_at(tmp_path, 290.0, 310.0), tmp_path)) == 2.62144e7
    for temperatures, told in (((300.0, 9000.0), "300 K, 9000 K"), ((300.0, float("nan")), "nan K"), ((), "missing")):
        with pytest.raises(WorkFailed, match=told):
            peer.run_gpumd(that_ends_at(tmp_path, *temperatures), tmp_path)
    broken = a_gpumd(tmp_path, "import sys; sys.exit('    Error text: no CUDA-capable device is detected\\n')")
    with pytest.raises(WorkFailed, match="status 1: Error text: no CUDA-capable device"):
        peer.run_gpumd(broken, tmp_path)


def test_what_is_missing_is_told_in_one_sentence(peer: Any, nep: Path, tmp_path: Path) -> None:
    assert peer.form(nep) == ", ".join(FORM)
    with pytest.raises(InputError, match="no program nothing-like-this"):
        peer.program("nothing-like-this")
    with pytest.raises(InputError, match=r"cannot be read \(no such file or directory\)"):
        peer.form(tmp_path / "none.txt")
    for text in ("", "nep4 2 C H\n", "# water\n"):
        nep.write_text(text)
        with pytest.raises(InputError, match="no NEP of water"):
            peer.form(nep)


def test_all_move_by_turns_and_are_compared(
    peer: Any, nep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[tuple[str, int]] = []

    class Run:
        """On a GPU that is not there."""

        device, device_reason = "a GPU", "CUDA 13"

        def __init__(self, model: str, molecules: int, device: DeviceKind, thermostat: ThermostatKind) -> None:
            assert (molecules, device, thermostat) == (64, DeviceKind.CUDA, ThermostatKind.NONE)
            self.model, self.state = model, box()

        def advance(self, steps: int) -> None:
            moved.append((self.model, steps))

    monkeypatch.setattr(peer.gpu, "simulate", Run)
    monkeypatch.setattr(peer.gpu, "on_gpu", lambda run: None)
    found = peer.measure(that_ends_at(tmp_path, 300.0, 300.0), {"nep4 2 O H": nep}, 64)
    assert moved == 4 * [("water-fast", 200), ("water", 200)]  # the first of each is not timed
    found = json.loads(json.dumps(found))
    assert found["device"] == "a GPU"
    assert found["gpumd"][0]["atom_steps_per_s"] == 3 * [2.62144e7]
    assert all(len(one["atom_steps_per_s"]) == 3 for one in found["models"].values())
    assert "| GPUMD 5.6, nep4 2 O H | 2.6·10⁷ (2.6·10⁷ to 2.6·10⁷) |" in "\n".join(peer.table(found))


def measured(peer: Any, **digests: str) -> dict[str, Any]:
    ours = {"water-fast": [3e8, 2e8, 4e8], "water": [1e8, 1e8, 1e8]}
    return {
        "device": "a GPU", "when": "2026-01-01", "agents": 98_304, "steps": 200,
        "gpumd": [{"form": "nep4", "version": "GPUMD 5.6", "atom_steps_per_s": [2e7, 2e7, 2e7]}],
        "models": {
            name: {"digest": digests.get(name.replace("-", "_"), peer.shipped.digest(name)), "atom_steps_per_s": rates}
            for name, rates in ours.items()
        },
    }  # fmt: skip


def test_ratios_are_those_of_the_rounds(peer: Any) -> None:
    rows = "\n".join(peer.table(measured(peer)))
    assert "| GPUMD 5.6, nep4 | 2.0·10⁷ (2.0·10⁷ to 2.0·10⁷) | 15 (10 to 20) | 5 (5 to 5) |" in rows


def test_what_was_not_measured_says_so(peer: Any) -> None:
    assert peer.table({})[-1].count(peer.NOT_MEASURED) == 3
    replaced = peer.table(measured(peer, water="another"))
    assert replaced[-1].count(peer.NOT_MEASURED) == 1
    assert f"| `water` | {peer.NOT_MEASURED} |" in "\n".join(replaced)


def test_the_page_has_the_table_of_the_committed_results(peer: Any) -> None:
    page = peer.PAGE.read_text(encoding="utf-8")
    written = peer.shipped.with_table(page, "gpu peer", peer.table(peer.read()), "benchmarks/gpu_peer.py")
    assert page == written, "run python benchmarks/gpu_peer.py --table"
