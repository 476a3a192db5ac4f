"""Labelling so that nothing is lost: every label is on disk before the next frame is begun.

Beside the data set that is being made stands a folder, its name with ``.labelling`` added::

    job.json     what is labelled (SHA-256 of the frames) and by what (engine, CP2K's version, its input)
    labels.bin   one record per labelled frame
    cp2k.*       input and output of CP2K, to look into when it fails

The same command goes on from it, in whatever way the one before was stopped; it is gone when the data set is written.
Labels of different theories never meet: what is not of this job is refused.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LARGEST_FORCE_RMS, LabelledFrames, Progress, save_frames
from mldsim.errors import Cancelled, InputError, WorkFailed
from mldsim.files import locked, reason
from mldsim.labelling.cp2k import Cp2kFailed, Cp2kShell, NotConverged, find_data, find_program, usable_cores, version_of
from mldsim.labelling.engines import Engine
from mldsim.labelling.sources import Configurations, fingerprint

_FORMAT, _SCHEMA = "mldsim-labelling", 1
_JOB, _LABELS, _LOCK = "job.json", "labels.bin", "lock"
_FIRST_MADE = {_LOCK, f"{_JOB}.part"}
_HEAD = struct.Struct("<qqd")
"""System, frame of it, energy (eV; NaN where CP2K did not converge); then forces, then a CRC-32 of all."""
_CHECK = struct.Struct("<I")


class NothingLabelled(WorkFailed):
    """All frames of a job were computed, and none has a label that can be used."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What came of a job.

    Attributes
    ----------
    systems : list of LabelledFrames
        As they were written.
    resumed : int
        How many of the frames an earlier, stopped command had labelled.
    left_out : int
        Frames whose wave function did not converge or whose forces no molecule stands.
    code : str
        CP2K's version, as it tells it.
    """

    systems: list[LabelledFrames]
    resumed: int
    left_out: int
    code: str


def working_folder(output: Path) -> Path:
    """Where the job that makes this data set keeps its files."""
    return output.with_name(f"{output.name}.labelling")


def label(
    systems: Sequence[Configurations],
    engine: Engine,
    output: str | Path,
    *,
    program: str | Path | None = None,
    data: str | Path | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Labels:
    """Compute energies and forces with CP2K and write them as a data set.

    Parameters
    ----------
    systems : sequence of Configurations
    engine : Engine
    output : path
        The data set. Its frames keep the order of the given ones.
    program, data : path, optional
        CP2K and its data folder; found on PATH, and in CP2K_DATA_DIR or beside the program.
    threads : int, optional
        Of OpenMP; else OMP_NUM_THREADS, or all cores where the engine gains from them.
    force : bool
        Replace `output`, and drop the unfinished labels of another job.
    progress : callable, optional
        Told the fraction of what was left to do, after each frame.

    Raises
    ------
    InputError
        When there is nothing to label, an element is not the engine's, or unfinished labels are of another job.
    NothingLabelled
        When no wave function converged, or all forces are such that no molecule stands them.
    WorkFailed
        When CP2K is missing or fails; what was labelled is kept.
    Cancelled
        When the user interrupts; what was labelled is kept.
    """
    output = Path(output)
    if not systems:
        raise InputError("There are no frames to label.")
    if threads is not None and threads < 1:
        raise InputError(f"CP2K needs at least one thread; {threads} were given.")
    if output.exists() and not force:
        raise InputError(f"{output} exists already; choose another name or use --force to replace it.")
    found = find_program(program)
    code = version_of(found)
    data_folder = find_data(found, data)
    engine.check_data(data_folder)
    for system in systems:
        engine.check_elements(system.symbols, system.source, data_folder)
    elements = sorted({symbol for system in systems for symbol in system.symbols})
    job: dict[str, str | int] = {
        "format": _FORMAT,
        "schema": _SCHEMA,
        "engine": engine.kind.value,
        "code": code,
        "input": engine.theory_input(elements, data_folder),
        "frames": fingerprint(systems),
    }
    folder = working_folder(output)
    if threads is None and "OMP_NUM_THREADS" not in os.environ:
        threads = usable_cores() if engine.threaded else 1
    with _telling(folder), _opened(folder, job, force) as store:
        resumed = len(store.labels)
        try:
            _compute(systems, engine, found, data_folder, folder, threads, store, progress)
        except KeyboardInterrupt:
            raise Cancelled(
                f"Interrupted with {_count(len(store.labels))} labelled; the same command goes on from there "
                f"({folder} keeps them)."
            ) from None
        labelled = _assembled(systems, store.labels, engine, job, output)
        if not labelled:
            raise NothingLabelled(
                "No label can be used: wave functions did not converge, or forces are such that no molecule stands "
                f"them; CP2K's output is {folder / 'cp2k.out'}."
            )
        save_frames(output, labelled, force=force)
    rmtree(folder, ignore_errors=True)
    total, kept = (sum(system.n_frames for system in some) for some in (systems, labelled))
    return Labels(labelled, resumed, total - kept, code)


def _compute(
    systems: Sequence[Configurations],
    engine: Engine,
    program: Path,
    data: Path,
    folder: Path,
    threads: int | None,
    store: _Store,
    progress: Progress | None,
) -> None:
    """Label what has no label yet. CP2K starts once, and again when it ended over a frame that did not converge;
    what has another box or other atoms is read in anew.

    A change of the box within CP2K would keep the grids and Ewald sums of the box before.
    """
    missing = [
        (number, frame)
        for number, system in enumerate(systems)
        for frame in range(system.n_frames)
        if (number, frame) not in store.labels
    ]
    if not missing:
        return
    total = sum(system.n_frames for system in systems)
    where = ""
    begun = 0
    try:
        while begun < len(missing):
            with Cp2kShell(program, data, folder, threads) as shell:
                loaded: tuple[int, bytes] | None = None
                alive = True
                while alive and begun < len(missing):
                    number, frame = missing[begun]
                    system = systems[number]
                    where = f"frame {system.numbers[frame]} of {system.source}"
                    wanted = (number, system.boxes[frame].tobytes())
                    if wanted != loaded:
                        shell.load(engine.input(system.symbols, system.positions[frame], system.boxes[frame], data))
                        loaded = wanted
                    try:
                        result = shell.evaluate(system.positions[frame])
                    except NotConverged:
                        result, alive = None, False
                    store.add(number, frame, result, len(system.symbols))
                    begun += 1
                    if progress is not None:
                        progress(begun / len(missing), f"frame {total - len(missing) + begun} of {total}")
    except Cp2kFailed as error:
        at = f" at {where}" if where else " at its start"
        kept = f"; the {_count(len(store.labels))} labelled so far are kept there as well" if store.labels else ""
        raise WorkFailed(f"CP2K failed{at}. {error}; its input and output are in {folder}{kept}.") from None


def _count(frames: int) -> str:
    return "no frame" if frames == 0 else "1 frame" if frames == 1 else f"{frames} frames"


def _assembled(
    systems: Sequence[Configurations],
    labels: dict[tuple[int, int], _Label],
    engine: Engine,
    job: dict[str, str | int],
    output: Path,
) -> list[LabelledFrames]:
    labelled = []
    for number, system in enumerate(systems):
        reasons = [_unfit(labels[number, n]) for n in range(system.n_frames)]
        kept = np.array([n for n, why in enumerate(reasons) if not why], dtype=np.intp)
        if not len(kept):
            continue
        provenance = {
            "name": Path(system.source).stem,
            "source": str(output),
            "positions_from": system.source,
            "engine": engine.kind.value,
            "theory": engine.theory,
            "code": str(job["code"]),
            "input": str(job["input"]),
        }
        left_out = []
        for why in sorted(set(reasons) - {""}):
            which = [str(system.numbers[n]) for n, other in enumerate(reasons) if other == why]
            named = ", ".join(which[:20]) + (", ..." if len(which) > 20 else "")
            left_out.append(f"{_count(len(which))} {why} ({named})")
        if left_out:
            provenance["left_out"] = "; ".join(left_out)
        part = system.take(kept)
        labelled.append(
            LabelledFrames(
                symbols=part.symbols,
                positions=part.positions,
                forces=np.array([labels[number, n].forces for n in kept.tolist()]),
                boxes=part.boxes,
                energies=np.array([labels[number, n].energy for n in kept.tolist()]),
                steps=part.steps,
                provenance=provenance,
            )
        )
    return labelled


def _unfit(found: _Label) -> str:
    """Why a label is not used; empty when it is."""
    if not np.isfinite(found.energy):
        return "whose wave function did not converge"
    if np.sqrt(np.mean(np.square(found.forces))) > LARGEST_FORCE_RMS:
        return f"with forces above {LARGEST_FORCE_RMS:g} eV/angstrom, which no molecule stands"
    return ""


# -- what is on disk ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    energy: float
    forces: NDArray[np.float64]


class _Store:
    """Labels by system and frame, in memory and in an append-only file; half a record at its end is cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.labels: dict[tuple[int, int], _Label] = {}
        size = self._read()
        file.truncate(size)
        file.seek(size)

    def _read(self) -> int:
        content = self._file.read()
        at = 0
        while at + _HEAD.size + 8 <= len(content):
            number, frame, energy = _HEAD.unpack_from(content, at)
            (n_values,) = struct.unpack_from("<q", content, at + _HEAD.size)
            end = at + _HEAD.size + 8 + 8 * n_values
            if n_values < 0 or end + _CHECK.size > len(content):
                break
            if zlib.crc32(content[at:end]) != _CHECK.unpack_from(content, end)[0]:
                break
            forces = np.frombuffer(content[at + _HEAD.size + 8 : end], dtype="<f8").reshape(-1, 3)
            self.labels[number, frame] = _Label(energy, forces)
            at = end + _CHECK.size
        return at

    def add(self, number: int, frame: int, result: tuple[float, NDArray[np.float64]] | None, n_agents: int) -> None:
        """Keep a label, or that there is none."""
        energy, forces = result if result is not None else (np.nan, np.zeros((n_agents, 3)))
        record = _HEAD.pack(number, frame, energy) + struct.pack("<q", forces.size) + forces.astype("<f8").tobytes()
        self._file.write(record + _CHECK.pack(zlib.crc32(record)))
        self._file.flush()
        self.labels[number, frame] = _Label(energy, forces)


@contextmanager
def _opened(folder: Path, job: dict[str, str | int], force: bool) -> Iterator[_Store]:
    """The store of this job, found or made; nobody else has it at the same time."""
    if folder.is_dir() and (folder / _JOB).is_file():
        difference = _difference(folder, job)
        if difference and not force:
            raise InputError(
                f"{folder} holds unfinished labels of {difference}; finish those with the command that began them, "
                "write to another name, or drop them with --force."
            )
        if difference:
            with _locked(folder):
                (folder / _LABELS).unlink(missing_ok=True)
    elif folder.exists() and not (folder.is_dir() and {file.name for file in folder.iterdir()} <= _FIRST_MADE):
        raise InputError(f"{folder} is in the way and holds no unfinished labels; move it or write to another name.")
    folder.mkdir(exist_ok=True)
    with _locked(folder):
        unfinished = folder / f"{_JOB}.part"
        unfinished.write_text(json.dumps(job, indent=1), encoding="utf-8")
        unfinished.replace(folder / _JOB)
        (folder / _LABELS).touch()
        with (folder / _LABELS).open("r+b") as file:
            yield _Store(file)


def _difference(folder: Path, job: dict[str, str | int]) -> str:
    """What the unfinished labels are of, where that is not this job and there are any."""
    labels = folder / _LABELS
    if not labels.is_file() or labels.stat().st_size == 0:
        return ""
    try:
        before = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        before = None
    if not isinstance(before, dict) or (before.get("format"), before.get("schema")) != (_FORMAT, _SCHEMA):
        return "a job that this version of mldsim cannot read"
    if before.get("engine") != job["engine"]:
        return f"another engine ({before.get('engine')} instead of {job['engine']})"
    if before.get("code") != job["code"]:
        return f"another CP2K ({before.get('code')} instead of {job['code']})"
    if before.get("input") != job["input"]:
        return "another input of CP2K (such as another --dft-cutoff)"
    return "other frames" if before.get("frames") != job["frames"] else ""


def _locked(folder: Path) -> AbstractContextManager[None]:
    """Keep other commands out of the folder."""
    return locked(folder / _LOCK, f"Another command is labelling into {folder} at this moment; wait for it.")


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WorkFailed(
            f"{folder} could not be written: {reason(error)}; the same command goes on from there."
        ) from error
