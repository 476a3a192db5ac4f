"""Inference: a known model is found again from its own forces, and nothing that is held out is fitted."""

import dataclasses

import numpy as np
import pytest

from mldsim.accuracy import force_errors
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError, WorkFailed
from mldsim.evaluator import Evaluator
from mldsim.inference import fit, infer
from mldsim.loss import FittedRanges, LossModel, Scope, Wall
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis
from mldsim.regression import DesignMatrix, FitSettings

from .conftest import SPECIES, WALL, disordered_water


def known_model(scope: Scope, rank: int, order: int = 2) -> LossModel:
    rng = np.random.default_rng(3)
    quadratic = rng.normal(size=(2, rank + 1, 8, 8)) * 0.02 * (order == 2)
    return LossModel(
        "known", ("O", "H"), np.array([15.999, 1.008]), scope, order, rank, water_basis(("O", "H"), 4, 4.5), WALL,
        rng.normal(size=(2, 8)) * 0.2, quadratic + quadratic.transpose(0, 1, 3, 2),
        FittedRanges({}, np.zeros((2, 8, 2))),
    )  # fmt: skip


def settings(scope: Scope, rank: int, **changes) -> FitSettings:
    plain = FitSettings(scope=scope, max_rank=rank, n_radial=4, cutoff=4.5, ridge=0.0, net_force_weight=0.0)
    return dataclasses.replace(plain, **changes)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_a_known_model_is_recovered_from_its_own_forces(scope, rank):
    model = known_model(scope, rank)
    # Descended together, w_OH and w_HO are one pair function: a ridge of the size of rounding chooses between them.
    ridge = 1e-13 if scope is Scope.SHARED else 0.0
    found = fit([disordered_water(model, 30)], settings(scope, rank, ridge=ridge))
    unseen = disordered_water(model, 3, seed=9)
    errors = force_errors(found, [unseen])
    assert errors.rmse < 1e-7 * errors.rms
    if scope is Scope.OWN:
        assert found.linear == pytest.approx(model.linear, abs=1e-4)
        assert found.quadratic == pytest.approx(model.quadratic, abs=1e-4)


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_rows_for_net_force_and_torque_do_not_contradict_the_forces(scope):
    model = known_model(scope, 1)
    found = fit([disordered_water(model, 20)], settings(scope, 1, ridge=1e-13, net_force_weight=3.0, torque_weight=2.0))
    assert force_errors(found, [disordered_water(model, 3, seed=9)]).rmse < 1e-6


def test_order_one_is_linear():
    model = known_model(Scope.SHARED, 0, order=1)
    found = fit([disordered_water(model, 5)], settings(Scope.SHARED, 0, order=1, ridge=1e-13))
    assert found.n_parameters == 16
    assert not found.quadratic.any()
    assert force_errors(found, [disordered_water(model, 2, seed=9)]).rmse < 1e-9


def test_rows_give_the_forces_of_the_evaluator():
    """The regression and the simulation mean the same model, wall included."""
    for scope in Scope:
        model = dataclasses.replace(known_model(scope, 2), wall=Wall(30.0, np.array([[3.0, 1.0], [1.0, 1.6]])))
        frames = disordered_water(model, 1)
        matrix = DesignMatrix(("O", "H"), settings(scope, 2), model.radial, model.wall)
        rows, wall, _, _ = matrix.rows(frames.positions[0], SPECIES, frames.boxes[0])
        upper = np.triu_indices(8)
        theta = np.concatenate(
            [np.concatenate([model.linear[a], *(w[upper] for w in model.quadratic[a])]) for a in range(2)]
        )
        assert wall.any()
        assert rows @ theta + wall == pytest.approx(frames.forces[0].ravel(), abs=1e-9)


def test_the_net_force_is_fitted_better_when_it_is_asked_for():
    """On forces that the form cannot represent, weight moves the error from the bonds to the molecules."""
    rich = known_model(Scope.SHARED, 3)
    train, test = disordered_water(rich, 25), disordered_water(rich, 10, seed=9)

    def net_error(weight: float) -> float:
        model = fit([train], settings(Scope.SHARED, 0, ridge=1e-9, net_force_weight=weight))
        evaluate = Evaluator(model, SPECIES, test.boxes[0], device=DeviceKind.CPU, precision=Precision.DOUBLE)
        wrong = np.array([evaluate(p).forces for p in test.positions]) - test.forces
        return float(np.sqrt(np.mean(wrong.reshape(-1, 8, 3, 3).sum(axis=2) ** 2)))

    assert net_error(5.0) < net_error(0.0)


def test_streaming_does_not_depend_on_how_frames_are_grouped():
    frames = disordered_water(known_model(Scope.SHARED, 1), 6)
    whole = fit([frames], settings(Scope.SHARED, 1, ridge=1e-6))
    parts = fit([frames.take(slice(0, 2)), frames.take(slice(2, 6))], settings(Scope.SHARED, 1, ridge=1e-6))
    assert parts.quadratic == pytest.approx(whole.quadratic, abs=1e-8)


@pytest.mark.parametrize("order", [2, 3])
def test_a_frame_of_weight_two_is_that_frame_four_times(order):
    """Its squared errors count four times, those of its molecules' net forces too."""
    plain, heavy = (disordered_water(known_model(Scope.SHARED, 3), n, seed=n) for n in (25, 4))
    wanted = settings(Scope.SHARED, 1, order=order, ridge=1e-6, net_force_weight=2.0, n_channels=2, channel_steps=0)
    channels = infer([plain], wanted).model if order == 3 else None  # found anew they would not know of weights
    weighted, repeated = (
        infer(systems, wanted, channels_of=channels, bounded=True, keep_bad_frames=True).model
        for systems in ([plain, dataclasses.replace(heavy, weight=2.0)], [plain, *[heavy] * 4])
    )
    assert weighted.linear == pytest.approx(repeated.linear, rel=1e-6, abs=1e-8)
    assert weighted.quadratic == pytest.approx(repeated.quadratic, rel=1e-6, abs=1e-8)
    told = (model.card["bounded"]["train_force_rmse_meV_A"] for model in (weighted, repeated))
    assert next(told) == pytest.approx(next(told))


def test_fitted_ranges_are_what_the_frames_hold():
    frames = disordered_water(known_model(Scope.SHARED, 0), 4)
    model = fit([frames], settings(Scope.SHARED, 0, ridge=1e-6))
    shortest = np.inf
    for positions in frames.positions:
        separation = positions[SPECIES == 0][:, None] - positions[SPECIES == 1]
        separation -= 6.4 * np.round(separation / 6.4)
        shortest = min(shortest, np.linalg.norm(separation, axis=-1).min())
    assert model.ranges.distances["O-H"][0] == pytest.approx(shortest)
    assert (model.ranges.invariants[..., 0] <= model.ranges.invariants[..., 1]).all()


def test_errors_are_those_of_the_definition():
    model = known_model(Scope.SHARED, 0)
    frames = disordered_water(model, 2)
    offset = np.zeros_like(frames.forces)
    offset[:, SPECIES == 1, 0] = 0.3
    errors = force_errors(model, [dataclasses.replace(frames, forces=frames.forces + offset)])
    assert errors.frames == 2
    assert errors.species["O"].rmse == pytest.approx(0.0, abs=1e-12)
    assert errors.species["H"].rmse == pytest.approx(0.3 / np.sqrt(3))
    assert errors.mae == pytest.approx(0.3 * 16 / 72)
    assert errors.rmse == pytest.approx(np.sqrt(0.3**2 * 16 / 72))


def test_what_cannot_be_fitted_is_told():
    frames = disordered_water(known_model(Scope.SHARED, 0), 1)
    with pytest.raises(InputError, match="no frames to fit"):
        fit([], settings(Scope.SHARED, 0))
    with pytest.raises(InputError, match=r"smaller than the cutoff of 6\.5 Å"):
        fit([frames], settings(Scope.SHARED, 0, cutoff=6.5))
    with pytest.raises(WorkFailed, match="do not determine all coefficients"):
        fit([frames], settings(Scope.SHARED, 3))
    with pytest.raises(InputError, match="knows O, H, not He"):
        force_errors(
            known_model(Scope.SHARED, 0),
            [LabelledFrames(symbols=("He",), positions=[[[0, 0, 0]]], forces=[[[0, 0, 0]]], boxes=[9, 9, 9])],
        )


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"order": 4}, "--order must be 1, 2 or 3"),
        ({"order": 3, "n_channels": 0}, "--channels must lie between 1 and 8"),
        ({"order": 3, "channel_steps": -1}, "--channel-steps must lie between 0 and 20"),
        ({"max_rank": 4}, "between 0 and 3"),
        ({"order": 1, "max_rank": 2}, "--max-rank 0"),
        ({"ridge": -1.0}, "--ridge must be zero or a positive"),
        ({"net_force_weight": float("nan")}, "--net-force-weight must be zero or a positive"),
    ],
)
def test_settings_are_checked(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        FitSettings(**wrong)


@pytest.mark.parametrize(("n_radial", "cutoff", "sentence"), [(2, 5.0, "between 3 and 32"), (8, 2.0, "between 4.2")])
def test_the_basis_is_checked(n_radial, cutoff, sentence):
    with pytest.raises(InputError, match=sentence):
        water_basis(("O", "H"), n_radial, cutoff)


def test_a_fit_can_be_cancelled():
    class Enough(Exception):
        pass

    def report(fraction: float, what: str = "") -> None:
        if fraction > 0.3:
            raise Enough

    with pytest.raises(Enough):
        fit([disordered_water(known_model(Scope.SHARED, 0), 5)], settings(Scope.SHARED, 0), progress=report)
