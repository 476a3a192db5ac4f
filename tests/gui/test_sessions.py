"""Sessions, recent files and dropped files in the real window, with real water."""

from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication

from mldsim.gui import sessions
from mldsim.gui.main_window import MainWindow
from mldsim.gui.preferences import Preferences
from mldsim.gui.viewport import Colouring, Style
from mldsim.gui.viewport.scales import Scale
from mldsim.messages import RunState
from mldsim.parameters import DeviceKind, Parameters, Setup
from mldsim.runner import Runner
from mldsim.simulation import build_simulation

pytestmark = pytest.mark.gui

SETUP = Setup(model="water-fast", molecules=8, device=DeviceKind.CPU)


@pytest.fixture
def window(qtbot, home):
    runner = Runner(build_simulation, SETUP, Parameters(), paused=True)
    window = MainWindow(runner, SETUP, Parameters(), Preferences(home / "window.ini"))
    window.resize(1280, 720)
    window.start()
    qtbot.waitUntil(lambda: window.controller.frame is not None, timeout=60_000)
    yield window
    window.close()
    window.deleteLater()


def drop(window, *paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    where, button = QPointF(200, 200), Qt.MouseButton.LeftButton
    none = Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(where.toPoint(), Qt.DropAction.CopyAction, mime, button, none)
    QApplication.sendEvent(window, enter)
    assert enter.isAccepted()
    QApplication.sendEvent(window, QDropEvent(where, Qt.DropAction.CopyAction, mime, button, none))


def test_a_session_brings_back_what_the_window_showed(window, qtbot, home):
    controller, view = window.controller, window.viewport
    controller.set_pace(50.0)
    window.set_colouring(Colouring.SPEED)
    window.set_scale(Scale(fixed=(0.0, 3000.0)))
    window.set_style(Style.STICKS)
    window.actions_["bonds"].setChecked(False)
    window.actions_["orthographic"].setChecked(True)
    view.orbit(40, 30)
    view.zoom(1.3)
    window.picks.pick((3, 4))
    gaze = view.camera.gaze
    time = controller.frame.time
    path = home / "a.session.h5"
    controller.save_session(path, sessions.text_of(window, ("bonds", "orthographic")))
    qtbot.waitUntil(path.is_file, timeout=20_000)

    controller.set_pace(None)
    window.set_colouring(Colouring.ELEMENT)
    window.set_style(Style.BALL_AND_STICK)
    window.actions_["bonds"].setChecked(True)
    window.actions_["orthographic"].setChecked(False)
    view.reset_view()
    window.picks.clear()
    controller.change(temperature=350.0)
    controller.toggle_run()
    qtbot.waitUntil(lambda: controller.frame.time > time, timeout=20_000)

    drop(window, path)
    qtbot.waitUntil(lambda: window.picks.picked == (3, 4), timeout=20_000)
    assert controller.status().run_state is RunState.PAUSED
    assert controller.status().time == time
    assert controller.applied.temperature == 300.0
    assert controller.pace == 50.0
    assert (window.colouring, window.style_of_view) == (Colouring.SPEED, Style.STICKS)
    assert view.scale(Colouring.SPEED).fixed == (0.0, 3000.0)
    assert not window.actions_["bonds"].isChecked()
    assert view.camera.orthographic
    assert view.camera.gaze.azimuth == pytest.approx(gaze.azimuth)
    assert view.camera.gaze.magnification == pytest.approx(gaze.magnification)
    assert window.opening.menu.actions()[0].text() == "a.session.h5"


def test_dropped_models_and_structures_are_known_by_their_content(window, qtbot, home):
    from mldsim.loss import load_model, save_model

    save_model(load_model("water-paper"), home / "model.txt")
    drop(window, home / "model.txt")
    qtbot.waitUntil(lambda: window.controller.setup.model == str(home / "model.txt"), timeout=120_000)
    lines = ["3", 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3']
    (home / "one.dat").write_text("\n".join([*lines, "O 0 0 0", "H 0.96 0 0", "H -0.24 0.93 0"]) + "\n")
    drop(window, home / "one.dat")
    qtbot.waitUntil(lambda: window.controller.n_agents == 3, timeout=120_000)
    recent = [action.text() for action in window.opening.menu.actions()]
    assert recent[:2] == ["one.dat", "model.txt"]
    assert window.preferences.paths("recent") == [home / "one.dat", home / "model.txt"]


def test_a_recent_file_that_is_gone_is_told_and_not_offered_again(window, qtbot, home):
    gone = home / "gone.session.h5"
    window.opening.remember(gone)
    assert window.opening.menu.isEnabled()
    window.opening.menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: any("gone.session.h5" in text for text in texts(window)), timeout=5000)
    assert not window.opening.menu.isEnabled()


def texts(window):
    from PySide6.QtWidgets import QLabel

    return [label.text() for label in window.notices.findChildren(QLabel)]


@pytest.mark.parametrize("text", ["", "{", '{"picked": ["a"]}', '{"gaze": 3}'])
def test_a_session_with_words_that_are_none_still_opens(window, qtbot, home, text):
    path = Path(home / "a.session.h5")
    window.controller.save_session(path, text)
    qtbot.waitUntil(path.is_file, timeout=20_000)
    window.controller.step()
    qtbot.waitUntil(lambda: window.controller.status().step == 1, timeout=20_000)
    window.open_path(path)
    qtbot.waitUntil(lambda: window.controller.status().step == 0, timeout=20_000)
    if text:
        qtbot.waitUntil(lambda: any("the view stays" in told for told in texts(window)), timeout=5000)
