"""Fixtures of the tests that open a window; pytest-xvfb gives them a display of their own."""

import gc
import math
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from mldsim.delivery import Delivery
from mldsim.errors import InputError
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.gui.garbage import Collector
from mldsim.gui.main_window import MainWindow
from mldsim.gui.preferences import Preferences
from mldsim.parameters import Parameters, Setup
from mldsim.runner import Runner


@pytest.fixture(scope="module", autouse=True)
def _cycles_are_looked_for_here() -> Iterator[None]:
    """As in the application: no other thread destroys a widget."""
    gc.disable()
    yield
    application = QApplication.instance()
    if application is not None:
        Collector.of(application).stop()
    gc.enable()


@pytest.fixture(autouse=True)
def _a_look_after_each_test() -> Iterator[None]:
    yield
    application = QApplication.instance()
    if application is not None:
        Collector.of(application).look()


class SmallEngine:
    """Water that trembles: obeys the contract of an engine at next to no cost. Time steps above 1 fs are refused."""

    device = "CPU, 1 thread"
    device_reason = "There is no CUDA driver."
    model_card: ClassVar[dict] = {}

    def __init__(self, setup, parameters, progress, *, conserved=True):
        progress("Building")
        self.setup, self.parameters = setup, parameters
        self.model_name = setup.model
        n = min(setup.molecules, 27)
        self.edge = 9.3
        oxygen = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[:n] * 3.1 + 1.5
        self.positions = (oxygen[:, None] + np.array([[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])).reshape(-1, 3)
        species = np.tile(np.array([0, 1, 1], np.int32), n)
        bonds = np.array([[3 * i, 3 * i + j] for i in range(n) for j in (1, 2)], np.int32)
        self.topology = Topology(("O", "H"), species, np.where(species == 0, 15.999, 1.008), bonds)
        self.conserved = conserved
        self.step = 0
        self.quenched = self.drawn = 0

    def advance(self, steps):
        self.step += steps
        time.sleep(2e-4)

    def frame(self):
        moved = self.positions + 0.05 * math.sin(self.step / 20)
        zeros = np.zeros_like(moved)
        conserved = -1.0 if self.conserved else math.nan
        thermo = ThermoRow(0.5 * self.step, 290.0, self.parameters.temperature, 1.0, -2.0, -1.0, conserved, 0.0, 0.0)
        box = np.full(3, self.edge)
        return Frame(self.step, 0.5 * self.step, box, moved, zeros, zeros, np.arange(len(moved)) * 0.01, thermo)

    def send_frame(self):
        frame = self.frame()
        return Delivery(lambda: frame)

    def set_parameters(self, parameters):
        self.parameters = parameters.with_changes(timestep=min(parameters.timestep, 1.0))
        return self.parameters

    def quench(self, steps):
        self.quenched += 1
        return True

    def new_velocities(self):
        self.drawn += 1

    def set_model(self, name_or_path):
        raise InputError(f"{name_or_path}: this is not a loss model, because it is not valid JSON.")

    def reset(self):
        self.step = 0

    def go_to(self, frame):
        self.step = frame.step


class Desk:
    """A window, what drives it, and hands."""

    def __init__(self, qtbot, window, runner, patience=30.0):
        self.qtbot, self.window, self.runner, self.patience = qtbot, window, runner, patience

    def wait(self, condition):
        self.qtbot.waitUntil(condition, timeout=round(1e3 * self.patience))

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier, widget=None):
        QTest.keyClick(widget or QApplication.focusWidget() or self.window, key, modifier)

    def state(self):
        return self.runner.status().run_state

    def moved(self):
        return self.window.controller.frame is not None and self.window.controller.frame.step > 0


@pytest.fixture
def open_window(qtbot, home):
    opened = []

    def open_it(*, paused=False, engine=SmallEngine, setup=None, settings=None, size=(960, 600), patience=30.0):
        setup = setup or Setup()
        runner = Runner(engine, setup, Parameters(), paused=paused)
        window = MainWindow(runner, setup, Parameters(), Preferences(settings or home / "window.ini"))
        opened.append(window)
        window.resize(*size)
        window.start()

        window.activateWindow()
        qtbot.waitUntil(lambda: QApplication.activeWindow() is window, timeout=20000)
        desk = Desk(qtbot, window, runner, patience)
        desk.wait(lambda: window.controller.n_agents > 0)
        return desk

    yield open_it
    for window in opened:
        window.close()
        window.deleteLater()


@pytest.fixture
def small_engine():
    """Water that trembles, at next to no cost: the class."""
    return SmallEngine


@pytest.fixture
def desk_of(qtbot):
    """Hands for a window that a test has made itself."""
    return lambda window, runner: Desk(qtbot, window, runner)


@pytest.fixture
def pixels() -> Callable[[QWidget | QImage], NDArray[np.uint8]]:
    """Red, green, blue, alpha of what a widget or a picture shows: (height, width, 4) uint8.

    A widget's pixels are those that its mouse events count, on screens of any scale (try QT_SCALE_FACTOR=2).
    """

    def read(shown: QWidget | QImage) -> NDArray[np.uint8]:
        if isinstance(shown, QImage):
            image = shown
        else:
            image = shown.grab().toImage()
            if image.size() != shown.size():
                image = image.scaled(shown.size(), mode=Qt.TransformationMode.SmoothTransformation)
        image = image.convertToFormat(QImage.Format.Format_RGBA8888)
        return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4).copy()

    return read
