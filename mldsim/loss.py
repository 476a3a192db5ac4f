"""The loss model: what each agent minimises, and its file.

    L_a = w_a . s + 1/2 sum_l A^l : W_a^l : A^l + wall

with the invariants s (rank 0 of the fields A) of `kernels.reference`, one (w, W) per species a. A model file is JSON
text with a schema version; it is validated field by field before anything is built from it, and never executed.
"""

from __future__ import annotations

import enum
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError, WorkFailed
from mldsim.radial import RadialBasis
from mldsim.species import pair_name

if TYPE_CHECKING:
    from pydantic import BaseModel

FORMAT = "mldsim-loss-model"
SCHEMA = 1


class Scope(enum.Enum):
    """Whose loss an agent descends."""

    OWN = "own"
    SHARED = "shared"


@dataclass(frozen=True)
class Wall:
    """Fixed repulsion below the data's closest contacts: stiffness * (radius - r)^2 for each closer pair.

    Attributes
    ----------
    stiffness : float, eV/angstrom^2
    radius : (n_species, n_species) float64, angstrom
    """

    stiffness: float
    radius: NDArray[np.float64]


@dataclass(frozen=True)
class FittedRanges:
    """What the fit has seen; outside it the model extrapolates.

    Attributes
    ----------
    distances : dict
        Pair name -> (shortest, longest) distance below the cutoff, angstrom.
    invariants : (n_species, n_invariants, 2) float64
        Smallest and largest value of each rank-0 invariant.
    """

    distances: Mapping[str, tuple[float, float]]
    invariants: NDArray[np.float64]


@dataclass(frozen=True)
class LossModel:
    """Losses of all species.

    Attributes
    ----------
    name : str
    symbols : tuple of str
        Chemical symbols; every array's species axes follow their order.
    masses : (n_species,) float64, amu
    scope : Scope
    order : int
        1: linear in the invariants; 2: quadratic.
    max_rank : int
        Highest rank of the fields, 0 .. 3.
    radial : RadialBasis
    wall : Wall
    linear : (n_species, n_species * n_radial) float64, eV
        w; the neighbour's species is the slower index.
    quadratic : (n_species, max_rank + 1, n_species * n_radial, n_species * n_radial) float64, eV
        W, symmetric in its last two axes; zero when `order` is 1.
    ranges : FittedRanges
    card : dict
        Provenance for people: data, theory level, errors, stability, purpose.
    """

    name: str
    symbols: tuple[str, ...]
    masses: NDArray[np.float64]
    scope: Scope
    order: int
    max_rank: int
    radial: RadialBasis
    wall: Wall
    linear: NDArray[np.float64]
    quadratic: NDArray[np.float64]
    ranges: FittedRanges
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def cutoff(self) -> float:
        """angstrom"""
        return self.radial.cutoff

    @property
    def n_parameters(self) -> int:
        """Fitted numbers of all species together."""
        n = self.linear.shape[1]
        quadratic = (self.max_rank + 1) * n * (n + 1) // 2 if self.order == 2 else 0
        return len(self.symbols) * (n + quadratic)


def _file_schema() -> type[BaseModel]:
    """The pydantic description of a model file; built on first use because pydantic is slow to import."""
    from pydantic import BaseModel, ConfigDict, Field

    positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
    finite = Annotated[float, Field(allow_inf_nan=False)]

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")

    class SpeciesEntry(Strict):
        symbol: str
        mass_amu: positive  # type: ignore[valid-type]

    class RadialEntry(Strict):
        family: Literal["ChebPow"]
        exponent: Annotated[float, Field(ge=3, le=10, allow_inf_nan=False)]
        pairs: dict[str, list[list[finite]]]  # type: ignore[valid-type]

    class WallEntry(Strict):
        stiffness_eV_A2: positive  # type: ignore[valid-type]  # noqa: N815
        radius_A: dict[str, positive]  # type: ignore[valid-type]  # noqa: N815

    class LossEntry(Strict):
        linear: list[finite]  # type: ignore[valid-type]
        quadratic: list[list[finite]]  # type: ignore[valid-type]

    class RangesEntry(Strict):
        distances_A: dict[str, tuple[finite, finite]]  # type: ignore[valid-type]  # noqa: N815
        invariants: dict[str, list[tuple[finite, finite]]]  # type: ignore[valid-type]

    class ModelFile(Strict):
        format: Literal["mldsim-loss-model"]
        schema_: Annotated[int, Field(alias="schema")]
        name: Annotated[str, Field(min_length=1, max_length=200)]
        species: Annotated[list[SpeciesEntry], Field(min_length=1, max_length=8)]
        scope: Scope
        order: Annotated[int, Field(ge=1, le=2)]
        max_rank: Annotated[int, Field(ge=0, le=3)]
        cutoff_A: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)]  # noqa: N815
        radial: RadialEntry
        wall: WallEntry
        losses: dict[str, LossEntry]
        fitted_ranges: RangesEntry
        card: dict[str, Any]

    return ModelFile


def shipped_models() -> list[str]:
    """Names of the models that come with mldsim, the default first."""
    folder = resources.files("mldsim.assets.models")
    names = sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".json"))
    return sorted(names, key=lambda name: (name != "water", name))


def load_model(name_or_path: str | Path) -> LossModel:
    """Load a shipped model by name or any model by its path.

    Raises
    ------
    InputError
        One sentence: what is wrong with the file and where.
    """
    text, where = _read(name_or_path)
    try:
        content = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where}{line}: this is not a loss model, because it is not valid JSON.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{where}: this is not a loss model, because the field 'format' is not '{FORMAT}'.")
    if isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
        raise InputError(
            f"{where}: the model has schema {content['schema']} and this mldsim reads up to {SCHEMA}; update mldsim."
        )
    return _validated(content, where)


def _read(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if str(name_or_path) in shipped_models():
        resource = resources.files("mldsim.assets.models") / f"{name_or_path}.json"
        return resource.read_text(encoding="utf-8"), str(name_or_path)
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except FileNotFoundError:
        known = ", ".join(shipped_models())
        raise InputError(
            f"There is no loss model '{name_or_path}': neither a shipped one ({known}) nor a file."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not a loss model, because it is not text.") from None
    except OSError as error:
        raise InputError(f"{path}: the loss model cannot be read: {error.strerror}.") from None


def _validated(content: dict[str, Any], where: str) -> LossModel:
    from pydantic import ValidationError

    try:
        entry: Any = _file_schema().model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: field '{place}' is not usable: {first['msg']}.") from None

    def refuse(place: str, what: str) -> InputError:
        return InputError(f"{where}: field '{place}' {what}.")

    symbols = tuple(item.symbol for item in entry.species)
    if len(set(symbols)) != len(symbols):
        raise refuse("species", "names a species twice")
    n = len(symbols)
    try:
        pairs = {pair_name(a, b) for a in symbols for b in symbols}
    except InputError as error:
        raise refuse("species", f"cannot be used: {error}".rstrip(".")) from None
    for place, found in (
        ("radial.pairs", entry.radial.pairs),
        ("wall.radius_A", entry.wall.radius_A),
        ("fitted_ranges.distances_A", entry.fitted_ranges.distances_A),
    ):
        if set(found) != pairs:
            raise refuse(place, f"must have exactly the pairs {', '.join(sorted(pairs))}")
    for place, found in (("losses", entry.losses), ("fitted_ranges.invariants", entry.fitted_ranges.invariants)):
        if set(found) != set(symbols):
            raise refuse(place, f"must have exactly the species {', '.join(symbols)}")

    shapes = {(len(rows), len(row)) for rows in entry.radial.pairs.values() for row in rows}
    counts = {len(rows) for rows in entry.radial.pairs.values()}
    if len(shapes) != 1 or len(counts) != 1 or not 1 <= min(counts) <= 64:
        raise refuse("radial.pairs", "must have equally many functions and coefficients for every pair")
    n_radial, size = shapes.pop()
    n_fields = n * n_radial
    radial = np.zeros((n, n, n_radial, size))
    radius = np.zeros((n, n))
    for i, a in enumerate(symbols):
        for j, b in enumerate(symbols):
            radial[i, j] = entry.radial.pairs[pair_name(a, b)]
            radius[i, j] = entry.wall.radius_A[pair_name(a, b)]
    if (radius >= entry.cutoff_A).any():
        raise refuse("wall.radius_A", "must be shorter than cutoff_A")

    linear = np.zeros((n, n_fields))
    quadratic = np.zeros((n, entry.max_rank + 1, n_fields, n_fields))
    invariants = np.zeros((n, n_fields, 2))
    triangle = n_fields * (n_fields + 1) // 2
    upper = np.triu_indices(n_fields)
    for i, a in enumerate(symbols):
        loss = entry.losses[a]
        if len(loss.linear) != n_fields:
            raise refuse(f"losses.{a}.linear", f"has {len(loss.linear)} numbers where {n_fields} belong")
        if len(loss.quadratic) != (entry.max_rank + 1 if entry.order == 2 else 0):
            raise refuse(f"losses.{a}.quadratic", "must have one list per rank for order 2, and none for order 1")
        linear[i] = loss.linear
        for rank, values in enumerate(loss.quadratic):
            if len(values) != triangle:
                raise refuse(f"losses.{a}.quadratic.{rank}", f"has {len(values)} numbers where {triangle} belong")
            quadratic[i, rank][upper] = values
            quadratic[i, rank].T[upper] = values
        if len(entry.fitted_ranges.invariants[a]) != n_fields:
            raise refuse(f"fitted_ranges.invariants.{a}", f"must have {n_fields} pairs of numbers")
        invariants[i] = entry.fitted_ranges.invariants[a]
    if entry.order == 1 and entry.max_rank != 0:
        raise refuse("max_rank", "must be 0 for order 1, because only rank-0 invariants enter linearly")

    return LossModel(
        name=entry.name,
        symbols=symbols,
        masses=np.array([item.mass_amu for item in entry.species]),
        scope=entry.scope,
        order=entry.order,
        max_rank=entry.max_rank,
        radial=RadialBasis(entry.cutoff_A, entry.radial.exponent, radial),
        wall=Wall(entry.wall.stiffness_eV_A2, radius),
        linear=linear,
        quadratic=quadratic,
        ranges=FittedRanges(dict(entry.fitted_ranges.distances_A), invariants),
        card=entry.card,
    )


def save_model(model: LossModel, path: str | Path, *, force: bool = False) -> None:
    """Write a model file; it appears whole or not at all.

    Raises
    ------
    InputError
        If the file exists and `force` is not given, or the folder does not.
    WorkFailed
        If writing fails.
    """
    path = Path(path)
    if path.exists() and not force:
        raise InputError(f"{path} exists; choose another name or add --force to replace it.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist.")
    text = json.dumps(_content(model), separators=(",", ":"), allow_nan=False) + "\n"
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorkFailed(f"{path}: the model cannot be written: {error.strerror}.") from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _content(model: LossModel) -> dict[str, Any]:
    def rounded(values: NDArray[np.float64]) -> list[Any]:
        # 12 digits are far below any fit's uncertainty and halve the file.
        return [float(f"{value:.12g}") for value in np.ravel(values)]

    symbols = model.symbols
    upper = np.triu_indices(model.linear.shape[1])
    pairs = {pair_name(a, b): (i, j) for i, a in enumerate(symbols) for j, b in enumerate(symbols)}
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "name": model.name,
        "species": [{"symbol": s, "mass_amu": float(m)} for s, m in zip(symbols, model.masses, strict=True)],
        "scope": model.scope.value,
        "order": model.order,
        "max_rank": model.max_rank,
        "cutoff_A": model.cutoff,
        "radial": {
            "family": "ChebPow",
            "exponent": model.radial.exponent,
            "pairs": {name: [rounded(row) for row in model.radial.coefficients[ab]] for name, ab in pairs.items()},
        },
        "wall": {
            "stiffness_eV_A2": model.wall.stiffness,
            "radius_A": {name: float(model.wall.radius[ab]) for name, ab in pairs.items()},
        },
        "losses": {
            symbol: {
                "linear": rounded(model.linear[i]),
                "quadratic": [rounded(w[upper]) for w in model.quadratic[i]] if model.order == 2 else [],
            }
            for i, symbol in enumerate(symbols)
        },
        "fitted_ranges": {
            "distances_A": {name: list(span) for name, span in model.ranges.distances.items()},
            "invariants": {
                symbol: [rounded(span) for span in model.ranges.invariants[i]] for i, symbol in enumerate(symbols)
            },
        },
        "card": dict(model.card),
    }
