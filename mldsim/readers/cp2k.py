"""CP2K projects: the positions, forces and velocities that molecular dynamics prints.

A project named P leaves ``P-pos-1.xyz``, ``P-frc-1.xyz`` and ``P-vel-1.xyz`` (&MOTION &PRINT &TRAJECTORY, &FORCES and
&VELOCITIES), ``P-1.cell`` when asked for, and its input file. Positions are in angstrom, forces in hartree/bohr,
velocities in bohr per atomic unit of time, energies in hartree.

Files of one run are not always in step: they are printed at different intervals, a killed run ends in half a frame, a
restarted one appends and repeats steps. So frames are paired by the ``i =`` of their comment line; of a repeated step
the last one counts; half a frame is dropped. The provenance says how many frames each of these touched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.dataset import LabelledFrames
from mldsim.errors import InputError
from mldsim.readers import cp2k_input
from mldsim.readers.cell import given_cell, orthorhombic
from mldsim.species import atomic_number

FORCE = units.HARTREE / units.BOHR
"""One hartree/bohr in eV/angstrom: 51.422."""

VELOCITY = units.BOHR / units.ATOMIC_TIME
"""One bohr per atomic unit of time in angstrom/fs: 21.877."""

_OUTPUT = re.compile(r"(?P<project>.+)-(?P<kind>pos|frc|vel)-(?P<number>\d+)\.xyz\Z")
_OTHER_OUTPUT = re.compile(r"(?P<project>.+?)-(?P<number>\d+)\.(?:ener|cell|stress|restart)\Z")
_COMMENT = re.compile(r"\s*i\s*=\s*(\d+)")
_ENERGY = re.compile(r"\bE\s*=\s*([-+\d.EeDd]+)")
_ELEMENT = re.compile(r"([A-Z][a-z]?)(?:[\d_].*)?\Z")
_PRINTED_BY = {"pos": "TRAJECTORY", "frc": "FORCES", "vel": "VELOCITIES"}


@dataclass(frozen=True, slots=True)
class _Project:
    folder: Path
    name: str
    number: str

    def file(self, kind: str) -> Path:
        return self.folder / f"{self.name}-{kind}-{self.number}.xyz"

    @property
    def cell_file(self) -> Path:
        return self.folder / f"{self.name}-{self.number}.cell"


@dataclass(frozen=True, slots=True)
class _Series:
    """The frames of one file by step: (n_agents, 3) values as written, energy in hartree or None."""

    symbols: tuple[str, ...]
    frames: dict[int, tuple[NDArray[np.float64], float | None]]
    repeated: int
    truncated: int


def looks_like_output(path: Path) -> bool:
    """Whether a file name is that of a CP2K output file this reader knows."""
    return bool(_OUTPUT.match(path.name) or _OTHER_OUTPUT.match(path.name))


def projects_in(folder: Path) -> list[str]:
    """Names of the projects whose positions lie in a folder."""
    return sorted({m["project"] for p in folder.glob("*-pos-*.xyz") if (m := _OUTPUT.match(p.name))})


def read(path: Path, *, cell: Sequence[float] | None = None) -> list[LabelledFrames]:
    """Read a CP2K project.

    Parameters
    ----------
    path : Path
        Any file of the project (positions, forces, velocities, energies, input, restart), or a folder with one project.
    cell : sequence of float, angstrom, optional
        Edges of the box; taken before what the project's files say.

    Raises
    ------
    InputError
        When a file is missing or broken, files do not fit each other, or the cell is not known.
    """
    project = _project_at(path)
    positions_file, forces_file = project.file("pos"), project.file("frc")
    for file, kind in ((positions_file, "pos"), (forces_file, "frc")):
        if not file.is_file():
            raise InputError(
                f"{file} was looked for and is not there: CP2K writes it when the input has "
                f"&MOTION &PRINT &{_PRINTED_BY[kind]} ON (FORMAT XYZ)."
            )
    input_file = _input_of(project, path)
    section = cp2k_input.read(input_file) if input_file else cp2k_input.Section("")
    if input_file:
        _check_print_units(section, input_file)
    positions = _read_series(positions_file)
    forces = _read_series(forces_file)
    velocities = _read_series(project.file("vel")) if project.file("vel").is_file() else None
    for other, file in ((forces, forces_file), (velocities, project.file("vel"))):
        if other is not None and other.symbols != positions.symbols:
            raise InputError(f"{file} lists other atoms than {positions_file.name}: {_difference(positions, other)}.")

    steps = sorted(positions.frames.keys() & forces.frames.keys())
    if not steps:
        raise InputError(f"{positions_file} and {forces_file.name} have no step in common (compared by 'i =').")
    n_common = len(steps)
    steps = [step for step in steps if _same_energy(positions.frames[step][1], forces.frames[step][1])]
    n_strangers = n_common - len(steps)
    if not steps:
        raise InputError(
            f"{positions_file} and {forces_file.name} do not belong to one run: "
            "their comment lines give different energies at every common step."
        )
    boxes, box_source, lacking = _boxes(project, section, input_file, steps, cell)
    if lacking:
        steps = [step for step in steps if step not in lacking]
    with_velocities = velocities is not None and all(
        step in velocities.frames and _same_energy(positions.frames[step][1], velocities.frames[step][1])
        for step in steps
    )
    energies = [positions.frames[step][1] for step in steps]
    provenance = {
        "name": project.name,
        "source": str(positions_file),
        "code": "CP2K",
        **(cp2k_input.theory_of(section) if input_file else {}),
        "cell": box_source,
        **_left_out(
            {"frames without a cell": len(lacking), "steps at which the files are of different runs": n_strangers},
            positions,
            forces,
            velocities,
            with_velocities,
        ),
    }
    return [
        LabelledFrames(
            symbols=tuple(_element(symbol, positions_file) for symbol in positions.symbols),
            positions=np.array([positions.frames[step][0] for step in steps]),
            forces=np.array([forces.frames[step][0] for step in steps]) * FORCE,
            boxes=boxes,
            energies=None if None in energies else np.array(energies, dtype=np.float64) * units.HARTREE,
            velocities=(
                np.array([velocities.frames[step][0] for step in steps]) * VELOCITY
                if velocities is not None and with_velocities
                else None
            ),
            steps=np.array(steps, dtype=np.int64),
            provenance=provenance,
        )
    ]


def _project_at(path: Path) -> _Project:
    if path.is_dir():
        names = projects_in(path)
        if len(names) != 1:
            found = f"the projects {', '.join(names)}" if names else "no *-pos-1.xyz"
            raise InputError(f"{path} holds {found}; name the -pos-1.xyz file of the one to read.")
        return _numbered(path, names[0])
    match = _OUTPUT.match(path.name)
    if match:
        return _Project(path.parent, match["project"], match["number"])
    match = _OTHER_OUTPUT.match(path.name)
    if match:
        return _numbered(path.parent, match["project"], match["number"])
    # An input file names its project; where the name of the file differs from it, output follows the project.
    return _numbered(path.parent, cp2k_input.project_of(cp2k_input.read(path)))


def _numbered(folder: Path, name: str, wanted: str = "1") -> _Project:
    project = _Project(folder, name, wanted)
    if project.file("pos").is_file():
        return project
    numbers = sorted(
        int(m["number"]) for p in folder.glob("*-pos-*.xyz") if (m := _OUTPUT.match(p.name)) and m["project"] == name
    )
    return _Project(folder, name, str(numbers[0])) if numbers else project


def _input_of(project: _Project, given: Path) -> Path | None:
    """The input file of a project: the one given, one that names the project, or its restart file."""
    if given.is_file() and given.suffix in (".inp", ".restart"):
        return given
    same_name = project.folder / f"{project.name}.inp"
    candidates = [same_name, *sorted(project.folder.glob("*.inp"))]
    restart = project.folder / f"{project.name}-{project.number}.restart"
    for candidate in [*candidates, restart]:
        if not candidate.is_file():
            continue
        try:
            if cp2k_input.project_of(cp2k_input.read(candidate)) == project.name:
                return candidate
        except InputError:
            if candidate in (same_name, restart):
                raise
    return None


def _check_print_units(section: cp2k_input.Section, input_file: Path) -> None:
    defaults = {
        "TRAJECTORY": {"angstrom"},
        "FORCES": {"hartree*bohr^-1", "hartree/bohr", "internal_cp2k"},
        "VELOCITIES": {"bohr*au_t^-1", "bohr/au_t", "internal_cp2k"},
    }
    for name, known in defaults.items():
        unit = section.get(f"MOTION/PRINT/{name}", "UNIT").strip("[] ").lower()
        if unit and unit not in known:
            raise InputError(
                f"{input_file}: &MOTION &PRINT &{name} asks for UNIT {unit}; only CP2K's default units are read."
            )


def _boxes(
    project: _Project,
    section: cp2k_input.Section,
    input_file: Path | None,
    steps: list[int],
    cell: Sequence[float] | None,
) -> tuple[NDArray[np.float64], str, set[int]]:
    """Boxes of the frames, where they come from, and the steps whose box is not known."""
    if cell is not None:
        return given_cell(cell), "given by the user", set()
    if project.cell_file.is_file():
        table = _read_cell_file(project.cell_file)
        lacking = {step for step in steps if step not in table}
        boxes = [table[step] for step in steps if step in table]
        if not boxes:
            raise InputError(f"{project.cell_file} has none of the steps of {project.file('pos').name}.")
        return np.array(boxes), project.cell_file.name, lacking
    ensemble = section.get("MOTION/MD", "ENSEMBLE").upper()
    if ensemble.startswith("NPT") or "MSST" in ensemble:
        raise InputError(
            f"{input_file}: the ensemble {ensemble} changes the cell, and {project.cell_file} is not there: "
            "CP2K writes it when the input has &MOTION &PRINT &CELL ON."
        )
    box = cp2k_input.cell_of(section, input_file) if input_file else None
    if box is None or input_file is None:
        looked = f"{input_file} has no &CELL with numbers" if input_file else f"no input file of '{project.name}' found"
        raise InputError(
            f"{project.file('pos')}: the cell is not known ({looked}); "
            "put the CP2K input file beside it, or give the cell with --cell in angstrom."
        )
    return box, input_file.name, set()


def _read_cell_file(path: Path) -> dict[int, NDArray[np.float64]]:
    """Boxes by step from a ``-1.cell`` file: step, time, Ax Ay Az Bx By Bz Cx Cy Cz, volume; of repeats the last."""
    table: dict[int, NDArray[np.float64]] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            words = line.split()
            if not words or words[0].startswith("#") or len(words) < 12:
                continue
            try:
                vectors = np.array(words[2:11], dtype=np.float64).reshape(3, 3)
                step = int(words[0])
            except ValueError:
                raise InputError(f"{path}, line {number}: '{line.strip()}' is not a step and nine numbers.") from None
            table[step] = orthorhombic(vectors, f"{path}, line {number}: the cell")
    return table


def _read_series(path: Path) -> _Series:
    symbols: tuple[str, ...] | None = None
    frames: dict[int, tuple[NDArray[np.float64], float | None]] = {}
    repeated = truncated = 0
    for number, comment, lines in _blocks(path):
        if lines is None:
            truncated += 1
            continue
        words = " ".join(lines).split()
        if len(words) != 4 * len(lines):
            raise InputError(f"{path}, frame at line {number}: not every line is a symbol and three numbers.")
        names = tuple(words[::4])
        if symbols is None:
            symbols = names
        elif names != symbols:
            raise InputError(f"{path}, frame at line {number}: the atoms or their order change within the file.")
        try:
            values = np.array([words[1::4], words[2::4], words[3::4]], dtype=np.float64).T
        except ValueError:
            raise InputError(f"{path}, frame at line {number}: a value is not a number.") from None
        if not np.isfinite(values).all():
            raise InputError(f"{path}, frame at line {number}: a value is not a finite number.")
        match = _COMMENT.match(comment)
        assert match is not None
        step = int(match[1])
        repeated += step in frames
        frames[step] = (values, _energy(comment))
    if symbols is None:
        raise InputError(f"{path} holds no complete frame with a comment line such as ' i = 0, time = 0.0, E = -1.0'.")
    return _Series(symbols, frames, repeated, truncated)


def _blocks(path: Path) -> Iterator[tuple[int, str, list[str] | None]]:
    """Line number and text of every frame's comment, and its atom lines, or None when the frame was cut short.

    Frames are found by their comment line: it stays a line of its own even where a killed run broke off in the
    middle of a line and the next run appended to that.
    """
    n_agents = 0
    comment, start, lines = "", 0, list[str]()
    previous = ""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if _COMMENT.match(line):
                # A whole frame is followed by the next one's atom count on a line of its own.
                if comment:
                    yield start, comment, lines[:n_agents] if len(lines) > n_agents else None
                count = previous.strip()
                if count.isdecimal() and int(count) > 0:
                    n_agents = int(count)
                elif not n_agents:
                    raise InputError(f"{path}, line {number}: the line before holds no number of atoms.")
                comment, start, lines = line, number, []
            elif comment and len(lines) <= n_agents:
                lines.append(line)
            previous = line
    if comment:
        if lines and not lines[-1].endswith("\n"):
            lines.pop()  # the last number may have been cut short as well
        yield start, comment, lines[:n_agents] if len(lines) >= n_agents else None


def _energy(comment: str) -> float | None:
    match = _ENERGY.search(comment)
    try:
        return float(match[1].upper().replace("D", "E")) if match else None
    except ValueError:
        return None


def _element(name: str, path: Path) -> str:
    """The element of an atom name: a symbol, or with PRINT_ATOM_KIND a symbol and a label (O1, H_water)."""
    match = _ELEMENT.match(name)
    if match is not None:
        try:
            atomic_number(match[1])
        except InputError:
            pass
        else:
            return match[1]
    raise InputError(f"{path}: '{name}' is not the symbol of a chemical element.")


def _difference(positions: _Series, other: _Series) -> str:
    if len(positions.symbols) != len(other.symbols):
        return f"{len(other.symbols)} instead of {len(positions.symbols)}"
    pairs = enumerate(zip(positions.symbols, other.symbols, strict=True), 1)
    number, (a, b) = next((n, pair) for n, pair in pairs if pair[0] != pair[1])
    return f"atom {number} is {b} instead of {a}"


def _same_energy(a: float | None, b: float | None) -> bool:
    """Whether two comment lines are of one step of one run: both files carry its potential energy, hartree.

    A step number alone does not tell where one file was continued by a restarted run and the other was not.
    """
    return a is None or b is None or abs(a - b) < 1e-8 * max(1.0, abs(a))


def _left_out(
    counts: dict[str, int],
    positions: _Series,
    forces: _Series,
    velocities: _Series | None,
    with_velocities: bool,
) -> dict[str, str]:
    """What was left out, for the provenance: nothing is dropped silently."""
    read = [series for series in (positions, forces, velocities) if series is not None]
    counts = {
        "repeated frames (of a step the last one counts)": sum(series.repeated for series in read),
        "frames cut short": sum(series.truncated for series in read),
        "positions without forces": len(positions.frames.keys() - forces.frames.keys()),
        "forces without positions": len(forces.frames.keys() - positions.frames.keys()),
        **counts,
    }
    remarks = [f"{what}: {count}" for what, count in counts.items() if count]
    if velocities is not None and not with_velocities:
        remarks.append("velocities, which do not cover every frame")
    return {"left_out": "; ".join(remarks)} if remarks else {}
