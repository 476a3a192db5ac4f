"""The timer of the window: often while something is to be seen, seldom while it is not, and at once when asked."""

import pytest

from mldsim.gui.pulse import LINGER, Pulse

pytestmark = pytest.mark.gui


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_it_slows_down_when_nothing_happens_and_wakes_when_asked(qapp):
    clock, beats, lively = Clock(), [], [True]
    pulse = Pulse(qapp, lambda: beats.append(1), lambda: lively[0], clock)
    clock.now = 10.0
    pulse._on_timer()
    assert pulse.fast
    lively[0] = False
    pulse._on_timer()
    assert not pulse.fast
    pulse.wake()
    assert pulse.fast  # before the next beat
    clock.now += 0.5 * LINGER
    pulse._on_timer()
    assert pulse.fast  # the answer may still be on its way
    clock.now += LINGER
    pulse._on_timer()
    assert not pulse.fast
    assert len(beats) == 4
    pulse.deleteLater()
