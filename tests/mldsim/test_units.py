"""Times as people write them, and constants that have to agree with each other."""

import math

import pytest

from mldsim import units
from mldsim.errors import InputError


@pytest.mark.parametrize(
    ("text", "fs"),
    [
        ("0.5fs", 0.5),
        ("20 ps", 20e3),
        ("1ns", 1e6),
        ("2us", 2e9),
        ("1.5", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3fs", 1e3),
        ("1E-2ps", 10.0),
        ("  7 fs ", 7.0),
        ("-1ps", -1e3),
        ("+2", 2.0),
    ],
)
def test_times_are_read(text: str, fs: float) -> None:
    assert units.parse_time(text) == pytest.approx(fs)


@pytest.mark.parametrize("text", ["", "fs", "1 m", "1s", "1FS", "one", "1,5ps", "nan", "inf", "1 2", "1fs2", "0x10"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a time: .*0\.5fs"):
        units.parse_time(text)


def test_a_bare_number_counts_in_the_unit_asked_for() -> None:
    assert units.parse_time("3", default_unit="ps") == 3000.0
    assert units.parse_time("3fs", default_unit="ps") == 3.0


@pytest.mark.parametrize(
    ("fs", "text"),
    [(250.0, "250 fs"), (12_500.0, "12.5 ps"), (3e6, "3 ns"), (2.5e9, "2.5 us"), (0.0, "0 fs"), (-1500.0, "-1.5 ps")],
)
def test_times_are_written_in_the_unit_that_suits(fs: float, text: str) -> None:
    assert units.format_time(fs) == text
    assert units.parse_time(text) == pytest.approx(fs)


def test_constants_agree_with_the_definitions_of_the_si() -> None:
    """Exact since 2019: e, k and N_A; the atomic mass constant is CODATA 2018."""
    e, k, n_a, amu = 1.602176634e-19, 1.380649e-23, 6.02214076e23, 1.66053906660e-27
    assert pytest.approx(k / e, rel=1e-9) == units.BOLTZMANN
    # kg m2/s2 of one amu at 1 A/fs = 1e5 m/s, in eV
    assert pytest.approx(amu * 1e10 / e, rel=1e-9) == units.MASS
    assert pytest.approx(e * n_a / 1e3, rel=1e-9) == units.KJ_MOL
    assert pytest.approx(amu * 1e3 / 1e-24, rel=1e-9) == units.AMU_PER_A3_IN_G_CM3


def test_atomic_units_agree_with_each_other() -> None:
    """hbar / E_h is the atomic unit of time; E_h a_0 / e^2 makes the Coulomb constant."""
    hbar = 6.582119569e-1  # eV fs
    assert pytest.approx(hbar / units.HARTREE, rel=1e-9) == units.ATOMIC_TIME
    assert pytest.approx(14.3996454784, rel=1e-9) == units.HARTREE * units.BOHR  # e^2 / (4 pi eps0), eV angstrom


def test_a_proton_at_room_temperature_moves_as_textbooks_say() -> None:
    """sqrt(k T / m) of 1 amu at 300 K is 1579 m/s."""
    speed = math.sqrt(units.BOLTZMANN * 300.0 / units.MASS)  # angstrom/fs
    assert speed * 1e5 == pytest.approx(1579.4, abs=0.5)
