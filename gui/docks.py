"""What the docks beside the plots have in common: a place among tabs, a timer that looks, what they know of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtWidgets import QDockWidget, QMainWindow, QWidget

from mldsim.frames import Frame, Topology
from mldsim.gui.panels.panel import is_seen
from mldsim.parameters import Parameters, Setup


class System(Protocol):
    """What is simulated, as the window knows it."""

    @property
    def setup(self) -> Setup: ...
    @property
    def topology(self) -> Topology | None: ...
    @property
    def frame(self) -> Frame | None: ...
    @property
    def applied(self) -> Parameters: ...


def tabbed_dock(window: QMainWindow, title: str, name: str, widget: QWidget, beside: QDockWidget) -> QDockWidget:
    """A dock at the bottom of a window, behind another one, which stays in front."""
    dock = QDockWidget(title, window)
    dock.setObjectName(name)
    dock.setWidget(widget)
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
    window.tabifyDockWidget(beside, dock)
    beside.raise_()
    return dock


def show_or(dock: QDockWidget, act: Callable[[], None]) -> None:
    """Bring a dock to the front; where it is there already, act."""
    shown = is_seen(dock.widget())
    dock.show()
    dock.raise_()
    if shown:
        act()


def looking(parent: QObject, interval_ms: int, look: Callable[[], None]) -> QTimer:
    """A timer that looks again and again, once it is started."""
    timer = QTimer(parent)
    timer.setInterval(interval_ms)
    timer.timeout.connect(look)
    return timer
