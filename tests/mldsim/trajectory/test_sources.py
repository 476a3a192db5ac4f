"""Trajectories to watch: both formats read alike, of other programs too; what is broken is one sentence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mldsim.errors import Cancelled, InputError
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.loss import load_model
from mldsim.recognise import FileKind, kind_of
from mldsim.trajectory.extxyz import ExtxyzWriter
from mldsim.trajectory.extxyz_reader import read_extxyz
from mldsim.trajectory.h5md import H5MDWriter
from mldsim.trajectory.sources import Footage, Remembered, open_trajectory
from mldsim.water import read_structure

N = 4
BOX = np.array([9.0, 10.0, 11.0])
BONDS = np.array([[3 * i, 3 * i + j] for i in range(N) for j in (1, 2)], np.int32)
TOPOLOGY = Topology(("O", "H"), np.tile(np.int32([0, 1, 1]), N), np.tile([15.999, 1.008, 1.008], N), BONDS)


def water(shift: float = 0.0) -> np.ndarray:
    oxygen = np.array([[1.0, 1.0, 1.0], [5.0, 1.0, 1.0], [1.0, 6.0, 1.0], [1.0, 1.0, 8.0]])
    molecule = np.array([[0.0, 0.0, 0.0], [0.76, 0.59, 0.0], [-0.76, 0.59, 0.0]])
    return (oxygen[:, None] + molecule).reshape(-1, 3) + shift


def make_frame(number: int, rng: np.random.Generator) -> Frame:
    thermo = dict(zip(THERMO_COLUMNS, rng.normal(size=len(THERMO_COLUMNS)), strict=True)) | {"time": 5.0 * number}
    velocities, forces = rng.normal(size=(2, 3 * N, 3)) * np.array([0.02, 1.0])[:, None, None]
    return Frame(
        10 * number, 5.0 * number, BOX, water(0.5 * number), velocities, forces, rng.normal(size=3 * N),
        ThermoRow(**thermo),
    )  # fmt: skip


@pytest.fixture
def frames(rng: np.random.Generator) -> list[Frame]:
    return [make_frame(number, rng) for number in range(40)]


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, frames: list[Frame]) -> Write:
    def written(name: str) -> Path:
        path = tmp_path / name
        kind = ExtxyzWriter(path, TOPOLOGY) if name.endswith("xyz") else H5MDWriter(path, TOPOLOGY, BOX)
        with kind as writer:
            for frame in frames:
                writer.write(frame)
        return path

    return written


def foreign(path: Path, positions: list[np.ndarray], columns: str = "species:S:1:pos:R:3", said: str = "") -> Path:
    """As other programs write it: wrapped, with little said."""
    lattice = " ".join(f"{value:g}" for value in np.diag(BOX).ravel())
    with path.open("w") as file:
        for each in positions:
            file.write(f'{len(each)}\nLattice="{lattice}" Properties={columns} pbc="T T T" {said}\n')
            for symbol, place in zip("HOH" * N, np.mod(each[:, :3], BOX), strict=True):
                file.write(f"{symbol} {place[0]:.6f} {place[1]:.6f} {place[2]:.6f}\n")
    return path


# --- what was written is read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["run.extxyz", "run.h5md"])
def test_both_formats_give_back_what_was_recorded(write: Write, frames: list[Frame], name: str) -> None:
    path = write(name)
    assert kind_of(path) is FileKind.TRAJECTORY
    footage = open_trajectory(path)
    assert (footage.n_frames, footage.timed, footage.interval, footage.unwrapped) == (40, True, 5.0, True)
    assert footage.topology.symbols == ("O", "H")
    np.testing.assert_array_equal(footage.topology.bonds, BONDS)
    for number in (0, 39, 17, 18, 17):
        frame, written = footage.frame(number), frames[number]
        assert (frame.step, frame.time) == (written.step, written.time)
        for part in ("box", "positions", "velocities", "forces", "losses"):
            np.testing.assert_allclose(getattr(frame, part), getattr(written, part), rtol=1e-5, atol=2e-5)
        assert frame.thermo.temperature == pytest.approx(written.thermo.temperature)
        assert frame.thermo.loss == pytest.approx(written.thermo.loss)
    thermo = footage.thermo()
    assert set(thermo) == set(THERMO_COLUMNS)
    np.testing.assert_allclose(thermo["conserved"], [frame.thermo.conserved for frame in frames], rtol=1e-6)
    assert [footage.at(time) for time in (-1.0, 0.0, 4.9, 5.0, 1e9)] == [0, 0, 0, 1, 39]
    footage.close()


def test_another_thread_reads_the_same_file(write: Write) -> None:
    footage = open_trajectory(write("run.extxyz"))
    other = footage.again()
    footage.close()
    assert other.frame(7).step == 70
    other.close()


def test_few_frames_are_held_in_memory(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mldsim.trajectory.sources.CACHE_BYTES", 4000)
    footage = open_trajectory(write("run.h5md"))
    for number in range(40):
        footage.frame(number)
    assert len(footage._cache) <= 4
    assert footage.frame(39) is footage.frame(39)
    footage.close()


def test_frames_in_memory_are_footage_too(frames: list[Frame]) -> None:
    footage = Footage(Remembered(TOPOLOGY, frames))
    assert footage.frame(3) is frames[3]
    np.testing.assert_array_equal(footage.thermo()["time"], 5.0 * np.arange(40))


# --- of other programs ----------------------------------------------------------------------------------------------


def test_a_wrapped_file_without_times_gets_bonds_whole_molecules_and_the_models_order(tmp_path: Path) -> None:
    order = np.array([1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11])  # hydrogen first
    positions = [water(2.1 * number)[order] for number in range(6)]
    footage = open_trajectory(foreign(tmp_path / "other.xyz", positions), order=("O", "H"))
    assert not footage.timed
    np.testing.assert_array_equal(footage.times, np.arange(6.0))
    assert any("1 fs apart" in note for note in footage.notes)
    assert footage.topology.symbols == ("O", "H")
    assert footage.topology.species[:3].tolist() == [1, 0, 1]
    first, second = footage.topology.bonds.T
    for number in range(6):
        frame = footage.frame(number)
        lengths = np.linalg.norm(frame.positions[first] - frame.positions[second], axis=1)
        np.testing.assert_allclose(lengths, np.hypot(0.76, 0.59), atol=1e-5)
        assert np.isnan(frame.velocities).all()
    assert np.isnan(footage.thermo()["loss"]).all()
    footage.close()


def test_momenta_of_ase_become_velocities(tmp_path: Path) -> None:
    from ase import Atoms, units
    from ase.io import write as ase_write

    path = tmp_path / "ase.xyz"
    several = []
    for number in range(3):
        atoms = Atoms("OHH" * N, positions=water(0.1 * number), cell=BOX, pbc=True)
        atoms.set_velocities(np.full((3 * N, 3), 0.01 * number / units.fs))
        several.append(atoms)
    ase_write(path, several, format="extxyz")
    footage = open_trajectory(path)
    np.testing.assert_allclose(footage.frame(2).velocities, 0.02, rtol=1e-5)
    footage.close()


# --- what is broken -------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_short_plays_up_to_its_last_whole_frame(write: Write) -> None:
    path = write("run.extxyz")
    path.write_bytes(path.read_bytes()[:-40])
    footage = open_trajectory(path)
    assert footage.n_frames == 39
    assert "cut short" in footage.notes[0]
    footage.close()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text.replace("12\n", "11\n", 1), "should begin with the number"),
        (lambda text: text.replace("\n12\n", "\n11\n", 1), "same agents throughout"),
        (lambda text: text.replace("Lattice", "Grid"), "Lattice"),
        (lambda text: text.replace("O ", "Q ", 1), "'Q'"),
        (lambda text: text.replace("species:S:1", "species:S:one"), "Properties"),
        (lambda text: text.replace("\nO  1.00000000", "\nO  nan", 1), "not a finite number"),
        (lambda text: text.replace("\nO  1.00000000", "\nO  one", 1), "not a number"),
    ],
)
def test_a_broken_text_file_is_one_sentence(write: Write, damage: Callable[[str], str], told: str) -> None:
    path = write("run.extxyz")
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError, match=told) as caught:
        open_trajectory(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_frame_in_the_middle_is_told_when_it_is_asked_for(write: Write) -> None:
    path = write("run.extxyz")
    text = path.read_text().split("\n")
    text[20 * 14 + 5] = "H 1.0 2.0"
    path.write_text("\n".join(text))
    footage = open_trajectory(path)
    assert footage.frame(19).step == 190
    with pytest.raises(InputError, match=r"frame 20.*cut short"):
        footage.frame(20)
    assert footage.frame(21).step == 210
    footage.close()


def test_reading_a_long_file_tells_how_far_it_is_and_can_be_stopped(tmp_path: Path) -> None:
    path = foreign(tmp_path / "long.xyz", [water()[:, :]] * 900)
    told: list[float] = []
    read_extxyz(path, lambda fraction, what="": told.append(fraction)).close()
    assert len(told) >= 3
    assert told == sorted(told)

    def stop(fraction: float, what: str = "") -> None:
        raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        read_extxyz(path, stop)


# --- what a file is -------------------------------------------------------------------------------------------------


def test_files_are_known_by_their_content(tmp_path: Path, write: Write, repository: Path) -> None:
    model = tmp_path / "model.dat"
    model.write_bytes((repository / "assets" / "models" / "water-fast.json").read_bytes())
    assert kind_of(model) is FileKind.MODEL
    assert kind_of(foreign(tmp_path / "one.xyz", [water()])) is FileKind.STRUCTURE
    assert kind_of(foreign(tmp_path / "two.xyz", [water()] * 2)) is FileKind.TRAJECTORY
    assert kind_of(repository / "assets" / "data" / "cnnp_holdout.h5") is FileKind.STRUCTURE
    renamed = write("run.h5md").rename(tmp_path / "run.json")
    assert kind_of(renamed) is FileKind.TRAJECTORY
    with pytest.raises(InputError, match="not a trajectory but a loss model"):
        open_trajectory(model)
    (tmp_path / "notes.txt").write_text("buy milk\n")
    for nothing, told in ((tmp_path / "notes.txt", "neither"), (tmp_path, "folder"), (tmp_path / "no", "not exist")):
        with pytest.raises(InputError, match=told):
            kind_of(nothing)


@pytest.mark.parametrize("name", ["run.extxyz", "run.h5md"])
def test_a_simulation_starts_from_any_frame(write: Write, frames: list[Frame], name: str) -> None:
    path, model = write(name), load_model("water-fast")
    state = read_structure(path, model.symbols, model.masses, 1, 300.0, 7)
    np.testing.assert_allclose(state.positions, frames[7].positions, atol=1e-5)
    np.testing.assert_allclose(state.velocities, frames[7].velocities, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="no frame 40"):
        read_structure(path, model.symbols, model.masses, 1, 300.0, 40)
