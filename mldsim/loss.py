"""The loss model: what each agent minimises, and its file.

    L_a = w_a . s + 1/2 sum_l A^l : W_a^l : A^l + cubic + hops + waves + wall

with the invariants s (rank 0 of the fields A) of `kernels.reference`, the cubic part of `kernels.cubic` and the parts
that are not local of `kernels.mutual`, one set of coefficients per species a. A model file is JSON text with a schema
version; it is validated field by field before anything is built from it, and never executed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mldsim.errors import InputError, WorkFailed
from mldsim.files import whole_file
from mldsim.radial import RadialBasis
from mldsim.scope import Scope as Scope
from mldsim.species import pair_name

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

FORMAT = "mldsim-loss-model"
SCHEMA = 3
"""2 added the committee, 3 the cubic part and those that are not local."""

# What a file from a stranger may ask of memory and arithmetic; every sensible model is far inside.
LARGEST_FILE = 64 * 2**20
LARGEST_CARD, DEEPEST_CARD = 2**20, 20
LARGEST_NUMBER = 1e20
MOST_FUNCTIONS, MOST_TERMS = 64, 256
MOST_DRAWS = 64
MOST_CHANNELS = 8
MOST_WIDTHS, LONGEST_WAVE_VECTOR = 8, 4.0
SHORTEST_CUTOFF = 1.0
"""angstrom; a shorter one would not reach along a bond."""


PARTS = ("cubic", "hops", "waves")
"""What a loss can have beyond the quadratic, in the order of the columns."""


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
class Committee:
    """What a model knows of its own errors; `mldsim.doubt` says what is made of it.

    Attributes
    ----------
    draws : (n_draws, n_species, n_columns) float64
        Changes of the coefficients that the fitted forces could not tell from none, per unit of force error; columns
        as of `LossModel.with_coefficients`.
    law : (n_species, 3) float64
        scale (eV^2/angstrom^2), power and share: variance = scale * leverage^power + share * difference^2.
    witness : LossModel or None
        A richer form fitted to the same frames.
    """

    draws: NDArray[np.float64]
    law: NDArray[np.float64]
    witness: LossModel | None = None


@dataclass(frozen=True)
class Cubic:
    """The cubic part of the losses: invariants of three fields, seen through channels; see `kernels.cubic`.

    Attributes
    ----------
    channels : (n_species, max_rank + 1, n_channels, n_fields) float64
        P: each channel as a combination of the fields of its rank.
    offsets : (n_species, n_channels) float64
        o, taken off the channels of rank 0.
    saturation : (n_species,) float64
        c: a channel of rank l is saturated at a length of c sqrt(2 l + 1).
    coefficients : (n_species, n_features) float64, eV
        theta, in the order of `kernels.cubic.features`.
    """

    channels: NDArray[np.float64]
    offsets: NDArray[np.float64]
    saturation: NDArray[np.float64]
    coefficients: NDArray[np.float64]

    @property
    def n_channels(self) -> int:
        return int(self.offsets.shape[1])

    @property
    def has_constant(self) -> bool:
        """Whether the last channel of rank 0 is the same for all agents, see `mldsim.channels`."""
        return not self.channels[:, 0, -1].any()


@dataclass(frozen=True)
class Hops:
    """The part that couples the channels of neighbours; see `kernels.mutual`.

    Attributes
    ----------
    coefficients : (n_species, n_columns) float64, eV
        In the order of `kernels.mutual.columns`, with the radial functions and the channels of rank 0.
    """

    coefficients: NDArray[np.float64]


@dataclass(frozen=True)
class Waves:
    """The long-range part; see `kernels.waves`.

    Attributes
    ----------
    widths : (n_widths,) float64, 1/angstrom
        a of each function.
    reach : float, 1/angstrom
        k_c: there are no longer wave vectors.
    coefficients : (n_species, n_columns) float64, eV angstrom
        In the order of `kernels.mutual.columns`, with these functions and the numbers 1 and leading channel.
    """

    widths: NDArray[np.float64]
    reach: float
    coefficients: NDArray[np.float64]


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
        1: linear in the invariants; 2: quadratic; 3: quadratic, with a cubic part.
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
    committee : Committee or None
        For the doubt of each agent, if the model was fitted with it.
    cubic : Cubic or None
        When `order` is 3.
    hops : Hops or None
    waves : Waves or None
        Both see the channels of the cubic part, and are for shared scope.
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
    committee: Committee | None = None
    cubic: Cubic | None = None
    hops: Hops | None = None
    waves: Waves | None = None

    @property
    def cutoff(self) -> float:
        """angstrom"""
        return self.radial.cutoff

    @property
    def n_columns(self) -> int:
        """Fitted numbers of one species."""
        return self.n_parameters // len(self.symbols)

    def with_coefficients(self, columns: NDArray[np.float64]) -> LossModel:
        """The same form with other coefficients, and without a committee.

        Parameters
        ----------
        columns : (n_species, n_columns) float64, eV
            In the order of `kernels.design`: w, then the upper triangle of W of each rank, then the cubic part, hops
            and waves.
        """
        n = self.linear.shape[1]
        quadratic = np.zeros_like(self.quadratic)
        if self.order >= 2:
            upper = np.triu_indices(n)
            size = len(upper[0])
            for rank in range(self.max_rank + 1):
                triangle = columns[:, n + rank * size : n + (rank + 1) * size]
                quadratic[:, rank, upper[0], upper[1]] = triangle
                quadratic[:, rank, upper[1], upper[0]] = triangle
        parts: dict[str, Any] = {}
        end = columns.shape[1]
        for name in reversed(PARTS):
            part = getattr(self, name)
            if part is not None:
                begin = end - part.coefficients.shape[1]
                parts[name] = replace(part, coefficients=columns[:, begin:end].copy())
                end = begin
        return replace(self, linear=columns[:, :n].copy(), quadratic=quadratic, committee=None, **parts)

    @property
    def n_parameters(self) -> int:
        """Fitted numbers of all species together."""
        n: int = self.linear.shape[1]
        quadratic = (self.max_rank + 1) * n * (n + 1) // 2 if self.order >= 2 else 0
        parts = (self.cubic, self.hops, self.waves)
        more: int = sum(one.coefficients.shape[1] for one in parts if one is not None)
        return len(self.symbols) * (n + quadratic + more)


def _file_schema() -> type[BaseModel]:
    """The pydantic description of a model file; built on first use because pydantic is slow to import.

    Strict: no text in the place of a number, no ``true`` in the place of 1.
    """
    from pydantic import BaseModel, ConfigDict, Field

    # Beyond this no coefficient means anything, and single precision begins to overflow.
    finite = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, allow_inf_nan=False)]
    positive = Annotated[float, Field(gt=0, le=LARGEST_NUMBER, allow_inf_nan=False)]
    span = Annotated[list[finite], Field(min_length=2, max_length=2)]

    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)

    class SpeciesEntry(Strict):
        symbol: str
        mass_amu: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]

    class RadialEntry(Strict):
        family: Literal["ChebPow"]
        exponent: Annotated[float, Field(ge=3, le=10, allow_inf_nan=False)]
        pairs: dict[str, list[list[finite]]]

    class WallEntry(Strict):
        stiffness_eV_A2: positive  # noqa: N815
        radius_A: dict[str, positive]  # noqa: N815

    class CubicEntry(Strict):
        channels: list[Annotated[list[list[finite]], Field(min_length=1, max_length=MOST_CHANNELS)]]
        offsets: Annotated[list[finite], Field(min_length=1, max_length=MOST_CHANNELS)]
        saturation: positive
        coefficients: list[finite]

    class LossEntry(Strict):
        linear: list[finite]
        quadratic: list[list[finite]]
        cubic: CubicEntry | None = None
        hops: list[finite] | None = None
        waves: list[finite] | None = None

    class WavesEntry(Strict):
        widths_1_A: Annotated[  # noqa: N815
            list[Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]],
            Field(min_length=1, max_length=MOST_WIDTHS),
        ]
        longest_1_A: Annotated[float, Field(gt=0, le=LONGEST_WAVE_VECTOR, allow_inf_nan=False)]  # noqa: N815

    class RangesEntry(Strict):
        distances_A: dict[str, span]  # noqa: N815
        invariants: dict[str, list[span]]

    class LawEntry(Strict):
        scale_eV2_A2: Annotated[float, Field(ge=0, le=LARGEST_NUMBER, allow_inf_nan=False)]  # noqa: N815
        power: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
        share: Annotated[float, Field(ge=0, le=LARGEST_NUMBER, allow_inf_nan=False)]

    class CommitteeEntry(Strict):
        draws: dict[str, Annotated[list[list[finite]], Field(min_length=1, max_length=MOST_DRAWS)]]
        law: dict[str, LawEntry]
        witness: dict[str, Any] | None = None

    class ModelFile(Strict):
        format: Literal["mldsim-loss-model"]
        schema_: Annotated[int, Field(alias="schema", ge=1, le=SCHEMA)]
        name: Annotated[str, Field(min_length=1, max_length=200)]
        species: Annotated[list[SpeciesEntry], Field(min_length=1, max_length=8)]
        scope: Literal["own", "shared"]
        order: Annotated[int, Field(ge=1, le=3)]
        max_rank: Annotated[int, Field(ge=0, le=3)]
        cutoff_A: Annotated[float, Field(gt=0, le=20, allow_inf_nan=False)]  # noqa: N815
        radial: RadialEntry
        wall: WallEntry
        waves: WavesEntry | None = None
        losses: dict[str, LossEntry]
        fitted_ranges: RangesEntry
        card: dict[str, Any]
        committee: CommitteeEntry | None = None

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
    return parse_model(*_read(name_or_path))


def parse_model(text: str, where: str) -> LossModel:
    """A model from the text of its file; `where` names it in a refusal.

    Raises
    ------
    InputError
        As `load_model`.
    """
    content = _parsed(text, where)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{where}: this is not a loss model, because the field 'format' is not '{FORMAT}'.")
    schema = content.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise InputError(f"{where}: the model has schema {schema} and this mldsim reads up to {SCHEMA}; update mldsim.")
    return _validated(content, where)


def _read(name_or_path: str | Path) -> tuple[str, str]:
    if str(name_or_path) in shipped_models():
        resource = resources.files("mldsim.assets.models") / f"{name_or_path}.json"
        return resource.read_text(encoding="utf-8"), str(name_or_path)
    path = Path(name_or_path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        if len(data) > LARGEST_FILE:
            raise InputError(f"{path}: this is not a loss model: it is larger than {LARGEST_FILE // 2**20} MiB.")
        return data.decode("utf-8-sig"), str(path)
    except FileNotFoundError:
        known = ", ".join(shipped_models())
        raise InputError(
            f"There is no loss model '{name_or_path}': neither a shipped one ({known}) nor a file."
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: this is not a loss model, because it is not text.") from None
    except ValueError as error:  # a NUL in the name
        raise InputError(f"{name_or_path!r} is not the name of a file: {error}.") from None
    except OSError as error:
        raise InputError(f"{path}: the loss model cannot be read: {error.strerror}.") from None


def _parsed(text: str, where: str) -> Any:
    """JSON as the standard has it: without NaN and Infinity, and every field once."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{where}: the field '{twice}' stands there twice.")
        return fields

    def finite(number: str) -> float:
        value = float(number)
        if not math.isfinite(value):
            raise InputError(f"{where}: {number} is not a finite number, and every number of a loss model must be one.")
        return value

    try:
        return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_constant=finite)
    except RecursionError:
        raise InputError(f"{where}: this is not a loss model: its lists are nested too deeply.") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{where}, line {error.lineno}: this is not a loss model, because it is not valid JSON ({error.msg})."
        ) from None
    except ValueError:  # Python's limit on the digits of a whole number
        raise InputError(f"{where}: this is not a loss model: a whole number has thousands of digits.") from None


def _sentence(where: str, error: ErrorDetails) -> str:
    """What pydantic found first, in words."""
    place = ".".join(str(part) for part in error["loc"])
    kind, limits = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"{where}: the field '{place}' is missing."
    if kind == "extra_forbidden":
        return f"{where}: the field '{place}' does not belong into a loss model of schema {SCHEMA}."
    wanted = {
        "greater_than": "greater than {gt:g}",
        "greater_than_equal": "at least {ge:g}",
        "less_than_equal": "at most {le:g}",
        "finite_number": "a finite number",
        "float_type": "a number",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "string_type": "text",
        "string_too_short": "text of at least one character",
        "string_too_long": "text of at most {max_length} characters",
        "list_type": "a list",
        "too_short": "a list of at least {min_length}",
        "too_long": "a list of at most {max_length}",
        "dict_type": "an object with named fields",
        "model_type": "an object with named fields",
        "literal_error": "{expected}",
    }.get(kind)
    if wanted is None:
        return f"{where}: the field '{place}' is not usable: {error['msg']}."
    found = json.dumps(error["input"], ensure_ascii=False)
    shown = found if len(found) <= 60 else f"{found[:50]} ..."
    return f"{where}: the field '{place}' must be {wanted.format(**limits)}; it is {shown}."


def _validated(content: dict[str, Any], where: str) -> LossModel:
    from pydantic import ValidationError

    try:
        entry: Any = _file_schema().model_validate(content)
    except ValidationError as error:
        raise InputError(_sentence(where, error.errors()[0])) from None

    def refuse(place: str, what: str) -> InputError:
        return InputError(f"{where}: the field '{place}' {what}.")

    if not entry.name.isprintable():
        raise refuse("name", "must be one line of text without control characters")
    if not _is_small(entry.card):
        raise refuse("card", f"is larger than {LARGEST_CARD // 2**20} MiB or nested too deeply")
    symbols = tuple(item.symbol for item in entry.species)
    if len(set(symbols)) != len(symbols):
        raise refuse("species", "names a species twice")
    n = len(symbols)
    try:
        pairs = {pair_name(a, b) for a in symbols for b in symbols}
    except InputError as error:
        raise refuse("species", f"cannot be used: {str(error).rstrip('.')}") from None
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
    if entry.cutoff_A < SHORTEST_CUTOFF:
        raise refuse("cutoff_A", f"must be at least {SHORTEST_CUTOFF:g}; it is {entry.cutoff_A:g}")

    counts = {len(rows) for rows in entry.radial.pairs.values()}
    sizes = {len(row) for rows in entry.radial.pairs.values() for row in rows}
    if len(counts) != 1 or len(sizes) != 1:
        raise refuse("radial.pairs", "must have equally many functions and coefficients for every pair")
    (n_radial,), (size,) = counts, sizes
    if n_radial > MOST_FUNCTIONS or not 1 <= size <= MOST_TERMS:
        raise refuse(
            "radial.pairs", f"can have up to {MOST_FUNCTIONS} functions of 1 to {MOST_TERMS} coefficients for each pair"
        )
    n_fields = n * n_radial
    radial = np.zeros((n, n, n_radial, size))
    radius = np.zeros((n, n))
    for i, a in enumerate(symbols):
        for j, b in enumerate(symbols):
            name = pair_name(a, b)
            radial[i, j] = entry.radial.pairs[name]
            radius[i, j] = entry.wall.radius_A[name]
            if radius[i, j] >= entry.cutoff_A:
                raise refuse(f"wall.radius_A.{name}", f"must be shorter than the cutoff of {entry.cutoff_A:g}")
            shortest, longest = entry.fitted_ranges.distances_A[name]
            if not 0 <= shortest <= longest <= entry.cutoff_A:
                raise refuse(
                    f"fitted_ranges.distances_A.{name}", "must be a shortest and a longest distance within the cutoff"
                )
    if entry.order == 1 and entry.max_rank != 0:
        raise refuse("max_rank", "must be 0 for order 1, because only rank-0 invariants enter linearly")

    n_lists = entry.max_rank + 1 if entry.order >= 2 else 0
    triangle = n_fields * (n_fields + 1) // 2
    for a in symbols:  # before anything of that size is made
        loss = entry.losses[a]
        if len(loss.linear) != n_fields:
            raise refuse(f"losses.{a}.linear", f"has {len(loss.linear)} numbers where {n_fields} belong")
        if len(loss.quadratic) != n_lists:
            raise refuse(f"losses.{a}.quadratic", "must have one list per rank from order 2 on, and none for order 1")
        for rank, values in enumerate(loss.quadratic):
            if len(values) != triangle:
                raise refuse(f"losses.{a}.quadratic.{rank}", f"has {len(values)} numbers where {triangle} belong")
        if len(entry.fitted_ranges.invariants[a]) != n_fields:
            raise refuse(f"fitted_ranges.invariants.{a}", f"must have {n_fields} pairs of numbers")

    linear = np.array([entry.losses[a].linear for a in symbols], np.float64)
    invariants = np.array([entry.fitted_ranges.invariants[a] for a in symbols], np.float64)
    if (invariants[..., 0] > invariants[..., 1]).any():
        raise refuse("fitted_ranges.invariants", "has a smallest value above the largest")
    quadratic = np.zeros((n, entry.max_rank + 1, n_fields, n_fields))
    upper = np.triu_indices(n_fields)
    for i, a in enumerate(symbols):
        for rank, values in enumerate(entry.losses[a].quadratic):
            quadratic[i, rank][upper] = values
            quadratic[i, rank].T[upper] = values

    model = LossModel(
        name=entry.name,
        symbols=symbols,
        masses=np.array([item.mass_amu for item in entry.species]),
        scope=Scope(entry.scope),
        order=entry.order,
        max_rank=entry.max_rank,
        radial=RadialBasis(entry.cutoff_A, entry.radial.exponent, radial),
        wall=Wall(entry.wall.stiffness_eV_A2, radius),
        linear=linear,
        quadratic=quadratic,
        ranges=FittedRanges(
            {pair: (shortest, longest) for pair, (shortest, longest) in entry.fitted_ranges.distances_A.items()},
            invariants,
        ),
        card=entry.card,
        cubic=_cubic({a: entry.losses[a].cubic for a in symbols}, entry.order, entry.max_rank, n_fields, where),
    )
    model = _not_local(entry, model, where)
    if entry.committee is None:
        return model
    return replace(model, committee=_committee(entry.committee, model, where))


def _cubic(entries: Mapping[str, Any], order: int, max_rank: int, n_fields: int, where: str) -> Cubic | None:
    """The cubic part of a model file; all species have equally many channels."""
    from mldsim.kernels.cubic import features

    def refuse(symbol: str, place: str, what: str) -> InputError:
        return InputError(f"{where}: the field 'losses.{symbol}.cubic{place}' {what}.")

    n_channels = 0
    for symbol, entry in entries.items():
        if (entry is not None) is not (order == 3):
            raise refuse(symbol, "", "must be there for order 3, and only then")
        if entry is None:
            continue
        n_channels = n_channels or len(entry.offsets)
        if len(entry.offsets) != n_channels:
            raise refuse(symbol, ".offsets", f"has {len(entry.offsets)} numbers where {n_channels} belong")
        if len(entry.channels) != max_rank + 1:
            raise refuse(symbol, ".channels", f"has {len(entry.channels)} lists where {max_rank + 1} belong")
        for rank, channels in enumerate(entry.channels):
            if len(channels) != n_channels or any(len(channel) != n_fields for channel in channels):
                raise refuse(symbol, f".channels.{rank}", f"must have {n_channels} lists of {n_fields} numbers")
        wanted = len(features(n_channels, max_rank))
        if len(entry.coefficients) != wanted:
            raise refuse(symbol, ".coefficients", f"has {len(entry.coefficients)} numbers where {wanted} belong")
    if order < 3:
        return None
    found = list(entries.values())
    return Cubic(*(np.array([getattr(one, name) for one in found], np.float64) for name in Cubic.__dataclass_fields__))


def _not_local(entry: Any, model: LossModel, where: str) -> LossModel:
    """The model with the hops and waves of its file."""
    from mldsim.kernels.mutual import columns

    def coefficients(name: str, n_functions: int, n_numbers: int) -> NDArray[np.float64]:
        wanted = len(columns(len(model.symbols), n_functions, n_numbers))
        lists = [getattr(entry.losses[symbol], name) for symbol in model.symbols]
        for symbol, found in zip(model.symbols, lists, strict=True):
            field = f"{where}: the field 'losses.{symbol}.{name}'"
            if found is None:
                raise InputError(f"{field} is missing, which other fields ask for.")
            if model.cubic is None or model.scope is not Scope.SHARED:
                raise InputError(f"{field} is for models of order 3 and of shared scope only.")
            if len(found) != wanted:
                raise InputError(f"{field} has {len(found)} numbers where {wanted} belong.")
        return np.array(lists, np.float64)

    if any(loss.hops is not None for loss in entry.losses.values()):
        n_channels = 0 if model.cubic is None else model.cubic.n_channels
        model = replace(model, hops=Hops(coefficients("hops", model.radial.n_radial, n_channels)))
    if entry.waves is not None:
        widths = np.array(entry.waves.widths_1_A, np.float64)
        model = replace(model, waves=Waves(widths, entry.waves.longest_1_A, coefficients("waves", len(widths), 2)))
    elif any(loss.waves is not None for loss in entry.losses.values()):
        raise InputError(f"{where}: the field 'waves' is missing, which the losses ask for.")
    return model


def _committee(entry: Any, model: LossModel, where: str) -> Committee:
    """The committee of a model file; its witness is a model file within the file."""

    def refuse(place: str, what: str) -> InputError:
        return InputError(f"{where}: the field 'committee.{place}' {what}.")

    for place, found in (("draws", entry.draws), ("law", entry.law)):
        if set(found) != set(model.symbols):
            raise refuse(place, f"must have exactly the species {', '.join(model.symbols)}")
    if len({len(draws) for draws in entry.draws.values()}) != 1:
        raise refuse("draws", "must have equally many draws for every species")
    for symbol, draws in entry.draws.items():
        for number, draw in enumerate(draws):
            if len(draw) != model.n_columns:
                raise refuse(f"draws.{symbol}.{number}", f"has {len(draw)} numbers where {model.n_columns} belong")
    witness = None
    if entry.witness is not None:
        if entry.witness.get("format") != FORMAT or entry.witness.get("committee") is not None:
            raise refuse("witness", "must be a loss model without a committee of its own")
        witness = _validated(entry.witness, f"{where}, committee.witness")
        if witness.symbols != model.symbols or witness.scope is not model.scope:
            raise refuse("witness", "must have the species and the scope of the model")
    draws = np.array([entry.draws[symbol] for symbol in model.symbols], np.float64).transpose(1, 0, 2)
    laws = [entry.law[symbol] for symbol in model.symbols]
    return Committee(draws, np.array([[law.scale_eV2_A2, law.power, law.share] for law in laws]), witness)


def _is_small(card: Mapping[str, Any]) -> bool:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, inner), default=0)

    try:
        return depth(card) <= DEEPEST_CARD and len(json.dumps(card)) <= LARGEST_CARD
    except RecursionError:
        return False


def save_model(model: LossModel, path: str | Path, *, force: bool = False) -> None:
    """Write a model file; it appears whole or not at all, and `load_model` reads it.

    Raises
    ------
    InputError
        If the file exists and `force` is not given, the folder does not, or the model is not one that can be loaded.
    WorkFailed
        If writing fails.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not force:
        raise InputError(f"{path} exists; choose another name or add --force to replace it.")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist.")
    try:
        text = json.dumps(_content(model), separators=(",", ":"), allow_nan=False) + "\n"
    except ValueError:
        raise WorkFailed(f"{path} was not written, because the model holds a number that is not finite.") from None
    _validated(json.loads(text), f"{path} was not written")
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def exact_text(model: LossModel) -> str:
    """The text of a model file that loses no digit: the same losses and forces, bitwise, when it is parsed again."""
    return json.dumps(_content(model, exact=True), separators=(",", ":"), allow_nan=False)


def _content(model: LossModel, *, exact: bool = False) -> dict[str, Any]:
    def rounded(values: NDArray[np.float64], digits: int = 12) -> list[Any]:
        # 12 digits are far below any fit's uncertainty and halve the file.
        return [float(value) if exact else float(f"{value:.{digits}g}") for value in np.ravel(values)]

    def cubic_entry(cubic: Cubic, i: int) -> dict[str, Any]:
        return {
            "channels": [[rounded(channel) for channel in channels] for channels in cubic.channels[i]],
            "offsets": rounded(cubic.offsets[i]),
            "saturation": float(cubic.saturation[i]),
            "coefficients": rounded(cubic.coefficients[i]),
        }

    symbols = model.symbols
    upper = np.triu_indices(model.linear.shape[1])
    pairs = {pair_name(a, b): (i, j) for i, a in enumerate(symbols) for j, b in enumerate(symbols)}
    committee = model.committee
    judges: dict[str, Any] = {}
    if committee is not None:
        judges["committee"] = {
            # Five digits of a random draw: its leverage stays within a thousandth.
            "draws": {symbol: [rounded(d[i], 5) for d in committee.draws] for i, symbol in enumerate(symbols)},
            "law": {
                symbol: dict(zip(("scale_eV2_A2", "power", "share"), rounded(committee.law[i]), strict=True))
                for i, symbol in enumerate(symbols)
            },
            "witness": _content(committee.witness, exact=exact) if committee.witness is not None else None,
        }
    return {
        "format": FORMAT,
        "schema": 3 if model.cubic is not None else 2 if committee is not None else 1,  # the oldest that can say it
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
        **(
            {}
            if model.waves is None
            else {"waves": {"widths_1_A": rounded(model.waves.widths), "longest_1_A": model.waves.reach}}
        ),
        "losses": {
            symbol: {
                "linear": rounded(model.linear[i]),
                "quadratic": [rounded(w[upper]) for w in model.quadratic[i]] if model.order >= 2 else [],
                **({} if model.cubic is None else {"cubic": cubic_entry(model.cubic, i)}),
                **({} if model.hops is None else {"hops": rounded(model.hops.coefficients[i])}),
                **({} if model.waves is None else {"waves": rounded(model.waves.coefficients[i])}),
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
        **judges,
    }
