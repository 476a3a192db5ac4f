"""What a fit keeps of its frames: enough to choose settings, to leave frames out and to fit again with more.

The sums are kept apart by kind of row, so that weights can be chosen afterwards, and by fold: contiguous blocks of
each time series, because neighbouring frames look alike. On disk they are an HDF5 file::

    /                     attributes: format = "mldsim-sums", schema = 1, creator, about (JSON: ridge and weights of
                          the last fit, sources and theory levels of the frames)
    /model, /witness      the sums of one form of loss: attributes form (JSON) and size; the witness is optional
        KIND/FOLD         groups "forces", "net forces", "torques", "curls"; folds "0", "1", ...
            packed        (n (n + 1) / 2,) one triangle of D^T D (LAPACK's rectangular full packed format)
            vector        (n,) D^T F; attributes square (F^T F) and count (rows)
    /lowest, /highest     (n_species, n_fields) rank-0 invariants
    /nearest              (n_species, n_species) angstrom
    /frame_errors         (n_frames,) eV/angstrom
    /samples              (n, 4) for the law of doubt, see `mldsim.doubt`
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import mldsim
from mldsim.equations import NormalEquations, weighted_sum
from mldsim.errors import InputError
from mldsim.files import whole_file

if TYPE_CHECKING:
    import h5py

FORMAT = "mldsim-sums"
SCHEMA = 1

MOST_FOLDS = 5
MOST_MEMORY = 2 * 2**30
"""bytes of all sums of one form together; large forms get fewer folds."""

LARGEST_SIZE = 20_000
"""columns; the matrix of so many fills 3.2 GB."""


CHOICES = ("ridge", "net_force_weight", "torque_weight", "curl_weight")
"""What can be changed without another pass over the frames."""


class Rows(enum.Enum):
    """Kinds of rows of the regression."""

    FORCES = "forces"
    NET_FORCES = "net forces"
    TORQUES = "torques"
    CURLS = "curls"


def n_folds(n_frames: int, size: int, n_kinds: int) -> int:
    """How many folds the sums are kept in: five, fewer where frames are few or sums are large."""
    affordable = int(MOST_MEMORY // (4 * size * (size + 1) * n_kinds))
    return max(1, min(MOST_FOLDS, n_frames, max(affordable, 2)))


class Sums:
    """The normal equations of one form of loss, apart by kind of row and by fold.

    Attributes
    ----------
    form : mapping
        What the columns mean, as JSON: sums can be added when their forms are equal.
    size : int
        Number of columns.
    parts : dict
        Kind of row -> one `NormalEquations` per fold.
    """

    def __init__(self, form: Mapping[str, Any], size: int, kinds: Iterable[Rows], folds: int) -> None:
        self.form = dict(form)
        self.size = size
        self.parts = {kind: [NormalEquations(size) for _ in range(folds)] for kind in kinds}

    @property
    def folds(self) -> int:
        return len(self.parts[Rows.FORCES])

    def equations(self, weights: Mapping[Rows, float], without: int | None = None) -> NormalEquations:
        """The weighted equations of all folds, or of all but one.

        Raises
        ------
        InputError
            If rows of a kind are asked for that were not summed.
        """
        for kind, weight in weights.items():
            if weight and kind not in self.parts:
                raise InputError(
                    f"The kept sums hold no rows of {kind.value}; leave out their weight, or fit all frames anew."
                )
        return weighted_sum(
            self.size,
            (
                (part, weights.get(kind, 0.0))
                for kind, parts in self.parts.items()
                for fold, part in enumerate(parts)
                if fold != without
            ),
        )


@dataclass
class Kept:
    """All that a fit keeps of its frames.

    Attributes
    ----------
    model, witness : Sums
        Of the model's own form; of the richer form that judges it (see `mldsim.doubt`), or None.
    lowest, highest : (n_species, n_fields) float64
        Of the rank-0 invariants.
    nearest : (n_species, n_species) float64, angstrom
    frame_errors : (n_frames,) float64, eV/angstrom
        Of every frame that was fitted, as of when it came.
    samples : (n, 4) float64
        See `mldsim.doubt`.
    choices : mapping
        The ridge and the weights of the last fit, by the names of `CHOICES`.
    sources, theories : tuple of str
        Names of the files the frames came from; theory levels of their labels.
    """

    model: Sums
    witness: Sums | None
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    nearest: NDArray[np.float64]
    frame_errors: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    samples: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    choices: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    theories: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        return len(self.frame_errors)


def save_sums(kept: Kept, path: Path) -> None:
    """Write the sums; the file appears whole or not at all.

    Raises
    ------
    WorkFailed
        If it cannot be written.
    """
    with whole_file(path) as unfinished:
        unfinished.write_bytes(_image(kept))


def _image(kept: Kept) -> bytes:
    """The bytes of the file, composed in memory: a write that fails inside of HDF5 ends the process."""
    import h5py

    with h5py.File("sums", "w", driver="core", backing_store=False) as file:
        file.attrs["format"] = FORMAT
        file.attrs["schema"] = SCHEMA
        file.attrs["creator"] = f"mldsim {mldsim.__version__}"
        file.attrs["about"] = json.dumps(
            {"choices": dict(kept.choices), "sources": list(kept.sources), "theories": list(kept.theories)}
        )
        for name, sums in (("model", kept.model), ("witness", kept.witness)):
            if sums is None:
                continue
            group = file.create_group(name)
            group.attrs["form"] = json.dumps(sums.form)
            group.attrs["size"] = sums.size
            for kind, parts in sums.parts.items():
                for fold, part in enumerate(parts):
                    place = group.create_group(f"{kind.value}/{fold}")
                    place.create_dataset("packed", data=part.packed)
                    place.create_dataset("vector", data=part.vector)
                    place.attrs["square"] = part.square
                    place.attrs["count"] = part.count
        for name in ("lowest", "highest", "nearest", "frame_errors", "samples"):
            file.create_dataset(name, data=getattr(kept, name))
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def load_sums(path: Path) -> Kept:
    """Read kept sums; every number is checked.

    Raises
    ------
    InputError
        One sentence: what is wrong with the file and where.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: there is no such file of sums; `mldsim fit --keep` writes one.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"{path}: these are no sums of a fit; `mldsim fit --keep` writes them.")
            schema = file.attrs.get("schema")
            if schema != SCHEMA:
                raise InputError(f"{path}: the sums have schema {schema} and this mldsim reads {SCHEMA}.")
            return _Reader(path).kept(file)
    except (OSError, KeyError, RuntimeError) as error:
        why = str(error).strip("\"'") or type(error).__name__
        raise InputError(f"{path}: the sums cannot be read: {why}.") from None


def _is_choice(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 <= value < math.inf


class _Reader:
    """Reads one file of sums, and says of it what is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def kept(self, file: h5py.File) -> Kept:
        about = self._json(file, "about")
        sources, theories = (self._texts(about, key) for key in ("sources", "theories"))
        choices = about.get("choices")
        if not (isinstance(choices, dict) and set(choices) == set(CHOICES) and all(map(_is_choice, choices.values()))):
            raise self._wrong(f"the attribute 'about' must tell {', '.join(CHOICES)} as numbers that are not negative")
        model = self._sums(file, "model")
        witness = self._sums(file, "witness") if "witness" in file else None
        if witness is not None and witness.folds != model.folds:
            raise self._wrong("the witness has another number of folds than the model")
        symbols = model.form.get("symbols")
        if not (isinstance(symbols, list) and symbols and all(isinstance(symbol, str) for symbol in symbols)):
            raise self._wrong("the form of 'model' names no symbols")
        n = len(symbols)
        lowest = self._array(file, "lowest", 2)
        highest = self._array(file, "highest", 2)
        nearest = self._array(file, "nearest", 2, finite=False)
        if lowest.shape != highest.shape or len(lowest) != n or nearest.shape != (n, n) or not (nearest >= 0).all():
            raise self._wrong("the ranges do not fit the symbols")
        samples = self._array(file, "samples", 2)
        if samples.shape[1] != 4:
            raise self._wrong("'samples' must have four columns")
        return Kept(
            model, witness, lowest, highest, nearest, self._array(file, "frame_errors", 1), samples,
            choices, sources, theories,
        )  # fmt: skip

    def _sums(self, file: h5py.File, name: str) -> Sums:
        group = file[name]
        form = self._json(group, "form")
        size = int(group.attrs.get("size", 0))
        if not 1 <= size <= LARGEST_SIZE:
            raise self._wrong(f"'{name}' has {size} columns, where 1 to {LARGEST_SIZE} are possible")
        kinds = [kind for kind in Rows if kind.value in group]
        folds = len(group[Rows.FORCES.value])
        if not 1 <= folds <= MOST_FOLDS:
            raise self._wrong(f"'{name}' has {folds} folds, where 1 to {MOST_FOLDS} are possible")
        sums = Sums(form, size, [], 0)
        for kind in kinds:
            if set(group[kind.value]) != {str(fold) for fold in range(folds)}:
                raise self._wrong(f"'{name}/{kind.value}' does not have the folds 0 to {folds - 1}")
            sums.parts[kind] = [self._equations(group, f"{kind.value}/{fold}", size) for fold in range(folds)]
        return sums

    def _equations(self, group: h5py.Group, name: str, size: int) -> NormalEquations:
        place = group[name]
        for key, length in (("packed", size * (size + 1) // 2), ("vector", size)):
            if place[key].shape != (length,):
                raise self._wrong(f"'{group.name}/{name}/{key}' has the shape {place[key].shape}, not ({length},)")
        part = NormalEquations(size)
        part.packed = self._array(place, "packed", 1)
        part.vector = self._array(place, "vector", 1)
        part.square, part.count = float(place.attrs["square"]), float(place.attrs["count"])
        if not all(0.0 <= number < math.inf for number in (part.square, part.count)):
            raise self._wrong(f"'{group.name}/{name}' has a sum of squares or a count that cannot be")
        return part

    def _array(self, group: h5py.Group, name: str, axes: int, *, finite: bool = True) -> NDArray[np.float64]:
        found = group[name]
        if not hasattr(found, "shape") or found.dtype.kind not in "fiu" or len(found.shape) != axes:
            raise self._wrong(f"'{name}' in '{group.name}' is not an array of numbers with {axes} axes")
        array = np.asarray(found, np.float64)
        if np.isnan(array).any() or (finite and not np.isfinite(array).all()):
            raise self._wrong(f"'{name}' in '{group.name}' holds what is not a finite number")
        return array

    def _json(self, group: h5py.Group, name: str) -> dict[str, Any]:
        try:
            content = json.loads(str(group.attrs[name]))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise self._wrong(f"the attribute '{name}' of '{group.name}' is not a JSON object")
        return content

    def _texts(self, about: Mapping[str, Any], key: str) -> tuple[str, ...]:
        value = about.get(key)
        if not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise self._wrong(f"the attribute 'about' has no list of texts '{key}'")
        return tuple(value)

    def _wrong(self, what: str) -> InputError:
        return InputError(f"{self._path}: {what}; the file is damaged or not of `mldsim fit --keep`.")
