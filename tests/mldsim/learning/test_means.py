"""The fit of a loop: the form of the model, the data screened, new frames added to kept sums."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from mldsim.accuracy import force_errors
from mldsim.dataset import LabelledFrames
from mldsim.doubt import Doubt
from mldsim.errors import InputError
from mldsim.learning.limits import species_of
from mldsim.learning.means import fit_form, settings_of
from mldsim.loss import LossModel
from mldsim.regression import FitSettings
from mldsim.sums import load_sums

MakeFrames = Callable[..., LabelledFrames]


@pytest.fixture(scope="module")
def fits(teacher: LossModel, labelled: MakeFrames, tmp_path_factory: pytest.TempPathFactory) -> dict[str, LossModel]:
    """Of the data, one frame of which has its forces in a wrong order; and with new frames, one of them like it."""
    folder = tmp_path_factory.mktemp("fits")
    form = replace(teacher, card={"ridge": 1e-6, "net_force_weight": 0.0})
    data, new = labelled(20, noise=0.02, disorder=0.03), labelled(4, noise=0.02, disorder=0.1, seed=1)
    data.forces[3] = data.forces[3, ::-1]
    new.forces[2] = new.forces[2, ::-1]
    data, new = (replace(system, provenance={"source": name}) for system, name in ((data, "/a/b.h5"), (new, "c.h5")))
    first = fit_form(form, [data], "model", None, folder / "0.h5", None)
    second = fit_form(form, [new], "model", folder / "0.h5", folder / "1.h5", None)
    kept = load_sums(folder / "1.h5")
    assert kept.n_frames == 19 + 4
    assert kept.sources == ("b.h5", "c.h5")
    return {"first": first, "second": second}


def test_only_the_data_are_screened(fits: dict[str, LossModel]) -> None:
    """Among frames of doubt, those that the model explains worst are what it is to learn."""
    assert [bad["frame"] for bad in fits["first"].card["bad_frames"]] == [3]
    assert "bad_frames" not in fits["second"].card
    assert fits["second"].card["frames"] == 23


def test_form_and_settings_stay(fits: dict[str, LossModel], teacher: LossModel) -> None:
    for model in fits.values():
        assert (model.scope, model.order, model.max_rank) == (teacher.scope, teacher.order, teacher.max_rank)
        assert (model.radial.n_radial, model.cutoff) == (teacher.radial.n_radial, teacher.cutoff)
        assert (model.card["ridge"], model.card["net_force_weight"]) == (1e-6, 0.0)


def test_doubt_falls_where_frames_were_added(fits: dict[str, LossModel], labelled: MakeFrames) -> None:
    """Of many agents alike; on those that the data cover it hardly changes."""
    there, here = labelled(6, disorder=0.1, seed=1), labelled(6, disorder=0.03, seed=5)

    def leverage(model: LossModel, frames: LabelledFrames) -> float:
        doubt = Doubt(model, species_of(frames.symbols, model), frames.boxes[0])
        pairs = zip(frames.positions, frames.forces, strict=True)
        return float(np.mean([doubt.compared(positions, labels)[0] for positions, labels in pairs]))

    ratio = leverage(fits["second"], there) / leverage(fits["first"], there)
    assert ratio < 0.7
    assert ratio < leverage(fits["second"], here) / leverage(fits["first"], here)


def test_what_a_card_does_not_say_is_as_fit_has_it(teacher: LossModel) -> None:
    usual = FitSettings()
    found = settings_of(replace(teacher, card={"ridge": "small", "torque_weight": 0.5}))
    assert (found.ridge, found.net_force_weight, found.torque_weight) == (usual.ridge, usual.net_force_weight, 0.5)
    with pytest.raises(InputError, match="--ridge"):
        settings_of(replace(teacher, card={"ridge": -1.0}))


def test_the_data_are_fitted_as_fit_does(fits: dict[str, LossModel], labelled: MakeFrames) -> None:
    """The frame in a wrong order left no trace."""
    assert force_errors(fits["first"], [labelled(4, disorder=0.03, seed=7)]).rmse < 0.02
