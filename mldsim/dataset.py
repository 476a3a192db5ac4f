"""Labelled frames: configurations together with the forces that a teacher (CP2K, ...) computed for them.

One `LabelledFrames` holds the frames of one system, that is of one list of agents. A data set is a list of them.
On disk a data set is an HDF5 file::

    /                       attributes: format = "mldsim-dataset", schema = 1, creator
    /NAME                   one group per system; its attributes are the provenance (method, theory, ensemble, ...)
                            and, where it is not 1, `weight`: how much its rows count in a fit
        atomic_numbers      (n_agents,) int8 or int16
        box                 (3,) or (n_frames, 3), angstrom: edges of the periodic, orthorhombic box
        positions           (n_frames, n_agents, 3), angstrom, wrapped or not
        forces              (n_frames, n_agents, 3), eV angstrom-1
        velocities          (n_frames, n_agents, 3), angstrom fs-1, optional
        energy              (n_frames,), eV, optional
        step                (n_frames,) int64, optional: the step of the run that a frame was taken at

Every dataset with a dimension carries its unit in the attribute `unit`. Reading is `mldsim.readers.open_frames`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

import mldsim
from mldsim.errors import InputError
from mldsim.files import whole_file
from mldsim.species import atomic_number

FORMAT = "mldsim-dataset"
SCHEMA = 1

UNITS: dict[str, str] = {
    "positions": "angstrom",
    "forces": "eV angstrom-1",
    "velocities": "angstrom fs-1",
    "energy": "eV",
    "box": "angstrom",
}
"""The unit of every dataset that has one, as it is written."""

CLOSEST_CONTACT = 0.4
"""angstrom. No two nuclei of a molecule come closer (H2 is 0.74 long): below it the unit of length is wrong."""

BOND_TO_HYDROGEN = (0.6, 1.5)
"""angstrom. Where hydrogen's nearest neighbour lies in compounds of H, C, N and O (0.74 in H2, 1.1 in C-H), with room
for compression and quantum spread; a median outside of it means bohr or nanometre."""

LARGEST_FORCE_RMS = 100.0
"""eV/angstrom. Strongly distorted water has about 2; the same in kJ/(mol nm) would read as about 2000."""

_FRAMES_LOOKED_AT = 24
"""Distances are looked at in so many frames, evenly spread: a wrong unit is wrong in all of them."""

Progress = Callable[[float, str], None]
"""Called with the fraction done and what is being done."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrames:
    """Frames of one system: the same agents in the same order; the box may differ from frame to frame.

    Attributes
    ----------
    symbols : tuple of str
        Chemical symbol of every agent, in any order.
    positions : (n_frames, n_agents, 3) float64, angstrom
        Wrapped into the box or not.
    forces : (n_frames, n_agents, 3) float64, eV/angstrom
    boxes : (n_frames, 3) float64, angstrom
        Edges of the periodic, orthorhombic box; (3,) is accepted and repeated.
    energies : (n_frames,) float64, eV, or None
    velocities : (n_frames, n_agents, 3) float64, angstrom/fs, or None
    steps : (n_frames,) int64, or None
        Step of the run each frame was taken at. None says that the frames are no time series.
    provenance : mapping of str to str
        Where the labels come from: source, method, theory, ensemble and whatever the file told.
    weight : float
        Of its rows in a fit: their squared errors count weight² times. Below 1 for frames of large forces that shall
        be known roughly, such as stretched bonds, without taking over the fit.

    Raises
    ------
    InputError
        When shapes do not fit, a number is not finite, an element is unknown, or a box edge or the weight is not
        positive.
    """

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    forces: NDArray[np.float64]
    boxes: NDArray[np.float64]
    energies: NDArray[np.float64] | None = None
    velocities: NDArray[np.float64] | None = None
    steps: NDArray[np.int64] | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        symbols = tuple(str(symbol) for symbol in self.symbols)
        for symbol in dict.fromkeys(symbols):
            try:
                atomic_number(symbol)
            except InputError as error:
                raise InputError(f"{self.source}: {error}") from None
        positions = self._floats("positions", self.positions)
        if positions.ndim != 3 or positions.shape[1:] != (len(symbols), 3) or 0 in positions.shape:
            raise InputError(
                f"{self.source}: positions have the shape {positions.shape}; (frames, {len(symbols)}, 3) is needed "
                f"for {len(symbols)} agents and at least one frame."
            )
        n_frames = len(positions)
        boxes = self._floats("box", self.boxes)
        if boxes.shape == (3,):
            boxes = np.tile(boxes, (n_frames, 1))
        arrays: dict[str, NDArray[np.float64]] = {"positions": positions, "boxes": boxes}
        arrays["forces"] = self._floats("forces", self.forces)
        expected = {"forces": positions.shape, "boxes": (n_frames, 3)}
        if self.energies is not None:
            arrays["energies"] = self._floats("energies", self.energies)
            expected["energies"] = (n_frames,)
        if self.velocities is not None:
            arrays["velocities"] = self._floats("velocities", self.velocities)
            expected["velocities"] = positions.shape
        for name, shape in expected.items():
            if arrays[name].shape != shape:
                raise InputError(
                    f"{self.source}: {name} have the shape {arrays[name].shape}, but the positions of "
                    f"{n_frames} frames and {len(symbols)} agents ask for {shape}."
                )
        if not np.all(boxes > 0.0):
            frame = int(np.argmin(boxes.min(axis=1)))
            raise InputError(
                f"{self.source}: frame {frame} has a box edge of {boxes[frame].min():g} angstrom; "
                "every edge must be positive."
            )
        if not 0.0 < self.weight < np.inf:
            raise InputError(
                f"{self.source}: the weight of frames must be a positive number; {self.weight:g} was given."
            )
        for name, array in arrays.items():
            object.__setattr__(self, name, array)
        if self.steps is not None:
            steps = np.ascontiguousarray(self.steps)
            if steps.shape != (n_frames,) or steps.dtype.kind not in "iu":
                raise InputError(f"{self.source}: steps must be {n_frames} whole numbers, one per frame.")
            object.__setattr__(self, "steps", steps.astype(np.int64, copy=False))
        object.__setattr__(self, "symbols", symbols)
        object.__setattr__(self, "provenance", {str(k): str(v) for k, v in self.provenance.items()})

    def _floats(self, name: str, values: ArrayLike) -> NDArray[np.float64]:
        try:
            array = np.ascontiguousarray(values, dtype=np.float64)
        except (ValueError, TypeError):
            raise InputError(f"{self.source}: {name} are not a regular array of numbers.") from None
        if not np.isfinite(array).all():
            bad = np.argwhere(~np.isfinite(array))[0]
            where = f" in frame {bad[0]}" if array.ndim > 1 or name == "energies" else ""
            raise InputError(f"{self.source}: {name} hold a value that is not a finite number{where}.")
        return array

    @property
    def source(self) -> str:
        """How messages call these frames: the file they came from."""
        return self.provenance.get("source", "labelled frames")

    @property
    def n_frames(self) -> int:
        return len(self.positions)

    @property
    def n_agents(self) -> int:
        return len(self.symbols)

    def __len__(self) -> int:
        return self.n_frames

    def take(self, indices: ArrayLike | slice) -> LabelledFrames:
        """The frames of these indices, in this order.

        Parameters
        ----------
        indices : array_like of int or bool, or slice
            A slice copies nothing.
        """
        chosen = indices if isinstance(indices, slice) else np.asarray(indices)
        return replace(
            self,
            positions=self.positions[chosen],
            forces=self.forces[chosen],
            boxes=self.boxes[chosen],
            energies=None if self.energies is None else self.energies[chosen],
            velocities=None if self.velocities is None else self.velocities[chosen],
            steps=None if self.steps is None else self.steps[chosen],
        )

    def chunks(self, size: int) -> Iterator[LabelledFrames]:
        """The frames in order, `size` at a time, without copies."""
        for start in range(0, self.n_frames, size):
            yield self.take(slice(start, start + size))


def check_units(frames: LabelledFrames) -> None:
    """Refuse labels whose numbers cannot be in angstrom and eV/angstrom.

    Raises
    ------
    InputError
        One sentence with the source, the field, what was found and what is expected.
    """
    from scipy.spatial import cKDTree

    rms = float(np.sqrt(np.mean(np.square(frames.forces))))
    if rms > LARGEST_FORCE_RMS:
        raise InputError(
            f"{frames.source}: the forces have a root mean square of {rms:.3g} eV/angstrom, which no molecule stands; "
            "they seem to be in another unit."
        )
    if rms == 0.0 and frames.n_frames > 1:
        raise InputError(f"{frames.source}: all forces are zero; a loss is inferred from forces, so they are needed.")
    if frames.n_agents < 2:
        return
    hydrogens = np.array([symbol == "H" for symbol in frames.symbols])
    bonds: list[NDArray[np.float64]] = []
    picked = np.unique(np.linspace(0, frames.n_frames - 1, _FRAMES_LOOKED_AT).astype(int))
    for index in picked:
        box = frames.boxes[index]
        wrapped = np.mod(frames.positions[index], box)
        wrapped[wrapped >= box] = 0.0  # np.mod of a tiny negative number rounds up to the edge itself
        nearest = cKDTree(wrapped, boxsize=box).query(wrapped, k=2)[0][:, 1]
        if nearest.min() < CLOSEST_CONTACT:
            raise InputError(
                f"{frames.source}: in frame {index} two agents are only {nearest.min():.3g} angstrom apart; "
                "positions or box seem to be in another unit, such as nanometre."
            )
        bonds.append(nearest[hydrogens])
    if hydrogens.any() and set(frames.symbols) <= {"H", "C", "N", "O"}:
        shortest, longest = BOND_TO_HYDROGEN
        bond = float(np.median(np.concatenate(bonds)))
        if not shortest <= bond <= longest:
            raise InputError(
                f"{frames.source}: the nearest neighbour of a hydrogen is typically {bond:.3g} angstrom away, where "
                f"{shortest:g} to {longest:g} are possible; the positions seem to be in another unit, such as "
                f"{'bohr' if bond > longest else 'angstrom read as bohr'}."
            )


def save_frames(
    path: str | Path, systems: Sequence[LabelledFrames], force: bool = False, progress: Progress | None = None
) -> None:
    """Write a data set: one group per system.

    Numbers are kept exactly. They are stored in single precision where that loses nothing, as for frames that were
    read from single precision. The file appears under its name only when it is complete.

    Parameters
    ----------
    path : path
        The HDF5 file.
    systems : sequence of LabelledFrames
    force : bool
        Whether a file of that name may be replaced.
    progress : callable, optional
        Called with the fraction done and what is being done.

    Raises
    ------
    InputError
        When there is nothing to write, the file exists and `force` is False, or its folder does not exist.
    WorkFailed
        When the file cannot be written (permission, disk full).
    """
    path = Path(path)
    if not systems:
        raise InputError(f"There are no frames to write to {path}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise InputError(f"{path} exists already; choose another name or use --force to replace it.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; make it first or choose another place.")
    with whole_file(path) as unfinished:
        unfinished.write_bytes(_image(systems, progress))


def _image(systems: Sequence[LabelledFrames], progress: Progress | None) -> bytes:
    """The bytes of a data set's file.

    HDF5 composes it in memory, where it takes less than the frames do: a write that fails (disk full) inside of HDF5
    cannot be recovered from and ends the process with a segmentation fault.
    """
    import h5py

    total = sum(system.n_frames for system in systems)
    done = 0
    with h5py.File("data set", "w", driver="core", backing_store=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["schema"] = SCHEMA
        file.attrs["creator"] = f"mldsim {mldsim.__version__}"
        for name, system in zip(_group_names(systems), systems, strict=True):
            for written in _write_system(file.create_group(name), system):
                if progress is not None:
                    progress((done + written) / total, f"frame {done + written} of {total}")
            done += system.n_frames
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _group_names(systems: Sequence[LabelledFrames]) -> list[str]:
    """A readable, unique name for each system: what its provenance calls it, or its number."""
    names: list[str] = []
    for number, system in enumerate(systems):
        wanted = re.sub(r"[^A-Za-z0-9_+-]+", "_", system.provenance.get("name", "")).strip("_")
        name = wanted or f"system_{number:03d}"
        names.append(name if name not in names else f"{name}_{number:03d}")
    return names


def _write_system(group: object, system: LabelledFrames) -> Iterator[int]:
    """Write one system frame block by frame block; yield how many frames are written."""
    import h5py

    assert isinstance(group, h5py.Group)
    group.attrs.update({key: value for key, value in system.provenance.items() if key != "name"})
    if system.weight != 1.0:
        group.attrs["weight"] = system.weight
    numbers = np.array([atomic_number(symbol) for symbol in system.symbols], dtype=np.int16)
    group.create_dataset("atomic_numbers", data=numbers.astype(np.int8) if numbers.max() < 128 else numbers)
    constant = bool((system.boxes == system.boxes[0]).all())
    group.create_dataset("box", data=system.boxes[0] if constant else system.boxes).attrs["unit"] = UNITS["box"]
    if system.energies is not None:
        energy = group.create_dataset("energy", data=system.energies, compression="gzip", shuffle=True)
        energy.attrs["unit"] = UNITS["energy"]
    if system.steps is not None:
        group.create_dataset("step", data=system.steps, compression="gzip", shuffle=True)
    # Whole frames per chunk, about a quarter of a MiB: a reader that wants some frames unpacks few others.
    block = int(np.clip(2**18 // (system.n_agents * 3 * 8), 1, system.n_frames))
    arrays = {"positions": system.positions, "forces": system.forces}
    if system.velocities is not None:
        arrays["velocities"] = system.velocities
    stored: dict[str, h5py.Dataset] = {}
    for name, array in arrays.items():
        single = all(_fits_single(array[i : i + block]) for i in range(0, len(array), block))
        stored[name] = group.create_dataset(
            name,
            shape=array.shape,
            dtype=np.float32 if single else np.float64,
            chunks=(block, system.n_agents, 3),
            compression="gzip",
            compression_opts=9,
            shuffle=True,
        )
        stored[name].attrs["unit"] = UNITS[name]
    for start in range(0, system.n_frames, block):
        for name, array in arrays.items():
            stored[name][start : start + block] = array[start : start + block]
        yield min(start + block, system.n_frames)


def _fits_single(array: NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float32) == array).all())


def split(
    systems: Sequence[LabelledFrames], fraction: float, seed: int = 0
) -> tuple[list[LabelledFrames], list[LabelledFrames]]:
    """Divide systems into frames to fit and frames to hold out.

    Neighbouring frames of a run look alike; drawn at random they would sit on both sides and the error on the
    held-out ones would flatter. So of a time series (`steps` is not None) the last contiguous `fraction` is held out.
    Frames that are no time series are taken for independent and drawn at random, as are systems of a single frame,
    which are held out whole.

    Parameters
    ----------
    systems : sequence of LabelledFrames
    fraction : float
        Share of the frames to hold out, from 0 to below 1; a system of two frames or more gives at least one frame
        to each side when it is above 0.
    seed : int
        Of the random draw; the same seed gives the same division.

    Returns
    -------
    train, holdout : list of LabelledFrames
        Without empty systems; frames keep their order.

    Raises
    ------
    InputError
        When the fraction is out of range, or no frame is left to hold out although some were asked for.
    """
    train: list[LabelledFrames] = []
    holdout: list[LabelledFrames] = []
    for system, (fitted, held) in zip(systems, divide(systems, fraction, seed), strict=True):
        for frames, numbers in ((train, fitted), (holdout, held)):
            if len(numbers) == system.n_frames:
                frames.append(system)
            elif len(numbers):
                frames.append(system.take(numbers))
    if not holdout and fraction > 0.0:
        raise InputError("There are too few frames to hold some out; give more frames or hold out none.")
    return train, holdout


def divide(
    systems: Sequence[LabelledFrames], fraction: float, seed: int = 0
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Which frames of each system `split` fits and which it holds out: their indices, ascending.

    Parameters
    ----------
    systems, fraction, seed
        See `split`.

    Raises
    ------
    InputError
        When the fraction is out of range.
    """
    if not 0.0 <= fraction < 1.0:
        raise InputError(f"The held-out share must be at least 0 and below 1; {fraction:g} was given.")
    rng = np.random.default_rng(seed)
    singles = [number for number, system in enumerate(systems) if system.n_frames == 1]
    n_drawn = min(round(fraction * len(singles)), len(singles))
    drawn = set(rng.choice(singles, n_drawn, replace=False).tolist()) if n_drawn else set()
    parts: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for number, system in enumerate(systems):
        n_frames = system.n_frames
        n_out = int(np.clip(round(fraction * n_frames), 1, n_frames - 1)) if fraction and n_frames > 1 else 0
        if number in drawn:
            n_out = 1
        order = np.arange(n_frames)
        if n_out and n_frames > 1:
            steps = system.steps
            order = rng.permutation(n_frames) if steps is None else np.argsort(steps, kind="stable")
        parts.append((np.sort(order[: n_frames - n_out]), np.sort(order[n_frames - n_out :])))
    return parts
