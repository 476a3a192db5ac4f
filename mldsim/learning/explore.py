"""One run of the model at one temperature and density, with a look at its doubt every few femtoseconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.dataset import LabelledFrames
from mldsim.errors import LeftPhysics, WorkFailed
from mldsim.learning.choose import LOST, spaced, urgency
from mldsim.learning.frames import Found, Why, can_be_labelled
from mldsim.learning.limits import Limits, MakeDoubt
from mldsim.learning.settings import LearnSettings, RunPlan
from mldsim.loss import LossModel, Scope, load_model
from mldsim.molecules import molecules_of
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.simulation import Simulation, build_simulation
from mldsim.state import State
from mldsim.water import frame_state, read_structure

HEATING = 0.25
"""Share of a run in which the target rises from the coolest temperature of the round to the run's own: what is doubtful
shows at the lowest temperature at which it does, and not all at once."""

COUPLING = {Scope.SHARED: (ThermostatKind.CSVR, 100.0), Scope.OWN: (ThermostatKind.NOSE_HOOVER, 50.0)}
"""Thermostat and its coupling time, fs; own-scope forces heat, and plain Nose-Hoover holds them (docs/design.md)."""

MOST_STARTS = 5
"""A run that is stopped early begins anew with another seed, so often, until its time is used: a poor model shows many
of its faults in one round."""

APART = 50.0
"""fs, to both sides of a held-out frame, in which no frame is fitted."""


@dataclass(frozen=True, slots=True)
class Explored:
    """What came of a run.

    Attributes
    ----------
    symbols : tuple of str
        Of the agents; empty where no start could be made.
    doubtful : list of Found
        Most urgent first, none a neighbour in time of another or of a sample.
    samples : list of Found
        At random times, whatever the doubt.
    starts, looks, warned : int
        How often it began; frames looked at, and how many of them warned.
    unlabelled : int
        Frames worth a label that no engine can label, because two nuclei are one.
    mean_doubt, largest_doubt : float, eV/angstrom
        Of all agents at all looks, and of the most doubtful one; 0 without a look.
    time : float, fs
        How long it ran, all starts together.
    stopped : str or None
        Why it ended early the first time.
    """

    symbols: tuple[str, ...]
    doubtful: list[Found]
    samples: list[Found]
    starts: int
    looks: int
    warned: int
    unlabelled: int
    mean_doubt: float
    largest_doubt: float
    time: float
    stopped: str | None


@dataclass(slots=True)
class _Trace:
    """What one start came upon."""

    looked: list[float] = field(default_factory=list)
    """Mean doubt at every look, eV/angstrom."""
    warned: int = 0
    found: list[Found] = field(default_factory=list)
    samples: list[Found] = field(default_factory=list)
    symbols: tuple[str, ...] = ()
    largest: float = 0.0
    time: float = 0.0
    stopped: str | None = None


def explore(
    model_file: Path,
    plan: RunPlan,
    settings: LearnSettings,
    limits: Limits,
    make_doubt: MakeDoubt,
    *,
    data: Sequence[LabelledFrames] = (),
    device: DeviceKind = DeviceKind.AUTO,
    precision: Precision = Precision.SINGLE,
    progress: Callable[[int], None] | None = None,
) -> Explored:
    """Run the model and keep what it is not sure of.

    Parameters
    ----------
    model_file : Path
    plan : RunPlan
    settings : LearnSettings
    limits : Limits
        Above them doubt warns; a contact warns inside the model's wall, where no pair of the data was.
    make_doubt : callable
    data : sequence of LabelledFrames
        Frames to start from, unless the settings have another start.
    device, precision
        Of the run.
    progress : callable, optional
        Told how many looks are done.

    Raises
    ------
    InputError
        When the box does not fit the model, or the structure cannot be used.
    """
    model = load_model(model_file)
    rng = np.random.default_rng(plan.seed)
    sampled = set(rng.choice(settings.looks, min(settings.samples_per_run, settings.looks), replace=False).tolist())
    traces: list[_Trace] = []
    looks = 0
    while looks < settings.looks and len(traces) < MOST_STARTS:
        seed = plan.seed if not traces else int(rng.integers(2**31))
        setup = Setup(
            model=str(model_file),
            density=plan.density,
            seed=seed,
            start=settings.start,
            device=device,
            precision=precision,
        )
        if settings.molecules is not None:
            setup = replace(setup, molecules=settings.molecules)

        def looked(number: int, before: int = looks) -> bool:
            """Note a look; whether it is a sample."""
            if progress is not None:
                progress(before + number)
            return before + number - 1 in sampled

        traces.append(_run(model, setup, plan, settings, data, settings.looks - looks, limits, make_doubt, looked))
        looks += len(traces[-1].looked)
    doubtful: list[Found] = []
    for trace in traces:
        far = [f for f in trace.found if all(abs(f.time - sample.time) >= APART for sample in trace.samples)]
        doubtful += spaced([frame for frame in far if can_be_labelled(frame)])
    return Explored(
        symbols=next((trace.symbols for trace in traces if trace.symbols), ()),
        doubtful=sorted(doubtful, key=urgency)[: settings.frames],
        samples=[frame for trace in traces for frame in trace.samples if can_be_labelled(frame)],
        starts=len(traces),
        looks=looks,
        warned=sum(trace.warned for trace in traces),
        unlabelled=sum(not can_be_labelled(frame) for trace in traces for frame in trace.found),
        mean_doubt=float(np.mean([doubt for trace in traces for doubt in trace.looked])) if looks else 0.0,
        largest_doubt=max(trace.largest for trace in traces),
        time=sum(trace.time for trace in traces),
        stopped=next((trace.stopped for trace in traces if trace.stopped), None),
    )


def _run(
    model: LossModel,
    setup: Setup,
    plan: RunPlan,
    settings: LearnSettings,
    data: Sequence[LabelledFrames],
    at_most: int,
    limits: Limits,
    make_doubt: MakeDoubt,
    looked: Callable[[int], bool],
) -> _Trace:
    """One start, up to so many looks."""
    kind, coupling = COUPLING[model.scope]
    coolest = min(settings.temperatures)
    parameters = Parameters(temperature=coolest, thermostat=kind, coupling_time=coupling, timestep=settings.timestep)
    trace = _Trace()
    try:
        simulation = _started(setup, parameters, model, settings, data)
    except WorkFailed as error:
        trace.stopped = str(error)
        return trace
    state = simulation.state
    trace.symbols = tuple(state.symbols[index] for index in state.species)
    doubt = make_doubt(model, state.species, state.box)
    heating = max(1, round(HEATING * settings.looks))
    latest: Found | None = None
    while len(trace.looked) < at_most and trace.stopped is None:
        target = coolest + (plan.temperature - coolest) * min(1.0, (len(trace.looked) + 1) / heating)
        if target != simulation.parameters.temperature:
            simulation.set_parameters(parameters.with_changes(temperature=target))
        try:
            simulation.advance(settings.steps_per_look)
        except LeftPhysics as error:
            trace.stopped = str(error)
            last = latest or _look(simulation, doubt(state.positions), limits, 1.0)
            trace.found.append(replace(last, why=Why.STOP))
            break
        latest = _look(simulation, doubt(state.positions), limits, simulation.evaluation.closest)
        if not np.isfinite(latest.doubts).all():
            raise WorkFailed(
                f"The model '{model.name}' has a doubt that is not a finite number, in the run at {plan} after "
                f"{units.format_time(state.time)}; fit it anew."
            )
        trace.looked.append(float(latest.doubts.mean()))
        trace.largest = max(trace.largest, float(latest.doubts.max()))
        trace.warned += latest.why is not Why.SAMPLE
        if looked(len(trace.looked)):
            trace.samples.append(replace(latest, why=Why.SAMPLE))
        elif latest.why is not Why.SAMPLE:
            trace.found.append(latest)
        if latest.excess > LOST:
            worst = int(limits.excess(latest.doubts, state.species).argmax())
            trace.stopped = (
                f"The doubt of agent {state.symbols[state.species[worst]]} {worst} rose to "
                f"{1e3 * latest.doubts[worst]:.0f} meV/Å, {latest.excess:.1f} times its limit; the run was ended at "
                f"{units.format_time(state.time)}."
            )
    trace.time = state.time
    return trace


def _look(simulation: Simulation, doubts: NDArray[np.float64], limits: Limits, closest: float) -> Found:
    state = simulation.state
    excess = float(limits.excess(doubts, state.species).max())
    why = Why.CONTACT if closest < 1.0 else Why.DOUBT if excess > 1.0 else Why.SAMPLE
    return Found(state.positions.copy(), state.box.copy(), doubts, excess, state.time, why)


def _started(
    setup: Setup,
    parameters: Parameters,
    model: LossModel,
    settings: LearnSettings,
    data: Sequence[LabelledFrames],
) -> Simulation:
    """A frame of the smallest system of the data, drawn at random, or another start that the settings name.

    A box of water is relaxed by the model itself. Where that is poor, it relaxes into a hole; frames of the data are
    physics.
    """
    if settings.molecules is not None:
        return build_simulation(setup, parameters, lambda _: None)
    if settings.start is not None:
        given = read_structure(settings.start, model.symbols, model.masses, setup.seed, parameters.temperature)
    else:
        smallest = min(data, key=lambda system: system.n_agents)
        alike = [system for system in data if system.symbols == smallest.symbols]
        number = int(np.random.default_rng(setup.seed).integers(sum(system.n_frames for system in alike)))
        positions = np.concatenate([system.positions for system in alike])[number]
        box = np.concatenate([system.boxes for system in alike])[number]
        given = frame_state(
            smallest.symbols, positions, box, model.symbols, model.masses, setup.seed, parameters.temperature
        )
    return Simulation(at_density(given, setup.density), model, parameters, setup)


def at_density(state: State, density: float) -> State:
    """A copy whose molecules were moved as rigid bodies, with the box, to a density, g/cm^3."""
    factor = math.cbrt(state.density_g_cm3 / density)
    molecule = molecules_of(state.n_agents, state.bonds)
    mass = np.bincount(molecule, state.masses)
    centres = np.stack([np.bincount(molecule, state.masses * x) for x in state.positions.T], axis=1) / mass[:, None]
    moved = state.copy()
    moved.positions += (factor - 1.0) * centres[molecule]
    moved.box = state.box * factor
    return moved
