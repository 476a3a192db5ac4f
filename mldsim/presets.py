"""Presets: named sets of a setup and parameters, a few that teach and the user's own.

The user's own are JSON text in one file. A file that cannot be read is kept aside under another name: nothing in it is
lost, and nothing in it stops a start.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from mldsim.errors import InputError, WorkFailed
from mldsim.files import put_aside, reason, whole_file
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.plain import from_text, to_text
from mldsim.schedules import Leg, Schedule

LONGEST_NAME = 60
LARGEST_FILE = 4 * 2**20
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Preset:
    """A setup and parameters under a name.

    Attributes
    ----------
    name : str
    told : str
        What it is for, one sentence.
    setup : Setup
        Device and precision are those of the machine at hand, whatever stands here.
    parameters : Parameters
        A schedule begins when the preset is taken.
    """

    name: str
    told: str = ""
    setup: Setup = field(default_factory=Setup)
    parameters: Parameters = field(default_factory=Parameters)


SHIPPED: tuple[Preset, ...] = (
    Preset("Liquid at 300 K", "Water as it is at room temperature: the state that mldsim opens with."),
    Preset(
        "Supercooled, 260 K",
        "Below freezing, and still liquid: fewer hydrogen bonds break, and molecules diffuse several times slower.",
        parameters=Parameters(temperature=260.0),
    ),
    Preset(
        "Hot water, 400 K",
        "At the density of the liquid: hydrogen bonds break often, and the second shell of g(r) fades.",
        parameters=Parameters(temperature=400.0),
    ),
    Preset(
        "Each its own loss (paper)",
        "Every agent descends its own loss: forces are not reciprocal, and the third plot shows the heat that the "
        "thermostat carries away.",
        setup=Setup(model="water-paper"),
    ),
    Preset(
        "Constant energy",
        "Without a thermostat the conserved quantity must stay flat: its drift is the error of the time step.",
        parameters=Parameters(thermostat=ThermostatKind.NONE),
    ),
    Preset(
        "Heated and cooled",
        "The target goes from 300 K to 400 K and back in 10 ps each, again and again; the temperature follows.",
        parameters=Parameters(
            thermostat=ThermostatKind.CSVR, schedule=Schedule((Leg(400.0, 10e3), Leg(300.0, 10e3)), repeats=True)
        ),
    ),
    Preset(
        "512 molecules",
        "Eight times as many molecules, by the cheapest model: averages settle in less simulated time.",
        setup=Setup(model="water-fast", molecules=512),
    ),
)


@dataclass(frozen=True, slots=True)
class _File:
    schema: int
    presets: tuple[Preset, ...]


class Presets:
    """All presets, and what was done to the user's own.

    Parameters
    ----------
    path : Path
        The file of the user's own; it need not be there.

    Attributes
    ----------
    trouble : str
        What was wrong with the file at the start, one sentence; empty if nothing was.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: tuple[Preset, ...] = ()
        self._before: list[tuple[Preset, ...]] = []
        self.trouble = ""
        try:
            self._own = _read(path)
        except InputError as error:
            self.trouble = f"{error} {_put_aside(path)}"

    @property
    def own(self) -> tuple[Preset, ...]:
        """Those of the user, by their names."""
        return self._own

    def all(self) -> tuple[Preset, ...]:
        """Those that teach, then those of the user."""
        return (*SHIPPED, *self._own)

    def named(self, name: str) -> Preset | None:
        """The preset of this name."""
        return next((preset for preset in self.all() if preset.name == name), None)

    def save(self, preset: Preset, *, replacing: bool = False) -> None:
        """Add one to the user's own.

        Raises
        ------
        InputError
            If the name is empty, too long or taken; one of the user's own may be replaced where `replacing` says so.
        WorkFailed
            If the file cannot be written; nothing is changed then.
        """
        preset = replace(preset, name=self._checked(preset.name, also=preset.name if replacing else None))
        self._change((*(other for other in self._own if other.name != preset.name), preset))

    def rename(self, old: str, new: str) -> None:
        """Give one of the user's own another name; raises as `save`."""
        name = self._checked(new, also=old)
        self._change(tuple(replace(other, name=name) if other.name == old else other for other in self._own))

    def delete(self, name: str) -> None:
        """Take one of the user's own away; raises as `save`."""
        self._change(tuple(other for other in self._own if other.name != name))

    @property
    def undoable(self) -> bool:
        """Whether something was done since the start."""
        return bool(self._before)

    def undo(self) -> None:
        """Take back what was done last; raises as `save`."""
        if self._before:
            self._write(self._before[-1])
            self._own = self._before.pop()

    def _checked(self, name: str, also: str | None) -> str:
        name = " ".join(name.split())
        if not name:
            raise InputError("Give the preset a name.")
        if len(name) > LONGEST_NAME:
            raise InputError(f"The name of a preset has at most {LONGEST_NAME} letters.")
        if name != also and self.named(name) is not None:
            raise InputError(f"There is a preset '{name}' already; take another name.")
        if any(preset.name == name for preset in SHIPPED):
            raise InputError(f"'{name}' comes with mldsim and stays as it is; take another name.")
        return name

    def _change(self, own: tuple[Preset, ...]) -> None:
        own = tuple(sorted(own, key=lambda preset: preset.name.casefold()))
        if own != self._own:
            self._write(own)
            self._before.append(self._own)
            self._own = own

    def _write(self, own: tuple[Preset, ...]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkFailed(f"{self._path} could not be written: {reason(error)}.") from error
        with whole_file(self._path) as unfinished:
            unfinished.write_text(to_text(_File(SCHEMA, own)), encoding="utf-8")


def _read(path: Path) -> tuple[Preset, ...]:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is too large for a file of presets.")
        found = from_text(_File, path.read_bytes(), str(path))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {reason(error)}.") from None
    if found.schema > SCHEMA:
        raise InputError(f"{path} was written by a later mldsim.")
    return found.presets


def _put_aside(path: Path) -> str:
    """Keep a file under another name; a sentence that says where."""
    return f"Your presets are set aside as {kept.name}." if (kept := put_aside(path)) else "Your presets are left out."
