"""What is read off a state: temperature, energies, the power of the non-reciprocal forces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.kernels import motion
from mldsim.state import State

Array = NDArray[np.float64]


def temperature(kinetic: float, degrees_of_freedom: int) -> float:
    """T = 2 K / (k g), K.

    Parameters
    ----------
    kinetic : float, eV
    degrees_of_freedom : int
        g: 3 n, or 3 n - 3 where the momentum is held at zero.
    """
    return 2.0 * kinetic / (units.BOLTZMANN * degrees_of_freedom)


def nonreciprocal_power(velocities: Array, forces: Array, shared_forces: Array) -> float:
    """Work per time done by the part of the forces that does not descend the common loss, eV/fs.

    With F_shared = -d(sum L)/dq, d(K + L)/dt = sum_i v_i . (F_i - F_shared,i) where no thermostat acts: it is the rate
    at which own-scope forces heat (or cool) the agents, and zero for shared scope.

    Parameters
    ----------
    velocities : (n_agents, 3) float64, angstrom/fs
    forces, shared_forces : (n_agents, 3) float64, eV/angstrom
    """
    return float(np.einsum("ij,ij->", velocities, forces - shared_forces))


def remove_drift(state: State) -> None:
    """Take the velocity of the centre of mass off every agent, in place: the momentum is zero afterwards."""
    motion.shift(state.velocities, state.momentum() / -state.masses.sum())


def draw_velocities(state: State, target: float, degrees_of_freedom: int) -> None:
    """Draw Maxwell-Boltzmann velocities from the state's own generator, in place.

    The momentum is then zero and the kinetic energy exactly ``degrees_of_freedom * k * target / 2``.

    Parameters
    ----------
    state : State
    target : float, K
    degrees_of_freedom : int
    """
    width = np.sqrt(units.BOLTZMANN * target / (units.MASS * state.masses))
    state.rng.standard_normal(out=state.velocities)
    state.velocities *= width[:, None]
    remove_drift(state)
    state.velocities *= np.sqrt(target / temperature(state.kinetic_energy(), degrees_of_freedom))
