"""The channels of a cubic part: found from forces alone, and with them the losses that made the forces."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mldsim.accuracy import force_errors
from mldsim.channels import Moments, leading, whitened
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.inference import fit, infer
from mldsim.kernels.cubic import features
from mldsim.kernels.mutual import columns
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Waves
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis
from mldsim.regression import LONGEST_WAVE_VECTOR, WAVE_WIDTHS, DesignMatrix, FitSettings  # fmt: skip

from .conftest import SPECIES, WALL, disordered_water

N_CHANNELS = 2
SETTINGS = FitSettings(order=3, max_rank=1, n_radial=4, cutoff=4.5, n_channels=N_CHANNELS, channel_steps=6, ridge=1e-10)
SETTINGS = dataclasses.replace(SETTINGS, saturation=1e3)  # channels of any span are as good as the model's own then


def known_model(scope: Scope, saturation: float = 1e3) -> LossModel:
    """Linear, quadratic and cubic parts that each make forces of the same size."""
    rng = np.random.default_rng(5)
    quadratic = rng.normal(size=(2, 2, 8, 8)) * 0.05
    return LossModel(
        "known", ("O", "H"), np.array([15.999, 1.008]), scope, 3, 1, water_basis(("O", "H"), 4, 4.5), WALL,
        rng.normal(size=(2, 8)) * 0.2, quadratic + quadratic.transpose(0, 1, 3, 2),
        FittedRanges({}, np.zeros((2, 8, 2))),
        cubic=Cubic(
            rng.normal(size=(2, 2, N_CHANNELS, 8)) * 0.3, rng.normal(size=(2, N_CHANNELS)), np.full(2, saturation),
            rng.normal(size=(2, len(features(N_CHANNELS, 1)))),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_a_cubic_model_is_recovered_when_its_channels_are_known(scope: Scope) -> None:
    model = known_model(scope)
    settings = dataclasses.replace(SETTINGS, scope=scope)
    matrix = DesignMatrix(model.symbols, settings, model.radial, WALL, model.cubic)
    known = disordered_water(model, 30)
    rows, targets = [], []
    for positions, forces, box in zip(known.positions, known.forces, known.boxes, strict=True):
        found, wall, _, _ = matrix.rows(positions, SPECIES, box)
        rows.append(found)
        targets.append(forces.ravel() - wall)
    theta, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets))
    found = matrix.model(theta, "found", model.ranges)
    errors = force_errors(found, [disordered_water(model, 3, seed=9)])
    assert errors.rmse < 1e-6 * errors.rms
    assert found.cubic is not None
    assert model.cubic is not None
    if scope is Scope.OWN:  # descended together, pairs may be given to either agent
        assert found.cubic.coefficients == pytest.approx(model.cubic.coefficients, abs=1e-4)


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_forces_change_with_the_channels_as_their_rows_say(scope: Scope) -> None:
    """Finite differences, where the saturation bends the channels much; the offsets follow them."""
    model = known_model(scope, saturation=1.2)
    cubic = model.cubic
    assert cubic is not None
    settings = dataclasses.replace(SETTINGS, scope=scope)
    matrix = DesignMatrix(model.symbols, settings, model.radial, WALL, cubic)
    (positions,) = disordered_water(model, 1).positions
    box = np.full(3, 6.4)
    _, _, fields, _ = matrix.rows(positions, SPECIES, box)
    means = np.array([fields[a == SPECIES, 0].mean(axis=0) for a in range(2)])
    rows = matrix.channel_rows(SPECIES, fields, means, cubic.coefficients).reshape(-1, *cubic.channels.shape)

    def forces(place: tuple[int, ...], change: float) -> np.ndarray:
        channels, offsets = cubic.channels.copy(), cubic.offsets.copy()
        channels[place] += change
        if place[1] == 0:
            offsets[place[0], place[2]] += change * means[place[0], place[3]]
        changed = dataclasses.replace(model, cubic=dataclasses.replace(cubic, channels=channels, offsets=offsets))
        return Evaluator(changed, SPECIES, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)(positions).forces

    for place in [(0, 0, 1, 2), (1, 0, 0, 5), (0, 1, 0, 3), (1, 1, 1, 6)]:
        slope = (forces(place, 1e-5) - forces(place, -1e-5)).ravel() / 2e-5
        assert np.abs(slope).max() > 0.01
        assert rows[:, *place] == pytest.approx(slope, abs=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_channels_are_found_from_forces(scope: Scope) -> None:
    model = known_model(scope)
    known, unseen = disordered_water(model, 40), disordered_water(model, 4, seed=9)

    def error(**changes: int) -> float:
        settings = dataclasses.replace(SETTINGS, scope=scope, **changes)
        return force_errors(fit([known], settings), [unseen]).rmse

    quadratic, first, last = error(order=2), error(channel_steps=0), error()
    assert first < quadratic
    assert last < 0.05 * quadratic, "Gauss-Newton steps lead to the channels that made the forces"


def test_channels_have_unit_covariance_and_span_what_was_asked_for() -> None:
    rng = np.random.default_rng(2)
    species = np.repeat(np.int32([0, 1]), 500)
    fields = rng.normal(size=(1000, 4, 6)) @ rng.normal(size=(6, 6)) + 3.0 * (np.arange(4) == 0)[:, None]
    moments = Moments([(fields.copy(), species)], 2)
    weights = rng.normal(size=(2, 2, 6, 1))
    # A loss that curves along one combination of the fields only: that is the leading channel.
    channels = whitened(moments, leading(moments, weights @ weights.swapaxes(-1, -2), 2))
    along = channels[:, :, 0]
    cosine = (
        (along * weights[..., 0]).sum(-1) / np.linalg.norm(along, axis=-1) / np.linalg.norm(weights[..., 0], axis=-1)
    )
    assert np.abs(cosine) == pytest.approx(np.ones((2, 2)), abs=1e-6)
    seen = fields[species == 0] @ channels[0, 0].T
    assert np.cov(seen[:, 0].T, bias=True) == pytest.approx(np.eye(2), abs=1e-6)
    assert seen[:, 0].mean(axis=0) == pytest.approx(moments.offsets(channels)[0])


def test_kept_sums_keep_their_channels() -> None:
    model = known_model(Scope.SHARED)
    first, second = disordered_water(model, 20), disordered_water(model, 10, seed=1)
    settings = dataclasses.replace(SETTINGS, channel_steps=1)
    before = infer([first], settings, keep_bad_frames=True)
    again = DesignMatrix.from_form(before.kept.model.form)
    assert again.cubic is not None
    assert before.model.cubic is not None
    assert (again.cubic.channels == before.model.cubic.channels).all()
    extended = infer([second], settings, known=before.kept, keep_bad_frames=True)
    assert extended.model.cubic is not None
    assert (extended.model.cubic.channels == before.model.cubic.channels).all()
    damaged = dict(before.kept.model.form) | {"channels": [[1.0]]}
    with pytest.raises(InputError, match="channels of the kept sums"):
        DesignMatrix.from_form(damaged)


def test_doubt_is_told_of_a_cubic_model() -> None:
    model = known_model(Scope.SHARED)
    found = fit([disordered_water(model, 12)], dataclasses.replace(SETTINGS, channel_steps=0, ridge=1e-6), doubt=True)
    assert found.committee is not None
    assert found.committee.draws.shape[2] == found.n_columns
    assert found.committee.witness is not None
    assert found.committee.witness.cubic is not None


@pytest.fixture(scope="module")
def not_local() -> LossModel:
    rng = np.random.default_rng(8)
    hops, waves = (rng.normal(size=(2, len(columns(2, n, N_CHANNELS)))) * 0.1 for n in (4, len(WAVE_WIDTHS)))
    parts = {"hops": Hops(hops), "waves": Waves(np.array(WAVE_WIDTHS), LONGEST_WAVE_VECTOR, waves)}
    return dataclasses.replace(known_model(Scope.SHARED), **parts)


NOT_LOCAL = dataclasses.replace(SETTINGS, hops=True, long_range=True)


def test_what_is_not_local_is_recovered_when_the_channels_are_known(not_local: LossModel) -> None:
    matrix = DesignMatrix(not_local.symbols, NOT_LOCAL, not_local.radial, WALL, not_local.cubic)
    known = disordered_water(not_local, 40)
    rows, targets = [], []
    for positions, forces, box in zip(known.positions, known.forces, known.boxes, strict=True):
        found, wall, _, _ = matrix.rows(positions, SPECIES, box)
        rows.append(found)
        targets.append(forces.ravel() - wall)
    theta, *_ = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets))
    found = matrix.model(theta, "found", not_local.ranges)
    unseen = disordered_water(not_local, 3, seed=9)
    assert force_errors(found, [unseen]).rmse < 1e-6 * force_errors(found, [unseen]).rms
    local = dataclasses.replace(found, hops=None, waves=None)
    assert force_errors(local, [unseen]).rmse > 0.01 * force_errors(found, [unseen]).rms


def test_sums_and_doubt_know_what_is_not_local(not_local: LossModel) -> None:
    first, second = disordered_water(not_local, 20), disordered_water(not_local, 10, seed=1)
    settings = dataclasses.replace(NOT_LOCAL, channel_steps=0, ridge=1e-6)
    before = infer([first], settings, keep_bad_frames=True, doubt=True)
    assert before.model.hops is not None
    assert before.model.waves is not None
    assert before.model.committee is not None
    assert before.model.committee.draws.shape[2] == before.model.n_columns
    assert before.model.committee.witness is not None
    assert before.model.committee.witness.hops is not None
    again = DesignMatrix.from_form(before.kept.model.form)
    assert (again.settings.hops, again.settings.long_range) == (True, True)
    assert again.size == before.kept.model.size == before.model.n_parameters
    extended = infer([second], settings, known=before.kept, keep_bad_frames=True)
    assert extended.model.hops is not None
    with pytest.raises(InputError, match="kept sums are of --hops True, and False was asked for"):
        infer([second], dataclasses.replace(settings, hops=False), known=before.kept)


@pytest.mark.parametrize("part", ["hops", "long_range"])
def test_what_is_not_local_asks_for_channels_and_shared_scope(part: str) -> None:
    option = f"--{part.replace('_', '-')}"
    with pytest.raises(InputError, match=f"{option} couples the channels of the cubic part; give --order 3 with it"):
        FitSettings(order=2, **{part: True})
    with pytest.raises(InputError, match=f"{option} .* is for --scope shared only"):
        FitSettings(order=3, scope=Scope.OWN, **{part: True})


def test_more_channels_than_fields_are_refused() -> None:
    oxygen = LabelledFrames(
        symbols=("O",) * 4, positions=np.random.default_rng(0).uniform(0, 6, (2, 4, 3)), forces=np.ones((2, 4, 3)),
        boxes=np.full(3, 6.4),
    )  # fmt: skip
    with pytest.raises(InputError, match="--channels 4 is more than there are fields: 3"):
        fit([oxygen], FitSettings(order=3, n_radial=3, cutoff=4.5, n_channels=4))


@pytest.fixture(scope="module")
def concave() -> LossModel:
    """A quadratic loss that curves downwards along one combination of the fields of each rank."""
    model = known_model(Scope.SHARED)
    along = np.random.default_rng(4).normal(size=(2, 2, 8, 1)) * 0.3
    return dataclasses.replace(model, order=2, quadratic=-along @ along.swapaxes(-1, -2), cubic=None)


CONSTANT = dataclasses.replace(SETTINGS, constant_channel=True, channel_steps=1, ridge=1e-6)


def test_with_a_constant_channel_a_bounded_loss_can_curve_downwards(concave: LossModel) -> None:
    known = disordered_water(concave, 20, noise=0.01)  # the gap of a bounded fit is told in units of what is left
    unseen = disordered_water(concave, 3, seed=9)
    without = infer([known], dataclasses.replace(CONSTANT, constant_channel=False), bounded=True).model
    found = infer([known], CONSTANT, bounded=True).model
    errors = force_errors(found, [unseen])
    assert errors.rmse < 0.02 * errors.rms
    assert errors.rmse < 0.2 * force_errors(without, [unseen]).rmse
    for weights in found.quadratic.reshape(-1, 8, 8):
        values = np.linalg.eigvalsh(weights)
        assert values.min() > -1e-9 * max(values.max(), 1e-3), "the quadratic itself is bounded below"


def test_the_constant_channel_stays_constant_and_is_known_again(concave: LossModel) -> None:
    first, second = disordered_water(concave, 10), disordered_water(concave, 10, seed=1)
    before = infer([first], CONSTANT, keep_bad_frames=True)
    cubic = before.model.cubic
    assert cubic is not None
    assert cubic.has_constant
    assert (cubic.offsets[:, -1] == -1.0).all()
    assert cubic.channels[:, 1, -1].any(), "of higher ranks there is no constant"
    assert DesignMatrix.from_form(before.kept.model.form).settings.constant_channel
    extended = infer([second], CONSTANT, known=before.kept, keep_bad_frames=True).model
    assert extended.cubic is not None
    assert extended.cubic.has_constant
    with pytest.raises(InputError, match="kept sums are of --constant-channel True, and False was asked for"):
        infer([second], dataclasses.replace(CONSTANT, constant_channel=False), known=before.kept)


@pytest.mark.parametrize("form", [{"order": 2}, {"order": 3, "n_channels": 1}])
def test_a_constant_channel_needs_another(form: dict[str, int]) -> None:
    with pytest.raises(InputError, match="--constant-channel is one of at least two channels; give --order 3"):
        FitSettings(constant_channel=True, **form)


def test_channels_of_another_model_are_taken_over(concave: LossModel) -> None:
    frames = disordered_water(concave, 10)
    donor = infer([frames], CONSTANT, keep_bad_frames=True).model
    assert donor.cubic is not None
    as_they_are = dataclasses.replace(CONSTANT, channel_steps=0)
    taken = infer([frames], as_they_are, channels_of=donor, keep_bad_frames=True).model
    assert taken.cubic is not None
    np.testing.assert_array_equal(taken.cubic.channels, donor.cubic.channels)
    np.testing.assert_array_equal(taken.cubic.offsets, donor.cubic.offsets)
    for other, message in (
        ({"constant_channel": False}, "are of --constant-channel True, and False was asked for"),
        ({"n_radial": CONSTANT.n_radial + 1}, f"are of --radial {CONSTANT.n_radial}, and"),
    ):
        with pytest.raises(InputError, match=message):
            infer([frames], dataclasses.replace(as_they_are, **other), channels_of=donor)
    with pytest.raises(InputError, match="is of order 2 and has no channels; --channels-of asks for order 3"):
        infer([frames], as_they_are, channels_of=concave)
