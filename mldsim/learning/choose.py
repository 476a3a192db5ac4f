"""Which frames are worth a label: the most doubtful that are still physics, none a neighbour in time of another, from
all runs alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mldsim.learning.frames import Found, Why

SPACING = 100.0
"""fs. Hydrogen bonds rearrange within a picosecond and librations within 50 fs; frames closer than this in a run tell
nearly the same."""

LOST = 3.0
"""Doubt in units of its limit at which a run ends: what comes after it is where a wrong force has led. Such a frame is
taken where there is none of the way to it. (Measured: a round half of whose frames were that distorted, 20 to 50 times
the limit, raised the error on held-out frames from 49 to 60 meV/angstrom: they take from what the form can say.)"""

_URGENT = {Why.STOP: 0, Why.CONTACT: 1, Why.DOUBT: 2, Why.SAMPLE: 3}


def urgency(found: Found) -> tuple[bool, int, float]:
    """Sorts frames: before a stop, contacts, the most doubtful first; at the end what is lost, least first."""
    lost = found.excess > LOST
    return lost, _URGENT[found.why], found.excess if lost else -found.excess


def spaced(frames: Sequence[Found], spacing: float = SPACING) -> list[Found]:
    """The most urgent frame of each event of a run: none closer in time to a more urgent one than `spacing`, fs.

    Frames of a stretch of warnings come down to its most doubtful one, and to one every `spacing` of a long stretch.
    """
    kept: list[Found] = []
    for frame in sorted(frames, key=urgency):
        if all(abs(frame.time - other.time) >= spacing for other in kept):
            kept.append(frame)
    return kept


def choose(runs: Sequence[Sequence[Found]], at_most: int) -> list[Found]:
    """So many frames of all runs, by turns: the most urgent of each run, then the second of each, ...

    Within a turn the more urgent come first, so that a cap falls on the least doubtful.
    """
    queues = [sorted(frames, key=urgency) for frames in runs]
    chosen: list[Found] = []
    for turn in range(max(map(len, queues), default=0)):
        chosen += sorted((queue[turn] for queue in queues if turn < len(queue)), key=urgency)
        if len(chosen) >= at_most:
            break
    return chosen[:at_most]


def drawn(runs: Sequence[Sequence[Found]], at_most: int, seed: int) -> list[Found]:
    """So many samples of all runs, at random."""
    samples = [frame for frames in runs for frame in frames]
    if len(samples) <= at_most:
        return samples
    rng = np.random.default_rng(seed)
    return [samples[n] for n in np.sort(rng.choice(len(samples), at_most, replace=False))]
