"""The loss of an agent, taken apart, is the loss of the reference kernel, and nothing is lost on the way."""

from dataclasses import replace

import numpy as np
import pytest

from mldsim.dissection import dissect
from mldsim.evaluator import Evaluator
from mldsim.kernels import cubic, mutual, reference
from mldsim.loss import Cubic, Hops, Scope, Waves, load_model
from mldsim.parameters import DeviceKind, Precision
from mldsim.water import water_box


@pytest.fixture(scope="module")
def model():
    return load_model("water")


@pytest.fixture(scope="module")
def liquid(model):
    return water_box(64, 0.997, 300.0, 1, model.symbols, model.masses)


@pytest.fixture(scope="module")
def small(model):
    """A box of 6.2 angstrom: with a cutoff above half of that an agent is a neighbour in several images."""
    return water_box(8, 0.997, 300.0, 1, model.symbols, model.masses)


def with_cubic(model, saturation):
    """The model with a cubic part of random coefficients."""
    rng = np.random.default_rng(4)
    n_species, channels = len(model.symbols), 3
    shape = (n_species, model.max_rank + 1, channels, model.linear.shape[1])
    part = Cubic(
        channels=rng.normal(0, 0.2, shape),
        offsets=rng.normal(0, 0.5, (n_species, channels)),
        saturation=np.full(n_species, saturation),
        coefficients=rng.normal(0, 0.05, (n_species, len(cubic.features(channels, model.max_rank)))),
    )
    return replace(model, order=3, cubic=part, committee=None)


def with_hops_and_waves(model):
    """The model with a cubic part and with those that are not local."""
    rng = np.random.default_rng(5)
    hops, waves = (rng.normal(0, 0.05, (2, len(mutual.columns(2, *n)))) for n in ((model.radial.n_radial, 3), (2, 2)))
    return replace(with_cubic(model, 2.0), hops=Hops(hops), waves=Waves(np.array([0.4, 0.8]), 1.8, waves))


def of_reference(model, state, *, forces=False):
    """Losses by the oracle, and forces where they are asked for."""
    part = model.cubic
    extra, not_local = None, None
    if model.hops is not None:
        strengths = mutual.strengths(model.hops.coefficients, model.radial.n_radial, 3)
        far = mutual.strengths(model.waves.coefficients, 2, 2)
        not_local = reference.NotLocal(strengths, far, model.waves.widths, model.waves.reach)
    if part is not None:
        features = cubic.features(part.n_channels, model.max_rank)
        extra = (part.channels, part.offsets, part.saturation, features, part.coefficients)
    found = reference.descend(
        state.positions, state.species, state.box, model.cutoff, model.radial.exponent, model.radial.coefficients,
        model.linear, model.quadratic, model.wall.radius, model.wall.stiffness, model.scope is Scope.SHARED, extra,
        not_local,
    )  # fmt: skip
    return found if forces else found[0]


@pytest.mark.parametrize("change", ["as it is", "cubic", "not local"])
def test_an_agent_without_neighbours_has_the_loss_that_nobody_gives_it(model, small, change):
    model = {"cubic": lambda: with_cubic(model, 2.0), "not local": lambda: with_hops_and_waves(model)}.get(
        change, lambda: model
    )()
    places = np.array([[1.0, 1.0, 1.0], [11.0, 11.0, 11.0], [11.9, 11.0, 11.0]])
    far = replace(small, positions=places, species=np.int32([0, 0, 1]), box=np.full(3, 20.0))
    losses, forces = of_reference(model, far, forces=True)[:2]
    double = {"device": DeviceKind.CPU, "precision": Precision.DOUBLE}
    found = Evaluator(model, far.species, far.box, **double)(far.positions)
    np.testing.assert_allclose(found.losses, losses, atol=1e-10)
    np.testing.assert_allclose(found.forces, forces, atol=1e-10)
    parts = dissect(model, far.species, far.positions, far.box, 0)
    assert parts.loss == pytest.approx(losses[0], abs=1e-12)
    assert len(parts.neighbours) == len(parts.shares) == 0
    assert (parts.invariants == 0.0).all()


@pytest.mark.parametrize("change", ["as it is", "own", "cubic", "saturated", "not local"])
def test_terms_and_shares_add_up_to_the_loss(model, small, change):
    if change == "own":
        model = replace(model, scope=Scope.OWN)
    elif change == "not local":
        model = with_hops_and_waves(model)
    elif change != "as it is":
        model = with_cubic(model, 2.0 if change == "saturated" else 1e6)
    # Closer than in any liquid, so that the wall has a share too.
    squeezed = replace(small, positions=0.85 * small.positions, box=0.85 * small.box)
    assert (squeezed.box > model.cutoff).all()
    expected = of_reference(model, squeezed)
    for agent in (0, 1, 14):
        parts = dissect(model, squeezed.species, squeezed.positions, squeezed.box, agent)
        size = sum(abs(value) for _, value in parts.terms)
        assert len(np.unique(parts.neighbours)) < len(parts.neighbours)
        assert parts.loss == pytest.approx(expected[agent], abs=1e-9 * size)
        assert sum(value for _, value in parts.terms) == pytest.approx(parts.loss, abs=1e-12 * size)
        # The quadrature is exact but for the saturation.
        assert parts.shares.sum() + parts.alone == pytest.approx(parts.loss, abs=1e-4 * size)


def test_the_bonded_neighbours_come_first_and_everyone_within_the_cutoff_is_there(model, liquid):
    parts = dissect(model, liquid.species, liquid.positions, liquid.box, 0)
    assert set(parts.neighbours[:2].tolist()) == {1, 2}
    assert np.all(np.diff(parts.distances) >= 0)
    assert parts.distances[-1] < model.cutoff
    separation = liquid.positions - liquid.positions[0]
    separation -= liquid.box * np.round(separation / liquid.box)
    assert len(parts.neighbours) == np.count_nonzero(np.linalg.norm(separation, axis=1) < model.cutoff) - 1


def test_a_pair_belongs_half_to_each_of_its_neighbours(model, liquid):
    """Of a quadratic alone the share is half of what the loss falls to first order when the neighbour fades."""
    model = replace(model, order=2, linear=np.zeros_like(model.linear), cubic=None, committee=None)
    parts = dissect(model, liquid.species, liquid.positions, liquid.box, 0)
    neighbour = int(parts.neighbours[5])
    others = np.arange(len(liquid.species)) != neighbour
    agent = int(np.flatnonzero(np.flatnonzero(others) == 0)[0])
    without = dissect(model, liquid.species[others], liquid.positions[others], liquid.box, agent).loss
    alone = dissect(model, liquid.species[[0, neighbour]], liquid.positions[[0, neighbour]], liquid.box, 0).loss
    # L = without + pairs with the neighbour + alone, and its share is alone + half of the pairs.
    pairs = parts.loss - without - alone
    assert parts.shares[5] == pytest.approx(alone + 0.5 * pairs, abs=1e-9)


def test_invariants_lie_in_the_ranges_that_the_fit_has_seen(model, liquid):
    parts = dissect(model, liquid.species, liquid.positions, liquid.box, 3)
    assert parts.invariants.shape == parts.fitted.shape[:2] == (2, model.radial.n_radial)
    inside = (parts.invariants >= parts.fitted[..., 0]) & (parts.invariants <= parts.fitted[..., 1])
    assert inside.mean() > 0.8


def test_a_neighbour_near_the_cutoff_has_hardly_a_share(model, liquid):
    parts = dissect(model, liquid.species, liquid.positions, liquid.box, 0)
    assert np.abs(parts.shares[-3:]).max() < 0.01 * np.abs(parts.shares).max()
