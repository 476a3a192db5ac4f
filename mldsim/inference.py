"""Inference: losses from forces, by linear least squares.

Every frame gives three rows per agent (`kernels.design`). They are streamed into the normal equations of all species
together, so memory does not grow with the number of frames. Extra rows ask for the net force on each molecule: it is
ten times smaller than the bond's forces, and it is what orders the molecules. Columns are scaled to unit norm; the
ridge is relative to that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import InputError, WorkFailed
from mldsim.evaluator import TABLE_ROWS, Evaluator
from mldsim.kernels import design
from mldsim.kernels.neighbors import IMAGES, build_list
from mldsim.loss import FittedRanges, LossModel, Scope, Wall
from mldsim.molecules import find_molecules
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import TABLE_START, RadialBasis, check_basis, water_basis
from mldsim.species import atomic_mass, atomic_number, pair_name

WALL_STIFFNESS = 30.0
"""eV/angstrom^2; our choice: a contact 0.1 angstrom inside the wall costs ten kT."""

WALL_RADII = {"O-O": 2.25, "O-H": 0.80, "H-H": 1.20}
"""angstrom; just below the closest contacts of water at 600 K. Other pairs: 0.9 times the data's closest contact."""


@dataclass(frozen=True)
class FitSettings:
    """What is fitted, and how.

    Attributes
    ----------
    scope, order, max_rank
        See `LossModel`.
    n_radial : int
        Radial functions per pair of species.
    cutoff : float, angstrom
    ridge : float
        Added to the unit diagonal of the scaled normal equations.
    net_force_weight : float
        Weight of the rows for the net force of each molecule; 0 leaves them out.
    torque_weight : float
        Weight (per angstrom) of the rows for the torque on each molecule about its centre of mass; 0 leaves them out.
    """

    scope: Scope = Scope.SHARED
    order: int = 2
    max_rank: int = 2
    n_radial: int = 10
    cutoff: float = 5.0
    ridge: float = 1e-7
    net_force_weight: float = 3.0
    torque_weight: float = 0.0

    def __post_init__(self) -> None:
        check_basis(self.n_radial, self.cutoff)
        if self.order not in (1, 2):
            raise InputError(f"--order must be 1 or 2; {self.order} was given.")
        if not 0 <= self.max_rank <= 3:
            raise InputError(f"--max-rank must lie between 0 and 3; {self.max_rank} was given.")
        if self.order == 1 and self.max_rank > 0:
            raise InputError("--order 1 is linear in the rank-0 invariants; give --max-rank 0 with it, or --order 2.")
        for name, value in (
            ("--ridge", self.ridge),
            ("--net-force-weight", self.net_force_weight),
            ("--torque-weight", self.torque_weight),
        ):
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be zero or a positive number; {value} was given.")


@dataclass(frozen=True)
class ForceErrors:
    """Errors of predicted forces, over all components.

    Attributes
    ----------
    frames : int
    rmse, mae, rms : float, eV/angstrom
        Root mean square error, mean absolute error, and the root mean square of the labels.
    species : dict
        The same per species; their own `species` is empty.
    """

    frames: int
    rmse: float
    mae: float
    rms: float
    species: Mapping[str, ForceErrors] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The keys of the command line's contract, meV/angstrom."""
        numbers: dict[str, Any] = {
            "frames": self.frames,
            "force_rmse_meV_A": 1e3 * self.rmse,
            "force_mae_meV_A": 1e3 * self.mae,
            "force_rms_meV_A": 1e3 * self.rms,
        }
        if self.species:
            numbers["species"] = {name: errors.to_json() for name, errors in self.species.items()}
        return numbers


class NormalEquations:
    """The streamed sums D^T D and D^T F of all rows seen so far.

    Attributes
    ----------
    matrix : (n, n) float64
        Only the upper triangle is kept.
    vector : (n,) float64
    """

    def __init__(self, size: int) -> None:
        self.matrix = np.zeros((size, size))
        self.vector = np.zeros(size)

    def add(self, rows: NDArray[np.float64], targets: NDArray[np.float64], weight: float = 1.0) -> None:
        """Add weighted rows (n_rows, size) and targets (n_rows,)."""
        from scipy.linalg.blas import dsyrk

        # In place, one triangle: BLAS sees the transpose of our row-major arrays.
        dsyrk(weight * weight, rows.T, beta=1.0, c=self.matrix.T, overwrite_c=True, lower=True)
        self.vector += (weight * weight) * (rows.T @ targets)

    def solve(self, ridge: float) -> NDArray[np.float64]:
        """Coefficients (size,) of the ridge regression.

        Raises
        ------
        WorkFailed
            If the rows do not determine the coefficients.
        """
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        scale = np.sqrt(np.diag(self.matrix))
        # A function that no pair ever reached has no rows; its coefficient stays zero.
        used = scale > 1e-12 * scale.max(initial=0.0)
        if not used.any():
            raise WorkFailed("The frames determine nothing: no two agents come closer than the cutoff.")
        inverse = 1.0 / scale[used]
        scaled = self.matrix[np.ix_(used, used)] * inverse[:, None] * inverse
        scaled[np.diag_indices_from(scaled)] += ridge
        try:
            factor = cho_factor(scaled, overwrite_a=True, check_finite=False)  # reads the upper triangle
        except LinAlgError:
            raise WorkFailed(
                "The frames do not determine all coefficients; give more frames, fewer functions or a larger --ridge."
            ) from None
        solution = np.zeros(len(scale))
        solution[used] = cho_solve(factor, self.vector[used] * inverse, check_finite=False) * inverse
        return solution


class DesignMatrix:
    """Regression rows of one frame after the other, for one model form."""

    def __init__(self, symbols: tuple[str, ...], settings: FitSettings, radial: RadialBasis, wall: Wall) -> None:
        self.symbols = symbols
        self.settings = settings
        self.wall = wall
        self.n_fields = len(symbols) * radial.n_radial
        self.columns = design.n_features(self.n_fields, settings.order, settings.max_rank)
        self._index = design.feature_index(self.n_fields, settings.max_rank)
        rows = TABLE_ROWS[Precision.DOUBLE]
        self._table = radial.table(rows)
        self._per_row = (rows - 1) / (settings.cutoff - TABLE_START)

    def fields(
        self, positions: NDArray[np.float64], species: NDArray[np.int32], box: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fields (n_agents, n_lm, n_fields) and the distance to the nearest agent of each species."""
        self._pairs = self._find_pairs(positions, species, box)
        fields = np.empty((len(species), (self.settings.max_rank + 1) ** 2, self.n_fields))
        shortest = np.empty((len(species), len(self.symbols)))
        design.fields(*self._pairs, self._table, self.settings.max_rank, shortest, fields)
        return fields, shortest

    def _find_pairs(
        self, positions: NDArray[np.float64], species: NDArray[np.int32], box: NDArray[np.float64]
    ) -> tuple[Any, ...]:
        cutoff = self.settings.cutoff
        if (box < cutoff).any():
            raise InputError(f"A frame's box of {box.min():.4g} Å is smaller than the cutoff of {cutoff:g} Å.")
        origin, count, entries = build_list(positions, box, cutoff, 96)
        return positions - origin, species, IMAGES * box, count, entries, cutoff, TABLE_START, self._per_row

    def rows(
        self, positions: NDArray[np.float64], species: NDArray[np.int32], box: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Rows (3 n_agents, n_species * columns), wall forces (3 n_agents,), fields, nearest distances."""
        fields, shortest = self.fields(positions, species, box)
        rows = np.empty((3 * len(species), len(self.symbols) * self.columns))
        wall = np.empty(3 * len(species))
        design.rows(
            *self._pairs, self._table, self.settings.max_rank, self.settings.order == 2, self._index, self.columns,
            self.wall.radius, self.wall.stiffness, self.settings.scope is Scope.SHARED, fields, rows, wall,
        )  # fmt: skip
        return rows, wall, fields, shortest


def fit(
    systems: Sequence[LabelledFrames],
    settings: FitSettings,
    *,
    name: str = "model",
    card: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> LossModel:
    """Infer the losses of all species from labelled frames.

    Parameters
    ----------
    systems : sequence of LabelledFrames
        Hold out what the errors will be measured on before calling.
    settings : FitSettings
    name : str
    card : mapping
        Provenance to store with the model.
    progress : callable
        May raise to cancel; nothing is kept then.

    Returns
    -------
    LossModel

    Raises
    ------
    InputError
        If there are no frames, or a box is smaller than the cutoff.
    WorkFailed
        If the frames do not determine the coefficients.
    """
    began = time.monotonic()
    n_frames = sum(len(system.positions) for system in systems)
    if n_frames == 0:
        raise InputError("There are no frames to fit; give more data or a smaller --holdout.")
    symbols = _species_of(systems)
    radial = water_basis(symbols, settings.n_radial, settings.cutoff)
    wall = _wall(symbols, systems)
    matrix = DesignMatrix(symbols, settings, radial, wall)
    equations = NormalEquations(len(symbols) * matrix.columns)
    lowest = np.full((len(symbols), matrix.n_fields), np.inf)
    highest = np.full_like(lowest, -np.inf)
    nearest = np.full((len(symbols), len(symbols)), np.inf)
    done = 0
    for system in systems:
        species = np.array([symbols.index(s) for s in system.symbols], np.int32)
        for positions, forces, box in zip(system.positions, system.forces, system.boxes, strict=True):
            rows, wall_force, fields, shortest = matrix.rows(positions, species, box)
            targets = forces.ravel() - wall_force
            equations.add(rows, targets)
            if settings.net_force_weight or settings.torque_weight:
                # Found anew in every frame: in hot water protons change their molecule.
                molecules = _Molecules(system.symbols, positions, box)
                if settings.net_force_weight:
                    equations.add(molecules.sum(rows), molecules.sum(targets), settings.net_force_weight)
                if settings.torque_weight:
                    equations.add(molecules.torque(rows), molecules.torque(targets), settings.torque_weight)
            for a in range(len(symbols)):
                lowest[a] = np.minimum(lowest[a], fields[species == a, 0].min(axis=0, initial=np.inf))
                highest[a] = np.maximum(highest[a], fields[species == a, 0].max(axis=0, initial=-np.inf))
                nearest[a] = np.minimum(nearest[a], shortest[species == a].min(axis=0, initial=np.inf))
            done += 1
            if progress:
                progress(0.95 * done / n_frames, f"frame {done} of {n_frames}")
    if progress:
        progress(0.95, "solving")
    theta = equations.solve(settings.ridge).reshape(len(symbols), matrix.columns)
    linear, quadratic = _unpack(theta, matrix.n_fields, settings)
    if progress:
        progress(1.0, "done")
    return LossModel(
        name=name,
        symbols=symbols,
        masses=np.array([atomic_mass(s) for s in symbols]),
        scope=settings.scope,
        order=settings.order,
        max_rank=settings.max_rank,
        radial=radial,
        wall=wall,
        linear=linear,
        quadratic=quadratic,
        ranges=FittedRanges(
            {
                pair_name(a, b): (float(min(nearest[i, j], settings.cutoff)), settings.cutoff)
                for i, a in enumerate(symbols)
                for j, b in enumerate(symbols)
            },
            np.stack([lowest, highest], axis=-1),
        ),
        card={
            "frames": n_frames,
            "ridge": settings.ridge,
            "net_force_weight": settings.net_force_weight,
            "torque_weight": settings.torque_weight,
            "fit_seconds": round(time.monotonic() - began, 2),
            **(card or {}),
        },
    )


def force_errors(model: LossModel, systems: Sequence[LabelledFrames], progress: Progress | None = None) -> ForceErrors:
    """Errors of the model's forces on labelled frames, in float64.

    Raises
    ------
    InputError
        If there are no frames, a species is not in the model, or a box is smaller than its cutoff.
    """
    n_frames = sum(len(system.positions) for system in systems)
    if n_frames == 0:
        raise InputError("There are no frames to evaluate.")
    sums = np.zeros((len(model.symbols), 4))  # squared error, absolute error, squared label, count
    done = 0
    for system in systems:
        unknown = sorted(set(system.symbols) - set(model.symbols))
        if unknown:
            raise InputError(f"The model '{model.name}' knows {', '.join(model.symbols)}, not {', '.join(unknown)}.")
        species = np.array([model.symbols.index(s) for s in system.symbols], np.int32)
        evaluator = None
        for positions, labels, box in zip(system.positions, system.forces, system.boxes, strict=True):
            if evaluator is None or not np.array_equal(evaluator.box, box):
                evaluator = Evaluator(model, species, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
            error = evaluator(positions).forces - labels
            for a in range(len(model.symbols)):
                mine = species == a
                sums[a] += (
                    (error[mine] ** 2).sum(),
                    np.abs(error[mine]).sum(),
                    (labels[mine] ** 2).sum(),
                    3 * mine.sum(),
                )
            done += 1
            if progress:
                progress(done / n_frames, f"frame {done} of {n_frames}")

    def errors(row: NDArray[np.float64], species: Mapping[str, ForceErrors]) -> ForceErrors:
        squared, absolute, label, count = row
        return ForceErrors(
            n_frames, float(np.sqrt(squared / count)), float(absolute / count), float(np.sqrt(label / count)), species
        )

    present = [(symbol, row) for symbol, row in zip(model.symbols, sums, strict=True) if row[3]]
    return errors(sums.sum(axis=0), {symbol: errors(row, {}) for symbol, row in present})


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


def _unpack(
    theta: NDArray[np.float64], n_fields: int, settings: FitSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split the columns of `kernels.design` into w and the symmetric W."""
    linear = theta[:, :n_fields].copy()
    quadratic = np.zeros((len(theta), settings.max_rank + 1, n_fields, n_fields))
    if settings.order == 2:
        index = design.feature_index(n_fields, settings.max_rank)
        quadratic[:] = theta[:, index]
    return linear, quadratic


class _Molecules:
    """Sums over the agents of each molecule of one frame; single atoms are no molecules."""

    def __init__(self, symbols: Sequence[str], positions: NDArray[np.float64], box: NDArray[np.float64]) -> None:
        molecule = find_molecules(symbols, positions, box)
        sizes = np.bincount(molecule)
        order = np.argsort(molecule, kind="stable")
        # The net force on a single atom says nothing that its own rows do not.
        self._members = order[sizes[molecule[order]] > 1]
        self._starts = np.concatenate([[0], np.cumsum(sizes[sizes > 1])])[:-1].astype(np.intp)
        masses = np.array([atomic_mass(s) for s in symbols])
        # Each agent's separation from its molecule's centre of mass, across the box edge where that is nearer.
        first = order[np.concatenate([[0], np.cumsum(sizes)[:-1]])][molecule]
        offset = positions - positions[first]
        offset -= box * np.round(offset / box)
        total = np.bincount(molecule, masses)
        centre = np.stack([np.bincount(molecule, masses * offset[:, d]) / total for d in range(3)], axis=1)
        self._arms = offset - centre[molecule]

    def sum(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Net force: (3 n_agents, ...) -> (3 n_molecules, ...)."""
        if not len(self._starts):
            return np.empty((0, *rows.shape[1:]))
        per_agent = rows.reshape(len(self._arms), 3, *rows.shape[1:])[self._members]
        return np.asarray(np.add.reduceat(per_agent, self._starts, axis=0)).reshape(-1, *rows.shape[1:])

    def torque(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Torque about the centre of mass: (3 n_agents, ...) -> (3 n_molecules, ...), angstrom times the unit."""
        force = rows.reshape(len(self._arms), 3, -1)
        x, y, z = (self._arms[:, d, None] for d in range(3))
        fx, fy, fz = force[:, 0], force[:, 1], force[:, 2]
        moment = np.stack([y * fz - z * fy, z * fx - x * fz, x * fy - y * fx], axis=1)
        return self.sum(moment.reshape(rows.shape))
