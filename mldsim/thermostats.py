"""Thermostats: how heat is exchanged with the surroundings.

Each acts on the velocities at one place of the splitting in `integrators`, and keeps two accounts: `heat`, the energy
it has given to the agents, and `energy`, the energy of the bath, such that K + L + energy is conserved up to the
error of the time step. Where the bath has no variables of its own, energy = -heat.

All noise belongs to the state's key and its count of draws (`kernels.noise`), and everything else that a thermostat
remembers is in `variables`: a copy of the state and of the variables goes on bitwise, on a GPU up to rounding.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.kernels import motion, noise, nose_hoover
from mldsim.parameters import ThermostatKind
from mldsim.state import State

Array = NDArray[np.float64]


class Thermostat(Protocol):
    """What an integrator asks of a thermostat."""

    temperature: float
    """Target, K. It and `coupling_time` may be changed at any time; `energy` may jump then, `heat` does not."""
    coupling_time: float
    """fs"""
    heat: float
    """Energy given to the agents so far, eV."""

    @property
    def energy(self) -> float:
        """Energy of the bath, eV."""
        ...

    @property
    def variables(self) -> tuple[float, ...]:
        """All that it remembers, for a snapshot."""
        ...

    @variables.setter
    def variables(self, values: tuple[float, ...]) -> None: ...

    def outer(self, state: State, dt: float) -> None:
        """Act at the ends of a time step, for `dt` fs."""
        ...

    def inner(self, state: State, dt: float) -> None:
        """Act in the middle of a time step, for `dt` fs."""
        ...


class NoThermostat:
    """No exchange of heat: the agents keep their energy, and where the scope is own, their heating."""

    def __init__(self, temperature: float, coupling_time: float) -> None:
        self.temperature = temperature
        self.coupling_time = coupling_time
        self.heat = 0.0

    @property
    def energy(self) -> float:
        return -self.heat

    @property
    def variables(self) -> tuple[float, ...]:
        return (self.heat,)

    @variables.setter
    def variables(self, values: tuple[float, ...]) -> None:
        (self.heat,) = values

    def outer(self, state: State, dt: float) -> None:
        """Nothing."""

    def inner(self, state: State, dt: float) -> None:
        """Nothing."""


class Langevin(NoThermostat):
    """Friction and noise on every agent: the Ornstein-Uhlenbeck step of BAOAB, exact for any time step.

        v <- c v + sqrt(1 - c^2) sqrt(kT / m) R,   c = exp(-dt / tau)

    The friction is 1/tau. The momentum of the whole is not conserved: all 3 n degrees of freedom are thermal.
    Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34.

    Parameters
    ----------
    masses : (n_agents,) float64, amu
    temperature : float, K
    coupling_time : float, fs
        tau.
    """

    def __init__(self, masses: Array, temperature: float, coupling_time: float) -> None:
        super().__init__(temperature, coupling_time)
        self._width = np.sqrt(units.BOLTZMANN / (units.MASS * masses))  # at 1 K

    def inner(self, state: State, dt: float) -> None:
        before = state.kinetic_energy()
        keep = math.exp(-dt / self.coupling_time)
        share = math.sqrt(-math.expm1(-2.0 * dt / self.coupling_time) * self.temperature)
        motion.mix(state.velocities, self._width, keep, share, *state.key, state.next_draw())
        self.heat += state.kinetic_energy() - before


class CSVR(NoThermostat):
    """Canonical sampling through velocity rescaling: K itself makes a random walk whose distribution is canonical.

        K' = K alpha^2,  alpha^2 = c + (1 - c) q (R_1^2 + sum_{i=2}^{g} R_i^2) + 2 R_1 sqrt(c (1 - c) q),
        q = kT / (2 K),  c = exp(-dt / tau)

    exact for any time step; the sum of g - 1 squared normal numbers is drawn as one number.
    Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), eq. A7; the sign of alpha: Bussi and Parrinello,
    Comput. Phys. Commun. 179, 26 (2008).

    Parameters
    ----------
    degrees_of_freedom : int
        g.
    temperature : float, K
    coupling_time : float, fs
        tau: K relaxes as exp(-t / tau).
    """

    def __init__(self, degrees_of_freedom: int, temperature: float, coupling_time: float) -> None:
        super().__init__(temperature, coupling_time)
        self.freedoms = degrees_of_freedom

    def outer(self, state: State, dt: float) -> None:
        kinetic = state.kinetic_energy()
        normal, others = noise.normal_and_squares(*state.key, state.next_draw(), self.freedoms - 1)
        if kinetic == 0.0:  # nothing to rescale: after a quench the forces have to begin
            return
        c = math.exp(-dt / self.coupling_time)
        quantum = units.BOLTZMANN * self.temperature / (2.0 * kinetic)
        cross = math.sqrt((1.0 - c) * quantum) * normal + math.sqrt(c)
        square = cross * cross + (1.0 - c) * quantum * others
        motion.scale(state.velocities, math.copysign(math.sqrt(square), cross))
        self.heat += kinetic * (square - 1.0)


class NoseHooverChain:
    """Deterministic: a friction that follows the temperature, itself thermostatted by a chain of further ones.

        dv/dt = F/m - x_1 v                         Q_1 = g kT tau^2,  Q_k = kT tau^2
        dx_1/dt = (2 K - g kT) / Q_1 - x_1 x_2
        dx_k/dt = (Q_{k-1} x_{k-1}^2 - kT) / Q_k - x_k x_{k+1}        (the last without its last term)

    and the conserved quantity K + L + sum_k Q_k x_k^2 / 2 + g kT e_1 + kT sum_{k>1} e_k with de_k/dt = x_k.
    Martyna, Klein and Tuckerman, J. Chem. Phys. 97, 2635 (1992); integrated as in Martyna, Tuckerman, Tobias and Klein,
    Mol. Phys. 87, 1117 (1996), with the fourth-order weights of Suzuki and Yoshida.

    The chain is cut into as many equal parts of a time step as its fastest rate asks for: one in equilibrium, more when
    the coupling time is as short as the time step or the target has just jumped.

    Parameters
    ----------
    degrees_of_freedom : int
        g.
    temperature : float, K
    coupling_time : float, fs
        tau: K swings about its mean with a period of about 2 pi tau / sqrt(2).
    length : int
        Number of thermostats in the chain; 1 is the plain Nose-Hoover thermostat. Where forces heat the agents
        steadily, as those of own scope do, the plain one alone keeps the target: its rate changes until the mean of
        2 K is g kT, whatever the heat, while every further link rubs on that rate and settles for a higher temperature.
    """

    def __init__(self, degrees_of_freedom: int, temperature: float, coupling_time: float, length: int = 3) -> None:
        self.temperature = temperature
        self.coupling_time = coupling_time
        self.heat = 0.0
        self.freedoms = degrees_of_freedom
        self._rates = np.zeros(length)  # x_k, 1/fs
        self._angles = np.zeros(length)  # e_k

    @property
    def energy(self) -> float:
        each = 0.5 * (self.coupling_time * self._rates) ** 2 + self._angles
        each[0] *= self.freedoms
        return units.BOLTZMANN * self.temperature * float(each.sum())

    @property
    def variables(self) -> tuple[float, ...]:
        return (self.heat, *self._rates.tolist(), *self._angles.tolist())

    @variables.setter
    def variables(self, values: tuple[float, ...]) -> None:
        n = len(self._rates)
        self.heat, self._rates[:], self._angles[:] = values[0], values[1 : n + 1], values[n + 1 :]

    def inner(self, state: State, dt: float) -> None:
        """Nothing."""

    def outer(self, state: State, dt: float) -> None:
        kinetic = state.kinetic_energy()
        if not math.isfinite(kinetic):  # the guard will say so; there is no rate to follow
            return
        quantum = units.BOLTZMANN * self.temperature
        now = nose_hoover.propagate(kinetic, self._rates, self._angles, self.freedoms, quantum, self.coupling_time, dt)
        if kinetic > 0.0:
            motion.scale(state.velocities, math.sqrt(now / kinetic))
        self.heat += now - kinetic


def make_thermostat(
    kind: ThermostatKind,
    masses: Array,
    degrees_of_freedom: int,
    temperature: float,
    coupling_time: float,
    *,
    driven: bool = False,
) -> Thermostat:
    """A thermostat of that kind, at rest.

    Parameters
    ----------
    kind : ThermostatKind
    masses : (n_agents,) float64, amu
    degrees_of_freedom : int
    temperature : float, K
    coupling_time : float, fs
    driven : bool
        Whether the forces heat the agents steadily (own scope): Nose-Hoover is then used without a chain.
    """
    match kind:
        case ThermostatKind.NOSE_HOOVER:
            return NoseHooverChain(degrees_of_freedom, temperature, coupling_time, length=1 if driven else 3)
        case ThermostatKind.LANGEVIN:
            return Langevin(masses, temperature, coupling_time)
        case ThermostatKind.CSVR:
            return CSVR(degrees_of_freedom, temperature, coupling_time)
        case ThermostatKind.NONE:
            return NoThermostat(temperature, coupling_time)


def degrees_of_freedom(kind: ThermostatKind, n_agents: int, *, drift_removed: bool) -> int:
    """Degrees of freedom that carry kinetic energy.

    3 n - 3 where the total momentum stays zero: the dynamics conserves it, or the drift is removed after each step.
    3 n under the Langevin thermostat, whose noise moves the centre of mass as well.
    """
    thermal_drift = kind is ThermostatKind.LANGEVIN and not drift_removed
    return 3 * n_agents if thermal_drift else 3 * n_agents - 3
