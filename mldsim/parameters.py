"""What a user can turn: `Parameters` while the simulation runs, `Setup` only with a restart.

Each field's range, default, unit and one sentence of physics stand once, in `FIELDS`; the command line, the panels
and the validation all read them there.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path

from mldsim.edits import FITTED, LARGEST_SCALE, LossEdit
from mldsim.errors import InputError
from mldsim.schedules import Schedule


class ThermostatKind(enum.Enum):
    """How heat is exchanged with the surroundings."""

    NOSE_HOOVER = "nose-hoover"
    LANGEVIN = "langevin"
    CSVR = "csvr"
    NONE = "none"


class DeviceKind(enum.Enum):
    """Where the kernels run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(enum.Enum):
    """Arithmetic of the pair sums; positions, velocities and the integrator are float64 in both."""

    SINGLE = "float32"
    DOUBLE = "float64"


@dataclass(frozen=True, slots=True)
class Field:
    """One number that a user can set."""

    label: str
    unit: str
    default: float
    minimum: float
    maximum: float
    integer: bool
    physics: str


FIELDS: dict[str, Field] = {
    "temperature": Field(
        "Target temperature",
        "K",
        300.0,
        1.0,
        2000.0,
        False,
        "The thermostat exchanges heat until the mean kinetic energy per degree of freedom is kT/2.",
    ),
    "coupling_time": Field(
        "Coupling time",
        "fs",
        50.0,
        1.0,
        10000.0,
        False,
        "How long the thermostat takes to pull the temperature to its target; short is stiff, long is gentle.",
    ),
    "timestep": Field(
        "Time step",
        "fs",
        0.5,
        0.01,
        2.0,
        False,
        "The O-H bond swings once in about 9 fs; steps much above 0.5 fs no longer resolve it.",
    ),
    "steps_per_frame": Field(
        "Picture every",
        "steps",
        10,
        1,
        1000,
        True,
        "How many time steps are taken between two pictures; the time step itself is never stretched.",
    ),
    "loss_scale": Field(
        "Loss ×",
        "",
        1.0,
        0.0,
        LARGEST_SCALE,
        False,
        "What the learned loss of a species is multiplied by: agents that have less to lose stray farther.",
    ),
    "molecules": Field("Molecules", "", 64, 8, 100_000, True, "Number of water molecules in the box."),
    "density": Field("Density", "g/cm³", 0.997, 0.2, 2.0, False, "Mass per volume; the box is a cube of that size."),
    "seed": Field("Seed", "", 1, 0, 2**31 - 1, True, "The same seed gives the same start and the same noise."),
}


def check(name: str, value: float) -> None:
    """Refuse a value outside its field's range.

    Raises
    ------
    InputError
        One sentence that names the field, the value and the range.
    """
    field = FIELDS[name]
    if not (math.isfinite(value) and field.minimum <= value <= field.maximum):
        unit = f" {field.unit}" if field.unit else ""
        lowest, highest, given = (f"{number:.15g}" for number in (field.minimum, field.maximum, value))
        raise InputError(f"{field.label} must lie between {lowest} and {highest}{unit}; {given} was given.")


@dataclass(frozen=True, slots=True)
class Parameters:
    """What may change while the simulation runs. Internal units; `check` has been passed.

    `loss` changes the loss model of the setup; another model is taken as it was fitted.
    With a `schedule`, `temperature` is where its first leg starts from; `target` tells what holds at a time.
    """

    temperature: float = FIELDS["temperature"].default
    thermostat: ThermostatKind = ThermostatKind.NOSE_HOOVER
    coupling_time: float = FIELDS["coupling_time"].default
    timestep: float = FIELDS["timestep"].default
    steps_per_frame: int = int(FIELDS["steps_per_frame"].default)
    loss: LossEdit = FITTED
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        _check_fields(self)
        for leg in self.schedule.legs if self.schedule is not None else ():
            check("temperature", leg.temperature)

    def target(self, time: float) -> float:
        """The target temperature at a time, fs; K."""
        return self.temperature if self.schedule is None else self.schedule.target(time, self.temperature)

    def begun_at(self, time: float) -> Parameters:
        """The same, with the schedule beginning at this time, fs."""
        return self if self.schedule is None else replace(self, schedule=replace(self.schedule, begin=time))

    def with_changes(self, **changes: object) -> Parameters:
        """A copy with some fields changed; raises InputError when one is out of range."""
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a simulation is started from; a change needs a restart.

    `model` is the name of a shipped model or a path; `start` is a structure file, whose box and agents then
    take the place of `molecules` and `density`, and `start_frame` the number of the frame in it, the last unless given.
    """

    model: str = "water"
    molecules: int = int(FIELDS["molecules"].default)
    density: float = FIELDS["density"].default
    seed: int = int(FIELDS["seed"].default)
    start: Path | None = None
    start_frame: int = -1
    device: DeviceKind = DeviceKind.AUTO
    precision: Precision = Precision.SINGLE

    def __post_init__(self) -> None:
        _check_fields(self)


def _check_fields(values: Parameters | Setup) -> None:
    for item in fields(values):
        if item.name in FIELDS:
            check(item.name, getattr(values, item.name))
