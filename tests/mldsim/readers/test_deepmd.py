import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.readers import open_frames


@pytest.fixture
def folder(tmp_path, water):
    """Two sets, 3 and 2 frames, oxygen first as DeePMD sorts them."""
    order = [0, 3, 1, 2, 4, 5]
    data = water.reordered(order)
    root = tmp_path / "data" / "data_0"
    for number, part in enumerate((slice(0, 3), slice(3, 5))):
        folder = root / f"set.{number:03d}"
        folder.mkdir(parents=True)
        n = len(data.energies[part])
        np.save(folder / "coord.npy", data.positions[part].reshape(n, -1).astype(np.float32))
        np.save(folder / "force.npy", data.forces[part].reshape(n, -1).astype(np.float32))
        np.save(folder / "energy.npy", data.energies[part])
        np.save(folder / "box.npy", np.tile(np.diag(water.box).ravel(), (n, 1)))
    (root / "type.raw").write_text("0\n0\n1\n1\n1\n1\n")
    (root / "type_map.raw").write_text("O\nH\n")
    return root


def test_sets_are_joined(folder, water):
    order = [0, 3, 1, 2, 4, 5]
    (frames,) = open_frames(folder)
    assert frames.symbols == ("O", "O", "H", "H", "H", "H")
    np.testing.assert_allclose(frames.positions, water.positions[:, order], atol=1e-6)
    np.testing.assert_allclose(frames.forces, water.forces[:, order], atol=1e-7)
    np.testing.assert_allclose(frames.energies, water.energies)
    np.testing.assert_allclose(frames.boxes, np.tile(water.box, (5, 1)))
    assert frames.steps is None


def test_a_folder_of_folders(folder):
    assert [s.n_frames for s in open_frames(folder.parent)] == [5]


def test_energies_are_optional(folder):
    (folder / "set.001" / "energy.npy").unlink()
    assert open_frames(folder)[0].energies is None


def test_missing_type_map(folder):
    (folder / "type_map.raw").unlink()
    with pytest.raises(InputError, match=r"type_map\.raw is not there.*species are not known"):
        open_frames(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("type.raw", "0\n0\n1\n1\n1\n2\n", r"type\.raw must hold types from 0 to 1"),
        ("type.raw", "0\n0\n1\n1\n1\n", r"coord\.npy has the shape"),
        ("type.raw", "0\n0\nH\n", "whole numbers"),
        ("type_map.raw", "O\nQq\n", "'Qq' is not the symbol"),
        ("nopbc", "", "nopbc"),
        ("set.000/force.npy", "not numpy", r"set\.000/force\.npy cannot be read"),
        ("set.000/real_atom_types.npy", "", "mixed-type"),
    ],
)
def test_broken_files(folder, name, content, message):
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        open_frames(folder)


def test_missing_forces(folder):
    (folder / "set.001" / "force.npy").unlink()
    with pytest.raises(InputError, match=r"set\.001/force\.npy is not there"):
        open_frames(folder)


def test_unequal_numbers_of_frames(folder):
    forces = np.load(folder / "set.001" / "force.npy")
    np.save(folder / "set.001" / "force.npy", forces[:1])
    with pytest.raises(InputError, match="forces have the shape"):
        open_frames(folder)


def test_pickled_objects_are_not_loaded(folder):
    np.save(folder / "set.000" / "coord.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot be read as a NumPy array"):
        open_frames(folder)


def test_a_tilted_box(folder, water):
    box = np.diag(water.box)
    box[1, 0] = 0.5
    np.save(folder / "set.001" / "box.npy", np.tile(box.ravel(), (2, 1)))
    with pytest.raises(InputError, match=r"box\.npy: the box is not orthorhombic"):
        open_frames(folder)


def test_a_part_of_the_folder_points_to_it(folder):
    with pytest.raises(InputError, match="give the folder"):
        open_frames(folder / "set.000" / "coord.npy")
