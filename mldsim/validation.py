"""A model beside its reference: forces, structure and motion, each number with its error.

The reference is measured first, then the model's forces are compared on labelled frames, then the model runs from the
reference's own last frame (same agents, box and temperature), or an existing run is read. Both go through the same
analyses at the same intervals. `mldsim.report` makes the page of it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mldsim
from mldsim import units
from mldsim.analysis import motion
from mldsim.analysis.forces import PARTS, ForceComparison
from mldsim.analysis.geometry import Angles, BondLengths
from mldsim.analysis.periodic import nearest
from mldsim.analysis.rdf import RadialDistribution, first_peak
from mldsim.analysis.series import (
    Series,
    measured_temperature,
    open_reference,
    open_trajectory,
    stated_temperature,
    without_source_folder,
)
from mldsim.analysis.statistics import Curve, Histogram, Number
from mldsim.analysis.water import HydrogenBonds, TetrahedralOrder
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError, LeftPhysics
from mldsim.evaluator import Evaluator
from mldsim.frames import Frame, Topology
from mldsim.loss import LossModel, Scope, load_model
from mldsim.molecules import find_bonds, molecules_of
from mldsim.observables import draw_velocities
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.progress import Report
from mldsim.simulation import Simulation
from mldsim.species import pair_name
from mldsim.state import State
from mldsim.thermostats import degrees_of_freedom

Array = NDArray[np.float64]

STRUCTURE_EVERY = 20.0
"""fs, at least, between two frames whose structure is measured: nearer ones say the same again."""

VELOCITIES_EVERY = 2.0
"""fs, at most, between two frames of the density of states."""

MOST_LABELLED = 200
"""Labelled frames of one system that forces are compared on, evenly spread."""

BEYOND_BONDS = {"O-O": 2.0, "O-H": 1.25, "H-H": 1.9}
"""angstrom; where g(r) of water is no longer that of the molecule itself."""

BANDS = {"translation and libration": (0.0, 1200.0), "bending": (1200.0, 2400.0), "stretching": (2400.0, 4500.0)}
"""cm-1, of water."""

STRETCH, LONGEST_LAG = 1024.0, 512.0
"""fs; stretches of the run for the density of states, and where the correlation of velocities is faded out."""

LONGEST_WINDOW, FIT_FROM = 5000.0, 1000.0
"""fs; the diffusion coefficient is fitted between these lags, or up to a quarter of the shorter run."""

JUDGED_FROM = 10_000.0
"""fs. Temperature and network forget themselves within one picosecond or two; blocks of a shorter series are no longer
than that, and their scatter says too little: 4 ps at a target of 300 K gave 290.1 ± 2.8 K."""

EPS = 1e-6
"""Room for rounding where times are divided."""

EQUILIBRATION_CHUNK = 50
"""Steps between two looks at whether to stop."""


class Verdict(enum.Enum):
    """What a difference says."""

    WITHIN = "within noise"
    BEYOND = "beyond noise"
    UNKNOWN = "error not known"
    TOO_SHORT = "too short to judge"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One line of the summary.

    Attributes
    ----------
    key : str
        Its name in the JSON.
    label, unit : str
    model, reference : Number or None
        None where the quantity is a difference only.
    difference, error : float
        And the combined standard error; NaN where they are not known.
    limit : float
        A difference is within noise up to so many errors.
    judged : bool
        Whether both sides are long enough for their errors to be believed.
    """

    key: str
    label: str
    unit: str
    model: Number | None
    reference: Number | None
    difference: float
    error: float
    limit: float = 2.0
    judged: bool = True

    @property
    def verdict(self) -> Verdict:
        if not self.judged:
            return Verdict.TOO_SHORT
        if not (math.isfinite(self.difference) and math.isfinite(self.error)):
            return Verdict.UNKNOWN
        return Verdict.WITHIN if abs(self.difference) <= self.limit * self.error else Verdict.BEYOND

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "unit": self.unit,
            "model": None if self.model is None else _known(self.model.value),
            "model_error": None if self.model is None else _known(self.model.error),
            "reference": None if self.reference is None else _known(self.reference.value),
            "reference_error": None if self.reference is None else _known(self.reference.error),
            "difference": _known(self.difference),
            "error": _known(self.error),
            "verdict": self.verdict.value,
        }


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def compared(key: str, label: str, unit: str, model: Number, reference: Number, scale: float = 1.0) -> Quantity:
    """A quantity that both sides have; values are multiplied with `scale` to be in `unit`."""
    one, other = (Number(scale * number.value, scale * number.error) for number in (model, reference))
    return Quantity(key, label, unit, one, other, one.value - other.value, math.hypot(one.error, other.error))


@dataclass(frozen=True, slots=True)
class Panel:
    """A figure: both curves, and the difference below."""

    key: str
    title: str
    x_label: str
    y_label: str
    model: Curve
    reference: Curve
    reference_label: str = "reference"
    text: str = ""


@dataclass(frozen=True, slots=True)
class ForceRow:
    """Force errors of one system, or of all: of each species and part, error and root mean square of the labels."""

    name: str
    frames: int
    rows: Mapping[str, tuple[Number, float]]

    def to_json(self) -> dict[str, Any]:
        return {"frames": self.frames} | {
            name: {"rmse": _known(number.value), "error": _known(number.error), "rms": _known(rms)}
            for name, (number, rms) in self.rows.items()
        }


@dataclass
class Validation:
    """All that was found.

    Attributes
    ----------
    model : LossModel
    reference, run : dict of str to str
        How they were made, in words.
    quantities, panels : list
    forces : list of ForceRow
        All labelled frames together first, then each system.
    parity : ForceComparison or None
    left_out : list of str
        What was not compared, and why.
    limits : list of str
        What the claim does not reach.
    stopped : str or None
        Why the run ended before its time.
    """

    model: LossModel
    reference: dict[str, str] = field(default_factory=dict)
    run: dict[str, str] = field(default_factory=dict)
    quantities: list[Quantity] = field(default_factory=list)
    panels: list[Panel] = field(default_factory=list)
    forces: list[ForceRow] = field(default_factory=list)
    parity: ForceComparison | None = None
    drift: Number | None = None
    left_out: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    stopped: str | None = None

    def agreement(self) -> tuple[int, int]:
        """How many quantities are within noise, of how many that can be judged."""
        verdicts = [quantity.verdict for quantity in self.quantities]
        within = verdicts.count(Verdict.WITHIN)
        return within, within + verdicts.count(Verdict.BEYOND)

    def to_json(self) -> dict[str, Any]:
        """One object of all numbers; what is not known is None. Force errors are in meV/angstrom, torques in meV."""
        return {
            "model": self.model.name,
            "reference": self.reference,
            "run": self.run,
            "quantities": {quantity.key: quantity.to_json() for quantity in self.quantities},
            "forces": {row.name: row.to_json() for row in self.forces},
            "energy_drift_meV_per_atom_per_ps": None if self.drift is None else _known(self.drift.value),
            "energy_drift_error": None if self.drift is None else _known(self.drift.error),
            "left_out": self.left_out,
            "limits": self.limits,
            "stopped": self.stopped,
        }


@dataclass(frozen=True)
class RunSettings:
    """How the model is run beside the reference; times in fs.

    Attributes
    ----------
    time, equilibration : float
        Measured, and run before that; of an existing run, `equilibration` is left out at its start.
    temperature : float or None, K
        None takes the reference's.
    timestep : float
    thermostat : ThermostatKind or None
        None takes CSVR for shared scope, and Nose-Hoover for own scope, whose forces heat.
    coupling_time : float or None
        None takes 500 fs for shared scope, so that diffusion is not hindered, and 50 fs for own scope.
    seed : int
    device : DeviceKind
    precision : Precision
    viscosity : float or None, mPa s
        For the finite-size correction of the diffusion coefficient.
    """

    time: float = 20_000.0
    equilibration: float = 2000.0
    temperature: float | None = None
    timestep: float = 0.5
    thermostat: ThermostatKind | None = None
    coupling_time: float | None = None
    seed: int = 1
    device: DeviceKind = DeviceKind.AUTO
    precision: Precision = Precision.SINGLE
    viscosity: float | None = None


def validate(
    model_name: str,
    references: Sequence[Path],
    settings: RunSettings,
    progress: Report,
    stop_asked: Callable[[], bool],
    *,
    run: Path | None = None,
) -> Validation:
    """Compare a model with a reference.

    Parameters
    ----------
    model_name : str
        Shipped name or path.
    references : sequence of path
        Empty: what is shipped.
    settings : RunSettings
    progress : callable
        Told the fraction done and what is being done.
    stop_asked : callable
        Looked at between frames; when it is true, what was measured so far is compared.
    run : path, optional
        An H5MD trajectory of the model in the place of a run.

    Raises
    ------
    InputError
        If a file cannot be used, or the run is of another system than the reference.
    """
    model = load_model(model_name)
    found = Validation(model)
    with ExitStack() as files:
        paths = list(references) or [
            files.enter_context(resources.as_file(resources.files("mldsim.assets.data") / name))
            for name in ("water64_300K_reference.h5", "cnnp_holdout.h5")
        ]
        series, labelled = open_reference(paths, model, files)
        if series is None and not labelled:
            raise InputError(f"{paths[0]} holds nothing to compare with.")
        _compare_forces(found, labelled, lambda done, what: progress(0.15 * done, what), stop_asked)
        if series is None or len(series) < 2:
            found.left_out.append("Structure and motion: the reference is not a series of frames.")
        else:
            _Comparison(found, series, settings, run, files).perform(progress, stop_asked)
    found.limits += _limits(found, series, labelled)
    return found


def _compare_forces(
    found: Validation,
    labelled: Sequence[LabelledFrames],
    progress: Callable[[float, str], None],
    stop_asked: Callable[[], bool],
) -> None:
    if not labelled:
        found.left_out.append("Forces: the reference has none.")
        return
    model = found.model
    for system in labelled:
        unknown = sorted(set(system.symbols) - set(model.symbols))
        if unknown:
            raise InputError(f"The model '{model.name}' knows {', '.join(model.symbols)}, not {', '.join(unknown)}.")
    present = [symbol for symbol in model.symbols if any(symbol in system.symbols for system in labelled)]
    together = ForceComparison(present)
    chosen = [np.unique(np.linspace(0, s.n_frames - 1, min(s.n_frames, MOST_LABELLED)).astype(int)) for s in labelled]
    done, total = 0, sum(map(len, chosen))
    rows = []
    for system, frames in zip(labelled, chosen, strict=True):
        alone = ForceComparison(present)
        species = np.array([model.symbols.index(symbol) for symbol in system.symbols], np.int32)
        evaluator: Evaluator | None = None
        for index in frames:
            if stop_asked():
                break
            positions, box, labels = system.positions[index], system.boxes[index], system.forces[index]
            if evaluator is None or not np.array_equal(evaluator.box, box):
                evaluator = Evaluator(model, species, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
            bonds = find_bonds(system.symbols, positions, box)
            forces = evaluator(positions).forces
            for comparison in (together, alone):
                comparison.add(system.symbols, model.masses[species], bonds, positions, box, labels, forces)
            done += 1
            progress(done / total, f"forces, frame {done} of {total}")
        name = system.provenance.get("name") or Path(system.source).name
        rows.append(_force_row(name if len(labelled) > 1 else Path(system.source).name, alone))
    if done < total:
        found.stopped = f"Interrupted after {done} of {total} labelled frames."
    if not done:
        return
    found.parity = together
    found.forces = [_force_row("all", together), *(row for row in rows if row.frames)]
    if len(found.forces) > 2:
        # Blocks of several systems differ because the systems do: their scatter is no error.
        everything = found.forces[0]
        values = {name: (Number(number.value), rms) for name, (number, rms) in everything.rows.items()}
        found.forces[0] = ForceRow(everything.name, everything.frames, values)


def _force_row(name: str, comparison: ForceComparison) -> ForceRow:
    def milli(pair: tuple[Number, float]) -> tuple[Number, float]:
        return Number(1e3 * pair[0].value, 1e3 * pair[0].error), 1e3 * pair[1]

    rows = {"all": milli(comparison.total())}
    rows |= {one: milli(comparison.of(one)) for one in (*comparison.symbols, *PARTS)}
    return ForceRow(name, comparison.count, rows)


class _Analyses:
    """All that is measured on one side.

    Parameters
    ----------
    topology : Topology
    edge : float, angstrom
        Shortest edge of the box.
    interval : float or None, fs
        Between two frames of structure.
    velocity_interval : float or None, fs
        Between two frames of velocities; None leaves the density of states out.
    window : float or None, fs
        Longest lag of displacements; None leaves them out.
    freedoms : int
    temperature : float or None, K
        Target; None leaves the distribution of the temperature out.
    """

    def __init__(
        self,
        topology: Topology,
        edge: float,
        interval: float | None,
        velocity_interval: float | None,
        window: float | None,
        freedoms: int,
        temperature: float | None,
    ) -> None:
        self.rdf = RadialDistribution(topology.symbols, topology.species, 0.05 * math.floor(10.0 * edge + 1e-9))
        self.bonds, self.angles = BondLengths(topology), Angles(topology)
        self.drift = motion.EnergyDrift()
        self.hydrogen_bonds: HydrogenBonds | None = None
        self.tetrahedra: TetrahedralOrder | None = None
        self.displacement: motion.MeanSquareDisplacement | None = None
        self.temperature: motion.TemperatureDistribution | None = None
        self.states: motion.DensityOfStates | None = None
        if is_water(topology):
            if edge >= 7.0:
                self.hydrogen_bonds = HydrogenBonds(topology)
            if np.count_nonzero(topology.species == topology.symbols.index("O")) >= 5:
                self.tetrahedra = TetrahedralOrder(topology)
        if window is not None and interval is not None:
            self.displacement = motion.MeanSquareDisplacement(topology, interval, window=window, fit_from=FIT_FROM)
        if temperature is not None:
            self.temperature = motion.TemperatureDistribution(topology.masses, freedoms, temperature)
        if velocity_interval is not None:
            self.states = motion.DensityOfStates(
                topology.masses, velocity_interval, stretch=STRETCH, longest_lag=LONGEST_LAG
            )
        self.frames = 0

    def add(self, frame: Frame) -> None:
        """Measure the structure of a frame."""
        analyses = (
            self.rdf, self.bonds, self.angles, self.hydrogen_bonds, self.tetrahedra, self.displacement,
            self.temperature, self.drift,
        )  # fmt: skip
        for analysis in analyses:
            if analysis is not None:
                analysis.add(frame)
        self.frames += 1

    def add_velocities(self, frame: Frame) -> None:
        if self.states is not None:
            self.states.add(frame)

    def end_of_velocities(self) -> None:
        """What follows does not go on where the velocities were."""
        if self.states is not None:
            self.states.gap()


def is_water(topology: Topology) -> bool:
    """Whether every agent is part of an O with two H of its own."""
    names = np.array(topology.symbols)[topology.species]
    oxygens = int((names == "O").sum())
    if not oxygens or oxygens + int((names == "H").sum()) != len(names) or len(topology.bonds) != 2 * oxygens:
        return False
    ends = names[topology.bonds]
    partners = np.bincount(topology.bonds.ravel(), minlength=len(names))
    return bool((ends[:, 0] != ends[:, 1]).all() and (partners == np.where(names == "O", 2, 1)).all())


def _velocity_interval(series: Series) -> float | None:
    """Between two frames of velocities that a density of states can be taken from, fs, or None."""
    intervals = {part.interval for part in series.moving}
    if len(intervals) != 1 or None in intervals:
        return None
    interval = intervals.pop()
    return interval if interval is not None and interval <= motion.DensityOfStates.SLOWEST else None


class _Comparison:
    """Structure and motion of both sides."""

    def __init__(
        self, found: Validation, reference: Series, settings: RunSettings, run: Path | None, files: ExitStack
    ) -> None:
        self._found, self._reference, self._settings = found, reference, settings
        self._recorded = None
        if run is not None:
            self._recorded = open_trajectory(run, found.model, files, skip=settings.equilibration)
        stated, measured = stated_temperature(reference.provenance), measured_temperature(reference)
        temperature = settings.temperature or stated or (None if measured is None else 10.0 * round(measured / 10.0))
        if temperature is None:
            raise InputError(
                f"{reference.source} does not say at what temperature it was made and holds no velocities; "
                f"give --temperature."
            )
        self._temperature = temperature
        own = found.model.scope is Scope.OWN
        usual = (ThermostatKind.NOSE_HOOVER, 50.0) if own else (ThermostatKind.CSVR, 500.0)
        self._parameters = Parameters(
            temperature=temperature,
            thermostat=settings.thermostat or usual[0],
            coupling_time=settings.coupling_time or usual[1],
            timestep=settings.timestep,
        )
        first = reference.frame(0)
        self._edge = min(float(reference.frame(i).box.min()) for i in range(0, len(reference), 50))
        if self._recorded is not None:
            self._check_same(first)
        self._plan()
        theory = reference.provenance.get("theory", reference.provenance.get("method", "not stated"))
        box = " × ".join(f"{edge:.4g}" for edge in first.box)
        found.reference = {
            "File": without_source_folder(reference),
            "Theory": theory,
            "System": f"{reference.topology.n_agents} agents in {box} Å, {temperature:g} K",
            "Ensemble": reference.provenance.get("ensemble", "not stated"),
            "Frames": f"{len(reference)}"
            + (f", {reference.interval:g} fs apart" if reference.interval else ", not evenly spaced"),
        }
        if reference.moving and not reference.has_velocities:
            parts, interval = reference.moving, _velocity_interval(reference)
            spacing = f", {interval:g} fs apart" if interval else ""
            found.reference["Velocities"] = f"{sum(map(len, parts))} frames{spacing}, in {len(parts)} stretches"
        if settings.temperature is None and stated is None:
            found.reference["Temperature"] = f"not stated; {measured:.1f} K from its velocities, rounded"

    def _check_same(self, first: Frame) -> None:
        assert self._recorded is not None
        ours, theirs = self._recorded.topology, self._reference.topology
        box = self._recorded.frame(0).box
        if sorted(ours.species.tolist()) != sorted(theirs.species.tolist()):
            raise InputError(
                f"{self._recorded.source} holds {ours.n_agents} agents and the reference {theirs.n_agents}, or other "
                f"species; compare runs of the same system."
            )
        if np.abs(box / first.box - 1.0).max() > 1e-3:
            raise InputError(
                f"{self._recorded.source} has a box of {box[0]:.4g} Å and the reference one of {first.box[0]:.4g} Å; "
                f"compare runs in the same box."
            )

    def _plan(self) -> None:
        """Choose intervals and windows that both sides can keep."""
        reference, settings, left_out = self._reference, self._settings, self._found.left_out
        self._stride = (
            1 if reference.interval is None else max(1, math.ceil(STRUCTURE_EVERY / reference.interval - EPS))
        )
        interval = None if reference.interval is None else self._stride * reference.interval
        recorded = self._recorded
        if recorded is None:
            self._every = max(1, round((interval or STRUCTURE_EVERY) / settings.timestep))
            self._interval: float | None = self._every * settings.timestep
            self._steps = max(self._every, round(settings.time / settings.timestep))
            length = self._steps * settings.timestep
        else:
            self._every = 1
            if recorded.interval is not None:
                self._every = max(1, round((interval or STRUCTURE_EVERY) / recorded.interval))
            self._interval = None if recorded.interval is None else self._every * recorded.interval
            length = 0.0 if recorded.interval is None else len(recorded) * recorded.interval

        window = None
        if interval is None or self._interval is None:
            left_out.append("Displacements and diffusion: frames are not evenly spaced in time.")
        else:
            window = min(LONGEST_WINDOW, 0.25 * min(length, len(reference) * (reference.interval or 0.0)))
            if window < 2.0 * FIT_FROM:
                window = None
                left_out.append(
                    f"Displacements and diffusion: both sides must last {units.format_time(8.0 * FIT_FROM)} or more."
                )
        self._fast: float | None = None
        reference_fast = None
        sides = [("reference", reference)] + ([("run", recorded)] if recorded is not None else [])
        slow = [name for name, series in sides if _velocity_interval(series) is None]
        if slow:
            slowest = motion.DensityOfStates.SLOWEST
            left_out.append(f"Density of states: the {slow[0]} has no velocities at most {slowest:g} fs apart.")
        else:
            reference_fast = _velocity_interval(reference)
            self._fast_steps = max(1, math.floor(VELOCITIES_EVERY / settings.timestep + EPS))
            self._fast = self._fast_steps * settings.timestep if recorded is None else _velocity_interval(recorded)

        side = self._recorded or reference
        thermostat = self._parameters.thermostat
        freedoms = degrees_of_freedom(
            thermostat if recorded is None else ThermostatKind.NONE, side.topology.n_agents, drift_removed=True
        )
        canonical = thermostat is not ThermostatKind.NONE and (recorded is None or recorded.has_velocities)
        if not canonical:
            left_out.append("Temperature against the canonical law: there is no thermostat, or no velocities.")
        self._of_reference = _Analyses(reference.topology, self._edge, interval, reference_fast, window, freedoms, None)
        self._of_model = _Analyses(
            side.topology, self._edge, self._interval, self._fast, window, freedoms,
            self._temperature if canonical else None,
        )  # fmt: skip

    def perform(self, progress: Report, stop_asked: Callable[[], bool]) -> None:
        """Measure both sides and compare them."""
        found = self._found
        reference, analyses = self._reference, self._of_reference
        place = self._read(reference, analyses, self._stride, lambda f, w: progress(0.15 + 0.15 * f, w), stop_asked)
        if place is not None:
            found.stopped = found.stopped or f"Interrupted in the reference, at {place}."
            return
        if self._recorded is None:
            self._run(lambda f, w: progress(0.3 + 0.7 * f, w), stop_asked)
        else:
            run = self._recorded
            found.run |= {"File": without_source_folder(run), "Frames": str(len(run))}
            if self._settings.equilibration:
                found.run["Left out at the start"] = units.format_time(self._settings.equilibration)
            place = self._read(run, self._of_model, self._every, lambda f, w: progress(0.3 + 0.7 * f, w), stop_asked)
            if place is not None:
                found.stopped = f"Interrupted at {place} of the run."
        if not self._of_model.frames:
            found.left_out.append("Structure and motion: the run ended before its first frame was measured.")
            return
        self._compare()

    @staticmethod
    def _read(
        series: Series,
        analyses: _Analyses,
        stride: int,
        progress: Callable[[float, str], None],
        stop_asked: Callable[[], bool],
    ) -> str | None:
        """Feed analyses from a series; returns where they were interrupted, or None."""
        name = Path(series.source).name
        moving = series.moving if analyses.states is not None else ()
        apart = [part for part in moving if part is not series]  # velocities that are in no frame of the series
        total, done = len(series) + sum(map(len, apart)), 0
        for index in range(0, len(series), 1 if len(moving) > len(apart) else stride):
            done, place = index + 1, f"frame {index + 1} of {len(series)}"
            if stop_asked():
                return place
            frame = series.frame(index)
            if not apart:
                analyses.add_velocities(frame)
            if index % stride == 0:
                analyses.add(frame)
            progress(done / total, f"{name}, {place}")
        for part in apart:
            for index in range(len(part)):
                done, place = done + 1, f"frame {index + 1} of {len(part)} of velocities"
                if stop_asked():
                    return place
                analyses.add_velocities(part.frame(index))
                progress(min(1.0, done / total), f"{name}, {place}")
            analyses.end_of_velocities()
        return None

    def _run(self, progress: Callable[[float, str], None], stop_asked: Callable[[], bool]) -> None:
        settings, found = self._settings, self._found
        simulation = self._simulation()
        equilibration = round(settings.equilibration / settings.timestep)
        total = equilibration + self._steps
        fast = self._every if self._fast is None else self._fast_steps
        done = 0
        try:
            while done < total:
                if stop_asked():
                    found.stopped = f"Interrupted at {units.format_time(simulation.state.time)} of the run."
                    break
                if done < equilibration:
                    chunk = min(EQUILIBRATION_CHUNK, equilibration - done)
                else:
                    since = done - equilibration
                    chunk = min(fast - since % fast, self._every - since % self._every, total - done)
                simulation.advance(chunk)
                done += chunk
                since = done - equilibration
                structural, fleeting = since > 0 and since % self._every == 0, since > 0 and since % fast == 0
                if structural or (fleeting and self._fast is not None):
                    frame = simulation.frame()
                    if structural:
                        self._of_model.add(frame)
                    if fleeting:
                        self._of_model.add_velocities(frame)
                progress(done / total, f"{units.format_time(simulation.state.time)} of the run")
        except LeftPhysics as error:
            found.stopped = str(error)
        thermostat = self._parameters.thermostat
        coupling = f"{self._temperature:g} K, coupling time {units.format_time(self._parameters.coupling_time)}"
        measured = max(0.0, simulation.state.time - equilibration * settings.timestep)
        found.run = {
            "Start": "last frame of the reference, velocities drawn anew",
            "Length": f"{units.format_time(measured)} measured after {units.format_time(settings.equilibration)}",
            "Thermostat": "none" if thermostat is ThermostatKind.NONE else f"{thermostat.value}, {coupling}",
            "Time step": units.format_time(settings.timestep),
            "Seed": str(settings.seed),
            "Computed on": f"{simulation.device}, {settings.precision.value}",
            "Version": f"mldsim {mldsim.__version__}",
        }

    def _simulation(self) -> Simulation:
        """The model in the reference's last frame, with velocities of its own."""
        settings, model, topology = self._settings, self._found.model, self._reference.topology
        last = self._reference.frame(len(self._reference) - 1)
        first_of_molecule = np.unique(molecules_of(topology.n_agents, topology.bonds), return_index=True)[1]
        origin = last.positions[first_of_molecule[molecules_of(topology.n_agents, topology.bonds)]]
        state = State(
            positions=origin + nearest(last.positions - origin, last.box),
            velocities=np.zeros_like(last.positions),
            species=topology.species,
            symbols=topology.symbols,
            masses=topology.masses,
            box=np.array(last.box),
            bonds=topology.bonds,
            rng=np.random.default_rng(settings.seed),
        )
        draw_velocities(state, self._temperature, 3 * state.n_agents - 3)
        setup = Setup(model=model.name, seed=settings.seed, device=settings.device, precision=settings.precision)
        return Simulation(state, model, self._parameters, setup)

    def _compare(self) -> None:
        found, model, reference = self._found, self._of_model, self._of_reference
        self._compare_pairs()
        for name, kind, unit, one, other in (
            ("bond", "bond length", "Å", model.bonds.result(), reference.bonds.result()),
            ("angle", "angle", "°", model.angles.result(), reference.angles.result()),
        ):
            for each in one.keys() & other.keys():
                self._compare_histograms(f"{name}_{each}", f"{each} {kind}", unit, one[each], other[each])
        if model.hydrogen_bonds and reference.hydrogen_bonds:
            found.quantities.append(
                compared("hydrogen_bonds", "Hydrogen bonds per molecule", "", model.hydrogen_bonds.result(),
                         reference.hydrogen_bonds.result())
            )  # fmt: skip
        elif is_water(self._reference.topology):
            found.left_out.append("Hydrogen bonds: the box is narrower than 7 Å.")
        if model.tetrahedra and reference.tetrahedra:
            self._compare_histograms(
                "tetrahedral_order", "tetrahedral order q", "", model.tetrahedra.result(), reference.tetrahedra.result()
            )
        self._compare_motion()
        if model.temperature is not None:
            self._compare_temperature(model.temperature)
        self._judge()
        n_agents = self._reference.topology.n_agents
        drift = model.drift.result()
        if math.isfinite(drift.value):
            found.drift = Number(drift.value * 1e6 / n_agents, drift.error * 1e6 / n_agents)
        else:
            found.left_out.append("Energy drift: own-scope dynamics conserve no energy, or the run does not hold it.")

    def _judge(self) -> None:
        """Give no verdict where a side is too short for its errors to be believed."""
        found = self._found
        reference = self._reference
        its_interval = None if reference.interval is None else self._stride * reference.interval
        for name, frames, interval in (
            ("run", self._of_model.frames, self._interval),
            ("reference", self._of_reference.frames, its_interval),
        ):
            if interval is None:
                found.limits.append(
                    f"Frames of the {name} are not evenly spaced in time; its errors assume that blocks of them are "
                    "independent."
                )
            elif frames * interval < JUDGED_FROM:
                found.limits.append(
                    f"The {name} lasted {units.format_time((frames - 1) * interval)}: with less than "
                    f"{units.format_time(JUDGED_FROM)} its errors are too small, and nothing is judged by them."
                )
                found.quantities = [replace(quantity, judged=False) for quantity in found.quantities]

    def _compare_pairs(self) -> None:
        found, model, reference = self._found, self._of_model.rdf, self._of_reference.rdf
        one, other = model.result(), reference.result()
        for a, b in model.pairs:
            pair = f"{a}-{b}"
            name = pair_name(a, b)
            mine, theirs = one[pair], other[pair]
            if not theirs.g.any() and not mine.g.any():
                continue
            low = BEYOND_BONDS.get(name, 0.0)
            label = f"g({name})"
            if name == "O-O":
                for part, (what, unit) in enumerate((("place", "Å"), ("height", ""))):

                    def read(r: Array, g: Array, part: int = part) -> float:
                        return first_peak(r, g, 2.0, 3.3)[part]

                    found.quantities.append(
                        compared(f"g_{name}_peak_{what}", f"{label}, first peak, {what}", unit,
                                 model.number(pair, read), reference.number(pair, read))
                    )  # fmt: skip
            beyond = mine.r > low
            error = np.hypot(mine.error, theirs.error)[beyond]
            difference = np.abs(mine.g - theirs.g)[beyond].mean()
            # The mean of |x| of a normal distribution is 0.8 of its width; 1.2 leaves room for a rough error.
            found.quantities.append(
                Quantity(f"g_{name}_mean_difference", f"{label}, mean |difference| beyond {low:g} Å", "", None, None,
                         float(difference), float(error.mean()), 1.2)
            )  # fmt: skip
            shown = mine.r > 0.9 * low
            found.panels.append(
                Panel(
                    f"g_{name}",
                    f"Radial distribution {name}",
                    "r (Å)",
                    f"g({name})",
                    Curve(mine.r[shown], mine.g[shown], mine.error[shown]),
                    Curve(theirs.r[shown], theirs.g[shown], theirs.error[shown]),
                )
            )

    def _compare_histograms(self, key: str, label: str, unit: str, model: Histogram, reference: Histogram) -> None:
        title = label[:1].upper() + label[1:]
        self._found.quantities.append(compared(f"{key}_mean", f"{title}, mean", unit, model.mean(), reference.mean()))
        self._found.quantities.append(
            compared(f"{key}_deviation", f"{title}, spread", unit, model.deviation(), reference.deviation())
        )
        one, other = model.density(), reference.density()
        seen = np.flatnonzero((one.y > 1e-3 * one.y.max()) | (other.y > 1e-3 * other.y.max()))
        part = slice(max(0, seen[0] - 1), seen[-1] + 2)
        curves = [Curve(c.x[part], c.y[part], c.error[part]) for c in (one, other)]
        per = f" (1/{unit})" if unit else ""
        x_label = f"{label} ({unit})" if unit else label
        self._found.panels.append(Panel(key, f"{title}", x_label, f"density{per}", curves[0], curves[1]))

    def _compare_motion(self) -> None:
        found, model, reference = self._found, self._of_model, self._of_reference
        if model.states is not None and reference.states is not None:
            if model.states.count and reference.states.count:
                if is_water(self._reference.topology):
                    for name, (low, high) in BANDS.items():
                        centre, share = model.states.band(low, high)
                        its_centre, its_share = reference.states.band(low, high)
                        key = f"states_{name.split()[0]}"
                        found.quantities.append(
                            compared(f"{key}_centre", f"Density of states, {name}, centre", "cm⁻¹", centre, its_centre)
                        )
                        found.quantities.append(
                            compared(f"{key}_share", f"Density of states, {name}, share", "%", share, its_share, 100.0)
                        )
                found.panels.append(
                    Panel("states", "Density of states", "wavenumber (cm⁻¹)", "density (1/1000 cm⁻¹)",
                          _scaled(model.states.result(), 1.0, 1e3), _scaled(reference.states.result(), 1.0, 1e3),
                          text="From mass-weighted velocities; lines are 65 cm⁻¹ wide by the window.")
                )  # fmt: skip
            else:
                found.left_out.append("Density of states: a stretch of 1 ps was not complete on both sides.")
        if model.displacement is None or reference.displacement is None:
            return
        if not (model.displacement.count and reference.displacement.count):
            found.left_out.append("Displacements and diffusion: the run ended within the first window.")
            return
        start, end = (units.format_time(lag) for lag in model.displacement.fit_window)
        one, other = model.displacement.diffusion(), reference.displacement.diffusion()
        quantity = compared(
            "diffusion", "Diffusion coefficient in this box", "10⁻⁵ cm²/s", one, other, motion.DIFFUSION_UNIT
        )
        found.quantities.append(quantity)
        viscosity = self._settings.viscosity
        if viscosity is None:
            found.limits.append(
                "The diffusion coefficients are those of this small periodic box: the correction of Yeh and Hummer to "
                "an infinite system is not applied, because it needs the viscosity (--viscosity)."
            )
        else:
            missing = motion.finite_size_correction(self._temperature, viscosity, self._edge)
            one, other = (Number(side.value + missing, side.error) for side in (one, other))
            label = f"Diffusion coefficient, Yeh-Hummer corrected ({viscosity:g} mPa s)"
            found.quantities.append(
                compared("diffusion_infinite", label, "10⁻⁵ cm²/s", one, other, motion.DIFFUSION_UNIT)
            )
        found.panels.append(
            Panel("displacement", "Mean square displacement", "lag (ps)", "of molecules' centres (Å²)",
                  _scaled(model.displacement.result(), 1e-3, 1.0), _scaled(reference.displacement.result(), 1e-3, 1.0),
                  text=f"D is the slope between {start} and {end}, over six.")
        )  # fmt: skip

    def _compare_temperature(self, measured: motion.TemperatureDistribution) -> None:
        histogram = measured.result()
        self._found.quantities += [
            compared("temperature_mean", "Temperature, mean, against its target", "K", histogram.mean(),
                     Number(self._temperature, 0.0)),
            compared("temperature_deviation", "Temperature, spread, against the canonical law", "K",
                     histogram.deviation(), Number(measured.expected_deviation, 0.0)),
        ]  # fmt: skip
        self._found.panels.append(
            Panel("temperature", "Temperature", "temperature (K)", "density (1/K)", histogram.density(), measured.law(),
                  "canonical (Gamma) law")
        )  # fmt: skip


def _scaled(curve: Curve, x: float, y: float) -> Curve:
    return Curve(x * curve.x, y * curve.y, y * curve.error)


def _limits(found: Validation, series: Series | None, labelled: Sequence[LabelledFrames]) -> list[str]:
    """What the claim does not reach."""
    sources = [system.provenance for system in labelled] + ([series.provenance] if series is not None else [])
    theories = sorted({told.get("theory", told.get("method", "a theory that is not stated")) for told in sources})
    limits = [
        f"Agreement is agreement with {'; '.join(theories)}, not with experiment.",
        "One run of one seed: errors come from the scatter of its contiguous blocks and do not see what moves more "
        "slowly than a tenth of the run.",
        "Where nothing differs, about one line in ten is beyond noise by chance: errors from few blocks are rough.",
    ]
    notes = sorted({system.provenance["note"] for system in labelled if "note" in system.provenance})
    if labelled:
        told = f" The files say: {'; '.join(notes)}." if notes else ""
        limits.append(
            f"Force errors are those of frames the model has not seen only if it was not fitted to them.{told}"
        )
    if isinstance(found.model.card.get("limits"), str):
        limits.append(f"The model's card: {found.model.card['limits']}")
    return limits
