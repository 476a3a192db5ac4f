"""How wrong a model's forces are on labelled frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.analysis.forces import ForceSample
from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.loss import LossModel
from mldsim.parameters import DeviceKind, Precision


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


def force_errors(
    model: LossModel,
    systems: Sequence[LabelledFrames],
    progress: Progress | None = None,
    sample: ForceSample | None = None,
) -> ForceErrors:
    """Errors of the model's forces on labelled frames, in float64; `sample` is given every frame too.

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
            forces = evaluator(positions).forces
            if sample is not None:
                sample.add(system.symbols, labels, forces)
            error = forces - labels
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
