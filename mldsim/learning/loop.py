"""The loop: run, look where the model is in doubt, label that, fit again; until the runs stay inside what is known.

All of it lies in one folder::

    journal.json             what was done, and what came of it
    model.json               the newest model
    theory-01.h5             a frame of the data, labelled again, to compare theories
    round-00/model.json      the model that the loop began with
    round-01/run-01.xyz      frames that a run of the first round came upon
    round-01/fit.xyz, .h5    the doubtful ones that were chosen, and their labels
    round-01/held-out.xyz, .h5   frames at random times of the runs, never fitted, and their labels
    round-01/model.json      fitted to the data and the doubtful frames of all rounds up to this one
    sums-01.h5               what that fit keeps of all its frames (`mldsim.sums`): the next one adds its own

Each is written whole. A command that was stopped goes on from there; a run that was under way is repeated, and so is a
fit.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import mldsim
from mldsim.accuracy import force_errors
from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import Cancelled, InputError, WorkFailed
from mldsim.files import locked, reason
from mldsim.labelling import NothingLabelled
from mldsim.learning import theory
from mldsim.learning.choose import choose, drawn
from mldsim.learning.explore import explore
from mldsim.learning.frames import Found, configurations, read_found, write_found
from mldsim.learning.journal import (
    NAME,
    Job,
    Journal,
    Round,
    RunRecord,
    Score,
    Stage,
    difference,
    read_journal,
    write_journal,
)
from mldsim.learning.limits import Limits, MakeDoubt, doubts_of, measure_limits
from mldsim.learning.pace import Pace, Work
from mldsim.learning.settings import LearnSettings
from mldsim.learning.theory import Labeller
from mldsim.loss import LossModel, load_model, save_model
from mldsim.parameters import DeviceKind, Precision
from mldsim.readers import load_frames

LARGEST_FORCE = 20.0
"""eV/angstrom. The largest on an agent in C-NNP water at 600 K is 9.2 (870 frames); frames with larger ones than this
are labelled truly but would rule a least-squares fit, and are not fitted."""

_LOCK = "lock"


class Fitter(Protocol):
    """Fits losses of the form of a model; `mldsim.learning.means.fit_form` is the one.

    The frames are added to those that the file `known` keeps the sums of; the sums of all are kept in the file `keep`.
    Without `known`, the frames are the user's data, of which those that do not belong may be left out: among frames of
    doubt they are what is to be learned.
    """

    def __call__(
        self,
        form: LossModel,
        systems: Sequence[LabelledFrames],
        name: str,
        known: Path | None,
        keep: Path,
        progress: Progress | None,
    ) -> LossModel: ...


@dataclass(frozen=True, slots=True)
class Means:
    """By what the loop knows its doubt, gets its labels and fits.

    Attributes
    ----------
    doubt : callable
    tells_doubt : callable
        Whether `doubt` can be asked about a model; one that cannot tell is fitted anew before the first round.
    label : callable
    theory : str
        What `label` computes, in words.
    fit : callable
    """

    doubt: MakeDoubt
    tells_doubt: Callable[[LossModel], bool]
    label: Labeller
    theory: str
    fit: Fitter


def learn(
    model: LossModel,
    systems: Sequence[LabelledFrames],
    settings: LearnSettings,
    folder: Path,
    means: Means,
    *,
    mix_theories: bool = False,
    device: DeviceKind = DeviceKind.AUTO,
    precision: Precision = Precision.SINGLE,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Journal:
    """Let a model learn from its own runs, or go on with it.

    Parameters
    ----------
    model : LossModel
        What the first round runs; its form is fitted in every round.
    systems : sequence of LabelledFrames
        What it was fitted to. They stay in every fit.
    settings : LearnSettings
    folder : Path
        Where the loop keeps all it has; made if it does not exist.
    means : Means
    mix_theories : bool
        Go on although the data are of another theory than the labels.
    device, precision
        Of the runs.
    progress : callable, optional
        Told the fraction of all rounds that are allowed.
    tell : callable, optional
        Told a sentence after each round.

    Raises
    ------
    InputError
        When the folder holds another loop or something else, or the data are of another theory.
    WorkFailed
        When CP2K, a fit or the disk fails, or the runs break and leave nothing to label; what was done is kept.
    Cancelled
        When the user interrupts; what was done is kept.
    """
    if not systems:
        raise InputError("There are no frames that the model was fitted to; give them as data.")
    job = Job(
        model=model.name,
        model_sha256=_sha256(model),
        data=tuple(dict.fromkeys(Path(system.source).name for system in systems)),
        data_sha256=theory.fingerprint(systems),
        theory=means.theory,
        settings=settings,
    )
    _prepare(folder, job)
    loop: _Loop | None = None
    try:
        with locked(folder / _LOCK, f"Another command is learning in {folder} at this moment; wait for it."):
            journal = read_journal(folder) if (folder / NAME).exists() else Journal(job)
            if journal.stage is Stage.ROUNDS_USED and settings.rounds > len(journal.rounds):
                journal = replace(journal, stage=Stage.RUNNING)
            journal = replace(journal, job=job)
            loop = _Loop(model, systems, folder, means, journal, device, precision, progress, tell or (lambda _: None))
            return loop.run(mix_theories)
    except KeyboardInterrupt:
        at = f"in round {len(loop.journal.rounds)}" if loop and loop.journal.rounds else "before the first round"
        raise Cancelled(f"Interrupted {at}; the same command goes on from there ({folder} keeps it).") from None
    except OSError as error:
        raise WorkFailed(
            f"{folder} could not be written: {reason(error)}; the same command goes on from there."
        ) from error


def _prepare(folder: Path, job: Job) -> None:
    """Refuse a folder that is not of this loop; make one that is not there."""
    if (folder / NAME).is_file():
        other = difference(read_journal(folder).job, job)
        if other:
            raise InputError(
                f"{folder} holds the learning of {other}; go on with the command that began it, or give another folder."
            )
        return
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is not a folder; give the name of one that can be made.")
        if folder.is_dir() and any(file.name != _LOCK for file in folder.iterdir()):
            raise InputError(f"{folder} holds other files and no journal of a loop; give another folder.")
        folder.mkdir(exist_ok=True)
    except FileNotFoundError:
        raise InputError(f"{folder}: the folder {folder.parent} does not exist.") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {reason(error)}.") from None


def _sha256(model: LossModel) -> str:
    """Of the model's file, wherever it lies."""
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, Path(folder) / "model.json")
        return hashlib.sha256((Path(folder) / "model.json").read_bytes()).hexdigest()


class _Loop:
    def __init__(
        self,
        model: LossModel,
        systems: Sequence[LabelledFrames],
        folder: Path,
        means: Means,
        journal: Journal,
        device: DeviceKind,
        precision: Precision,
        progress: Progress | None,
        tell: Callable[[str], None],
    ) -> None:
        self.journal = journal
        self._model, self._systems, self._folder, self._means = model, systems, folder, means
        self._settings = journal.job.settings
        self._device, self._precision = device, precision
        self._pace, self._tell = Pace(progress), tell

    def run(self, mix_theories: bool) -> Journal:
        self._keep(self.journal)
        self._expect()
        if self.journal.checks is None:
            checks = theory.compare_theories(
                self._systems,
                self._means.label,
                self._folder,
                self._pace.part(Work.LABEL, 1.0, "comparing theories"),
            )
            self._keep(replace(self.journal, checks=checks))
        if not mix_theories:
            theory.refuse_mixing(self.journal.checks or (), self._means.theory)
        self._begin()
        while self.journal.stage is Stage.RUNNING:
            if sum(entry.done for entry in self.journal.rounds) >= self._settings.rounds:
                self._keep(replace(self.journal, stage=Stage.ROUNDS_USED))
            else:
                self._round()
        return self.journal

    # -- before the rounds --------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """The model of the first round."""
        path = self._model_file(0)
        if path.is_file():
            return
        path.parent.mkdir(exist_ok=True)
        model, fitted = self._model, False
        if not self._means.tells_doubt(model):
            self._tell(f"The model '{model.name}' cannot tell its doubt; its form is fitted to the data first.")
            model = self._fitted_to_data()
            fitted = True
        self._keep(replace(self.journal, fitted_first=fitted))
        self._save(model, 0)

    # -- a round ------------------------------------------------------------------------------------------------

    def _round(self) -> None:
        entry = next((entry for entry in self.journal.rounds if not entry.done), None)
        number = entry.number if entry else len(self.journal.rounds) + 1
        self._folder_of(number).mkdir(exist_ok=True)
        self._expect()
        model = load_model(self._model_file(number - 1))
        if entry is None:
            entry = self._keep_round(self._measured(model, number))
        limits = Limits(
            model.symbols,
            tuple(_or_infinite(entry.limits_meV_A.get(symbol)) for symbol in model.symbols),
            entry.data_share,
        )
        entry = self._run_all(entry, limits)
        inside = entry.is_inside(self._settings.inside)
        if entry.chosen is None:
            entry = self._choose(entry, inside)
        new, left_out = self._labelled(entry, "fit", entry.chosen or 0)
        held_out, without = self._labelled(entry, "held-out", entry.drawn or 0)
        entry = self._keep_round(
            replace(
                entry,
                left_out=left_out + without,
                new_before=entry.new_before or self._score(model, new),
                held_out_before=entry.held_out_before or self._score(model, held_out),
            )
        )
        if inside:
            entry = replace(entry, all_held_out=self._score(model, self._all_held_out(number)), done=True)
            self._keep(replace(self.journal.with_round(entry), stage=Stage.SETTLED))
            self._tell(told_round(entry))
            return
        if not new:
            self._refuse_nothing(entry)
        path = self._model_file(number)
        if not path.is_file():
            self._save(self._fitted(number, new), number)
        model = load_model(path)
        for older in range(number):  # of hundreds of megabytes each
            self._sums_file(older).unlink(missing_ok=True)
        entry = self._keep_round(
            replace(
                entry,
                new_after=self._score(model, new),
                held_out_after=self._score(model, held_out),
                all_held_out=self._score(model, self._all_held_out(number)),
                done=True,
            )
        )
        self._tell(told_round(entry))

    def _measured(self, model: LossModel, number: int) -> Round:
        """A new round, with the limits that the data set."""
        settings = self._settings
        limits = measure_limits(
            model,
            self._systems,
            self._means.doubt,
            settings.doubt_factor,
            settings.doubt_limit,
            self._pace.part(Work.FIT, 0.0, f"round {number}: doubt on the data"),
        )
        known = {
            symbol: 1e3 * doubt if np.isfinite(doubt) else None
            for symbol, doubt in zip(limits.symbols, limits.doubts, strict=True)
        }
        return Round(number, known, limits.share)

    def _run_all(self, entry: Round, limits: Limits) -> Round:
        settings = self._settings
        plans = settings.plans(entry.number)
        for plan in plans[len(entry.runs) :]:
            what = f"round {entry.number}: run {plan.number} of {len(plans)} at {plan}"
            before = 0

            def looked(looks: int, what: str = what) -> None:
                nonlocal before
                self._pace.did(Work.LOOK, looks - before, what)
                before = looks

            self._pace.did(Work.LOOK, 0, what)
            found = explore(
                self._model_file(entry.number - 1),
                plan,
                settings,
                limits,
                self._means.doubt,
                data=self._systems,
                device=self._device,
                precision=self._precision,
                progress=looked,
            )
            self._pace.did(Work.LOOK, settings.looks - before, what)
            write_found(self._run_file(entry.number, plan.number), found.symbols, [*found.doubtful, *found.samples])
            record = RunRecord(
                number=plan.number,
                temperature=plan.temperature,
                density=plan.density,
                seed=plan.seed,
                time=found.time,
                starts=found.starts,
                looks=found.looks,
                warned=found.warned,
                doubtful=len(found.doubtful),
                samples=len(found.samples),
                unlabelled=found.unlabelled,
                mean_doubt_meV_A=1e3 * found.mean_doubt,
                largest_doubt_meV_A=1e3 * found.largest_doubt,
                stopped=found.stopped,
            )
            entry = self._keep_round(replace(entry, runs=(*entry.runs, record)))
        return entry

    def _choose(self, entry: Round, inside: bool) -> Round:
        """Frames to fit and frames to hold out; runs that stayed inside give the second only."""
        symbols: tuple[str, ...] = ()
        doubtful: list[list[Found]] = []
        samples: list[list[Found]] = []
        for run in entry.runs:
            names, frames = read_found(self._run_file(entry.number, run.number))
            if len(frames) != run.doubtful + run.samples:
                raise InputError(
                    f"{self._run_file(entry.number, run.number)} holds {len(frames)} frames where the journal says "
                    f"{run.doubtful + run.samples}; begin again in another folder."
                )
            symbols = names or symbols
            doubtful.append(frames[: run.doubtful])
            samples.append(frames[run.doubtful :])
        settings = self._settings
        kept = drawn(samples, settings.samples, settings.seed + entry.number)
        chosen = [] if inside else choose(doubtful, settings.frames - len(kept))
        write_found(self._file(entry.number, "fit.xyz"), symbols, chosen)
        write_found(self._file(entry.number, "held-out.xyz"), symbols, kept)
        return self._keep_round(replace(entry, chosen=len(chosen), drawn=len(kept)))

    def _labelled(self, entry: Round, name: str, count: int) -> tuple[list[LabelledFrames], int]:
        """The labels of a round's frames, and how many frames have none that can be used."""
        if not count:
            return [], 0
        path = self._file(entry.number, f"{name}.h5")
        if not path.exists():
            xyz = self._file(entry.number, f"{name}.xyz")
            symbols, frames = read_found(xyz)
            what = f"round {entry.number}: labelling"
            try:
                self._means.label(configurations(symbols, frames, xyz), path, self._pace.part(Work.LABEL, count, what))
            except NothingLabelled:
                return [], count
        found = _bearable(load_frames(path))
        return found, count - sum(system.n_frames for system in found)

    def _learned(self, number: int) -> list[LabelledFrames]:
        """Frames to fit of all rounds before this one."""
        files = [self._file(before, "fit.h5") for before in range(1, number)]
        return [system for file in files if file.exists() for system in _bearable(load_frames(file))]

    def _all_held_out(self, number: int) -> list[LabelledFrames]:
        files = [self._file(before, "held-out.h5") for before in range(1, number + 1)]
        return [system for file in files if file.exists() for system in _bearable(load_frames(file))]

    def _score(self, model: LossModel, systems: list[LabelledFrames]) -> Score | None:
        if not systems:
            return None
        errors = force_errors(model, systems)
        squares = np.concatenate([doubts**2 for _, doubts in doubts_of(model, systems, self._means.doubt)])
        return Score(errors.frames, 1e3 * errors.rmse, 1e3 * errors.rms, 1e3 * float(np.sqrt(squares.mean())))

    def _fitted_to_data(self) -> LossModel:
        """The form of the model, fitted to the data alone."""
        frames = sum(system.n_frames for system in self._systems)
        model = self._means.fit(
            self._model, self._systems, self._name, None, self._sums_file(0),
            self._pace.part(Work.FIT, frames, "fitting the data"),
        )  # fmt: skip
        bad = model.card.get("bad_frames")
        if bad:
            self._tell(
                f"{len(bad)} frames of the data are left out, because no fit of the others explains them; the card of "
                "the model lists them."
            )
        return replace(model, card={**model.card, **self._card(model, 0, self._systems)})

    def _fitted(self, number: int, new: Sequence[LabelledFrames]) -> LossModel:
        """Fitted to the data and the doubtful frames of all rounds, `new` the last of them."""
        known, learned = self._sums_file(number - 1), list(new)
        if not known.is_file():
            known, learned = self._sums_file(0), [*self._learned(number), *new]
            if not known.is_file():
                self._fitted_to_data()
        model = self._means.fit(
            self._model, learned, self._name, known, self._sums_file(number),
            self._pace.part(Work.FIT, sum(system.n_frames for system in learned), f"round {number}: fitting"),
        )  # fmt: skip
        training = [*self._systems, *self._learned(number), *new]
        return replace(model, card={**model.card, **self._card(model, number, training)})

    def _card(self, model: LossModel, number: int, systems: Sequence[LabelledFrames]) -> dict[str, Any]:
        held_out = self._all_held_out(number)
        theories = {theory.stated_theory(system) or "not stated" for system in systems}
        learned = sum(system.n_frames for system in systems) - sum(system.n_frames for system in self._systems)
        return {
            # Names only: a model is given away, and the folders of its maker are nobody's business.
            "data": list(self.journal.job.data),
            "theory": "; ".join(sorted(theories)),
            "learned": f"{learned} frames that its runs of {number} rounds of 'mldsim learn' were in doubt of"
            if number
            else "nothing yet: fitted to the data by 'mldsim learn'",
            "errors": {
                "train": force_errors(model, systems).to_json(),
                "holdout": force_errors(model, held_out).to_json() if held_out else None,
            },
            "mldsim": mldsim.__version__,
        }

    def _refuse_nothing(self, entry: Round) -> None:
        """The runs are not inside what is known, and nothing can be learned from them."""
        broken = next((run for run in entry.runs if run.stopped), None)
        why = f" The run at {broken.temperature:g} K and {broken.density:g} g/cm³: {broken.stopped}" if broken else ""
        raise WorkFailed(
            f"The runs of round {entry.number} gave no frame that could be labelled; give other --temperatures, "
            f"--densities or data in another folder.{why}"
        )

    # -- what is kept -------------------------------------------------------------------------------------------

    def _keep(self, journal: Journal) -> None:
        self.journal = journal
        write_journal(self._folder, journal)

    def _keep_round(self, entry: Round) -> Round:
        self._keep(self.journal.with_round(entry))
        return entry

    def _save(self, model: LossModel, number: int) -> None:
        save_model(model, self._model_file(number), force=True)
        save_model(model, self._folder / "model.json", force=True)

    def _folder_of(self, number: int) -> Path:
        return self._folder / f"round-{number:02d}"

    def _file(self, number: int, name: str) -> Path:
        return self._folder_of(number) / name

    def _model_file(self, number: int) -> Path:
        return self._file(number, "model.json")

    def _sums_file(self, number: int) -> Path:
        return self._folder / f"sums-{number:02d}.h5"

    @property
    def _name(self) -> str:
        return self._folder.resolve().name

    def _run_file(self, number: int, run: int) -> Path:
        return self._file(number, f"run-{run:02d}.xyz")

    def _expect(self) -> None:
        """What is left when every round that is allowed is needed."""
        settings = self._settings
        done = sum(entry.done for entry in self.journal.rounds)
        left = settings.rounds - done
        under_way = next((entry for entry in self.journal.rounds if not entry.done), None)
        runs = left * len(settings.plans(1)) - (len(under_way.runs) if under_way else 0)
        frames = sum(system.n_frames for system in self._systems)
        self._pace.expect(
            {
                Work.LOOK: runs * settings.looks,
                Work.LABEL: left * settings.frames,
                Work.FIT: left * settings.frames + (frames if not done else 0),
            }
        )


def _or_infinite(limit: float | None) -> float:
    return np.inf if limit is None else 1e-3 * limit


def _bearable(systems: Sequence[LabelledFrames]) -> list[LabelledFrames]:
    """Frames without a force above `LARGEST_FORCE`."""
    kept = []
    for system in systems:
        fine = np.linalg.norm(system.forces, axis=-1).max(axis=1) <= LARGEST_FORCE
        if fine.any():
            kept.append(system.take(fine))
    return kept


def told_round(entry: Round) -> str:
    """A round in a sentence."""
    said = [
        f"Round {entry.number}: {entry.stopped} of {len(entry.runs)} runs stopped",
        f"{100 * entry.warned:.1f} % of {entry.looks} looks warned",
    ]
    if entry.new_before and entry.new_after:
        said.append(
            f"{entry.new_before.frames} frames fitted, force error on them "
            f"{entry.new_before.force_rmse_meV_A:.1f} meV/Å before and {entry.new_after.force_rmse_meV_A:.1f} after"
        )
    if entry.held_out_before:
        after = f" before and {entry.held_out_after.force_rmse_meV_A:.1f} after" if entry.held_out_after else ""
        said.append(
            f"on {entry.held_out_before.frames} held-out ones {entry.held_out_before.force_rmse_meV_A:.1f} meV/Å{after}"
        )
    return ", ".join(said) + "."
