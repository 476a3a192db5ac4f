"""Extended XYZ as ASE reads it."""

from pathlib import Path

import numpy as np
import pytest

from mldsim.errors import InputError, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.trajectory.extxyz import ExtxyzWriter

TOPOLOGY = Topology(
    ("O", "H"), np.array([0, 1, 1], dtype=np.int32), np.array([15.999, 1.008, 1.008]), np.empty((0, 2), dtype=np.int32)
)


def make_frame(step: int, rng: np.random.Generator) -> Frame:
    thermo = dict.fromkeys(THERMO_COLUMNS, 1.5) | {"time": 0.5 * step, "conserved": np.nan}
    return Frame(
        step,
        0.5 * step,
        np.array([9.0, 10.0, 11.0]),
        *rng.normal(size=(3, 3, 3)),
        rng.normal(size=3),
        ThermoRow(**thermo),
    )


def test_ase_reads_equal_numbers(tmp_path: Path, rng: np.random.Generator) -> None:
    from ase.io import read

    frames = [make_frame(step, rng) for step in (0, 10)]
    with ExtxyzWriter(tmp_path / "run.extxyz", TOPOLOGY) as writer:
        for frame in frames:
            writer.write(frame)
    images = read(tmp_path / "run.extxyz", index=":")
    assert len(images) == 2
    for atoms, frame in zip(images, frames, strict=True):
        assert atoms.get_chemical_symbols() == ["O", "H", "H"]
        assert atoms.pbc.all()
        np.testing.assert_allclose(atoms.cell.lengths(), frame.box)
        np.testing.assert_allclose(atoms.positions, frame.positions, atol=1e-8)
        np.testing.assert_allclose(atoms.get_forces(), frame.forces, atol=1e-8)
        np.testing.assert_allclose(atoms.arrays["velo"], frame.velocities, atol=1e-8)
        np.testing.assert_allclose(atoms.arrays["loss"], frame.losses, atol=1e-8)
        assert atoms.info["step"] == frame.step
        assert atoms.info["time"] == frame.time
        assert "conserved" not in atoms.info  # it is not a number


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "run.xyz"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        ExtxyzWriter(path, TOPOLOGY)
    assert path.read_text() == "mine"
    with ExtxyzWriter(path, TOPOLOGY, force=True) as writer:
        writer.write(make_frame(0, rng))
    assert path.read_text().startswith("3\nLattice=")
    with pytest.raises(InputError, match="does not exist"):
        ExtxyzWriter(tmp_path / "nowhere" / "run.xyz", TOPOLOGY)
    with pytest.raises(InputError, match="cannot be written: is a directory"):
        ExtxyzWriter(tmp_path, TOPOLOGY, force=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_in_a_sentence(rng: np.random.Generator) -> None:
    writer = ExtxyzWriter("/dev/full", TOPOLOGY, force=True)
    writer.write(make_frame(0, rng))
    with pytest.raises(WorkFailed, match=r"the disk is full\); the 0 frames"):
        writer.flush()
    writer.close()
