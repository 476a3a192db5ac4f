"""Units: angstrom, femtosecond, electronvolt, atomic mass unit, kelvin inside; conversions only at the edges.

The values are CODATA 2018 (NIST SP 961). A suffix such as `_K` or `_ps` marks a quantity that is
not in the internal unit or whose unit a reader could doubt.
"""

import re

from mldsim.errors import InputError

BOLTZMANN = 8.617333262e-5
"""Boltzmann constant, eV/K."""

MASS = 103.6426965268
"""One atomic mass unit, eV fs^2 / angstrom^2: kinetic energy is 0.5 * MASS * m * v^2."""

HARTREE = 27.211386245988
"""eV"""

BOHR = 0.529177210903
"""angstrom"""

ATOMIC_TIME = 2.4188843265857e-2
"""fs"""

AVOGADRO = 6.02214076e23
"""1/mol"""

AMU_PER_A3_IN_G_CM3 = 1.66053906660
"""Density of one atomic mass unit per cubic angstrom, g/cm^3."""

KJ_MOL = 96.48533212
"""One eV in kJ/mol."""

_TIME = {"fs": 1.0, "ps": 1e3, "ns": 1e6, "us": 1e9}
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)\s*\Z")


def parse_time(text: str, *, default_unit: str = "fs") -> float:
    """Read a time such as ``0.5fs``, ``20 ps`` or ``1ns``; a bare number counts in `default_unit`.

    Parameters
    ----------
    text : str
        What the user typed.
    default_unit : str
        ``fs``, ``ps``, ``ns`` or ``us``.

    Returns
    -------
    float
        The time in fs.

    Raises
    ------
    InputError
        If the text is not a number followed by a unit of time.
    """
    match = _QUANTITY.match(text)
    unit = (match[2] or default_unit) if match else ""
    if match is None or unit not in _TIME:
        raise InputError(f"'{text}' is not a time: write a number and a unit, such as 0.5fs, 20ps or 1ns.")
    return float(match[1]) * _TIME[unit]


def format_time(time: float) -> str:
    """Write a time in fs with the unit that suits it: ``250 fs``, ``12.5 ps``, ``3 ns``."""
    size = abs(time)
    unit = "fs" if size < 1e3 else "ps" if size < 1e6 else "ns" if size < 1e9 else "us"
    return f"{time / _TIME[unit]:.4g} {unit}"
