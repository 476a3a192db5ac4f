"""The means of a loop: the doubt of the model's committee, labels of CP2K, the fit of this package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames, Progress
from mldsim.doubt import Doubt
from mldsim.inference import infer
from mldsim.labelling import Configurations, Engine, label
from mldsim.learning.limits import AgentDoubt
from mldsim.learning.loop import Means
from mldsim.learning.theory import stated_theory
from mldsim.loss import LossModel
from mldsim.parameters import DeviceKind, Precision
from mldsim.regression import OF_CUBIC, FitSettings
from mldsim.sums import load_sums, save_sums


def cp2k_means(
    engine: Engine,
    *,
    program: str | Path | None = None,
    data: str | Path | None = None,
    threads: int | None = None,
    device: DeviceKind = DeviceKind.AUTO,
    precision: Precision = Precision.SINGLE,
) -> Means:
    """Label with this engine.

    Parameters
    ----------
    engine : Engine
    program, data, threads
        See `mldsim.labelling.label`.
    device, precision
        Of the doubt.
    """

    def doubt(model: LossModel, species: NDArray[np.int32], box: NDArray[np.float64]) -> AgentDoubt:
        return Doubt(model, species, box, device=device, precision=precision)

    def labelled(frames: Sequence[Configurations], output: Path, progress: Progress | None) -> list[LabelledFrames]:
        return label(frames, engine, output, program=program, data=data, threads=threads, progress=progress).systems

    return Means(
        doubt=doubt,
        tells_doubt=lambda model: model.committee is not None,
        label=labelled,
        theory=engine.theory,
        fit=fit_form,
    )


def fit_form(
    form: LossModel,
    systems: Sequence[LabelledFrames],
    name: str,
    known: Path | None,
    keep: Path,
    progress: Progress | None,
) -> LossModel:
    """Fit losses of the form of a model, with the ridge and row weights that its card tells; see `loop.Fitter`."""
    found = infer(
        systems,
        settings_of(form),
        name=name,
        known=None if known is None else load_sums(known),
        keep_bad_frames=known is not None,
        bounded="bounded" in form.card,
        doubt=True,
        progress=progress,
    )
    before = found.kept
    names = [Path(system.source).name for system in systems]
    theories = [stated_theory(system) or "not stated" for system in systems]
    kept = replace(
        before,
        sources=tuple(dict.fromkeys([*before.sources, *names])),
        theories=tuple(sorted({*before.theories, *theories})),
    )
    save_sums(kept, keep)
    return found.model


def settings_of(model: LossModel) -> FitSettings:
    """How a model was fitted, as far as its form and its card tell; the rest as `mldsim fit` has it.

    Raises
    ------
    InputError
        When its card holds what is no setting.
    """
    usual = FitSettings()
    form: dict[str, Any] = {
        "scope": model.scope,
        "order": model.order,
        "max_rank": model.max_rank,
        "n_radial": model.radial.n_radial,
        "cutoff": model.cutoff,
    }
    if model.cubic is not None:
        form["n_channels"] = model.cubic.n_channels
        form["saturation"] = float(model.cubic.saturation[0])
        form["constant_channel"] = model.cubic.has_constant
        form["hops"], form["long_range"] = model.hops is not None, model.waves is not None
    carded = {
        item.name: type(getattr(usual, item.name))(value)
        for item in fields(FitSettings)
        if item.name not in {*form, *OF_CUBIC} and type(value := model.card.get(item.name)) in (int, float)
    }
    return FitSettings(**form, **carded)
