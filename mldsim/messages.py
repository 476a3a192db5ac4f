"""What a view and a running simulation say to each other: every command, event and status, in one place.

`Engine` is what a runner drives. Views send commands and drain events; nothing here has a thread or a screen.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim.delivery import Delivery
from mldsim.edits import FITTED, LossEdit
from mldsim.frames import Frame, Topology
from mldsim.parameters import Parameters, Setup

if TYPE_CHECKING:
    from mldsim.checkpoint import Checkpoint
    from mldsim.doubt import Judgement


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

    def send_frame(self) -> Delivery[Frame]:
        """The same, while the run may go on; waiting for it raises DeviceLost where that moment is lost."""
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

    def pull(self, agent: int, target: NDArray[np.float64]) -> None:
        """Pull the molecule of an agent to a place, (3,) angstrom, by a spring."""
        ...

    def release(self) -> None:
        """Let go of it."""
        ...

    def heat(self, agents: NDArray[np.int64], factor: float) -> None:
        """Multiply the kinetic energy of some agents."""
        ...

    def kick(self, agent: int, velocity: NDArray[np.float64]) -> None:
        """Add a velocity, (3,) angstrom/fs, to the molecule of an agent."""
        ...

    def remove_molecule(self, agent: int) -> None:
        """Take the molecule of an agent out."""
        ...

    def add_molecule(self, near: NDArray[np.float64] | None = None) -> None:
        """Put a molecule of water where there is room, nearest to a place, (3,) angstrom, or anywhere."""
        ...

    def take_back(self) -> None:
        """Back to where everything was before the last touch."""
        ...

    def with_beside(self, model: str, edit: LossEdit) -> Engine:
        """The same with another simulation beside it, from where it stands, of this model with this edit."""
        ...

    def alone(self) -> Engine:
        """The same without another one."""
        ...

    def set_model(self, name_or_path: str | Path) -> None:
        """Go on with another loss model; raises InputError and keeps the old one when it does not fit."""
        ...

    def reset(self) -> None:
        """Back to the start of the same setup."""
        ...

    def go_to(self, frame: Frame) -> None:
        """Go on from an earlier frame of the same system."""
        ...

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on from here."""
        ...

    def judge(self) -> Judge:
        """What tells the doubt of the present model; raises InputError when the model knows none."""
        ...


class Judge(Protocol):
    """Tells the doubt of every agent of a box; `mldsim.doubt.Doubt` is one."""

    @property
    def n_parts(self) -> int:
        """What `gradually` takes, in evaluations of forces."""
        ...

    def gradually(self, positions: NDArray[np.float64], /) -> Generator[None, None, Judgement]:
        """Judge positions (n_agents, 3), angstrom, a part at a time."""
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
class RunFor:
    """Run for so much simulated time and pause; None goes on without an end.

    Attributes
    ----------
    duration : float, fs, or None
    """

    duration: float | None


@dataclass(frozen=True, slots=True)
class Extend:
    """Add as much again to the run that `RunFor` began, whether it is over or not, and go on."""


@dataclass(frozen=True, slots=True)
class SetPace:
    """Take no more simulated time per time on the clock than this; None goes flat out. The time step stays what it is.

    Attributes
    ----------
    pace : float, fs per second, or None
    """

    pace: float | None


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
class PullMolecule:
    """Pull the molecule of an agent by a spring to a place, (3,) angstrom, unwrapped; again, the hand moves."""

    agent: int
    target: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Release:
    """Let go of the molecule that is pulled."""


@dataclass(frozen=True, slots=True)
class Heat:
    """Multiply the kinetic energy of these agents by a factor."""

    agents: tuple[int, ...]
    factor: float


@dataclass(frozen=True, slots=True)
class Kick:
    """Add a velocity, (3,) angstrom/fs, to the molecule of an agent."""

    agent: int
    velocity: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class RemoveMolecule:
    """Take the molecule of an agent out of the box."""

    agent: int


@dataclass(frozen=True, slots=True)
class AddMolecule:
    """Put a molecule of water where there is room, nearest to a place, (3,) angstrom, or anywhere."""

    near: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Back to where everything was before the last heating, kick, new velocities, removal or addition."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Run another model, or the same one edited, beside the present one, from where it stands; None ends that."""

    model: str | None
    edit: LossEdit = FITTED


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


@dataclass(frozen=True, slots=True)
class SaveSession:
    """Write a session: a checkpoint, the thermo table, and what the window wants to find again, as JSON text."""

    path: Path
    window: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class OpenSession:
    """Go on from a session or a checkpoint; answered by `Opened`. One that cannot be used leaves the old run alone."""

    path: Path


@dataclass(frozen=True, slots=True)
class DoubtSettings:
    """How doubt is watched.

    Attributes
    ----------
    interval : float, fs
        Of simulated time between two judgements.
    limit : float, eV/angstrom
        Above it a force is in doubt.
    pause : bool
        Pause the run when one is.
    """

    interval: float = 250.0
    limit: float = 0.25
    pause: bool = False


@dataclass(frozen=True, slots=True)
class LookBack:
    """Ask for the frames that are kept in memory; answered by `LookedBack`."""


@dataclass(frozen=True, slots=True, eq=False)
class GoTo:
    """Go on from an earlier frame of the same system; what came after it is forgotten, and the run pauses."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Seek:
    """Show a frame of a trajectory, by its number from 0; a number beyond an end is that end."""

    frame: int


@dataclass(frozen=True, slots=True)
class SetLoop:
    """Begin anew at the end of a trajectory, or pause there."""

    on: bool


@dataclass(frozen=True, slots=True)
class WatchDoubt:
    """Judge the forces while it runs; None leaves it."""

    settings: DoubtSettings | None


@dataclass(frozen=True, slots=True)
class SaveDoubtful:
    """Write the doubtful frames that were kept, as `ExportHistory` does; `mldsim label` takes the file."""

    path: Path
    force: bool = False


Command = (
    Run
    | Pause
    | Step
    | RunFor
    | Extend
    | SetPace
    | Reset
    | Restart
    | SetParameters
    | Quench
    | NewVelocities
    | PullMolecule
    | Release
    | Heat
    | Kick
    | RemoveMolecule
    | Compare
    | AddMolecule
    | TakeBack
    | LoadModel
    | StartRecording
    | StopRecording
    | ExportHistory
    | LookBack
    | GoTo
    | SaveSession
    | OpenSession
    | WatchDoubt
    | SaveDoubtful
)
"""What a running simulation obeys."""

PlaybackCommand = Run | Pause | Step | SetPace | Seek | SetLoop
"""What a trajectory that is played obeys; `Step` goes from frame to frame, back where its number is negative."""


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
class Opened:
    """A session was opened; its system was told before by `Loaded`.

    Attributes
    ----------
    path : Path
    window : str
        What a window has left in it; empty for a checkpoint.
    """

    path: Path
    window: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The run came to a stop of its own accord and is paused; a `Notice` with the same text went before."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class LookedBack:
    """The frames that are kept in memory, oldest first."""

    topology: Topology
    frames: tuple[Frame, ...]


Event = Applied | Loaded | Notice | Opened | Stopped | LookedBack


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run with an end.

    Attributes
    ----------
    begin, end : float, fs
        Of simulated time.
    duration : float, fs
        What was asked for, and what `Extend` adds.
    """

    begin: float
    end: float
    duration: float


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """A recording under way."""

    path: Path
    every: int
    frames_written: int
    frames_queued: int


@dataclass(frozen=True, slots=True)
class Playback:
    """Where a trajectory that is played stands.

    Attributes
    ----------
    title : str
        What is played: the name of a file.
    frame, n_frames : int
    begin, end : float, fs
        Times of the first and the last frame.
    interval : float, fs
        Between two frames.
    loop : bool
    """

    title: str
    frame: int = 0
    n_frames: int = 0
    begin: float = 0.0
    end: float = 0.0
    interval: float = 1.0
    loop: bool = False


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
    doubtful_frames : int
        Frames that `SaveDoubtful` would write.
    doubt_refused : str
        Why the present model cannot be doubted; empty while it can or nobody asked.
    pace : float, fs per second, or None
        As asked for by `SetPace`.
    stretch : Stretch or None
        The run with an end that is under way, or was the last; None for one without.
    playback : Playback or None
        When it is a trajectory that is played, and not a simulation.
    exports : int
        How many exports have come to their end, good or bad.
    loss_edit : str
        What is changed of the fitted loss; empty where nothing is.
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
    doubtful_frames: int = 0
    doubt_refused: str = ""
    pace: float | None = None
    stretch: Stretch | None = None
    playback: Playback | None = None
    exports: int = 0
    loss_edit: str = ""
