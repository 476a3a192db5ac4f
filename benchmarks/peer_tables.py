"""The tables of docs/performance.md and the figure of README.md, from what peers.py measured.

What was measured of a shipped model counts only for that model as it is now; what is not there is said to be missing.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import peers
import shipped

from mldsim.benchmark import TIMESTEP

PAGE = shipped.ROOT / "docs" / "performance.md"
FIGURE = shipped.ROOT / "docs" / "images" / "error_and_cost.png"
NOT_YET = "not measured yet"

PEERS = {
    "openmm": "OpenMM: flexible TIP3P, PME",
    "lammps": "LAMMPS: flexible SPC/Fw, PPPM",
    "nep": "calorine: NEP4 of MB-pol",
    "cnnp": "CP2K: C-NNP",
    "xtb": "CP2K: GFN1-xTB",
    "dft": "CP2K: revPBE-D3, 32 H2O",
}

CLASSICAL = ("openmm", "lammps")

ALIKE = (
    "Forces alone reach it (`kernels.py --molecules 512`). The search for neighbours inside the cutoff and their "
    "distances cost the same for all ranks, and lists and motion take {part} of such a step (`step_budget.py`). "
    "Vectors of this processor have 256 bits, not 512"
)

REASONS = {
    "rank0": ALIKE.format(part="a quarter"),
    "own": ALIKE.format(part="a third"),
    "wide": "This processor has vectors of 256 bits: twice as many functions are twice as many instructions here",
    "default": "The machine had other work (the load stands above), and two threads wait for the slower of them",
}
"""Of a goal that was missed: what limits it, and how that was measured."""


def title(name: str) -> str:
    """Of a side, in the tables."""
    if name in peers.BASE:
        base = peers.BASE[name]
        ranks = f"ranks 0-{base.max_rank}" if base.max_rank else "rank 0"
        return f"{base.scope}, {ranks}, K = {base.n_radial}, 4.5 Å"
    return PEERS.get(name) or f"`{name}`"


def digit(number: float) -> str:
    """4.3·10⁵ or 690."""
    if number < 1000:
        return f"{number:.2g}" if number < 100 else f"{number:.0f}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


class Measured:
    """What counts of the results."""

    def __init__(self, results: Mapping[str, Any]) -> None:
        self.errors, self.left_out = results["errors"], results["left_out"]
        self._speed = results["speed"]

    def entry(self, name: str, molecules: int) -> Mapping[str, Any] | None:
        """What was measured of a side in a box; None where it was not, or was of another model."""
        found: Mapping[str, Any] | None = self._speed.get(name, {}).get(str(molecules))
        model = "water" if name == peers.TWO_THREADS else name
        if found is None or (model in shipped.NAMES and found.get("digest") != shipped.digest(model)):
            return None
        return found

    def rates(self, name: str, molecules: int) -> list[float]:
        """Atom-steps for each second of processor time, round by round."""
        found = self.entry(name, molecules)
        return [found["agents"] * steps / spent for steps, _, spent in found["rounds"]] if found else []

    def rate(self, name: str, molecules: int) -> float | None:
        """The median of these."""
        rates = self.rates(name, molecules)
        return median(rates) if rates else None

    def best_known(self, name: str) -> float | None:
        """Rate in the box of 512 molecules, or in the one next to it that was measured."""
        return next((rate for size in (512, 64, 32) if (rate := self.rate(name, size))), None)

    def error(self, name: str) -> float | None:
        """Force error, meV/angstrom."""
        if name == "cnnp":
            return 0.0
        return self.of_forces(name, "force_rmse_meV_A")

    def of_forces(self, name: str, what: str) -> float | None:
        """A number that was measured of the forces of a side."""
        found = self.errors.get(name, {})
        if what not in found or (name in shipped.NAMES and found.get("digest") != shipped.digest(name)):
            return None
        return float(found[what])


def speed_table(found: Measured) -> list[str]:
    """One row for each side; in brackets the slowest and the fastest round."""
    sizes = peers.SIZES
    rows = [
        "| | force error, meV/Å | of molecules | "
        + " | ".join(f"{size} H2O" for size in sizes)
        + " | ns/day, 512 H2O | MB, 4096 H2O |",
        "|---|---|---|" + "---|" * len(sizes) + "---|---|",
    ]
    for name in (*shipped.NAMES, *peers.BASE, *PEERS):
        errors = [found.error(name), found.of_forces(name, "net_force_rmse_meV_A")]
        cells = ["by definition" if error == 0 else "" if error is None else f"{error:.1f}" for error in errors]
        for size in sizes:
            rates = found.rates(name, 32 if (name, size) == ("dft", 64) else size)
            spread = f" ({digit(min(rates))} to {digit(max(rates))})" if len(rates) > 1 else ""
            cells.append(digit(median(rates)) + spread if rates else "")
        rate, large = found.rate(name, 512), found.entry(name, sizes[-1])
        # A core that does nothing else takes one step in the processor time of one.
        cells.append(f"{rate / (3 * 512) * TIMESTEP * 86400e-6:.3g}" if rate else "")
        memory = large and large["peak_memory_MB"]
        cells.append(f"{memory:.0f}" if memory else "")
        if not any(cells[2:]):
            cells[2] = found.left_out.get(name, NOT_YET)
        rows.append(f"| {title(name)} | {' | '.join(cells)} |")
    return [*rows, "", *machine(found)]


def machine(found: Measured) -> list[str]:
    """On what, and by what, in words."""
    told = []
    entry = found.entry("openmm", 512) or found.entry("water-fast", 512)
    if entry:
        low, high = entry["load_average"]
        told += [
            f"{entry['processor']}, {entry['threads']} thread for each side; load {low:.1f} before and {high:.1f} "
            f"after, of which the benchmark is one; commit {entry['commit']}."
        ]
    for name, text in PEERS.items():
        one = next((one for size in (512, 64, 32) if (one := found.entry(name, size))), None)
        told += [f"{text}: {one['device']}."] if one else []
    told += ["What is empty was not measured."]
    for name, text in found.left_out.items():
        told += [f"{title(name)}: {text}"]
    return [f"* {line}" for line in told]


@dataclass(frozen=True)
class Goal:
    """A row of the table of goals; what was measured is the number that has to reach the limit, and its words."""

    key: str
    goal: str
    measure: Callable[[Measured], tuple[float, str] | None]
    limit: float
    at_most: bool = False

    def row(self, found: Measured) -> str:
        told = self.measure(found)
        if told is None:
            return f"| {self.goal} | {NOT_YET} | not yet | |"
        number, text = told
        reached = number <= self.limit if self.at_most else number >= self.limit
        return (
            f"| {self.goal} | {text} | {'yes' if reached else 'no'} | {'' if reached else REASONS.get(self.key, '')} |"
        )


def ratio(
    found: Measured, name: str, other: str, molecules: int, of_other: int | None = None
) -> tuple[float, str] | None:
    """Speed of a side in units of that of another, round by round."""
    pairs = list(zip(found.rates(name, molecules), found.rates(other, of_other or molecules), strict=False))
    if not pairs:
        return None
    ratios = [one / two for one, two in pairs]
    middle = median(ratios)
    if len(ratios) == 1:
        return middle, f"{middle:,.0f} (one round)"
    style = ".2f" if middle < 10 else ",.0f"
    return middle, f"{middle:{style}} ({min(ratios):{style}} to {max(ratios):{style}})"


def rate(found: Measured, name: str, molecules: int) -> tuple[float, str] | None:
    """Atom-steps for each second of one core."""
    rates = found.rates(name, molecules)
    if not rates:
        return None
    return median(rates), f"{digit(median(rates))} ({digit(min(rates))} to {digit(max(rates))})"


def wider(found: Measured) -> tuple[float, str] | None:
    """Cost of twice as many radial functions."""
    return ratio(found, "shared-rank2-k8", "shared-rank2-k16", 512)


def simulated(found: Measured) -> tuple[float, str] | None:
    """Picoseconds for each second of the wall clock, of the default model on two cores."""
    entry = found.entry(peers.TWO_THREADS, 64)
    if entry is None:
        return None
    low, high = (speed * TIMESTEP * 1e-3 for speed in entry["steps_per_s_range"])
    alone = found.rate("water", 64)
    one = f"; one thread, processor time: {alone / 192 * TIMESTEP * 1e-3:.2f}" if alone else ""
    return entry["ps_per_s"], f"{entry['ps_per_s']:.2f} ps/s ({low:.2f} to {high:.2f}){one}"


FAST = "shared-rank2-k8"

GOALS = (
    Goal("openmm", "shared, ranks 0-2, K = 8, 4.5 Å, 512 H2O: at least 1.5 × OpenMM, flexible TIP3P with PME",
         lambda found: ratio(found, FAST, "openmm", 512), 1.5),
    Goal("nep", "the same: at least 40 × NEP4", lambda found: ratio(found, FAST, "nep", 512), 40.0),
    Goal("cnnp", "the same: at least 400 × CP2K C-NNP", lambda found: ratio(found, FAST, "cnnp", 512), 400.0),
    Goal("dft", "the same, in 64 H2O: at least 200,000 × CP2K DFT (revPBE-D3), in 32 H2O",
         lambda found: ratio(found, FAST, "dft", 64, 32), 2e5),
    Goal("rank1", "shared, ranks 0-1, K = 8, 4.5 Å: at least 6·10⁵ atom-steps/s",
         lambda found: rate(found, "shared-rank1-k8", 512), 6e5),
    Goal("rank0", "shared, rank 0, K = 8, 4.5 Å: at least 10⁶", lambda found: rate(found, "shared-rank0-k8", 512), 1e6),
    Goal("own", "own, rank 0, K = 8, 4.5 Å: at least 1.5·10⁶", lambda found: rate(found, "own-rank0-k8", 512), 1.5e6),
    Goal("wide", "shared, ranks 0-2: K = 16 at most 1.4 × the cost of K = 8 (with 512-bit vectors)", wider, 1.4, True),
    Goal("default", "`water`, 64 H2O, two cores: at least 1 ps of simulated time for each second", simulated, 1.0),
)  # fmt: skip


def goal_table(found: Measured) -> list[str]:
    return ["| goal, 512 H2O, one core | measured | reached | why not |", "|---|---|---|---|"] + [
        goal.row(found) for goal in GOALS
    ]


def written(page: str, results: Mapping[str, Any]) -> str:
    """The page with its tables as they have to be."""
    found = Measured(results)
    for name, lines in (("peers", speed_table(found)), ("goals of speed", goal_table(found))):
        begin, end = f"<!-- {name}: written by benchmarks/peers.py tables -->", f"<!-- end of {name} -->"
        before, rest = page.split(begin)
        page = before + "\n".join([begin, "", *lines, "", end]) + rest.split(end)[1]
    return page


def draw(found: Measured, path: Path) -> None:
    """Force error over cost: what is further left is faster, what is lower is closer to the teacher."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    def cost(name: str) -> float | None:
        speed = found.best_known(name)
        return 1e6 / speed if speed else None

    ink, faint, blue, orange = "#1a212b", "#5a6675", "#0b6bd3", "#b3540a"
    plt.rcParams["font.family"] = "DejaVu Sans"
    figure, axes = plt.subplots(figsize=(8.6, 5.2), dpi=150)
    lowest = 12.0

    def label(text: str, place: tuple[float, float], colour: str, offset: tuple[int, int], size: float = 8.5) -> None:
        left = {True: "left", False: "right"}[offset[0] >= 0]
        axes.annotate(
            text, place, xytext=offset, textcoords="offset points", fontsize=size, color=colour, ha=left, va="center"
        )

    for scope, colour in (("shared", blue), ("own", orange)):
        bases = [f"{scope}-rank{rank}-k8" for rank in range(4)]
        points = [(x, y, name) for name in bases if (x := cost(name)) and (y := found.error(name))]
        if points:
            axes.plot(*zip(*[point[:2] for point in points], strict=True), "o-", color=colour, mfc="white", ms=6, lw=1)
            for rank, (x, y, _) in enumerate(points):
                label(str(rank), (x, y), colour, (5, 8) if rank < 3 else (8, -1), 7.5)
    for name in shipped.NAMES:
        x, y = cost(name), found.error(name)
        if x and y:
            colour = orange if "paper" in name or "own" in name else blue
            axes.plot(x, y, "o", color=colour, ms=8)
            label(name, (x, y), colour, (-9, -4) if name == "water-fast" else (9, 3))
    for name, text in PEERS.items():
        x, y = cost(name), found.error(name)
        if not x or y is None:
            continue
        if name == "cnnp":
            axes.plot(x, lowest * 1.08, "v", color=ink, ms=8, clip_on=False)
            label("CP2K C-NNP:\nthe teacher, no error by definition", (x, lowest * 1.08), ink, (-10, 8))
            continue
        axes.plot(x, y, "D" if name not in CLASSICAL else "s", color=faint, ms=7)
        label(text.replace(", 32 H2O", ""), (x, y), ink, (-9, 4) if name in ("dft", "xtb") else (9, 4))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(lowest, 2500)
    axes.set_xlim(left=0.25)
    axes.set_xlabel("cost: microseconds of one core for each atom and step")
    axes.set_ylabel("force error against C-NNP, meV/Å")
    axes.grid(which="major", color="#e6eaef")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=blue, label="mldsim, shared loss"),
        plt.Line2D([], [], marker="o", ls="", color=orange, label="mldsim, own loss (the paper's)"),
        plt.Line2D(
            [], [], marker="o", ls="-", lw=1, color=faint, mfc="white", label="both, K = 8, 4.5 Å, ranks 0 to 0-3"
        ),
        plt.Line2D([], [], marker="s", ls="", color=faint, label="classical force field, not made for these forces"),
        plt.Line2D([], [], marker="D", ls="", color=faint, label="other potential, fitted to or made of other physics"),
    ]
    axes.legend(handles=handles, fontsize=7.5, frameon=False, loc="upper right", bbox_to_anchor=(1.0, 1.08))
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)


def main(path: Path, *, check: bool) -> None:
    """Write tables and figure, or compare the tables."""
    results = peers.read(path)
    page = PAGE.read_text(encoding="utf-8")
    wanted = written(page, results)
    if check:
        if wanted != page:
            sys.exit(f"The tables in {PAGE.name} are not those of the results: run python benchmarks/peers.py tables")
        return
    PAGE.write_text(wanted, encoding="utf-8")
    draw(Measured(results), FIGURE)
