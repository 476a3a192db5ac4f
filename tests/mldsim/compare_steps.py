"""Compare whole steps on the GPU with those of the CPU; run by test_device_stepper.py in a process of its own.

Prints a JSON object: for each case the largest differences of positions, velocities, losses and forces and of the rows
of the thermo table, each in units of the largest value, and what the case covered.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
from numba import config

from mldsim import evaluator
from mldsim.device_stepper import ENTRIES
from mldsim.kernels import cuda, mutual
from mldsim.kernels.cubic import features
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Wall, Waves
from mldsim.parameters import DeviceKind, Parameters, Precision, Setup, ThermostatKind
from mldsim.radial import water_basis
from mldsim.simulation import Simulation
from mldsim.water import water_box

SYMBOLS, MASSES = ("O", "H"), np.array([15.999, 1.008])

CASES = {
    "nose-hoover": (Scope.SHARED, "float64", {}),
    "csvr": (Scope.SHARED, "float64", {"cubic": True}),
    "langevin": (Scope.OWN, "float64", {}),
    "own": (Scope.OWN, "float64", {"thermostat": ThermostatKind.NOSE_HOOVER}),
    "not local": (Scope.SHARED, "float64", {"cubic": True, "mutual": True, "thermostat": ThermostatKind.NONE}),
    "single": (Scope.SHARED, "float32", {"thermostat": ThermostatKind.NOSE_HOOVER}),
}


def model_for(scope: Scope, *, cubic: bool = False, mutual_parts: bool = False) -> LossModel:
    """A weak random loss, ranks 0 and 1, and springs of the wall that hold some pairs apart."""
    rng = np.random.default_rng(5)
    n_radial, rank, n_channels = 3, 1, 2
    width = 2 * n_radial
    quadratic = rng.normal(size=(2, rank + 1, width, width)) * 0.01
    parts: dict[str, object] = {}
    if cubic:
        parts["cubic"] = Cubic(
            rng.normal(size=(2, rank + 1, n_channels, width)) * 0.1, rng.normal(size=(2, n_channels)),
            np.array([1.0, 2.0]), rng.normal(size=(2, len(features(n_channels, rank)))) * 0.03,
        )  # fmt: skip
    if mutual_parts:
        hops, waves = (rng.normal(size=(2, len(mutual.columns(2, n, n_channels)))) * 0.05 for n in (n_radial, 1))
        parts |= {"hops": Hops(hops), "waves": Waves(np.array([0.5]), 1.9, waves)}
    return LossModel(
        "test", SYMBOLS, MASSES, scope, 3 if cubic else 2, rank, water_basis(SYMBOLS, n_radial, 4.2),
        Wall(30.0, np.array([[2.25, 0.8], [0.8, 1.2]])), rng.normal(size=(2, width)) * 0.05,
        quadratic + quadratic.transpose(0, 1, 3, 2), FittedRanges({}, np.zeros((2, width, 2))), **parts,
    )  # fmt: skip


def compared(name: str, steps: int) -> dict[str, object]:
    scope, precision, options = CASES[name]
    kind = options.get("thermostat") or ThermostatKind(name)
    model = model_for(scope, cubic=options.get("cubic", False), mutual_parts=options.get("mutual", False))
    parameters = Parameters(thermostat=kind, timestep=0.25, coupling_time=20.0, temperature=400.0)
    state = water_box(8, 0.9, 300.0, 3, SYMBOLS, MASSES)
    runs = []
    for device in (DeviceKind.CPU, DeviceKind.CUDA):
        setup = Setup(molecules=8, device=device, precision=Precision(precision))
        run = Simulation(state, model, parameters, setup)
        run.advance(1)
        run.advance(steps - 1)
        runs.append((run, run.thermo(), run.frame()))
    (_, wanted_row, wanted), (run, row, frame) = runs
    stepper = run._stepper
    difference = {
        what: largest_difference(getattr(frame, what), getattr(wanted, what))
        for what in ("positions", "velocities", "losses", "forces")
    }
    rows = [
        abs(getattr(row, what) - getattr(wanted_row, what)) / max(abs(getattr(wanted_row, what)), 1e-2)
        for what in ("time", "temperature", "kinetic", "loss", "heat", "conserved", "nonreciprocal_power")
    ]
    columns = stepper._box[ENTRIES].shape[1]
    run._run.limits = replace(run._run.limits, bond=0.1)
    coming = stepper.copy()
    halted = stepper.advance(5, 0.25, lambda: "a bond")
    copied = coming.wait()
    again = Simulation(state, model, parameters, runs[1][0].setup)
    again.advance(steps)
    sent = again.send_frame()
    again.advance(1)
    same = sent.wait()
    return {
        "device": run.device,
        "whole steps": type(stepper).__name__ == "DeviceStepper",
        "row": float(np.nanmax(rows)),
        "moved": largest_difference(frame.positions, state.positions),
        "columns": columns,
        "halted": halted,
        "copied": all(np.array_equal(getattr(copied, what), getattr(frame, what)) for what in copied._fields),
        "portions": bool(np.array_equal(same.positions, frame.positions) and np.array_equal(same.forces, frame.forces)),
        **difference,
    }


def largest_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


if __name__ == "__main__":
    if config.ENABLE_CUDASIM:
        cuda.THREADS = 4
        # The list is made anew at nearly every step, and is too short at first.
        evaluator.SKIN = 0.02
        evaluator.Evaluator.crowd = lambda self: 20  # type: ignore[method-assign]
    names = sys.argv[2:] or list(CASES)
    print(json.dumps({name: compared(name, int(sys.argv[1])) for name in names}))
