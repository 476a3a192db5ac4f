import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.readers import open_frames

LATTICE = "6.0 0.0 0.0 0.0 7.0 0.0 0.0 0.0 8.0"


def text(symbols, positions, forces, lattice=LATTICE, forces_name="forces", info=""):
    comment = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:{forces_name}:R:3 {info}'
    rows = [
        f"{s} {p[0]} {p[1]} {p[2]} {f[0]} {f[1]} {f[2]}" for s, p, f in zip(symbols, positions, forces, strict=True)
    ]
    return "\n".join([str(len(symbols)), comment, *rows]) + "\n"


@pytest.mark.parametrize("forces_name", ["forces", "force"])
def test_forces_and_energies_are_found(tmp_path, water, forces_name):
    path = tmp_path / "water.xyz"
    path.write_text(
        "".join(
            text(water.symbols, p, f, forces_name=forces_name, info=f"energy={-1.5 - i} step={10 * i}")
            for i, (p, f) in enumerate(zip(water.positions, water.forces, strict=True))
        )
    )
    (frames,) = open_frames(path)
    np.testing.assert_allclose(frames.positions, water.positions)
    np.testing.assert_allclose(frames.forces, water.forces)
    np.testing.assert_allclose(frames.energies, [-1.5, -2.5, -3.5, -4.5, -5.5])
    np.testing.assert_array_equal(frames.steps, [0, 10, 20, 30, 40])
    np.testing.assert_allclose(frames.boxes[0], [6, 7, 8])


def test_what_ase_writes_is_read(tmp_path, water):
    from ase import Atoms
    from ase import units as ase_units
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    atoms = Atoms(water.symbols, positions=water.positions[0], cell=water.box, pbc=True)
    atoms.set_velocities(water.velocities[0] / ase_units.fs)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.25, forces=water.forces[0])
    write(tmp_path / "ase.xyz", atoms, format="extxyz")
    (frames,) = open_frames(tmp_path / "ase.xyz")
    np.testing.assert_allclose(frames.forces[0], water.forces[0], atol=1e-8)
    np.testing.assert_allclose(frames.velocities[0], water.velocities[0], atol=1e-8)
    assert frames.energies[0] == pytest.approx(-3.25)


def test_compositions_become_systems(tmp_path, water):
    one = text(water.symbols[:3], water.positions[0, :3], water.forces[0, :3])
    two = text(water.symbols, water.positions[1], water.forces[1])
    (tmp_path / "mixed.xyz").write_text(two + one + two)
    systems = open_frames(tmp_path / "mixed.xyz")
    assert [(s.n_frames, s.n_agents) for s in systems] == [(2, 6), (1, 3)]


def test_rounding_in_the_lattice_is_forgiven_and_a_tilt_is_not(tmp_path, water):
    path = tmp_path / "water.xyz"
    path.write_text(
        text(
            water.symbols, water.positions[0], water.forces[0], lattice=" 6.0 0.0 0.0 -0.00000053 7.0 0 0 -5.3e-7 8.0 "
        )
    )
    np.testing.assert_allclose(open_frames(path)[0].boxes[0], [6, 7, 8])
    good = text(water.symbols, water.positions[0], water.forces[0])
    path.write_text(
        good + text(water.symbols, water.positions[0], water.forces[0], lattice="6.0 0 0 0.01 7.0 0 0 0 8.0")
    )
    with pytest.raises(InputError, match="frame 1: the Lattice is not orthorhombic"):
        open_frames(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace(":forces:R:3", ":velo:R:3"), "frame 1 has no forces"),
        (lambda t: t.replace('Lattice="' + LATTICE + '"', ""), "frame 1 has no Lattice"),
        (lambda t: t.rsplit("\n", 3)[0] + "\n", "frame 1: it cannot be read"),
        (lambda t: t.replace("O ", "Qq ", 1), "frame 1: it cannot be read|no known element"),
        (lambda t: t.replace("O ", "O one ", 1), "frame 1: it cannot be read"),
    ],
)
def test_a_broken_frame_is_named(tmp_path, water, change, message):
    good = text(water.symbols, water.positions[0], water.forces[0])
    (tmp_path / "water.xyz").write_text(good + change(good))
    with pytest.raises(InputError, match=message):
        open_frames(tmp_path / "water.xyz")


def test_a_value_that_is_not_a_number(tmp_path, water):
    forces = water.forces[0].copy()
    forces[2, 1] = np.nan
    (tmp_path / "water.xyz").write_text(text(water.symbols, water.positions[0], forces))
    with pytest.raises(InputError, match="frame 0: the forces hold a value that is not a finite number"):
        open_frames(tmp_path / "water.xyz")


def test_plain_xyz_is_refused(tmp_path):
    (tmp_path / "plain.xyz").write_text("1\nmade by hand\nO 0 0 0\n")
    with pytest.raises(InputError, match="plain XYZ"):
        open_frames(tmp_path / "plain.xyz")


@pytest.mark.parametrize(("scale", "unit"), [(0.1, "nanometre"), (1.8897, "bohr")])
def test_positions_in_another_unit(tmp_path, water, scale, unit):
    box = " ".join(str(x) for x in np.diag(water.box * scale).ravel())
    (tmp_path / "water.xyz").write_text(text(water.symbols, water.positions[0] * scale, water.forces[0], lattice=box))
    with pytest.raises(InputError, match=rf"water\.xyz: .*angstrom.*such as {unit}"):
        open_frames(tmp_path / "water.xyz")


def test_forces_in_another_unit(tmp_path, water):
    forces = water.forces[0] * 51.422 * 964.85  # kJ/(mol nm)
    (tmp_path / "water.xyz").write_text(text(water.symbols, water.positions[0], forces))
    with pytest.raises(InputError, match=r"water\.xyz: the forces have a root mean square of .* another unit"):
        open_frames(tmp_path / "water.xyz")
