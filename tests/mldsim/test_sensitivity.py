"""Sensitivities: slopes are those of the loss, shares add up, a figure is made of them."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.loss import LossModel, Scope
from mldsim.parameters import DeviceKind, Precision
from mldsim.sensitivity import sensitivities, write_figure

Make = Callable[..., LabelledFrames]


def invariants(model: LossModel, frames: LabelledFrames) -> np.ndarray:
    """s_bk of every agent of every frame by a sum over all pairs of images, (n_frames, n_agents, 2, n_radial)."""
    species = np.array([model.symbols.index(s) for s in frames.symbols])
    result = np.zeros((frames.n_frames, frames.n_agents, 2, model.radial.n_radial))
    shifts = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T * frames.boxes[0]
    for f, positions in enumerate(frames.positions):
        for i in range(frames.n_agents):
            for b in range(2):
                others = (positions[species == b, None] + shifts).reshape(-1, 3)
                r = np.linalg.norm(others - positions[i], axis=1)
                r = r[(r > 1e-6) & (r < model.cutoff)]
                result[f, i, b] = model.radial(int(species[i]), b, r)[0].sum(axis=0)
    return result


def test_responses_and_spreads_are_those_of_the_definition(teacher: LossModel, labelled: Make) -> None:
    model = dataclasses.replace(teacher, quadratic=teacher.quadratic * [[[1.0]], [[0.0]]])  # rank 0 alone
    frames = labelled(4)
    found = sensitivities(model, [frames])
    s = invariants(model, frames)
    species = np.tile([0, 1, 1], 8)
    for a in range(2):
        mine = s[:, species == a].reshape(-1, 8)
        slope = model.linear[a] + mine @ model.quadratic[a, 0]
        assert found.response[a].ravel() == pytest.approx(slope.mean(axis=0), abs=1e-6)
        assert found.response_spread[a].ravel() == pytest.approx(slope.std(axis=0), rel=1e-4)
        assert found.invariant_spread[a].ravel() == pytest.approx(mine.std(axis=0), rel=1e-4)


def test_a_linear_loss_has_constant_slopes(teacher: LossModel, labelled: Make) -> None:
    linear = dataclasses.replace(
        teacher, order=1, max_rank=0, quadratic=np.zeros((2, 1, 8, 8))
    )  # fmt: skip
    found = sensitivities(linear, [labelled(3)])
    assert found.response.reshape(2, 8) == pytest.approx(teacher.linear)
    assert np.abs(found.response_spread).max() < 1e-9
    assert found.parts == ("linear",)
    assert found.part_share == pytest.approx(np.ones((2, 1)))


@pytest.mark.parametrize("scope", list(Scope), ids=lambda scope: scope.value)
def test_parts_of_the_force_add_up(teacher: LossModel, labelled: Make, scope: Scope) -> None:
    model = dataclasses.replace(teacher, scope=scope)
    found = sensitivities(model, [labelled(3)])
    assert found.parts == ("linear", "quadratic, rank 0", "quadratic, rank 1")
    assert found.part_share.sum(axis=1) == pytest.approx(np.ones(2))


def test_one_more_neighbour_costs_what_the_response_says(teacher: LossModel, labelled: Make) -> None:
    """For a linear loss the curve is the pair loss itself: a third agent's loss by its two neighbours."""
    linear = dataclasses.replace(
        teacher, scope=Scope.OWN, order=1, max_rank=0, quadratic=np.zeros((2, 1, 8, 8)),
        wall=dataclasses.replace(teacher.wall, stiffness=0.0),
    )  # fmt: skip
    found = sensitivities(linear, [labelled(1)])
    evaluate = Evaluator(linear, np.int32([0, 1]), np.full(3, 20.0), device=DeviceKind.CPU, precision=Precision.DOUBLE)
    for r in (1.0, 2.1, 3.7):
        loss = evaluate(np.array([[1.0, 1.0, 1.0], [1.0 + r, 1.0, 1.0]])).losses
        assert np.interp(r, found.r, found.neighbour[0, 1]) == pytest.approx(loss[0], abs=1e-3)
        assert np.interp(r, found.r, found.neighbour[1, 0]) == pytest.approx(loss[1], abs=1e-3)


@pytest.mark.parametrize(("name", "begins"), [("f.svg", b"<?xml"), ("f.png", b"\x89PNG"), ("f.html", b"<!doctype")])
def test_a_figure_is_written(teacher: LossModel, labelled: Make, name: str, begins: bytes) -> None:
    found = sensitivities(teacher, [labelled(2)])
    write_figure(found, Path(name))
    assert Path(name).read_bytes().startswith(begins)
    write_figure(found, Path("again" + name))
    assert Path("again" + name).read_bytes() == Path(name).read_bytes()


def test_table_and_json_name_every_invariant_once(teacher: LossModel, labelled: Make) -> None:
    found = sensitivities(teacher, [labelled(2)])
    told = found.to_json()
    for symbol in ("O", "H"):
        listed = [(one["neighbour"], one["k"]) for one in told["species"][symbol]["invariants"]]
        assert sorted(listed) == sorted((b, k) for b in ("O", "H") for k in range(4))
        assert sum(one["share_percent"] for one in told["species"][symbol]["force"]) == pytest.approx(100.0)
    assert found.table().count("neighbours at") == 16


def test_what_cannot_be_looked_at_is_told(teacher: LossModel, labelled: Make) -> None:
    with pytest.raises(InputError, match="no frames"):
        sensitivities(teacher, [])
    helium = LabelledFrames(("He",), [[[0, 0, 0]]], [[[0, 0, 0]]], [9, 9, 9])
    with pytest.raises(InputError, match="knows O, H, not He"):
        sensitivities(teacher, [helium])
    with pytest.raises(InputError, match=r"must end in \.svg"):
        write_figure(sensitivities(teacher, [labelled(1)]), Path("figure.pdf"))
