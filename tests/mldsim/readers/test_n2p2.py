import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.readers import open_frames

BOHR = 0.529177210903
HARTREE = 27.211386245988


def block(symbols, positions, forces, box, energy):
    lines = ["begin", "comment made by a test"]
    lines += [f"lattice {v[0]:.10f} {v[1]:.10f} {v[2]:.10f}" for v in np.diag(box)]
    lines += [
        f"atom {p[0]:.10f} {p[1]:.10f} {p[2]:.10f} {s} 0.0 0.0 {f[0]:.10f} {f[1]:.10f} {f[2]:.10f}"
        for s, p, f in zip(symbols, positions, forces, strict=True)
    ]
    return "\n".join([*lines, f"energy {energy}", "charge 0.0", "end"]) + "\n"


@pytest.fixture
def blocks(water):
    """Positions in bohr, forces in hartree/bohr."""
    return [
        block(water.symbols, p / BOHR, f, water.box / BOHR, e)
        for p, f, e in zip(water.positions, water.forces, water.energies, strict=True)
    ]


def test_bohr_and_hartree_are_the_default(tmp_path, blocks, water):
    (tmp_path / "input.data").write_text("".join(blocks))
    (frames,) = open_frames(tmp_path / "input.data")
    np.testing.assert_allclose(frames.positions, water.positions, atol=1e-8)
    np.testing.assert_allclose(frames.boxes[0], water.box, atol=1e-8)
    np.testing.assert_allclose(frames.forces, water.forces * 51.42206747, rtol=1e-8)
    assert frames.energies[0] == pytest.approx(-925.187132, abs=1e-6)


def test_angstrom_and_ev_must_be_said(tmp_path, water):
    path = tmp_path / "input.data"
    path.write_text(block(water.symbols, water.positions[0], water.forces[0], water.box, -1.0))
    with pytest.raises(InputError, match="another unit, such as angstrom read as bohr"):
        open_frames(path)
    (frames,) = open_frames(path, length_unit="angstrom", energy_unit="eV")
    np.testing.assert_allclose(frames.positions[0], water.positions[0], atol=1e-9)
    np.testing.assert_allclose(frames.forces[0], water.forces[0], atol=1e-9)
    assert frames.energies[0] == -1.0
    with pytest.raises(InputError, match="'furlong'"):
        open_frames(path, length_unit="furlong")


def test_compositions_become_systems(tmp_path, blocks, water):
    small = block(water.symbols[:3], water.positions[0, :3] / BOHR, water.forces[0, :3], water.box / BOHR, -1.0)
    (tmp_path / "input.data").write_text(small + blocks[0] + small)
    assert [(s.n_frames, s.n_agents) for s in open_frames(tmp_path / "input.data")] == [(2, 3), (1, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("\nend", ""), "has no 'end'"),
        (
            lambda t: t.replace("energy", "begin\nenergy"),
            "line 12: 'begin' inside the configuration that began in line 1",
        ),
        (lambda t: t.replace("lattice", "comment", 1), "no lattice of three vectors"),
        (lambda t: t.replace("atom", "comment"), "has no atoms"),
        (lambda t: t.replace("0.0 0.0 ", "0.0 ", 1), "line 6: an atom needs"),
        (lambda t: t.replace("energy -34.0", "energy low"), "line 12: 'energy low'"),
        (lambda t: t.replace(" O ", " Qq "), "'Qq' is not the symbol"),
        (lambda t: t.replace("charge", "spin"), "'spin' is not known"),
        (lambda t: t.replace("begin", "begin\natom nan 0 0 O 0 0 0 0 0"), "not a finite number"),
        (lambda t: "begin\nend\n" + t, "line 1 has no atoms"),
    ],
)
def test_broken_files(tmp_path, blocks, change, message):
    (tmp_path / "input.data").write_text(change(blocks[0]))
    with pytest.raises(InputError, match=message):
        open_frames(tmp_path / "input.data")
