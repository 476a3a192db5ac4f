"""What a learning loop has done so far: one JSON file, written whole after every step.

Everything that the loop knows stands here or in the files beside it, so that it goes on from wherever it was stopped.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import mldsim
from mldsim.errors import InputError
from mldsim.files import whole_file
from mldsim.learning.settings import STRICT, LearnSettings

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT, SCHEMA = "mldsim-learning", 1
NAME = "journal.json"

LARGEST_FILE = 64 * 2**20


class Stage(enum.Enum):
    """Where the loop stands."""

    RUNNING = "running"
    SETTLED = "settled"
    """The runs of the last round stayed inside what the model knows."""
    ROUNDS_USED = "rounds used up"
    """The last round was fitted, but the new model was not run any more."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is learned from what; another job is another folder.

    Attributes
    ----------
    model, model_sha256 : str
        Name and content of the model that the loop began with.
    data : tuple of str
        Names of the files that it was fitted to.
    data_sha256 : str
        Of all frames and their labels.
    theory : str
        What the engine computes, in words.
    settings : LearnSettings
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    model: str
    model_sha256: str
    data: tuple[str, ...]
    data_sha256: str
    theory: str
    settings: LearnSettings


@dataclass(frozen=True, slots=True)
class TheoryCheck:
    """A frame of the data, labelled again by the engine of the loop.

    Attributes
    ----------
    source, theory : str
        Where the frame comes from, and the theory that is stated there.
    difference_meV_A : float
        Root mean square difference of the forces, meV/angstrom.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    source: str
    theory: str
    difference_meV_A: float  # noqa: N815


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run of a round.

    Attributes
    ----------
    number : int
    temperature : float, K
    density : float, g/cm^3
    seed : int
    time : float, fs
        How long it ran, all starts together.
    starts : int
        How often it began: anew after each stop, until its time was used.
    looks, warned : int
        Frames looked at; those with a doubt or a contact that warned.
    doubtful, samples : int
        Frames kept of it, in its file.
    unlabelled : int
        Frames worth a label that no engine can label.
    mean_doubt_meV_A, largest_doubt_meV_A : float
        Over all agents and looks, meV/angstrom.
    stopped : str or None
        Why it ended early the first time.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    number: int
    temperature: float
    density: float
    seed: int
    time: float
    starts: int
    looks: int
    warned: int
    doubtful: int
    samples: int
    unlabelled: int
    mean_doubt_meV_A: float  # noqa: N815
    largest_doubt_meV_A: float  # noqa: N815
    stopped: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """One model on some labelled frames.

    Attributes
    ----------
    frames : int
    force_rmse_meV_A, force_rms_meV_A : float
        Error of its forces; root mean square of the labels, meV/angstrom.
    doubt_meV_A : float
        Root mean square doubt of all agents: the error that the model expects there, meV/angstrom.
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    frames: int
    force_rmse_meV_A: float  # noqa: N815
    force_rms_meV_A: float  # noqa: N815
    doubt_meV_A: float  # noqa: N815


@dataclass(frozen=True, slots=True)
class Round:
    """A round: the runs, the frames that were chosen from them, and what the model made of these.

    Attributes
    ----------
    number : int
        From 1.
    limits_meV_A : dict
        Element -> doubt that warns, meV/angstrom; None for one that the data lack.
    data_share : float
        Of the frames of the data, how many would warn.
    runs : tuple of RunRecord
    chosen, drawn : int or None
        Doubtful frames and samples to label; None before they were chosen.
    left_out : int
        Of those, without a label that can be used.
    new_before, new_after : Score or None
        The doubtful frames under the model that ran and, fitted to them, the next one.
    held_out_before, held_out_after : Score or None
        The samples, never fitted, under the two.
    all_held_out : Score or None
        The samples of all rounds so far under the model that this round ends with.
    done : bool
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    number: int
    limits_meV_A: Mapping[str, float | None]  # noqa: N815
    data_share: float
    runs: tuple[RunRecord, ...] = ()
    chosen: int | None = None
    drawn: int | None = None
    left_out: int = 0
    new_before: Score | None = None
    new_after: Score | None = None
    held_out_before: Score | None = None
    held_out_after: Score | None = None
    all_held_out: Score | None = None
    done: bool = False

    @property
    def looks(self) -> int:
        return sum(run.looks for run in self.runs)

    @property
    def warned(self) -> float:
        """Share of the looks that warned; 1 where no run could begin."""
        return sum(run.warned for run in self.runs) / self.looks if self.looks else 1.0

    @property
    def stopped(self) -> int:
        """Runs that ended early at least once."""
        return sum(run.stopped is not None for run in self.runs)

    def is_inside(self, share: float) -> bool:
        """Whether no run was stopped and at most this share of the looks warned."""
        return not self.stopped and self.warned <= share


@dataclass(frozen=True, slots=True)
class Journal:
    """All of a loop.

    Attributes
    ----------
    job : Job
    fitted_first : bool
        Whether the model that the loop began with was fitted to the data anew, because it could not tell its doubt.
    checks : tuple of TheoryCheck or None
        None before the theories were compared.
    rounds : tuple of Round
    stage : Stage
    """

    __pydantic_config__: ClassVar[Any] = STRICT
    job: Job
    fitted_first: bool = False
    checks: tuple[TheoryCheck, ...] | None = None
    rounds: tuple[Round, ...] = ()
    stage: Stage = Stage.RUNNING
    format: str = FORMAT
    schema: int = SCHEMA
    mldsim: str = mldsim.__version__

    def with_round(self, entry: Round) -> Journal:
        """With this round in the place of the one of its number, or added."""
        return replace(self, rounds=(*self.rounds[: entry.number - 1], entry))


@cache
def _adapter() -> TypeAdapter[Journal]:
    """Built on first use because pydantic is slow to import."""
    from pydantic import TypeAdapter

    return TypeAdapter(Journal)


def write_journal(folder: Path, journal: Journal) -> None:
    """Write the journal of a folder, whole or not at all.

    Raises
    ------
    WorkFailed
        When it cannot be written.
    """
    content = _adapter().dump_json(journal, indent=1)
    with whole_file(folder / NAME) as unfinished:
        unfinished.write_bytes(content + b"\n")


def read_journal(folder: Path) -> Journal:
    """The journal of a folder.

    Raises
    ------
    InputError
        When it is not one that this version reads; names the field.
    """
    from pydantic import ValidationError

    path = folder / NAME
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than {LARGEST_FILE // 2**20} MiB and is not the journal of a loop.")
        journal = _adapter().validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {place} is not as a journal has it: {first['msg']}.") from None
    if journal.format != FORMAT or journal.schema != SCHEMA:
        raise InputError(
            f"{path} has the format '{journal.format}', schema {journal.schema}; this version reads '{FORMAT}', "
            f"schema {SCHEMA}."
        )
    if [entry.number for entry in journal.rounds] != list(range(1, len(journal.rounds) + 1)):
        raise InputError(f"{path}: rounds are not numbered from 1.")
    return journal


MAY_CHANGE = {"rounds"}
"""Settings with which a loop goes on although they are others than before."""


def difference(before: Job, now: Job) -> str | None:
    """In what two jobs differ, or None."""
    if before.model_sha256 != now.model_sha256:
        return f"another model ('{before.model}', or another file of that name)"
    if before.data_sha256 != now.data_sha256:
        return f"other data ({', '.join(before.data)}, or other frames in files of these names)"
    if before.theory != now.theory:
        return f"another theory ({before.theory})"
    for item in fields(LearnSettings):
        old, new = getattr(before.settings, item.name), getattr(now.settings, item.name)
        if item.name not in MAY_CHANGE and old != new:
            return f"another --{item.name.replace('_', '-')} ({_told(old)} instead of {_told(new)})"
    return None


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
