"""Losses and forces of a whole box: the loss model made ready for a device.

Owns what does not belong to the physics: tables of the radial functions, the Verlet list with its skin, the scratch
arrays, and the choice of kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError
from mldsim.kernels import backend
from mldsim.kernels.neighbors import IMAGES, build_list
from mldsim.loss import LossModel, Scope
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import TABLE_START

SKIN = 0.6
"""angstrom; the list is good until an agent has moved half of it."""

TABLE_ROWS = {Precision.SINGLE: 1024, Precision.DOUBLE: 4096}
"""Hermite interpolation leaves less than rounding in float32, and 1e-10 in float64 (tests/kernels)."""


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
        report = _choose(device, model, real.type)
        self.model = model
        self.precision = precision
        self.device_name = report.name
        self.device_reason = report.reason
        self.box = np.array(box, np.float64)
        self.species = np.ascontiguousarray(species, np.int32)
        self.reach = float(min(model.cutoff + SKIN, self.box.min()))
        self._kernels = backend.kernels(report.kind, model.radial.n_radial, model.max_rank)
        self._listed: NDArray[np.float64] | None = None
        self._capacity = 64

        rows = TABLE_ROWS[precision]
        n, k = len(model.symbols), model.radial.n_radial
        put = self._kernels.put
        self._constants = (
            real.type(model.cutoff),
            real.type(TABLE_START),
            real.type((rows - 1) / (model.cutoff - TABLE_START)),
            put(model.radial.table(rows).astype(real)),
        )
        self._linear = put(model.linear.reshape(n, n, k).astype(real))
        self._quadratic = put(model.quadratic.reshape(n, model.max_rank + 1, n, k, n, k).astype(real))
        self._radius = put(model.wall.radius.astype(real))
        share = 0.5 if model.scope is Scope.SHARED else 1.0
        self._wall_energy = real.type(model.wall.stiffness * share)
        self._wall_force = real.type(model.wall.stiffness * 2.0)
        self._shift = put((IMAGES * self.box).astype(real))
        self._species = put(self.species)
        n_agents, n_lm = len(self.species), (model.max_rank + 1) ** 2
        self._local = np.empty((n_agents, 3), real)
        self._losses = put(np.empty(n_agents, real))
        self._closest = put(np.empty(n_agents, real))
        self._gradient = put(np.empty((n_agents, n, n_lm, k), real))
        self._forces = put(np.empty((n_agents, 3), real))

    def __call__(self, positions: NDArray[np.float64]) -> Evaluation:
        """Losses and forces; positions (n_agents, 3) float64, angstrom, wrapped or not.

        What is not a number gives what is not a number: a run that has lost its positions is for its guards to judge.
        """
        if not np.isfinite(positions).all():
            nowhere = np.full(positions.shape, np.nan)
            return Evaluation(nowhere[:, 0], nowhere, np.nan)
        self._update_list(positions)
        np.subtract(positions, self._origin, out=self._local, casting="same_kind")
        self._pairs = (self._kernels.put(self._local), self._species, self._shift, self._count, self._entries)
        self._kernels.gradients(
            *self._pairs, *self._constants, self._linear, self._quadratic, self._radius, self._wall_energy,
            self._losses, self._gradient, self._closest,
        )  # fmt: skip
        forces = self._descend(reciprocal=self.model.scope is Scope.SHARED)
        get = self._kernels.get
        return Evaluation(get(self._losses).astype(np.float64), forces, float(get(self._closest).min(initial=np.inf)))

    def shared_forces(self) -> NDArray[np.float64]:
        """Forces of the common loss at the positions of the last call, (n_agents, 3) float64, eV/angstrom.

        For a model of shared scope these are its forces; for own scope their difference is the non-reciprocal part.
        """
        return self._descend(reciprocal=True)

    def _descend(self, *, reciprocal: bool) -> NDArray[np.float64]:
        self._kernels.forces(
            *self._pairs, *self._constants, self._gradient, self._radius, self._wall_force, reciprocal, self._forces
        )
        return np.asarray(self._kernels.get(self._forces).astype(np.float64))

    def _update_list(self, positions: NDArray[np.float64]) -> None:
        if self._listed is not None:
            moved = positions - self._listed
            limit = 0.5 * (self.reach - self.model.cutoff)
            if float(np.einsum("ij,ij->i", moved, moved).max(initial=0.0)) < limit * limit:
                return
        self._origin, count, entries = build_list(positions, self.box, self.reach, self._capacity)
        self._capacity = entries.shape[1]
        self._listed = positions.copy()
        self._count, self._entries = self._kernels.put(count), self._kernels.put(entries)


def _choose(device: DeviceKind, model: LossModel, real: Any) -> backend.DeviceReport:
    """The device for this model; where none was asked for, one that it fits on."""
    try:
        report = backend.choose(device.value)
        if report.kind == "cuda":
            from mldsim.kernels import cuda

            cuda.kernels(len(model.symbols), model.radial.n_radial, model.max_rank, real)
    except ValueError as error:
        if device is not DeviceKind.AUTO:
            raise InputError(str(error)) from None
        return backend.choose("cpu")._replace(reason=f"The model is too large for the GPU: {error}")
    return report


def _lengths(box: NDArray[np.float64]) -> str:
    return " × ".join(f"{edge:.4g}" for edge in np.ravel(box)) + " Å"
