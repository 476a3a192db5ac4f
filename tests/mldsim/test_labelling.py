"""Labelling with CP2K: with a stand-in that speaks as CP2K does, and with CP2K itself where it is installed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mldsim import units
from mldsim.cli import main
from mldsim.dataset import LabelledFrames, save_frames
from mldsim.errors import InputError
from mldsim.labelling import EngineKind, label, make_engine, read_configurations, thinned
from mldsim.labelling.cp2k import PROGRAMS, abort_message
from mldsim.readers import load_frames

FAKE = '''\
#!{python}
"""Speaks as `cp2k --shell` does; the energy (hartree) is |x|^2 / 200 (bohr), so the forces are -x / 100."""
import os, re, sys, time
if "--version" in sys.argv:
    print(" CP2K version", os.environ.get("FAKE_VERSION", "2099.1"))
    sys.exit()
log = open(os.environ["FAKE_LOG"], "a", buffering=1)
print("start", os.getpid(), file=log)
mode, _, at = os.environ.get("FAKE_MODE", "").partition(":")
seen, out, x, numbers = 0, None, [], []
ABORT = """
 *******************************************************************************
 *   ___                                                                       *
 *  /   \\\\                                                                      *
 * [ABORT]                                                                     *
 *  \\\\___/     Cholesky decomposition failed. Matrix ill                        *
 *    |       conditioned?                                                      *
 *  O/|                                                                        *
 * /| |                                                                        *
 * / \\\\                                                       cp_dbcsr.F:121   *
 *******************************************************************************
"""
print("* READY", flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "SET_POS":
        n = int(sys.stdin.readline())
        x = [float(sys.stdin.readline()) for _ in range(n)]
        assert sys.stdin.readline().strip() == "*END"
        print(0.1)
    elif words[0] == "LOAD":
        text = open(words[1]).read()
        print("load", re.search(r"ABC \\[bohr\\] (\\S+)", text)[1], file=log)
        out = open(words[2], "w")
        print(1)
    elif words[0] == "EVAL_EF":
        seen += 1
        print("SCF run converged", file=out, flush=True)
        if mode == "slow" and seen > 2:
            time.sleep(60)
        if mode == "abort" and seen == int(at):
            print(ABORT, file=out, flush=True)
            sys.exit(1)
        if mode == "ends" and seen == int(at) and not os.path.exists(os.environ["FAKE_LOG"] + ".ended"):
            open(os.environ["FAKE_LOG"] + ".ended", "w").close()
            print(ABORT.replace("Cholesky", "SCF run NOT converged."), file=out, flush=True)
            sys.exit(1)
        if mode == "die" and seen == int(at):
            os.kill(os.getpid(), 9)
        if mode == "unconverged" and seen == int(at):
            print(" *** WARNING in qs_scf.F:601 :: SCF run NOT converged ***", file=out, flush=True)
        print("frame", x[0], file=log)
    elif words[0] == "GET_E":
        print(sum(v * v for v in x) / 200)
    elif words[0] == "GET_F":
        print(len(x))
        for i in range(0, len(x), 3):
            print(*(-v / 100 * (1e4 if mode == "huge" and seen == int(at) else 1) for v in x[i : i + 3]))
        print("* END")
    print("* READY", flush=True)
'''


def water(n_frames: int = 1, molecules: int = 8, edge: float = 6.3, seed: int = 1) -> LabelledFrames:
    """Frames of water molecules on a grid, turned at random; forces are none that anyone computed."""
    rng = np.random.default_rng(seed)
    side = round(molecules ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3) * edge / side
    frames = []
    for _ in range(n_frames):
        atoms = []
        for oxygen in grid + rng.normal(0, 0.05, grid.shape):
            a, b = np.linalg.qr(rng.normal(size=(3, 2)))[0].T
            angle = np.deg2rad(104.5)
            atoms += [oxygen, oxygen + 0.97 * a, oxygen + 0.97 * (np.cos(angle) * a + np.sin(angle) * b)]
        frames.append(atoms)
    positions = np.array(frames)
    return LabelledFrames(
        symbols=("O", "H", "H") * side**3,
        positions=positions,
        forces=rng.normal(size=positions.shape),
        boxes=np.full(3, edge),
        steps=10 * np.arange(n_frames),
        provenance={"theory": "none"},
    )


class Stand:
    """A folder with the stand-in for CP2K, its data, and frames to label."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.set = folder, monkeypatch.setenv
        self.output = folder / "out.h5"
        self.unfinished = folder / "out.h5.labelling"
        self.log = folder / "log"
        self.program = folder / "bin" / "cp2k.psmp"
        self.program.parent.mkdir()
        self.program.write_text(FAKE.format(python=sys.executable).replace("\\\\", "\\"))
        self.program.chmod(0o755)
        data = folder / "data"
        for kind in EngineKind:
            for name in make_engine(kind).data_files:
                (data / name).parent.mkdir(parents=True, exist_ok=True)
                (data / name).touch()
        (data / "BASIS_MOLOPT").write_text("H DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q1\nO  DZVP-MOLOPT-SR-GTH-q6\n")
        (data / "GTH_POTENTIALS").write_text("H GTH-PBE-q1 GTH-PBE\nO GTH-PBE-q6 GTH-PBE\n")
        self.set("PATH", str(self.program.parent))
        self.set("CP2K_DATA_DIR", str(data))
        self.set("FAKE_LOG", str(self.log))

    def frames(self, systems: list[LabelledFrames], name: str = "in.h5") -> Path:
        save_frames(self.folder / name, systems)
        return self.folder / name

    def logged(self, what: str) -> list[str]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line.split(maxsplit=1)[1] for line in lines if line.startswith(what) and " " in line]


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path, monkeypatch)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one sentence that a command ends with."""

    def run(*arguments: object, code: int) -> str:
        assert main([str(argument) for argument in arguments]) == code
        told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mldsim: ")]
        assert len(told) == 1
        return told[0]

    return run


def energy_and_forces(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the stand-in answers, eV and eV/angstrom."""
    x = positions / units.BOHR
    return np.sum(x**2, axis=(1, 2)) / 200 * units.HARTREE, -x / 100 * units.HARTREE / units.BOHR


@pytest.mark.parametrize("kind", EngineKind)
def test_frames_get_their_labels_and_keep_their_order(
    stand: Stand, kind: EngineKind, capsys: pytest.CaptureFixture[str]
) -> None:
    given = water(5)
    path = stand.frames([given])
    assert main(["label", str(path), "-o", str(stand.output), "--engine", kind.value, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["frames"], told["resumed"], told["left_out"]) == (5, 0, 0)
    (found,) = load_frames(stand.output)
    energies, forces = energy_and_forces(given.positions)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-12)
    np.testing.assert_allclose(found.energies, energies, rtol=1e-12)
    np.testing.assert_array_equal(found.positions, given.positions)
    np.testing.assert_array_equal(found.steps, given.steps)
    assert found.provenance["engine"] == kind.value
    assert found.provenance["code"] == "CP2K version 2099.1"
    assert found.provenance["theory"] == told["theory"]
    assert "METHOD" in found.provenance["input"]
    assert len(stand.logged("start")) == len(stand.logged("load")) == 1
    assert not stand.unfinished.exists()


def test_another_box_is_read_in_anew(stand: Stand) -> None:
    path = stand.frames([water(2, edge=6.3), water(2, edge=6.6, seed=2)])
    found = label(read_configurations(path), make_engine(EngineKind.XTB), stand.output)
    assert [system.n_frames for system in found.systems] == [2, 2]
    assert len(stand.logged("start")) == 1
    assert [round(float(edge) * units.BOHR, 6) for edge in stand.logged("load")] == [6.3, 6.6]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_no_process_and_the_same_command_goes_on(stand: Stand, number: signal.Signals) -> None:
    given = water(4)
    command = ["label", str(stand.frames([given])), "-o", str(stand.output), "--engine", "cp2k-nnp"]
    stand.set("FAKE_MODE", "slow")
    process = subprocess.Popen(
        [sys.executable, "-m", "mldsim", *command], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(stand.logged("frame")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # the second label is on its way to the disk
    process.send_signal(number)
    told = process.communicate(timeout=30)[1]
    if number is not signal.SIGKILL:
        assert process.returncode == 1
        assert "Interrupted with 2 frames labelled" in told
    (worker,) = stand.logged("start")
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(int(worker))
    assert not stand.output.exists()

    stand.set("FAKE_MODE", "")
    assert main(command) == 0
    np.testing.assert_allclose(load_frames(stand.output)[0].forces, energy_and_forces(given.positions)[1])
    assert len(stand.logged("frame")) == 4
    assert not stand.unfinished.exists()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()


def test_cp2ks_own_message_is_told_and_what_is_labelled_stays(stand: Stand, refused: Callable[..., str]) -> None:
    command = ["label", stand.frames([water(4)]), "-o", stand.output, "--engine", "cp2k-xtb"]
    stand.set("FAKE_MODE", "abort:3")
    told = refused(*command, code=1)
    assert "Cholesky decomposition failed. Matrix ill conditioned? (cp_dbcsr.F:121)" in told
    assert "frame 2 of" in told
    assert "in.h5" in told
    assert str(stand.unfinished) in told
    assert (stand.unfinished / "cp2k.inp").is_file()
    assert "[ABORT]" in (stand.unfinished / "cp2k.out").read_text()
    stand.set("FAKE_MODE", "")
    assert main([str(word) for word in command]) == 0
    assert len(stand.logged("frame")) == 4


def test_a_killed_cp2k_is_told(stand: Stand, refused: Callable[..., str]) -> None:
    stand.set("FAKE_MODE", "die:1")
    told = refused("label", stand.frames([water(2)]), "-o", stand.output, "--engine", "cp2k-nnp", code=1)
    assert "signal 9" in told


def test_forces_that_nothing_stands_are_left_out_and_named(stand: Stand) -> None:
    """A data set with them could not be read again."""
    stand.set("FAKE_MODE", "huge:2")
    labels = label(read_configurations(stand.frames([water(3)])), make_engine(EngineKind.NNP), stand.output)
    assert labels.left_out == 1
    assert "which no molecule stands (1)" in load_frames(stand.output)[0].provenance["left_out"]


@pytest.mark.parametrize("how", ["unconverged:2", "ends:2"])
def test_unconverged_frames_are_left_out_and_named(stand: Stand, how: str) -> None:
    """Whether CP2K warns and goes on, or ends over it as newer versions do."""
    stand.set("FAKE_MODE", how)
    given = water(3)
    labels = label(read_configurations(stand.frames([given])), make_engine(EngineKind.DFT), stand.output)
    assert labels.left_out == 1
    (found,) = load_frames(stand.output)
    np.testing.assert_array_equal(found.positions, given.positions[[0, 2]])
    assert "1 frame whose wave function did not converge (1)" in found.provenance["left_out"]


def test_a_missing_cp2k_is_one_sentence(stand: Stand, refused: Callable[..., str]) -> None:
    command = ["label", stand.frames([water()]), "-o", stand.output, "--engine", "cp2k-nnp"]
    (stand.folder / "data" / "NNP/bulkH2O-jcp2020-cnnp/nnp-1/input.nn").unlink()
    told = refused(*command, code=1)
    assert "nnp-1/input.nn" in told
    assert "CP2K_DATA_DIR" in told
    assert "/nowhere" in refused(*command, "--cp2k-data", "/nowhere", code=1)
    assert "no-such-cp2k" in refused(*command, "--cp2k", "no-such-cp2k", code=1)
    stand.program.unlink()
    told = refused(*command, code=1)
    assert "CP2K is not installed" in told
    assert "apt-get install cp2k" in told


def test_what_an_engine_cannot_do_is_refused_before_it_starts(stand: Stand, refused: Callable[..., str]) -> None:
    from dataclasses import replace

    salty = replace(water(), symbols=("Na", *water().symbols[1:]))
    files = {"salty.h5": salty}
    for name, system in files.items():
        stand.frames([system], name)
    to = ["-o", stand.output, "--engine"]
    assert "Na" in refused("label", stand.folder / "salty.h5", *to, "cp2k-nnp", code=2)
    assert "Na" in refused("label", stand.folder / "salty.h5", *to, "cp2k-dft", code=2)
    tilted = stand.folder / "tilted.xyz"
    tilted.write_text('2\nLattice="5 0 0 1 5 0 0 0 5" Properties=species:S:1:pos:R:3\nO 0 0 0\nH 1 0 0\n')
    assert "not orthorhombic" in refused("label", tilted, *to, "cp2k-xtb", code=2)
    fused = stand.folder / "fused.xyz"
    fused.write_text('2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3\nO 0 0 0\nH 4.9 0 0\n')
    assert "0.1 angstrom apart" in refused("label", fused, *to, "cp2k-xtb", code=2)
    far = stand.folder / "far.xyz"
    far.write_text('2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3\nO 0 0 0\nH 1.8 0 0\n')
    assert "another unit" in refused("label", far, *to, "cp2k-xtb", code=2)
    bare = stand.folder / "bare.xyz"
    bare.write_text("2\n\nO 0 0 0\nH 1 0 0\n")
    assert "--cell" in refused("label", bare, *to, "cp2k-xtb", code=2)
    path = stand.frames([water()])
    assert "200 to 2000" in refused("label", path, *to, "cp2k-dft", "--dft-cutoff", "20", code=2)
    assert not stand.logged("start")
    assert main(["label", str(bare), "--cell", "5", *map(str, to), "cp2k-xtb"]) == 0
    assert load_frames(stand.output)[0].boxes[0].tolist() == [5, 5, 5]


def test_theories_never_mix(stand: Stand, refused: Callable[..., str]) -> None:
    path = stand.frames([water(3)])
    command = ["label", path, "-o", stand.output, "--engine"]
    stand.set("FAKE_MODE", "abort:2")
    refused(*command, "cp2k-dft", code=1)
    stand.set("FAKE_MODE", "")
    assert "another engine" in refused(*command, "cp2k-xtb", code=2)
    assert "--dft-cutoff" in refused(*command, "cp2k-dft", "--dft-cutoff", "500", code=2)
    assert "other frames" in refused(*command, "cp2k-dft", "--frames", "2", code=2)
    stand.set("FAKE_VERSION", "2099.2")
    assert "2099.1 instead of" in refused(*command, "cp2k-dft", code=2)
    assert len(stand.logged("start")) == 1
    assert main([*map(str, command), "cp2k-xtb", "--force"]) == 0
    assert load_frames(stand.output)[0].provenance["engine"] == "cp2k-xtb"
    assert len(stand.logged("frame")) == 1 + 3


def test_a_torn_record_is_labelled_again(stand: Stand) -> None:
    given = water(3)
    configurations, engine = read_configurations(stand.frames([given])), make_engine(EngineKind.NNP)
    stand.set("FAKE_MODE", "abort:3")
    with pytest.raises(Exception, match="CP2K says"):
        label(configurations, engine, stand.output)
    records = stand.unfinished / "labels.bin"
    records.write_bytes(records.read_bytes()[:-5])
    stand.set("FAKE_MODE", "")
    assert label(configurations, engine, stand.output).resumed == 1
    np.testing.assert_allclose(load_frames(stand.output)[0].forces, energy_and_forces(given.positions)[1])


def test_two_commands_do_not_share_a_folder(stand: Stand) -> None:
    import fcntl

    stand.unfinished.mkdir()
    configurations = read_configurations(stand.frames([water()]))
    with (stand.unfinished / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another command"):
            label(configurations, make_engine(EngineKind.NNP), stand.output)


def test_frames_are_thinned_evenly_over_all_systems(stand: Stand) -> None:
    systems = read_configurations(stand.frames([water(10), water(4, seed=2)]))
    assert [s.numbers.tolist() for s in thinned(systems, every=3)] == [[0, 3, 6, 9], [0, 3]]
    assert [s.numbers.tolist() for s in thinned(systems, at_most=2)] == [[0], [3]]
    assert sum(s.n_frames for s in thinned(systems, at_most=7)) == 7
    with pytest.raises(InputError):
        thinned(systems, every=0)


def test_trajectories_are_read(tmp_path: Path) -> None:
    from mldsim.frames import Frame, ThermoRow, Topology
    from mldsim.trajectory.h5md import H5MDWriter

    given = water(2)
    species = np.array([0 if symbol == "O" else 1 for symbol in given.symbols], np.int32)
    topology = Topology(("O", "H"), species, np.where(species == 0, 15.999, 1.008), np.empty((0, 2), np.int32))
    with H5MDWriter(tmp_path / "a.h5md", topology, given.boxes[0]) as writer:
        for number, positions in enumerate(given.positions):
            zero = np.zeros_like(positions)
            row = ThermoRow(*[float(number)] * 9)
            writer.write(Frame(number, float(number), given.boxes[0], positions, zero, zero, zero[:, 0], row))
    (found,) = read_configurations(tmp_path / "a.h5md")
    assert found.symbols == given.symbols
    np.testing.assert_allclose(found.positions, given.positions, atol=1e-5)
    np.testing.assert_allclose(found.boxes, given.boxes)


def test_the_message_is_found_in_the_box_that_cp2k_draws() -> None:
    box = r"""
 *******************************************************************************
 *   ___                                                                       *
 *  /   \                                                                      *
 * [ABORT]                                                                     *
 *  \___/            found an unknown keyword NONSENSE in section SCF          *
 *    |                                                                        *
 *  O/|                                                                        *
 * /| |                                                                        *
 * / \                                               input/input_parsing.F:246 *
 *******************************************************************************
"""
    assert abort_message(box) == "found an unknown keyword NONSENSE in section SCF (input/input_parsing.F:246)"
    assert abort_message("SCF run converged") == ""


# -- CP2K itself --------------------------------------------------------------------------------------------------

real = pytest.mark.skipif(not any(map(shutil.which, PROGRAMS)), reason="CP2K is not installed")


@real
@pytest.mark.parametrize(("kind", "tolerance"), [(EngineKind.NNP, 1e-4), (EngineKind.XTB, 2e-3)])
def test_forces_of_cp2k_are_the_slope_of_its_energy(
    tmp_path: Path, kind: EngineKind, tolerance: float, rng: np.random.Generator
) -> None:
    """A unit or an order of atoms that is wrong anywhere would show."""
    one = water()
    direction = rng.normal(size=one.positions.shape[1:])
    direction /= np.linalg.norm(direction)
    step = 5e-3
    save_frames(
        tmp_path / "in.h5",
        [
            LabelledFrames(
                symbols=one.symbols,
                positions=one.positions[0] + step * np.array([0, -1, 1])[:, None, None] * direction,
                forces=np.repeat(one.forces, 3, axis=0),
                boxes=one.boxes[0],
            )
        ],
    )
    label(read_configurations(tmp_path / "in.h5"), make_engine(kind), tmp_path / "out.h5", threads=1)
    (found,) = load_frames(tmp_path / "out.h5")
    assert found.energies is not None
    slope = -(found.energies[2] - found.energies[1]) / (2 * step)
    assert slope == pytest.approx(np.sum(found.forces[0] * direction), rel=tolerance, abs=tolerance)


@real
def test_a_label_does_not_depend_on_the_frames_before(tmp_path: Path) -> None:
    given = water(2)
    engine = make_engine(EngineKind.NNP)
    save_frames(tmp_path / "both.h5", [given])
    save_frames(tmp_path / "second.h5", [given.take([1])])
    both, second = (
        label(read_configurations(tmp_path / f"{name}.h5"), engine, tmp_path / f"{name}-labelled.h5").systems[0]
        for name in ("both", "second")
    )
    np.testing.assert_allclose(both.forces[1], second.forces[0], rtol=0, atol=1e-8)


@real
def test_cp2ks_complaint_about_its_data_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Stand(tmp_path, monkeypatch).folder / "data"
    monkeypatch.undo()
    save_frames(tmp_path / "in.h5", [water()])
    with pytest.raises(Exception, match="CP2K failed at frame 0"):
        label(read_configurations(tmp_path / "in.h5"), make_engine(EngineKind.NNP), tmp_path / "out.h5", data=data)
