import h5py
import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.readers import open_frames


@pytest.fixture
def plain(tmp_path, water):
    """One system at the root of a file, written by another program."""
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["positions"] = water.positions.astype(np.float32)
        file["forces"] = (water.forces * 51.422).astype(np.float32)
        file["velocities"] = water.velocities * 21.877
        file["energy"] = water.energies
        file["step"] = np.arange(5) * 10
        file["atomic_numbers"] = np.array([8, 1, 1, 8, 1, 1], dtype=np.int8)
        file["box"] = water.box
        file["positions"].attrs["unit"] = "angstrom"
        file.attrs["method"] = "by hand"
        file.attrs["timestep_fs"] = 0.5
    return path


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def replace(name, values):
    def change(file):
        del file[name]
        file[name] = values

    return change


def test_a_single_system_at_the_root(plain, water):
    (frames,) = open_frames(plain)
    assert frames.symbols == water.symbols
    np.testing.assert_allclose(frames.positions, water.positions, atol=1e-6)
    np.testing.assert_allclose(frames.energies, water.energies)
    np.testing.assert_array_equal(frames.steps, np.arange(5) * 10)
    np.testing.assert_array_equal(frames.boxes, np.tile(water.box, (5, 1)))
    assert frames.provenance["method"] == "by hand"
    assert frames.provenance["source"] == str(plain)


def test_optional_fields(plain):
    def change(file):
        for name in ("velocities", "energy", "step"):
            del file[name]

    (frames,) = open_frames(edit(plain, change))
    assert frames.velocities is frames.energies is frames.steps is None


def test_the_content_decides_not_the_name(plain, tmp_path):
    assert open_frames(plain.rename(tmp_path / "frames.xyz"))[0].n_frames == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("forces"), "no dataset 'forces'"),
        (lambda f: f.pop("box"), "no dataset 'box'"),
        (lambda f: f.pop("atomic_numbers"), "no dataset 'atomic_numbers'"),
        (lambda f: f.pop("positions"), "holds no labelled frames"),
        (replace("forces", np.ones((5, 5, 3))), "forces have the shape"),
        (replace("forces", np.zeros((5, 6, 3))), "all forces are zero"),
        (replace("forces", np.full((5, 6, 3), np.nan)), "forces hold a value that is not a finite number in frame 0"),
        (replace("forces", np.full((5, 6, 3), 2000.0)), "forces have a root mean square of 2e"),
        (replace("forces", np.array([b"none"])), "'forces' does not hold numbers"),
        (replace("positions", np.zeros((5, 18))), "instead of"),
        (replace("atomic_numbers", np.array([8, 1, 1, 8, 1])), "one for each agent"),
        (replace("atomic_numbers", np.array([8, 1, 1, 8, 1, 0])), "0 is not the atomic number"),
        (replace("atomic_numbers", np.array([8, 1, 1, 8, 1, 250])), "250 is not the atomic number"),
        (replace("box", np.array([6.0, 7.0])), "boxes have the shape"),
        (replace("box", np.array([6.0, 7.0, 0.0])), "every edge must be positive"),
        (replace("box", np.array([[6.0, 0.0, 0.0], [1.0, 7.0, 0.0], [0.0, 0.0, 8.0]])), "not orthorhombic"),
        (replace("box", np.array([0.6, 0.7, 0.8])), "another unit, such as nanometre"),
        (replace("energy", np.zeros(4)), "energies have the shape"),
        (replace("step", np.zeros(5)), "steps must be 5 whole numbers"),
        (lambda f: f["positions"].attrs.update(unit="nm"), "'positions' is given in 'nm'"),
    ],
)
def test_wrong_content_is_named(plain, change, message):
    with pytest.raises(InputError, match=message) as caught:
        open_frames(edit(plain, change))
    assert "frames.h5" in str(caught.value)


def test_a_newer_schema(plain):
    edit(plain, lambda f: f.attrs.update(format="mldsim-dataset", schema=2))
    with pytest.raises(InputError, match="newer mldsim"):
        open_frames(plain)


def test_a_trajectory_is_no_data_set(tmp_path):
    with h5py.File(tmp_path / "run.h5md", "w") as file:
        file.create_group("h5md")
        file.create_group("particles/trajectory/position")
    with pytest.raises(InputError, match="H5MD trajectory"):
        open_frames(tmp_path / "run.h5md")


def test_a_damaged_file(plain):
    content = plain.read_bytes()
    plain.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        open_frames(plain)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("frames.h5", b"not HDF5 at all", "is not HDF5"),
        ("model.json", b'{"format": "mldsim-model"}', "no labelled frames in a format that can be read: a data set"),
        ("empty.xyz", b"", "is empty"),
        ("noise", bytes(range(256)), "no labelled frames"),
    ],
)
def test_what_nothing_fits(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        open_frames(tmp_path / name)


def test_missing_path(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        open_frames(tmp_path / "nothing.h5")


def test_empty_folder(tmp_path):
    with pytest.raises(InputError, match="holds nothing that can be read"):
        open_frames(tmp_path)


def test_what_is_read_can_be_saved_and_read_again(cp2k_project, tmp_path):
    """What `mldsim convert` does."""
    from mldsim.dataset import save_frames
    from mldsim.readers import load_frames

    read = open_frames(cp2k_project())
    save_frames(tmp_path / "data.h5", read)
    (again,) = load_frames(tmp_path / "data.h5")
    for name in ("positions", "forces", "velocities", "energies", "boxes", "steps"):
        np.testing.assert_array_equal(getattr(again, name), getattr(read[0], name))
    assert again.provenance["name"] == "water"
    assert again.provenance["method"] == read[0].provenance["method"]
    assert again.provenance["origin"].endswith("water-pos-1.xyz")
