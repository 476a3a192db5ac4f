"""Chemical species: symbols, atomic numbers, masses, radii.

The tables are ASE's; they are imported only where they are used, because a model file carries the masses of
its own species and a run therefore needs no table at all.
"""

from mldsim.errors import InputError


def atomic_number(symbol: str) -> int:
    """Atomic number of a chemical symbol.

    Raises
    ------
    InputError
        If there is no such element.
    """
    from ase.data import atomic_numbers

    number: int | None = atomic_numbers.get(symbol)
    if not number:
        raise InputError(f"'{symbol}' is not the symbol of a chemical element.")
    return number


def symbol_of(number: int) -> str:
    """Chemical symbol of an atomic number.

    Raises
    ------
    InputError
        If there is no such element.
    """
    from ase.data import chemical_symbols

    if not 1 <= number < len(chemical_symbols):
        raise InputError(f"{number} is not the atomic number of a chemical element.")
    return str(chemical_symbols[number])


def atomic_mass(symbol: str) -> float:
    """Standard atomic mass, amu."""
    from ase.data import atomic_masses

    return float(atomic_masses[atomic_number(symbol)])


def pair_name(a: str, b: str) -> str:
    """Name of an unordered pair of species, the lighter element last for water: ``O-O``, ``O-H``, ``H-H``."""
    first, second = sorted((a, b), key=lambda s: (-atomic_number(s), s))
    return f"{first}-{second}"
