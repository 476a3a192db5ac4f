"""What a loss is where its agents are now, against the neighbours that the reference finds."""

import numpy as np
import pytest

from mldsim.evaluator import Evaluator
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.kernels.reference import neighbors_of
from mldsim.loss import LossModel, load_model
from mldsim.parameters import DeviceKind, Precision
from mldsim.surroundings import surroundings
from mldsim.water import water_box

SPECIES = np.tile(np.int32([0, 1, 1]), 8)
ROW = ThermoRow(*[0.0] * 9)
TOPOLOGY = Topology(("O", "H"), SPECIES, np.ones(24), np.empty((0, 2), np.int32))


@pytest.fixture
def frame(rng: np.random.Generator) -> Frame:
    """Eight molecules in a box that is narrower than two cutoffs, some of them outside of it."""
    sites = np.array(np.unravel_index(np.arange(8), (2, 2, 2))).T * 3.2
    molecule = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    turns, _ = np.linalg.qr(rng.normal(size=(8, 3, 3)))
    positions = (sites[:, None] + molecule @ turns).reshape(24, 3) + rng.integers(-2, 3, (8, 3)).repeat(3, 0) * 6.4
    zeros = np.zeros((24, 3))
    return Frame(0, 0.0, np.full(3, 6.4), positions, zeros, zeros, zeros[:, 0], ROW)


def test_responses_are_those_to_all_neighbours(teacher: LossModel, frame: Frame) -> None:
    seen = surroundings(teacher, TOPOLOGY, frame)
    responses = np.empty((24, 2, 4))
    for i in range(24):
        j, separation = neighbors_of(i, frame.positions, frame.box, teacher.cutoff)
        r, a = np.linalg.norm(separation, axis=1), int(SPECIES[i])
        invariants = np.concatenate([teacher.radial(a, b, r[SPECIES[j] == b])[0].sum(axis=0) for b in range(2)])
        responses[i] = (teacher.linear[a] + teacher.quadratic[a, 0] @ invariants).reshape(2, 4)
    for a in range(2):
        for b in range(2):
            functions = teacher.radial(a, b, seen.r)[0]
            wanted = responses[a == SPECIES, b] @ functions.T
            np.testing.assert_allclose(seen.mean[a, b], wanted.mean(axis=0), rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(seen.spread[a, b], wanted.std(axis=0), rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(seen.linear[a, b], functions @ teacher.linear[a].reshape(2, -1)[b], rtol=1e-9)


def test_visited_distances_are_all_of_them(teacher: LossModel, frame: Frame) -> None:
    seen = surroundings(teacher, TOPOLOGY, frame)
    # Two hydrogens of its own molecule at about 0.96 angstrom, none nearer.
    bonded = seen.bins < 1.3
    assert seen.visited[0, 1, bonded].sum() == pytest.approx(2.0)
    assert seen.visited[1, 0, bonded].sum() == pytest.approx(1.0)
    # As many hydrogens see an oxygen as oxygens see a hydrogen.
    assert 8 * seen.visited[0, 1].sum() == pytest.approx(16 * seen.visited[1, 0].sum())


def test_a_species_that_is_not_there_is_not_known(teacher: LossModel, frame: Frame) -> None:
    alone = Topology(("O", "H"), np.zeros(24, np.int32), np.ones(24), np.empty((0, 2), np.int32))
    seen = surroundings(teacher, alone, frame)
    assert np.isfinite(seen.mean[0]).all()
    assert np.isnan(seen.mean[1]).all()


def test_large_systems_are_looked_at_through_few_agents(teacher: LossModel) -> None:
    rng = np.random.default_rng(1)
    n = 30_000
    box = np.full(3, 70.0)
    zeros = np.zeros((n, 3))
    positions = rng.uniform(0.0, 70.0, (n, 3))
    frame = Frame(0, 0.0, box, positions, zeros, zeros, zeros[:, 0], ThermoRow(*[0.0] * 9))
    species = np.tile(np.int32([0, 1, 1]), n // 3)
    seen = surroundings(teacher, Topology(("O", "H"), species, np.ones(n), np.empty((0, 2), np.int32)), frame)
    expected = (2 / 3) * n / 70.0**3 * 4 / 3 * np.pi * teacher.cutoff**3  # hydrogens around an oxygen of an ideal gas
    assert seen.visited[0, 1].sum() == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("name", ["water-fast", "water"])
def test_responses_are_those_of_the_evaluator_with_every_local_term(name: str) -> None:
    model = load_model(name)
    state = water_box(64, 0.997, 300.0, 1, model.symbols, model.masses)
    topology = Topology(model.symbols, state.species, state.masses, state.bonds)
    zeros = np.zeros_like(state.positions)
    frame = Frame(0, 0.0, state.box, state.positions, zeros, zeros, zeros[:, 0], ThermoRow(*[0.0] * 9))
    seen = surroundings(model, topology, frame)
    evaluator = Evaluator(model, state.species, state.box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
    evaluator(state.positions)
    responses = evaluator.responses()[:, :, 0]
    for a in range(2):
        members = np.flatnonzero(state.species == a)
        looked = members[np.linspace(0, len(members) - 1, 50).astype(int)]
        for b in range(2):
            wanted = responses[looked, b] @ model.radial(a, b, seen.r)[0].T
            np.testing.assert_allclose(seen.mean[a, b], wanted.mean(axis=0), atol=1e-4)
            np.testing.assert_allclose(seen.spread[a, b], wanted.std(axis=0), atol=1e-4)


def test_agents_without_neighbours_are_looked_at_too() -> None:
    model = load_model("water")
    topology = Topology(("O", "H"), np.zeros(1, np.int32), np.ones(1), np.empty((0, 2), np.int32))
    none = np.zeros((1, 3))
    seen = surroundings(model, topology, Frame(0, 0.0, np.full(3, 12.0), none, none, none, none[0, :1], ROW))
    assert (seen.visited == 0.0).all()
    assert np.isfinite(seen.mean[0]).all()
