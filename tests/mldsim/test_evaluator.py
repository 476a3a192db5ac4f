"""What does not belong to the physics must not be seen in it: order in memory, lists, threads."""

from dataclasses import replace

import numba
import numpy as np
import pytest

from mldsim.evaluator import Evaluator
from mldsim.kernels import backend
from mldsim.loss import load_model
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.simulation import build_simulation
from mldsim.water import water_box


@pytest.fixture(scope="module")
def model():
    return load_model("water")


@pytest.fixture
def make(device):
    def evaluator(model, state, precision=Precision.DOUBLE):
        return Evaluator(model, state.species, state.box, device=device, precision=precision)

    return evaluator


def test_a_list_that_is_kept_gives_what_a_new_one_gives(model, make):
    state = water_box(64, 0.997, 300.0, 1, model.symbols, model.masses)
    kept = make(model, state)
    rng = np.random.default_rng(0)
    for _ in range(12):  # farther than the skin allows: the list is renewed on the way
        state.positions += rng.normal(scale=0.05, size=state.positions.shape)
        found, wanted = kept(state.positions), make(model, state)(state.positions)
        np.testing.assert_allclose(found.forces, wanted.forces, atol=1e-9)
        np.testing.assert_allclose(found.losses, wanted.losses, atol=1e-10)
        assert found.closest == pytest.approx(wanted.closest, rel=1e-12)


def test_agents_may_come_in_any_order_and_from_any_image(model, make):
    state = water_box(64, 0.997, 300.0, 2, model.symbols, model.masses)
    wanted = make(model, state)(state.positions)
    rng = np.random.default_rng(0)
    order = rng.permutation(state.n_agents)
    images = rng.integers(-3, 4, state.positions.shape)
    positions = (state.positions + images * state.box)[order]
    shuffled = make(model, replace(state, species=state.species[order]))(positions)
    np.testing.assert_allclose(shuffled.forces, wanted.forces[order], atol=1e-9)
    np.testing.assert_allclose(shuffled.losses, wanted.losses[order], atol=1e-10)


def test_evaluations_do_not_share_memory(model, make):
    state = water_box(64, 0.997, 300.0, 3, model.symbols, model.masses)
    evaluate = make(model, state, Precision.SINGLE)
    first = evaluate(state.positions)
    kept = first.forces.copy(), first.losses.copy()
    evaluate(state.positions + 0.01 * np.sin(state.positions))
    np.testing.assert_array_equal(first.forces, kept[0])
    np.testing.assert_array_equal(first.losses, kept[1])


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_a_lost_position_gives_no_numbers_and_leaves_the_evaluator_as_good_as_before(model, make, lost):
    state = water_box(64, 0.997, 300.0, 4, model.symbols, model.masses)
    evaluate = make(model, state)
    wanted = evaluate(state.positions)
    nowhere = state.positions.copy()
    nowhere[70, 1] = lost
    assert np.isnan(evaluate(nowhere).forces).all()
    np.testing.assert_array_equal(evaluate(state.positions).forces, wanted.forces)


@pytest.mark.parametrize("kind", list(ThermostatKind))
def test_a_run_is_the_same_on_any_number_of_threads(kind):
    before = numba.get_num_threads()
    runs = []
    try:
        for threads in (1, min(2, before)):
            numba.set_num_threads(threads)
            setup = Setup(molecules=30, density=0.6, device=DeviceKind.CPU)
            simulation = build_simulation(setup, Parameters(thermostat=kind), lambda _: None)
            simulation.advance(40)
            runs.append(simulation.frame())
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(runs[0].positions, runs[1].positions)
    np.testing.assert_array_equal(runs[0].velocities, runs[1].velocities)
    assert runs[0].thermo == runs[1].thermo


# -- devices


GPU = backend.DeviceReport("cuda", "NVIDIA H200", True, "The GPU was found and is preferred.")


def test_few_agents_stay_on_the_cpu_where_the_device_may_be_chosen(model, monkeypatch):
    pytest.importorskip("mldsim.kernels.cuda", exc_type=ImportError)
    choose = backend.choose
    monkeypatch.setattr(backend, "choose", lambda kind: choose("cpu") if kind == "cpu" else GPU)
    state = water_box(8, 0.6, 300.0, 1, model.symbols, model.masses)
    evaluator = Evaluator(model, state.species, state.box, device=DeviceKind.AUTO)
    assert not evaluator.on_gpu
    assert evaluator.device_reason == "The GPU is taken from 100 agents on, and there are 24."


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_gpu_that_fails_leaves_the_work_to_the_cpu(model, monkeypatch, when):
    """Played by the CPU's kernels, which raise what a driver would."""
    pytest.importorskip("mldsim.kernels.cuda", exc_type=ImportError)
    choose, kernels = backend.choose, backend.kernels
    failing = when == "at the start"

    def gpu_kernels(kind, *form):
        made = kernels("cpu", *form)

        def put(array):
            if failing and kind == "cuda":
                raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY\nand a traceback")
            return made.put(array)

        return made._replace(put=put)

    monkeypatch.setattr(backend, "choose", lambda kind: choose("cpu") if kind == "cpu" else GPU)
    monkeypatch.setattr(backend, "kernels", gpu_kernels)
    cubic = backend.cubic_kernel
    monkeypatch.setattr(backend, "cubic_kernel", lambda kind, *form: cubic("cpu", *form))
    state = water_box(64, 0.997, 300.0, 1, model.symbols, model.masses)
    evaluator = Evaluator(model, state.species, state.box, device=DeviceKind.AUTO)
    assert evaluator.on_gpu is not failing
    failing = True
    wanted = Evaluator(model, state.species, state.box, device=DeviceKind.CPU)(state.positions)
    np.testing.assert_array_equal(evaluator(state.positions).forces, wanted.forces)
    assert not evaluator.on_gpu
    assert evaluator.device_reason == "The GPU failed (RuntimeError: CUDA_ERROR_OUT_OF_MEMORY). The CPU goes on."
