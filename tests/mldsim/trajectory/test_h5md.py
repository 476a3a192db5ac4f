"""H5MD files: what other programs read, what a kill and a full disk leave, what is refused."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mldsim import units
from mldsim.errors import InputError, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.parameters import Precision
from mldsim.trajectory.h5md import H5MDWriter, read_h5md, repair
from mldsim.trajectory.hdf5_file import lookup3

BOX = np.array([9.0, 10.0, 11.0])
TOPOLOGY = Topology(
    ("O", "H"),
    np.array([0, 1, 1] * 2, dtype=np.int32),
    np.array([15.999, 1.008, 1.008] * 2),
    np.array([[0, 1], [0, 2], [3, 4], [3, 5]], dtype=np.int32),
)

WRITE_UNTIL_KILLED = """
import sys
import numpy as np
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.trajectory.h5md import H5MDWriter

n = 192
topology = Topology(("O",), np.zeros(n, np.int32), np.full(n, 16.0), np.empty((0, 2), np.int32))
writer = H5MDWriter(sys.argv[1], topology, np.full(3, 12.0), flush_interval=0)
for step in range(int(sys.argv[2])):
    x = np.full((n, 3), step + 1.0)
    writer.write(Frame(step, float(step), np.full(3, 12.0), x, x, x, x[:, 0], ThermoRow(*[float(step)] * 9)))
    print(writer.frames_written, flush=True)
"""


def make_frame(step: int, rng: np.random.Generator, n: int = 6, conserved: float | None = None) -> Frame:
    thermo = dict(zip(THERMO_COLUMNS, rng.normal(size=len(THERMO_COLUMNS)), strict=True))
    thermo["time"] = 0.5 * step
    if conserved is not None:
        thermo["conserved"] = conserved
    x, v, f = rng.normal(size=(3, n, 3)) * np.array([30.0, 0.05, 2.0])[:, None, None]
    return Frame(step, 0.5 * step, BOX + 0.01 * step, x, v, f, rng.normal(size=n), ThermoRow(**thermo))


@pytest.fixture
def frames(rng: np.random.Generator) -> list[Frame]:
    return [make_frame(step, rng) for step in range(0, 70, 10)]


@pytest.fixture
def recording(tmp_path: Path, frames: list[Frame]) -> Path:
    path = tmp_path / "run.h5md"
    with H5MDWriter(path, TOPOLOGY, BOX, metadata={"model": "water", "note": "Å"}) as writer:
        for frame in frames:
            writer.write(frame)
            writer.flush()
    return path


def assert_same(read: Frame, written: Frame, tolerance: float = 1e-6) -> None:
    assert read.step == written.step
    assert read.time == written.time
    np.testing.assert_allclose(read.box, written.box)
    for name in ("positions", "velocities", "forces", "losses"):
        np.testing.assert_allclose(getattr(read, name), getattr(written, name), rtol=tolerance, err_msg=name)
    for name in THERMO_COLUMNS:
        np.testing.assert_equal(getattr(read.thermo, name), getattr(written.thermo, name))


def test_what_is_written_is_read(recording: Path, frames: list[Frame]) -> None:
    with read_h5md(recording) as trajectory:
        assert len(trajectory) == len(frames)
        for read, written in zip(trajectory, frames, strict=True):
            assert_same(read, written)
        assert_same(trajectory.frame(-1), frames[-1])
        assert trajectory.metadata == {"model": "water", "note": "Å"}
        assert trajectory.creator.startswith("mldsim ")
        assert trajectory.topology.symbols == TOPOLOGY.symbols
        np.testing.assert_array_equal(trajectory.topology.species, TOPOLOGY.species)
        np.testing.assert_array_equal(trajectory.topology.masses, TOPOLOGY.masses)
        np.testing.assert_array_equal(trajectory.topology.bonds, TOPOLOGY.bonds)
        np.testing.assert_array_equal(trajectory.thermo()["temperature"], [f.thermo.temperature for f in frames])
        with pytest.raises(InputError, match="holds 7 frames; there is no frame 7"):
            trajectory.frame(7)


def test_double_precision_is_exact_but_for_the_unit_of_force(tmp_path: Path, frames: list[Frame]) -> None:
    with H5MDWriter(tmp_path / "x.h5md", TOPOLOGY, BOX, precision=Precision.DOUBLE) as writer:
        writer.write(frames[0])
    with read_h5md(tmp_path / "x.h5md") as trajectory:
        assert_same(trajectory.frame(0), frames[0], tolerance=1e-15)
        np.testing.assert_array_equal(trajectory.frame(0).positions, frames[0].positions)


def test_not_a_number_in_an_observable_is_allowed(tmp_path: Path, rng: np.random.Generator) -> None:
    with H5MDWriter(tmp_path / "x.h5md", TOPOLOGY, BOX) as writer:
        writer.write(make_frame(0, rng, conserved=np.nan))
    with read_h5md(tmp_path / "x.h5md") as trajectory:
        assert np.isnan(trajectory.frame(0).thermo.conserved)


def test_mdanalysis_reads_equal_numbers_in_its_own_units(recording: Path, frames: list[Frame]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import MDAnalysis

        universe = MDAnalysis.Universe(str(recording))
        assert len(universe.trajectory) == len(frames)
        for read, written in zip(universe.trajectory, frames, strict=True):
            assert read.time == pytest.approx(written.time * 1e-3)
            assert read.data["step"] == written.step
            assert read.data["temperature"] == written.thermo.temperature
            np.testing.assert_allclose(read.dimensions, [*written.box, 90, 90, 90], rtol=1e-6)
            np.testing.assert_allclose(read.positions, written.positions, rtol=1e-6)
            np.testing.assert_allclose(read.velocities, written.velocities * 1e3, rtol=1e-5)  # angstrom/ps
            np.testing.assert_allclose(read.forces, written.forces * units.KJ_MOL, rtol=1e-5)
        universe.trajectory.close()


def test_pyh5md_reads_equal_numbers(recording: Path, frames: list[Frame]) -> None:
    import pyh5md

    with pyh5md.File(str(recording), "r") as file:
        group = file.particles_group("trajectory")
        for name, attribute, unit in (
            ("position", "positions", 1.0),
            ("velocity", "velocities", 1.0),
            ("force", "forces", units.KJ_MOL),
            ("loss", "losses", 1.0),
        ):
            element = pyh5md.element(group, name)
            assert element.element_type == "TimeElement"
            np.testing.assert_array_equal(element.step[:], [frame.step for frame in frames])
            np.testing.assert_array_equal(element.time[:], [frame.time for frame in frames])
            expected = unit * np.array([getattr(frame, attribute) for frame in frames])
            np.testing.assert_allclose(element.value[:], expected, rtol=1e-6)
        np.testing.assert_array_equal(pyh5md.element(group, "species")[:], [8, 1, 1, 8, 1, 1])
        np.testing.assert_array_equal(pyh5md.element(group, "mass")[:], TOPOLOGY.masses)
        edges = pyh5md.element(group["box"], "edges")
        np.testing.assert_allclose(edges.value[:], [frame.box for frame in frames])
        temperature = pyh5md.element(file["observables"], "temperature")
        np.testing.assert_array_equal(temperature.value[:], [frame.thermo.temperature for frame in frames])


def test_the_file_follows_the_standard(recording: Path) -> None:
    with h5py.File(recording) as file:
        assert list(file["h5md"].attrs["version"]) == [1, 1]
        assert h5py.check_string_dtype(file["h5md/author"].attrs.get_id("name").dtype).length is not None
        assert list(file["particles/trajectory/box"].attrs["boundary"]) == [b"periodic"] * 3
        position = file["particles/trajectory/position"]
        for other in ("velocity", "force", "loss", "box/edges"):
            for series in ("step", "time"):
                assert file[f"particles/trajectory/{other}/{series}"].id.__hash__() == position[series].id.__hash__()
        assert h5py.check_string_dtype(position["value"].attrs.get_id("unit").dtype).length is None
        bonds = file["connectivity/bonds"]
        assert file[bonds.attrs["particles_group"]].name == "/particles/trajectory"


def test_a_growing_file_is_open_to_everyone(tmp_path: Path, frames: list[Frame]) -> None:
    path = tmp_path / "run.h5md"
    with H5MDWriter(path, TOPOLOGY, BOX) as writer:
        for count, frame in enumerate(frames, start=1):
            writer.write(frame)
            writer.flush()
            with h5py.File(path) as file:
                assert len(file["particles/trajectory/position/value"]) == count
        size = path.stat().st_size
    assert path.stat().st_size == size


def test_a_reader_elsewhere_does_not_end_the_recording(
    tmp_path: Path, frames: list[Frame], run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = tmp_path / "run.h5md"
    with H5MDWriter(path, TOPOLOGY, BOX) as writer:
        writer.write(frames[0])
        writer.flush()
        script = "import h5py, sys; f = h5py.File(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
        reader = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        with reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "open\n"
            writer.write(frames[1])
            writer.flush()
    assert writer.frames_written == 2


KILL_ITSELF = """
import os, signal
import h5py

resize, calls = h5py.Dataset.resize, 0

def resize_or_die(dataset, *args, **kwargs):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        if int(sys.argv[3]) % 2:
            dataset.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return resize(dataset, *args, **kwargs)

h5py.Dataset.resize = resize_or_die
"""
SERIES = 17  # that one append extends


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_kill_within_an_append_leaves_all_frames_before_it(tmp_path: Path) -> None:
    script = WRITE_UNTIL_KILLED.replace("writer = ", KILL_ITSELF + "\nwriter = ")
    # In the third append: at its beginning, between two series, before the positions; and one between two appends.
    moments = [2 * SERIES + k for k in (1, 2, 5, 8, 14, 15, 16, 17)]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / f"{m}.h5md"), "10", str(m)], stdout=subprocess.PIPE
        )
        for m in moments
    ]
    for moment, writer in zip(moments, writers, strict=True):
        flushed = int(writer.communicate()[0].split()[-1])
        assert writer.returncode == -9
        assert flushed == 2
        path = tmp_path / f"{moment}.h5md"
        with pytest.raises(OSError, match="already open for write"):
            h5py.File(path)  # what the append was in the middle of, until somebody mends it:
        check_killed(path, flushed)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_kill_at_any_moment_leaves_all_flushed_frames(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE_UNTIL_KILLED, str(tmp_path / f"{k}.h5md"), "100000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(4)
    ]
    for k, writer in enumerate(writers):
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(3)]
        writer.kill()
        said += writer.stdout.read().split()
        writer.communicate()
        check_killed(tmp_path / f"{k}.h5md", int(said[-1]))


def check_killed(path: Path, flushed: int) -> None:
    """All flushed frames are there and right; afterwards any program opens the file and finds series of one length."""
    with read_h5md(path) as trajectory:
        assert trajectory.n_frames >= flushed
        for i, frame in enumerate(trajectory):
            assert frame.step == i
            assert (frame.positions == i + 1).all()
            assert (frame.losses == i + 1).all()
    with h5py.File(path) as file:
        names = [
            f"particles/trajectory/{name}/value" for name in ("position", "velocity", "force", "loss", "box/edges")
        ]
        lengths = {len(file[name]) for name in (*names, "observables/heat/value")}
        assert lengths == {len(file["particles/trajectory/position/step"])} == {trajectory.n_frames}
    assert not repair(path)


def test_checksum_is_the_one_of_hdf5(recording: Path) -> None:
    superblock = recording.read_bytes()[:48]
    assert lookup3(superblock[:44]) == int.from_bytes(superblock[44:], "little")
    # lookup3.c, driver5
    assert lookup3(b"") == 0xDEADBEEF
    assert lookup3(b"Four score and seven years ago") == 0x17770551


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file size")
@pytest.mark.parametrize("limit", [1_250_000, 1_400_000])
def test_a_full_disk_leaves_a_valid_file(
    tmp_path: Path, limit: int, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    path = tmp_path / "run.h5md"
    script = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n" + WRITE_UNTIL_KILLED
    ended = run_python("-c", script, str(path), "1000")
    assert ended.returncode == 1, ended.stderr
    assert "could not be extended (file too large)" in ended.stderr
    written = int(ended.stdout.split()[-1]) if ended.stdout else 0
    assert f"the {written} frames written so far are valid." in ended.stderr
    assert path.stat().st_size <= limit
    with h5py.File(path) as file:
        assert len(file["particles/trajectory/position/value"]) == written
    with read_h5md(path) as trajectory:
        assert [frame.step for frame in trajectory] == list(range(written))


def test_an_existing_file_is_kept_unless_forced(recording: Path, frames: list[Frame]) -> None:
    before = recording.read_bytes()
    with pytest.raises(InputError, match=r"run\.h5md exists already"):
        H5MDWriter(recording, TOPOLOGY, BOX)
    assert recording.read_bytes() == before
    with H5MDWriter(recording, TOPOLOGY, BOX, force=True) as writer:
        writer.write(frames[0])
    with read_h5md(recording) as trajectory:
        assert len(trajectory) == 1
    assert [entry.name for entry in recording.parent.iterdir()] == ["run.h5md"]


def test_a_folder_that_cannot_take_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        H5MDWriter(tmp_path / "nowhere" / "run.h5md", TOPOLOGY, BOX)
    with pytest.raises(InputError, match="is a folder"):
        H5MDWriter(tmp_path, TOPOLOGY, BOX)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        H5MDWriter(tmp_path / "file" / "run.h5md", TOPOLOGY, BOX)


def test_a_frame_that_does_not_belong(tmp_path: Path, rng: np.random.Generator) -> None:
    with H5MDWriter(tmp_path / "run.h5md", TOPOLOGY, BOX) as writer:
        writer.write(make_frame(10, rng))
        with pytest.raises(ValueError, match="does not come after"):
            writer.write(make_frame(10, rng))
        with pytest.raises(ValueError, match="3 agents in a file of 6"):
            writer.write(make_frame(20, rng, n=3))


def test_a_file_without_frames_tells_what_it_can(tmp_path: Path) -> None:
    H5MDWriter(tmp_path / "run.h5md", TOPOLOGY, BOX).close()
    with read_h5md(tmp_path / "run.h5md") as trajectory:
        assert len(trajectory) == 0
        np.testing.assert_array_equal(trajectory.box, BOX)
        assert trajectory.topology.n_agents == 6
        with pytest.raises(InputError, match="there is no frame -1"):
            trajectory.frame(-1)


def test_what_is_not_a_trajectory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_h5md(tmp_path / "absent.h5md")
    with pytest.raises(InputError, match="is a folder"):
        read_h5md(tmp_path)
    (tmp_path / "text.h5md").write_text("not HDF5 " * 20)
    with pytest.raises(InputError, match="not an HDF5 file"):
        read_h5md(tmp_path / "text.h5md")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["positions"] = np.zeros((1, 3, 3))
    with pytest.raises(InputError, match="not an H5MD trajectory"):
        read_h5md(tmp_path / "other.h5")
    with pytest.raises(InputError, match="cannot be repaired"):
        repair(tmp_path / "text.h5md")


def test_a_file_cut_short_is_refused_in_a_sentence(recording: Path) -> None:
    whole = recording.read_bytes()
    for length in (10, 60, 2000, len(whole) // 2):
        recording.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"run\.h5md"):
            read_h5md(recording)


def break_unit(file: h5py.File) -> None:
    file["particles/trajectory/position/value"].attrs["unit"] = "furlong"


def break_species(file: h5py.File) -> None:
    file["particles/trajectory/species"][2] = 250


def break_bonds(file: h5py.File) -> None:
    file["connectivity/bonds"][0] = [0, 99]


def break_box(file: h5py.File) -> None:
    file["particles/trajectory/box/edges/value"][3] = [9.0, -9.0, 9.0]


def break_mass(file: h5py.File) -> None:
    file["particles/trajectory/mass"][0] = np.nan


def break_force(file: h5py.File) -> None:
    del file["particles/trajectory/force/value"]
    file["particles/trajectory/force/value"] = np.zeros((7, 5, 3))


def remove_position(file: h5py.File) -> None:
    del file["particles/trajectory/position"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (break_unit, "the unit 'furlong' of /particles/trajectory/position/value is not one of"),
        (break_species, "250 is not the atomic number"),
        (break_bonds, "names a particle that does not exist"),
        (break_box, "not a positive number"),
        (break_mass, "masses"),
        (break_force, "the array of the force has the wrong shape"),
        (remove_position, "no positions"),
    ],
)
def test_a_wrong_file_is_refused(recording: Path, change: Callable[[h5py.File], None], sentence: str) -> None:
    with h5py.File(recording, "r+") as file:
        change(file)
    with pytest.raises(InputError, match=sentence):
        read_h5md(recording)


def test_a_position_that_is_no_number_is_told_with_its_frame(recording: Path) -> None:
    with h5py.File(recording, "r+") as file:
        file["particles/trajectory/position/value"][4, 2, 1] = np.nan
    with read_h5md(recording) as trajectory:
        trajectory.frame(3)
        with pytest.raises(InputError, match=r"Frame 4 of .* not a finite number"):
            trajectory.frame(4)


def test_a_file_of_another_program(tmp_path: Path) -> None:
    """A minimal H5MD file with nm and ps, fixed box, constant increments, no masses, velocities or forces."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.create_group("h5md").attrs["version"] = [1, 1]
        group = file.create_group("particles/all")
        group["box/edges"] = np.diag([0.9, 1.0, 1.1])
        group["position/value"] = np.arange(18.0).reshape(2, 3, 3)
        group["position/value"].attrs["unit"] = "nm"
        group["position/step"] = 10
        group["position/time"] = 0.02
        group["position/time"].attrs["unit"] = "ps"
        group["species"] = [8, 1, 1]
    with read_h5md(path) as trajectory:
        frame = trajectory.frame(1)
        assert (frame.step, frame.time) == (10, 20.0)
        np.testing.assert_allclose(frame.box, [9.0, 10.0, 11.0])
        np.testing.assert_allclose(frame.positions, 10 * np.arange(9.0, 18.0).reshape(3, 3))
        assert np.isnan(frame.velocities).all()
        assert trajectory.topology.symbols == ("O", "H")
        np.testing.assert_allclose(trajectory.topology.masses, [15.999, 1.008, 1.008], atol=1e-3)


def test_after_a_failure_the_writer_says_it_is_closed(tmp_path: Path, frames: list[Frame]) -> None:
    path = tmp_path / "run.h5md"
    writer = H5MDWriter(path, TOPOLOGY, BOX)
    writer.write(frames[0])
    path.unlink()
    with pytest.raises(WorkFailed, match="could not be extended"):
        writer.flush()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(frames[1])


def flagged(path: Path) -> None:
    """What a kill at the beginning of an append leaves."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        file.swmr_mode = True
        killed = path.read_bytes()
    path.write_bytes(killed)


def test_a_killed_file_that_must_not_be_changed_is_read_all_the_same(
    recording: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    flagged(recording)
    before = recording.read_bytes()

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("mldsim.trajectory.h5md_reader.clear_flags", refused)
    with read_h5md(recording) as trajectory:
        for read, written in zip(trajectory, frames, strict=True):
            assert_same(read, written)
    assert recording.read_bytes() == before
    with pytest.raises(InputError, match="cannot be repaired: permission denied"):
        repair(recording)


def test_a_file_that_another_program_writes_is_not_repaired(recording: Path) -> None:
    with h5py.File(recording, "r+") as file:
        file["h5md/creator"].attrs["name"] = np.bytes_(b"other")
    flagged(recording)
    before = recording.read_bytes()
    with pytest.raises(InputError, match="written by another program"):
        repair(recording)
    assert recording.read_bytes() == before


def test_a_killed_file_that_is_cut_short_is_refused(recording: Path) -> None:
    flagged(recording)
    whole = recording.read_bytes()
    for length in (48, 2000, len(whole) // 2):
        recording.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"run\.h5md"):
            read_h5md(recording)
