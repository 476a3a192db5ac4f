"""Validation reports of the shipped models: docs/reports/NAME.html, and their numbers in docs/reports/NAME.json.

    python benchmarks/make_reports.py                          # all models, 100 ps each: an hour
    python benchmarks/make_reports.py water --time 200ps
    python benchmarks/make_reports.py water-fast --time 12ps --folder reports
    python benchmarks/make_models.py --cards                   # the cards name their reports

Each is `mldsim validate` beside the shipped reference; docs/validation.md lists them. A run that stops early leaves its
report too, which says so on top. A report counts only for the model that it was made of: its digest stands beside the
numbers.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import shipped

LARGEST = 1_500_000
"""Bytes of a page."""


def make_report(model: str, time: str, seed: str, folder: Path) -> None:
    """Run one model and write its page and its numbers.

    Raises
    ------
    SystemExit
        If there is no report, or its page is too large.
    """
    digest = shipped.digest(model)
    page = folder / f"{model}.html"
    words = ["validate", model, "--time", time, "--equilibration", "5ps", "--seed", seed]
    command = [sys.executable, "-m", "mldsim", *words, "-o", str(page), "--force", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=shipped.ROOT)
    last = next(reversed(done.stdout.splitlines()), "")
    if not last.startswith("{"):
        sys.exit(f"{model}: there is no report.")
    if page.stat().st_size > LARGEST:
        sys.exit(f"{page} has {page.stat().st_size / 1e6:.1f} MB, more than {LARGEST / 1e6:g}.")
    numbers = {key: value for key, value in json.loads(last).items() if key != "output"}
    told = {"command": " ".join(["mldsim", *words, "-o", page.name]), "digest": digest, **numbers}
    (folder / f"{model}.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{page}: {page.stat().st_size / 1e3:.0f} kB", flush=True)


def main() -> None:
    """Make the reports that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all shipped models")
    parser.add_argument("--time", default="100ps", help="how long to measure")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--folder", type=Path, default=shipped.REPORTS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for name in options.names or shipped.NAMES:
        make_report(name, options.time, options.seed, options.folder.resolve())
        if options.folder == shipped.REPORTS:
            shipped.write_tables()


if __name__ == "__main__":
    main()
