"""The dock Two: what is asked for, both in common plots, and two views with one camera."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QDockWidget, QMainWindow

from mldsim.edits import LossEdit
from mldsim.errors import InputError
from mldsim.frames import Beside, Frame, ThermoRow, Topology
from mldsim.gui import theme
from mldsim.gui.comparing import APART, LEFT, RIGHT, Comparing, Measures, Sides, Structure
from mldsim.gui.theme import Theme
from mldsim.gui.viewport import Style, Viewport
from mldsim.loss import Scope
from mldsim.messages import Compare
from mldsim.parameters import Setup

BOX = np.full(3, 12.0)
TOPOLOGY = Topology(("O", "H"), np.int32([0, 1, 1]), np.array([16.0, 1.0, 1.0]), np.int32([[0, 1], [0, 2]]))


def frame(time, loss=-10.0, shift=0.0):
    row = ThermoRow(
        **(dict.fromkeys(ThermoRow.__slots__, 0.0) | {"time": time, "temperature": 300.0 + shift, "loss": loss})
    )
    positions = np.array([[1.0, 1, 1], [2, 1, 1], [1, 2, 1]]) + np.array([shift, 0.0, 0.0])
    zeros = np.zeros((3, 3))
    return Frame(round(time), time, BOX, positions, zeros, zeros, zeros[:, 0], row)


def test_what_is_measured_of_both():
    measures = Measures()
    measures.take(frame(0.0, -10.0), frame(0.0, -20.0))
    measures.take(frame(1.0, -9.7), frame(1.0, -20.6, shift=0.5))
    assert measures.apart.columns()[1] == pytest.approx([0.0, 0.5])
    assert measures.loss[0].columns()[1] == pytest.approx([0.0, 100.0])
    assert measures.loss[1].columns()[1] == pytest.approx([0.0, -200.0])


def test_the_structure_of_both_is_averaged_apart():
    topology = Topology(("O", "H"), np.int32([0, 0]), np.array([16.0, 16.0]), np.empty((0, 2), np.int32))
    structure = Structure(topology, BOX)

    def pair(apart):
        positions = np.array([[1.0, 1, 1], [1.0 + apart, 1, 1]])
        return replace(frame(0.0), positions=positions)

    for _ in range(3):
        left, right = structure.take(pair(2.8), pair(4.1))
    assert structure.pair == "O-O"
    assert left.x[left.y > 0] == pytest.approx([2.8], abs=0.03)
    assert right.x[right.y > 0] == pytest.approx([4.1], abs=0.03)
    assert left.x[-1] < 6.0


@pytest.fixture
def bench(qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    made = SimpleNamespace(viewport=Viewport(window), sent=[])
    made.sides = Sides(made.viewport.widget)
    window.setCentralWidget(made.sides)
    beside = QDockWidget("Plots", window)
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, beside)
    made.controller = SimpleNamespace(setup=Setup(), topology=TOPOLOGY, frame=None)
    runner = SimpleNamespace(send=made.sent.append)
    made.two = Comparing(window, beside, made, runner, made.sides, ["water", "water-paper"])
    made.two.colour(theme.COLOURS[Theme.DARK])
    made.viewport.set_topology(TOPOLOGY, BOX)
    window.resize(1000, 600)
    window.show()
    made.two.dock.raise_()
    return made


def run(bench, n=8):
    for step in range(n):
        bench.controller.frame = replace(
            frame(float(step)), beside=Beside("water-paper", frame(float(step), shift=0.1 * step))
        )
        bench.two.look()


@pytest.mark.gui
def test_what_runs_beside_is_asked_for_and_ended(bench):
    panel = bench.two.panel
    panel.scope.show_data(Scope.OWN)
    panel.begin.click()
    assert bench.sent == [Compare("water-paper", LossEdit(scope=Scope.OWN))]
    assert not panel.end.isEnabled()
    run(bench)
    panel.end.click()
    assert bench.sent[-1] == Compare(None)


@pytest.mark.gui
def test_both_are_in_common_plots_and_named(bench):
    run(bench)
    panel = bench.two.panel
    assert panel.temperature.drawn(LEFT)[1][-1] == 300.0
    assert panel.temperature.drawn(RIGHT)[1][-1] > 300.0
    assert panel.apart.drawn(APART)[1][0] == 0.0
    assert [label.text() for label in bench.sides.names] == ["water", "water-paper"]
    bench.controller.frame = frame(9.0)
    bench.two.look()
    assert not any(label.isVisible() for label in bench.sides.names)
    assert not bench.two.view.widget.isVisible()


@pytest.mark.gui
def test_cameras_go_together_whichever_is_turned(bench):
    run(bench)
    first, second = bench.viewport, bench.two.view
    first.orbit(40.0, 10.0)
    bench.two.look()
    assert second.camera.gaze == first.camera.gaze
    second.zoom(1.3)
    bench.two.look()
    assert first.camera.gaze == second.camera.gaze
    assert first.camera.magnification != 1.0
    first.set_style(Style.SPACE_FILLING)
    bench.two.look()
    assert second._style is Style.SPACE_FILLING


@pytest.mark.gui
def test_a_picture_holds_what_is_seen_one_view_or_both_with_their_names(bench):
    def columns(image):
        rgba = image.convertToFormat(QImage.Format.Format_RGBA8888)
        pixels = np.array(rgba.constBits()).reshape(rgba.height(), rgba.width(), 4)
        return pixels[..., 3].any(axis=0), pixels

    bench.controller.frame = frame(0.0)
    bench.two.look()
    bench.viewport.set_frame(bench.controller.frame)
    alone = bench.two.picture(400, 300)
    assert alone == bench.viewport.picture(400, 300)
    run(bench, 2)
    there, pixels = columns(bench.two.picture(404, 300, transparent=True))
    assert not there[200:204].any()  # the gap
    above, below = pixels[:18], pixels[18:]
    for half in (slice(0, 200), slice(204, 404)):
        assert above[:, half, 3].any()  # the name
        assert below[:, half, 3].any()  # the agents
    assert (below[:, :200] != below[:, 204:]).any()  # of two frames
    with pytest.raises(InputError):
        bench.two.picture(20, 300)
