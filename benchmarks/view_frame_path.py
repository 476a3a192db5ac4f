"""What a frame costs the window's thread before the graphics driver draws it.

    python benchmarks/view_frame_path.py             # whole window, as it opens
    python benchmarks/view_frame_path.py --all       # the same with nothing behind a tab
    python benchmarks/view_frame_path.py --view      # the 3-D view alone, for every colouring

Run it on a display, or under ``xvfb-run -s "-screen 0 3800x1500x24"``. The whole window, in which three agents are
picked, one of their numbers is followed and hydrogen bonds are drawn: one beat of its timer (take
the newest frame, whole molecules, colours, labels, the upload, and as often as at sixty frames a second new plots of a
full thermo table, numbers and status), then every paint event of what has changed by it. What the driver does (the
3-D view, and with Qt the composing of the window) is not in it. In processor time of the thread, which other programs
change little, and in time on the wall. Goals: 95th percentile 4 ms at 3,000 agents, 16 ms at 100,000.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtWidgets import QApplication

from mldsim.frames import Frame, Mailbox, Samples, ThermoRow, ThermoTable, Topology
from mldsim.gui.main_window import MainWindow
from mldsim.gui.plots.thermo import TimePlot
from mldsim.gui.preferences import Preferences
from mldsim.gui.viewport import Colouring, Viewport
from mldsim.messages import Applied, Command, Event, Loaded, RunState, Status
from mldsim.parameters import Parameters, Setup
from mldsim.watch import DoubtTable

REPEATS = 60
AGENTS = (192, 3_000, 30_000, 100_000)
GOALS = {3_000: 4.0, 100_000: 16.0}
SIZE = (1920, 1080)
FIRST = 20
"""Frames that are not counted: docks are still being laid out."""


def row(time_fs: float) -> ThermoRow:
    wave = math.sin(time_fs / 90.0)
    return ThermoRow(time_fs, 300 + 9 * wave, 300.0, 7 + wave, -9e2 - wave, -893.0, -893.0, 0.0, 0.0, -5 + wave, -2.0)


def water(n_molecules: int) -> tuple[Topology, Frame]:
    rng = np.random.default_rng(0)
    edge = 3.1 * n_molecules ** (1 / 3)
    species = np.tile([0, 1, 1], n_molecules).astype(np.int32)
    first = 3 * np.arange(n_molecules, dtype=np.int32)
    bonds = np.concatenate([np.stack([first, first + k], axis=1) for k in (1, 2)])
    oxygen = rng.uniform(-2 * edge, 3 * edge, (n_molecules, 1, 3))  # unwrapped: far from the box, as after a long run
    positions = (oxygen + rng.uniform(-0.7, 0.7, (n_molecules, 3, 3))).reshape(-1, 3)
    velocities, forces = rng.normal(0.0, 0.01, positions.shape), rng.normal(0.0, 1.0, positions.shape)
    losses = rng.normal(size=len(species))
    frame = Frame(0, 0.0, np.full(3, edge), positions, velocities, forces, losses, row(0.0))
    return Topology(("O", "H"), species, np.where(species == 0, 15.999, 1.008), bonds), frame


class Source:
    """A runner that has always got the next frame."""

    def __init__(self, topology: Topology, frame: Frame) -> None:
        self.mailbox, self.thermo, self.samples, self.doubts = Mailbox(), ThermoTable(), Samples(), DoubtTable()
        self.topology, self.frame = topology, frame
        self.step = 0
        self._events: list[Event] = [
            Loaded(topology, Setup(), "water", frame.box),
            Applied(Parameters()),
        ]
        for k in range(self.thermo.capacity):
            self.thermo.append(row(5.0 * k))

    def next(self) -> None:
        self.step += 10
        now = 5.0 * (self.thermo.capacity + self.step / 10)
        f = self.frame
        thermo = row(now)
        self.thermo.append(thermo)
        self.mailbox.put(Frame(self.step, now, f.box, f.positions, f.velocities, f.forces, f.losses, thermo))

    def start(self) -> None: ...
    def send(self, command: Command) -> None: ...
    def close(self, timeout: float) -> bool:  # noqa: ARG002
        return True

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def status(self) -> Status:
        return Status(
            RunState.RUNNING, "", "CPU, 1 thread", "", "water", self.topology.n_agents, self.step, 0.5 * self.step,
            400.0 + self.step % 7, 17.0, None, memory_frames=1,
        )  # fmt: skip


class Clock:
    """Time that stands still between frames: plots are due when they are told to be."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def bring_all_into_view(window: MainWindow) -> None:
    """What watches a run, side by side at the bottom, and the panels of the side one below the other."""
    bottom = [window._plots_dock, window._tracks_dock, *window.instruments.docks]
    side = [window._panel_dock, window._view_dock, window._agents_dock]
    for area, docks, way in (
        (Qt.DockWidgetArea.BottomDockWidgetArea, bottom, Qt.Orientation.Horizontal),
        (Qt.DockWidgetArea.RightDockWidgetArea, side, Qt.Orientation.Vertical),
    ):
        for dock in docks:  # from behind each other: beside a tab Qt makes another tab
            window.removeDockWidget(dock)
        window.addDockWidget(area, docks[0])
        docks[0].show()
        for before, dock in pairwise(docks):
            window.splitDockWidget(before, dock, way)
            dock.show()


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of the thread's processor time, and on the wall."""
    wall, own = time.perf_counter(), time.thread_time()
    work()
    return 1e3 * (time.thread_time() - own), 1e3 * (time.perf_counter() - wall)


class Application(QApplication):
    """Takes the time of all paint events."""

    def __init__(self) -> None:
        super().__init__([])
        self.own = self.wall = 0.0
        self._within = False

    def notify(self, receiver: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Paint or self._within:
            return super().notify(receiver, event)
        self._within = True
        answer = True

        def deliver() -> None:
            nonlocal answer
            answer = QApplication.notify(self, receiver, event)

        own, wall = spent(deliver)
        self.own, self.wall = self.own + own, self.wall + wall
        self._within = False
        return answer


def whole_window(app: Application, n_agents: int, colouring: Colouring, repeats: int, *, all_in_view: bool) -> None:
    """Print what a frame costs a window."""
    topology, frame = water(n_agents // 3)
    source, clock = Source(topology, frame), Clock()
    with TemporaryDirectory() as home:
        window = MainWindow(source, Setup(), Parameters(), Preferences(Path(home) / "window.ini"))
        window.controller._clock = window.picks._clock = window.turns.clock = window.plots.clock = clock
        window.resize(*SIZE)
        if all_in_view:
            bring_all_into_view(window)
        window.show()
        source.next()
        window.controller.tick()
        window.set_colouring(colouring)
        window.actions_["hydrogen_bonds"].setChecked(True)
        window.picks.pick((4, 3, 5))
        window.picks.follow(window.agents_panel._readings[0])
        for plot in window.findChildren(TimePlot):
            plot.axis.clock = clock
        for _ in range(5):
            app.processEvents()
        canvas = window.viewport._canvas
        if canvas is None:
            raise SystemExit("There is no OpenGL on this display.")
        canvas.native.setUpdatesEnabled(False)
        ticks, paints, walls = [], [], []
        for k in range(repeats):
            clock.now += 0.017
            source.next()
            canvas.set_current()
            app.own = app.wall = 0.0
            tick, tick_wall = spent(lambda: (window._beat(), canvas.context.flush_commands()))
            app.processEvents()
            if k >= FIRST:
                ticks.append(tick)
                paints.append(app.own)
                walls.append(tick_wall + app.wall)
        window.close()
        window.deleteLater()
        app.processEvents()
    every = np.array(ticks) + np.array(paints)
    values = (
        np.median(every), np.percentile(every, 95), np.percentile(ticks, 95), np.percentile(paints, 95),
        np.percentile(walls, 95),
    )  # fmt: skip
    goal = f"   goal {GOALS[n_agents]:g}" if n_agents in GOALS else ""
    print(f"{n_agents:7d}   {colouring.value:9s}" + "".join(f"{value:9.2f}" for value in values) + goal, flush=True)


def _frame_path(viewport: Viewport, frame: Frame) -> None:
    assert viewport._canvas is not None
    viewport.set_frame(frame)
    viewport._canvas.context.flush_commands()


def view(app: QApplication, repeats: int) -> None:
    """Print what a frame costs the 3-D view alone."""
    viewport = Viewport()
    viewport.widget.resize(320, 240)
    viewport.widget.show()
    print(" agents   colouring        median      p95  p95 on the wall   (ms)")
    for n_agents in AGENTS:
        topology, frame = water(n_agents // 3)
        viewport.set_topology(topology, frame.box)
        for colouring in Colouring:
            viewport.set_colouring(colouring)
            viewport.set_frame(frame)
            for _ in range(3):
                app.processEvents()
            canvas = viewport._canvas
            if canvas is None:
                raise SystemExit("There is no OpenGL on this display.")
            canvas.native.setUpdatesEnabled(False)
            taken = []
            for _ in range(repeats):
                canvas.set_current()
                taken.append(spent(partial(_frame_path, viewport, frame)))
            canvas.native.setUpdatesEnabled(True)
            own, wall = np.array(taken).T
            values = np.median(own), np.percentile(own, 95), np.percentile(wall, 95)
            numbers = "".join(f"{value:9.3f}" for value in values)
            print(f"{topology.n_agents:7d}   {colouring.value:14s}{numbers}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--view", action="store_true", help="the 3-D view alone, for every colouring")
    parser.add_argument("--all", action="store_true", help="the whole window with nothing behind a tab")
    parser.add_argument("--agents", type=int, nargs="+", default=[3_000, 100_000])
    parser.add_argument("--repeats", type=int, default=None)
    options = parser.parse_args()
    app = Application()
    app.setQuitOnLastWindowClosed(False)
    if options.view:
        view(app, options.repeats or REPEATS)
        return
    print("                                     p95 of its parts")
    print(" agents   colouring   median      p95     beat    paint  p95 on the wall   (ms)")
    for n_agents in options.agents:
        for colouring in (Colouring.ELEMENT, Colouring.LOSS):
            whole_window(app, n_agents, colouring, options.repeats or 200, all_in_view=options.all)


if __name__ == "__main__":
    main()
