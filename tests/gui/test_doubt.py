"""Doubt in the window: what is asked for reaches the runner, what comes back is shown, and its absence is explained."""

import time

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QDockWidget, QMainWindow

from mldsim.frames import Frame, Samples, ThermoRow
from mldsim.gui import theme
from mldsim.gui.instruments import Instruments
from mldsim.gui.panels.doubt import LARGEST, LIMIT, MEAN, UNIT, DoubtPanel
from mldsim.gui.theme import Theme
from mldsim.gui.viewport.quantities import QUANTITIES, Colouring
from mldsim.messages import DoubtSettings, Level, RunState, SaveDoubtful, Status, WatchDoubt
from mldsim.watch import DoubtTable

pytestmark = pytest.mark.gui


@pytest.fixture
def panel(qtbot):
    made = DoubtPanel()
    qtbot.addWidget(made)
    made.resize(900, 220)
    made.colour(theme.COLOURS[Theme.DARK])
    made.show()
    made.heard = []
    made.asked.connect(made.heard.append)
    return made


def table():
    time_fs = np.arange(0.0, 5000.0, 250.0)
    return {"time": time_fs, "mean": np.full(20, 0.04), "largest": np.full(20, 0.11)}


def test_watching_and_its_settings_are_asked_for(panel):
    panel.watch.click()
    assert panel.heard == [DoubtSettings()]
    panel.limit.setFocus()
    panel.limit.selectAll()
    QTest.keyClicks(panel.limit, "0.1")
    QTest.keyClick(panel.limit, Qt.Key.Key_Return)
    assert panel.heard[-1].limit == 0.1
    panel.pause.click()
    assert panel.heard[-1] == DoubtSettings(limit=0.1, pause=True)
    panel.watch.click()
    assert panel.heard[-1] is None


def test_doubt_is_drawn_over_time_with_its_warning_line(panel):
    panel.watch.click()
    assert "under way" in panel.plot.message
    panel.show_table(table())
    assert panel.plot.message == ""
    x, y = panel.plot.drawn(LARGEST)
    assert x[-1] == pytest.approx(4.75)  # ps
    assert y[-1] == 0.11
    assert panel.plot.drawn(MEAN)[1][-1] == 0.04
    assert set(panel.plot.drawn(LIMIT)[1]) == {DoubtSettings().limit}
    assert UNIT in panel.text.text()
    assert "0.110" in panel.text.text()


def test_a_model_without_a_committee_says_why(panel):
    why = "The model 'x' was fitted without a committee and cannot doubt its forces; fit it with doubt (--doubt)."
    panel.watch.click()
    panel.show_status(why, 0)
    assert panel.text.text() == why
    assert "cannot be doubted" in panel.plot.message
    assert not panel.save.isEnabled()


def test_doubtful_frames_can_be_saved_as_soon_as_there_is_one(panel):
    assert not panel.save.isEnabled()
    panel.show_status("", 3)
    assert panel.save.isEnabled()
    assert "3" in panel.save.text()
    assert panel.save.width() >= panel.save.sizeHint().width()


def test_doubt_has_a_colour_and_is_grey_until_it_is_known():
    zeros = np.zeros((3, 3))
    frame = Frame(0, 0.0, np.ones(3), zeros, zeros, zeros, zeros[0], ThermoRow(*[0.0] * 9))
    values = QUANTITIES[Colouring.DOUBT].values
    assert np.isnan(values(frame)).all()
    judged = Frame(0, 0.0, np.ones(3), zeros, zeros, zeros, zeros[0], frame.thermo, np.array([0.1, 0.2, 0.3]))
    assert values(judged).tolist() == [0.1, 0.2, 0.3]


# --- the instruments around it ---


class StillRunner:
    """A runner that only remembers."""

    def __init__(self):
        self.samples, self.doubts = Samples(), DoubtTable()
        self.sent = []
        self.state = Status(RunState.PAUSED)

    def send(self, command):
        self.sent.append(command)

    def status(self):
        return self.state


class Desk:
    def __init__(self, home):
        self.home, self.told, self.dialogs = home, [], []
        self.controller = None

    def new_file(self, suffix):
        return self.home / f"new.{suffix}"

    def remember_folder(self, path):
        pass

    def tell(self, level, text):
        self.told.append((level, text))

    def open_dialog(self, dialog, accepted):
        self.dialogs.append((dialog, accepted))

    def save_image(self, image, path):
        image.save(str(path))


@pytest.fixture
def bench(qtbot, home):
    window = QMainWindow()
    qtbot.addWidget(window)
    plots = QDockWidget("Plots", window)
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, plots)
    runner, desk = StillRunner(), Desk(home)
    instruments = Instruments(window, plots, desk, runner)
    window.resize(900, 500)
    window.show()
    yield instruments, runner, desk
    instruments.close()


def test_colouring_by_doubt_begins_to_watch_it(bench):
    instruments, runner, _ = bench
    instruments.watch_doubt()
    instruments.watch_doubt()
    assert runner.sent == [WatchDoubt(DoubtSettings())]


def test_what_cannot_be_doubted_is_told_once(bench):
    instruments, runner, desk = bench
    runner.state = Status(RunState.RUNNING, doubt_refused="There is no committee.")
    for _ in range(3):
        instruments._look()
    assert desk.told == [(Level.WARNING, "There is no committee.")]


def test_saving_asks_for_a_file_and_sends_the_command(bench, home):
    instruments, runner, desk = bench
    instruments.commands["save_doubtful"]()
    assert desk.told[-1] == (Level.INFO, "No frame has been in doubt yet.")
    runner.state = Status(RunState.RUNNING, doubtful_frames=4)
    instruments.commands["save_doubtful"]()
    dialog, accepted = desk.dialogs[-1]
    assert "4" in dialog.windowTitle()
    accepted()
    assert runner.sent[-1] == SaveDoubtful(home / "new.xyz", False)


def test_a_dock_that_is_closed_costs_nothing(bench):
    instruments, runner, _ = bench
    instruments._look()
    assert runner.samples.wanted  # behind another tab, too
    instruments.docks[0].hide()
    instruments._look()
    assert not runner.samples.wanted


def test_the_threads_end_with_the_window(bench):
    instruments, _, _ = bench
    instruments.start()
    began = time.monotonic()
    instruments.close()
    assert time.monotonic() - began < 5
