"""`mldsim devices`: what can compute here."""

from __future__ import annotations

import argparse

from mldsim.cli.output import DONE, print_json


def run(options: argparse.Namespace) -> int:
    """Do it; returns the exit code."""
    from mldsim.kernels import backend

    reports = backend.probe()
    for report in reports:
        print(f"{report.kind}: {report.name}: {'usable' if report.usable else 'not usable'}. {report.reason}")
    chosen = backend.choose("auto")
    print(f"auto takes {chosen.kind}. {chosen.reason}")
    if options.json:
        print_json({"devices": [report._asdict() for report in reports], "auto": chosen._asdict()})
    return DONE
