"""What the window shows, as plain values: no Qt here, so all of it can be tested without a display."""

from __future__ import annotations

import enum
import html
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import MldsimError
from mldsim.frames import Pull
from mldsim.loss import LossModel, Scope, load_model
from mldsim.messages import RunState, Status
from mldsim.parameters import FIELDS, Field, ThermostatKind
from mldsim.units import format_time

Array = NDArray[np.float64]

THERMOSTAT_NAMES: dict[ThermostatKind, str] = {
    ThermostatKind.NOSE_HOOVER: "Nosé–Hoover",
    ThermostatKind.LANGEVIN: "Langevin (BAOAB)",
    ThermostatKind.CSVR: "CSVR (rescaling)",
    ThermostatKind.NONE: "None (constant energy)",
}

THERMOSTAT_PHYSICS: dict[ThermostatKind, str] = {
    ThermostatKind.NOSE_HOOVER: "A chain of extra variables breathes heat in and out: deterministic, canonical.",
    ThermostatKind.LANGEVIN: "Friction and noise on every agent: canonical and robust, slows diffusion.",
    ThermostatKind.CSVR: "Velocities are rescaled to a kinetic energy drawn at random: canonical, mild.",
    ThermostatKind.NONE: "No heat is exchanged; with a shared loss the total energy stays what it is.",
}

SCOPE_NAMES: dict[Scope, str] = {Scope.SHARED: "Shared", Scope.OWN: "Own"}

RUNNING_MEAN = 0.5
"""Window of running means at first, ps: many O-H periods, still short beside a change of the target."""

MEANS = 5_000
"""Rows of which each has its running mean; of more rows only some have."""

WINDOWS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Windows of running means that can be chosen, ps."""

PACES = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4)
"""Speeds that can be asked for, fs of simulated time per second; above the last one it is flat out."""


class SliderScale:
    """Maps the range of a field onto the positions 0..`positions` of a slider.

    The scale is logarithmic where the range spans two decades or more, linear elsewhere.
    """

    positions = 1000

    def __init__(self, field: Field) -> None:
        self._field = field
        self.logarithmic = field.minimum > 0 and field.maximum >= 100 * field.minimum

    def position(self, value: float) -> int:
        """Nearest position of the slider."""
        low, high = self._field.minimum, self._field.maximum
        value = min(max(value, low), high)
        part = math.log(value / low) / math.log(high / low) if self.logarithmic else (value - low) / (high - low)
        return round(part * self.positions)

    def value(self, position: int) -> float:
        """Value at a position, rounded to what a hand can mean by it: three digits, or an integer."""
        low, high = self._field.minimum, self._field.maximum
        part = position / self.positions
        value = low * (high / low) ** part if self.logarithmic else low + (high - low) * part
        value = float(f"{value:.3g}")
        if self._field.integer:
            value = float(round(value))
        return min(max(value, low), high)


def field_tip(name: str) -> str:
    """The tooltip of a field: its sentence of physics, its range and its default."""
    field = FIELDS[name]
    unit = f" {field.unit}" if field.unit else ""
    return (
        f"<p>{field.physics}</p>"
        f"<p>Range {number(field.minimum)} to {number(field.maximum)}{unit}, default {number(field.default)}{unit}.</p>"
    )


def number(value: float) -> str:
    """A number as people write it: no trailing zeros, no exponent below a hundred million."""
    if float(value).is_integer() and abs(value) < 1e10:
        return f"{int(value)}"
    return f"{value:.6g}"


def playback_paces(interval: float) -> tuple[float, ...]:
    """Speeds at which a trajectory can be played, fs per second: from one to some 250 of its frames per second."""
    low, high = math.floor(math.log10(interval)), math.ceil(math.log10(250.0 * interval))
    series = [part * 10.0**power for power in range(low, high + 1) for part in (1.0, 2.0, 5.0)]
    return tuple(pace for pace in series if 0.99 * interval <= pace <= 251.0 * interval)


def next_pace(pace: float | None, actual: float, direction: int, paces: tuple[float, ...] = PACES) -> float | None:
    """The next faster (+1) or slower (-1) speed of `paces`, fs per second; None is flat out.

    Slower than flat out is slower than what it makes: `actual`, or the slowest where nothing runs.
    """
    if direction > 0:
        return None if pace is None else next((speed for speed in paces if speed > pace), None)
    now = min(pace if pace is not None else math.inf, actual if actual > 0.0 else math.inf)
    return next((speed for speed in reversed(paces) if speed < 0.98 * now), paces[0])


def pace_text(pace: float | None) -> str:
    """A speed for people: ``200 fs/s``, ``2 ps/s``, ``Flat out``."""
    if pace is None:
        return "Flat out"
    if pace >= 999.5e3:
        return f"{pace / 1e6:.3g} ns/s"
    return f"{pace / 1e3:.3g} ps/s" if pace >= 999.5 else f"{pace:.3g} fs/s"


class StatusLevel(enum.StrEnum):
    """How a part of the status bar is to be shown."""

    PLAIN = "plain"
    RECORDING = "recording"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class StatusLine:
    """The texts of the status bar; and how fast simulated time goes, which is told beside the speed that is asked for.

    `part` is how much of a run with an end is done, 0 to 1.
    """

    device: str
    device_tip: str
    agents: str
    time: str
    speed: str
    rate: str
    actual: str
    stretch: str
    part: float | None
    pull: str
    loss: str
    loss_tip: str
    display: str
    recording: str
    recording_tip: str
    recording_level: StatusLevel


STATE_NAMES: dict[RunState, str] = {
    RunState.STARTING: "Starting",
    RunState.RUNNING: "Running",
    RunState.PAUSED: "Paused",
    RunState.QUENCHING: "Quenching",
    RunState.FAILED: "Not started",
    RunState.CLOSED: "Closed",
}


def status_line(status: Status, frames_per_s: float, pull: Pull | None = None) -> StatusLine:
    """The texts of the status bar for a status of the runner."""
    running = status.run_state in (RunState.RUNNING, RunState.QUENCHING)
    recording, tip, level = "Not recording", "Ctrl+R records every frame to an H5MD file.", StatusLevel.PLAIN
    if status.recording is not None:
        rec = status.recording
        recording, level = f"● {rec.path.name} · {_count(rec.frames_written, 'frame')}", StatusLevel.RECORDING
        tip = (
            f"Every {_count(rec.every, 'step')} to {rec.path}; {_count(rec.frames_queued, 'frame')} wait to be written."
        )
        if status.waiting_for_disk:
            recording, level = f"{recording} · waiting for disk", StatusLevel.WARNING
            tip += " The simulation waits because the disk is slower: no frame is lost."
    played = status.playback
    return StatusLine(
        device=f"Playing {played.title}" if played is not None else status.device or "No device yet",
        device_tip=status.device_reason or "The device is chosen when the simulation is built.",
        agents=_count(status.n_agents, "agent") if status.n_agents else "",
        time=f"{STATE_NAMES[status.run_state]} · {format_time(status.time)}",
        speed=f"{_rate(status.steps_per_s)} steps/s" if running else "",
        rate=f"{_rate(status.ns_per_day)} ns/day" if running else "",
        actual=pace_text(_fs_per_second(status)) if running and status.steps_per_s > 0.0 else "",
        stretch=_stretch_text(status),
        part=_part(status),
        pull="" if pull is None else f"Pull {float(np.linalg.norm(pull.force)):.2f} eV/Å",
        loss="Loss edited" if status.loss_edit else "",
        loss_tip=f"Changed of the fitted loss: {status.loss_edit}.",
        display=f"{frames_per_s:.0f} frames/s" if running else "",
        recording=recording,
        recording_tip=tip,
        recording_level=level,
    )


def _fs_per_second(status: Status) -> float:
    return status.ns_per_day / 86_400e-6


def _stretch_text(status: Status) -> str:
    """How far a run with an end is, and how long it still takes on the clock."""
    stretch = status.stretch
    if stretch is None:
        return ""
    done, whole = status.time - stretch.begin, stretch.end - stretch.begin
    text = f"{format_time(done)} of {format_time(whole)}" if done < whole else f"{format_time(whole)} done"
    if status.ns_per_day > 0.0 and done < whole:
        text += f" · {clock_time((whole - done) / _fs_per_second(status))} left"
    return text


def _part(status: Status) -> float | None:
    stretch = status.stretch
    if stretch is None:
        return None
    return min(max((status.time - stretch.begin) / (stretch.end - stretch.begin), 0.0), 1.0)


def clock_of(time: float, end: float) -> str:
    """A time, fs, of a run that goes until `end`, with as many digits throughout: ``2.50 ps``."""
    if end < 1e3:
        return f"{time:.1f} fs"
    return f"{time / 1e3:.3f} ps" if end < 1e6 else f"{time / 1e6:.4f} ns"


def clock_time(seconds: float) -> str:
    """A time on the clock for people: ``42 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _count(n: int, what: str) -> str:
    text = f"{n:,}".replace(",", "\u2009")
    return f"{text} {what}" if n == 1 else f"{text} {what}s"


def _rate(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\u2009") if value >= 100 else f"{value:.3g}"


# --- curves -----------------------------------------------------------------------------------------------------


class Smoothing(enum.Enum):
    """What of a curve over time is drawn."""

    RAW = "raw"
    SMOOTHED = "smoothed"
    BOTH = "both"


SMOOTHING_NAMES: dict[Smoothing, str] = {
    Smoothing.RAW: "Raw",
    Smoothing.SMOOTHED: "Smoothed",
    Smoothing.BOTH: "Raw and smoothed",
}


@dataclass(frozen=True, slots=True)
class Column:
    """How a column of the thermo table is drawn.

    Attributes
    ----------
    name : str
        In legends.
    axis : str
        Label of the axis, with the unit: columns with the same one can share a plot.
    colour : str
        Name of a field of `theme.Colours`.
    physics : str
        One sentence.
    factor : float
        From the unit of the table to that of the axis.
    changes : bool
        Drawn as the change since the first row.
    extensive : bool
        Grows with the number of agents, and is drawn per agent.
    dashed : bool
        Something to compare with: never smoothed.
    """

    name: str
    axis: str
    colour: str
    physics: str
    factor: float = 1e3
    changes: bool = True
    extensive: bool = True
    dashed: bool = False


_KELVIN, _ENERGY, _POWER = "Temperature (K)", "ΔE (meV/agent)", "Power (meV/fs/agent)"

COLUMNS: dict[str, Column] = {
    "temperature": Column(
        "temperature", _KELVIN, "temperature", "Twice the kinetic energy per degree of freedom, over Boltzmann's "
        "constant; in so few agents it fluctuates by itself, and its mean is what meets the target.",
        1.0, changes=False, extensive=False,
    ),
    "target": Column(
        "target", _KELVIN, "text", "What the thermostat aims at.", 1.0, changes=False, extensive=False, dashed=True
    ),
    "kinetic": Column("kinetic", _ENERGY, "kinetic", "Kinetic energy of all agents."),
    "loss": Column("loss", _ENERGY, "loss", "Sum of all losses: its zero is arbitrary, only changes mean something."),
    "total": Column("total", _ENERGY, "total", "Kinetic energy plus loss."),
    "conserved": Column(
        "conserved", _ENERGY, "conserved", "Kinetic energy, loss, and the heat that the thermostat holds: its drift "
        "measures the time step.",
    ),
    "heat": Column("heat to thermostat", _ENERGY, "heat", "Heat that the thermostat has carried away.", -1e3),
    "oxygen_loss": Column(
        "loss per O", _ENERGY, "oxygen", "Mean loss of an oxygen; known up to a constant of the species.",
        extensive=False,
    ),
    "hydrogen_loss": Column(
        "loss per H", _ENERGY, "hydrogen", "Mean loss of a hydrogen; known up to a constant of the species.",
        extensive=False,
    ),
    "nonreciprocal_power": Column(
        "non-reciprocal power", _POWER, "heat", "What forces that are not reciprocal do to the agents per time: it "
        "heats them.", changes=False,
    ),
}  # fmt: skip
"""Every column that can be plotted. All energies are changes since the first row, per agent (losses of a species: per
agent of it), so that they can be compared with each other."""


@dataclass(frozen=True, slots=True)
class Curves:
    """What the plots draw.

    Attributes
    ----------
    time : (n_rows,) float64, ps
    values : dict of str to (n_rows,) float64
        Of the columns that the run has, in the unit of their axis. `conserved` is there only where a conserved quantity
        exists, `nonreciprocal_power` only where forces are not reciprocal.
    """

    time: Array
    values: dict[str, Array]


def curves(columns: Mapping[str, Array], n_agents: int) -> Curves | None:
    """Turn the columns of a thermo table into curves; None when there is nothing to draw.

    Parameters
    ----------
    columns : mapping of (n_rows,) float64
        `ThermoTable.columns()`.
    n_agents : int
    """
    time = columns["time"]
    if len(time) == 0 or n_agents == 0:
        return None
    values: dict[str, Array] = {}
    for name, column in COLUMNS.items():
        raw = columns[name]
        if not np.isfinite(raw).all() or (name == "nonreciprocal_power" and not raw.any()):
            continue
        start = raw[0] if column.changes else 0.0
        values[name] = (raw - start) * (column.factor / (n_agents if column.extensive else 1))
    return Curves(time * 1e-3, values)


class RunningMean:
    """Means over the last `window` of time before a row (over what there is, near the start).

    The rows need not be equally spaced: a mean is the integral by the trapezoidal rule divided by the time. Of more
    rows than `MEANS` it is told for every second, fourth, ... and for the last: from row to row it hardly changes.

    Parameters
    ----------
    rows : (n_rows,) float64
        Times that all curves have in common.
    window : float
        In their unit.

    Attributes
    ----------
    rows : (n_rows,) float64
    time : (n_means,) float64
        Where the means are told.
    """

    def __init__(self, rows: Array, window: float) -> None:
        self.rows = rows
        last = len(rows) - 1
        end = np.arange(last, step=1 << (len(rows) // MEANS).bit_length()) if last > 0 else np.empty(0, np.intp)
        self._end = np.append(end, last) if last >= 0 else end
        self.time = rows[self._end]
        start = np.searchsorted(rows, self.time - window, side="left")
        self._start = np.minimum(start, np.maximum(self._end - 1, 0))
        span = self.time - rows[self._start]
        self._first = span <= 0.0  # a mean over no time is the value itself
        self._rate = 1.0 / np.where(self._first, 1.0, span)
        self._half_steps = 0.5 * np.diff(rows)

    def of(self, values: Array) -> Array:
        """The means of a curve, (n_means,) float64."""
        integral = np.zeros(len(values))
        np.cumsum((values[1:] + values[:-1]) * self._half_steps, out=integral[1:])
        means = (integral[self._end] - integral[self._start]) * self._rate
        return np.where(self._first, values[self._end], means)


def thinned(x: Array, y: Array, low: float, high: float, points: int) -> tuple[Array, Array]:
    """What of a curve has to be drawn between `low` and `high`: at most about 4 `points` of it.

    Of every bucket the least and the greatest value stay, so that a spike is never lost. Buckets become twice as long
    rather than a little longer, so that all but the last stay what they are while a run goes on.
    """
    first = max(int(np.searchsorted(x, low)) - 1, 0)
    last = min(int(np.searchsorted(x, high, side="right")) + 1, len(x))
    x, y = x[first:last], y[first:last]
    bucket = 1 << max(len(x) // points, 1).bit_length() - 1
    if bucket <= 2:
        return x, y
    whole = len(x) // bucket * bucket
    rows = y[:whole].reshape(-1, bucket)
    base = np.arange(0, whole, bucket)
    picked = np.sort(np.stack([base + rows.argmin(axis=1), base + rows.argmax(axis=1)], axis=1), axis=1).ravel()
    picked = np.concatenate([picked, np.arange(whole, len(x))])
    return x[picked], y[picked]


def drift(time: Array, values: Array) -> float:
    """Slope of a straight line through a curve (time in ps), least squares; NaN for less than 0.1 ps."""
    if len(time) < 3 or time[-1] - time[0] < 0.1:
        return math.nan
    t = time - time.mean()
    # Sums, not scalar products: those wake the threads of BLAS, which the simulation has a better use for.
    return float((t * values).sum() / (t * t).sum())


# --- the card of a model ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a panel says of a loss model, as rich text: in short, and in full for a tooltip."""

    short: str
    full: str


def model_card(model: str, model_name: str) -> ModelCard:
    """The card of a shipped model or of a file."""
    try:
        loaded = load_model(model)
    except MldsimError:  # the file went away after the engine had read it
        return ModelCard(html.escape(model_name), "")
    return card_of(loaded)


def card_of(model: LossModel) -> ModelCard:
    """The card of a loaded model: its form, its error, its data, what it is for and how long it stays healthy."""
    card = model.card
    ranks = "rank 0" if model.max_rank == 0 else f"ranks 0–{model.max_rank}"
    order = {1: "linear", 2: "quadratic", 3: "cubic"}.get(model.order, f"order {model.order}")
    short = [f"{SCOPE_NAMES[model.scope]} loss · {order} · {ranks} · cutoff {model.cutoff:g} Å"]
    error = _held_out_error(card)
    if error is not None:
        short.append(f"Held-out force error {error:.0f} meV/Å")
    told = {key: card[key] for key in ("purpose", "theory", "stability") if isinstance(card.get(key), str)}
    short += [told[key] for key in ("purpose", "theory") if key in told]
    full = [f"{model.name}: {model.n_parameters} parameters for {', '.join(model.symbols)}", *short]
    full += [told[key] for key in ("stability",) if key in told]
    return ModelCard(
        "<br>".join(html.escape(line) for line in short), "".join(f"<p>{html.escape(line)}</p>" for line in full)
    )


def _held_out_error(card: Mapping[str, Any]) -> float | None:
    """Root mean square of the errors on held-out frames, meV/angstrom, as ``mldsim fit`` writes it."""
    value: Any = card
    for key in ("errors", "holdout", "force_rmse_meV_A"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
