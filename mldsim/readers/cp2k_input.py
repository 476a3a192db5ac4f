"""The parts of a CP2K input file that a reader of its output needs: project, cell, theory level, printed units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.errors import InputError
from mldsim.readers.cell import orthorhombic

_LENGTHS = {"angstrom": 1.0, "bohr": units.BOHR, "nm": 10.0, "pm": 0.01, "m": 1e10}
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)\}?")
_COMMENT = re.compile(r"[!#].*")


@dataclass
class Section:
    """A section: its parameter, its keywords (upper case, values as written) and its subsections."""

    name: str
    parameter: str = ""
    keywords: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)

    def find(self, path: str) -> Section | None:
        """The first section at a path such as ``FORCE_EVAL/SUBSYS/CELL``."""
        section: Section | None = self
        for name in path.split("/"):
            section = next((s for s in section.sections if s.name == name), None) if section else None
        return section

    def get(self, path: str, *keywords: str, default: str = "") -> str:
        """Value of the first of some keyword spellings that the section at a path has."""
        section = self.find(path)
        for keyword in keywords:
            if section is not None and keyword in section.keywords:
                return section.keywords[keyword]
        return default


def read(path: Path) -> Section:
    """Parse a CP2K input or restart file: sections, keywords, ``@SET`` variables and continued lines.

    Raises
    ------
    InputError
        When sections do not close, with the line.
    """
    root = Section("")
    stack = [root]
    variables: dict[str, str] = {}
    for number, line in _logical_lines(path):
        line = _VARIABLE.sub(lambda match: variables.get(match[1].upper(), match[0]), line)
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word.upper() == "@SET":
            name, _, value = rest.partition(" ")
            variables[name.upper()] = value.strip()
        elif word.upper() == "&END":
            if len(stack) == 1 or (rest and rest.split()[0].upper() != stack[-1].name):
                raise InputError(f"{path}, line {number}: '{line}' closes a section that is not open.")
            stack.pop()
        elif word.startswith("&"):
            section = Section(word[1:].upper(), rest)
            stack[-1].sections.append(section)
            stack.append(section)
        elif not word.startswith("@"):
            stack[-1].keywords.setdefault(word.upper(), rest)
    if len(stack) > 1:
        raise InputError(f"{path}: the section &{stack[-1].name} is not closed; the file seems to be cut short.")
    return root


def _logical_lines(path: Path) -> Iterator[tuple[int, str]]:
    pending = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, raw in enumerate(file, 1):
            line = " ".join((pending + _COMMENT.sub("", raw)).split())
            if line.endswith("\\"):
                pending = line[:-1] + " "
                continue
            pending = ""
            if line:
                yield number, line


def project_of(section: Section) -> str:
    """The project's name, which begins the name of every output file."""
    return section.get("GLOBAL", "PROJECT", "PROJECT_NAME", default="PROJECT").strip("\"'")


def cell_of(section: Section, path: Path) -> NDArray[np.float64] | None:
    """Edges of the box in &FORCE_EVAL &SUBSYS &CELL, or None when the file does not state them.

    Returns
    -------
    (3,) float64, angstrom, or None

    Raises
    ------
    InputError
        When the cell is not orthorhombic or not written in numbers.
    """
    cell = section.find("FORCE_EVAL/SUBSYS/CELL")
    if cell is None or not ({"ABC", "A"} & cell.keywords.keys()):
        return None
    where = f"{path}: the cell in &CELL"
    repeated = _lengths(cell.keywords.get("MULTIPLE_UNIT_CELL", "1 1 1"), where)
    if "ABC" in cell.keywords:
        angles = cell.keywords.get("ALPHA_BETA_GAMMA", cell.keywords.get("ANGLES", "90 90 90"))
        degrees = _lengths(re.sub(r"\[\s*deg\s*\]", "", angles), where)
        if not np.allclose(degrees, 90.0, atol=1e-6):
            raise InputError(f"{where} has the angles {angles}; only right angles can be used.")
        vectors = np.diag(_lengths(cell.keywords["ABC"], where))
    else:
        if not {"A", "B", "C"} <= cell.keywords.keys():
            raise InputError(f"{where} lacks one of the vectors A, B and C.")
        vectors = np.array([_lengths(cell.keywords[name], where) for name in "ABC"])
    return orthorhombic(vectors, where) * repeated


def _lengths(text: str, where: str) -> NDArray[np.float64]:
    unit = re.match(r"\[\s*([A-Za-z]+)\s*\]", text)
    factor = _LENGTHS.get(unit[1].lower()) if unit else 1.0
    numbers = (text[unit.end() :] if unit else text).split()
    try:
        values = np.array([float(number.upper().replace("D", "E")) for number in numbers])
    except ValueError:
        values = np.empty(0)
    if factor is None or values.shape != (3,):
        raise InputError(f"{where} is written as '{text}', not as three numbers; give the cell with --cell instead.")
    return values * factor


def theory_of(section: Section) -> dict[str, str]:
    """What the file says about how forces were computed, as provenance."""
    method = section.get("FORCE_EVAL", "METHOD", default="QUICKSTEP").upper()
    quickstep = section.get("FORCE_EVAL/DFT/QS", "METHOD").upper()
    parts = [f"CP2K METHOD {method}"]
    if method in ("QUICKSTEP", "QS"):
        if quickstep:
            parts.append(quickstep)
        functional = section.find("FORCE_EVAL/DFT/XC/XC_FUNCTIONAL")
        if functional is not None:
            names = [functional.parameter, *(s.name + _flavour(s) for s in functional.sections)]
            parts.append("functional " + " ".join(name for name in names if name))
        correction = section.get("FORCE_EVAL/DFT/XC/VDW_POTENTIAL/PAIR_POTENTIAL", "TYPE")
        if correction:
            parts.append(correction)
        cutoff = section.get("FORCE_EVAL/DFT/MGRID", "CUTOFF")
        if cutoff:
            parts.append(f"cutoff {cutoff} Ry")
    provenance = {"method": ", ".join(parts)}
    for name, path, keyword, unit in (
        ("ensemble", "MOTION/MD", "ENSEMBLE", ""),
        ("temperature", "MOTION/MD", "TEMPERATURE", " K"),
        ("timestep", "MOTION/MD", "TIMESTEP", " fs"),
    ):
        value = section.get(path, keyword)
        if value:
            provenance[name] = value + (unit if not value.startswith("[") else "")
    return provenance


def _flavour(functional: Section) -> str:
    parametrization = functional.keywords.get("PARAMETRIZATION", "")
    return f"({parametrization})" if parametrization else ""
