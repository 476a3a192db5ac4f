"""A Nose-Hoover chain over one interval of time; the equations stand at `mldsim.thermostats.NoseHooverChain`."""

from __future__ import annotations

import math

from mldsim.kernels.caching import njit

_OUTER = 1.0 / (2.0 - 2.0 ** (1.0 / 3.0))
_MIDDLE = 1.0 - 2.0 * _OUTER  # weights of Suzuki and Yoshida, fourth order

RESOLUTION = 0.25
"""Largest product of a part of the interval and the chain's fastest rate."""

MOST_PARTS = 30


@njit(nogil=True, cache=True, error_model="numpy")
def _pull(k, kinetic, rates, freedoms, quantum, tau):  # type: ignore[no-untyped-def]
    """What drives rate k, without the friction by rate k + 1, 1/fs^2."""
    if k == 0:
        excess = 2.0 * kinetic / (freedoms * quantum) - 1.0
    else:
        excess = (freedoms if k == 1 else 1.0) * (rates[k - 1] * tau) ** 2 - 1.0
    return excess / tau**2


@njit(nogil=True, cache=True, error_model="numpy")
def _turn(k, kinetic, rates, freedoms, quantum, tau, t):  # type: ignore[no-untyped-def]
    """Rate k over a time t/2, in the friction of rate k + 1."""
    friction = math.exp(-0.25 * t * rates[k + 1]) if k + 1 < len(rates) else 1.0
    rates[k] = (rates[k] * friction + 0.5 * t * _pull(k, kinetic, rates, freedoms, quantum, tau)) * friction


@njit(nogil=True, cache=True, error_model="numpy")
def propagate(kinetic, rates, angles, freedoms, quantum, tau, dt):  # type: ignore[no-untyped-def]
    """Chain from its end to K and back, symmetric in time, in as many equal parts as its fastest rate asks for.

    Parameters
    ----------
    kinetic : float, eV
        K of the agents, finite.
    rates : (n,) float64, 1/fs
        x_k; changed in place.
    angles : (n,) float64
        e_k; changed in place.
    freedoms : float
        g.
    quantum : float, eV
        kT.
    tau : float, fs
    dt : float, fs

    Returns
    -------
    float
        K afterwards, eV: velocities are to be scaled by the root of its ratio to K before.
    """
    fastest = 0.0
    for k in range(len(rates)):
        pull = math.sqrt(abs(_pull(k, kinetic, rates, freedoms, quantum, tau)))
        fastest = max(fastest, abs(rates[k]), pull)
    parts = 1
    while parts < MOST_PARTS and parts * RESOLUTION < dt * fastest:
        parts += 1
    for _ in range(parts):
        for weight in (_OUTER, _MIDDLE, _OUTER):
            t = weight * dt / parts
            for k in range(len(rates) - 1, -1, -1):
                _turn(k, kinetic, rates, freedoms, quantum, tau, t)
            kinetic *= math.exp(-2.0 * t * rates[0])
            for k in range(len(rates)):
                angles[k] += t * rates[k]
            for k in range(len(rates)):
                _turn(k, kinetic, rates, freedoms, quantum, tau, t)
    return kinetic
