"""Averages of a run while it goes: the analyses of ``mldsim validate``, beside the shipped CP2K reference.

`Averages` takes the samples of one series; `Analyst` feeds it in a thread of its own, so that neither the steps nor the
window wait for it, and publishes what there is about twice a second. Structure is measured at most every
`STRUCTURE_EVERY` and may use `SHARE` of one core: of a system that is too large for that, frames are left out, which
averages do not mind. Motion needs every frame; it is followed in at most `FOLLOWED` molecules.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import resources

import h5py
import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.analysis.geometry import Angles, BondLengths
from mldsim.analysis.motion import DIFFUSION_UNIT, DensityOfStates, MeanSquareDisplacement
from mldsim.analysis.rdf import RadialDistribution, first_peak
from mldsim.analysis.statistics import Curve, Histogram, Number
from mldsim.analysis.water import LONGEST_OO, HydrogenBonds, TetrahedralOrder
from mldsim.errors import Cancelled, InputError, MldsimError
from mldsim.frames import Frame, Sample, Samples, SampleSeries, ThermoRow, Topology
from mldsim.molecules import find_bonds, molecules_of
from mldsim.species import pair_name, symbol_of
from mldsim.validation import (
    BEYOND_BONDS,
    FIT_FROM,
    LONGEST_LAG,
    LONGEST_WINDOW,
    STRETCH,
    STRUCTURE_EVERY,
    is_water,
)

Array = NDArray[np.float64]

logger = logging.getLogger(__name__)

SHARE = 0.1
"""Of the time of one core, for structure."""

PUBLISH_EVERY = 0.5
"""Seconds between two results."""

REACH = 8.0
"""angstrom, of g(r) where the box allows it: the third shell of water."""

MOST_PAIRS = 1_000_000
"""Within the reach of g(r): they take some 80 MB for a moment."""

FOLLOWED = 2000
"""Molecules whose motion is followed, and whose recent past is held in memory."""

_NO_ROW = ThermoRow(*[math.nan] * 9)

TRACE = 1000
"""Points of a trace over time that are kept; when they are full, neighbours are merged."""

SAME_TEMPERATURE, SAME_DENSITY = 5.0, 0.01
"""K, and relative: within these a run is held against the reference."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One analysis as it stands.

    Attributes
    ----------
    key, title : str
    x_label, y_label : str
        With units.
    run, reference : Curve or None
        None while there is nothing yet, and where no reference is comparable.
    text : str
        Numbers read off, each with its standard error.
    waiting : str
        Why there is no curve of the run; empty when there is one.
    """

    key: str
    title: str
    x_label: str
    y_label: str
    run: Curve | None
    reference: Curve | None
    text: str
    waiting: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All analyses at one moment.

    Attributes
    ----------
    analyses : tuple of Measured
    averaged : float, fs
        From the first sample to the last.
    frames : int
        Whose structure was measured.
    began : float, fs
        Time of the run at which averaging began.
    temperature : float, K
        Mean over the samples.
    comparison : str
        What the reference is, or in one line why it is not shown.
    comparable : bool
    source : str
        How the reference was made, in full.
    lost : int
        Samples that could not be taken in time.
    part : float
        Of a trajectory that was read; 1 for a run.
    """

    analyses: tuple[Measured, ...] = ()
    averaged: float = 0.0
    frames: int = 0
    began: float = 0.0
    temperature: float = math.nan
    comparison: str = ""
    comparable: bool = False
    source: str = ""
    lost: int = 0
    part: float = 1.0


@dataclass(frozen=True)
class Reference:
    """What CP2K found, by the same analyses at the same settings."""

    name: str
    source: str
    temperature: float
    density_g_cm3: float
    n_molecules: int
    curves: Mapping[str, Curve]
    numbers: Mapping[str, Number]

    def unlike(self, series: SampleSeries, box: Array, temperature: float) -> str:
        """Why a run cannot be held against it, in one line; empty when it can.

        Parameters
        ----------
        series : SampleSeries
        box : (3,) float64, angstrom
        temperature : float, K
            Mean of the run: it decides where no thermostat holds a target.
        """
        its = f"The reference is water at {self.temperature:g} K and {self.density_g_cm3:.3f} g/cm³"
        if not is_water(series.topology):
            return f"{its}; this is another substance, so it is not shown."
        if math.isnan(series.target):
            return f"{its}; the target of this run moves, so it is not shown."
        target = series.target if series.thermostatted else temperature
        if not math.isfinite(target):
            return f"{its}; the temperature of this trajectory is not known, so it is not shown."
        if abs(target - self.temperature) > SAME_TEMPERATURE:
            return f"{its}; this run is at {target:.0f} K, so it is not shown."
        density = _density(series.topology, box)
        if abs(density / self.density_g_cm3 - 1.0) > SAME_DENSITY:
            return f"{its}; this run is at {density:.3f} g/cm³, so it is not shown."
        return ""


class Averages:
    """Analyses of one series.

    Parameters
    ----------
    series : SampleSeries
    box : (3,) float64, angstrom
    reference : Reference or None
    velocities : bool
        Whether samples have any.
    """

    def __init__(
        self, series: SampleSeries, box: Array, reference: Reference | None, *, velocities: bool = True
    ) -> None:
        self.series = series
        self._box = np.array(box)
        self._reference = reference
        topology, edge = series.topology, float(box.min())
        self.stride = max(1, math.ceil(STRUCTURE_EVERY / series.interval - 1e-6))
        self._since_structure = self.stride - 1
        self._left_out: dict[str, str] = {}
        self._rdf = self._radial(topology, box)
        self._bonds, self._angles = BondLengths(topology), Angles(topology)
        self._hydrogen_bonds: HydrogenBonds | None = None
        self._tetrahedra: TetrahedralOrder | None = None
        if is_water(topology):
            if edge >= 2.0 * LONGEST_OO:
                self._hydrogen_bonds = HydrogenBonds(topology)
            if np.count_nonzero(topology.species == topology.symbols.index("O")) >= 5:
                self._tetrahedra = TetrahedralOrder(topology)
        self._trace = _Trace()
        self._part, self._agents = _part(topology)
        spacing = self.stride * series.interval
        self._displacement = MeanSquareDisplacement(self._part, spacing, window=LONGEST_WINDOW, fit_from=FIT_FROM)
        self._states: DensityOfStates | None = None
        if velocities and series.interval <= DensityOfStates.SLOWEST:
            self._states = DensityOfStates(self._part.masses, series.interval, stretch=STRETCH, longest_lag=LONGEST_LAG)
        self._first: float | None = None
        self._last = 0.0
        self._followed_since = 0.0
        self._stretch_since = 0.0
        self._temperature = 0.0
        self._samples = 0
        self.frames = 0

    def add(self, sample: Sample, *, structure: bool = True) -> bool:
        """Take the next sample; `structure` may be left out where time is short.

        Returns
        -------
        bool
            Whether its structure was measured.
        """
        frame = sample.frame
        if self._first is None:
            self._first = self._followed_since = self._stretch_since = frame.time
        self._last = frame.time
        self._samples += 1
        self._temperature += frame.thermo.temperature
        if not sample.follows:
            self._displacement.gap()
            self._followed_since = frame.time
            self._since_structure = self.stride - 1
            if self._states is not None:
                self._states.gap()
                self._stretch_since = frame.time
        followed = _of_agents(frame, self._agents)
        if self._states is not None:
            before = self._states.count
            self._states.add(followed)
            if self._states.count > before:
                self._stretch_since = frame.time
        self._since_structure += 1
        if self._since_structure < self.stride:
            return False
        self._since_structure = 0
        self._displacement.add(followed)
        if not structure:
            return False
        self._bonds.add(frame)
        self._angles.add(frame)
        if self._rdf is not None:
            self._rdf.add(frame)
        if self._hydrogen_bonds is not None:
            self._trace.add(1e-3 * frame.time, self._hydrogen_bonds.add(frame))
        if self._tetrahedra is not None:
            self._tetrahedra.add(frame)
        self.frames += 1
        return True

    def findings(self) -> Findings:
        """What was found so far."""
        temperature = self._temperature / max(self._samples, 1)
        reference, comparison = self._reference, ""
        if reference is None:
            comparison = "There is no reference."
        else:
            comparison = reference.unlike(self.series, self._box, temperature)
            if comparison:
                reference = None
            else:
                comparison = reference.name
        first = self._first or 0.0
        analyses = [
            *self._of_pairs(reference),
            *self._of_histograms("bond", "bond length", "Å", self._bonds.result(), reference),
            *self._of_histograms("angle", "angle", "°", self._angles.result(), reference),
            *self._of_network(reference),
            *self._of_motion(reference),
        ]
        return Findings(
            tuple(analyses), self._last - first, self.frames, first, temperature, comparison, reference is not None,
            "" if reference is None else reference.source,
        )  # fmt: skip

    # --- what is found ----------------------------------------------------------------------------------------------

    def _of_pairs(self, reference: Reference | None) -> list[Measured]:
        names = _pairs(self.series.topology)
        found = []
        results = self._rdf.result() if self._rdf is not None and self.frames else {}
        for pair in names:
            name = pair_name(*pair.split("-"))
            key = f"g_{name}"
            low = BEYOND_BONDS.get(name, 0.0)
            its = None if reference is None else reference.curves.get(key)
            waiting = self._left_out.get("g", "") or ("" if results else "The first frame is still to come.")
            run, text = None, ""
            if results and self._rdf is not None:
                shown = results[pair].r > 0.9 * low
                run = Curve(results[pair].r[shown], results[pair].g[shown], results[pair].error[shown])
                text = self._peak(pair, name, reference)
                if its is not None:
                    its = Curve(*(values[its.x > 0.9 * low] for values in (its.x, its.y, its.error)))
                    difference = _mean_difference(run, its, low)
                    text = f"{text}; {difference}" if text else f"{difference[:1].upper()}{difference[1:]}"
            found.append(Measured(key, f"g({name})", "r (Å)", f"g({name})", run, its, text, waiting))
        return found

    def _peak(self, pair: str, name: str, reference: Reference | None) -> str:
        if name != "O-O" or self._rdf is None:
            return ""
        place, height = (
            self._rdf.number(pair, lambda r, g, part=part: first_peak(r, g, 2.0, 3.3)[part])  # type: ignore[misc]
            for part in (0, 1)
        )
        text = f"First peak {told(height)} at {told(place)} Å"
        if reference is not None:
            text += (
                f" (reference {told(reference.numbers['peak_height'])} at {told(reference.numbers['peak_place'])} Å)"
            )
        return text

    def _of_histograms(
        self, name: str, kind: str, unit: str, histograms: Mapping[str, Histogram], reference: Reference | None
    ) -> list[Measured]:
        found = []
        for each, histogram in histograms.items():
            key = f"{name}_{each}"
            its = None if reference is None else reference.curves.get(key)
            run, text = None, ""
            if self.frames:
                run = histogram.density()
                text = f"Mean {told(histogram.mean())} {unit}, spread {told(histogram.deviation())} {unit}"
                if reference is not None and f"{key}_mean" in reference.numbers:
                    mean, spread = (reference.numbers[f"{key}_{what}"] for what in ("mean", "spread"))
                    text += f" (reference {told(mean)}, {told(spread)} {unit})"
                run, its = _seen(run, its)
            waiting = "" if run is not None else "The first frame is still to come."
            title = f"{each} {kind}"
            found.append(Measured(key, title, f"{title} ({unit})", f"Density (1/{unit})", run, its, text, waiting))
        return found

    def _of_network(self, reference: Reference | None) -> list[Measured]:
        found = []
        if self._hydrogen_bonds is not None:
            mean = self._hydrogen_bonds.result()
            x, y = self._trace.curve()
            run = Curve.plain(x, y) if self.frames else None
            its, text = None, f"Mean {told(mean)}" if self.frames else ""
            if reference is not None and run is not None and len(x):
                value = reference.numbers["hydrogen_bonds"]
                ends = np.array([x[0], max(x[-1], x[0] + 1e-3)])
                its = Curve(ends, np.full(2, value.value), np.full(2, value.error))
                text += f" (reference {told(value)})"
            waiting = "" if run is not None else "The first frame is still to come."
            label = "Hydrogen bonds per molecule"
            found.append(Measured("hydrogen_bonds", "Hydrogen bonds", "Time (ps)", label, run, its, text, waiting))
        if self._tetrahedra is not None:
            found += self._of_order(self._tetrahedra.result(), reference)
        return found

    def _of_order(self, histogram: Histogram, reference: Reference | None) -> list[Measured]:
        its = None if reference is None else reference.curves.get("tetrahedral_order")
        run, text = None, ""
        if self.frames:
            run = histogram.density()
            text = f"Mean {told(histogram.mean())}"
            if reference is not None:
                text += f" (reference {told(reference.numbers['tetrahedral_order_mean'])})"
        waiting = "" if run is not None else "The first frame is still to come."
        label = "Tetrahedral order q"
        return [Measured("tetrahedral_order", "Tetrahedral order", label, "Density", run, its, text, waiting)]

    def _of_motion(self, reference: Reference | None) -> list[Measured]:
        displacement = self._displacement
        run, text, waiting = None, "", ""
        if displacement.count:
            run = _scaled(displacement.result(), 1e-3, 1.0)
            start, end = (units.format_time(lag) for lag in displacement.fit_window)
            text = f"D = {told(_times(displacement.diffusion(), DIFFUSION_UNIT))}·10⁻⁵ cm²/s from {start} to {end}"
        else:
            left = LONGEST_WINDOW - (self._last - self._followed_since)
            waiting = (
                f"The first window of {units.format_time(LONGEST_WINDOW)} is complete after another "
                f"{units.format_time(max(left, 0.0))}."
            )
        its = None
        if reference is not None:
            its = reference.curves["displacement"]
            if text:
                text += f" (reference {told(reference.numbers['diffusion'])})"
            molecules = int(molecules_of(self.series.topology.n_agents, self.series.topology.bonds).max()) + 1
            if molecules != reference.n_molecules and text:
                text += f", which is that of a box of {reference.n_molecules} molecules: D grows with the box"
        found = [
            Measured("displacement", "Displacement and D", "Lag (ps)", "Mean square (Å²)", run, its,
                     text, waiting)
        ]  # fmt: skip
        if self._states is None:
            return found
        run, waiting = None, ""
        if self._states.count:
            run = _scaled(self._states.result(), 1.0, 1e3)
        else:
            left = STRETCH - (self._last - self._stretch_since)
            waiting = (
                f"The first stretch of {units.format_time(STRETCH)} is complete after another "
                f"{units.format_time(max(left, 0.0))}."
            )
        text = f"{self._states.count} stretches of {units.format_time(STRETCH)}; lines are 65 cm⁻¹ wide"
        its = None if reference is None else reference.curves.get("states")
        if reference is not None and its is None:
            text += "; the reference holds no velocities"
        found.append(
            Measured("states", "Density of states", "Wavenumber (cm⁻¹)", "Density (1/1000 cm⁻¹)", run, its, text,
                     waiting)
        )  # fmt: skip
        return found

    def _radial(self, topology: Topology, box: Array) -> RadialDistribution | None:
        reach = min(REACH, 0.5 * float(box.min()))
        per_volume = 0.5 * topology.n_agents**2 / float(np.prod(box)) * 4.0 / 3.0 * np.pi
        reach = 0.05 * math.floor(20.0 * min(reach, (MOST_PAIRS / per_volume) ** (1.0 / 3.0)) + 1e-9)
        if reach < 4.0:
            self._left_out["g"] = (
                f"g(r) of {topology.n_agents} agents would take too long while it runs; record the run and use "
                "'mldsim validate'."
                if 0.5 * float(box.min()) >= 4.0
                else "The box is narrower than 8 Å."
            )
            return None
        return RadialDistribution(topology.symbols, topology.species, reach)


class _Trace:
    """A value over time in bounded memory: when it is full, neighbours are merged into their mean."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []
        self._merge = 1
        self._open: list[tuple[float, float]] = []

    def add(self, time: float, value: float) -> None:
        self._open.append((time, value))
        if len(self._open) < self._merge:
            return
        self._points.append(_mean_point(self._open))
        self._open = []
        if len(self._points) == TRACE:
            self._points = [_mean_point(self._points[i : i + 2]) for i in range(0, TRACE, 2)]
            self._merge *= 2

    def curve(self) -> tuple[Array, Array]:
        """Times and values."""
        points = np.array(self._points, np.float64).reshape(-1, 2)
        return points[:, 0], points[:, 1]


def _mean_point(points: list[tuple[float, float]]) -> tuple[float, float]:
    times, values = zip(*points, strict=True)
    return sum(times) / len(points), sum(values) / len(points)


def _pairs(topology: Topology) -> list[str]:
    """Pairs of the species that are there, named as `RadialDistribution` does."""
    present = set(np.unique(topology.species).tolist())
    symbols = topology.symbols
    return [f"{a}-{b}" for i, a in enumerate(symbols) for j, b in enumerate(symbols) if i <= j and {i, j} <= present]


def told(number: Number) -> str:
    """A number with its error in as many digits as the error has a meaning: ``2.61 ± 0.03``."""
    if not math.isfinite(number.value):
        return "–"
    if not (math.isfinite(number.error) and number.error > 0.0):
        return f"{number.value:.4g}"
    # Two digits of an error that begins with 1, one of any other.
    digits = min(max(0, math.ceil(-math.log10(number.error / 1.95))), 6)
    return f"{number.value:.{digits}f} ± {number.error:.{digits}f}"


def _times(number: Number, factor: float) -> Number:
    return Number(factor * number.value, factor * number.error)


def _scaled(curve: Curve, x: float, y: float) -> Curve:
    return Curve(x * curve.x, y * curve.y, y * curve.error)


def _mean_difference(run: Curve, reference: Curve, low: float) -> str:
    n = min(len(run.x), len(reference.x))
    if not n or not np.allclose(run.x[:n], reference.x[:n]):
        return ""
    beyond = run.x[:n] > low
    difference = float(np.abs(run.y[:n] - reference.y[:n])[beyond].mean())
    error = float(np.hypot(run.error[:n], reference.error[:n])[beyond].mean())
    text = f"mean |difference| {difference:.3f}"
    if math.isfinite(error):
        text += f" (errors {error:.3f})"
    return text


def _seen(run: Curve, reference: Curve | None) -> tuple[Curve, Curve | None]:
    """The part of a distribution where there is something."""
    curves = [run] if reference is None else [run, reference]
    seen = np.flatnonzero(np.any([c.y > 1e-3 * c.y.max() for c in curves], axis=0))
    if not len(seen):
        return run, reference
    part = slice(max(0, int(seen[0]) - 1), int(seen[-1]) + 2)
    cut = [Curve(c.x[part], c.y[part], c.error[part]) for c in curves]
    return cut[0], (cut[1] if reference is not None else None)


def _density(topology: Topology, box: Array) -> float:
    return float(topology.masses.sum() / np.prod(box) * units.AMU_PER_A3_IN_G_CM3)


def _part(topology: Topology) -> tuple[Topology, NDArray[np.intp]]:
    """The first `FOLLOWED` molecules, and which agents they are."""
    molecule = molecules_of(topology.n_agents, topology.bonds)
    agents = np.flatnonzero(molecule < FOLLOWED)
    if len(agents) == topology.n_agents:
        return topology, agents
    place = np.full(topology.n_agents, -1, np.int32)
    place[agents] = np.arange(len(agents))
    bonds = place[topology.bonds]
    return (
        Topology(topology.symbols, topology.species[agents], topology.masses[agents], bonds[(bonds >= 0).all(axis=1)]),
        agents,
    )


def _of_agents(frame: Frame, agents: NDArray[np.intp]) -> Frame:
    if len(agents) == len(frame.positions):
        return frame
    return replace(
        frame,
        positions=frame.positions[agents],
        velocities=frame.velocities[agents],
        forces=frame.forces[agents],
        losses=frame.losses[agents],
    )


# --- the reference --------------------------------------------------------------------------------------------------


_shipped: list[Reference] = []


def shipped_reference(stop_asked: Callable[[], bool] = lambda: False) -> Reference:
    """The CP2K run of 64 H2O at 300 K: g(r) from all of its frames, everything else from those that are shipped.

    The first call takes a second or two; the answer is kept.

    Raises
    ------
    Cancelled
        When `stop_asked`, which is looked at between frames, says so.
    InputError
        If the files are not there or cannot be read.
    """
    if not _shipped:
        _shipped.append(_read_reference(stop_asked))
    return _shipped[0]


def _read_reference(stop_asked: Callable[[], bool]) -> Reference:
    from ase.data import atomic_masses

    folder = resources.files("mldsim.assets.data")
    try:
        with (
            resources.as_file(folder / "water64_300K_rdf.h5") as path,
            h5py.File(path, "r") as file,
        ):
            r = np.asarray(file["r"], np.float64)
            curves = {
                f"g_{pair}": Curve(r, np.asarray(file[pair]["g"], np.float64), np.asarray(file[pair]["error"]))
                for pair in ("O-O", "O-H", "H-H")
            }
        with (
            resources.as_file(folder / "water64_300K_reference.h5") as path,
            h5py.File(path, "r") as file,
        ):
            stated = re.match(r"\s*(\d+(?:\.\d+)?)", str(file.attrs["temperature"]))
            theory = str(file.attrs["theory"])
            numbers_of = np.asarray(file["atomic_numbers"])
            positions = np.asarray(file["positions"], np.float64)
            box = np.asarray(file["box"], np.float64)
            times = np.asarray(file["time"], np.float64)
            if "velocity_time" in file:
                masses = np.asarray(atomic_masses)[numbers_of]
                fast = np.asarray(file["velocity_time"], np.float64)
                curves["states"] = _states(masses, fast, np.asarray(file["velocities"], np.float64))
    except (OSError, KeyError) as error:
        raise InputError(f"The shipped reference cannot be read ({error}); install mldsim again.") from None
    assert stated is not None
    return _measured_reference(theory, float(stated[1]), numbers_of, positions, box, times, curves, stop_asked)


def _measured_reference(
    theory: str,
    temperature: float,
    atomic_numbers: NDArray[np.int64],
    positions: Array,
    box: Array,
    times: Array,
    curves: dict[str, Curve],
    stop_asked: Callable[[], bool],
) -> Reference:
    from ase.data import atomic_masses

    names = [symbol_of(int(number)) for number in atomic_numbers]
    symbols = ("O", "H")
    species = np.array([symbols.index(name) for name in names], np.int32)
    topology = Topology(
        symbols, species, np.asarray(atomic_masses)[atomic_numbers], find_bonds(names, positions[0], box)
    )
    bonds, angles, network = BondLengths(topology), Angles(topology), HydrogenBonds(topology)
    tetrahedra = TetrahedralOrder(topology)
    interval = float(times[1] - times[0])
    displacement = MeanSquareDisplacement(topology, interval, window=LONGEST_WINDOW, fit_from=FIT_FROM)
    rdf = RadialDistribution(symbols, species, float(curves["g_O-O"].x[-1]))
    unknown = np.full(positions.shape[1:], np.nan)
    for index, frame_positions in enumerate(positions):
        if stop_asked():
            raise Cancelled("The analyses end.")
        frame = Frame(index, times[index], box, frame_positions, unknown, unknown, unknown[:, 0], _NO_ROW)
        for analysis in (bonds, angles, network, tetrahedra, displacement):
            analysis.add(frame)
        if index % 5 == 0:  # for the error of the first peak only
            rdf.add(frame)
    numbers = {
        "hydrogen_bonds": network.result(),
        "tetrahedral_order_mean": tetrahedra.result().mean(),
        "diffusion": _times(displacement.diffusion(), DIFFUSION_UNIT),
    }
    for part, what in enumerate(("place", "height")):
        error = rdf.number("O-O", lambda r, g, part=part: first_peak(r, g, 2.0, 3.3)[part]).error  # type: ignore[misc]
        value = first_peak(curves["g_O-O"].x, curves["g_O-O"].y, 2.0, 3.3)[part]
        numbers[f"peak_{what}"] = Number(value, error)
    for name, histograms in (("bond", bonds.result()), ("angle", angles.result())):
        for each, histogram in histograms.items():
            curves[f"{name}_{each}"] = histogram.density()
            numbers[f"{name}_{each}_mean"] = histogram.mean()
            numbers[f"{name}_{each}_spread"] = histogram.deviation()
    curves["tetrahedral_order"] = tetrahedra.result().density()
    curves["displacement"] = _scaled(displacement.result(), 1e-3, 1.0)
    length = units.format_time(float(times[-1] - times[0]))
    molecules = int((species == 0).sum())
    name = f"Reference: {theory.split(' (')[0]}, {molecules} H₂O at {temperature:g} K for {length}."
    source = f"The reference is {theory}. Bands are one standard error, from the scatter of blocks of the run."
    return Reference(name, source, temperature, _density(topology, box), molecules, curves, numbers)


def _states(masses: Array, times: Array, velocities: Array) -> Curve:
    """Density of states, in 1/1000 cm-1, of velocities in stretches with gaps between them."""
    interval = float(np.diff(times).min())
    states = DensityOfStates(masses, interval, stretch=STRETCH, longest_lag=LONGEST_LAG)
    unknown = np.full(velocities.shape[1:], np.nan)
    for index, moving in enumerate(velocities):
        if index and times[index] - times[index - 1] > 1.5 * interval:
            states.gap()
        states.add(Frame(index, times[index], unknown[0], unknown, moving, unknown, unknown[:, 0], _NO_ROW))
    return _scaled(states.result(), 1.0, 1e3)


# --- the thread -----------------------------------------------------------------------------------------------------


class Analyst:
    """Averages samples in a thread of its own.

    Parameters
    ----------
    samples : Samples
        Where they come from; they are wanted from `start` to `close`, unless `listen` says otherwise.
    reference : callable
        Gives what a run is held against, in the thread and once; its argument tells when to give up.
    """

    def __init__(
        self, samples: Samples, reference: Callable[[Callable[[], bool]], Reference] = shipped_reference
    ) -> None:
        self._samples = samples
        self._make_reference = reference
        self._reference: Reference | None = None
        self._averages: Averages | None = None
        self._findings = Findings(comparison="The run has not begun.")
        self._version = 0
        self._closing = threading.Event()
        self._again = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mldsim-analyst", daemon=True)
        self._credit = 0.0

    # --- for any thread ---

    def start(self) -> None:
        """Begin; returns at once."""
        self._samples.wanted = True
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._samples.wanted = False
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def listen(self, wanted: bool) -> None:
        """Take samples, or leave the run alone; what was averaged stays."""
        if wanted and not self._samples.wanted:
            self._samples.break_off()
        self._samples.wanted = wanted

    def restart(self) -> None:
        """Forget all averages; the next sample begins new ones."""
        self._again.set()

    @property
    def version(self) -> int:
        """Changes with the findings."""
        return self._version

    def findings(self) -> Findings:
        """The newest; some tenths of a second old while it runs."""
        return self._findings

    # --- the thread's own ---

    def _work(self) -> None:
        published = last = clock.monotonic()
        fresh = False
        while not self._closing.is_set():
            sample = self._samples.take(0.25)
            now = clock.monotonic()
            self._credit = min(self._credit + SHARE * (now - last), PUBLISH_EVERY)
            last = now
            try:
                if sample is not None:
                    self._take(sample)
                    fresh = True
                if self._again.is_set() and sample is None:  # a run that stands still forgets, too
                    self._again.clear()
                    self._averages = None
                    self._publish(Findings(comparison="Averages begin with the next step."))
                if fresh and self._averages is not None and now - published >= PUBLISH_EVERY:
                    self._publish(replace(self._averages.findings(), lost=self._samples.lost))
                    published, fresh = clock.monotonic(), False
            except MldsimError as error:
                self._give_up(str(error))
            except Exception as error:  # a thread's exception would be lost, and the run must go on
                logger.error("analysis", exc_info=error)
                self._give_up(f"The analyses stopped because of an internal error ({error}); the log has the details.")

    def _take(self, sample: Sample) -> None:
        if self._reference is None:
            self._publish(Findings(comparison="The CP2K reference is being measured."))
            self._reference = self._make_reference(self._closing.is_set)
        averages = self._averages
        if averages is None or averages.series is not sample.series or self._again.is_set():
            self._again.clear()
            averages = self._averages = Averages(sample.series, sample.frame.box, self._reference)
        began = clock.thread_time()
        measured = averages.add(sample, structure=self._credit > 0.0 or not averages.frames)
        if measured:
            self._credit -= clock.thread_time() - began

    def _give_up(self, reason: str) -> None:
        self._samples.wanted = False
        self._averages = None
        self._publish(Findings(comparison=reason))

    def _publish(self, findings: Findings) -> None:
        self._findings = findings
        self._version += 1
