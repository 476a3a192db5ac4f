"""Joins a running simulation to the views.

The controller pulls: a timer of the window calls `Controller.tick`, which takes the newest frame, the events and the
status, and hands them to the views. What the user asks for goes to the runner as commands. There is no Qt here: the
views are Protocols, and the whole class is tested with mocks and without a display.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError, MldsimError
from mldsim.frames import Frame, Mailbox, Pull, Samples, ThermoTable, Topology
from mldsim.gui.turns import Later, at_once
from mldsim.gui.viewmodel import Curves, StatusLine, curves, next_pace, playback_paces, status_line
from mldsim.loss import load_model
from mldsim.messages import (
    AddMolecule,
    Applied,
    Command,
    Event,
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
    Playback,
    PlaybackCommand,
    PullMolecule,
    Quench,
    Release,
    RemoveMolecule,
    Reset,
    Restart,
    Run,
    RunFor,
    RunState,
    SaveSession,
    Seek,
    SetLoop,
    SetPace,
    SetParameters,
    StartRecording,
    Status,
    Step,
    StopRecording,
    TakeBack,
)
from mldsim.parameters import Parameters, Setup
from mldsim.playback import PICTURES_PER_SECOND, Player
from mldsim.progress import Report
from mldsim.schedules import Schedule
from mldsim.trajectory.sources import Footage, Remembered, open_trajectory
from mldsim.watch import DoubtTable

PLOT_INTERVAL = 1 / 6
"""Seconds between two drawings of the plots."""

STATUS_INTERVAL = 1 / 4
"""Seconds between two updates of the status bar: faster, and its numbers cannot be read."""

FRAMES_AT_ONCE = 10
"""Of a trajectory, where a simulation takes the steps of one picture."""

CLOSING_TIME = 2.0
"""Seconds to wait for a player: the frame that it reads is small."""

THE_PAST = "The past of this run"

ANSWER_TIME = 1.0
"""Seconds after which the panel believes what is applied rather than what was asked."""


class Source(Protocol):
    """What can be watched: a running simulation, or a trajectory that is played."""

    @property
    def mailbox(self) -> Mailbox: ...
    @property
    def thermo(self) -> ThermoTable: ...
    def start(self) -> None: ...
    def send(self, command: Run | Pause | Step | SetPace, /) -> None: ...
    def events(self) -> list[Event]: ...
    def status(self) -> Status: ...
    def close(self, timeout: float, /) -> bool: ...


class RunnerLike(Protocol):
    """What the controller needs of `mldsim.runner.Runner`."""

    @property
    def mailbox(self) -> Mailbox: ...
    @property
    def thermo(self) -> ThermoTable: ...
    @property
    def samples(self) -> Samples: ...
    @property
    def doubts(self) -> DoubtTable: ...
    def start(self) -> None: ...
    def send(self, command: Command, /) -> None: ...
    def events(self) -> list[Event]: ...
    def status(self) -> Status: ...
    def close(self, timeout: float, /) -> bool: ...


class StageView(Protocol):
    """The 3-D view."""

    def set_topology(self, topology: Topology, box: NDArray[np.float64]) -> None: ...
    def set_frame(self, frame: Frame) -> None: ...
    def message(self, text: str | None) -> None: ...
    @property
    def frames_drawn(self) -> int: ...


class ChartsView(Protocol):
    """The plots."""

    def wanted(self, latest: float) -> bool:
        """Whether a run up to a time, fs, would be seen to be another than the one that is drawn.

        A time that is not a number is that of another run, or of an empty one.
        """
        ...

    def show_curves(self, curves: Curves | None) -> None: ...


class PanelView(Protocol):
    """The panel of parameters."""

    def show_parameters(self, applied: Parameters) -> None: ...
    def show_target(self, target: float) -> None: ...
    def show_pending(self, names: frozenset[str]) -> None: ...
    def show_loaded(self, setup: Setup, model_name: str, n_agents: int) -> None: ...


class StatusView(Protocol):
    """The status bar."""

    def show_status(self, line: StatusLine) -> None: ...


class NoticeView(Protocol):
    """Where sentences for the user appear."""

    def show_notice(self, level: Level, text: str) -> None: ...


class CommandsView(Protocol):
    """Whatever offers commands: it enables those that make sense."""

    def show_state(self, state: RunState, recording: Path | None) -> None: ...
    def show_pace(self, pace: float | None) -> None: ...
    def show_opened(self, path: Path, window: str) -> None: ...
    def show_actual(self, text: str) -> None: ...


class PlaybackView(Protocol):
    """Whatever belongs to a trajectory that is played: it appears with one and goes with it."""

    def show_playback(self, status: Status | None) -> None:
        """Where it stands; None when there is none."""
        ...

    def show_footage(self, footage: Footage | None) -> None:
        """The frames, once they are open; None when they are closed again."""
        ...


@dataclass(frozen=True, slots=True)
class Views:
    """All the views of one window."""

    stage: StageView
    charts: ChartsView
    panel: PanelView
    status: StatusView
    notices: NoticeView
    commands: CommandsView
    playback: PlaybackView


class Past:
    """Parameters as they were, for undo and redo. Changes of the same fields that follow each other soon are one."""

    SOON = 1.0
    """Seconds: a slider that is dragged asks several times in one."""
    MOST = 200

    def __init__(self) -> None:
        self._before: deque[Parameters] = deque(maxlen=self.MOST)
        self._after: list[Parameters] = []
        self._last: tuple[frozenset[str], float] = (frozenset(), -np.inf)

    def remember(self, before: Parameters, names: frozenset[str], now: float) -> None:
        """What was asked for before these fields were changed at this time, seconds."""
        names_before, at = self._last
        if names != names_before or now - at > self.SOON:
            self._before.append(before)
        self._last = (names, now)
        self._after.clear()

    def end(self) -> None:
        """What follows is another change, however soon."""
        self._last = (frozenset(), -np.inf)

    def undo(self, present: Parameters) -> Parameters | None:
        """What was before the present; None where nothing was."""
        if not self._before:
            return None
        self._after.append(present)
        self.end()
        return self._before.pop()

    def redo(self, present: Parameters) -> Parameters | None:
        """What was undone last; None where nothing was, or something else was changed since."""
        if not self._after:
            return None
        self._before.append(present)
        self.end()
        return self._after.pop()


class Controller:
    """Joins a runner to the views; see the module.

    Parameters
    ----------
    runner : RunnerLike
        Not started yet.
    views : Views
    setup, parameters : Setup, Parameters
        What the runner was made with: shown until the engine answers.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(
        self,
        runner: RunnerLike,
        views: Views,
        setup: Setup,
        parameters: Parameters,
        clock: Callable[[], float] = time.perf_counter,
        later: Later = at_once,
    ) -> None:
        self._runner = runner
        self._views = views
        self._clock, self._later = clock, later
        self.setup = setup
        self.applied = parameters
        self.topology: Topology | None = None
        self.frame: Frame | None = None
        self.frames_shown = 0
        self.pace: float | None = None
        self._past = Past()
        self._asked = parameters
        self._unsent = False
        self._sent_at = -np.inf
        self._pending_shown: frozenset[str] = frozenset()
        self._drawn: deque[tuple[float, int]] = deque()
        self._plot_at = -np.inf
        self._plotted = -1
        self._status_at = -np.inf
        self._state: tuple[RunState, Path | None] | None = None
        self._message: str | None = None
        self._closed = False
        self.asked: Callable[[], None] = lambda: None
        """Called whenever the user has asked for something: an answer is to be looked for soon."""
        self._player: Player | None = None
        self._played_from: Path | None = None
        self._playback: Status | None = None
        self._live: tuple[Loaded | None, Frame | None] = (None, None)
        self._resume = False
        self._run_when_loaded = False
        self._held = False
        views.panel.show_parameters(parameters)

    @property
    def n_agents(self) -> int:
        """Zero until there is a system."""
        return self.topology.n_agents if self.topology is not None else 0

    # --- pulled by the timer ---

    @property
    def lively(self) -> bool:
        """Whether something new is to be expected at any moment."""
        states = {self._runner.status().run_state}
        if self._player is not None:
            states.add(self._player.status().run_state)
        return self._unsent or bool(states & {RunState.STARTING, RunState.RUNNING, RunState.QUENCHING})

    def tick(self) -> None:
        """Show what is new; called about sixty times a second while there is."""
        if self._closed:
            return
        now = self._clock()
        self._send_asked(now)
        # The frame is taken first and shown last: the event that announces its system was sent before it.
        frame = self._source.mailbox.take()
        for event in self._runner.events():
            self._take(event)
        if self._player is not None:
            frame = self._take_played(self._player, frame)
        self._show_pending(now)
        if frame is not None:
            self._show_frame(frame)
        status = self._shown_status()
        self._show_state(status)
        if now - self._status_at >= STATUS_INTERVAL:
            self._status_at = now
            if self.applied.schedule is not None:
                self._views.panel.show_target(round(self.target, 1))
            self._later((self, "status"), partial(self._show_status, status, self._frames_per_s(now)))
        if now - self._plot_at >= PLOT_INTERVAL:
            self._plot_at = now
            thermo = self._source.thermo
            latest = thermo.latest if self._plotted >= 0 else math.nan
            if thermo.version != self._plotted and self._views.charts.wanted(latest):
                self._later(self, self._show_plots)

    def start(self) -> None:
        """Start the worker; the window is there already."""
        self._runner.start()
        self.tick()

    def close(self, timeout: float = 10.0) -> bool:
        """Finish the recording, stop the worker; nothing is shown any more. False when it was still at it."""
        if self._closed:
            return True
        self._closed = True
        if self._player is not None:
            self._player.close(timeout)
        return self._runner.close(timeout)

    # --- a trajectory beside the simulation ---

    @property
    def playing(self) -> bool:
        """Whether a trajectory is watched, and not the simulation."""
        return self._player is not None

    def watch(self, path: Path) -> None:
        """Watch a trajectory file; the simulation pauses until `back`.

        Raises
        ------
        InputError
            If it is being recorded now.
        """
        recording = self._runner.status().recording
        if recording is not None and recording.path.absolute() == path.absolute():
            raise InputError(f"{path.name} is being recorded; stop that first.")
        model = self.setup.model
        self._watch(Player(path.name, lambda report: open_trajectory(path, _order(model), report), self.setup), path)

    def look_back(self) -> None:
        """Watch what is in memory of the run."""
        self._ask(LookBack())

    def back(self) -> None:
        """Back to the simulation, which goes on where it went before."""
        if self._leave() and self._resume:
            self._ask(Run())

    def go_on(self) -> None:
        """Go on simulating from the frame that is shown."""
        if self._player is None or self.frame is None:
            return
        frame, path = self.frame, self._played_from
        index = self._player.status().step
        self._leave()
        if path is None:
            self._ask(GoTo(frame))
            if self._resume:
                self._ask(Run())
        else:
            self._run_when_loaded = True
            self.restart(start=path, start_frame=index)

    def hold(self, on: bool) -> None:
        """Show nothing new while a movie is drawn; a trajectory that plays pauses."""
        if on and self._player is not None:
            self._play(self._player, Pause())
        self._held = on
        if not on and self.frame is not None:
            self._views.stage.set_frame(self.frame)

    @property
    def footage(self) -> Footage | None:
        """The frames of the trajectory that is watched."""
        return self._player.footage if self._player is not None else None

    def seek(self, frame: int) -> None:
        """Show a frame of the trajectory, by its number; -1 is the last."""
        if self._player is not None:
            self._play(self._player, Seek(frame if frame >= 0 else self.n_frames - 1))

    def loop(self, on: bool) -> None:
        """Begin anew at the end of the trajectory, or pause there."""
        if self._player is not None:
            self._play(self._player, SetLoop(on))

    @property
    def playback(self) -> Playback | None:
        """Where the trajectory that is watched stands."""
        return self._source.status().playback

    @property
    def n_frames(self) -> int:
        """Of the trajectory that is watched."""
        return self.playback.n_frames if self.playback is not None else 0

    # --- what the user asks for ---

    def toggle_run(self) -> None:
        state = self._source.status().run_state
        self._ask_shown(Pause() if state in (RunState.RUNNING, RunState.QUENCHING) else Run())

    def step(self) -> None:
        self._ask_shown(Step(1))

    def step_frame(self) -> None:
        """As many steps as lie between two pictures; ten frames of a trajectory."""
        self._ask_shown(Step(self.applied.steps_per_frame if self._player is None else FRAMES_AT_ONCE))

    def step_back(self, frames: int = 1) -> None:
        """Frames of a trajectory; a simulation does not go back."""
        if self._player is not None:
            self._play(self._player, Step(-frames))

    def run_for(self, duration: float | None) -> None:
        """Run for so much simulated time, fs, then pause; None forgets the end of a run."""
        self._ask(RunFor(duration))

    def extend(self) -> None:
        """Add as much again to a run with an end."""
        self._ask(Extend())

    def reset(self) -> None:
        self._ask(Reset())

    def quench(self) -> None:
        self._ask(Quench())

    def new_velocities(self) -> None:
        self._ask(NewVelocities())

    def change(self, **changes: object) -> None:
        """Ask for other parameters; several changes between two ticks become one command."""
        before = self._asked
        if "temperature" in changes and before.schedule is not None:
            changes.setdefault("schedule", None)  # who sets a target wants it held
        try:
            self._asked = self._asked.with_changes(**changes)
        except MldsimError as error:
            self.notify(Level.ERROR, str(error))
            self._views.panel.show_parameters(self.applied)
            return
        self._unsent = True
        self.asked()
        self._past.remember(before, frozenset(changes), self._clock())

    def take(self, setup: Setup, parameters: Parameters) -> None:
        """Take a setup and parameters at once, on the present device: another model goes on from the present state.

        Parameters that were there before can be brought back by one undo.
        """
        self._leave()
        setup = replace(setup, device=self.setup.device, precision=self.setup.precision)
        anew = replace(setup, model=self.setup.model) != self.setup
        before = self._asked
        self._asked = parameters.begun_at(0.0 if anew else self._runner.status().time)
        self._past.end()
        self._past.remember(before, frozenset(Parameters.__slots__), self._clock())
        self._unsent = True
        self._send_asked(self._clock())
        if anew or self._runner.status().run_state is RunState.FAILED:
            self._ask(Restart(setup))
        elif setup != self.setup:
            self._ask(LoadModel(setup.model))

    def follow_schedule(self, schedule: Schedule) -> None:
        """Follow a schedule from the target and the time of now on."""
        self.change(temperature=self.target, schedule=replace(schedule, begin=self._runner.status().time))

    def hold_target(self) -> None:
        """End a schedule at the target of now."""
        self.change(temperature=self.target, schedule=None)

    @property
    def target(self) -> float:
        """The target temperature of now, K."""
        return self.applied.target(self._runner.status().time)

    def undo(self) -> None:
        """Back to the parameters before the last change; a drag of a slider is one change."""
        self._go_to(self._past.undo(self._asked), "There is no change of a parameter to undo.")

    def redo(self) -> None:
        """Forth to what was undone."""
        self._go_to(self._past.redo(self._asked), "There is no undone change to bring back.")

    def pull(self, agent: int, target: NDArray[np.float64]) -> None:
        """Pull the molecule of an agent to a place, (3,) angstrom, until `release`."""
        if self._player is not None:
            return  # what is played has happened
        x, y, z = (float(part) for part in target)
        self._ask(PullMolecule(agent, (x, y, z)))

    def release(self) -> None:
        """Let go of the molecule that is pulled."""
        self._ask(Release())

    def heat(self, agents: tuple[int, ...], factor: float) -> None:
        """Multiply the kinetic energy of some agents."""
        self._ask(Heat(agents, factor))

    def kick(self, agent: int, velocity: NDArray[np.float64]) -> None:
        """Add a velocity, (3,) angstrom/fs, to the molecule of an agent."""
        x, y, z = (float(part) for part in velocity)
        self._ask(Kick(agent, (x, y, z)))

    def remove_molecule(self, agent: int) -> None:
        """Take the molecule of an agent out."""
        self._ask(RemoveMolecule(agent))

    def add_molecule(self, agent: int | None) -> None:
        """Put a molecule of water where there is room: near an agent, or anywhere."""
        near = None
        if agent is not None and self.frame is not None:
            x, y, z = (float(part) for part in self.frame.positions[agent])
            near = (x, y, z)
        self._ask(AddMolecule(near))

    def take_back(self) -> None:
        """Back to where everything was before the last touch."""
        self._ask(TakeBack())

    def change_speed(self, direction: int) -> None:
        """One notch faster (+1) or slower (-1), in simulated time per second; the time step stays what it is."""
        status = self._source.status()
        if status.playback is not None:
            paces = playback_paces(status.playback.interval)
            self.set_pace(next_pace(status.pace, math.inf, direction, paces))
        else:
            self.set_pace(next_pace(self.pace, status.steps_per_s * self.applied.timestep, direction))

    def set_pace(self, pace: float | None) -> None:
        """Run at a speed, fs of simulated time per second, or flat out; play a trajectory at it, or every frame."""
        if self._player is not None:
            self._play(self._player, SetPace(pace))
            return
        self.pace = pace
        self._ask(SetPace(pace))
        self._views.commands.show_pace(pace)

    def restart(self, **changes: object) -> None:
        """Build a new simulation from the present setup with some fields changed."""
        try:
            setup = replace(self.setup, **changes)  # type: ignore[arg-type]
        except MldsimError as error:
            self.notify(Level.ERROR, str(error))
            return
        self._leave()
        self._ask(Restart(setup))

    def load_model(self, name_or_path: str | Path) -> None:
        """Go on with another model; where nothing could be built yet, start with it."""
        self._leave()
        if self._runner.status().run_state is RunState.FAILED:
            self.restart(model=str(name_or_path))
        else:
            self._ask(LoadModel(name_or_path))

    def start_recording(self, path: Path, every: int, *, force: bool = False) -> None:
        self._ask(StartRecording(path, every, force))

    def stop_recording(self) -> None:
        self._ask(StopRecording())

    def export_history(self, path: Path, *, force: bool = False) -> None:
        self._ask(ExportHistory(path, force))

    def save_session(self, path: Path, window: str, *, force: bool = False) -> None:
        """Save a session with what the window wants to find again."""
        self._ask(SaveSession(path, window, force))

    def open_session(self, path: Path) -> None:
        self._leave()
        self._ask(OpenSession(path))

    def notify(self, level: Level, text: str) -> None:
        """Tell the user something in one sentence."""
        self._views.notices.show_notice(level, text)

    def status(self) -> Status:
        """Of the simulation."""
        return self._runner.status()

    def thermo_columns(self) -> dict[str, NDArray[np.float64]]:
        """The thermo table of what is watched, as `ThermoTable.columns`."""
        return self._source.thermo.columns()

    def redraw_plots(self) -> None:
        """Draw the plots at the next tick even when the table has not changed."""
        self._plotted = -1
        self._plot_at = -np.inf

    # --- inside ---

    def _ask(self, command: Command) -> None:
        """Of the simulation."""
        self._runner.send(command)
        self.asked()

    def _play(self, player: Player, command: PlaybackCommand) -> None:
        """Of the trajectory that is watched."""
        player.send(command)
        self.asked()

    def _ask_shown(self, command: Run | Pause | Step) -> None:
        """Of whichever of both is shown."""
        self._source.send(command)
        self.asked()

    @property
    def _source(self) -> Source:
        return self._runner if self._player is None else self._player

    def _watch(self, player: Player, path: Path | None) -> None:
        """Show what a player plays, in the place of the simulation or of what was played before."""
        if self._player is None:
            status = self._runner.status()
            self._resume = status.run_state in (RunState.RUNNING, RunState.STARTING)
            if self._resume or status.run_state is RunState.QUENCHING:
                self._ask(Pause())
            self._live = (self._live[0], self.frame)
        else:
            self._player.close(CLOSING_TIME)
            self._views.playback.show_footage(None)
        self._player, self._played_from, self._playback = player, path, None
        self._state = None
        self.frame = None
        player.start()
        self.redraw_plots()

    def _leave(self) -> bool:
        """Show the simulation again, as it stands; False where it was shown already."""
        player, self._player = self._player, None
        if player is None:
            return False
        player.close(CLOSING_TIME)
        self._playback = None
        self._views.playback.show_footage(None)
        self._views.playback.show_playback(None)
        loaded, frame = self._live
        self.frame = None
        if loaded is not None:
            self.topology = loaded.topology
            self._views.stage.set_topology(loaded.topology, loaded.box)
            if frame is not None:
                self._show_frame(frame)
        self._state = None
        self._status_at = -np.inf
        self.redraw_plots()
        return True

    def _take_played(self, player: Player, frame: Frame | None) -> Frame | None:
        """Take what a player tells; returns the frame that is to be shown."""
        for event in player.events():
            match event:
                case Loaded(topology, _, _, box):
                    self.topology = topology
                    self._views.stage.set_topology(topology, box)
                    self._views.playback.show_footage(player.footage)
                    self.redraw_plots()
                    if player.footage is not None:
                        interval = player.footage.interval
                        paces = playback_paces(interval)
                        player.send(SetPace(min(paces, key=lambda pace: abs(pace - PICTURES_PER_SECOND * interval))))
                case Notice(level, text):
                    self.notify(level, text)
        if player.status().run_state is RunState.FAILED:
            self.back()
            return None
        return frame

    def _shown_status(self) -> Status:
        """Of what is watched; a recording is the simulation's."""
        status = self._source.status()
        if self._player is not None:
            if status != self._playback:
                self._playback = status
                self._views.playback.show_playback(status)
            status = replace(status, recording=self._runner.status().recording)
        return status

    def _pull(self) -> Pull | None:
        return None if self.frame is None else self.frame.pull

    def _go_to(self, parameters: Parameters | None, otherwise: str) -> None:
        if parameters is None:
            self.notify(Level.INFO, otherwise)
            return
        self._asked = parameters
        self._unsent = True
        self.asked()

    def _send_asked(self, now: float) -> None:
        if self._unsent:
            self._unsent = False
            self._sent_at = now
            self._ask(SetParameters(self._asked))

    def _take(self, event: Event) -> None:
        match event:
            case Applied(parameters):
                self.applied = parameters
                self._views.panel.show_parameters(parameters)
            case Loaded(topology, setup, model_name, box):
                self.setup = setup
                self._live = (event, None)
                if self._run_when_loaded:
                    self._run_when_loaded = False
                    self._ask(Run())
                if self._player is not None:
                    self._views.panel.show_loaded(setup, model_name, topology.n_agents)
                    return
                self.topology = topology
                self.frame = None
                self._views.stage.set_topology(topology, box)
                self._views.panel.show_loaded(setup, model_name, topology.n_agents)
                self.redraw_plots()
            case LookedBack(topology, frames):
                if len(frames) < 2:
                    self.notify(Level.INFO, "There is nothing in memory to look back at yet.")
                elif self._player is None:
                    shoot = partial(_remembered, topology, frames)
                    self._watch(Player(THE_PAST, shoot, self.setup), None)
            case Notice(level, text):
                self._run_when_loaded = self._run_when_loaded and level is not Level.ERROR
                self.notify(level, text)
            case Opened(path, window):
                self._asked, self._unsent = self.applied, False
                self._past = Past()
                self._views.commands.show_opened(path, window)
            case _:
                pass  # Stopped: the notice before it said why, and the status says that it is paused.

    def _show_pending(self, now: float) -> None:
        """Mark what was asked and is not applied yet; give up waiting after a while (the engine may clamp)."""
        answered = self._asked == self.applied
        if not answered and not self._unsent and now - self._sent_at > ANSWER_TIME and self._answers():
            self._asked, answered = self.applied, True
        names: frozenset[str] = frozenset()
        if not answered:
            names = frozenset(
                name for name in Parameters.__slots__ if getattr(self._asked, name) != getattr(self.applied, name)
            )
        if names != self._pending_shown:
            self._pending_shown = names
            self._views.panel.show_pending(names)
            if not names:
                self._views.panel.show_parameters(self.applied)

    def _answers(self) -> bool:
        return self._runner.status().run_state in (RunState.RUNNING, RunState.PAUSED, RunState.QUENCHING)

    def _show_frame(self, frame: Frame) -> None:
        # A frame of the system before the last restart must not meet the new topology.
        if len(frame.positions) == self.n_agents:
            self.frame = frame
            self.frames_shown += 1
            if not self._held:
                self._views.stage.set_frame(frame)

    def _frames_per_s(self, now: float) -> float:
        """Pictures per second over the last two seconds, as counted by the view that draws them."""
        self._drawn.append((now, self._views.stage.frames_drawn))
        while now - self._drawn[0][0] > 2.0:
            self._drawn.popleft()
        (then, before), (_, after) = self._drawn[0], self._drawn[-1]
        return (after - before) / (now - then) if now > then else 0.0

    def _show_state(self, status: Status) -> None:
        state = (status.run_state, status.recording.path if status.recording else None)
        if state != self._state:
            self._state = state
            self._status_at = -np.inf
            self._views.commands.show_state(*state)
        message: str | None = None
        if status.run_state in (RunState.STARTING, RunState.FAILED):
            message = status.message or "Building the simulation"
        if message != self._message:
            self._message = message
            self._views.stage.message(message)

    def _show_status(self, status: Status, frames_per_s: float) -> None:
        line = status_line(status, frames_per_s, self._pull())
        self._views.status.show_status(line)
        self._views.commands.show_actual(line.actual)

    def _show_plots(self) -> None:
        thermo = self._source.thermo
        self._plotted = thermo.version
        self._views.charts.show_curves(curves(thermo.columns(), self.n_agents))


def _remembered(topology: Topology, frames: tuple[Frame, ...], _report: Report) -> Footage:
    return Footage(Remembered(topology, frames))


def _order(model: str) -> tuple[str, ...]:
    """The species of a model, in its order; none where it cannot be read."""
    try:
        return load_model(model).symbols
    except MldsimError:
        return ()
