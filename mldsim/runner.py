"""The worker thread that owns a running simulation.

Views send commands and pull what they want to show: the newest frame from the mailbox, thermo rows from the table,
events, and a status. There are no callbacks, so nobody's code but the engine's runs in the worker, and the engine is
never touched by any other thread.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time as clock
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mldsim.delivery import Delivery
from mldsim.edits import FITTED
from mldsim.errors import Cancelled, DeviceLost, InputError, MldsimError
from mldsim.frames import Frame, Mailbox, Samples, SampleSeries, ThermoTable
from mldsim.messages import (
    AddMolecule,
    Applied,
    Command,
    Compare,
    Engine,
    EngineFactory,
    ExportHistory,
    Extend,
    GoTo,
    Heat,
    Kick,
    Level,
    Loaded,
    LoadModel,
    LookBack,
    LookedBack,
    NewVelocities,
    Notice,
    Opened,
    OpenSession,
    Pause,
    PullMolecule,
    Quench,
    RecordingStatus,
    Release,
    RemoveMolecule,
    Reset,
    Restart,
    Run,
    RunFor,
    RunState,
    SaveDoubtful,
    SaveSession,
    SetPace,
    SetParameters,
    StartRecording,
    Status,
    Step,
    Stopped,
    StopRecording,
    Stretch,
    TakeBack,
    WatchDoubt,
)
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.session import Resume, Session, load_session, resume, save_session
from mldsim.trajectory.history import HISTORY_BYTES, History, frame_bytes
from mldsim.trajectory.recorder import FrameSink, Recorder, open_sink
from mldsim.units import format_time
from mldsim.watch import DoubtTable, DoubtWatch, Judged
from mldsim.worker import Worker

logger = logging.getLogger(__name__)

WORKER = "mldsim-runner"
"""Name of the thread."""
_ANSWER_WITHIN = 0.03
"""Seconds: the longest the engine is let go before the next look at the commands (one step may take longer)."""
_FRAME_INTERVAL = 0.01
"""Seconds between two frames that nobody but a view asks for."""
_STATUS_INTERVAL = 0.02
_SLOW_FRAME_INTERVAL = 1 / 60
"""Seconds between two frames of a run that goes slower than it could: every step may be worth a picture."""
_BEHIND = 0.25
"""Seconds that a run may be behind its pace and still catch up."""
_RATE_WINDOW = 3.0
_SAMPLE_INTERVAL = 4.0
"""fs, at most, between two samples: the slowest that still resolves a swinging hydrogen."""
_QUEUE_BYTES = 64_000_000
_GRACE = 0.5
"""Seconds that a worker is waited for which has nothing to write: it may be compiling, which cannot be interrupted."""
_WRITING = (StartRecording, ExportHistory, SaveDoubtful, SaveSession)
"""Commands whose files are promised from the moment at which they are sent."""
_NS_PER_DAY = 86_400e-6
"""One fs of simulated time per second, in ns per day."""


@dataclass(slots=True)
class _Recording:
    """A recording under way. `due` is the next step to be written; `pending` waits for a place in the queue."""

    recorder: Recorder[Frame]
    path: Path
    every: int
    due: int
    pending: Frame | None
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class _Due:
    """To whom a frame is due, besides the thermo table: the samples of a series, the record, history, the view."""

    series: SampleSeries | None
    record: bool
    remember: bool
    show: bool


class _Rate:
    """Steps per second over the last seconds."""

    def __init__(self) -> None:
        self._steps = 0
        self._samples: deque[tuple[float, int]] = deque()

    def start(self) -> None:
        self._steps = 0
        self._samples.clear()

    def count(self, steps: int, began: float, now: float) -> None:
        if not self._samples:
            self._samples.append((began, 0))
        self._steps += steps
        if now - self._samples[-1][0] >= _RATE_WINDOW / 60:
            self._samples.append((now, self._steps))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_WINDOW:
            self._samples.popleft()

    def per_second(self, now: float) -> float:
        if not self._samples:
            return 0.0
        since, steps = self._samples[0]
        return (self._steps - steps) / max(now - since, 1e-9)


class Runner(Worker[Command]):
    """Runs an engine in a thread of its own.

    Parameters
    ----------
    factory : callable
        Builds the engine, in the worker, at the start and at each `Restart`.
    setup, parameters
        What is built first.
    paused : bool
        Wait for `Run` or `Step`.
    resume : callable, optional
        Makes the engine of a session, in the worker; that of `mldsim.session` unless given.
    memory : int
        Bytes of frames that are kept.

    Attributes
    ----------
    mailbox : Mailbox
        The newest frame.
    thermo : ThermoTable
        One row per frame since the last reset.
    samples : Samples
        Frames at even intervals of simulated time, for averages.
    doubts : DoubtTable
        One row per judgement, while doubt is watched.
    """

    def __init__(
        self,
        factory: EngineFactory,
        setup: Setup,
        parameters: Parameters,
        *,
        paused: bool = False,
        resume: Resume = resume,
        memory: int = HISTORY_BYTES,
    ) -> None:
        super().__init__(WORKER, Status(RunState.STARTING, "Starting"))
        self.mailbox = Mailbox()
        self.thermo = ThermoTable()
        self.samples = Samples()
        self._watch = DoubtWatch()
        self.doubts: DoubtTable = self._watch.table
        self._factory = factory
        self._resume_engine = resume
        self._first_setup = setup
        self._parameters = parameters
        self._device_reason = ""
        self._counting = threading.Lock()
        self._promised = 0

        # What follows belongs to the worker.
        self._engine: Engine | None = None
        self._state = RunState.STARTING
        self._resume = RunState.PAUSED if paused else RunState.RUNNING
        self._message = "Starting"
        self._step = 0
        self._time = 0.0
        self._steps_left: int | None = None
        self._stretch: Stretch | None = None
        self._since_frame = 0
        self._seconds_per_step: float | None = None
        self._pace: float | None = None
        self._paced_from: tuple[float, float] | None = None
        self._last_frame_at = 0.0
        self._last_status_at = 0.0
        self._shown_step: int | None = None
        self._late: tuple[Delivery[Frame], _Due] | None = None  # on its way, while the engine goes on
        self._series: SampleSeries | None = None
        self._sample_due = 0
        self._rate = _Rate()
        self._history = History(max_bytes=memory)
        self._recording: _Recording | None = None
        self._waiting = False
        self._export: threading.Thread | None = None
        self._exports = 0

    # --- for any thread ---------------------------------------------------------------------------------------------

    def close(self, timeout: float | None = None) -> bool:
        """End the worker; a recording is written to its end and closed, an export finished, what was to be saved saved.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most, and less where nothing is to be written; without it, as long as it takes.

        Returns
        -------
        bool
            True when all is done, False when the worker is still at it.
        """
        if timeout is not None and not self.writing:
            timeout = min(timeout, _GRACE)
        return super().close(timeout)

    @property
    def writing(self) -> bool:
        """Whether a file that was asked for is not at its end yet."""
        export = self._export
        return self._promised > 0 or self._recording is not None or (export is not None and export.is_alive())

    def send(self, command: Command) -> None:
        """See `Worker.send`; what it will write is promised from now on."""
        if isinstance(command, _WRITING):
            with self._counting:
                self._promised += 1
        super().send(command)

    # --- the worker's loop ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._build_anew(self._first_setup)
            while not self._closing.is_set():
                if self._late is not None and self._late[0].arrived():
                    self._hand_out_late()
                self._obey_waiting()
                self._tend_recording()
                if self._closing.is_set():
                    break
                if self._recording is not None and self._recording.pending is not None:
                    self._wait_for_disk(self._recording)
                elif self._state is RunState.RUNNING:
                    if not self._waited_for_pace():
                        self._advance()
                elif self._state is RunState.QUENCHING:
                    self._quench()
                else:
                    self._idle()
                self._publish_status()
        except Exception as error:  # noqa: BLE001 - the last line of defence: the window lives on and says so
            self._tell_unexpected("The simulation ended", error)
        finally:
            self._wind_up()

    def _obey_waiting(self) -> None:
        with contextlib.suppress(queue.Empty):
            while not self._closing.is_set():
                self._obey(self._commands.get_nowait())

    def _idle(self) -> None:
        """Wait for a command; while a recording is open, look after it ten times per second."""
        if self._engine is not None:
            self._watch.attend(self._engine, self._step, self._time, standing=True)
            if self._watch.judging:
                self._judge(self._engine, 1)
                return
        self._publish_status(now=True)
        with contextlib.suppress(queue.Empty):
            self._obey(self._commands.get(timeout=None if self._recording is None else 0.1))

    def _advance(self) -> None:
        engine = self._running_engine()
        steps = self._chunk(engine)
        to_end = self._steps_to_end(engine)
        began = clock.monotonic()
        try:
            engine.advance(steps)
        except Exception as error:  # noqa: BLE001 - whatever it is, the last good state is kept and the window lives
            self._halt("The run", error)
            return
        now = clock.monotonic()
        self._tell_device(engine)
        self._learn_speed((now - began) / steps)
        self._rate.count(steps, began, now)
        self._step += steps
        self._time += steps * engine.parameters.timestep
        self._since_frame += steps
        if self._steps_left is not None:
            self._steps_left -= steps
            if self._steps_left == 0:
                self._set_state(RunState.PAUSED)
        if self._stretch is not None and to_end and self._steps_to_end(engine) == 0:
            self._end_stretch(self._stretch)
        try:
            self._distribute(engine, now)
        except Exception as error:  # noqa: BLE001 - as above
            self._halt("The run", error)
            return
        self._watch.attend(engine, self._step, self._time, standing=False)
        if self._watch.judging:
            self._judge(engine, self._watch.parts_due(steps, engine.parameters.timestep))

    def _steps_to_end(self, engine: Engine) -> int | None:
        """Steps that are left of a run with an end; None without one."""
        if self._stretch is None:
            return None
        return max(0, math.ceil((self._stretch.end - self._time) / engine.parameters.timestep - 1e-6))

    def _end_stretch(self, stretch: Stretch) -> None:
        text = f"The run has come to its end after {format_time(stretch.end - stretch.begin)}."
        self._set_state(RunState.PAUSED)
        self._tell(Level.INFO, text)
        self._events.append(Stopped(text))

    def _waited_for_pace(self) -> bool:
        """Wait, but never long, where the next step is not due yet; whether it was not."""
        engine, now = self._running_engine(), clock.monotonic()
        if self._pace is None or self._steps_left is not None:
            return False
        if self._paced_from is None:
            self._paced_from = (now, self._time)
        since, start = self._paced_from
        early = (self._time + engine.parameters.timestep - start) / self._pace - (now - since)
        if early <= 0.0:
            if early < -_BEHIND:
                self._paced_from = (now, self._time)
            return False
        with contextlib.suppress(queue.Empty):
            self._obey(self._commands.get(timeout=min(early, _ANSWER_WITHIN)))
        return True

    def _judge(self, engine: Engine, parts: int) -> None:
        """Go on with a judgement; when it is done, tell and show it."""
        try:
            judged = self._watch.go_on(parts, engine.topology)
        except Exception as error:  # noqa: BLE001 - as in _advance, but the run itself is not touched
            self._watch.set(None)
            self._tell_unexpected("Doubt is not watched any more", error)
            return
        if judged is not None:
            self._take_judged(judged)

    def _take_judged(self, judged: Judged) -> None:
        settings = self._watch.settings
        if judged.warning:
            paused = settings is not None and settings.pause and self._state is RunState.RUNNING
            text = f"{judged.warning} The run is paused." if paused else judged.warning
            self._tell(Level.WARNING, text)
            if paused:
                self._set_state(RunState.PAUSED, text)
                self._events.append(Stopped(text))
        if self._state is not RunState.RUNNING:
            self._show_present()

    def _chunk(self, engine: Engine) -> int:
        """Steps until something is due: a frame, a record, the end of single steps, a look at the commands."""
        steps = max(1, engine.parameters.steps_per_frame - self._since_frame)
        if self._steps_left is not None:
            steps = min(steps, self._steps_left)
        to_end = self._steps_to_end(engine)
        if to_end:
            steps = min(steps, to_end)
        recording = self._recording
        if recording is not None and not recording.stopping:
            while recording.due <= self._step:
                recording.due += recording.every
            steps = min(steps, recording.due - self._step)
        if self._pace is not None and self._paced_from is not None and self._steps_left is None:
            since, start = self._paced_from
            due = self._pace * (clock.monotonic() - since) - (self._time - start)
            steps = min(steps, max(1, int(due / engine.parameters.timestep)))
        if self.samples.wanted:
            if self._series is None or self._sample_due <= self._step:
                self._begin_samples(engine)
            steps = min(steps, self._sample_due - self._step)
        return min(steps, self._affordable())

    def _begin_samples(self, engine: Engine) -> None:
        """The next samples follow from here."""
        self.samples.break_off()
        self._sample_due = self._step + self._sample_steps(engine)
        if self._series is None:
            parameters = engine.parameters
            self._series = SampleSeries(
                engine.topology,
                self._sample_steps(engine) * parameters.timestep,
                parameters.temperature if parameters.schedule is None else math.nan,
                parameters.thermostat is not ThermostatKind.NONE,
            )

    @staticmethod
    def _sample_steps(engine: Engine) -> int:
        return max(1, int(_SAMPLE_INTERVAL / engine.parameters.timestep + 1e-6))

    def _affordable(self) -> int:
        seconds = self._seconds_per_step
        return 1 if seconds is None else max(1, int(_ANSWER_WITHIN / max(seconds, 1e-9)))

    def _learn_speed(self, seconds_per_step: float) -> None:
        # The mean follows slowly, so that one step that was held up does not chop the next hundred; the first
        # measurement may hold a compilation and is forgotten within a few looks.
        old = self._seconds_per_step
        self._seconds_per_step = seconds_per_step if old is None else 0.7 * old + 0.3 * seconds_per_step

    def _distribute(self, engine: Engine, now: float) -> None:
        """Give the present state to whom it is due: record, history, thermo table, view."""
        self._hand_out_late()
        recording = self._recording
        record = recording is not None and not recording.stopping and self._step == recording.due
        remember = False
        if self._since_frame >= engine.parameters.steps_per_frame:
            self._since_frame = 0
            remember = self._history.tick()
            show = now - self._last_frame_at >= _FRAME_INTERVAL
        else:
            show = False
        if self._pace is not None and now - self._last_frame_at >= _SLOW_FRAME_INTERVAL:
            show = True
        show = show or self._state is RunState.PAUSED
        sample = self.samples.wanted and self._series is not None and self._step == self._sample_due
        if not (record or remember or show or sample):
            return
        if sample:
            self._sample_due += self._sample_steps(engine)
        if show:
            self._last_frame_at = now
        due = _Due(self._series if sample else None, record, remember, show)
        frame = engine.send_frame()
        if self._state is RunState.RUNNING and not record and not frame.arrived():
            self._late = frame, due
        else:
            self._hand_out(self._told(frame.wait()), due)

    def _hand_out(self, frame: Frame, due: _Due) -> None:
        recording = self._recording
        alone = replace(frame, beside=None)  # one that runs beside is for looking
        if due.series is not None:
            self.samples.put(due.series, alone)
        if due.record and recording is not None:
            recording.due += recording.every
            self._record(recording, alone)
        if due.remember:
            self._history.append(alone)
        if due.remember or due.show:
            self.thermo.append(frame.thermo)
        if due.show:
            self._post(frame)

    def _hand_out_late(self) -> None:
        """Give a frame that was on its way to whom it was due, before anything happens that came after it."""
        if self._late is None:
            return
        (frame, due), self._late = self._late, None
        try:
            self._hand_out(self._with_doubts(frame.wait()), due)
        except DeviceLost:  # the engine says so itself; nobody was promised this moment but an even series
            if due.series is not None:
                self._series = None

    def _snapshot(self, engine: Engine) -> Frame:
        return self._told(engine.frame())

    def _told(self, frame: Frame) -> Frame:
        """A frame of the present moment, as it is given out."""
        self._step, self._time = frame.step, frame.time
        return self._with_doubts(frame)

    def _with_doubts(self, frame: Frame) -> Frame:
        return frame if self._watch.doubts is None else replace(frame, doubts=self._watch.doubts)

    def _show(self, frame: Frame) -> None:
        self._post(frame)
        self._last_frame_at = clock.monotonic()

    def _post(self, frame: Frame) -> None:
        self.mailbox.put(frame)
        self._shown_step = frame.step

    def _quench(self) -> None:
        engine = self._running_engine()
        steps = self._affordable()
        began = clock.monotonic()
        try:
            converged = engine.quench(steps)
        except Exception as error:  # noqa: BLE001 - as in _advance
            self._halt("The quench", error)
            return
        now = clock.monotonic()
        self._learn_speed((now - began) / steps)
        if converged:
            self._set_state(RunState.PAUSED, "The loss is at a minimum.")
            self._tell(Level.INFO, "The quench has reached a minimum of the loss; the run is paused there.")
        if converged or now - self._last_frame_at >= _FRAME_INTERVAL:
            self._show(self._snapshot(engine))

    def _halt(self, what: str, error: Exception) -> None:
        """Pause because the engine could not go on; the view gets the last good state."""
        if isinstance(error, MldsimError):
            reason = str(error)
            self._tell(Level.ERROR, reason)
        else:
            reason = self._tell_unexpected(f"{what} stopped", error)
        self._set_state(RunState.PAUSED, reason)
        self._events.append(Stopped(reason))
        before = self._step
        self._show_present()
        if self._step < before:
            self._forget_future()

    def _show_present(self) -> None:
        """Put the state as it is before the view, whatever the rhythm says."""
        if self._engine is None:
            return
        try:
            self._show(self._snapshot(self._engine))
        except Exception as error:  # noqa: BLE001 - an engine that failed may fail here as well
            self._tell_unexpected("The state cannot be shown", error)

    def _forget_future(self) -> None:
        """The engine went back to an earlier state: what was kept of the time after it is not this run's any more."""
        self.thermo.forget_after(self._time)
        self._history.forget_after(self._step)
        self._history.model(self._step, self._running_engine().model_name)
        self._watch.forget_after(self._time)
        self._since_frame = 0
        self._sample_due = 0
        recording = self._recording
        if recording is not None and self._step < recording.due - recording.every:
            self._stop_recording(f"the run went back to step {self._step}")

    def _set_state(self, state: RunState, message: str = "") -> None:
        if state is not RunState.RUNNING:
            self._hand_out_late()
            self._rate.start()
            self._steps_left = None
        self._paced_from = None
        self._state = state
        self._message = message
        self._last_status_at = 0.0

    def _publish_status(self, *, now: bool = False) -> None:
        moment = clock.monotonic()
        if not now and moment - self._last_status_at < _STATUS_INTERVAL:
            return
        self._last_status_at = moment
        engine, recording = self._engine, self._recording
        rate = self._rate.per_second(moment)
        self._status = Status(
            run_state=self._state,
            message=self._message,
            device=engine.device if engine else "",
            device_reason=engine.device_reason if engine else "",
            model_name=engine.model_name if engine else "",
            n_agents=engine.topology.n_agents if engine else 0,
            step=self._step,
            time=self._time,
            steps_per_s=rate,
            ns_per_day=rate * self._parameters.timestep * _NS_PER_DAY,
            pace=self._pace,
            stretch=self._stretch,
            recording=None
            if recording is None
            else RecordingStatus(
                recording.path, recording.every, recording.recorder.written, recording.recorder.queued
            ),
            waiting_for_disk=self._waiting,
            memory_frames=len(self._history),
            doubtful_frames=len(self._watch.history),
            doubt_refused=self._watch.refused,
            exports=self._exports,
            loss_edit=engine.parameters.loss.words() if engine else "",
        )

    def _tell(self, level: Level, text: str) -> None:
        self._events.append(Notice(level, text))

    def _tell_unexpected(self, what: str, error: Exception) -> str:
        """Log the traceback, tell one sentence."""
        logger.error(what, exc_info=error)
        text = f"{what} because of an internal error ({type(error).__name__}: {error}); the log has the details."
        self._tell(Level.ERROR, text)
        return text

    # --- commands ---------------------------------------------------------------------------------------------------

    def _obey(self, command: Command | None) -> None:
        if command is None:  # close() wakes the worker
            return
        try:
            self._hand_out_late()
            self._do(command)
        except MldsimError as error:
            self._tell(Level.ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - the policy of _advance
            self._halt(f"{type(command).__name__} failed and the run", error)
        finally:
            if isinstance(command, _WRITING):
                with self._counting:
                    self._promised -= 1

    def _do(self, command: Command) -> None:
        match command:
            case Restart(setup):
                self._stop_recording("the simulation starts anew")
                self._build_anew(setup)
                return
            case OpenSession(path):
                self._open_session(path)
                return
            case SetPace(pace):
                if pace is not None and not 0.0 < pace < math.inf:
                    raise InputError(f"A speed is a positive number of fs per second; {pace} was given.")
                self._pace, self._paced_from = pace, None
                self._rate.start()
                self._last_status_at = 0.0
                return
            case SetParameters(parameters) if self._engine is None:
                self._parameters = parameters
                self._events.append(Applied(parameters))
                return
            case StopRecording():
                if self._recording is not None:
                    self._recording.stopping = True
                return
            case WatchDoubt(settings):
                self._watch.set(settings)
                self._last_status_at = 0.0
                return
        engine = self._running_engine()
        match command:
            case Run():
                if self._steps_to_end(engine) == 0:
                    self._stretch = None  # it is over; what goes on now has no end
                self._steps_left = None
                self._set_state(RunState.RUNNING)
            case RunFor(duration):
                if duration is None:
                    self._go_on_until(None)
                    return
                if not 0.0 < duration < math.inf:
                    raise InputError(f"A run takes a positive time; {duration:g} fs was given.")
                self._go_on_until(Stretch(self._time, self._time + duration, duration))
            case Extend():
                stretch = self._stretch
                if stretch is None:
                    raise InputError("There is no run with an end to extend; begin one with 'Run for'.")
                self._go_on_until(replace(stretch, end=max(stretch.end, self._time) + stretch.duration))
            case Pause():
                self._set_state(RunState.PAUSED)
                if self._shown_step != self._step:
                    self._show_present()
            case Step(n):
                if n < 1:
                    raise InputError(f"The number of steps must be at least 1; {n} was given.")
                self._set_state(RunState.RUNNING)
                self._steps_left = n
            case Reset():
                self._stop_recording("the simulation went back to its start")
                n_agents = engine.topology.n_agents
                engine.reset()
                if engine.topology.n_agents != n_agents:
                    self._tell_other_agents(engine)
                self._events.append(Applied(engine.parameters))
                self._begin(engine)
                self._message = ""
            case SetParameters(parameters):
                before = engine.parameters
                try:
                    self._parameters = engine.set_parameters(parameters)
                finally:
                    self._events.append(Applied(engine.parameters))
                    if replace(before, steps_per_frame=parameters.steps_per_frame) != engine.parameters:
                        self._series = None
                    if before.loss != engine.parameters.loss:
                        self._history.model(self._step, engine.model_name)
                        self._stop_recording("the loss was edited")
                        self._watch.forget(system=False)
                        self._show_present()
            case Quench():
                self._set_state(RunState.QUENCHING, "Descending the loss")
                self._watch.forget_after(self._time)
                self._series = None
            case NewVelocities():
                engine.new_velocities()
                self._sample_due = 0
                self._show_present()
            case PullMolecule(agent, target):
                engine.pull(agent, np.array(target))
                if self._state is RunState.PAUSED:
                    self._show_present()
            case Release():
                engine.release()
                if self._state is RunState.PAUSED:
                    self._show_present()
            case Heat(agents, factor):
                engine.heat(np.array(agents, np.int64), factor)
                self._show_present()
            case Kick(agent, velocity):
                engine.kick(agent, np.array(velocity))
                self._show_present()
            case Compare(model, edit):
                self._engine = engine.alone() if model is None else engine.with_beside(model, edit)
                self._seconds_per_step = None
                self._show_present()
            case RemoveMolecule(agent):
                self._touch(engine, lambda: engine.remove_molecule(agent))
            case AddMolecule(near):
                self._touch(engine, lambda: engine.add_molecule(None if near is None else np.array(near)))
            case TakeBack():
                self._touch(engine, engine.take_back)
            case LoadModel(name_or_path):
                self._load(engine, name_or_path)
            case LookBack():
                self._events.append(LookedBack(engine.topology, tuple(self._history.frames())))
            case GoTo(frame):
                self._set_state(RunState.PAUSED)
                engine.go_to(frame)
                self._series = None
                self._show_present()
                self._forget_future()
            case StartRecording(path, every, force):
                self._start_recording(engine, path, every, force)
            case SaveSession(path, window, force):
                self._save_session(engine, path, window, force)
            case ExportHistory(path, force):
                self._start_export(engine, path, force, self._history.frames(), self._history.models())
            case SaveDoubtful(path, force):
                self._start_export(engine, path, force, self._watch.frames(), [])

    def _touch(self, engine: Engine, change: Callable[[], None]) -> None:
        """Make a change after which there may be other agents, or an earlier time."""
        before, step = engine.topology, self._step
        change()
        self._series = None
        if not np.array_equal(before.species, engine.topology.species):
            self._tell_other_agents(engine)
        self._show_present()
        if self._step < step:
            self._forget_future()

    def _tell_other_agents(self, engine: Engine) -> None:
        self._stop_recording("there are other agents now")
        self._history.clear()
        self._watch.forget(system=True)
        self._seconds_per_step = None
        self.mailbox.take()
        self._tell_loaded(engine)

    def _go_on_until(self, stretch: Stretch | None) -> None:
        self._stretch = stretch
        self._steps_left = None
        self._set_state(RunState.RUNNING)

    def _running_engine(self) -> Engine:
        if self._engine is None:
            raise InputError("There is no simulation; choose a setup that can be built.")
        return self._engine

    def _build_anew(self, setup: Setup) -> None:
        parameters = self._parameters.begun_at(0.0)
        if self._engine is not None and setup.model != self._engine.setup.model:
            parameters = replace(parameters, loss=FITTED)
        self._build(lambda: self._factory(setup, parameters, self._report))

    def _open_session(self, path: Path) -> None:
        session = load_session(path)
        self._stop_recording("a session was opened")
        state = RunState.RUNNING if session.running else RunState.PAUSED
        if self._build(lambda: self._resume_engine(session.checkpoint, self._report), then=state):
            engine = self._running_engine()
            self.thermo.restore(session.past, before=self._time)
            self.thermo.append(engine.frame().thermo)
            self._events.append(Opened(path, session.window))

    def _save_session(self, engine: Engine, path: Path, window: str, force: bool) -> None:
        running = self._state is RunState.RUNNING
        save_session(Session(engine.checkpoint(), self.thermo.columns(), running, window), path, force=force)
        self._tell(Level.INFO, f"The session was saved as {path}.")

    def _build(self, make: Callable[[], Engine], then: RunState | None = None) -> bool:
        """Build an engine, and go on in a state; when that fails, an older one stays. Whether there is a new one."""
        resume = self._resume if self._engine is None else self._state
        if resume is RunState.QUENCHING:
            resume = RunState.RUNNING
        self._set_state(RunState.STARTING, "Starting")
        self._publish_status(now=True)
        try:
            engine = make()
        except Exception as error:  # noqa: BLE001 - the policy of _advance
            if self._closing.is_set():
                return False
            if isinstance(error, MldsimError):
                reason = str(error)
                self._tell(Level.ERROR, reason)
            else:
                reason = self._tell_unexpected("The simulation could not be built", error)
            self._set_state(RunState.FAILED if self._engine is None else resume, reason if self._engine is None else "")
            return False
        self._engine = engine
        self._parameters = engine.parameters
        self._seconds_per_step = None
        self._set_state(then or resume)
        self.mailbox.take()
        self._tell_loaded(engine)
        self._events.append(Applied(engine.parameters))
        self._begin(engine)
        return True

    def _report(self, text: str) -> None:
        """Take a progress text from the factory; ends its work when the runner is closing."""
        if self._closing.is_set():
            raise Cancelled("The start was cancelled.")
        self._message = text
        self._publish_status(now=True)

    def _begin(self, engine: Engine) -> None:
        """A run starts from its first frame."""
        self.thermo.clear()
        self._history.clear()
        self._watch.forget(system=True)
        self._series = None
        self._stretch = None
        self._since_frame = 0
        self._device_reason = engine.device_reason
        self._rate.start()
        frame = self._snapshot(engine)
        self._history.model(frame.step, engine.model_name)
        if self._history.tick():
            self._history.append(frame)
        self.thermo.append(frame.thermo)
        self._show(frame)

    def _tell_device(self, engine: Engine) -> None:
        """Why the run goes on on another device, if it does."""
        if engine.device_reason != self._device_reason:
            self._device_reason = engine.device_reason
            self._tell(Level.WARNING, engine.device_reason)

    def _tell_loaded(self, engine: Engine) -> None:
        self._device_reason = engine.device_reason
        self._events.append(Loaded(engine.topology, engine.setup, engine.model_name, engine.frame().box))

    def _load(self, engine: Engine, name_or_path: str | Path) -> None:
        message, self._message = self._message, f"Loading {name_or_path}"
        self._publish_status(now=True)
        try:
            engine.set_model(name_or_path)
        finally:
            self._message = message
        # One file, one model: what it says about itself stays true.
        self._stop_recording("another model was loaded")
        self._history.model(self._step, engine.model_name)
        self._watch.forget(system=False)
        self._series = None
        self._seconds_per_step = None
        self._parameters = engine.parameters
        self._events.append(Applied(engine.parameters))
        self._tell_loaded(engine)
        self._show_present()

    # --- files ------------------------------------------------------------------------------------------------------

    def _start_recording(self, engine: Engine, path: Path, every: int, force: bool) -> None:
        if self._recording is not None:
            still = "is still being written" if self._recording.stopping else "is being recorded; stop that first"
            raise InputError(f"{self._recording.path} {still}.")
        if every < 1:
            raise InputError(f"A frame can be recorded every 1, 2, 3 ... steps; {every} was given.")
        frame = self._snapshot(engine)
        sink = open_sink(path, engine, frame.box, force)
        recorder = Recorder(sink, capacity=max(2, min(256, _QUEUE_BYTES // frame_bytes(frame))))
        self._recording = _Recording(recorder, path, every, due=frame.step + every, pending=None)
        self._record(self._recording, frame)

    def _record(self, recording: _Recording, frame: Frame) -> None:
        recording.pending = frame
        self._hand_over(recording, timeout=0.0)

    def _wait_for_disk(self, recording: _Recording) -> None:
        if not self._waiting:
            self._waiting = True
            self._publish_status(now=True)
        self._hand_over(recording, timeout=_ANSWER_WITHIN)
        self._waiting = recording.pending is not None

    def _hand_over(self, recording: _Recording, timeout: float) -> None:
        try:
            if recording.pending is not None and recording.recorder.put(recording.pending, timeout):
                recording.pending = None
        except MldsimError:
            recording.pending = None  # _tend_recording tells why

    def _stop_recording(self, reason: str) -> None:
        if self._recording is not None and not self._recording.stopping:
            self._recording.stopping = True
            self._tell(Level.WARNING, f"The recording to {self._recording.path} ends here, because {reason}.")

    def _tend_recording(self) -> None:
        """Close a recording that was stopped, give up one that failed; never waits."""
        recording = self._recording
        if recording is None:
            return
        if recording.stopping and recording.pending is None:
            recording.recorder.finish()
        if recording.recorder.done:
            self._conclude(recording)

    def _conclude(self, recording: _Recording) -> None:
        error = recording.recorder.error
        if error is not None:
            self._tell(Level.ERROR, f"The recording stopped: {error}")
        else:
            self._tell(Level.INFO, f"Recorded {recording.recorder.written} frames to {recording.path}.")
        self._recording = None
        self._waiting = False
        self._last_status_at = 0.0

    def _start_export(
        self, engine: Engine, path: Path, force: bool, frames: list[Frame], models: list[tuple[int, str]]
    ) -> None:
        if self._export is not None and self._export.is_alive():
            raise InputError("The last export is still being written.")
        if not frames:
            raise InputError("There is no such frame in memory to write.")
        # The file is created here, where a wrong name is answered at once; writing it must not hold up the physics.
        sink = open_sink(path, engine, frames[0].box, force, models)
        told = f"Exported {len(frames)} frames to {path}."
        if len(models) > 1:
            parts = "; ".join(f"from step {step} on by {name}" for step, name in models)
            told += f" They were made by several models: {parts}."
        self._export = threading.Thread(
            target=self._write_export, args=(sink, frames, told), name="mldsim-export", daemon=True
        )
        self._export.start()

    def _write_export(self, sink: FrameSink, frames: list[Frame], told: str) -> None:
        try:
            try:
                for frame in frames:
                    sink.write(frame)
            finally:
                sink.close()
        except MldsimError as error:
            self._tell(Level.ERROR, str(error))
        except Exception as error:  # noqa: BLE001 - a thread's exception would be lost
            self._tell_unexpected("The export stopped", error)
        else:
            self._tell(Level.INFO, told)
        finally:
            self._exports += 1
            self._commands.put(None)  # wakes a worker that stands, so that its status tells

    def _wind_up(self) -> None:
        """Bring files to their end, and save what was to be saved before the end was asked for."""
        with contextlib.suppress(queue.Empty):
            while True:
                command = self._commands.get_nowait()
                if isinstance(command, _WRITING) and not isinstance(command, StartRecording):
                    if self._export is not None:
                        self._export.join()
                    self._obey(command)
        recording = self._recording
        if recording is not None:
            with contextlib.suppress(MldsimError):
                if recording.pending is not None:
                    recording.recorder.put(recording.pending)
            with contextlib.suppress(MldsimError):
                recording.recorder.close()
            self._conclude(recording)
        if self._export is not None:
            self._export.join()
        self._set_state(RunState.CLOSED)
        self._publish_status(now=True)
