"""Sensitivities: which invariants the losses of oxygen and hydrogen respond to.

The response of agent i to an invariant is the slope of its loss, dL_i/ds_bk (eV): for a quadratic loss it depends on
all other invariants, so it has a mean and a spread over agents and frames. Times the spread of the invariant itself it
says how much of the loss moves with it, and that can be compared between invariants of any scale.

Neighbouring radial functions overlap, so that single responses trade off against each other. What does not depend on
the choice of functions is their sum: the response to one more neighbour of species b at distance r,

    u_ab(r) = sum_k <dL/ds_bk>_a phi_k^ab(r),

the pair loss that an agent of species a feels on average. The force has parts that come from each rank of the fields;
the share of a part is <F_part . F> / <F . F>, and the shares add up to one. A share can be negative or above one: a
neighbour's product with itself is a pair function in every rank, and there the parts may cancel.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import InputError
from mldsim.evaluator import Evaluator
from mldsim.files import whole_file
from mldsim.loss import LossModel
from mldsim.parameters import DeviceKind, Precision
from mldsim.species import pair_name

MOST_FRAMES = 100
"""Evenly spread: they hold thousands of agents, and the spread of a response is known to a few per cent."""

FIGURES = (".svg", ".png", ".html")


@dataclass(frozen=True)
class Sensitivities:
    """Responses of a model's losses, over the agents of labelled frames.

    Attributes
    ----------
    name : str
        Of the model.
    symbols : tuple of str
    frames : int
    distance : (n_species, n_species, n_radial) float64, angstrom
        Where the radial function of each invariant is largest.
    response, response_spread : (n_species, n_species, n_radial) float64, eV
        Mean and standard deviation of dL/ds: whose loss, which neighbours, which function.
    invariant_spread : (n_species, n_species, n_radial) float64
        Standard deviation of s.
    r : (n_r,) float64, angstrom
    nearest : (n_species, n_species) float64, angstrom
        Closest contact of the fitted frames: below it the model extrapolates.
    neighbour, neighbour_spread : (n_species, n_species, n_r) float64, eV
        Mean and standard deviation of the response to one more neighbour at r.
    parts : tuple of str
        What forces are made of: ranks, and what is not quadratic.
    part_rms : (n_species, n_parts) float64, eV/angstrom
        Root mean square of a component of each part.
    part_share : (n_species, n_parts) float64
    """

    name: str
    symbols: tuple[str, ...]
    frames: int
    distance: NDArray[np.float64]
    response: NDArray[np.float64]
    response_spread: NDArray[np.float64]
    invariant_spread: NDArray[np.float64]
    r: NDArray[np.float64]
    nearest: NDArray[np.float64]
    neighbour: NDArray[np.float64]
    neighbour_spread: NDArray[np.float64]
    parts: tuple[str, ...]
    part_rms: NDArray[np.float64]
    part_share: NDArray[np.float64]

    def effect(self) -> NDArray[np.float64]:
        """Mean response times the spread of the invariant, eV, with its sign; shaped like `response`."""
        return np.asarray(self.response * self.invariant_spread)

    def effect_spread(self) -> NDArray[np.float64]:
        """Spread of the response times that of the invariant, eV."""
        return np.asarray(self.response_spread * self.invariant_spread)

    def to_json(self) -> dict[str, Any]:
        """The keys of the command line's contract."""
        effect, spread = self.effect(), self.effect_spread()
        return {
            "model": self.name,
            "frames": self.frames,
            "species": {
                symbol: {
                    "invariants": [
                        {
                            "neighbour": other,
                            "k": k,
                            "distance_A": float(self.distance[a, b, k]),
                            "response_eV": float(self.response[a, b, k]),
                            "response_spread_eV": float(self.response_spread[a, b, k]),
                            "invariant_spread": float(self.invariant_spread[a, b, k]),
                            "effect_meV": 1e3 * float(effect[a, b, k]),
                            "effect_spread_meV": 1e3 * float(spread[a, b, k]),
                        }
                        for b, other in enumerate(self.symbols)
                        for k in range(effect.shape[2])
                    ],
                    "force": [
                        {
                            "part": part,
                            "rms_meV_A": 1e3 * rms if math.isfinite(rms := float(self.part_rms[a, number])) else None,
                            "share_percent": 100.0 * float(self.part_share[a, number]),
                        }
                        for number, part in enumerate(self.parts)
                    ],
                }
                for a, symbol in enumerate(self.symbols)
            },
        }

    def table(self) -> str:
        """Both tables as text, the strongest invariants of each loss first."""
        effect, spread = 1e3 * self.effect(), 1e3 * self.effect_spread()
        lines = []
        for a, symbol in enumerate(self.symbols):
            lines.append(f"Loss of {symbol}: response times spread of the invariant, meV")
            size = np.hypot(effect[a], spread[a])
            for b, k in zip(*np.unravel_index(np.argsort(-size, axis=None), size.shape), strict=True):
                lines.append(
                    f"    {self.symbols[b]:<2} neighbours at {self.distance[a, b, k]:4.2f} Å (k = {k:2d})"
                    f"{effect[a, b, k]:10.1f} ± {spread[a, b, k]:.1f}"
                )
            lines.append(f"Force on {symbol}: root mean square of a component, meV/Å, and share")
            lines += [
                f"    {part:<22}{1e3 * self.part_rms[a, n]:10.1f}{100 * self.part_share[a, n]:8.1f} %"
                for n, part in enumerate(self.parts)
            ]
        return "\n".join(lines)


def sensitivities(
    model: LossModel, systems: Sequence[LabelledFrames], progress: Progress | None = None
) -> Sensitivities:
    """Responses of the model's losses on the configurations of these frames; their labels are not used.

    Raises
    ------
    InputError
        If there are no frames, a species is not in the model, or a box is smaller than its cutoff.
    """
    n, k = len(model.symbols), model.radial.n_radial
    r = np.linspace(0.7, model.cutoff, 240)
    functions = np.array([[model.radial(a, b, r)[0] for b in range(n)] for a in range(n)])
    moments = _Moments((n, k), n), _Moments((n, k), n), _Moments((n, len(r)), n)
    parts = _parts(model)
    squared, shared = np.zeros((n, len(parts))), np.zeros((n, len(parts)))
    total = np.zeros(n)
    count = np.zeros(n)
    picked = _picked(systems)
    evaluators: list[Evaluator] = []
    last: LabelledFrames | None = None
    for done, (system, index) in enumerate(picked):
        if progress:
            progress(done / len(picked), f"frame {done + 1} of {len(picked)}")
        unknown = sorted(set(system.symbols) - set(model.symbols))
        if unknown:
            raise InputError(f"The model '{model.name}' knows {', '.join(model.symbols)}, not {', '.join(unknown)}.")
        species = np.array([model.symbols.index(s) for s in system.symbols], np.int32)
        box, positions = system.boxes[index], system.positions[index]
        if system is not last or not np.array_equal(evaluators[0].box, box):
            evaluators = [
                Evaluator(one, species, box, device=DeviceKind.CPU, precision=Precision.DOUBLE)
                for one in (_without_wall(model), _fields_of(model), *parts.values())
            ]
            last = system
        whole, fields, *some = evaluators
        force = whole(positions).forces
        response = whole.responses()[:, :, 0]
        fields(positions)
        invariant = fields.responses()[:, :, 0]
        neighbour = np.einsum("ibk,ibrk->ibr", response, functions[species])
        for found, values in zip(moments, (response, invariant, neighbour), strict=True):
            found.add(species, values)
        for number, part in enumerate(some):
            of_part = part(positions).forces
            for a in range(n):
                mine = species == a
                squared[a, number] += (of_part[mine] ** 2).sum()
                shared[a, number] += (of_part[mine] * force[mine]).sum()
        for a in range(n):
            total[a] += (force[species == a] ** 2).sum()
            count[a] += 3 * (species == a).sum()
    (response, response_spread), (_, invariant_spread), (neighbour, neighbour_spread) = (m.result() for m in moments)
    names = tuple(parts)
    rms = np.sqrt(squared / np.maximum(count, 1)[:, None])
    share = shared / np.maximum(total, 1e-300)[:, None]
    if model.order > 2:  # what the quadratic parts leave
        names += ("beyond quadratic",)
        rest = 1.0 - share.sum(axis=1)
        rms = np.column_stack([rms, np.full(n, np.nan)])
        share = np.column_stack([share, rest])
    pairs = [[pair_name(a, b) for b in model.symbols] for a in model.symbols]
    nearest = np.array([[model.ranges.distances.get(pair, (0.0, 0.0))[0] for pair in row] for row in pairs])
    return Sensitivities(
        model.name, model.symbols, len(picked), r[functions.argmax(axis=2)], response, response_spread,
        invariant_spread, r, nearest, neighbour, neighbour_spread, names, rms, share,
    )  # fmt: skip


def _picked(systems: Sequence[LabelledFrames]) -> list[tuple[LabelledFrames, int]]:
    """At most `MOST_FRAMES` frames, evenly spread over all."""
    every = [(system, index) for system in systems for index in range(system.n_frames)]
    if not every:
        raise InputError("There are no frames to look at.")
    chosen = np.unique(np.linspace(0, len(every) - 1, min(MOST_FRAMES, len(every))).round().astype(int))
    return [every[number] for number in chosen]


def _without_wall(model: LossModel) -> LossModel:
    return replace(model, wall=replace(model.wall, stiffness=0.0))


def _empty(model: LossModel) -> LossModel:
    """The form of the model with all coefficients zero, made quadratic at least."""
    columns = np.zeros((len(model.symbols), model.n_columns))
    return _without_wall(model).with_coefficients(columns)


def _fields_of(model: LossModel) -> LossModel:
    """A model whose responses are the fields themselves: L = 1/2 |A|^2 has dL/dA = A."""
    empty = _empty(model)
    return replace(empty, quadratic=np.broadcast_to(np.eye(model.linear.shape[1]), empty.quadratic.shape).copy())


def _parts(model: LossModel) -> dict[str, LossModel]:
    """What the force is made of: the linear part, and the quadratic one of each rank."""
    empty = _empty(model)
    parts = {"linear": replace(empty, linear=model.linear)}
    if model.order >= 2:
        for rank in range(model.max_rank + 1):
            quadratic = np.zeros_like(model.quadratic)
            quadratic[:, rank] = model.quadratic[:, rank]
            parts[f"quadratic, rank {rank}"] = replace(empty, quadratic=quadratic)
    return parts


class _Moments:
    """Mean and standard deviation by species, streamed."""

    def __init__(self, shape: tuple[int, ...], n_species: int) -> None:
        self._count = np.zeros(n_species)
        self._sum = np.zeros((n_species, *shape))
        self._square = np.zeros((n_species, *shape))
        self._origin: dict[int, NDArray[np.float64]] = {}

    def add(self, species: NDArray[np.int32], values: NDArray[np.float64]) -> None:
        """Values (n_agents, ...) of one frame."""
        for a in np.unique(species).tolist():
            mine = values[species == a]
            # Sums about a value near the mean: no digits are lost in their difference.
            origin = self._origin.setdefault(a, mine.mean(axis=0))
            self._count[a] += len(mine)
            self._sum[a] += (mine - origin).sum(axis=0)
            self._square[a] += ((mine - origin) ** 2).sum(axis=0)

    def result(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation, (n_species, ...) each; zero for a species that never came."""
        count = np.maximum(self._count, 1.0).reshape(-1, *[1] * (self._sum.ndim - 1))
        shift = self._sum / count
        spread = np.sqrt(np.maximum(self._square / count - shift**2, 0.0))
        for a, origin in self._origin.items():
            shift[a] += origin
        return shift, spread


def write_figure(found: Sensitivities, path: Path) -> None:
    """Write the figure as SVG, PNG or an HTML page with the tables; it appears whole or not at all.

    Raises
    ------
    InputError
        If the name ends in nothing of these.
    WorkFailed
        If the file cannot be written.
    """
    if path.suffix.lower() not in FIGURES:
        raise InputError(f"{path}: the name of a figure must end in {', '.join(FIGURES[:-1])} or {FIGURES[-1]}.")
    if path.suffix.lower() == ".html":
        content = _page(found).encode()
    else:
        buffer = io.BytesIO()
        _saved(_figure(found), buffer, path.suffix[1:].lower())
        content = buffer.getvalue()
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)


def _saved(figure: Any, file: io.BytesIO, kind: str) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": "mldsim"}):  # the same numbers give the same file
        figure.savefig(file, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)


def _page(found: Sensitivities) -> str:
    from mldsim.report import STYLE, as_image

    name = escape(found.name)
    picture = as_image(_figure(found), "Responses of the losses to their invariants, and parts of the forces")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sensitivities of {name}</title><style>{STYLE}</style></head><body>"
        f"<h1>What the losses of <em>{name}</em> respond to</h1>"
        f'<p class="lead">{found.frames} frames.</p><figure>{picture}</figure>'
        f"<pre>{escape(found.table())}</pre></body></html>\n"
    )


def _figure(found: Sensitivities) -> Any:
    from matplotlib.figure import Figure

    from mldsim.report import INK, MODEL, style_axes

    colours = (MODEL, "#b3540a", "#1d6b3c", "#6b3fa0", "#8a6d00", "#a01f4a", "#3f7f8f", "#555555")
    n = len(found.symbols)
    figure = Figure(figsize=(5.2 * n, 9.0), layout="constrained")
    rows = figure.subplots(3, n, squeeze=False)
    effect, spread = 1e3 * found.effect(), 1e3 * found.effect_spread()
    for a, symbol in enumerate(found.symbols):
        above, middle, below = rows[:, a]
        for b, other in enumerate(found.symbols):
            colour = colours[b % len(colours)]
            above.errorbar(
                found.distance[a, b], effect[a, b], spread[a, b], fmt="o", markersize=4.5, color=colour,
                capsize=2, linewidth=1.2, label=f"{other} neighbours",
            )  # fmt: skip
            line, band = found.neighbour[a, b], found.neighbour_spread[a, b]
            seen = found.r >= found.nearest[a, b]
            r, line, band = found.r[seen], line[seen], band[seen]
            middle.fill_between(r, line - band, line + band, color=colour, alpha=0.18, linewidth=0)
            middle.plot(r, line, color=colour, linewidth=1.6, label=f"{other} neighbour")
        below.bar(range(len(found.parts)), 100.0 * found.part_share[a], color=MODEL, width=0.65)
        below.set_xticks(range(len(found.parts)), [part.replace(", ", ",\n") for part in found.parts])
        for axis in (above, middle, below):
            style_axes(axis)
            axis.axhline(0.0, color="#8a95a3", linewidth=0.8)
        above.set_title(f"Loss of {symbol}", loc="left", fontsize=12, color=INK, fontweight="bold")
        above.set_ylabel("response × spread (meV)", fontsize=10.5, color=INK)
        above.set_xlabel("where the invariant's function peaks (Å)", fontsize=10.5, color=INK)
        # The wall of a covalent bond would hide everything beyond it.
        shown = found.neighbour[a][:, found.r > 1.5]
        reach = 1.3 * max(float(np.abs(shown).max(initial=0.0)), 1e-6)
        middle.set_ylim(-reach, reach)
        middle.set_ylabel("one more neighbour (eV)", fontsize=10.5, color=INK)
        middle.set_xlabel("distance (Å)", fontsize=10.5, color=INK)
        below.set_ylabel("share of the force (%)", fontsize=10.5, color=INK)
        above.legend(frameon=False, fontsize=10)
        middle.legend(frameon=False, fontsize=10)
    return figure
