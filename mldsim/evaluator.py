"""Losses and forces of a whole box: the loss model made ready for a device.

Owns what does not belong to the physics: tables of the radial functions, the Verlet list with its skin, the scratch
arrays, and the choice of kernels.

The kernels see the agents in the order of their cells, renewed with each list: neighbours in space are then neighbours
in memory, which a liquid that mixes would otherwise lose (docs/performance.md). Rows of the scratch arrays are in this
order; what goes in and what comes out is in the order of the agents.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import DeviceLost, InputError, MldsimError
from mldsim.kernels import backend, cubic, motion, mutual, waves
from mldsim.kernels.neighbors import IMAGES, build_list, order_by_cell
from mldsim.loss import LossModel, Scope, Waves
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import TABLE_START

logger = logging.getLogger(__name__)

GPU_FROM = 100
"""Agents: `auto` takes a GPU for as many. A step of 192 agents took 63 to 75 microseconds on an H200, little of which
depends on their number; one core of a CPU takes 2 to 3 microseconds per agent (docs/performance.md)."""

SKIN = 0.6
"""angstrom; the list is good until an agent has moved half of it."""

TABLE_ROWS = {Precision.SINGLE: 512, Precision.DOUBLE: 4096}
"""Hermite interpolation leaves less than rounding in float32 (`benchmarks/table_rows.py`: half as many rows leave ten
times as much), and 1e-10 in float64 (tests/kernels)."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Losses and forces at one set of positions.

    Attributes
    ----------
    losses : (n_agents,) float64, eV
    forces : (n_agents, 3) float64, eV/angstrom
    closest : float
        Smallest distance of a pair in units of its wall's radius.
    """

    losses: NDArray[np.float64]
    forces: NDArray[np.float64]
    closest: float


class Evaluator:
    """Evaluates a loss model for the agents of one box.

    Parameters
    ----------
    model : LossModel
    species : (n_agents,) int32
        Index into ``model.symbols``.
    box : (3,) float64, angstrom
    device : DeviceKind
    precision : Precision
        Of the pair arithmetic; results are float64 in both.

    Raises
    ------
    InputError
        If the box is smaller than the cutoff, or the device cannot be used.
    """

    def __init__(
        self,
        model: LossModel,
        species: NDArray[np.int32],
        box: NDArray[np.float64],
        *,
        device: DeviceKind = DeviceKind.AUTO,
        precision: Precision = Precision.SINGLE,
    ) -> None:
        if not (np.isfinite(box).all() and (box > 0).all()):
            raise InputError(f"The edges of the box must be positive lengths; {_lengths(box)} was given.")
        if (box < model.cutoff).any():
            raise InputError(
                f"The box of {_lengths(box)} is smaller than the cutoff of the model ({model.cutoff:g} Å); "
                f"take more molecules or a lower density."
            )
        real = np.dtype(precision.value)
        report = _choose(device, model, real.type, len(species))
        self.model = model
        self.precision = precision
        self.box = np.array(box, np.float64)
        self.species = np.ascontiguousarray(species, np.int32)
        if report.kind == "cpu":
            self._prepare(report, model, real)
            return
        try:
            with faults():
                self._prepare(report, model, real)
        except DeviceLost as lost:
            self.leave_gpu(str(lost))

    def leave_gpu(self, reason: str) -> None:
        """Go on on the CPU; why is a sentence."""
        report = backend.choose("cpu")._replace(reason=f"{reason} The CPU goes on.")
        self._prepare(report, self.model, np.dtype(self.precision.value))

    def _prepare(self, report: backend.DeviceReport, model: LossModel, real: Any) -> None:
        """Tables, coefficients and room on a device."""
        self.device_name = report.name
        self.device_reason = report.reason
        self.on_gpu = report.kind == "cuda"
        self.reach = float(min(model.cutoff + SKIN, self.box.min()))
        n_hops = model.cubic.n_channels if model.cubic is not None and model.hops is not None else 0
        self._kernels = backend.kernels(report.kind, model.radial.n_radial, model.max_rank, n_hops)
        # Squared, that an agent may move before the list is renewed.
        self.farthest = 0.25 * (self.reach - model.cutoff) ** 2
        self._order: NDArray[np.int64] | None = None
        self._listed = np.empty((len(self.species), 3))
        self._room: NDArray[np.int32] | None = None

        rows = TABLE_ROWS[self.precision]
        n, k = len(model.symbols), model.radial.n_radial
        put = self._kernels.put
        filled = self._kernels.lanes(k)

        def filled_up(array: NDArray[np.float64], length: int) -> NDArray[Any]:
            wide = np.zeros((*array.shape[:-1], length), real)
            wide[..., : array.shape[-1]] = array
            return wide

        def in_lanes(array: NDArray[np.float64], length: int) -> Any:
            """On the device, the last axis filled up with zeros to the length that the kernels want."""
            return put(filled_up(array, length))

        self._constants = (
            real.type(model.cutoff),
            real.type(TABLE_START),
            real.type((rows - 1) / (model.cutoff - TABLE_START)),
            put(self._kernels.table(filled_up(model.radial.table(rows), filled))),
        )
        self._linear = in_lanes(model.linear.reshape(n, n, k), filled)
        self._quadratic = in_lanes(model.quadratic.reshape(n, model.max_rank + 1, n, k, n, k), filled)
        self._radius = put(model.wall.radius.astype(real))
        share = 0.5 if model.scope is Scope.SHARED else 1.0
        self._wall_energy = real.type(model.wall.stiffness * share)
        self._wall_force = real.type(model.wall.stiffness * 2.0)
        self._shift = in_lanes(IMAGES * self.box, 4)  # a row of four is one register
        n_agents, n_lm = len(self.species), (model.max_rank + 1) ** 2
        self._local = np.zeros((n_agents, 4), real)
        self._losses = put(np.empty(n_agents, real))
        self._closest = put(np.empty(n_agents, real))
        self._gradient = put(np.empty((n_agents, n, n_lm, filled), real))
        self._forces = put(np.empty((n_agents, 3), real))
        self._fields = put(np.empty((n_agents if model.cubic else 0, n, n_lm, filled), real))
        if model.cubic is not None:
            channels, c = model.cubic.channels, model.cubic.n_channels
            tensors = cubic.slope_tensors(model.cubic.coefficients, c, model.max_rank)
            self._add_cubic = backend.cubic_kernel(report.kind, k, model.max_rank, c)
            self._of_cubic = (
                in_lanes(channels.transpose(0, 1, 3, 2), cubic.WIDE),
                in_lanes(channels.reshape(n, model.max_rank + 1, c, n, k), filled),
                in_lanes(model.cubic.offsets, cubic.WIDE),
                put(cubic.tightness(model.cubic.saturation, model.max_rank).astype(real)),
                in_lanes(tensors, cubic.WIDE),
            )
        mutually = model.hops is not None or model.waves is not None
        self._numbers, self._slopes = (put(np.zeros((n_agents * mutually, cubic.WIDE), real)) for _ in range(2))
        self._pulls = put(np.empty((n_agents * bool(n_hops), n, max(n_hops, 1), filled), real))
        self._distant = put(np.empty((n_agents * (model.waves is not None), 3), real))
        if model.cubic is not None and mutually:
            self._mutual = backend.mutual_kernels(report.kind, k, model.max_rank, model.cubic.n_channels)
        if model.hops is not None:
            strengths = mutual.strengths(model.hops.coefficients, k, n_hops)
            self._of_hops = (
                in_lanes(strengths.transpose(0, 1, 4, 2, 3), cubic.WIDE),
                in_lanes(strengths.transpose(0, 1, 4, 3, 2), filled),
            )
        if model.waves is not None:
            self._prepare_waves(model.waves, real)

    def _prepare_waves(self, part: Waves, real: Any) -> None:
        put, n = self._kernels.put, len(self.model.symbols)
        found = waves.half_space(self.box, part.reach)
        weights = 2.0 / float(self.box.prod()) * waves.transforms(found.k, part.widths, part.reach)
        strengths = mutual.strengths(part.coefficients, len(part.widths), waves.NUMBERS)
        coupling, taken = waves.couplings(strengths, waves.at_own_place(part.widths, part.reach), weights)
        n_slots = len(waves.slots(self.species, n)[0])
        self._per_length = put((2.0 * np.pi / self.box).astype(real))
        self._of_waves = (
            (put(found.n), put(found.first)),
            put(coupling.astype(real)),
            put(taken.astype(real)),
            tuple(put(array) for array in waves.room(found, n_slots, n, real)),
        )

    def __call__(self, positions: NDArray[np.float64]) -> Evaluation:
        """Losses and forces; positions (n_agents, 3) float64, angstrom, wrapped or not.

        What is not a number gives what is not a number: a run that has lost its positions is for its guards to judge.
        Where a GPU fails, the CPU answers, now and from now on; `device_reason` says so.
        """
        if self.on_gpu:
            try:
                with faults():
                    return self._evaluate(positions)
            except DeviceLost as lost:
                self.leave_gpu(str(lost))
        return self._evaluate(positions)

    def _evaluate(self, positions: NDArray[np.float64]) -> Evaluation:
        if self._order is None or not self._place(positions) < self.farthest:  # catches what is not a number too
            if not np.isfinite(positions).all():
                nowhere = np.full(positions.shape, np.nan)
                return Evaluation(nowhere[:, 0], nowhere, np.nan)
            self._renew_list(positions)
        self._pairs = (self._kernels.put(self._local), self._species, self._shift, self._neighbors)
        self._kernels.gradients(
            *self._pairs, *self._constants, self._linear, self._quadratic, self._radius, self._wall_energy,
            self._losses, self._gradient, self._closest, self._fields,
        )  # fmt: skip
        if self.model.cubic is not None:
            self._add_cubic(
                self._species, self._fields, *self._of_cubic, self._losses, self._gradient, self._numbers, self._slopes
            )
            self._add_mutual()
        get = self._kernels.get
        self._descend(reciprocal=self.model.scope is Scope.SHARED)
        losses, forces = np.empty(len(positions)), np.empty(positions.shape)
        closest = motion.collect(self._order, get(self._losses), get(self._forces), get(self._closest), losses, forces)
        return Evaluation(losses, forces, float(closest))

    def _add_mutual(self) -> None:
        """What the parts that are not local add to losses and gradient, and their forces at constant numbers."""
        if self.model.hops is not None:
            self._mutual.hops(
                *self._pairs, *self._constants, self._numbers, *self._of_hops, self._losses, self._slopes, self._pulls
            )
        if self.model.waves is not None:
            self._mutual.waves(
                *self._pairs[:2], self._per_length, self._numbers, self._slots, *self._of_waves, self._losses,
                self._slopes, self._distant,
            )  # fmt: skip
        if self.model.hops is not None or self.model.waves is not None:
            _, channels, _, tightness, _ = self._of_cubic
            self._mutual.give_back(self._species, channels, tightness, self._numbers, self._slopes, self._gradient)

    def shared_forces(self) -> NDArray[np.float64]:
        """Forces of the common loss at the positions of the last call, (n_agents, 3) float64, eV/angstrom.

        For a model of shared scope these are its forces; for own scope their difference is the non-reciprocal part.
        """
        self._descend(reciprocal=True)
        forces = np.empty((len(self.species), 3))
        forces[self._order] = self._kernels.get(self._forces)
        return forces

    def responses(self) -> NDArray[np.float64]:
        """dL_i/dA_i at the positions of the last call, (n_agents, n_species, n_lm, n_radial) float64, eV.

        Of the fields A of each species of neighbours; rank 0, the first of n_lm, are the scalar invariants.
        """
        gradient = self._kernels.get(self._gradient)[..., : self.model.radial.n_radial]
        responses = np.empty(gradient.shape)
        responses[self._order] = gradient
        return responses

    @property
    def listed(self) -> NDArray[np.float64] | None:
        """Positions at which neighbours were looked up last, (n_agents, 3) angstrom; None before the first call.

        The order of the sums follows from them, and with it the rounding: who has looked up neighbours `at` the same
        positions gets the same forces, bitwise.
        """
        return self._listed.copy() if self._order is not None else None

    def look_up(self, at: NDArray[np.float64]) -> None:
        """Look up neighbours at these positions, (n_agents, 3) angstrom, for the calls that follow."""
        self._renew_list(at)

    def _descend(self, *, reciprocal: bool) -> None:
        self._kernels.forces(
            *self._pairs, *self._constants, self._gradient, self._radius, self._wall_force, reciprocal, self._numbers,
            self._pulls, self._distant, self._forces,
        )  # fmt: skip

    def put(self, array: NDArray[Any]) -> Any:
        """Copy of a host array on the device."""
        return self._kernels.put(array)

    def get(self, array: Any) -> NDArray[Any]:
        """Copy of a device array on the host."""
        return self._kernels.get(array)

    def arrays(self) -> dict[str, Any]:
        """All that the passes of a GPU take, in the order of `kernels.cuda_step`; what the model lacks is empty."""
        real = np.dtype(self.precision.value)
        cutoff, start, per_row, table = self._constants
        none = {n: self.put(np.empty((0,) * n, real)) for n in range(1, 6)}
        found = {
            "shift": self._shift, "cutoff": cutoff, "start": start, "per_row": per_row, "table": table,
            "linear": self._linear, "quadratic": self._quadratic, "wall_radius": self._radius,
            "wall_energy": self._wall_energy, "wall_force": self._wall_force, "losses": self._losses,
            "gradient": self._gradient, "closest": self._closest, "fields": self._fields, "forces": self._forces,
            "distant": self._distant, "channels": none[5], "offsets": none[2], "tightness": none[2],
            "tensors": none[5], "numbers": self._numbers, "slopes": self._slopes, "by_number": none[5],
            "by_function": none[5], "pulls": self._pulls, "per_length": none[1],
        }  # fmt: skip
        if self.model.cubic is not None:
            found |= zip(("channels", "offsets", "tightness", "tensors"), self._of_cubic[1:], strict=True)
        if self.model.hops is not None:
            found |= zip(("by_number", "by_function"), self._of_hops, strict=True)
        integers = self.put(np.empty(0, np.int32))
        vectors, coupling, taken = self.put(np.empty((0, 3), np.int32)), none[5], none[3]
        slots, begins = integers, integers
        phases, charges, potentials = none[4], none[1], none[3]
        if self.model.waves is not None:
            (vectors, _), coupling, taken, (phases, charges, potentials) = self._of_waves
            slots, begins = (self.put(array) for array in waves.slots(self.species, len(self.model.symbols)))
            found["per_length"] = self._per_length
        rows = self.put(np.empty(slots.shape, np.int32))
        return found | {
            "vectors": vectors, "slot_agents": slots, "slot_rows": rows, "begins": begins, "phases": phases,
            "charges": charges, "coupling": coupling, "taken": taken, "potentials": potentials,
        }  # fmt: skip

    def _place(self, positions: NDArray[np.float64]) -> float:
        """Local positions; returns the largest squared distance that an agent has moved since the list was made."""
        return float(motion.place(positions, self._order, self._origin, self._home, self._local))

    def _renew_list(self, positions: NDArray[np.float64]) -> None:
        put = self._kernels.put
        self._listed[:] = positions
        self._order = order_by_cell(positions, self.box, self.reach)
        sorted_positions = positions[self._order]
        self._origin, count, self._room = build_list(
            sorted_positions, self.box, self.reach, self.crowd(), room=self._room
        )
        self._home = sorted_positions - self._origin
        self._local[:, :3] = self._home
        species = self.species[self._order]
        self._species = put(species)
        n = len(self.model.symbols)
        self._neighbors = self._kernels.neighbors(count, self._room, species, n, self._local.dtype)
        if self.model.waves is not None:
            self._slots = tuple(put(array) for array in waves.slots(species, n))

    def crowd(self) -> int:
        """More neighbours than an agent of an even liquid has; a list that is too short has to be made twice."""
        density = len(self.species) / float(self.box.prod())
        return int(1.4 * density * 4.0 / 3.0 * math.pi * self.reach**3) + 16


@contextmanager
def faults() -> Iterator[None]:
    """Whatever a GPU's libraries raise is a `DeviceLost`."""
    try:
        yield
    except (MldsimError, KeyboardInterrupt):
        raise
    except Exception as error:
        logger.info("the GPU failed", exc_info=True)
        raise DeviceLost(f"The GPU failed ({backend.summary(error)}).") from error


def _choose(device: DeviceKind, model: LossModel, real: Any, n_agents: int) -> backend.DeviceReport:
    """The device for this model and so many agents; where none was asked for, one that they fit on."""
    try:
        report = backend.choose(device.value)
        if report.kind == "cuda":
            from mldsim.kernels import cuda

            n, n_radial = len(model.symbols), model.radial.n_radial
            n_channels = 0 if model.cubic is None else model.cubic.n_channels
            cuda.check_shared(n, n_radial, model.max_rank, n_channels, real, hops=model.hops is not None)
    except ValueError as error:
        if device is not DeviceKind.AUTO:
            raise InputError(str(error)) from None
        return backend.choose("cpu")._replace(reason=f"The model is too large for the GPU: {error}")
    if report.kind == "cuda" and device is DeviceKind.AUTO and n_agents < GPU_FROM:
        return backend.choose("cpu")._replace(
            reason=f"The GPU is taken from {GPU_FROM} agents on, and there are {n_agents}."
        )
    return report


def _lengths(box: NDArray[np.float64]) -> str:
    return " × ".join(f"{edge:.4g}" for edge in np.ravel(box)) + " Å"
