"""How well doubt finds the worst forces in states that were not fitted.

    python benchmarks/leverage.py [--data FIT.h5] [--every 2] [--json RESULT.json]

A model is fitted to the 300 K frames of the data (by default the shipped fit frames) and judged on all other states.
Each sign of a wrong force ranks all agents of a state; the table has the area under the curve of true against false
alarms (AUC) for finding the worst tenth of the force errors: 0.5 is chance, 1 is perfect. What doubt is made of was
chosen on the 450 K frames alone; the other states are the report. The last columns say whether doubt has the right
size: root mean square error over root mean square doubt, of all agents and of the tenth that is doubted most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.stats import rankdata

from mldsim.dataset import LabelledFrames
from mldsim.doubt import Doubt, expected, fit_law
from mldsim.equations import Factor
from mldsim.inference import Inference, infer
from mldsim.parameters import DeviceKind
from mldsim.progress import progress_bar
from mldsim.readers import load_frames
from mldsim.regression import DesignMatrix, FitSettings
from mldsim.sums import Rows

CHOSEN_ON = "450 K"


@dataclass(frozen=True)
class State:
    """Signs and errors of all agents of one state.

    Attributes
    ----------
    species : (n,) int
    error : (n,) float64, eV/angstrom
    signs : dict
        Name -> (n,) float64.
    """

    species: NDArray[np.float64]
    error: NDArray[np.float64]
    signs: dict[str, NDArray[np.float64]]


def auc(sign: NDArray[np.float64], error: NDArray[np.float64]) -> float:
    """Probability that an agent of the worst tenth has a larger sign than one of the others (Mann and Whitney 1947)."""
    worst = error >= np.quantile(error, 0.9)
    ranks = rankdata(sign)
    n, others = worst.sum(), (~worst).sum()
    return float((ranks[worst].sum() - n * (n + 1) / 2) / (n * others))


def leverage(rows: NDArray[np.float64], factor: Factor) -> NDArray[np.float64]:
    """tr(D C D^T) / 3 of each agent, exactly."""
    scaled = solve_triangular(factor.upper, (rows[:, factor.used] * factor.inverse).T, trans="T", check_finite=False)
    return np.asarray((scaled**2).sum(axis=0).reshape(-1, 3).mean(axis=1))


def judge(found: Inference, systems: list[LabelledFrames]) -> Iterator[tuple[str, State]]:
    """Every state of the test with its signs."""
    model, sums = found.model, found.kept.model
    assert model.committee is not None
    matrix = DesignMatrix.from_form(sums.form)
    ridge = found.settings.ridge
    factors = {
        "leverage, exact": sums.equations({Rows.FORCES: 1.0}).factor(ridge),
        "leverage, net-force rows too": sums.equations({Rows.FORCES: 1.0, Rows.NET_FORCES: 3.0}).factor(ridge),
    }
    samples = found.kept.samples * [1, 1, 0, 1]  # as if there were no witness
    without_witness = fit_law(samples, len(model.symbols))
    for system in systems:
        species = np.array([model.symbols.index(symbol) for symbol in system.symbols], np.int32)
        doubt = Doubt(model, species, system.boxes[0], device=DeviceKind.CPU)
        columns: dict[str, list[NDArray[np.float64]]] = {}
        errors = []
        for positions, labels, box in zip(system.positions, system.forces, system.boxes, strict=True):
            rows, _, _, _ = matrix.rows(positions, species, box)
            drawn, difference, squared = doubt.compared(positions, labels)
            signs = {name: leverage(rows, factor) for name, factor in factors.items()}
            signs["leverage, 16 draws"] = drawn
            signs["the species alone"] = -species.astype(np.float64)
            signs["size of the label"] = np.linalg.norm(labels, axis=1)
            signs["leverage and species (no witness)"] = np.sqrt(
                expected(without_witness[species].T, drawn, np.zeros_like(drawn))
            )
            signs["difference to the witness"] = np.sqrt(difference)
            signs["doubt"] = np.sqrt(expected(model.committee.law[species].T, drawn, difference))
            for name, sign in signs.items():
                columns.setdefault(name, []).append(sign)
            errors.append(np.sqrt(squared))
        name = f"{system.provenance.get('temperature', '?')}, {len(system.symbols) // 3} H2O"
        yield (
            name,
            State(
                np.tile(species, len(errors)), np.concatenate(errors),
                {key: np.concatenate(parts) for key, parts in columns.items()},
            ),
        )  # fmt: skip


def together(states: list[State]) -> State:
    """Several states as one."""
    return State(
        np.concatenate([state.species for state in states]),
        np.concatenate([state.error for state in states]),
        {name: np.concatenate([state.signs[name] for state in states]) for name in states[0].signs},
    )


def main() -> None:
    """Fit, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(str(resources.files("mldsim.assets.data") / "cnnp_fit.h5")))
    parser.add_argument("--every", type=int, default=2, help="take every Nth frame")
    parser.add_argument("--radial", type=int, default=8)
    parser.add_argument("--cutoff", type=float, default=4.5)
    parser.add_argument("--max-rank", type=int, default=2)
    parser.add_argument("--order", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    systems = [system.take(slice(None, None, options.every)) for system in load_frames(options.data)]
    cold = [system for system in systems if system.provenance.get("temperature") == "300 K"]
    rest = [system for system in systems if system.provenance.get("temperature") != "300 K"]
    settings = FitSettings(
        n_radial=options.radial, cutoff=options.cutoff, max_rank=options.max_rank, order=options.order, channel_steps=0
    )
    with progress_bar("Fitting") as report:
        found = infer(cold, settings, doubt=True, progress=report)
    states = dict(judge(found, rest))
    reported = [state for name, state in states.items() if not name.startswith(CHOSEN_ON)]
    states["all but " + CHOSEN_ON] = together(reported)
    names = list(next(iter(states.values())).signs)
    table = {name: {state: auc(s.signs[name], s.error) for state, s in states.items()} for name in names}
    print(" " * 36 + "".join(f"{state:>18}" for state in states))
    for name, row in table.items():
        print(f"{name:36}" + "".join(f"{value:18.3f}" for value in row.values()))
    sizes = {}
    for name, state in states.items():
        doubt = state.signs["doubt"]
        most = doubt >= np.quantile(doubt, 0.9)
        sizes[name] = {
            "rmse_meV_A": 1e3 * float(np.sqrt(np.mean(state.error**2))),
            "error_over_doubt": float(np.sqrt(np.mean(state.error**2) / np.mean(doubt**2))),
            "of_the_most_doubted_tenth": float(np.sqrt(np.mean(state.error[most] ** 2) / np.mean(doubt[most] ** 2))),
        }
    for key in ("rmse_meV_A", "error_over_doubt", "of_the_most_doubted_tenth"):
        print(f"{key:36}" + "".join(f"{row[key]:18.3f}" for row in sizes.values()))
    if options.json:
        options.json.write_text(json.dumps({"auc": table, "size": sizes}, indent=1) + "\n")


if __name__ == "__main__":
    main()
