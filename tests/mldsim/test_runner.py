"""The worker thread, driven with an engine that is nothing but a counter with agents."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mldsim.delivery import Delivery
from mldsim.doubt import Judgement
from mldsim.errors import DeviceLost, InputError, LeftPhysics, WorkFailed
from mldsim.frames import THERMO_COLUMNS, Frame, Sample, ThermoRow, Topology
from mldsim.messages import (
    Applied,
    Command,
    DoubtSettings,
    Event,
    ExportHistory,
    Extend,
    GoTo,
    Level,
    Loaded,
    LoadModel,
    LookBack,
    LookedBack,
    NewVelocities,
    Notice,
    Pause,
    Quench,
    Reset,
    Restart,
    Run,
    RunFor,
    RunState,
    SaveDoubtful,
    SetPace,
    SetParameters,
    StartRecording,
    Status,
    Step,
    Stopped,
    StopRecording,
    WatchDoubt,
)
from mldsim.parameters import Parameters, Setup
from mldsim.runner import Runner
from mldsim.trajectory.h5md import read_h5md
from mldsim.watch import DoubtTable

LONG = 20.0
PARAMETERS = Parameters(steps_per_frame=10, timestep=0.5)


class Counter:
    """An engine whose only agent stands at x = step; on a GPU its frames arrive while the next steps are taken."""

    on_gpu = False

    def __init__(self, setup: Setup, parameters: Parameters, report: Callable[[str], None]) -> None:
        report("Compiling kernels")
        self.setup, self.parameters = setup, parameters
        self.device, self.device_reason, self.model_name = "CPU, 1 thread", "It is the only one.", setup.model
        self.model_card = {"theory": "none"}
        n = setup.molecules
        self.topology = Topology(
            ("O",), np.zeros(n, dtype=np.int32), np.full(n, 16.0), np.empty((0, 2), dtype=np.int32)
        )
        self.step = 0
        self.speed = 1.0
        self.chunks: list[int] = []
        self.seconds_per_step = 0.0
        self.fail_at: int | None = None
        self.error: Exception = LeftPhysics("The temperature rose to 9000 K.")
        self.back_to: int | None = None
        self.quench_steps = 0
        self.threads = {threading.current_thread().name}
        self.advanced = 0
        self.lose: set[int] = set()
        self.lost: list[int] = []

    def advance(self, steps: int) -> None:
        assert steps >= 1
        self.threads.add(threading.current_thread().name)
        self.chunks.append(steps)
        if len(self.chunks) > 10_000:
            del self.chunks[:5000]
        if self.seconds_per_step:
            time.sleep(self.seconds_per_step * steps)
        if self.fail_at is not None and self.step + steps >= self.fail_at:
            self.fail_at = None
            if self.back_to is not None:
                self.step = self.back_to
            raise self.error
        self.step += steps
        self.advanced += 1

    def send_frame(self) -> Delivery[Frame]:
        frame, sent = self.frame(), self.advanced

        def wait() -> Frame:
            if frame.step in self.lose and self.advanced != sent:
                self.lost.append(frame.step)
                raise DeviceLost("The GPU failed (CudaAPIError: it fell off the bus).")
            return frame

        return Delivery(wait, lambda: not self.on_gpu or self.advanced != sent)

    def frame(self) -> Frame:
        x = np.full((self.topology.n_agents, 3), float(self.step))
        thermo = dict.fromkeys(THERMO_COLUMNS, 0.0) | {"time": 0.5 * self.step, "temperature": self.speed}
        return Frame(self.step, 0.5 * self.step, np.full(3, 9.0), x, x, x, x[:, 0], ThermoRow(**thermo))

    def set_parameters(self, parameters: Parameters) -> Parameters:
        self.parameters = replace(parameters, coupling_time=100.0)  # this engine knows better
        return self.parameters

    def quench(self, steps: int) -> bool:
        self.quench_steps += steps
        return self.quench_steps >= 50

    def new_velocities(self) -> None:
        self.speed += 1

    def set_model(self, name_or_path: str | Path) -> None:
        if name_or_path == "bad":
            raise InputError("bad is not a model.")
        self.model_name = str(name_or_path)

    def reset(self) -> None:
        self.step = 0

    def go_to(self, frame: Frame) -> None:
        self.step = frame.step


@pytest.fixture(autouse=True, params=["CPU", "GPU"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """All that is promised of a runner it keeps on both."""
    monkeypatch.setattr(Counter, "on_gpu", request.param == "GPU")
    return str(request.param)


class Bench:
    """A runner on a bench: its engines, and waiting for what it says."""

    def __init__(self, prepare: Callable[[Counter], None] = lambda engine: None, **options: bool) -> None:
        self.engines: list[Counter] = []
        self.heard: list[Event] = []
        self.refuse: Exception | None = None

        def factory(setup: Setup, parameters: Parameters, report: Callable[[str], None]) -> Counter:
            if self.refuse is not None:
                raise self.refuse
            engine = Counter(setup, parameters, report)
            prepare(engine)
            self.engines.append(engine)
            return engine

        self.runner = Runner(factory, Setup(molecules=8), PARAMETERS, **options)

    @property
    def engine(self) -> Counter:
        return self.engines[-1]

    @property
    def status(self) -> Status:
        return self.runner.status()

    def until(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LONG
        while not what():
            assert time.monotonic() < deadline, f"waited in vain; {self.status}; {self.heard}"
            time.sleep(0.001)

    def hear(self, kind: type, text: str = "") -> None:
        """Wait for an event."""

        def heard() -> bool:
            self.heard += self.runner.events()
            return any(isinstance(event, kind) and text in str(event) for event in self.heard)

        self.until(heard)

    def do(self, *commands: object) -> None:
        """Send commands and wait until the worker has obeyed them."""
        for command in commands:
            self.runner.send(command)  # type: ignore[arg-type]
        self.heard += self.runner.events()
        answered = sum(isinstance(event, Applied) for event in self.heard)
        self.runner.send(SetParameters(self.engine.parameters if self.engines else PARAMETERS))

        def obeyed() -> bool:
            self.heard += self.runner.events()
            return sum(isinstance(event, Applied) for event in self.heard) > answered

        self.until(obeyed)

    def pause(self) -> None:
        self.do(Pause())
        self.until(lambda: self.status.run_state is RunState.PAUSED)


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(prepare: Callable[[Counter], None] = lambda engine: None, **options: bool) -> Bench:
        made.append(Bench(prepare, **options))
        made[-1].runner.start()
        return made[-1]

    yield make
    for each in made:
        assert each.runner.close(LONG)


Make = Callable[..., Bench]


def positions(path: Path) -> list[int]:
    """Steps of a recording, each checked against what the engine computed at it."""
    with read_h5md(path) as trajectory:
        for frame in trajectory:
            assert (frame.positions == frame.step).all()
        return [int(step) for step in trajectory.steps]


# --- the past ---


def test_one_can_look_back_and_go_on_from_there(bench: Make) -> None:
    b = bench(paused=True)
    b.do(Step(200))
    b.until(lambda: b.status.step == 200)
    b.do(LookBack())
    b.hear(LookedBack)
    past = next(event for event in b.heard if isinstance(event, LookedBack))
    assert [frame.step for frame in past.frames] == list(range(0, 201, 10))
    assert past.topology.n_agents == 8
    b.do(GoTo(past.frames[7]))
    b.until(lambda: b.status.run_state is RunState.PAUSED and b.status.step == 70)
    assert b.runner.thermo.columns()["time"][-1] == 35.0
    b.do(LookBack(), Step(10))
    b.until(lambda: b.status.step == 80)
    again = [event for event in b.heard if isinstance(event, LookedBack)][-1]
    assert again.frames[-1].step == 70


# --- frames that arrive late ---


def test_frames_come_in_their_order_and_each_once(bench: Make, device: str) -> None:
    b = bench()
    seen: list[Frame] = []

    def look() -> bool:
        frame = b.runner.mailbox.take()
        if frame is not None:
            seen.append(frame)
        return len(seen) == 30

    b.until(look)
    steps = [frame.step for frame in seen]
    assert steps == sorted(set(steps))
    assert all((frame.positions == frame.step).all() and frame.time == 0.5 * frame.step for frame in seen)
    b.pause()
    b.until(lambda: b.status.step == b.engine.step)
    assert (np.diff(b.runner.thermo.columns()["time"]) > 0).all()


def test_a_frame_is_shown_when_it_is_there_and_not_with_the_next_step(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slow motion the next step may be seconds away."""

    def send_frame(self: Counter) -> Delivery[Frame]:
        frame, now = self.frame(), time.monotonic()
        return Delivery(lambda: frame, lambda: time.monotonic() > now + 0.02)

    monkeypatch.setattr(Counter, "send_frame", send_frame)
    b = bench(paused=True)
    b.do(SetPace(0.2), Run())  # a step in 2.5 s
    b.until(lambda: (frame := b.runner.mailbox.take()) is not None and frame.step == 1)
    assert b.engine.step == 1


def test_a_frame_that_is_lost_on_its_way_ends_nothing(bench: Make, device: str) -> None:
    b = bench(paused=True)
    b.engine.lose = {20, 50}
    b.do(Step(100))
    b.until(lambda: b.status.step == 100 and b.status.run_state is RunState.PAUSED)
    assert b.engine.lost == ([20, 50] if device == "GPU" else [])
    steps = [n for n in range(0, 101, 10) if n not in b.engine.lost]
    np.testing.assert_array_equal(b.runner.thermo.columns()["time"], 0.5 * np.array(steps))
    assert not any(isinstance(event, Notice) for event in b.heard)


def test_no_frame_of_before_a_reset_comes_after_it(bench: Make) -> None:
    b = bench()
    for _ in range(5):
        b.until(lambda: b.engine.step > 500)
        b.do(Reset())
        b.do(Pause())
        times = b.runner.thermo.columns()["time"]
        assert times[0] == 0.0
        assert (np.diff(times) > 0.0).all()
        b.do(Run())


def test_a_recording_loses_no_frame(bench: Make, tmp_path: Path) -> None:
    path = tmp_path / "run.h5md"
    b = bench(paused=True)
    b.engine.lose = set(range(1, 200))
    b.do(StartRecording(path, 5), Step(100))
    b.until(lambda: b.status.step == 100)
    b.do(StopRecording())
    b.hear(Notice, "Recorded")
    assert positions(path) == list(range(0, 101, 5))


# --- run, pause, step -----------------------------------------------------------------------------------------------


def test_a_run_that_goes_on_on_another_device_says_why(bench: Make) -> None:
    b = bench()
    b.hear(Loaded)
    b.pause()
    assert not any(isinstance(event, Notice) for event in b.heard)
    b.engine.device, b.engine.device_reason = "CPU, 1 thread", "The GPU failed (CudaAPIError: gone)."
    b.do(Step(5))
    b.hear(Notice, "The GPU failed (CudaAPIError: gone).")
    assert sum(isinstance(event, Notice) for event in b.heard) == 1


def test_it_starts_and_runs(bench: Make) -> None:
    b = bench()
    b.hear(Loaded)
    loaded = next(event for event in b.heard if isinstance(event, Loaded))
    assert loaded.topology.n_agents == 8
    np.testing.assert_array_equal(loaded.box, 9.0)
    b.until(lambda: b.status.step > 100 and b.status.steps_per_s > 0)
    status = b.status
    assert status.run_state is RunState.RUNNING
    assert (status.device, status.model_name, status.n_agents) == ("CPU, 1 thread", "water", 8)
    assert status.ns_per_day == pytest.approx(status.steps_per_s * 0.5e-6 * 86400)
    b.until(lambda: b.runner.mailbox.take() is not None)
    assert b.runner.thermo.columns()["time"][0] == 0


def test_the_engine_is_touched_by_one_thread_only(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 100)
    b.do(Restart(Setup(molecules=9)), Step(3))
    assert {name for engine in b.engines for name in engine.threads} == {"mldsim-runner"}


def test_a_paused_start_shows_its_first_frame_and_waits(bench: Make) -> None:
    b = bench(paused=True)
    b.until(lambda: b.status.run_state is RunState.PAUSED)
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == 0
    b.do()
    assert b.engine.step == 0
    b.do(Run())
    b.until(lambda: b.status.step > 0)


def test_pause_stops_and_shows_the_present_state(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 100)
    b.pause()
    step = b.engine.step
    b.until(lambda: b.status.step == step)
    b.do()
    assert b.engine.step == step
    assert b.status.steps_per_s == 0
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == step


def test_single_steps_are_exact(bench: Make) -> None:
    b = bench(paused=True)
    b.do(Step())
    b.until(lambda: b.status.step == 1 and b.status.run_state is RunState.PAUSED)
    b.do(Step(37))
    b.until(lambda: b.status.step == 38 and b.status.run_state is RunState.PAUSED)
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == 38
    b.do(Step(0))
    b.hear(Notice, "at least 1")


def test_frames_come_every_steps_per_frame(bench: Make) -> None:
    b = bench(paused=True)
    b.do(Step(100))
    b.until(lambda: b.status.step == 100)
    np.testing.assert_array_equal(b.runner.thermo.columns()["time"], 0.5 * np.arange(0, 101, 10))


def test_a_pace_is_not_exceeded_and_every_step_is_shown(bench: Make) -> None:
    """Only a bound from above: how slow a machine is, is no business of a test."""
    b = bench(paused=True)
    b.do(SetPace(20.0), Run())  # 40 steps per second
    began, first = time.monotonic(), b.engine.step
    shown: list[int] = []

    def seen() -> bool:
        frame = b.runner.mailbox.take()
        if frame is not None:
            shown.append(frame.step)
        return len(shown) >= 8

    b.until(seen)
    assert b.engine.step - first <= 40 * (time.monotonic() - began) + 2
    assert shown[-1] - shown[0] < 8 * PARAMETERS.steps_per_frame
    assert b.status.pace == 20.0
    assert b.engine.parameters.timestep == PARAMETERS.timestep
    b.do(SetPace(None))
    b.until(lambda: b.status.step > 2000)


def test_slow_motion_obeys_at_once_and_single_steps_do_not_wait(bench: Make) -> None:
    b = bench()
    b.do(SetPace(1e-3))  # a step in eight minutes
    b.pause()
    step = b.engine.step
    b.do(Step(5))
    b.until(lambda: b.status.step == step + 5)
    b.do(SetPace(-1.0))
    b.hear(Notice, "positive number")
    assert b.status.pace == 1e-3


def test_a_run_with_an_end_pauses_there_and_can_be_extended(bench: Make) -> None:
    b = bench(paused=True)
    b.do(Step(3))
    b.until(lambda: b.status.step == 3)
    b.do(RunFor(50.0))  # 100 steps of 0.5 fs
    b.hear(Stopped, "50 fs")
    b.until(lambda: b.status.run_state is RunState.PAUSED)
    assert b.engine.step == 103
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == 103
    b.do(Extend())
    b.until(lambda: b.status.run_state is RunState.PAUSED and b.status.step == 203)
    assert b.status.stretch is not None
    assert (b.status.stretch.begin, b.status.stretch.end) == (1.5, 101.5)
    b.do(Step(2))  # beyond the end, without ending once more
    b.until(lambda: b.status.step == 205)
    b.do(Run())
    b.until(lambda: b.status.step > 500)
    assert b.status.stretch is None
    b.do(Extend())
    b.hear(Notice, "no run with an end")
    b.do(RunFor(0.0))
    b.hear(Notice, "positive time")


def test_the_end_of_a_run_stays_where_it_is_through_a_pause_and_a_change_of_the_time_step(bench: Make) -> None:
    b = bench(paused=True)
    b.do(SetPace(1e-3), RunFor(50.0))  # a step in eight minutes
    b.pause()
    b.do(SetPace(None), SetParameters(b.engine.parameters.with_changes(timestep=0.25)), Run())
    b.until(lambda: b.status.run_state is RunState.PAUSED and b.status.step > 0)
    assert b.status.stretch is not None
    b.do(RunFor(1e9), RunFor(None), Reset())
    b.until(lambda: b.status.stretch is None)


def test_a_slow_engine_is_asked_for_few_steps_at_a_time(bench: Make) -> None:
    def slow(engine: Counter) -> None:
        engine.seconds_per_step = 0.01

    b = bench(slow)
    b.do(SetParameters(PARAMETERS.with_changes(steps_per_frame=1000)))
    b.until(lambda: b.status.step > 20)
    b.pause()
    assert max(b.engine.chunks) <= 3  # 30 ms, so that a pause is answered at once
    assert b.engine.step < 1000


def test_a_slow_reader_finds_the_newest_frame_and_delays_nobody(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 2000)
    b.pause()
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == b.engine.step
    assert b.runner.mailbox.take() is None


def test_memory_is_bounded(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Bench()
    b.runner._history._max_frames = 50
    b.runner.thermo.__init__(capacity=100)  # type: ignore[misc]
    b.runner.start()
    try:
        b.until(lambda: b.status.step > 20_000)
        for _ in range(2000):
            b.runner.send(LoadModel("bad"))  # a notice each that nobody fetches
        b.pause()
        assert 20 <= b.status.memory_frames <= 50
        assert len(b.runner.thermo.columns()["time"]) <= 100
        assert len(b.runner._events) <= 1000
        assert len(b.runner._rate._samples) <= 100
    finally:
        assert b.runner.close(LONG)


# --- what can be changed --------------------------------------------------------------------------------------------


def test_parameters_return_as_applied(bench: Make) -> None:
    b = bench(paused=True)
    b.do(SetParameters(PARAMETERS.with_changes(temperature=350.0)))
    applied = [event.parameters for event in b.heard if isinstance(event, Applied)]
    assert applied[0] == PARAMETERS  # what it started with
    assert (applied[1].temperature, applied[1].coupling_time) == (350.0, 100.0)


def test_reset_goes_back_and_forgets(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 100)
    b.pause()
    b.do(Reset())
    b.until(lambda: b.status.step == 0)
    assert len(b.runner.thermo.columns()["time"]) == 1
    assert b.status.memory_frames == 1
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == 0


def test_restart_builds_anew_and_keeps_running(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 100)
    b.do(Restart(Setup(molecules=11)))
    b.until(lambda: b.status.n_agents == 11 and b.status.run_state is RunState.RUNNING)
    assert len(b.engines) == 2
    b.until(lambda: (frame := b.runner.mailbox.take()) is not None and len(frame.positions) == 11)


def test_a_frame_is_never_shown_before_its_system_is_told(bench: Make) -> None:
    b = bench()
    n_agents = 0
    for molecules in range(9, 60):
        b.runner.send(Restart(Setup(molecules=molecules)))
    while n_agents != 59:
        frame = b.runner.mailbox.take()
        for event in b.runner.events():
            if isinstance(event, Loaded):
                n_agents = event.topology.n_agents
        if frame is not None:
            assert len(frame.positions) <= n_agents


def test_a_restart_that_fails_leaves_the_old_simulation_running(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 0)
    b.refuse = InputError("The box is too small.")
    b.do(Restart(Setup(molecules=8)))
    b.hear(Notice, "The box is too small.")
    step = b.status.step
    b.until(lambda: b.status.step > step and b.status.run_state is RunState.RUNNING)


@pytest.mark.parametrize("error", [InputError("No such model."), ZeroDivisionError("oops")])
def test_a_first_engine_that_cannot_be_built(error: Exception) -> None:
    b = Bench()
    b.refuse = error
    b.runner.start()
    try:
        b.until(lambda: b.status.run_state is RunState.FAILED)
        assert str(error) in b.status.message
        b.hear(Notice, str(error))
        b.runner.send(Run())
        b.hear(Notice, "There is no simulation")
        b.refuse = None
        b.do(SetParameters(PARAMETERS.with_changes(temperature=400.0)), Restart(Setup()))
        b.until(lambda: b.status.run_state is RunState.RUNNING and b.status.step > 0)
    finally:
        assert b.runner.close(LONG)


def test_a_wrong_model_is_refused_and_the_run_goes_on(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 0)
    b.do(LoadModel("bad"))
    b.hear(Notice, "bad is not a model.")
    step = b.status.step
    b.until(lambda: b.status.step > step)
    assert b.status.model_name == "water"
    b.do(LoadModel("other"))
    b.until(lambda: b.status.model_name == "other" and b.status.run_state is RunState.RUNNING)
    assert any(isinstance(event, Loaded) and event.model_name == "other" for event in b.heard)


def test_new_velocities_are_shown_at_once(bench: Make) -> None:
    b = bench(paused=True)
    b.do()
    b.runner.mailbox.take()
    b.do(NewVelocities())
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.thermo.temperature == 2.0


def test_quench_runs_to_the_minimum_and_pauses(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 0)
    b.do(Quench())
    b.hear(Notice, "minimum")
    b.until(lambda: b.status.run_state is RunState.PAUSED)
    assert b.engine.quench_steps >= 50


def test_a_quench_can_be_ended(bench: Make) -> None:
    def endless(engine: Counter) -> None:
        engine.quench_steps = -(10**15)

    b = bench(endless, paused=True)
    b.do(Quench())
    b.until(lambda: b.status.run_state is RunState.QUENCHING)
    b.pause()
    b.do(Quench(), Run())
    b.until(lambda: b.status.step > 0)


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_a_guard_pauses_tells_why_and_shows_the_last_good_state(bench: Make) -> None:
    def doomed(engine: Counter) -> None:
        engine.fail_at, engine.back_to = 95, 50

    b = bench(doomed)
    b.hear(Stopped, "9000 K")
    notice = next(event for event in b.heard if isinstance(event, Notice))
    assert (notice.level, notice.text) == (Level.ERROR, "The temperature rose to 9000 K.")
    b.until(lambda: b.status.run_state is RunState.PAUSED and b.status.step == 50)
    assert b.status.message == "The temperature rose to 9000 K."
    frame = b.runner.mailbox.take()
    assert frame is not None
    assert frame.step == 50
    assert b.runner.thermo.columns()["time"][-1] <= 25.0
    b.do(Run())
    b.until(lambda: b.status.step > 200)
    b.pause()
    assert (np.diff(b.runner.thermo.columns()["time"]) > 0).all()


def test_an_exception_of_the_engine_pauses_and_the_runner_lives(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    def broken(engine: Counter) -> None:
        engine.fail_at, engine.error = 100, ZeroDivisionError("oops")

    b = bench(broken)
    b.hear(Notice, "internal error (ZeroDivisionError: oops)")
    b.until(lambda: b.status.run_state is RunState.PAUSED)
    assert "Traceback" in caplog.text
    b.do(Run())
    b.until(lambda: b.status.step > 200)


def test_closing_interrupts_a_long_start() -> None:
    begun, ended = threading.Event(), threading.Event()

    def factory(setup: Setup, parameters: Parameters, report: Callable[[str], None]) -> Counter:
        try:
            while True:
                report("Relaxing the box")
                begun.set()
                time.sleep(0.001)
        finally:
            ended.set()

    runner = Runner(factory, Setup(), PARAMETERS)
    runner.start()
    assert begun.wait(LONG)
    assert runner.status().run_state is RunState.STARTING
    assert runner.status().message == "Relaxing the box"
    assert runner.close(LONG)
    assert ended.is_set()
    assert runner.status().run_state is RunState.CLOSED


def test_a_start_that_cannot_be_interrupted_is_not_waited_for_where_nothing_is_to_be_written(tmp_path: Path) -> None:
    go_on, begun = threading.Event(), threading.Event()

    def factory(setup: Setup, parameters: Parameters, report: Callable[[str], None]) -> Counter:
        begun.set()
        assert go_on.wait(LONG)  # as a compiler does, which hears nothing
        return Counter(setup, parameters, report)

    runner = Runner(factory, Setup(molecules=8), PARAMETERS)
    runner.start()
    assert begun.wait(LONG)
    before = time.monotonic()
    assert not runner.close(LONG)
    assert time.monotonic() - before < 0.5 * LONG
    runner.send(ExportHistory(tmp_path / "late.xyz"))
    assert runner.writing  # whoever asked for a file before the end is waited for
    go_on.set()
    assert runner.close(LONG)


def test_what_was_asked_to_be_saved_before_the_end_is_saved(bench: Make, tmp_path: Path) -> None:
    b = bench()
    b.until(lambda: b.status.memory_frames > 5)
    b.engines[0].seconds_per_step = 0.3  # the command waits while a step is taken, and the end is asked for meanwhile
    b.do(ExportHistory(tmp_path / "past.xyz"))
    assert b.runner.close(LONG)
    assert not b.runner.writing
    assert (tmp_path / "past.xyz").read_text().count("Lattice=") > 5


def test_a_runner_that_was_never_started_can_be_closed() -> None:
    assert Bench().runner.close()


# --- recording ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 7, 10, 25])
def test_recording_is_exact_whatever_the_frames_of_the_view(bench: Make, tmp_path: Path, every: int) -> None:
    b = bench(paused=True)
    b.do(StartRecording(tmp_path / "run.h5md", every), Step(100))
    b.until(lambda: b.status.step == 100)
    b.do(StopRecording())
    b.hear(Notice, "Recorded")
    assert positions(tmp_path / "run.h5md") == list(range(0, 101, every))
    b.until(lambda: b.status.recording is None)


def test_a_recording_begins_with_the_state_at_which_it_was_started(bench: Make, tmp_path: Path) -> None:
    b = bench(paused=True)
    b.do(Step(13))
    b.until(lambda: b.status.step == 13)
    b.do(StartRecording(tmp_path / "run.h5md", 5), Step(11), StopRecording())
    b.hear(Notice, "Recorded")
    assert positions(tmp_path / "run.h5md")[0] == 13
    with read_h5md(tmp_path / "run.h5md") as trajectory:
        assert trajectory.metadata["model"] == "water"
        assert trajectory.metadata["model_card"] == {"theory": "none"}
        assert trajectory.metadata["setup"]["molecules"] == 8
        assert trajectory.metadata["parameters"]["thermostat"] == "nose-hoover"


def test_status_tells_of_the_recording(bench: Make, tmp_path: Path) -> None:
    b = bench()
    b.do(StartRecording(tmp_path / "run.h5md", 10))
    b.until(lambda: b.status.recording is not None and b.status.recording.frames_written > 10)
    recording = b.status.recording
    assert recording is not None
    assert (recording.path, recording.every) == (tmp_path / "run.h5md", 10)


def test_an_existing_file_is_kept_and_the_run_goes_on(bench: Make, tmp_path: Path) -> None:
    path = tmp_path / "run.h5md"
    path.write_text("mine")
    b = bench()
    b.do(StartRecording(path, 10))
    b.hear(Notice, "exists already")
    assert path.read_text() == "mine"
    step = b.status.step
    b.until(lambda: b.status.step > step)
    b.do(StartRecording(path, 10, force=True))
    b.until(lambda: b.status.recording is not None and b.status.recording.frames_written > 3)
    b.do(StartRecording(tmp_path / "second.h5md", 10))
    b.hear(Notice, "stop that first")
    b.do(StopRecording())
    b.hear(Notice, "Recorded")
    assert len(positions(path)) > 3


def test_a_recording_every_zero_steps_is_refused(bench: Make, tmp_path: Path) -> None:
    b = bench(paused=True)
    b.do(StartRecording(tmp_path / "run.h5md", 0))
    b.hear(Notice, "0 was given")
    assert not (tmp_path / "run.h5md").exists()


def test_closing_while_recording_leaves_a_whole_file(bench: Make, tmp_path: Path) -> None:
    b = bench()
    b.do(StartRecording(tmp_path / "run.h5md", 3))
    b.until(lambda: b.status.recording is not None and b.status.recording.frames_written > 20)
    assert b.runner.close(LONG)
    b.hear(Notice, "Recorded")
    steps = positions(tmp_path / "run.h5md")
    assert len(steps) > 20
    assert set(np.diff(steps)) == {3}
    assert b.engine.step - steps[-1] < 3
    assert b.status.run_state is RunState.CLOSED


@pytest.mark.parametrize("command", [Reset(), Restart(Setup(molecules=8)), LoadModel("other")])
def test_a_recording_ends_where_its_run_ends(bench: Make, tmp_path: Path, command: object) -> None:
    b = bench(paused=True)
    b.do(StartRecording(tmp_path / "run.h5md", 10), Step(50))
    b.until(lambda: b.status.step == 50)
    b.do(command)
    b.hear(Notice, "ends here, because")
    b.hear(Notice, "Recorded 6 frames")
    assert positions(tmp_path / "run.h5md") == [0, 10, 20, 30, 40, 50]


def test_a_recording_ends_when_the_run_goes_back_beyond_it(bench: Make, tmp_path: Path) -> None:
    def doomed(engine: Counter) -> None:
        engine.fail_at, engine.back_to = 95, 50

    b = bench(doomed, paused=True)
    b.do(StartRecording(tmp_path / "run.h5md", 10), Run())
    b.hear(Notice, "went back to step 50")
    b.hear(Notice, "Recorded")
    assert positions(tmp_path / "run.h5md")[:7] == [0, 10, 20, 30, 40, 50, 60]


class SlowDisk:
    """A sink that takes a frame per permit."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.permits = threading.Semaphore(0)
        self.busy = threading.Event()
        self.steps: list[int] = []
        self.closed = False
        self.fail_at = fail_at

    def write(self, frame: Frame) -> None:
        self.busy.set()
        assert self.permits.acquire(timeout=LONG)
        if self.fail_at is not None and frame.step >= self.fail_at:
            raise WorkFailed("The disk is full; the 3 frames written so far are valid.")
        self.steps.append(frame.step)

    def flush(self) -> None:
        pass

    def wait_until_full(self, b: Bench) -> None:
        """One frame in the disk's hands, the queue full, one that finds no place."""

        def full() -> bool:
            recording = b.runner._recording
            return (
                self.busy.is_set()
                and recording is not None
                and recording.recorder._queue.full()
                and recording.pending is not None
            )

        b.until(full)

    def close(self) -> None:
        self.closed = True


def test_the_physics_waits_for_a_slow_disk_and_still_obeys(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk()
    monkeypatch.setattr("mldsim.runner.open_sink", lambda *args: disk)
    b = bench()
    b.do(StartRecording(tmp_path / "run.h5md", 10))
    disk.wait_until_full(b)
    b.until(lambda: b.status.waiting_for_disk)
    step = b.engine.step
    b.do(SetParameters(PARAMETERS.with_changes(temperature=310.0)))
    assert b.engine.step == step, "the physics went on"
    b.pause()
    b.do(Run(), StopRecording())
    assert b.status.waiting_for_disk
    disk.permits.release(1000)
    b.hear(Notice, "Recorded")
    b.until(lambda: b.status.step > step and not b.status.waiting_for_disk)
    assert disk.closed
    assert set(np.diff(disk.steps)) == {10}
    assert disk.steps[-1] == step  # also the frame that waited


def test_closing_writes_what_waits_for_a_slow_disk(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk()
    monkeypatch.setattr("mldsim.runner.open_sink", lambda *args: disk)
    b = bench()
    b.do(StartRecording(tmp_path / "run.h5md", 10))
    disk.wait_until_full(b)
    assert not b.runner.close(timeout=0.01)
    disk.permits.release(1000)
    assert b.runner.close(LONG)
    assert disk.closed
    assert set(np.diff(disk.steps)) == {10}
    assert disk.steps[-1] == b.engine.step


def test_a_full_disk_ends_the_recording_and_not_the_run(
    bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(fail_at=30)
    disk.permits.release(1000)
    monkeypatch.setattr("mldsim.runner.open_sink", lambda *args: disk)
    b = bench()
    b.do(StartRecording(tmp_path / "run.h5md", 10))
    b.hear(Notice, "The recording stopped: The disk is full; the 3 frames")
    b.until(lambda: b.status.recording is None)
    step = b.status.step
    b.until(lambda: b.status.step > step)
    assert disk.closed


# --- export ---------------------------------------------------------------------------------------------------------


def test_what_is_in_memory_is_exported(bench: Make, tmp_path: Path) -> None:
    b = bench(paused=True)
    b.do(Step(95))
    b.until(lambda: b.status.step == 95)
    b.do(ExportHistory(tmp_path / "past.h5md"))
    b.hear(Notice, "Exported 10 frames")
    assert positions(tmp_path / "past.h5md") == list(range(0, 100, 10))
    b.do(ExportHistory(tmp_path / "past.XYZ"))
    b.hear(Notice, "past.XYZ")
    assert (tmp_path / "past.XYZ").read_text().count("Lattice=") == 10
    b.do(ExportHistory(tmp_path / "past.h5md"))
    b.hear(Notice, "exists already")
    b.do(ExportHistory(tmp_path / "past.h5md", force=True))
    b.until(lambda: b.runner._export is not None and not b.runner._export.is_alive())


def test_an_export_says_which_model_made_which_frames(bench: Make, tmp_path: Path) -> None:
    b = bench(paused=True)
    b.do(Step(30))
    b.until(lambda: b.status.step == 30)
    b.do(LoadModel("other"), Step(20))
    b.until(lambda: b.status.step == 50)
    b.do(ExportHistory(tmp_path / "past.h5md"))
    b.hear(Notice, "past.h5md")
    assert b.heard[-1].text.endswith("made by several models: from step 0 on by water; from step 40 on by other.")
    with read_h5md(tmp_path / "past.h5md") as trajectory:
        assert trajectory.metadata["models"] == [
            {"from_step": 0, "model": "water"},
            {"from_step": 40, "model": "other"},
        ]
    b.do(Reset(), Step(20))
    b.until(lambda: b.status.step == 20)
    b.do(ExportHistory(tmp_path / "new.h5md"))
    b.hear(Notice, "new.h5md")
    assert "several" not in b.heard[-1].text


def test_closing_finishes_an_export(bench: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = SlowDisk()
    monkeypatch.setattr("mldsim.runner.open_sink", lambda *args: disk)
    b = bench(paused=True)
    b.do(Step(50))
    b.until(lambda: b.status.step == 50)
    b.do(ExportHistory(tmp_path / "past.h5md"), ExportHistory(tmp_path / "again.h5md"))
    b.hear(Notice, "still being written")
    assert not b.runner.close(timeout=0.01)
    disk.permits.release(100)
    assert b.runner.close(LONG)
    assert disk.steps == [0, 10, 20, 30, 40, 50]
    assert disk.closed


# --- samples --------------------------------------------------------------------------------------------------------


def taken(b: Bench, n: int) -> list[Sample]:
    found: list[Sample] = []

    def enough() -> bool:
        while (sample := b.runner.samples.take(0.0)) is not None:
            found.append(sample)
        return len(found) >= n

    b.until(enough)
    return found


def test_samples_are_even_whatever_is_shown_and_pauses_do_not_matter(bench: Make) -> None:
    b = bench(prepare=lambda engine: setattr(engine, "seconds_per_step", 2e-5))
    b.runner.samples.wanted = True
    b.do(SetParameters(replace(PARAMETERS, steps_per_frame=7)))
    first = taken(b, 20)
    b.pause()
    b.do(SetParameters(replace(PARAMETERS, steps_per_frame=100)), Run())
    both = first + taken(b, 20)
    series = both[-1].series
    steps = [sample.frame.step for sample in both if sample.series is series]
    assert len(steps) >= 20
    assert set(np.diff(steps)) == {8}
    assert series.interval == 4.0
    followers = [sample.follows for sample in both if sample.series is series]
    assert followers == [False] + [True] * (len(followers) - 1)


def test_nothing_is_sampled_unless_somebody_wants_it(bench: Make) -> None:
    b = bench()
    b.until(lambda: b.status.step > 200)
    assert b.runner.samples.take(0.0) is None


@pytest.mark.parametrize(
    "command", [Reset(), LoadModel("other"), SetParameters(replace(PARAMETERS, temperature=400.0))]
)
def test_what_may_not_be_averaged_together_is_another_series(bench: Make, command: Command) -> None:
    b = bench(prepare=lambda engine: setattr(engine, "seconds_per_step", 2e-5))
    b.runner.samples.wanted = True
    before = taken(b, 5)[-1].series
    b.do(command)
    after = taken(b, 50)[-1]
    assert after.series is not before


# --- doubt ----------------------------------------------------------------------------------------------------------


class Doubtful(Counter):
    """Doubts its last agent the more the longer it runs, and knows it after three evaluations."""

    n_parts = 3
    committee = True

    def judge(self) -> "Doubtful":
        if not self.committee:
            raise InputError("The model 'x' was fitted without a committee.")
        return self

    def gradually(self, positions: NDArray[np.float64]) -> Generator[None, None, Judgement]:
        assert threading.current_thread().name == "mldsim-runner"
        for _ in range(3):
            yield
        doubts = np.full(len(positions), 0.01)
        doubts[-1] = 1e-3 * positions[-1, 0]
        return Judgement(doubts, np.zeros(len(positions)))


@pytest.fixture
def doubtful() -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(*, committee: bool = True, paused: bool = False) -> Bench:
        b = Bench(paused=paused)

        def factory(setup: Setup, parameters: Parameters, report: Callable[[str], None]) -> Counter:
            engine = Doubtful(setup, parameters, report)
            engine.committee, engine.seconds_per_step = committee, 1e-5
            b.engines.append(engine)
            return engine

        b.runner = Runner(factory, Setup(molecules=8), PARAMETERS, paused=paused)
        made.append(b)
        b.runner.start()
        return b

    yield make
    for each in made:
        assert each.runner.close(LONG)


def test_doubt_is_told_at_even_intervals_and_travels_with_the_frames(doubtful: Callable[..., Bench]) -> None:
    b = doubtful()
    b.runner.send(WatchDoubt(DoubtSettings(interval=100.0, limit=1e9)))
    b.until(lambda: len(b.runner.doubts.columns()["time"]) > 10)
    b.pause()
    table = b.runner.doubts.columns()
    assert np.diff(table["time"])[:-1] == pytest.approx(100.0, abs=10.0)  # to the next frame
    assert table["largest"] == pytest.approx(np.maximum(2e-3 * table["time"], 0.01))
    b.until(lambda: b.runner.doubts.columns()["time"][-1] == 0.5 * b.engine.step)  # where it stands, too
    frames = [b.runner.mailbox.take()]
    b.until(lambda: (frames.append(b.runner.mailbox.take()) or frames[-1]) is None)  # type: ignore[func-returns-value]
    last = [frame for frame in frames if frame is not None][-1]
    assert last.doubts is not None
    assert last.doubts[-1] == pytest.approx(1e-3 * b.engine.step)
    b.do(Reset())
    assert len(b.runner.doubts.columns()["time"]) <= 1


def test_a_warning_names_the_agent_and_the_reason_once_and_the_frames_are_kept(
    doubtful: Callable[..., Bench], tmp_path: Path
) -> None:
    b = doubtful()
    b.runner.send(WatchDoubt(DoubtSettings(interval=50.0, limit=0.5)))
    b.hear(Notice, "O 7")
    b.until(lambda: b.status.doubtful_frames > 5)
    warnings = [event for event in b.heard if isinstance(event, Notice) and event.level is Level.WARNING]
    assert len(warnings) == 1
    assert "eV/Å" in warnings[0].text
    assert "unlike those of the fitted frames" in warnings[0].text
    assert b.status.run_state is RunState.RUNNING
    b.runner.send(SaveDoubtful(tmp_path / "doubtful.h5md"))
    b.hear(Notice, "doubtful.h5md")
    steps = positions(tmp_path / "doubtful.h5md")
    assert len(steps) > 5
    assert min(steps) > 500 - 100
    assert steps == sorted(steps)


def test_the_run_pauses_on_doubt_when_it_is_told_to(doubtful: Callable[..., Bench]) -> None:
    b = doubtful()
    b.runner.send(WatchDoubt(DoubtSettings(interval=50.0, limit=0.5, pause=True)))
    b.hear(Stopped, "in doubt")
    b.until(lambda: b.status.run_state is RunState.PAUSED)
    step = b.engine.step
    assert step < 1000
    b.do(Run())
    b.hear(Stopped, "in doubt")
    b.until(lambda: b.engine.step > step)


def test_a_model_without_a_committee_says_why_it_cannot_be_doubted(doubtful: Callable[..., Bench]) -> None:
    b = doubtful(committee=False)
    b.runner.send(WatchDoubt(DoubtSettings()))
    b.until(lambda: "without a committee" in b.status.doubt_refused)
    assert b.status.run_state is RunState.RUNNING
    b.do(WatchDoubt(None))
    b.until(lambda: b.status.doubt_refused == "")
    assert not len(b.runner.doubts.columns()["time"])


def test_a_table_of_doubt_keeps_the_largest_in_bounded_memory() -> None:
    table = DoubtTable(capacity=64)
    for i in range(10_000):
        table.append(float(i), 0.1, 5.0 if i == 137 else 0.2)
    columns = table.columns()
    assert len(columns["time"]) <= 64
    assert columns["largest"].max() == 5.0
    assert columns["time"][-1] == 9999.0
    assert columns["mean"] == pytest.approx(0.1)
