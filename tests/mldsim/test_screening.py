"""Bad frames: what no fit of the others explains is found and left out, what is merely unusual stays."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.inference import infer
from mldsim.regression import FitSettings
from mldsim.screening import absurd, outlying

Make = Callable[..., LabelledFrames]
SETTINGS = FitSettings(max_rank=1, n_radial=4, cutoff=4.5, ridge=1e-8)


def spoiled(frames: LabelledFrames, number: int, how: str) -> LabelledFrames:
    forces = frames.forces.copy()
    if how == "permuted":  # labels of another order of atoms
        forces[number] = np.roll(forces[number], 1, axis=0)
    elif how == "scaled":  # hartree/bohr taken for eV/angstrom
        forces[number] *= 51.422
    else:  # a wave function that did not converge
        forces[number] += np.random.default_rng(1).normal(size=forces[number].shape) * 0.5
    return dataclasses.replace(frames, forces=forces)


@pytest.mark.parametrize("how", ["permuted", "scaled", "noisy"])
def test_one_bad_frame_among_thirty_is_found_and_leaves_no_trace(labelled: Make, how: str) -> None:
    frames = labelled(30, noise=0.02)
    found = infer([spoiled(frames, 17, how)], SETTINGS)
    assert [bad.frame for bad in found.bad_frames] == [17]
    (bad,) = found.bad_frames
    assert bad.error > 3 * bad.median
    assert str(bad).startswith("frames.h5, frame 17: ")
    without = infer([frames.take([i for i in range(30) if i != 17])], SETTINGS)
    assert found.model.linear == pytest.approx(without.model.linear, abs=1e-5)
    assert found.model.quadratic == pytest.approx(without.model.quadratic, abs=1e-5)
    assert found.model.ranges.invariants == pytest.approx(without.model.ranges.invariants)
    assert found.model.card["frames"] == 29


def test_several_bad_frames_do_not_hide_each_other(labelled: Make) -> None:
    frames = labelled(40, noise=0.02)
    for number, how in ((3, "permuted"), (4, "permuted"), (21, "noisy"), (33, "permuted")):
        frames = spoiled(frames, number, how)
    found = infer([frames], SETTINGS)
    assert sorted(bad.frame for bad in found.bad_frames) == [3, 4, 21, 33]


def test_bad_frames_have_the_numbers_of_their_file(labelled: Make) -> None:
    frames = spoiled(labelled(30, noise=0.02), 17, "permuted")
    steps = np.arange(30) * 10
    frames = dataclasses.replace(frames, steps=steps, provenance={"source": "b/run.h5", "name": "hot"})
    taken = np.arange(10, 30)
    found = infer([labelled(20, noise=0.02, seed=5), frames.take(taken)], SETTINGS, numbers=[np.arange(20), taken])
    (bad,) = found.bad_frames
    assert (bad.source, bad.system, bad.frame, bad.step) == ("run.h5", "hot", 17, 170)


def test_frames_are_kept_on_request_and_good_ones_anyway(labelled: Make) -> None:
    frames = labelled(30, noise=0.02)
    assert infer([frames], SETTINGS).bad_frames == ()
    assert infer([spoiled(frames, 17, "scaled")], SETTINGS, keep_bad_frames=True).bad_frames == ()


def test_a_hot_system_is_not_measured_by_a_cold_one(labelled: Make) -> None:
    """Errors of one kind may all be five times those of another."""
    cold, hot = labelled(30, noise=0.01), labelled(12, noise=0.05, disorder=0.1, seed=4)
    assert infer([cold, hot], SETTINGS).bad_frames == ()


def test_few_frames_are_compared_with_all(rng: np.random.Generator) -> None:
    """And not as strictly: they may be the first of their state."""
    errors = np.concatenate([rng.normal(1.0, 0.05, 20), [4.0, 30.0]])
    kinds, labels = np.repeat([0, 1], [20, 2]), np.full(22, 20.0)
    found, median = outlying(errors, labels, kinds, np.empty(0))
    assert list(np.flatnonzero(found)) == [21]
    assert median[21] == pytest.approx(1.0, abs=0.1)
    alone, _ = outlying(errors[20:], labels[20:], kinds[20:], np.empty(0))
    assert not alone.any()
    extending, _ = outlying(errors[20:], labels[20:], kinds[20:], np.ones(30))
    assert list(extending) == [False, True]


def test_errors_that_are_no_numbers_are_outlying() -> None:
    errors = np.ones(10)
    errors[4] = np.nan
    found, _ = outlying(errors, np.full(10, 20.0), np.zeros(10, int), np.empty(0))
    assert list(np.flatnonzero(found)) == [4]


def test_labels_of_absurd_size_are_told_from_hot_ones() -> None:
    labels = np.concatenate([np.full(12, 1.0), [2.5, 51.0]])
    found, _ = absurd(labels, np.zeros(14, int))
    assert list(np.flatnonzero(found)) == [13]
