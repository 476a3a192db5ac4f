"""A trajectory that is played: which frame is shown when, and what is said of it. No view, no simulation."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mldsim.errors import InputError
from mldsim.frames import THERMO_COLUMNS, Frame, ThermoRow, Topology
from mldsim.messages import Event, Level, Loaded, Notice, Pause, Playback, Run, RunState, Seek, SetLoop, SetPace, Step
from mldsim.parameters import Setup
from mldsim.playback import Player
from mldsim.progress import Report
from mldsim.trajectory.sources import Footage, Remembered

LONG = 20.0
TOPOLOGY = Topology(("O",), np.zeros(3, np.int32), np.full(3, 16.0), np.array([[0, 1]], np.int32))


class Frames(Remembered):
    """Frames in memory of which some are broken, and which count how often they are read."""

    def __init__(self, n: int, *, interval: float = 10.0, broken: tuple[int, ...] = ()) -> None:
        frames = []
        for number in range(n):
            x = np.full((3, 3), float(number))
            row = dict.fromkeys(THERMO_COLUMNS, float(number)) | {"time": interval * number}
            frames.append(Frame(number, interval * number, np.full(3, 9.0), x, x, x, x[:, 0], ThermoRow(**row)))
        super().__init__(TOPOLOGY, frames)
        self.broken, self.read, self.closed = broken, 0, False

    def frame(self, index: int) -> Frame:
        self.read += 1
        if index in self.broken:
            raise InputError(f"frame {index} is damaged.")
        return super().frame(index)

    def close(self) -> None:
        self.closed = True


class Cinema:
    def __init__(self, source: Frames | None = None, shoot: Callable[[Report], Footage] | None = None) -> None:
        self.source = source
        self.player = Player("water.h5md", shoot or (lambda report: Footage(source)), Setup())
        self.heard: list[Event] = []

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONG
        while not what():
            self.heard += self.player.events()
            assert time.monotonic() < deadline, f"waited in vain; {self.player.status()}; {self.heard}"
            time.sleep(0.001)

    def at(self, frame: int) -> None:
        """Wait until a frame is shown, and look at it."""
        seen: list[Frame] = []

        def shown() -> bool:
            taken = self.player.mailbox.take()
            if taken is not None:
                seen.append(taken)
            return bool(seen) and seen[-1].step == frame

        self.until(shown)
        assert (seen[-1].positions == frame).all()

    @property
    def playback(self) -> Playback:
        playback = self.player.status().playback
        assert playback is not None
        return playback

    def texts(self) -> str:
        self.heard += self.player.events()
        return " ".join(event.text for event in self.heard if isinstance(event, Notice))


@pytest.fixture
def cinema() -> Iterator[Callable[..., Cinema]]:
    made: list[Cinema] = []

    def make(*args: object, **kwargs: object) -> Cinema:
        made.append(Cinema(*args, **kwargs))  # type: ignore[arg-type]
        made[-1].player.start()
        return made[-1]

    yield make
    for each in made:
        assert each.player.close(LONG)


Make = Callable[..., Cinema]


def test_it_begins_paused_at_the_first_frame_with_the_rows_of_all(cinema: Make) -> None:
    c = cinema(Frames(50))
    c.at(0)
    c.until(lambda: any(isinstance(event, Loaded) for event in c.heard))
    status = c.player.status()
    assert (status.run_state, status.n_agents, status.time) == (RunState.PAUSED, 3, 0.0)
    assert c.playback == Playback("water.h5md", 0, 50, 0.0, 490.0, 10.0, False)
    np.testing.assert_array_equal(c.player.thermo.columns()["temperature"], np.arange(50.0))
    assert c.player.thermo.version


def test_steps_and_seeks_are_exact_and_stop_at_the_ends(cinema: Make) -> None:
    c = cinema(Frames(50))
    for command, frame in (
        (Step(1), 1), (Step(10), 11), (Step(-4), 7), (Step(-100), 0), (Seek(33), 33), (Seek(1000), 49), (Step(1), 49),
        (Seek(-5), 0),
    ):  # fmt: skip
        c.player.send(command)
        c.until(lambda frame=frame: c.playback.frame == frame)
        assert c.player.status().time == 10.0 * frame
    c.at(0)


def test_it_plays_at_the_pace_and_pauses_at_the_end(cinema: Make) -> None:
    """Only bounds that hold on the slowest machine: it is never early, and it ends."""
    c = cinema(Frames(20))
    began = time.monotonic()
    c.player.send(SetPace(1000.0))  # 190 fs in 0.19 s
    c.player.send(Run())
    c.until(lambda: c.playback.frame == 19 and c.player.status().run_state is RunState.PAUSED)
    assert time.monotonic() - began >= 0.18
    c.player.send(Run())  # from the beginning
    c.until(lambda: 0 < c.playback.frame < 19)
    c.player.send(Pause())
    c.until(lambda: c.player.status().run_state is RunState.PAUSED)


def test_of_frames_that_nobody_could_see_none_is_read(cinema: Make) -> None:
    c = cinema(Frames(100_000))
    c.player.send(SetPace(1e7))  # 1 million frames per second
    c.player.send(Run())
    c.until(lambda: c.playback.frame == 99_999)
    assert c.source.read < 1000


def test_without_a_pace_every_frame_is_shown(cinema: Make) -> None:
    c = cinema(Frames(12))
    c.at(0)
    c.player.send(SetPace(None))
    c.player.send(Run())
    c.until(lambda: c.player.status().run_state is RunState.PAUSED and c.playback.frame == 11)
    assert c.source.read == 12 + 1  # and the first, for its box


def test_a_loop_goes_on_until_it_is_stopped(cinema: Make) -> None:
    c = cinema(Frames(4))
    c.player.send(SetPace(None))
    c.player.send(SetLoop(True))
    c.player.send(Run())
    for frame in (3, 0, 3, 0):
        c.until(lambda frame=frame: c.playback.frame == frame)
    assert c.playback.loop
    c.player.send(SetLoop(False))
    c.until(lambda: c.player.status().run_state is RunState.PAUSED)
    assert c.playback.frame == 3


def test_of_many_seeks_the_last_counts(cinema: Make) -> None:
    c = cinema(Frames(5000))
    c.at(0)
    for frame in range(0, 5000, 5):
        c.player.send(Seek(frame))
    c.at(4995)
    assert c.source.read < 900


def test_a_damaged_frame_is_told_and_the_others_are_still_there(cinema: Make) -> None:
    c = cinema(Frames(20, broken=(5,)))
    c.at(0)
    c.player.send(SetPace(None))
    c.player.send(Run())
    c.until(lambda: "frame 5 is damaged" in c.texts())
    assert c.player.status().run_state is RunState.PAUSED
    c.player.send(Step(1))
    c.at(6)


def test_what_cannot_be_opened_is_one_sentence(cinema: Make) -> None:
    def shoot(report: Report) -> Footage:
        report(0.4)
        raise InputError("water.h5md is not a trajectory.")

    c = cinema(shoot=shoot)
    c.until(lambda: c.player.status().run_state is RunState.FAILED)
    assert c.texts() == "water.h5md is not a trajectory."
    assert [event.level for event in c.heard if isinstance(event, Notice)] == [Level.ERROR]


def test_opening_a_long_file_tells_how_far_it_is_and_closing_ends_it(cinema: Make) -> None:
    going = threading.Event()

    def shoot(report: Report) -> Footage:
        while True:
            report(0.25)
            going.set()
            time.sleep(0.001)

    c = cinema(shoot=shoot)
    assert going.wait(LONG)
    assert "25 %" in c.player.status().message
    assert c.player.close(LONG)
    assert c.player.status().run_state is RunState.CLOSED


def test_the_file_is_closed_in_the_end(cinema: Make) -> None:
    c = cinema(Frames(3))
    c.at(0)
    c.player.send(SetPace(-1.0))
    c.until(lambda: "positive" in c.texts())
    assert c.player.close(LONG)
    assert c.source.closed
