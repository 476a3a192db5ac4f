"""Other programs that move water, each as a side of `mldsim.benchmark`: from the same box, in the same steps, at 300 K.

Programs are imported only where they are used, in the process of their side. One that is not there is a `WorkFailed`
that says how to get it. Every side can also be asked for the forces of a frame.
"""

import tempfile
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import teacher
from numpy.typing import NDArray

from mldsim import units
from mldsim.analysis.forces import ForceComparison
from mldsim.benchmark import InThisProcess, ModelSide
from mldsim.errors import LeftPhysics, WorkFailed
from mldsim.evaluator import Evaluator
from mldsim.labelling import EngineKind, make_engine
from mldsim.labelling.cp2k import Cp2kShell, find_data, find_program, version_of
from mldsim.loss import load_model
from mldsim.molecules import find_bonds
from mldsim.parameters import FIELDS, Parameters
from mldsim.readers import load_frames
from mldsim.simulation import Simulation
from mldsim.state import State
from mldsim.water import water_box

Array = NDArray[np.float64]

USUAL = Parameters()
MASSES = np.array([15.999, 1.008])
CUTOFF = 9.0
"""angstrom; of the classical force fields in real space, or half the box where that is less."""

KJ_MOL_NM = 0.1 / units.KJ_MOL
"""eV/angstrom."""

KCAL_MOL_A = 4.184 / units.KJ_MOL
"""eV/angstrom."""


class Forces(Protocol):
    """What can be asked for the forces of a frame."""

    def forces(self, symbols: tuple[str, ...], positions: Array, box: Array, /) -> Array:
        """(n, 3) eV/angstrom at (n, 3) and (3,) angstrom; water, molecule after molecule, oxygen first."""
        ...


def force_error(side: Forces, path: Path, every: int) -> dict[str, Any]:
    """Difference between the forces of a side and the labels of every so manieth frame of a dataset, meV/angstrom."""
    compared = ForceComparison(("O", "H"))
    for system in load_frames(path):
        masses = np.where(np.array(system.symbols) == "O", *MASSES)
        for index in range(0, system.n_frames, every):
            positions, box = system.positions[index], system.boxes[index]
            bonds = find_bonds(system.symbols, positions, box)
            found = side.forces(system.symbols, positions, box)
            compared.add(system.symbols, masses, bonds, positions, box, system.forces[index], found)
    error, size = compared.total()
    of_molecules, their_size = compared.of("net force")
    return {
        "frames": compared.count,
        "force_rmse_meV_A": 1e3 * error.value,
        "force_rms_meV_A": 1e3 * size,
        "net_force_rmse_meV_A": 1e3 * of_molecules.value,
        "net_force_rms_meV_A": 1e3 * their_size,
        "frames_of": path.name,
    }


def start(molecules: int) -> State:
    """The box that every model starts from."""
    return water_box(molecules, FIELDS["density"].default, USUAL.temperature, 1, ("O", "H"), MASSES)


def load(name: str, package: str) -> ModuleType:
    """Import a peer."""
    try:
        return import_module(name)
    except ImportError as error:
        raise WorkFailed(f"{package} cannot be imported ({error}); pip install '.[peers]' brings it.") from None


class Model(ModelSide):
    """A loss model that can be asked for forces too."""

    _evaluator: Evaluator | None = None

    def forces(self, symbols: tuple[str, ...], positions: Array, box: Array) -> Array:
        if self._evaluator is None or not np.array_equal(self._evaluator.box, box):
            model = load_model(self.model)
            species = np.array([model.symbols.index(symbol) for symbol in symbols], np.int32)
            self._evaluator = Evaluator(model, species, box, device=self.device, precision=self.precision)
        return self._evaluator(positions).forces.copy()


class BaseSide(Model):
    """A loss that may come apart after some picoseconds: it begins anew then, and takes the steps that failed again."""

    BURST = 25
    """Steps that are taken again at most."""

    def prepare(self, molecules: int) -> tuple[int, str]:
        found = super().prepare(molecules)
        self._begin = self.simulation.checkpoint()
        return found

    def advance(self, steps: int) -> None:
        while steps > 0:
            burst = min(steps, self.BURST)
            try:
                self.simulation.advance(burst)
            except LeftPhysics:
                if self.simulation.state.step < self.BURST:  # that is no liquid
                    raise
                self.simulation = Simulation.resumed(self._begin)
            else:
                steps -= burst


class OpenMM(InThisProcess):
    """Flexible TIP3P with PME on the CPU platform; Langevin's thermostat, the one that this platform has code for."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._box: Array | None = None

    def prepare(self, molecules: int) -> tuple[int, str]:
        state = start(molecules)
        self._build(molecules, state.box)
        self._context.setPositions(state.positions * 0.1)
        self._context.setVelocities(state.velocities * 100.0)
        version = self._openmm.version.version
        return state.n_agents, f"OpenMM {version}, CPU platform, {self.threads} thread(s)"

    def advance(self, steps: int) -> None:
        self._integrator.step(steps)

    def forces(self, symbols: tuple[str, ...], positions: Array, box: Array) -> Array:
        if self._box is None or not np.array_equal(self._box, box):
            self._build(len(symbols) // 3, box)
        self._context.setPositions(positions * 0.1)
        unit = import_module("openmm.unit")
        found = self._context.getState(getForces=True).getForces(asNumpy=True)
        return np.array(found.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)) * KJ_MOL_NM

    def _build(self, molecules: int, box: Array) -> None:
        self._openmm = openmm = load("openmm", "OpenMM")
        app, unit = import_module("openmm.app"), import_module("openmm.unit")
        topology = app.Topology()
        chain = topology.addChain()
        for _ in range(molecules):
            residue = topology.addResidue("HOH", chain)
            atoms = [topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("O", "H1", "H2")]
            for hydrogen in atoms[1:]:
                topology.addBond(atoms[0], hydrogen)
        topology.setUnitCellDimensions(openmm.Vec3(*(box * 0.1)) * unit.nanometer)
        system = app.ForceField("tip3p.xml").createSystem(
            topology,
            nonbondedMethod=app.PME,
            nonbondedCutoff=min(CUTOFF, 0.499 * float(box.min())) * 0.1 * unit.nanometer,
            constraints=None,
            rigidWater=False,
        )
        # The friction is that of a coupling time of 1 ps, as usual: it costs the same whatever it is.
        self._integrator = openmm.LangevinMiddleIntegrator(
            USUAL.temperature * unit.kelvin, 1.0 / unit.picosecond, USUAL.timestep * unit.femtosecond
        )
        platform = openmm.Platform.getPlatformByName("CPU")
        self._context = openmm.Context(system, self._integrator, platform, {"Threads": str(self.threads)})
        self._box = box


class Lammps(InThisProcess):
    """Flexible SPC/Fw (Wu, Tepper, Voth 2006) with PPPM to 1e-4 and Nose-Hoover's thermostat."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._lammps: Any = None

    def prepare(self, molecules: int) -> tuple[int, str]:
        state = start(molecules)
        self._build(state.positions, state.velocities, state.box)
        self._tell(
            f"timestep {USUAL.timestep}",
            f"fix bath all nvt temp {USUAL.temperature} {USUAL.temperature} {USUAL.coupling_time}",
            "thermo 1000000",
            "run 0 post no",
        )
        how = "opt" if self.threads == 1 else "omp"
        return state.n_agents, f"LAMMPS {self._lammps.version()}, suffix {how}, {self.threads} thread(s)"

    def advance(self, steps: int) -> None:
        self._tell(f"run {steps} pre no post no")

    def forces(self, _symbols: tuple[str, ...], positions: Array, box: Array) -> Array:
        self._build(positions, np.zeros_like(positions), box)
        self._tell("run 0 post no")
        found = np.array(self._lammps.gather_atoms("f", 1, 3))
        return np.asarray(found.reshape(positions.shape) * KCAL_MOL_A)

    def _tell(self, *commands: str) -> None:
        for command in commands:
            self._lammps.command(command)

    def _build(self, positions: Array, velocities: Array, box: Array) -> None:
        load("mpi4py.MPI", "mpi4py")  # first: it brings the MPI that LAMMPS looks for
        lammps = load("lammps", "LAMMPS")
        quick = ["-sf", "opt"] if self.threads == 1 else ["-pk", "omp", str(self.threads), "-sf", "omp"]
        if self._lammps is not None:
            self._lammps.close()
        self._lammps = lammps.lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite", *quick])
        self._tell("units real", "atom_style full", "bond_style harmonic", "angle_style harmonic")
        self._tell(f"pair_style lj/cut/coul/long {CUTOFF}", "kspace_style pppm 1e-4")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "water.data"
            path.write_text(_lammps_data(positions, velocities, box))
            self._tell(f"read_data {path}")
        self._tell("pair_coeff * * 0.0 1.0", "pair_coeff 1 1 0.1554253 3.165492", "bond_coeff 1 529.581 1.012")
        self._tell("angle_coeff 1 37.95 113.24")


def _lammps_data(positions: Array, velocities: Array, box: Array) -> str:
    """Water as LAMMPS reads it: units of real, angstrom and angstrom/fs."""
    n = len(positions) // 3
    lines = ["water", "", f"{3 * n} atoms", f"{2 * n} bonds", f"{n} angles"]
    lines += ["2 atom types", "1 bond types", "1 angle types"]
    lines += [f"0 {edge:.10f} {axis}lo {axis}hi" for axis, edge in zip("xyz", box, strict=True)]
    lines += ["", "Masses", "", f"1 {MASSES[0]}", f"2 {MASSES[1]}", "", "Atoms # full", ""]
    for i, (x, y, z) in enumerate(positions):
        kind, charge = (1, -0.82) if i % 3 == 0 else (2, 0.41)
        lines.append(f"{i + 1} {i // 3 + 1} {kind} {charge} {x:.10f} {y:.10f} {z:.10f}")
    lines += ["", "Velocities", ""]
    lines += [f"{i + 1} {x:.10f} {y:.10f} {z:.10f}" for i, (x, y, z) in enumerate(velocities)]
    lines += ["", "Bonds", ""]
    lines += [f"{i + 1} 1 {3 * (i // 2) + 1} {3 * (i // 2) + 2 + i % 2}" for i in range(2 * n)]
    lines += ["", "Angles", ""]
    lines += [f"{i + 1} 1 {3 * i + 2} {3 * i + 1} {3 * i + 3}" for i in range(n)]
    return "\n".join(lines) + "\n"


class Nep(InThisProcess):
    """A neuroevolution potential by calorine's CPU code, moved by ASE's Nose-Hoover chain."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._atoms: Any = None

    def prepare(self, molecules: int) -> tuple[int, str]:
        state = start(molecules)
        self._build(tuple(state.symbols[kind] for kind in state.species), state.positions, state.box)
        ase_units = import_module("ase.units")
        self._atoms.set_velocities(state.velocities / ase_units.fs)
        self._dynamics = import_module("ase.md.nose_hoover_chain").NoseHooverChainNVT(
            self._atoms,
            timestep=USUAL.timestep * ase_units.fs,
            temperature_K=USUAL.temperature,
            tdamp=USUAL.coupling_time * ase_units.fs,
        )
        return state.n_agents, f"calorine {import_module('calorine').__version__}, {self._kind()}"

    def advance(self, steps: int) -> None:
        self._dynamics.run(steps)

    def forces(self, symbols: tuple[str, ...], positions: Array, box: Array) -> Array:
        if self._atoms is None or len(self._atoms) != len(symbols) or not np.array_equal(self._box, box):
            self._build(symbols, positions, box)
        self._atoms.set_positions(positions)
        return np.asarray(self._atoms.get_forces())

    def _build(self, symbols: tuple[str, ...], positions: Array, box: Array) -> None:
        if self.path is None or not self.path.is_file():
            raise WorkFailed("No NEP potential was given: --nep FILE; the script says where one is to be found.")
        calculators = load("calorine.calculators", "calorine")
        atoms = import_module("ase").Atoms(symbols, positions=positions, cell=box, pbc=True)
        atoms.calc = calculators.CPUNEP(str(self.path))
        self._atoms, self._box = atoms, box

    def _kind(self) -> str:
        assert self.path is not None
        head = self.path.read_text().splitlines()[:2]
        return ", ".join(" ".join(line.split()) for line in head)


class Cp2k:
    """CP2K with one theory: the forces of the frames that `water-fast` comes to, step by step, CP2K staying loaded.

    What moves the frames is a thousandth of the work and is not counted.
    """

    def __init__(self, kind: EngineKind, threads: int) -> None:
        self.kind, self.threads = kind, threads
        self._box: Array | None = None
        self._shell: Cp2kShell | None = None

    def prepare(self, molecules: int) -> tuple[int, str]:
        self._water = ModelSide("water-fast")
        agents, _ = self._water.prepare(molecules)
        self._open()
        state = self._water.simulation.state
        text = teacher.engine_input(self.kind, self._water.simulation, self._data)
        self._teacher = teacher.Teacher(self._shell, text)
        self._box = state.box
        return agents, f"{version_of(self._program)}, {self.threads} thread(s): {make_engine(self.kind).theory}"

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self._water.advance(1)
            self._teacher.seconds(self._water.simulation)

    def processor_seconds(self) -> float:
        return self._teacher.processor_seconds()

    def peak_memory(self) -> int | None:
        return self._teacher.peak_memory()

    def forces(self, symbols: tuple[str, ...], positions: Array, box: Array) -> Array:
        if self._shell is None:
            self._open()
        assert self._shell is not None
        if self._box is None or not np.array_equal(self._box, box):
            self._shell.load(make_engine(self.kind).input(symbols, positions, box, self._data))
            self._box = box
        found = self._shell.evaluate(positions)
        if found is None:
            raise WorkFailed("CP2K's wave function did not converge.")
        return found[1]

    def _open(self) -> None:
        """A new process: the peak of memory of the next box is not that of the one before."""
        if self._shell is not None:
            self._shell.kill()
        self._program = find_program()
        self._data = find_data(self._program)
        make_engine(self.kind).check_data(self._data)
        self._folder = tempfile.TemporaryDirectory()
        self._shell = Cp2kShell(self._program, self._data, Path(self._folder.name), self.threads)
