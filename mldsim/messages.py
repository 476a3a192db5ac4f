"""What a view and a running simulation say to each other: every command, event and status, in one place.

`Engine` is what a runner drives. Views send commands and drain events; nothing here has a thread or a screen.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.frames import Frame, Topology
from mldsim.parameters import Parameters, Setup


class Engine(Protocol):
    """What a runner drives: a simulation without threads. `mldsim.simulation.Simulation` is one."""

    @property
    def topology(self) -> Topology: ...

    @property
    def parameters(self) -> Parameters:
        """As applied."""
        ...

    @property
    def setup(self) -> Setup: ...

    @property
    def device(self) -> str:
        """For people: ``CPU, 2 threads``."""
        ...

    @property
    def device_reason(self) -> str:
        """Why this device and not another, one sentence."""
        ...

    @property
    def model_name(self) -> str: ...

    @property
    def model_card(self) -> Mapping[str, object]:
        """What the model says about itself: data, theory level, errors. Written into every recording."""
        ...

    def advance(self, steps: int) -> None:
        """Take `steps` time steps; raises LeftPhysics and keeps the last good state when a guard trips."""
        ...

    def frame(self) -> Frame:
        """A snapshot of the present state, in arrays of its own."""
        ...

    def set_parameters(self, parameters: Parameters) -> Parameters:
        """Take over new parameters; returns them as applied."""
        ...

    def quench(self, steps: int) -> bool:
        """Take `steps` steps of gradient descent; True when converged."""
        ...

    def new_velocities(self) -> None:
        """Draw all velocities anew at the target temperature."""
        ...

    def set_model(self, name_or_path: str | Path) -> None:
        """Go on with another loss model; raises InputError and keeps the old one when it does not fit."""
        ...

    def reset(self) -> None:
        """Back to the start of the same setup."""
        ...


EngineFactory = Callable[[Setup, Parameters, Callable[[str], None]], Engine]
"""Builds an engine in the worker; the callable takes progress texts (``Compiling kernels, first start only``)."""


class RunState(enum.Enum):
    """What the worker is doing."""

    STARTING = "starting"
    """An engine is being built."""
    RUNNING = "running"
    PAUSED = "paused"
    QUENCHING = "quenching"
    FAILED = "failed"
    """No engine could be built; `Restart` tries again with another setup."""
    CLOSED = "closed"


class Level(enum.StrEnum):
    """How much a notice matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Run:
    """Go on from where the simulation stands."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop after the time step under way."""


@dataclass(frozen=True, slots=True)
class Step:
    """Take `n` time steps and pause."""

    n: int = 1


@dataclass(frozen=True, slots=True)
class Reset:
    """Back to the start of the same setup."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Build a new simulation; a setup that cannot be built leaves the old one running."""

    setup: Setup


@dataclass(frozen=True, slots=True)
class SetParameters:
    """Change what may change while it runs; answered by `Applied`."""

    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Quench:
    """Descend the loss until it is flat, then pause; `Pause` or `Run` ends it early."""


@dataclass(frozen=True, slots=True)
class NewVelocities:
    """Draw all velocities anew at the target temperature."""


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Go on with another loss model: the name of a shipped one or a file."""

    name_or_path: str | Path


@dataclass(frozen=True, slots=True)
class StartRecording:
    """Write every `every`-th step to an H5MD file, without a gap."""

    path: Path
    every: int
    force: bool = False


@dataclass(frozen=True, slots=True)
class StopRecording:
    """Write what is still queued and close the file."""


@dataclass(frozen=True, slots=True)
class ExportHistory:
    """Write the frames kept in memory: H5MD, or extended XYZ when `path` ends in ``.xyz`` or ``.extxyz``."""

    path: Path
    force: bool = False


Command = (
    Run
    | Pause
    | Step
    | Reset
    | Restart
    | SetParameters
    | Quench
    | NewVelocities
    | LoadModel
    | StartRecording
    | StopRecording
    | ExportHistory
)


@dataclass(frozen=True, slots=True)
class Applied:
    """Parameters as the engine took them."""

    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Loaded:
    """There is a new system or a new model: what does not change from frame to frame.

    It is told before the system's first frame is shown. A view that takes the frame first and the events second
    therefore never meets a frame whose system it does not know.
    """

    topology: Topology
    setup: Setup
    model_name: str
    box: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Notice:
    """One sentence for the user."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run came to a stop of its own accord and is paused; a `Notice` with the same text went before."""

    reason: str


Event = Applied | Loaded | Notice | Stopped


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """A recording under way."""

    path: Path
    every: int
    frames_written: int
    frames_queued: int


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot for a status line.

    Attributes
    ----------
    run_state : RunState
    message : str
        What is being done or why nothing is; empty while there is nothing to say.
    device, device_reason, model_name : str
        Empty until an engine exists.
    n_agents, step : int
    time : float, fs
    steps_per_s, ns_per_day : float
        Over the last seconds of running; zero while paused.
    recording : RecordingStatus or None
    waiting_for_disk : bool
        The physics waits because the disk is slower.
    memory_frames : int
        Frames that `ExportHistory` would write.
    """

    run_state: RunState
    message: str = ""
    device: str = ""
    device_reason: str = ""
    model_name: str = ""
    n_agents: int = 0
    step: int = 0
    time: float = 0.0
    steps_per_s: float = 0.0
    ns_per_day: float = 0.0
    recording: RecordingStatus | None = None
    waiting_for_disk: bool = False
    memory_frames: int = 0
