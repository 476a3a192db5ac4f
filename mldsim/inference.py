"""Inference: losses from forces, by linear least squares.

Every frame gives three rows per agent (`kernels.design`). They are streamed into the normal equations of all species
together, so memory does not grow with the number of frames. Extra rows ask for the net force on each molecule: it is
ten times smaller than the bond's forces, and it is what orders the molecules. Columns are scaled to unit norm; the
ridge is relative to that.

The sums are kept by fold and by kind of row (`mldsim.sums`), so that everything else follows without another pass over
the frames: frames that no fit of the others explains are taken off again (`mldsim.screening`), ridge and weights are
chosen by cross-validation (`mldsim.crossval`), the quadratic can be bounded below (`mldsim.bounded`), new frames are
added to old sums, and the model learns how much to trust each of its forces (`mldsim.doubt`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.bounded import bounded_solution
from mldsim.channels import Sample, find_channels
from mldsim.crossval import Trial, cross_validate
from mldsim.curl import PLACES, curl_rows, nearest
from mldsim.dataset import LabelledFrames, Progress
from mldsim.doubt import DRAWS, Doubt, fit_law
from mldsim.equations import Collector, NormalEquations
from mldsim.errors import InputError, WorkFailed
from mldsim.evaluator import Evaluator
from mldsim.kernels import design
from mldsim.kernels.cubic import WIDE, features
from mldsim.kernels.mutual import columns
from mldsim.loss import Committee, Cubic, FittedRanges, LossModel, Scope, Wall
from mldsim.molecules import find_molecules
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis
from mldsim.regression import FORM, OF_CUBIC, DesignMatrix, FitSettings
from mldsim.screening import BadFrame, absurd, outlying
from mldsim.species import atomic_mass, atomic_number, pair_name
from mldsim.sums import CHOICES, Kept, Rows, Sums, n_folds

WALL_STIFFNESS = 30.0
"""eV/angstrom^2; our choice: a contact 0.1 angstrom inside the wall costs ten kT."""

WALL_RADII = {"O-O": 2.25, "O-H": 0.80, "H-H": 1.20}
"""angstrom; just below the closest contacts of water at 600 K. Other pairs: 0.9 times the data's closest contact."""

WITNESS_RIDGE = 1e-7
"""Of a fit that is not run, only compared: it need not be steadied more than rounding asks for."""

WITNESS_CHANNELS = 6
"""Of the cubic part of a witness, at least; fewer where frames are few."""

ROWS_PER_COLUMN = 10
"""What a witness needs to be richer rather than noisier."""

CALIBRATION_FRAMES = 60
"""On which the law of doubt is fitted: some ten thousand agents, for three numbers of each species."""

CHANNEL_AGENTS = 20_000
"""In the frames that channels are found with: enough for a few hundred numbers of each species."""


MOST_NAMED = 100
"""Bad frames in a model's card."""


@dataclass(frozen=True)
class Inference:
    """What a fit found.

    Attributes
    ----------
    model : LossModel
    settings : FitSettings
        As given, or with the ridge and the weights that cross-validation chose.
    bad_frames : tuple of BadFrame
        Left out, the worst first.
    trials : tuple of Trial
        Of cross-validation; `chosen` is among them. Empty and None without.
    kept : Kept
        For `mldsim.sums.save_sums`, or to be extended.
    """

    model: LossModel
    settings: FitSettings
    bad_frames: tuple[BadFrame, ...]
    trials: tuple[Trial, ...]
    chosen: Trial | None
    kept: Kept


def fit(
    systems: Sequence[LabelledFrames],
    settings: FitSettings,
    *,
    name: str = "model",
    card: Mapping[str, Any] | None = None,
    doubt: bool = False,
    progress: Progress | None = None,
) -> LossModel:
    """Infer the losses of all species from labelled frames: `infer` with what most callers need.

    Parameters
    ----------
    systems, settings, name, card, doubt, progress
        See `infer`.
    """
    return infer(systems, settings, name=name, card=card, doubt=doubt, progress=progress).model


def infer(
    systems: Sequence[LabelledFrames],
    settings: FitSettings,
    *,
    name: str = "model",
    card: Mapping[str, Any] | None = None,
    numbers: Sequence[NDArray[np.intp]] | None = None,
    known: Kept | None = None,
    channels_of: LossModel | None = None,
    cross_validation: bool = False,
    keep_bad_frames: bool = False,
    bounded: bool = False,
    doubt: bool = False,
    progress: Progress | None = None,
) -> Inference:
    """Infer the losses of all species from labelled frames.

    Parameters
    ----------
    systems : sequence of LabelledFrames
        Hold out what the errors will be measured on before calling.
    settings : FitSettings
    name : str
    card : mapping
        Provenance to store with the model.
    numbers : sequence of (n_frames,) int, optional
        What messages call the frames of each system; their indices, if it is not given.
    known : Kept, optional
        Sums of earlier frames, which are fitted together with the new ones. They are added to. The form of the settings
        must be that of the sums.
    channels_of : LossModel, optional
        Begin the search for channels with those of this model, see `mldsim.channels`; with no steps they are taken as
        they are. Its form must be that of the settings.
    cross_validation : bool
        Choose ridge and row weights, see `mldsim.crossval`.
    keep_bad_frames : bool
        Leave out no frame; see `mldsim.screening`.
    bounded : bool
        Make every W positive semidefinite, see `mldsim.bounded`.
    doubt : bool
        Give the model a committee and a witness, see `mldsim.doubt`; always, when the known sums have a witness.
    progress : callable
        May raise to cancel; nothing is kept then.

    Raises
    ------
    InputError
        If there are no frames, a box is smaller than the cutoff, or the known sums do not fit the request.
    WorkFailed
        If the frames do not determine the coefficients.
    """
    if channels_of is not None and known is not None:
        raise InputError("The channels of kept sums are fixed; leave out --channels-of, or fit all frames anew.")
    if cross_validation and settings.curl_weight:
        raise InputError("--cross-validate knows errors of forces only; give it or --curl-weight, not both.")
    doubt = doubt or (known is not None and known.witness is not None)
    work = _Fit(systems, settings, numbers, known, channels_of, cross_validation, bounded, doubt, progress)
    work.gather(keep_bad_frames)
    if not keep_bad_frames:
        work.leave_out_bad_frames()
    if cross_validation:
        work.choose()
    coefficients, told = work.bounded_solution() if bounded else (work.solution(), {})
    model = work.model(coefficients, name, told | dict(card or {}))
    if doubt:
        model = work.with_committee(model)
    work.stage("done", 1.0)(1.0, "done")
    theory = (system.provenance.get("theory", system.provenance.get("method", "not stated")) for system in systems)
    kept = replace(
        work.kept,
        frame_errors=np.concatenate([work.known_errors, work.errors[work.good]]),
        choices={name: getattr(work.settings, name) for name in CHOICES},
        # Names only: sums and models are given away, and the folders of their maker are nobody's business.
        sources=tuple(dict.fromkeys([*work.kept.sources, *(Path(system.source).name for system in systems)])),
        theories=tuple(sorted({*work.kept.theories, *theory})),
    )
    return Inference(model, work.settings, tuple(work.bad_frames), work.trials, work.chosen, kept)


def witness_settings(settings: FitSettings, smallest_edge: float, n_species: int, n_rows: int) -> FitSettings:
    """The richer form that judges a model: of order 3 and a longer cutoff, as far as the frames determine it.

    Parameters
    ----------
    settings : FitSettings
    smallest_edge : float, angstrom
        Of all boxes; no cutoff may be longer.
    n_species : int
    n_rows : int
        Of forces.
    """
    richer = replace(
        settings,
        channel_steps=0,
        constant_channel=False,
        max_rank=max(settings.max_rank, 2),
        n_radial=min(settings.n_radial + 2, 32),
        cutoff=max(settings.cutoff, min(settings.cutoff + 1.5, 6.0, smallest_edge)),
        net_force_weight=0.0,
        torque_weight=0.0,
    )
    n_fields = n_species * richer.n_radial
    most = min(max(WITNESS_CHANNELS, settings.n_channels + 2 if settings.order == 3 else 0), WIDE, n_fields)
    for n_channels in range(most, 0, -1):
        size = design.n_features(n_fields, 3, richer.max_rank, n_channels)
        size += len(columns(n_species, richer.n_radial, n_channels)) * richer.hops
        if n_species * size * ROWS_PER_COLUMN <= n_rows:
            return replace(richer, order=3, n_channels=n_channels)
    return replace(richer, order=max(settings.order, 2))


def _species_of(systems: Sequence[LabelledFrames]) -> tuple[str, ...]:
    """Species of the data, the heaviest first: O before H."""
    return tuple(sorted({s for system in systems for s in system.symbols}, key=lambda s: (-atomic_number(s), s)))


def _wall(symbols: tuple[str, ...], systems: Sequence[LabelledFrames]) -> Wall:
    radius = np.empty((len(symbols), len(symbols)))
    for i, a in enumerate(symbols):
        for j, b in enumerate(symbols):
            known = WALL_RADII.get(pair_name(a, b))
            radius[i, j] = known if known is not None else 0.9 * _closest_contact(a, b, systems)
    return Wall(WALL_STIFFNESS, radius)


def _closest_contact(a: str, b: str, systems: Sequence[LabelledFrames]) -> float:
    """Shortest distance of a pair of species in the data, angstrom; 1 if they never share a frame."""
    from scipy.spatial import cKDTree

    closest = np.inf
    for system in systems:
        of_a = np.array([s == a for s in system.symbols])
        of_b = np.array([s == b for s in system.symbols])
        if not of_a.any() or not of_b.any():
            continue
        for positions, box in zip(system.positions, system.boxes, strict=True):
            inside = np.asarray(positions, np.float64) % box
            neighbors = 2 if a == b else 1
            if of_b.sum() < neighbors:
                continue
            distance, _ = cKDTree(inside[of_b], boxsize=box).query(inside[of_a], k=[neighbors])
            closest = min(closest, float(distance.min()))
    return closest if np.isfinite(closest) else 1.0


def _sample(systems: Sequence[LabelledFrames]) -> list[tuple[LabelledFrames, int]]:
    """Frames to find channels with, evenly spread over those whose labels are not absurd."""
    places = [(system, index) for system in systems for index in range(system.n_frames)]
    labels = np.array([np.sqrt(np.mean(np.square(system.forces[index]))) for system, index in places])
    kinds = np.repeat(np.arange(len(systems)), [system.n_frames for system in systems])
    found, _ = absurd(labels, kinds)
    good = [place for place, bad in zip(places, found, strict=True) if not bad]
    mean = np.mean([len(system.symbols) for system, _ in good]) if good else 1.0
    count = int(min(len(good), max(1, CHANNEL_AGENTS // mean)))
    return [good[i] for i in np.unique(np.linspace(0, len(good) - 1, count).astype(int))]


def _channels_of(model: LossModel | None, matrix: DesignMatrix) -> Cubic | None:
    """The channels of a model, for a fit of the form of `matrix`."""
    if model is None:
        return None
    settings = matrix.settings
    cubic = model.cubic
    if cubic is None:
        raise InputError(
            f"'{model.name}' is of order {model.order} and has no channels; --channels-of asks for order 3."
        )
    n_species, n_ranks, n_channels, _ = cubic.channels.shape
    for option, theirs, mine in (
        ("symbols", model.symbols, matrix.symbols),
        ("--max-rank", n_ranks - 1, settings.max_rank),
        ("--radial", model.radial.n_radial, settings.n_radial),
        ("--cutoff", model.cutoff, settings.cutoff),
        ("--channels", n_channels, settings.n_channels),
        ("--constant-channel", cubic.has_constant, settings.constant_channel),
    ):
        if theirs != mine:
            raise InputError(f"The channels of '{model.name}' are of {option} {theirs}, and {mine} was asked for.")
    nothing = np.zeros((n_species, len(features(n_channels, settings.max_rank))))
    return Cubic(cubic.channels, cubic.offsets, np.full(n_species, settings.saturation), nothing)


class _Molecules:
    """Sums over the agents of each molecule of one frame; single atoms are no molecules."""

    def __init__(self, symbols: Sequence[str], positions: NDArray[np.float64], box: NDArray[np.float64]) -> None:
        from scipy.sparse import csr_array

        molecule = find_molecules(symbols, positions, box)
        sizes = np.bincount(molecule)
        order = np.argsort(molecule, kind="stable")
        masses = np.array([atomic_mass(s) for s in symbols])
        # Each agent's separation from its molecule's centre of mass, across the box edge where that is nearer.
        first = order[np.concatenate([[0], np.cumsum(sizes)[:-1]])][molecule]
        offset = positions - positions[first]
        offset -= box * np.round(offset / box)
        total = np.bincount(molecule, masses)
        centre = np.stack([np.bincount(molecule, masses * offset[:, d]) / total for d in range(3)], axis=1)
        # The net force on a single atom says nothing that its own rows do not.
        members = order[sizes[molecule[order]] > 1]
        whole = np.cumsum(sizes > 1) - 1
        x, y, z = (offset - centre[molecule])[members].T
        row, column, nothing = 3 * whole[molecule[members]], 3 * members, np.zeros_like(x)
        shape = (3 * int((sizes > 1).sum()), 3 * len(molecule))

        def sums(factors: Sequence[tuple[int, int, NDArray[np.float64]]]) -> csr_array:
            """Component d of a molecule is the sum over its agents of factor times their component e."""
            rows, columns, values = zip(*((row + d, column + e, factor) for d, e, factor in factors), strict=True)
            places = (np.concatenate(rows), np.concatenate(columns))
            return csr_array((np.concatenate(values), places), shape)

        self._sum = sums([(d, d, nothing + 1.0) for d in range(3)])
        self._torque = sums([(0, 2, y), (0, 1, -z), (1, 0, z), (1, 2, -x), (2, 1, x), (2, 0, -y)])

    def sum(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Net force: (3 n_agents, ...) -> (3 n_molecules, ...)."""
        return np.asarray(self._sum @ rows)

    def torque(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Torque about the centre of mass: (3 n_agents, ...) -> (3 n_molecules, ...), angstrom times the unit."""
        return np.asarray(self._torque @ rows)


@dataclass(frozen=True, slots=True)
class _Frame:
    """One frame to fit: of which system, which one there, what messages call it, and in which fold it lies."""

    system: LabelledFrames
    species: NDArray[np.int32]
    kind: int
    index: int
    number: int
    fold: int

    @property
    def positions(self) -> NDArray[np.float64]:
        return np.asarray(self.system.positions[self.index])

    @property
    def forces(self) -> NDArray[np.float64]:
        return np.asarray(self.system.forces[self.index])

    @property
    def box(self) -> NDArray[np.float64]:
        return np.asarray(self.system.boxes[self.index])


def _dealt(
    systems: Sequence[LabelledFrames], symbols: tuple[str, ...], numbers: Sequence[NDArray[np.intp]] | None, folds: int
) -> list[_Frame]:
    """All frames with their folds: contiguous blocks of each system, in time; small systems are spread over all."""
    frames: list[_Frame] = []
    first = 0
    for kind, system in enumerate(systems):
        species = np.array([symbols.index(s) for s in system.symbols], np.int32)
        n = system.n_frames
        order = np.arange(n) if system.steps is None else np.argsort(system.steps, kind="stable")
        place = np.empty(n, int)
        place[order] = np.arange(n)
        for index in range(n):
            fold = int(place[index]) * folds // n if n >= folds else (first + index) % folds
            number = int(numbers[kind][index]) if numbers is not None else index
            frames.append(_Frame(system, species, kind, index, number, fold))
        first += n if n < folds else 0
    return frames


class _Fit:
    """The steps of one fit; `infer` calls them in their order."""

    def __init__(
        self,
        systems: Sequence[LabelledFrames],
        settings: FitSettings,
        numbers: Sequence[NDArray[np.intp]] | None,
        known: Kept | None,
        channels_of: LossModel | None,
        cross_validation: bool,
        bounded: bool,
        doubt: bool,
        progress: Progress | None,
    ) -> None:
        self._began = time.monotonic()
        self._progress = progress
        n_frames = sum(len(system.positions) for system in systems)
        if n_frames == 0:
            raise InputError("There are no frames to fit; give more data or a smaller --holdout.")
        self.settings = settings
        self.bounded = bounded
        # How long the steps take, roughly: the number of products, relative to gathering.
        self._shares = {"gather": 1.0, "screen": 0.05, "choose": 0.2 * cross_validation, "solve": 0.02}
        self._done = 0.0
        sampled = _sample(systems)
        if settings.order == 3 and known is None:
            passes = 1 + 3 * settings.channel_steps + doubt
            self._shares |= {"channels": passes * len(sampled) / n_frames, "witness": 2.0 * doubt}
        self.matrix = self._columns(systems, settings, known, channels_of, sampled)
        symbols = self.matrix.symbols
        self.known_errors = known.frame_errors if known is not None else np.empty(0)
        if known is None:
            kinds = [Rows.FORCES]
            kinds += [Rows.NET_FORCES] if settings.net_force_weight or cross_validation else []
            kinds += [Rows.TORQUES] if settings.torque_weight else []
            kinds += [Rows.CURLS] if settings.curl_weight else []
            folds = n_folds(n_frames, self.matrix.size, len(kinds))
            known = Kept(
                Sums(self.matrix.form(), self.matrix.size, kinds, folds),
                None,
                lowest=np.full((len(symbols), self.matrix.n_fields), np.inf),
                highest=np.full((len(symbols), self.matrix.n_fields), -np.inf),
                nearest=np.full((len(symbols), len(symbols)), np.inf),
            )
            if doubt:
                edge = min(float(system.boxes.min()) for system in systems)
                rows = sum(system.forces.size for system in systems)
                richer = witness_settings(settings, edge, len(symbols), rows)
                radial = water_basis(symbols, richer.n_radial, richer.cutoff)
                witness = self._with_channels(DesignMatrix(symbols, richer, radial, self.matrix.wall), sampled)
                known.witness = Sums(witness.form(), witness.size, [Rows.FORCES], folds)
        elif doubt and known.witness is None:
            raise InputError(
                "The kept sums were made without --doubt, so that there are none of the witness; "
                "leave the option out, or fit all frames anew."
            )
        self.kept = known
        self.frames = _dealt(systems, symbols, numbers, known.model.folds)
        self.good = np.ones(len(self.frames), bool)
        self.errors = np.zeros(len(self.frames))
        self.labels = np.array([np.sqrt(np.mean(np.square(frame.forces))) for frame in self.frames])
        self.kinds = np.array([frame.kind for frame in self.frames], np.intp)
        self.bad_frames: list[BadFrame] = []
        self.trials: tuple[Trial, ...] = ()
        self.chosen: Trial | None = None
        self._ranges: list[tuple[NDArray[np.float64], ...]] = []
        if known.witness is not None:
            self._shares["witness"] = (known.witness.size / known.model.size) ** 2 + 0.3

    def _columns(
        self,
        systems: Sequence[LabelledFrames],
        settings: FitSettings,
        known: Kept | None,
        channels_of: LossModel | None,
        sampled: Sequence[tuple[LabelledFrames, int]],
    ) -> DesignMatrix:
        symbols = _species_of(systems)
        if known is None:
            radial = water_basis(symbols, settings.n_radial, settings.cutoff)
            matrix = DesignMatrix(symbols, settings, radial, _wall(symbols, systems))
            return self._with_channels(matrix, sampled, _channels_of(channels_of, matrix))
        matrix = DesignMatrix.from_form(known.model.form)
        new = [symbol for symbol in symbols if symbol not in matrix.symbols]
        if new:
            raise InputError(
                f"The kept sums know {', '.join(matrix.symbols)}, not {', '.join(new)}; fit all frames anew."
            )
        if matrix.size != known.model.size:
            raise InputError(f"The kept sums have {known.model.size} columns where their form has {matrix.size}.")
        for setting, option in FORM.items():
            mine, theirs = (
                value.value if isinstance(value, Scope) else value
                for value in (getattr(settings, setting), getattr(matrix.settings, setting))
            )
            if mine != theirs and (setting not in OF_CUBIC or settings.order == 3):
                raise InputError(
                    f"The kept sums are of {option} {theirs}, and {mine} was asked for; "
                    "leave the option out, or fit all frames anew."
                )
        return matrix

    def _with_channels(
        self, matrix: DesignMatrix, sampled: Sequence[tuple[LabelledFrames, int]], start: Cubic | None = None
    ) -> DesignMatrix:
        """The same columns, with channels for the cubic part when the order is 3."""
        settings = matrix.settings
        if settings.order < 3:
            return matrix
        if settings.n_channels > matrix.n_fields:
            raise InputError(f"--channels {settings.n_channels} is more than there are fields: {matrix.n_fields}.")

        def make(cubic: Cubic | None) -> DesignMatrix:
            # Channels are found without the parts that couple them between agents.
            one = replace(settings, hops=False, long_range=False)
            if cubic is None:
                one = replace(one, order=2, constant_channel=False)
            return DesignMatrix(matrix.symbols, one, matrix.radial, matrix.wall, cubic)

        def sample(system: LabelledFrames, index: int) -> Sample:
            positions, forces = (np.asarray(array[index], np.float64) for array in (system.positions, system.forces))
            box, weight = np.asarray(system.boxes[index]), settings.net_force_weight
            molecules = _Molecules(system.symbols, positions, box)

            def weighted(rows: NDArray[np.float64]) -> NDArray[np.float64]:
                return system.weight * (np.concatenate([rows, weight * molecules.sum(rows)]) if weight else rows)

            species = np.array([matrix.symbols.index(s) for s in system.symbols], np.int32)
            return Sample(positions, forces, species, box, weighted)

        cubic = find_channels(
            [sample(*place) for place in sampled], make, settings.n_channels, settings.channel_steps,
            max(settings.ridge, WITNESS_RIDGE), self.stage("channels"), start=start,
            constant=settings.constant_channel,
            # Without a constant the channels have nothing to give back of what the bound takes.
            bounded=self.bounded and settings.constant_channel,
        )  # fmt: skip
        return DesignMatrix(matrix.symbols, settings, matrix.radial, matrix.wall, cubic)

    def stage(self, name: str, upto: float | None = None) -> Progress:
        """Progress within one step of the fit."""
        total = sum(self._shares.values())
        first = self._done
        last = min(first + self._shares.get(name, 0.0) / total, 1.0) if upto is None else upto
        self._done = last

        def report(fraction: float, what: str = "") -> None:
            if self._progress:
                self._progress(min(first + (last - first) * fraction, 1.0), what)

        return report

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _rows(
        self, frame: _Frame, matrix: DesignMatrix, sums: Sums, into: NDArray[np.float64] | None = None
    ) -> tuple[list[tuple[Rows, NDArray[np.float64], NDArray[np.float64]]], tuple[NDArray[np.float64], ...]]:
        """Rows and targets of each kind, and the ranges of the frame: lowest, highest, nearest."""
        rows, wall, fields, shortest = matrix.rows(frame.positions, frame.species, frame.box, into=into)
        targets = frame.forces.ravel() - wall
        found = [(Rows.FORCES, rows, targets)]
        if Rows.NET_FORCES in sums.parts or Rows.TORQUES in sums.parts:
            # Found anew in every frame: in hot water protons change their molecule.
            molecules = _Molecules(frame.system.symbols, frame.positions, frame.box)
            if Rows.NET_FORCES in sums.parts:
                found.append((Rows.NET_FORCES, molecules.sum(rows), molecules.sum(targets)))
            if Rows.TORQUES in sums.parts:
                found.append((Rows.TORQUES, molecules.torque(rows), molecules.torque(targets)))
        species = [frame.species == a for a in range(len(matrix.symbols))]
        return found, (
            np.array([fields[mine, 0].min(axis=0, initial=np.inf) for mine in species]),
            np.array([fields[mine, 0].max(axis=0, initial=-np.inf) for mine in species]),
            np.array([shortest[mine].min(axis=0, initial=np.inf) for mine in species]),
        )

    def gather(self, keep_bad_frames: bool) -> None:
        """Sum the rows of all frames, but those whose labels are absurd."""
        report = self.stage("gather")
        if not keep_bad_frames:
            found, median = absurd(self.labels, self.kinds)
            for number in np.flatnonzero(found).tolist():
                self._name(number, self.labels[number], median[number], absurd=True)
        curled: set[int] = set()
        rng = np.random.default_rng(0)
        if Rows.CURLS in self.kept.model.parts:
            curled.update(np.linspace(0, len(self.frames) - 1, min(PLACES, len(self.frames))).astype(int).tolist())
        summed = [kind for kind in self.kept.model.parts if kind is not Rows.CURLS]
        collected: dict[Rows, Collector] = {kind: Collector(self.matrix.size) for kind in summed}
        for number, frame in enumerate(self.frames):
            report(number / len(self.frames), f"frame {number + 1} of {len(self.frames)}")
            if not self.good[number]:
                self._ranges.append(())
                continue
            parts = {kind: folds[frame.fold] for kind, folds in self.kept.model.parts.items()}
            room = collected[Rows.FORCES].room(parts[Rows.FORCES], frame.forces.size, frame.system.weight)
            found_rows, ranges = self._rows(frame, self.matrix, self.kept.model, room)
            for kind, rows, targets in found_rows:
                collected[kind].add(parts[kind], rows, targets, frame.system.weight)
            if number in curled:
                rows = self._curl_rows(frame, rng)
                self.kept.model.parts[Rows.CURLS][frame.fold].add(rows, np.zeros(len(rows)))
            self._ranges.append(ranges)
        for collector in collected.values():
            collector.finish()

    def _curl_rows(self, frame: _Frame, rng: np.random.Generator) -> NDArray[np.float64]:
        """Rows of the curl about one agent of a frame."""

        def rows(positions: NDArray[np.float64], agents: NDArray[np.intp]) -> NDArray[np.float64]:
            return self.matrix.rows(positions, frame.species, frame.box, agents)[0]

        masses = np.array([atomic_mass(symbol) for symbol in frame.system.symbols])
        agents = nearest(frame.positions, frame.box, int(rng.integers(len(masses))))
        return curl_rows(rows, frame.positions, masses, agents)

    def _name(self, number: int, error: float, median: float, *, absurd: bool) -> None:
        """Note a frame as bad."""
        frame = self.frames[number]
        steps = frame.system.steps
        self.good[number] = False
        self.bad_frames.append(
            BadFrame(
                Path(frame.system.source).name, frame.system.provenance.get("name", ""), frame.kind, frame.number,
                None if steps is None else int(steps[frame.index]), float(error), float(median), absurd,
            )
        )  # fmt: skip

    # -- solutions ----------------------------------------------------------------------------------------------------

    def _weights(self) -> dict[Rows, float]:
        return {
            Rows.FORCES: 1.0,
            Rows.NET_FORCES: self.settings.net_force_weight,
            Rows.TORQUES: self.settings.torque_weight,
            Rows.CURLS: self.settings.curl_weight,
        }

    def _equations(self, without: int | None = None) -> NormalEquations:
        return self.kept.model.equations(self._weights(), without)

    def solution(self) -> NDArray[np.float64]:
        """Coefficients of all folds together."""
        return self._equations().solve(self.settings.ridge)

    def _fold_models(self) -> list[LossModel]:
        """For each fold a model of all others; where frames are too few for that, the model of all."""
        folds = self.kept.model.folds
        try:
            if folds == 1:
                raise WorkFailed
            found = [self._equations(without=fold).solve(self.settings.ridge) for fold in range(folds)]
        except WorkFailed:
            found = [self.solution()] * folds
        return [self._bare(self.matrix, coefficients) for coefficients in found]

    @staticmethod
    def _bare(matrix: DesignMatrix, coefficients: NDArray[np.float64]) -> LossModel:
        """A model to be evaluated here and thrown away."""
        nothing = FittedRanges({}, np.zeros((len(matrix.symbols), matrix.n_fields, 2)))
        return matrix.model(coefficients, "fold", nothing)

    def leave_out_bad_frames(self) -> None:
        """Name the frames that a fit of the others does not explain, take their rows off, and look again."""
        report = self.stage("screen")
        while True:
            self._judge(report)
            good = np.flatnonzero(self.good)
            found, median = outlying(self.errors[good], self.labels[good], self.kinds[good], self.known_errors)
            if not found.any():
                break
            for number, middle in zip(good[found], median[found], strict=True):
                frame = self.frames[number]
                for kind, rows, targets in self._rows(frame, self.matrix, self.kept.model)[0]:
                    self.kept.model.parts[kind][frame.fold].remove(rows, targets, frame.system.weight)
                self._name(number, self.errors[number], middle, absurd=False)
        self.bad_frames.sort(key=lambda bad: -bad.error / max(bad.median, 1e-12))

    def _judge(self, report: Progress) -> None:
        """Root mean square force error of every frame by the model of the other folds."""
        models = self._fold_models()
        evaluator, last = None, None
        for number in sorted(np.flatnonzero(self.good), key=lambda n: (self.kinds[n], self.frames[n].fold)):
            frame = self.frames[number]
            here = (frame.kind, frame.fold)
            if evaluator is None or here != last or not np.array_equal(evaluator.box, frame.box):
                evaluator = Evaluator(
                    models[frame.fold], frame.species, frame.box, device=DeviceKind.CPU, precision=Precision.DOUBLE
                )
                last = here
            error = evaluator(frame.positions).forces - frame.forces
            self.errors[number] = np.sqrt(np.mean(np.square(error)))
            report(0.5, "looking for bad frames")

    def choose(self) -> None:
        """Ridge and row weights by cross-validation."""
        self.chosen, self.trials = cross_validate(self.kept.model, self.settings.torque_weight, self.stage("choose"))
        self.settings = replace(
            self.settings,
            ridge=self.chosen.ridge,
            net_force_weight=self.chosen.net_force_weight,
            torque_weight=self.chosen.torque_weight,
        )

    def bounded_solution(self) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Coefficients with a quadratic that is bounded below, and what that costs."""
        if self.settings.order < 2:
            raise InputError("--bounded makes a quadratic bounded below: give --order 2 or 3 with it.")
        equations = self._equations()
        found = bounded_solution(equations, self.settings.ridge, self.matrix.quadratic_blocks(), self.stage("solve"))
        both = np.stack([equations.solve(self.settings.ridge), found.coefficients], axis=1)
        forces = self.kept.model.equations({Rows.FORCES: 1.0})
        free, bounded = 1e3 * np.sqrt(forces.squared_errors(both) / forces.count)
        return found.coefficients, {
            "bounded": {
                "train_force_rmse_meV_A": round(float(bounded), 3),
                "free_train_force_rmse_meV_A": round(float(free), 3),
                "gap_percent": round(100.0 * found.gap, 4),
                "iterations": found.iterations,
            }
        }

    # -- the model ----------------------------------------------------------------------------------------------------

    def model(self, coefficients: NDArray[np.float64], name: str, card: Mapping[str, Any]) -> LossModel:
        """The model with its ranges and what is known of its fit."""
        kept, symbols, cutoff = self.kept, self.matrix.symbols, self.settings.cutoff
        for ranges in (found for found, good in zip(self._ranges, self.good, strict=True) if good):
            lowest, highest, nearest = ranges
            kept.lowest = np.minimum(kept.lowest, lowest)
            kept.highest = np.maximum(kept.highest, highest)
            kept.nearest = np.minimum(kept.nearest, nearest)
        told: dict[str, Any] = {
            "frames": int(self.good.sum()) + len(self.known_errors),
            "ridge": self.settings.ridge,
            "net_force_weight": self.settings.net_force_weight,
            "torque_weight": self.settings.torque_weight,
            **({"curl_weight": self.settings.curl_weight} if self.settings.curl_weight else {}),
            "fit_seconds": round(time.monotonic() - self._began, 2),
        }
        if self.bad_frames:
            told["bad_frames"] = [bad.to_json() for bad in self.bad_frames[:MOST_NAMED]]
        if self.trials:
            told["cross_validation"] = {
                "folds": kept.model.folds,
                "trials": [trial.to_json() for trial in self.trials],
            }
        return self.matrix.model(
            coefficients,
            name,
            FittedRanges(
                {
                    pair_name(a, b): (float(min(kept.nearest[i, j], cutoff)), cutoff)
                    for i, a in enumerate(symbols)
                    for j, b in enumerate(symbols)
                },
                np.stack([kept.lowest, kept.highest], axis=-1),
            ),
            told | dict(card),
        )

    def with_committee(self, model: LossModel) -> LossModel:
        """The same model with its committee, its witness and the law of its doubt."""
        assert self.kept.witness is not None
        report = self.stage("witness", 1.0)
        sums, judged = self.kept.witness, self.kept.model
        matrix = DesignMatrix.from_form(sums.form)
        good = [frame for frame, fine in zip(self.frames, self.good, strict=True) if fine]
        collected = Collector(matrix.size)
        for number, frame in enumerate(good):
            report(0.75 * number / len(good), f"witness, frame {number + 1} of {len(good)}")
            part = sums.parts[Rows.FORCES][frame.fold]
            room = collected.room(part, frame.forces.size, frame.system.weight)
            ((_, rows, targets),), _ = self._rows(frame, matrix, sums, room)
            collected.add(part, rows, targets, frame.system.weight)
        collected.finish()
        del collected
        rng = np.random.default_rng(0)
        ridge, forces = self.settings.ridge, {Rows.FORCES: 1.0}

        def draws(without: int | None) -> NDArray[np.float64]:
            found = judged.equations(forces, without).factor(max(ridge, WITNESS_RIDGE)).draws(DRAWS, rng)
            return found.T.reshape(DRAWS, len(self.matrix.symbols), self.matrix.columns)

        def witness(without: int | None) -> LossModel:
            return self._bare(matrix, sums.equations(forces, without).solve(WITNESS_RIDGE))

        # A bounded fit of each fold would take long, and a fit so stiff hardly follows what it is fitted to.
        models = [model] * judged.folds if self.bounded else self._fold_models()
        plain = np.zeros((len(self.matrix.symbols), 3))
        picked = [good[i] for i in np.unique(np.linspace(0, len(good) - 1, CALIBRATION_FRAMES).astype(int))]
        samples = [self.kept.samples]
        for fold in range(judged.folds):
            mine = [frame for frame in picked if frame.fold == fold]
            without = fold if judged.folds > 1 else None
            committee = Committee(draws(without), plain, witness(without))
            member = replace(models[fold], committee=committee)
            doubt, system = None, -1
            for number, frame in enumerate(mine):
                report(0.75 + 0.25 * (fold + number / len(mine)) / judged.folds, "how much to doubt")
                if doubt is None or frame.kind != system or not np.array_equal(doubt.box, frame.box):
                    doubt, system = Doubt(member, frame.species, frame.box, device=DeviceKind.CPU), frame.kind
                samples.append(np.column_stack([frame.species, *doubt.compared(frame.positions, frame.forces)]))
        self.kept.samples = np.concatenate(samples)
        law = fit_law(self.kept.samples, len(self.matrix.symbols))
        last = replace(witness(None), name=f"{model.name}, witness", ranges=self._witness_ranges(matrix))
        return replace(model, committee=Committee(draws(None), law, last))

    def _witness_ranges(self, matrix: DesignMatrix) -> FittedRanges:
        """Nobody reads the ranges of a witness; its file asks for distances."""
        symbols = matrix.symbols
        return FittedRanges(
            {pair_name(a, b): (0.0, matrix.settings.cutoff) for a in symbols for b in symbols},
            np.zeros((len(symbols), matrix.n_fields, 2)),
        )
