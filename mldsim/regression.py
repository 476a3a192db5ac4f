"""The linear problem of one form of loss: what is fitted, and its rows for one frame after the other.

A loss is linear in its coefficients, and so is a force: F = D(q) theta + wall. `FitSettings` says which columns D has,
`DesignMatrix` makes them (the arithmetic is `kernels.design`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.evaluator import TABLE_ROWS
from mldsim.kernels import design
from mldsim.kernels.cubic import WIDE, features, monomials, tightness
from mldsim.kernels.mutual import columns, touched
from mldsim.kernels.neighbors import IMAGES, build_list
from mldsim.kernels.waves import NUMBERS
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Wall, Waves
from mldsim.parameters import Precision
from mldsim.radial import TABLE_START, RadialBasis, check_basis, water_basis
from mldsim.species import atomic_mass

FORM = {
    "scope": "--scope",
    "order": "--order",
    "max_rank": "--max-rank",
    "n_radial": "--radial",
    "cutoff": "--cutoff",
    "n_channels": "--channels",
    "saturation": "--saturation",
    "constant_channel": "--constant-channel",
    "hops": "--hops",
    "long_range": "--long-range",
}
"""Settings that say what is summed, and their options; ridge and weights can be changed afterwards."""

OF_CUBIC = ("n_channels", "saturation", "constant_channel")
"""Those that matter for order 3 only."""

WAVE_WIDTHS = (0.25, 0.4, 0.6, 1.2)
"""1/angstrom; of the long-range functions, from those that reach far to what the cutoff of the wave vectors leaves."""

LONGEST_WAVE_VECTOR = 2.0
"""1/angstrom; a longer one would resolve what pairs within the cutoff tell better."""

MOST_STEPS = 20
"""Of the search for channels; three are usual."""

LEAST_BOUND = 1e3
"""Largest saturation: no channel comes so far, and the cubic part is free."""


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
    n_channels : int
        Of the cubic part; used for order 3 only.
    channel_steps : int
        How often the channels are improved, see `mldsim.channels`.
    saturation : float
        Of the channels, in their standard deviations: what keeps the cubic part bounded, see `kernels.cubic`.
    constant_channel : bool
        Whether the last channel of rank 0 is 1, so that the cubic part is also quadratic and linear in the others.
    hops : bool
        Whether losses depend on the channels of the neighbours, see `kernels.mutual`.
    long_range : bool
        Whether there is a long-range part, see `kernels.waves`.
    ridge : float
        Added to the unit diagonal of the scaled normal equations.
    net_force_weight : float
        Weight of the rows for the net force of each molecule; 0 leaves them out.
    torque_weight : float
        Weight (per angstrom) of the rows for the torque on each molecule about its centre of mass; 0 leaves them out.
    curl_weight : float
        Own scope only: weight of the rows that ask the forces to have no curl, see `mldsim.curl`; 0 leaves them out.
    """

    scope: Scope = Scope.SHARED
    order: int = 2
    max_rank: int = 2
    n_radial: int = 10
    cutoff: float = 5.0
    n_channels: int = 4
    channel_steps: int = 3
    saturation: float = 5.0
    constant_channel: bool = False
    hops: bool = False
    long_range: bool = False
    ridge: float = 1e-7
    net_force_weight: float = 3.0
    torque_weight: float = 0.0
    curl_weight: float = 0.0

    def __post_init__(self) -> None:
        check_basis(self.n_radial, self.cutoff)
        if self.order not in (1, 2, 3):
            raise InputError(f"--order must be 1, 2 or 3; {self.order} was given.")
        if not 1 <= self.n_channels <= WIDE:
            raise InputError(f"--channels must lie between 1 and {WIDE}; {self.n_channels} was given.")
        if not 0 <= self.channel_steps <= MOST_STEPS:
            raise InputError(f"--channel-steps must lie between 0 and {MOST_STEPS}; {self.channel_steps} was given.")
        if not 0.5 <= self.saturation <= LEAST_BOUND:
            raise InputError(f"--saturation must lie between 0.5 and {LEAST_BOUND:g}; {self.saturation:g} was given.")
        if not 0 <= self.max_rank <= 3:
            raise InputError(f"--max-rank must lie between 0 and 3; {self.max_rank} was given.")
        if self.order == 1 and self.max_rank > 0:
            raise InputError("--order 1 is linear in the rank-0 invariants; give --max-rank 0 with it, or --order 2.")
        if self.constant_channel and (self.order < 3 or self.n_channels < 2):
            raise InputError(
                "--constant-channel is one of at least two channels; give --order 3 and --channels with it."
            )
        for wanted, name in ((self.hops, "--hops"), (self.long_range, "--long-range")):
            if wanted and self.order < 3:
                raise InputError(f"{name} couples the channels of the cubic part; give --order 3 with it.")
            if wanted and self.scope is Scope.OWN:
                raise InputError(f"{name} shares a loss between two agents; it is for --scope shared only.")
        for name, value in (
            ("--ridge", self.ridge),
            ("--net-force-weight", self.net_force_weight),
            ("--torque-weight", self.torque_weight),
            ("--curl-weight", self.curl_weight),
        ):
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"{name} must be zero or a positive number; {value} was given.")
        if self.curl_weight and self.scope is Scope.SHARED:
            raise InputError(
                "--curl-weight is for --scope own; forces of shared scope come from one loss and have no curl."
            )


class DesignMatrix:
    """Regression rows of one frame after the other, for one model form.

    Parameters
    ----------
    symbols, settings, radial, wall
    cubic : Cubic, optional
        Channels and offsets of the cubic part, for order 3; its coefficients do not matter.

    Attributes
    ----------
    columns : int
        Of one species: w, W, the cubic part, hops and waves.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        settings: FitSettings,
        radial: RadialBasis,
        wall: Wall,
        cubic: Cubic | None = None,
    ) -> None:
        self.symbols = symbols
        self.settings = settings
        self.radial = radial
        self.wall = wall
        self.cubic = cubic
        self.n_fields = len(symbols) * radial.n_radial
        n_channels = cubic.n_channels if cubic is not None else 0
        if cubic is not None:
            self._tightness = tightness(cubic.saturation, settings.max_rank)
        local = design.n_features(self.n_fields, settings.order, settings.max_rank, n_channels)
        n, widths = len(symbols), np.array(WAVE_WIDTHS)
        self._hops, self._waves = None, None
        if settings.hops:
            self._hops = Hops(np.zeros((n, len(columns(n, radial.n_radial, n_channels)))))
        if settings.long_range:
            nothing = np.zeros((n, len(columns(n, len(widths), NUMBERS))))
            self._waves = Waves(widths, LONGEST_WAVE_VECTOR, nothing)
        parts = (self._hops, self._waves)
        self._first = np.cumsum([local, *(one.coefficients.shape[1] if one is not None else 0 for one in parts)])
        self.columns = int(self._first[-1])
        self._spaces: dict[str, NDArray[Any]] = {}
        self._index = design.feature_index(self.n_fields, settings.max_rank)
        rows = TABLE_ROWS[Precision.DOUBLE]
        gap = design.whole(radial.n_radial) - radial.n_radial
        self._table = np.pad(radial.table(rows), [(0, 0)] * 4 + [(0, gap)])
        self._per_row = (rows - 1) / (settings.cutoff - TABLE_START)

    @property
    def size(self) -> int:
        """Number of columns of all species."""
        return len(self.symbols) * self.columns

    def form(self) -> dict[str, Any]:
        """What the columns mean, as JSON; `from_form` makes the same columns of it."""
        settings = self.settings
        return {
            "symbols": list(self.symbols),
            "scope": settings.scope.value,
            "order": settings.order,
            "max_rank": settings.max_rank,
            "n_radial": settings.n_radial,
            "cutoff": settings.cutoff,
            "wall_stiffness": self.wall.stiffness,
            "wall_radius": self.wall.radius.tolist(),
            **(
                {}
                if self.cubic is None
                else {
                    "n_channels": self.cubic.n_channels,
                    "channels": self.cubic.channels.tolist(),
                    "offsets": self.cubic.offsets.tolist(),
                    "saturation": self.cubic.saturation.tolist(),
                }
            ),
            **({"constant_channel": True} if settings.constant_channel else {}),
            **({"hops": True} if self._hops is not None else {}),
            **(
                {}
                if self._waves is None
                else {"long_range": True, "widths": self._waves.widths.tolist(), "longest": self._waves.reach}
            ),
        }

    @classmethod
    def from_form(cls, form: Mapping[str, Any]) -> DesignMatrix:
        """The columns of kept sums.

        Raises
        ------
        InputError
            If the form is none that this mldsim can make.
        """
        try:
            settings = FitSettings(
                scope=Scope(form["scope"]),
                order=int(form["order"]),
                max_rank=int(form["max_rank"]),
                n_radial=int(form["n_radial"]),
                cutoff=float(form["cutoff"]),
                n_channels=int(form.get("n_channels", FitSettings.n_channels)),
                saturation=float(form["saturation"][0]) if "saturation" in form else FitSettings.saturation,
                constant_channel=bool(form.get("constant_channel", False)),
                hops=bool(form.get("hops", False)),
                long_range=bool(form.get("long_range", False)),
            )
            channels, offsets, saturation = (
                np.array(form.get(key, []), np.float64) for key in ("channels", "offsets", "saturation")
            )
            symbols = tuple(str(symbol) for symbol in form["symbols"])
            radius = np.array(form["wall_radius"], np.float64)
            stiffness = float(form["wall_stiffness"])
        except (IndexError, KeyError, TypeError, ValueError):
            raise InputError("The form of the kept sums cannot be read; fit all frames anew.") from None
        n = len(symbols)
        if radius.shape != (n, n) or not (radius > 0).all() or not (radius < settings.cutoff).all() or stiffness <= 0:
            raise InputError("The wall of the kept sums cannot be; fit all frames anew.")
        cubic = None
        if settings.order == 3:
            n_channels = settings.n_channels
            shape = (n, settings.max_rank + 1, n_channels, n * settings.n_radial)
            shapes = channels.shape, offsets.shape, saturation.shape
            if shapes != (shape, (n, n_channels), (n,)) or not np.isfinite(channels).all() or (saturation <= 0).any():
                raise InputError("The channels of the kept sums cannot be; fit all frames anew.")
            nothing = np.zeros((n, len(features(n_channels, settings.max_rank))))
            cubic = Cubic(channels, offsets, saturation, nothing)
        radial = water_basis(symbols, settings.n_radial, settings.cutoff)
        matrix = cls(symbols, settings, radial, Wall(stiffness, radius), cubic)
        if matrix.form() != dict(form):
            raise InputError("The kept sums are of a form that this mldsim does not know; fit all frames anew.")
        return matrix

    def model(
        self, coefficients: NDArray[np.float64], name: str, ranges: FittedRanges, card: Mapping[str, Any] | None = None
    ) -> LossModel:
        """The loss model of these coefficients (size,)."""
        n, settings = len(self.symbols), self.settings
        empty = LossModel(
            name=name,
            symbols=self.symbols,
            masses=np.array([atomic_mass(s) for s in self.symbols]),
            scope=settings.scope,
            order=settings.order,
            max_rank=settings.max_rank,
            radial=self.radial,
            wall=self.wall,
            linear=np.zeros((n, self.n_fields)),
            quadratic=np.zeros((n, settings.max_rank + 1, self.n_fields, self.n_fields)),
            ranges=ranges,
            card=card or {},
            cubic=self.cubic,
            hops=self._hops,
            waves=self._waves,
        )
        return empty.with_coefficients(coefficients.reshape(n, self.columns))

    def quadratic_blocks(self) -> list[NDArray[np.int64]]:
        """Columns of every W_a^l, (n_fields, n_fields) each."""
        return [a * self.columns + rank for a in range(len(self.symbols)) for rank in self._index]

    def fields(
        self,
        positions: NDArray[np.float64],
        species: NDArray[np.int32],
        box: NDArray[np.float64],
        agents: NDArray[np.intp] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Fields (n_agents, n_lm, n_fields) and distances to the nearest agents of each species, of all or of some."""
        cutoff, n = self.settings.cutoff, len(self.symbols)
        if (box < cutoff).any():
            raise InputError(f"A frame's box of {box.min():.4g} Å is smaller than the cutoff of {cutoff:g} Å.")
        origin, count, entries = build_list(positions, box, cutoff, 96)
        if agents is not None:
            few = np.zeros_like(count)
            few[agents] = count[agents]
            count = few
        width = max(int(count.max(initial=0)), 1)
        shapes = design.shapes_of_pairs(len(species), width, n, self.radial.n_radial, self.settings.max_rank)
        integers = ("ends", "owner")
        self._pairs = design.Pairs(
            **{n: self._space(n, shape, np.int64 if n in integers else np.float64) for n, shape in shapes.items()}
        )
        design.find_pairs(
            positions - origin, species, IMAGES * box, count, entries, cutoff, TABLE_START, self._per_row, self._table,
            self.settings.max_rank, self._pairs,
        )  # fmt: skip
        fields = np.empty((len(species), (self.settings.max_rank + 1) ** 2, self.n_fields))
        shortest = np.empty((len(species), n))
        design.fields(self._pairs, shortest, fields)
        return fields, shortest

    def _space(self, name: str, shape: tuple[int, ...], kind: type[np.generic] = np.float64) -> NDArray[Any]:
        """Memory that is used for every frame again: new memory costs more time than what is written to it."""
        size = math.prod(shape)
        if name not in self._spaces or self._spaces[name].size < size:
            self._spaces[name] = np.empty(size, kind)
        return self._spaces[name][:size].reshape(shape)

    def rows(
        self,
        positions: NDArray[np.float64],
        species: NDArray[np.int32],
        box: NDArray[np.float64],
        agents: NDArray[np.intp] | None = None,
        into: NDArray[np.float64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Rows (3 n_agents, n_species * columns), wall forces (3 n_agents,), fields, nearest distances.

        In own scope, where no force depends on another agent's fields, `agents` may name those that count: the rest of
        what is returned means nothing then. The rows are written `into` an array of their shape, if one is given.
        """
        fields, shortest = self.fields(positions, species, box, agents)
        rows = np.empty((3 * len(species), self.size)) if into is None else into
        wall = np.empty(3 * len(species))
        design.rows(
            species, self._pairs, self.settings.max_rank, self.settings.order >= 2, self._index, self.columns,
            self.wall.radius, self.wall.stiffness, self.settings.scope is Scope.SHARED, fields, rows, wall,
        )  # fmt: skip
        if self.cubic is not None:
            self._seen = self._components(species)
            seen = np.empty_like(self._seen[0]), self._space("saturated", self._seen[1].shape)
            design.saturate(species, self._pairs, self._tightness, *self._seen, *seen)
            first_column = self._first[0] - self.cubic.coefficients.shape[1]
            design.cubic_rows(
                species, self._pairs, *seen, *monomials(self.cubic.n_channels, self.settings.max_rank),
                self.settings.scope is Scope.SHARED, self.columns, first_column, rows,
            )  # fmt: skip
            self._add_mutual(positions, species, box, seen, rows)
        return rows, wall, fields, shortest

    def _add_mutual(
        self,
        positions: NDArray[np.float64],
        species: NDArray[np.int32],
        box: NDArray[np.float64],
        seen: tuple[NDArray[np.float64], NDArray[np.float64]],
        rows: NDArray[np.float64],
    ) -> None:
        """The columns of hops and waves, for the frame of the last call of `fields`."""
        assert self.cubic is not None
        value, slope = seen
        n, n_channels = len(self.symbols), self.cubic.n_channels
        numbers = np.ascontiguousarray(value[:, :n_channels])

        def by_number(fields: NDArray[np.float64], n_functions: int, first: int, which: slice) -> None:
            """What they make by way of the channels: of the numbers `which`, the first is the leading channel."""
            column, partner = (array[:, which] for array in touched(n, n_functions, fields.shape[3]))
            species_of, column = np.divmod(column, len(columns(n, n_functions, fields.shape[3])))
            b, f, d = np.moveaxis(partner[species], -1, 0)
            of_number = fields[np.arange(len(species))[:, None, None], b, f, d]
            column = np.ascontiguousarray(species_of * self.columns + first + column)
            design.number_rows(species, self._pairs, slope, column, of_number, rows)

        if self._hops is not None:
            first, n_radial = int(self._first[0]), self.radial.n_radial
            fields = np.empty((len(species), n, n_radial, n_channels))
            design.hop_fields(self._pairs, numbers, fields)
            design.hop_rows(species, self._pairs, n_radial, numbers, self.columns, first, rows)
            by_number(fields, n_radial, first, slice(None))
        if self._waves is not None:
            first, widths = int(self._first[1]), self._waves.widths
            fields = design.long_range(
                positions, species, box, widths, self._waves.reach, numbers[:, 0], self.columns, first, rows
            )
            by_number(fields, len(widths), first, slice(1, None))

    def _components(self, species: NDArray[np.int32]) -> tuple[NDArray[Any], ...]:
        """What `kernels.design.components` makes of the frame of the last call of `fields`."""
        assert self.cubic is not None
        n_agents, capacity = self._pairs.owner.shape
        value = np.empty((n_agents, (self.settings.max_rank + 1) ** 2 * self.cubic.n_channels))
        slope = self._space("slope", (*value.shape, 3 * capacity))
        design.components(species, self._pairs, self.cubic.channels, self.cubic.offsets, value, slope)
        return value, slope

    def channel_rows(
        self,
        species: NDArray[np.int32],
        fields: NDArray[np.float64],
        means: NDArray[np.float64],
        coefficients: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """How the forces change with the channels, for the frame of the last call of `rows`.

        Parameters
        ----------
        species : (n_agents,) int32
        fields : as returned by `rows`
        means : (n_species, n_fields) float64
            Of the invariants; the offsets follow the channels as their products with these.
        coefficients : (n_species, n_features) float64, eV
            Of the cubic part.

        Returns
        -------
        (3 n_agents, size of the channels) float64
        """
        assert self.cubic is not None
        rows = np.empty((3 * len(species), self.cubic.channels.size))
        terms = monomials(self.cubic.n_channels, self.settings.max_rank)
        design.channel_rows(
            species, self._pairs, self.settings.max_rank, fields, means, *self._seen, self._tightness,
            terms.first, terms.factors, terms.weights, coefficients, self.settings.scope is Scope.SHARED,
            self._space("bent", self._seen[1].shape), rows,
        )  # fmt: skip
        return rows
