"""Checkpoints: all that a simulation needs to go on, in one HDF5 file that appears whole or not at all.

Layout::

    /                attributes: format = "mldsim-checkpoint", schema = 1, creator
    setup            JSON text: fields of `Setup`
    parameters       JSON text: fields of `Parameters`, the schedule among them
    model            text of the model file, with all digits
    plan             JSON text: fields of `Plan`; only for a run that has an end
    state/           attributes: time (fs), step, draws (of noise), key (of noise, two numbers)
        generator    JSON text: state of the random numbers
        positions    (n_agents, 3) float64, angstrom
        velocities   (n_agents, 3) float64, angstrom fs-1
        box          (3,) float64, angstrom
        species      (n_agents,) int32, index into the model's species
        bonds        (n_bonds, 2) int32
        listed       (n_agents, 3) float64, angstrom: where neighbours were looked up last, which decides the rounding
        thermostat   (n,) float64: what the thermostat remembers
        target       () float64, K: of the thermostat now
        booked       () float64, eV
        heat_before  () float64, eV
    start/           attributes: time, step, draws, key; generator to bonds: what `reset` goes back to, maybe with
                     other agents

Texts are stored as bytes (uint8). Nothing in a file is executed, every field is looked at before it is used, and
what a file asks of memory is known before it is read. `mldsim.session` adds what a window shows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

import mldsim
from mldsim.errors import InputError
from mldsim.files import whole_file
from mldsim.loss import LARGEST_FILE, LossModel, exact_text, parse_model
from mldsim.parameters import Parameters, Setup, check
from mldsim.plain import from_text, to_text
from mldsim.state import State

Array = NDArray[np.float64]
T = TypeVar("T")

FORMAT = "mldsim-checkpoint"
SCHEMA = 1
MOST_AGENTS = 10_000_000
MOST_REMEMBERED = 1000
"""Numbers of a thermostat."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run that has an end still had to do.

    Attributes
    ----------
    end : float, fs
        Of simulated time.
    every : float, fs
        Between two written frames.
    """

    end: float
    every: float

    def __post_init__(self) -> None:
        if not (0.0 < self.every < math.inf and math.isfinite(self.end)):
            raise InputError("A run ends at a finite time, and its frames are a positive time apart.")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """All that changes in a simulation, and what it was made from.

    Attributes
    ----------
    setup, parameters : Setup, Parameters
    model : LossModel
    state : State
    start : State
        What `reset` goes back to.
    listed : (n_agents, 3) float64, angstrom, or None
        Where neighbours were looked up last.
    thermostat : tuple of float
        What it remembers.
    target : float, K
        Its target now.
    booked, heat_before : float, eV
        Accounts of the simulation.
    plan : Plan or None
    """

    setup: Setup
    parameters: Parameters
    model: LossModel
    state: State
    start: State
    listed: Array | None
    thermostat: tuple[float, ...]
    target: float
    booked: float
    heat_before: float
    plan: Plan | None = None


def save_checkpoint(checkpoint: Checkpoint, path: Path, *, force: bool = False) -> None:
    """Write a checkpoint; an older one of that name is there until the new one is whole.

    Raises
    ------
    InputError
        If the file exists and `force` is not given, or its folder does not exist.
    WorkFailed
        If it cannot be written (permission, disk full).
    """
    write_image(path, lambda file: fill(file, checkpoint), force=force)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or the one in a session.

    Raises
    ------
    InputError
        One sentence: what is wrong with the file and where.
    """
    return read_image(path, lambda file: parse(Fields(file, str(path))))


def is_checkpoint(path: Path) -> bool:
    """Whether a file says that it is one, or a session."""
    try:
        if not path.is_file() or not h5py.is_hdf5(path):
            return False
        with h5py.File(path, "r") as file:
            return _format(file) == FORMAT
    except (OSError, RuntimeError):
        return False


# -- writing ------------------------------------------------------------------------------------------------------


def write_image(path: Path, fill_file: Callable[[Any], None], *, force: bool) -> None:
    """Compose an HDF5 file in memory and write it whole: HDF5 does not survive a disk that fills up under it."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise InputError(f"{path} exists; choose another name or let it be replaced.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist.")
    with h5py.File("checkpoint", "w", driver="core", backing_store=False) as file:
        fill_file(file)
        file.flush()
        image: bytes = file.id.get_file_image()
    with whole_file(path) as unfinished:
        unfinished.write_bytes(image)


def fill(file: Any, checkpoint: Checkpoint) -> None:
    """Put a checkpoint into an HDF5 file."""
    file.attrs["format"] = FORMAT
    file.attrs["schema"] = SCHEMA
    file.attrs["creator"] = f"mldsim {mldsim.__version__}"
    put_text(file, "setup", to_text(checkpoint.setup))
    put_text(file, "parameters", to_text(checkpoint.parameters))
    put_text(file, "model", exact_text(checkpoint.model))
    if checkpoint.plan is not None:
        put_text(file, "plan", to_text(checkpoint.plan))
    state = checkpoint.state
    group = _put_state(file, "state", state)
    group["thermostat"] = np.array(checkpoint.thermostat, np.float64)
    group["target"], group["booked"], group["heat_before"] = (
        checkpoint.target,
        checkpoint.booked,
        checkpoint.heat_before,
    )
    if checkpoint.listed is not None:
        group["listed"] = checkpoint.listed
    _put_state(file, "start", checkpoint.start)


def put_text(file: Any, name: str, text: str) -> None:
    """Text as compressed bytes."""
    file.create_dataset(name, data=np.frombuffer(text.encode(), np.uint8), compression="gzip", compression_opts=1)


def _put_state(file: Any, name: str, state: State) -> Any:
    group = file.create_group(name)
    group.attrs["time"], group.attrs["step"] = state.time, state.step
    group.attrs["draws"], group.attrs["key"] = state.draws, np.array(state.key, np.uint32)
    group["positions"], group["velocities"], group["box"] = state.positions, state.velocities, state.box
    for array, unit in (("positions", "angstrom"), ("velocities", "angstrom fs-1"), ("box", "angstrom")):
        group[array].attrs["unit"] = unit
    group["species"], group["bonds"] = state.species, state.bonds
    put_text(group, "generator", json.dumps(state.rng.bit_generator.state))
    return group


# -- reading ------------------------------------------------------------------------------------------------------


class Fields:
    """Fields of an HDF5 file, each looked at before it is used.

    Parameters
    ----------
    group : h5py.Group
    where : str
        The file, for the sentence.
    """

    def __init__(self, group: Any, where: str, way: str = "") -> None:
        self._group, self.where, self._way = group, where, way

    def wrong(self, name: str, what: str) -> InputError:
        """The sentence about a field."""
        return InputError(f"{self.where}: the field '{self._way}{name}' {what}; the file is damaged or not ours.")

    def group(self, name: str) -> Fields:
        """A group."""
        found = self._group.get(name)
        if not isinstance(found, h5py.Group):
            raise self.wrong(name, "is missing")
        return Fields(found, self.where, f"{self._way}{name}/")

    def has(self, name: str) -> bool:
        return name in self._group

    def array(
        self,
        name: str,
        shape: tuple[int | None, ...],
        kind: str = "f",
        *,
        most: int = MOST_AGENTS,
        finite: bool = True,
    ) -> Any:
        """An array of numbers (``f``) or of integers (``i``); None in the shape is any length up to `most`."""
        found = self._group.get(name)
        if not isinstance(found, h5py.Dataset):
            raise self.wrong(name, "is missing")
        if found.dtype.kind not in ("iu" if kind == "i" else "f"):
            raise self.wrong(name, "does not hold numbers of the right kind")
        has = found.shape
        if has is None or len(has) != len(shape) or any(b > most if a is None else a != b
                                                         for a, b in zip(shape, has, strict=True)):  # fmt: skip
            raise self.wrong(name, f"has the wrong shape {has}")
        values = np.asarray(found[()])
        if kind == "f":
            values = values.astype(np.float64)
            if finite and not np.isfinite(values).all():
                raise self.wrong(name, "holds a number that is not finite")
        return values

    def text(self, name: str) -> str:
        """Text that was stored as bytes."""
        found = self._group.get(name)
        if not isinstance(found, h5py.Dataset) or found.dtype != np.uint8 or found.ndim != 1:
            raise self.wrong(name, "is missing or no text")
        if len(found) > LARGEST_FILE:
            raise self.wrong(name, f"is longer than {LARGEST_FILE // 2**20} MiB")
        try:
            return bytes(found[()]).decode()
        except UnicodeDecodeError:
            raise self.wrong(name, "is no text") from None

    def number(self, name: str) -> float:
        """A finite number among the attributes."""
        value = self._group.attrs.get(name)
        if not isinstance(value, float | int | np.floating | np.integer) or not np.isfinite(value):
            raise self.wrong(name, "is missing or no finite number")
        return float(value)

    def key(self) -> tuple[int, int]:
        """Two numbers of 32 bits, among the attributes."""
        value = np.asarray(self._group.attrs.get("key"))
        if value.shape != (2,) or value.dtype != np.uint32:
            raise self.wrong("key", "is missing or no two numbers")
        return int(value[0]), int(value[1])

    def count(self, name: str) -> int:
        """A whole number, not negative, among the attributes."""
        value = self._group.attrs.get(name)
        if not isinstance(value, int | np.integer) or value < 0:
            raise self.wrong(name, "is missing or no count")
        return int(value)


def read_image(path: Path, parse_file: Callable[[Any], T]) -> T:
    """Open a checkpoint or a session and parse it; raises InputError."""
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}; give a checkpoint.")
    try:
        with h5py.File(path, "r") as file:
            if _format(file) != FORMAT:
                raise InputError(f"{path} is not a checkpoint of mldsim.")
            schema = file.attrs.get("schema")
            if not isinstance(schema, int | np.integer) or schema < 1:
                raise InputError(f"{path} does not say which schema it has; it is damaged.")
            if schema > SCHEMA:
                raise InputError(
                    f"{path}: the checkpoint has schema {schema} and this mldsim reads up to {SCHEMA}; update mldsim."
                )
            return parse_file(file)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: it is damaged, cut short, or not a checkpoint.") from error


def _format(file: Any) -> str | None:
    value = file.attrs.get("format")
    return value if isinstance(value, str) else None


def parse(fields: Fields) -> Checkpoint:
    """A checkpoint from the fields of its file; raises InputError."""
    setup = from_text(Setup, fields.text("setup"), f"{fields.where}, setup")
    parameters = from_text(Parameters, fields.text("parameters"), f"{fields.where}, parameters")
    model = parse_model(fields.text("model"), f"{fields.where}, model")
    plan = from_text(Plan, fields.text("plan"), f"{fields.where}, plan") if fields.has("plan") else None
    group = fields.group("state")
    state = _state(group, model)
    n = state.n_agents
    return Checkpoint(
        setup=setup,
        parameters=parameters,
        model=model,
        state=state,
        start=_state(fields.group("start"), model),
        listed=group.array("listed", (n, 3)) if group.has("listed") else None,
        thermostat=tuple(group.array("thermostat", (None,), most=MOST_REMEMBERED).tolist()),
        target=_target(group),
        booked=float(group.array("booked", ())),
        heat_before=float(group.array("heat_before", ())),
        plan=plan,
    )


def _target(group: Fields) -> float:
    target = float(group.array("target", ()))
    check("temperature", target)
    return target


def _state(group: Fields, model: LossModel) -> State:
    """A state from its group; raises InputError."""
    species = group.array("species", (None,), "i").astype(np.int32)
    n = len(species)
    if n == 0 or not ((species >= 0) & (species < len(model.symbols))).all():
        raise group.wrong("species", "names species that the model does not have")
    box = group.array("box", (3,))
    if not (box > 0.0).all():
        raise group.wrong("box", "has an edge that is not positive")
    bonds = group.array("bonds", (None, 2), "i")
    if bonds.size and not ((bonds >= 0) & (bonds < n)).all():
        raise group.wrong("bonds", "names agents that are not there")
    return State(
        positions=group.array("positions", (n, 3)),
        velocities=group.array("velocities", (n, 3)),
        species=species,
        symbols=model.symbols,
        masses=model.masses[species],
        box=box,
        bonds=bonds.astype(np.int32),
        time=group.number("time"),
        step=group.count("step"),
        rng=_generator(group),
        draws=group.count("draws"),
        key=group.key(),
    )


def _generator(group: Fields) -> np.random.Generator:
    generator = np.random.PCG64(0)
    try:
        content = json.loads(group.text("generator"))
        if content["bit_generator"] != "PCG64":
            raise ValueError("another generator")
        generator.state = content
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, AttributeError):
        raise group.wrong("generator", "is no state of random numbers") from None
    return np.random.Generator(generator)
