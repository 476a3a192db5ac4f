"""Progress of long work: a bar with the remaining time on a terminal, a line now and then in a log file, and JSON lines
for a program that asks for them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

FOR_PROGRAMS = "MLDSIM_PROGRESS"
"""Of the environment; with the value ``json`` every step is a line with title, fraction, what and left_s (seconds)."""

_STEP_INTERVAL = 0.2
"""Seconds between two such lines."""


class Report(Protocol):
    """Told the fraction done (0 .. 1) and, in a few words, what is being done."""

    def __call__(self, fraction: float, what: str = "") -> None: ...


def unheard(fraction: float, what: str = "") -> None:
    """The report that nobody wants."""


def tell(text: str) -> None:
    """Print a line on standard error; a terminal that is gone is no reason to stop the work."""
    if sys.stderr is not None:  # closed by the caller, or a Windows program without a console
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)


@contextmanager
def progress_bar(title: str) -> Iterator[Report]:
    """Show progress on standard error while the block runs; standard output stays free for results."""
    if os.environ.get(FOR_PROGRAMS) == "json":
        yield from _steps(title)
    elif sys.stderr is not None and sys.stderr.isatty():
        yield from _bar(title)
    else:
        yield from _lines(title)


def _bar(title: str) -> Iterator[Report]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=1.0, what="")

        def report(fraction: float, what: str = "") -> None:
            bar.update(task, completed=fraction, what=what)

        yield report


def _lines(title: str) -> Iterator[Report]:
    """Ten lines at most, and none for what is done within a second."""
    began = last = time.monotonic()
    told = 0.0

    def report(fraction: float, what: str = "") -> None:
        nonlocal told, last
        now = time.monotonic()
        ended = fraction >= 1.0 > told > 0.0
        if not ended and (fraction < told + 0.1 or now < last + 1.0):
            return
        told, last = fraction, now
        left = f", {(now - began) * (1.0 / fraction - 1.0):.0f} s left" if 0.0 < fraction < 1.0 else ""
        tell(f"{title}: {100 * fraction:.0f} % {what}".rstrip() + left)

    yield report


def _steps(title: str) -> Iterator[Report]:
    began = time.monotonic()
    last = -_STEP_INTERVAL

    def report(fraction: float, what: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _STEP_INTERVAL and fraction < 1.0:
            return
        last = now
        left = (now - began) * (1.0 / fraction - 1.0) if 0.0 < fraction <= 1.0 else None
        tell(json.dumps({"title": title, "fraction": fraction, "what": what, "left_s": left}))

    report(0.0)
    yield report
