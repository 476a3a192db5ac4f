"""What the window costs while nothing is to be seen, how soon it answers, and whether its memory grows.

    python benchmarks/window_idle.py             # a few minutes
    python benchmarks/window_idle.py --short     # half a minute
    python benchmarks/window_idle.py --memory 60 # only the memory, of an hour's run

Run it on a display, or under ``xvfb-run``. With the shipped model and 64 H2O:

* processor time of the whole process while the window is paused, and while it is hidden: nothing to speak of;
* processor time of the window's thread while the run goes on, seen and hidden;
* time from a key that is pressed until the window shows the answer, while the engine runs flat out: 100 ms;
* resident memory over a run, after the first part of it: flat.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PySide6.QtCore import QCoreApplication, QEventLoop, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from mldsim.gui.app import _build_simulation
from mldsim.gui.garbage import Collector
from mldsim.gui.main_window import MainWindow
from mldsim.gui.preferences import Preferences
from mldsim.messages import RunState
from mldsim.parameters import Parameters, Setup
from mldsim.runner import Runner

TOLD = 30
"""Each so manieth look at the memory is told at once."""


def live(seconds: float) -> None:
    """Let the window live for a while: the thread sleeps where there is nothing to do."""
    loop = QEventLoop()
    QTimer.singleShot(round(1e3 * seconds), loop.quit)
    loop.exec()


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("What was waited for did not come.")
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 20)


def share(seconds: float, clock: Callable[[], float]) -> float:
    """Percent of a core by this clock."""
    own, wall = clock(), time.monotonic()
    live(seconds)
    return 100.0 * (clock() - own) / (time.monotonic() - wall)


def resident() -> float:
    """Resident memory, MB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


def answers(window: MainWindow, times: int) -> list[float]:
    """Milliseconds from a key until what it asks for is shown, while the engine runs flat out."""
    taken = []
    for _ in range(times):
        for wanted in (RunState.PAUSED, RunState.RUNNING):
            begun = time.perf_counter()
            QTest.keyClick(window, Qt.Key.Key_Space)
            text = "Run" if wanted is RunState.PAUSED else "Pause"
            until(lambda text=text: window.actions_["run"].text() == text)  # type: ignore[misc]
            if wanted is RunState.PAUSED:  # only these were asked of an engine at full speed
                taken.append(1e3 * (time.perf_counter() - begun))
            live(0.3)
    return taken


def memory(window: MainWindow, parts: int, seconds: float) -> None:
    """Print resident memory over so many parts, and how it grows: by a straight line through its later half."""
    rss, begun = [resident()], time.monotonic()
    for part in range(1, parts + 1):
        live(seconds)
        rss.append(resident())
        if part % TOLD == 0:  # so that a long one that is stopped has told something
            print(f"  after {time.monotonic() - begun:.0f} s {rss[-1]:.0f} MB", flush=True)
    late = np.array(rss[len(rss) // 2 :])
    slope = np.polyfit(np.arange(len(late)) * seconds / 3600.0, late, 1)[0]
    frame = window.controller.frame
    reached = 1e-3 * frame.time if frame is not None else 0.0
    print(
        f"memory {rss[0]:.0f} MB, after {time.monotonic() - begun:.0f} s {rss[-1]:.0f} MB, largest {max(rss):.0f} MB "
        f"({reached:.1f} ps in all); {slope:+.1f} MB per hour over the later half",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="half a minute in all")
    parser.add_argument("--memory", type=float, metavar="MINUTES", help="only the memory, over so long a run")
    options = parser.parse_args()
    seconds, times, parts = (4.0, 8, 4) if options.short else (20.0, 30, 10)
    app = QApplication([])
    Collector.of(app)
    app.setQuitOnLastWindowClosed(False)
    setup, parameters = Setup(), Parameters()
    with TemporaryDirectory() as home:
        runner = Runner(_build_simulation, setup, parameters)
        window = MainWindow(runner, setup, parameters, Preferences(Path(home) / "window.ini"))
        window.resize(1280, 800)
        window.start()
        until(lambda: window.controller.frame is not None and window.controller.frame.time > 100.0, 600.0)
        if options.memory is not None:
            memory(window, max(4, round(6 * options.memory)), 10.0)
            window.close()
            return
        print(
            f"running, seen     {share(seconds, time.thread_time):7.2f} % of a core in the window's thread", flush=True
        )
        window.hide()
        live(1.5)
        print(f"running, hidden   {share(seconds, time.thread_time):7.2f} %", flush=True)
        window.show()
        window.activateWindow()
        until(lambda: QApplication.activeWindow() is window, 10.0)
        live(1.5)
        taken = answers(window, times)
        print(f"a key is answered within {np.median(taken):.0f} ms (median), {max(taken):.0f} ms (slowest of {times})")
        memory(window, parts, seconds)
        window.controller.toggle_run()
        until(lambda: window.paused)
        live(3.0)
        drawn = window.viewport.frames_drawn
        paused = share(seconds, time.process_time)
        print(
            f"paused, seen      {paused:7.2f} % of a core, all threads; {window.viewport.frames_drawn - drawn} pictures"
        )
        window.hide()
        live(1.5)
        print(f"paused, hidden    {share(seconds, time.process_time):7.2f} %", flush=True)
        window.close()
        window.deleteLater()
        live(0.1)


if __name__ == "__main__":
    main()
