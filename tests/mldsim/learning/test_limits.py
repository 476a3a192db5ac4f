"""When doubt is too much."""

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.learning.limits import evenly, measure_limits
from mldsim.loss import load_model


def frames(n_frames: int, symbols: tuple[str, ...] = ("O", "H", "H"), edge: float = 6.0) -> LabelledFrames:
    positions = np.zeros((n_frames, len(symbols), 3))
    positions[:, :, 0] = np.arange(n_frames)[:, None]  # tells which frame it is
    return LabelledFrames(symbols, positions, np.zeros_like(positions), np.full(3, edge))


def doubt(model, species, box):
    return lambda positions: np.where(species == model.symbols.index("O"), 0.1, 0.02) * (1 + positions[:, 0])


def test_each_element_has_the_percentile_of_its_own_agents() -> None:
    model = load_model("water")
    limits = measure_limits(model, [frames(100)], doubt, 2.0)
    expected = 2.0 * np.percentile(1.0 + np.arange(100), 99)
    by_symbol = dict(zip(limits.symbols, limits.doubts, strict=True))
    assert by_symbol == {"O": pytest.approx(0.1 * expected), "H": pytest.approx(0.02 * expected)}
    assert limits.share == 0.0
    assert measure_limits(model, [frames(100)], doubt, 1.0).share == pytest.approx(0.01)


def test_a_fixed_limit_counts_for_all() -> None:
    limits = measure_limits(load_model("water"), [frames(100)], doubt, 1.0, fixed=5.05)
    assert limits.doubts == (5.05, 5.05)
    assert limits.share == pytest.approx(0.5)  # 50 of 100 frames have an oxygen above


def test_an_element_that_was_never_seen_has_no_limit_and_no_number_is_beyond_all() -> None:
    model = load_model("water")
    limits = measure_limits(model, [frames(3, ("H", "H"))], doubt, 1.0)
    species = np.array([model.symbols.index("O"), model.symbols.index("H")], np.int32)
    assert limits.excess(np.array([1e6, 0.06]), species).tolist() == [0.0, pytest.approx(1.0, rel=0.05)]
    assert limits.excess(np.array([np.nan, 0.0]), species)[0] == np.inf


def test_frames_are_spread_over_all_systems() -> None:
    chosen = evenly([frames(90), frames(10)], 20)
    assert [system.n_frames for system in chosen] == [18, 2]
    assert [system.n_frames for system in evenly([frames(3), frames(2)], 20)] == [3, 2]


def test_an_unknown_element_is_named() -> None:
    with pytest.raises(InputError, match="not Na"):
        measure_limits(load_model("water"), [frames(2, ("Na", "O"))], doubt, 1.0)
