from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

MOLECULE = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])

CP2K_INPUT = """\
&GLOBAL
  PROJECT {project}   ! the name of all output
&END GLOBAL
&MOTION
  &MD
    ENSEMBLE NVT
    TEMPERATURE 300
    TIMESTEP 0.5
  &END MD
&END MOTION
&FORCE_EVAL
  METHOD Quickstep
  &DFT
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &CELL
      {cell}
    &END CELL
  &END SUBSYS
&END FORCE_EVAL
"""


@dataclass(frozen=True)
class Water:
    """Two water molecules in a box of 6 x 7 x 8 angstrom, a few frames; numbers as CP2K writes them."""

    symbols: tuple[str, ...]
    positions: np.ndarray
    forces: np.ndarray
    velocities: np.ndarray
    box: np.ndarray
    energies: np.ndarray

    def reordered(self, order):
        return replace(
            self,
            symbols=tuple(self.symbols[i] for i in order),
            positions=self.positions[:, order],
            forces=self.forces[:, order],
            velocities=self.velocities[:, order],
        )


@pytest.fixture
def water() -> Water:
    rng = np.random.default_rng(5)
    rest = np.concatenate((MOLECULE, MOLECULE + np.array([3.0, 3.5, 4.0])))
    shape = (5, 6, 3)
    return Water(
        symbols=("O", "H", "H") * 2,
        positions=(rest + rng.normal(0.0, 0.02, shape)).round(6),
        forces=rng.normal(0.0, 0.02, shape).round(6),
        velocities=rng.normal(0.0, 0.0005, shape).round(6),
        box=np.array([6.0, 7.0, 8.0]),
        energies=np.array([-34.0, -34.1, -34.2, -34.3, -34.4]),
    )


def xyz(symbols, values, step, energy) -> str:
    lines = [f"{len(symbols):8d}", f" i = {step:8d}, time = {step * 0.5:12.3f}, E = {energy:20.10f}"]
    lines += [f"  {s} {a:20.10f}{b:20.10f}{c:20.10f}" for s, (a, b, c) in zip(symbols, values, strict=True)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def frame_text():
    return xyz


@pytest.fixture
def cp2k_project(tmp_path, water):
    """Write a project; returns the path of its positions."""

    def write(
        data: Water = water, *, folder: Path = tmp_path, project="water", cell="ABC 6.0 7.0 8.0", without=(), steps=None
    ) -> Path:
        steps = range(0, 10 * len(data.energies), 10) if steps is None else steps
        for kind, values in (("pos", data.positions), ("frc", data.forces), ("vel", data.velocities)):
            if kind not in without:
                text = "".join(
                    xyz(data.symbols, frame, step, energy)
                    for frame, step, energy in zip(values, steps, data.energies, strict=True)
                )
                (folder / f"{project}-{kind}-1.xyz").write_text(text)
        if "inp" not in without:
            (folder / f"{project}.inp").write_text(CP2K_INPUT.format(project=project, cell=cell))
        return folder / f"{project}-pos-1.xyz"

    return write
