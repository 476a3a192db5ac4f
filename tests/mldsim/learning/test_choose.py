"""Which frames are labelled."""

from itertools import pairwise

import numpy as np
import pytest

from mldsim.learning.choose import choose, drawn, spaced
from mldsim.learning.frames import Found, Why


def found(time: float, excess: float, why: Why = Why.DOUBT) -> Found:
    return Found(np.zeros((3, 3)), np.ones(3), np.zeros(3), excess, time, why)


def test_an_event_gives_its_most_doubtful_frame() -> None:
    event = [found(10.0 * n, 2.0 - abs(n - 3) / 10) for n in range(7)]
    later = [found(500.0 + 10.0 * n, 1.1 + n / 100) for n in range(3)]
    assert [frame.time for frame in spaced([*event, *later])] == [30.0, 520.0]


def test_a_long_stretch_gives_frames_that_are_no_neighbours(rng: np.random.Generator) -> None:
    stretch = [found(10.0 * n, 1.0 + excess) for n, excess in enumerate(rng.random(200))]
    kept = spaced(stretch, spacing=100.0)
    times = sorted(frame.time for frame in kept)
    assert all(b - a >= 100.0 for a, b in pairwise(times))
    assert len(kept) >= 2000 / 200  # no gap is left in which another frame would fit
    assert kept[0].excess == max(frame.excess for frame in stretch)


def test_the_frame_before_a_stop_is_kept_whatever_its_doubt() -> None:
    run = [found(10.0 * n, 2.9 - n / 2) for n in range(4)]
    run.append(found(40.0, 0.5, Why.STOP))
    assert [frame.why for frame in spaced(run)] == [Why.STOP]


def test_what_is_lost_is_taken_only_where_the_way_to_it_was_not_seen() -> None:
    seen = [found(0.0, 1.5), found(10.0, 2.5), found(20.0, 40.0)]
    assert [frame.excess for frame in spaced(seen)] == [2.5]
    sudden = [found(500.0, 50.0), found(510.0, 20.0)]
    assert [frame.excess for frame in spaced([*seen, *sudden])] == [2.5, 20.0]


def test_all_runs_give_frames_before_one_gives_many() -> None:
    runs = [[found(100.0 * n, excess) for n in range(10)] for excess in (2.9, 1.2, 1.5)]
    assert sorted(frame.excess for frame in choose(runs, 3)) == [1.2, 1.5, 2.9]
    assert sorted(frame.excess for frame in choose(runs, 5)) == [1.2, 1.5, 1.5, 2.9, 2.9]
    assert len(choose(runs, 100)) == 30
    assert choose([[], []], 5) == []


def test_samples_are_drawn_without_looking_at_the_doubt() -> None:
    runs = [[found(float(n), excess=float(n), why=Why.SAMPLE) for n in range(100)] for _ in range(10)]
    mean = np.mean([[frame.excess for frame in drawn(runs, 50, seed)] for seed in range(20)])
    assert mean == pytest.approx(49.5, abs=4 * 28.9 / np.sqrt(1000))
    again = [[frame.time for frame in drawn(runs, 5, seed)] for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]
