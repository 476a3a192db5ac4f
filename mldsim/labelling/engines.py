"""The theories that CP2K labels with: their input, what they can be asked, how they are called.

Every frame is computed by itself: the wave function starts from atoms, not from the frame before, so that a label does
not depend on the frames around it (a repeated GFN1-xTB frame agreed to 1e-14 hartree/bohr).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.errors import InputError, WorkFailed
from mldsim.species import atomic_number

DFT_CUTOFF = 400.0
"""Ry, of the finest grid."""

DFT_CUTOFF_RANGE = (200.0, 2000.0)
"""Ry. Below, forces depend on where an atom lies relative to the grid."""

_COMMITTEE = "NNP/bulkH2O-jcp2020-cnnp"
_MEMBERS = 8
_BASIS, _PSEUDOPOTENTIAL = "DZVP-MOLOPT-SR-GTH", "GTH-PBE"
_HEAVIEST_XTB = 86
"""Radon: GFN1-xTB is parametrized for all elements up to it (Grimme, Bannwarth, Shushkov 2017)."""


class EngineKind(Enum):
    """Who labels; the value is what the command line takes."""

    NNP = "cp2k-nnp"
    XTB = "cp2k-xtb"
    DFT = "cp2k-dft"


@dataclass(frozen=True, slots=True)
class Engine:
    """One theory as CP2K computes it.

    Attributes
    ----------
    kind : EngineKind
    theory : str
        In words, for provenance and cards.
    method : str
        CP2K's input for it, everything of &FORCE_EVAL but &SUBSYS.
    data_files : tuple of str
        What it reads from CP2K's data folder.
    threaded : bool
        Whether OpenMP threads make it faster; CP2K's neural networks use MPI only.
    """

    kind: EngineKind
    theory: str
    method: str
    data_files: tuple[str, ...]
    threaded: bool

    def check_data(self, folder: Path) -> None:
        """Refuse a data folder that lacks what this engine needs.

        Raises
        ------
        WorkFailed
        """
        for name in self.data_files:
            if not (folder / name).is_file():
                raise WorkFailed(
                    f"CP2K's data folder {folder} has no {name}, which {self.kind.value} needs: install CP2K's data "
                    "(Debian: apt-get install cp2k) or name the folder with CP2K_DATA_DIR or --cp2k-data."
                )

    def check_elements(self, symbols: Iterable[str], where: str, data: Path) -> None:
        """Refuse elements that the theory does not cover.

        Raises
        ------
        InputError
            With the place and the elements.
        """
        known, what = _ELEMENTS[self.kind](data)
        unknown = sorted({symbol for symbol in symbols if not known(symbol)})
        if unknown:
            raise InputError(f"{where} holds {', '.join(unknown)}, but {self.kind.value} {what}.")

    def theory_input(self, symbols: Iterable[str], data: Path) -> str:
        """What determines the labels: the input without cell and coordinates."""
        return f"METHOD {self.method}{self._kinds(symbols, data)}"

    def input(
        self, symbols: Sequence[str], positions: NDArray[np.float64], box: NDArray[np.float64], data: Path
    ) -> str:
        """The input file of one frame; others of the same atoms and box are handed to the process that has read it.

        Parameters
        ----------
        symbols : sequence of str
        positions : (n_agents, 3) float64, angstrom
        box : (3,) float64, angstrom
        data : Path
            CP2K's data folder.
        """
        # In bohr, so that CP2K's value of the bohr, which is an older one, does not enter.
        edges = " ".join(f"{edge:.14e}" for edge in box / units.BOHR)
        atoms = "\n".join(
            f"{symbol} {x:.14e} {y:.14e} {z:.14e}"
            for symbol, (x, y, z) in zip(symbols, positions / units.BOHR, strict=True)
        )
        return f"""\
&GLOBAL
  PROJECT label
  RUN_TYPE ENERGY_FORCE
  PRINT_LEVEL LOW
&END GLOBAL
&FORCE_EVAL
  METHOD {self.method}
  &SUBSYS
    &CELL
      ABC [bohr] {edges}
    &END CELL
    &COORD
      UNIT bohr
{atoms}
    &END COORD{self._kinds(symbols, data)}
  &END SUBSYS
&END FORCE_EVAL
"""

    def _kinds(self, symbols: Iterable[str], data: Path) -> str:
        if self.kind is not EngineKind.DFT:
            return ""
        valence = _valence(data)
        return "".join(
            f"\n    &KIND {symbol}\n      BASIS_SET {_BASIS}-{valence[symbol]}\n"
            f"      POTENTIAL {_PSEUDOPOTENTIAL}-{valence[symbol]}\n    &END KIND"
            for symbol in sorted(set(symbols))
        )


def make_engine(kind: EngineKind, *, dft_cutoff: float = DFT_CUTOFF) -> Engine:
    """The engine of this kind.

    Parameters
    ----------
    kind : EngineKind
    dft_cutoff : float, Ry
        Of the finest grid of `EngineKind.DFT`; the others have none.

    Raises
    ------
    InputError
        When the cutoff is out of range.
    """
    match kind:
        case EngineKind.NNP:
            return _nnp()
        case EngineKind.XTB:
            return _xtb()
        case EngineKind.DFT:
            return _dft(dft_cutoff)


def _nnp() -> Engine:
    models = "".join(
        f"    &MODEL\n      WEIGHTS {_COMMITTEE}/nnp-{member}/weights\n    &END MODEL\n"
        for member in range(1, _MEMBERS + 1)
    )
    method = f"""NNP
  &NNP
    NNP_INPUT_FILE_NAME {_COMMITTEE}/nnp-1/input.nn
    SCALE_FILE_NAME {_COMMITTEE}/nnp-1/scaling.data
{models}  &END NNP"""
    weights = tuple(
        f"{_COMMITTEE}/nnp-{member}/weights.{number:03d}.data" for member in range(1, _MEMBERS + 1) for number in (1, 8)
    )
    return Engine(
        kind=EngineKind.NNP,
        theory="CP2K METHOD NNP, bulkH2O C-NNP committee of 8 (Schran, Brezina, Marsalek 2020), "
        "surrogate of revPBE0-D3",
        method=method,
        data_files=(f"{_COMMITTEE}/nnp-1/input.nn", f"{_COMMITTEE}/nnp-1/scaling.data", *weights),
        threaded=False,
    )


def _scf(preconditioner: str) -> str:
    return f"""    &SCF
      MAX_SCF 40
      EPS_SCF 1.0E-6
      SCF_GUESS ATOMIC
      &OT ON
        MINIMIZER DIIS
        PRECONDITIONER {preconditioner}
      &END OT
      &OUTER_SCF ON
        MAX_SCF 5
        EPS_SCF 1.0E-6
      &END OUTER_SCF
      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF"""


def _xtb() -> Engine:
    method = f"""Quickstep
  &DFT
    &QS
      METHOD xTB
      EXTRAPOLATION USE_GUESS
      &xTB
        DO_EWALD T
        CHECK_ATOMIC_CHARGES F
      &END xTB
    &END QS
{_scf("FULL_SINGLE_INVERSE")}
  &END DFT"""
    return Engine(
        kind=EngineKind.XTB,
        theory="CP2K Quickstep xTB, GFN1-xTB with Ewald sums, EPS_SCF 1e-6",
        method=method,
        data_files=("xTB_parameters", "dftd3.dat"),
        threaded=True,
    )


def _dft(cutoff: float) -> Engine:
    low, high = DFT_CUTOFF_RANGE
    if not low <= cutoff <= high:
        raise InputError(f"The cutoff of the DFT grid must be {low:g} to {high:g} Ry; {cutoff:g} was given.")
    method = f"""Quickstep
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF {cutoff:g}
      REL_CUTOFF 50
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-12
      EXTRAPOLATION USE_GUESS
    &END QS
{_scf("FULL_ALL")}
    &XC
      &XC_FUNCTIONAL
        &PBE
          PARAMETRIZATION REVPBE
        &END PBE
      &END XC_FUNCTIONAL
      &VDW_POTENTIAL
        POTENTIAL_TYPE PAIR_POTENTIAL
        &PAIR_POTENTIAL
          TYPE DFTD3
          PARAMETER_FILE_NAME dftd3.dat
          REFERENCE_FUNCTIONAL revPBE
          R_CUTOFF 12.0
        &END PAIR_POTENTIAL
      &END VDW_POTENTIAL
    &END XC
  &END DFT"""
    return Engine(
        kind=EngineKind.DFT,
        theory=f"CP2K Quickstep GPW, revPBE-D3, {_BASIS}, GTH, {cutoff:g} Ry, EPS_SCF 1e-6",
        method=method,
        data_files=("BASIS_MOLOPT", "GTH_POTENTIALS", "dftd3.dat"),
        threaded=True,
    )


def _valence(data: Path) -> dict[str, str]:
    """Element to ``q6`` and the like, where basis set and pseudopotential are for the same number of electrons."""
    basis = _entries(data / "BASIS_MOLOPT", _BASIS)
    potentials = _entries(data / "GTH_POTENTIALS", _PSEUDOPOTENTIAL)
    both = sorted(basis & potentials)
    return dict(both)


def _entries(path: Path, name: str) -> set[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise WorkFailed(f"{path} of CP2K's data folder cannot be read: {error.strerror}.") from None
    return set(re.findall(rf"^ *([A-Z][a-z]?) .*?\b{re.escape(name)}-(q\d+)\b(?!-)", text, re.MULTILINE))


_Knows = tuple[Callable[[str], bool], str]

_ELEMENTS: dict[EngineKind, Callable[[Path], _Knows]] = {
    EngineKind.NNP: lambda _: (lambda symbol: symbol in ("H", "O"), "is a network for water and knows only H and O"),
    EngineKind.XTB: lambda _: (lambda symbol: atomic_number(symbol) <= _HEAVIEST_XTB, "ends at Rn"),
    EngineKind.DFT: lambda data: (
        lambda symbol: symbol in _valence(data),
        f"finds no {_BASIS} basis with a {_PSEUDOPOTENTIAL} pseudopotential for it in {data}",
    ),
}
