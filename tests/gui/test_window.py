"""The real window with a real runner and a small engine, as a user handles it: keys, fields, files, closing."""

import math
import time
from functools import partial

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QSettings, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QMessageBox,
    QProgressDialog,
    QPushButton,
    QSlider,
    QTabBar,
)

from mldsim.errors import InputError
from mldsim.gui import theme
from mldsim.gui.actions import SPECS
from mldsim.gui.app import run_window
from mldsim.gui.dialogs.about import AboutDialog
from mldsim.gui.dialogs.palette import Palette, commands_of, rank
from mldsim.gui.dialogs.preferences import PreferencesDialog
from mldsim.gui.dialogs.presets import ManageDialog, NameDialog
from mldsim.gui.dialogs.run import RunDialog
from mldsim.gui.dialogs.schedule import ScheduleDialog
from mldsim.gui.main_window import TOUCH, MainWindow
from mldsim.gui.panels.panel import is_seen
from mldsim.gui.plots.thermo import time_range, value_range
from mldsim.gui.preferences import Preferences
from mldsim.gui.settings import Settings, load_settings
from mldsim.gui.theme import Theme
from mldsim.gui.viewmodel import ModelCard
from mldsim.gui.viewport import Colouring
from mldsim.gui.viewport.scales import ColourMap, Scale
from mldsim.messages import Level, RunState
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.presets import Presets
from mldsim.runner import Runner
from mldsim.trajectory.extxyz import ExtxyzWriter
from mldsim.trajectory.h5md import H5MDWriter, read_h5md

pytestmark = pytest.mark.gui


def test_water_moves_and_is_seen(open_window, pixels):
    desk = open_window()
    desk.wait(desk.moved)
    view = desk.window.viewport.widget

    def seen():
        """Agents of both kinds; not at once where the window is exposed later than the run moves."""
        whole = pixels(desk.window.picture_of_window())
        corner = view.mapTo(desk.window, QPoint(0, 0))
        part = whole[corner.y() : corner.y() + view.height(), corner.x() : corner.x() + view.width(), :3].astype(int)
        oxygen = (part[..., 0] > 130) & (part[..., 1] < 90) & (part[..., 2] < 90)
        hydrogen = part.min(axis=-1) > 150
        return oxygen.sum() > 300 and hydrogen.sum() > 300

    desk.wait(lambda: desk.window.viewport.frames_drawn > 2)
    desk.wait(seen)


def test_space_pauses_and_runs(open_window):
    desk = open_window()
    desk.wait(desk.moved)
    desk.key(Qt.Key.Key_Space)
    desk.wait(lambda: desk.state() is RunState.PAUSED)
    desk.wait(lambda: desk.window.actions_["run"].text() == "Run")
    step = desk.runner.status().step
    desk.key(Qt.Key.Key_Right)
    desk.wait(lambda: desk.runner.status().step == step + 1)
    desk.key(Qt.Key.Key_Space)
    desk.wait(lambda: desk.state() is RunState.RUNNING)


def test_a_paused_window_looks_seldom_and_answers_at_once(open_window):
    desk = open_window(paused=True)
    desk.wait(lambda: not desk.window._pulse.fast)

    def still() -> bool:  # nothing is drawn again, once the window has come to rest
        drawn = desk.window.viewport.frames_drawn
        desk.qtbot.wait(300)
        return desk.window.viewport.frames_drawn == drawn

    desk.wait(still)
    desk.key(Qt.Key.Key_Space)
    assert desk.window._pulse.fast
    desk.wait(desk.moved)
    assert desk.window._pulse.fast


def test_what_nobody_sees_is_not_drawn_and_is_there_when_it_is_seen(open_window):
    desk = open_window()
    desk.wait(desk.moved)
    desk.wait(lambda: desk.window._pulse.fast and desk.window.viewport.frames_drawn > 2)
    desk.window.hide()
    desk.wait(lambda: not desk.window._pulse.fast)
    assert desk.window.viewport._resting
    positions = desk.window.viewport._canvas.positions.copy()
    step = desk.window.controller.frame.step
    desk.wait(lambda: desk.window.controller.frame.step > step + 20)  # the numbers go on
    assert np.array_equal(desk.window.viewport._canvas.positions, positions)
    desk.window.show()
    desk.wait(lambda: desk.window._pulse.fast)
    desk.wait(lambda: not np.array_equal(desk.window.viewport._canvas.positions, positions))


def test_typing_in_a_field_is_only_typing(open_window):
    desk = open_window()
    window = desk.window
    desk.wait(desk.moved)
    sent = []
    send, desk.runner.send = desk.runner.send, lambda command: (sent.append(command), send(command))
    box = window.panel.rows["temperature"].box
    box.setFocus()
    box.selectAll()
    bonds = window.actions_["bonds"].isChecked()
    for key in (Qt.Key.Key_3, Qt.Key.Key_5, Qt.Key.Key_0, Qt.Key.Key_Space, Qt.Key.Key_B, Qt.Key.Key_Plus):
        desk.key(key, widget=box)
    desk.key(Qt.Key.Key_Right, widget=box)
    desk.qtbot.wait(100)
    assert sent == []
    assert desk.state() is RunState.RUNNING
    assert window.actions_["bonds"].isChecked() == bonds
    box.lineEdit().setText("350 K")
    box.lineEdit().setModified(True)
    desk.key(Qt.Key.Key_Return, widget=box)
    desk.wait(lambda: window.controller.applied.temperature == 350.0)
    assert not box.hasFocus()
    assert window.panel.rows["temperature"].undo.isEnabled()
    assert len(sent) == 1
    desk.key(Qt.Key.Key_Space)  # the keyboard is the window's again
    desk.wait(lambda: desk.state() is RunState.PAUSED)


def test_typing_300_sets_300_and_nothing_else(open_window):
    desk = open_window()
    box = desk.window.panel.rows["temperature"].box
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "310")
    assert desk.window.controller.applied.temperature == 300.0
    desk.key(Qt.Key.Key_Return, widget=box)
    desk.wait(lambda: desk.window.controller.applied.temperature == 310.0)
    desk.window.panel.rows["temperature"].undo.click()
    desk.wait(lambda: desk.window.controller.applied.temperature == 300.0)
    assert box.value() == 300.0
    assert not desk.window.panel.rows["temperature"].undo.isEnabled()
    assert desk.state() is RunState.RUNNING


def test_escape_forgets_and_a_value_out_of_range_becomes_the_nearest(open_window):
    desk = open_window()
    box = desk.window.panel.rows["temperature"].box
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "777")
    desk.key(Qt.Key.Key_Escape, widget=box)
    assert box.value() == 300.0
    assert box.text() == "300 K"
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "99999")
    desk.key(Qt.Key.Key_Return, widget=box)
    desk.wait(lambda: desk.window.controller.applied.temperature == 2000.0)


def test_values_are_shown_as_applied(open_window):
    desk = open_window()
    row = desk.window.panel.rows["timestep"]
    row.box.setFocus()
    row.box.selectAll()
    QTest.keyClicks(row.box, "2")
    desk.key(Qt.Key.Key_Return, widget=row.box)
    desk.wait(lambda: desk.window.controller.applied.timestep == 1.0)
    desk.wait(lambda: row.box.value() == 1.0)


def test_a_slider_asks_while_it_is_dragged_and_ends_at_what_is_applied(open_window):
    desk = open_window()
    row = desk.window.panel.rows["timestep"]
    row.slider.setSliderDown(True)
    row.slider.setSliderPosition(row.slider.maximum())
    desk.wait(lambda: desk.window.controller.applied.timestep == 1.0)  # 2 fs was asked for
    assert row.slider.value() == row.slider.maximum()
    row.slider.setSliderDown(False)
    desk.wait(lambda: row.slider.value() < row.slider.maximum())
    assert row.box.value() == 1.0


def test_icons_exist_and_are_used(open_window):
    desk = open_window(paused=True)
    for name, spec in SPECS.items():
        assert bool(spec.icon) == (not desk.window.actions_[name].icon().isNull()), name


def test_a_decimal_comma_is_understood(open_window):
    desk = open_window()
    box = desk.window.panel.rows["timestep"].box
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "0,25")
    desk.key(Qt.Key.Key_Return, widget=box)
    desk.wait(lambda: desk.window.controller.applied.timestep == 0.25)


def test_without_a_thermostat_there_is_no_coupling(open_window):
    desk = open_window()
    panel = desk.window.panel
    assert panel.rows["coupling_time"].isEnabled()
    panel.thermostat.setCurrentIndex(panel.thermostat.findData(ThermostatKind.NONE))
    panel.thermostat.activated.emit(panel.thermostat.currentIndex())
    desk.wait(lambda: desk.window.controller.applied.thermostat is ThermostatKind.NONE)
    assert not panel.rows["coupling_time"].isEnabled()


def test_a_restart_is_offered_only_when_something_changed(open_window):
    desk = open_window()
    panel = desk.window.panel
    assert not panel.restart.isEnabled()
    box = panel.restart_rows["molecules"].box
    box.setFocus()
    box.selectAll()
    QTest.keyClicks(box, "8")
    assert panel.restart.isEnabled()
    assert desk.window.controller.n_agents == 81
    QTest.mouseClick(panel.restart, Qt.MouseButton.LeftButton)
    desk.wait(lambda: desk.window.controller.n_agents == 24)
    assert desk.window.controller.setup.molecules == 8
    assert not panel.restart.isEnabled()


def test_no_button_takes_the_keyboard(open_window):
    desk = open_window()
    takers = [
        button.text() or button.objectName()
        for button in desk.window.findChildren(QAbstractButton)
        if button.focusPolicy() & Qt.FocusPolicy.ClickFocus and button.isVisible()
    ]
    assert takers == []


def test_keys_of_the_view(open_window):
    desk = open_window()
    window = desk.window
    shown = window.actions_["bonds"].isChecked()
    desk.key(Qt.Key.Key_B)
    assert window.actions_["bonds"].isChecked() != shown
    desk.key(Qt.Key.Key_U)
    assert not window.actions_["box"].isChecked()
    desk.key(Qt.Key.Key_O)
    assert window.viewport.camera.orthographic
    before = window.viewport.camera.rotation().copy()
    desk.key(Qt.Key.Key_X)
    assert not np.allclose(window.viewport.camera.rotation(), before)
    desk.key(Qt.Key.Key_R)
    assert np.allclose(window.viewport.camera.rotation(), before)
    desk.key(Qt.Key.Key_Minus)
    desk.wait(lambda: desk.runner.status().pace is not None)
    assert window.pace.currentData() == window.controller.pace == desk.runner.status().pace
    for _ in range(12):
        desk.key(Qt.Key.Key_Plus)
    desk.wait(lambda: desk.runner.status().pace is None)
    assert window.pace.currentText() == "Flat out"


def test_a_command_is_found_by_a_few_letters_and_done(open_window):
    desk = open_window(paused=True)
    window = desk.window
    desk.key(Qt.Key.Key_P, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    palette = window.findChild(Palette)
    everything = palette.names()
    assert len(everything) > 30
    QTest.keyClicks(palette.field, "colour loss")
    assert palette.names()[0].endswith("Loss of each agent")
    desk.key(Qt.Key.Key_Return, widget=palette.field)
    assert window.viewport._colouring is Colouring.LOSS
    assert rank("box", "View › Periodic box") < rank("box", "View › Draw as › Inbox")
    assert rank("nothing", "View › Periodic box") is None


def test_undo_takes_back_a_parameter(open_window):
    desk = open_window()
    window = desk.window
    window.controller.change(temperature=350.0)
    desk.wait(lambda: window.controller.applied.temperature == 350.0)
    desk.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    desk.wait(lambda: window.controller.applied.temperature == 300.0)
    desk.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    desk.wait(lambda: window.controller.applied.temperature == 350.0)


def test_every_command_has_a_connection_and_keys_are_unique(open_window):
    keys = [key for spec in SPECS.values() for key in spec.keys]
    assert len(keys) == len(set(keys))
    desk = open_window(paused=True)
    for name in ("keys", "about"):
        desk.window.actions_[name].trigger()
    texts = " ".join(label.text() for label in QApplication.topLevelWidgets()[0].findChildren(QLabel))
    everything = " ".join(label.text() for label in desk.window.findChildren(QLabel)) + texts
    assert "2504.10560" in everything
    assert "Single step" in everything


def test_a_bad_model_file_is_told_and_the_run_goes_on(open_window, home, monkeypatch):
    desk = open_window()
    bad = home / "bad.json"
    bad.write_text("{", encoding="utf-8")
    monkeypatch.setattr(
        "mldsim.gui.main_window.QFileDialog.getOpenFileName", staticmethod(lambda *a, **k: (str(bad), ""))
    )
    desk.window.actions_["open_model"].trigger()
    desk.wait(lambda: any("bad.json" in text for text in desk.window.notices.texts()))
    assert desk.state() is RunState.RUNNING
    step = desk.runner.status().step
    desk.wait(lambda: desk.runner.status().step > step)
    assert desk.window.panel.model.currentData() == "water"


def test_a_setup_that_cannot_be_built_leaves_the_window_alive(small_engine, desk_of):
    def broken(setup, parameters, progress):
        if setup.seed == 1:
            raise InputError("start.xyz, line 3: this is not a structure.")
        return small_engine(setup, parameters, progress)

    setup = Setup()
    runner = Runner(broken, setup, Parameters())
    window = MainWindow(runner, setup, Parameters(), Preferences())
    window.start()
    desk = desk_of(window, runner)
    try:
        desk.wait(lambda: "start.xyz, line 3: this is not a structure." in window.notices.texts())
        assert desk.state() is RunState.FAILED
        desk.wait(window.panel.restart.isEnabled)  # to try again
        window.controller.restart(seed=2)
        desk.wait(lambda: desk.state() is RunState.RUNNING)
    finally:
        window.close()


def test_notices_go_away_by_a_click_and_never_pile_up(open_window):
    desk = open_window(paused=True)
    notices = desk.window.notices
    for i in range(5):
        notices.show_notice(Level.ERROR, f"fault {i}")
    notices.show_notice(Level.ERROR, "fault 4")
    assert notices.texts() == ["fault 2", "fault 3", "fault 4"]
    for _ in range(3):
        notices.dismiss(notices._notices[0])
    assert not notices.isVisible()


def test_notices_do_not_make_the_window_grow(open_window):
    desk = open_window(paused=True, size=(1280, 720))
    desk.window.fitting.dock.raise_()
    for number in range(3):
        desk.window.tell(Level.WARNING, f"Notice {number}: " + "a force is in doubt, for a long reason; " * 5)
    desk.wait(lambda: len(desk.window.notices.texts()) == 3)
    desk.qtbot.wait(200)
    assert desk.window.height() == 720
    words = [label for label in desk.window.notices.findChildren(QLabel) if label.text().startswith("Notice")]
    assert all(label.height() >= label.heightForWidth(label.width()) for label in words)


def test_plots_follow_the_run(open_window):
    desk = open_window()
    temperature = desk.window.plots.temperature
    desk.wait(lambda: len(temperature.drawn("temperature")[0]) > 3)
    _, target = temperature.drawn("target")
    assert target[-1] == 300.0
    _, mean = temperature.drawn("temperature, 0.5 ps mean")
    assert mean[-1] == pytest.approx(290.0)
    assert list(desk.window.plots.free.curves()) == []  # this engine knows no losses of the species
    desk.window._plots_dock.hide()
    assert not desk.window.plots.wanted(math.nan)


def test_axes_stand_still_until_the_curve_leaves_them():
    first = time_range((0.0, 0.05), 0.0, 1.0)
    assert first[1] > 1.0
    assert time_range(first, 0.0, 1.1) == first
    longer = time_range(first, 0.0, 2.0)
    assert longer[1] >= 2.0
    assert time_range(longer, 0.0, 0.02)[1] < 0.1  # after a reset
    values = value_range((0.0, 0.0), 280.0, 320.0)
    assert values[0] < 280.0
    assert values[1] > 320.0
    assert value_range(values, 279.0, 321.0) == values
    assert value_range(values, 200.0, 321.0)[0] < 200.0
    assert value_range(values, 299.0, 301.0)[1] < 302.0
    low, high = value_range((0.0, 0.0), 5.0, 5.0)
    assert low < 5.0 < high


def test_without_a_conserved_quantity_the_heat_is_shown(open_window, small_engine):
    desk = open_window(engine=lambda *arguments: small_engine(*arguments, conserved=False))
    desk.wait(lambda: "heat to thermostat" in desk.window.plots.free.curves())
    assert "conserved" not in desk.window.plots.energy._legend.text()


def test_recording_is_finished_when_the_window_closes(open_window, home):
    desk = open_window()
    path = home / "run.h5md"
    desk.wait(desk.moved)
    desk.window.controller.start_recording(path, 5)
    desk.wait(lambda: "run.h5md" in desk.window.status_bar.text("recording"))
    desk.wait(lambda: desk.runner.status().recording.frames_written > 3)
    began = time.monotonic()
    desk.window.close()
    assert time.monotonic() - began < 5
    assert desk.state() is RunState.CLOSED
    with read_h5md(path) as trajectory:
        assert len(trajectory) > 3


def test_ctrl_r_asks_where_and_then_stops(open_window, home):
    desk = open_window()
    desk.wait(desk.moved)
    desk.key(Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    dialog = QApplication.activeModalWidget()
    dialog.output.edit.setText(str(home / "nowhere" / "a.h5md"))
    assert not dialog.accept_button.isEnabled()
    dialog.output.edit.setText(str(home / "a.h5md"))
    assert dialog.accept_button.isEnabled()
    dialog.accept()
    desk.wait(lambda: desk.runner.status().recording is not None)
    desk.wait(lambda: desk.window.actions_["record"].text() == "Stop recording")
    desk.window.actions_["record"].trigger()
    desk.wait(lambda: desk.runner.status().recording is None)
    assert (home / "a.h5md").is_file()


def test_a_picture_is_saved_at_the_size_asked_for(open_window, home, pixels):
    from PySide6.QtGui import QImage

    desk = open_window(paused=True)
    desk.window.save_picture(home / "p.png", 640, 400)
    image = QImage(str(home / "p.png"))
    assert (image.width(), image.height()) == (640, 400)
    desk.window.save_picture(home / "nowhere" / "p.png", 64, 64)
    assert any("could not be written" in text for text in desk.window.notices.texts())


def test_a_colouring_is_tried_while_the_mouse_is_over_it_and_kept_when_chosen(open_window, pixels):
    desk = open_window(paused=True)
    window, choice = desk.window, desk.window.view_panel.colouring
    desk.wait(lambda: window.controller.frame is not None)

    def still() -> bool:
        seen = pixels(window.viewport.widget)
        desk.qtbot.wait(150)
        return np.array_equal(pixels(window.viewport.widget), seen)

    desk.wait(still)
    by_element = pixels(window.viewport.widget)
    choice.highlighted.emit(choice.findData(Colouring.LOSS))
    assert not np.array_equal(pixels(window.viewport.widget), by_element)
    choice.hidePopup()  # left without a choice
    assert np.array_equal(pixels(window.viewport.widget), by_element)
    choice.setCurrentIndex(choice.findData(Colouring.LOSS))
    choice.activated.emit(choice.currentIndex())
    choice.hidePopup()
    assert not np.array_equal(pixels(window.viewport.widget), by_element)


def test_the_range_of_a_colour_scale_is_fixed_at_what_is_shown_and_can_be_set(open_window):
    desk = open_window(paused=True)
    window, panel = desk.window, desk.window.view_panel
    desk.wait(lambda: window.controller.frame is not None)
    assert not panel.range.isEnabled()  # elements have no scale
    window.set_colouring(Colouring.LOSS)
    desk.wait(lambda: window.viewport.shown_range() is not None)
    low, high = window.viewport.shown_range()
    panel.range.setCurrentIndex(panel.range.findData(True))
    panel.range.activated.emit(panel.range.currentIndex())
    fixed = window.viewport.scale(Colouring.LOSS).fixed
    assert fixed == pytest.approx((low, high), abs=0.1 * (high - low))
    panel.high.asked.emit(0.0)
    panel.low.setValue(fixed[1] + 1.0)  # the ends in the wrong order: said, and not done
    assert any("lower to a higher" in text for text in window.notices.texts())
    assert window.viewport.scale(Colouring.LOSS).fixed == fixed


def test_layout_and_looks_are_remembered(open_window, home):
    desk = open_window(paused=True)
    desk.window._plots_dock.hide()
    desk.window.set_theme(Theme.LIGHT)
    desk.window.set_colouring(Colouring.LOSS)
    desk.window.set_scale(Scale(ColourMap.MAGMA, (-0.5, 1.5), backwards=True))
    desk.window.set_images((3, 3, 1))
    desk.window.actions_["bonds"].setChecked(False)
    desk.window.close()
    again = open_window(paused=True).window
    assert again.viewport.scale(Colouring.LOSS) == Scale(ColourMap.MAGMA, (-0.5, 1.5), backwards=True)
    assert again.viewport.scale(Colouring.SPEED) == Scale()
    assert again.view_panel.images.currentData() == again.viewport.images == (3, 3, 1)
    assert again.view_panel.high.value() == 1.5
    assert not again._plots_dock.isVisible()
    assert again.theme is Theme.LIGHT
    assert again.view_panel.colouring.currentData() is Colouring.LOSS
    assert not again.actions_["bonds"].isChecked()
    again.actions_["restore_layout"].trigger()
    assert again._plots_dock.isVisible()


def test_broken_settings_do_not_stop_the_start(open_window, home):
    path = home / "window.ini"
    path.write_bytes(
        b"[General]\ntheme=purple\ncolouring=@Invalid()\nbonds=perhaps\nlayout=@ByteArray(nonsense)\n"
        b'view="{\\"scales\\": 7, \\"images\\": [9]}"\nplots=[1]\n'
        b"geometry=@ByteArray(\\x1\\xd9)\nfolder=/no/such/place\nstyle=@Variant(\\0\\0\\0\\x7f\n\xff\xfe[[["
    )
    desk = open_window(paused=True)
    assert desk.window.isVisible()
    assert desk.window.theme is Theme.DARK
    assert desk.window._panel_dock.isVisible()


def test_settings_of_a_test_stay_in_its_home(open_window, home):
    desk = open_window(paused=True)
    desk.window.close()
    assert str(home) in QSettings(str(home / "window.ini"), QSettings.Format.IniFormat).fileName()
    assert (home / "window.ini").is_file()


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080)])
def test_nothing_is_clipped(open_window, size, monkeypatch):
    words = "Liquid water near room temperature: stable and accurate.<br>CP2K C-NNP (2020), surrogate of revPBE0-D3"
    card = ModelCard(f"Shared loss · quadratic · ranks 0–2 · cutoff 5 Å<br>Held-out error<br>{words}", "")
    monkeypatch.setattr("mldsim.gui.panels.parameters.model_card", lambda *_: card)
    desk = open_window(paused=True, size=size)
    desk.qtbot.wait(50)
    window = desk.window
    assert window.width() <= size[0]
    for label in window.panel.findChildren(QLabel):
        if label.isVisible() and not label.wordWrap():
            assert label.sizeHint().width() <= label.width(), label.text()
    for row in (*window.panel.rows.values(), *window.panel.restart_rows.values()):
        needed = row.box.fontMetrics().horizontalAdvance(row.box.text()) + 12
        assert needed <= row.box.width(), row.box.text()
    assert window.panel.card.height() >= window.panel.card.heightForWidth(window.panel.card.width())
    assert not window.panel.verticalScrollBar().isVisible()
    assert window.viewport.widget.width() >= size[0] // 2


def test_no_panel_at_the_side_is_wider_than_its_dock(open_window):
    """With all that they can hold: a fixed range in the longest unit, a dihedral and its agents."""
    desk = open_window(paused=True, size=(1280, 720))
    window = desk.window
    desk.wait(lambda: window.controller.frame is not None)
    window.picks.pick((4, 3, 5, 6))
    for colouring in (Colouring.LOSS, Colouring.GRADIENT, Colouring.SPEED, Colouring.DOUBT):
        window.set_colouring(colouring)
        window.set_scale(Scale(ColourMap.MAGMA, (-1234.5, 1234.5)))
        for dock, panel in (
            (window._panel_dock, window.panel),
            (window._view_dock, window.view_panel),
            (window._agents_dock, window.agents_panel),
        ):
            dock.raise_()
            desk.qtbot.wait(50)
            assert panel.isVisible()
            assert panel.widget().width() <= panel.viewport().width(), dock.windowTitle()
        for box in (window.view_panel.low, window.view_panel.high):
            needed = box.fontMetrics().horizontalAdvance(box.text()) + 12
            assert needed <= box.width(), box.text()


def test_both_themes_can_be_read():
    for colours in theme.COLOURS.values():
        for foreground in (colours.text, colours.dim, colours.accent, colours.error, colours.warning):
            assert _contrast(foreground, colours.panel) >= 4.5, foreground
        assert _contrast(colours.on_accent, colours.accent) >= 4.5


def _contrast(a, b):
    """Ratio of relative luminances, WCAG 2.1."""

    def luminance(code):
        parts = np.array([int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    bright, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


# --- run_window ---


def test_quit_after_and_screenshot(qapp, home, pixels, small_engine):
    from PySide6.QtGui import QImage

    shot = home / "shot.png"
    began = time.monotonic()
    code = run_window(
        Setup(), Parameters(), quit_after=1.5, screenshot=shot, engine_factory=small_engine, settings=home / "w.ini"
    )
    assert code == 0
    assert time.monotonic() - began < 10
    image = pixels(QImage(str(shot)))[..., :3].astype(int)
    red = (image[..., 0] > 130) & (image[..., 1] < 90) & (image[..., 2] < 90)
    assert red.sum() > 300


def test_screenshot_without_quit_is_taken_once_water_has_moved(qapp, home, monkeypatch, small_engine):
    shot = home / "shot.png"
    from PySide6.QtCore import QTimer

    watch = QTimer()
    watch.setInterval(50)

    def look():
        if shot.exists():
            for window in QApplication.topLevelWidgets():
                if isinstance(window, MainWindow):
                    window.close()

    watch.timeout.connect(look)
    watch.start()
    code = run_window(Setup(), Parameters(), screenshot=shot, engine_factory=small_engine, settings=home / "w.ini")
    watch.stop()
    assert code == 0
    assert shot.stat().st_size > 5000


def test_a_screenshot_that_cannot_be_written_is_refused_at_once(home, small_engine):
    with pytest.raises(InputError, match="cannot be written there"):
        run_window(Setup(), Parameters(), screenshot=home / "no" / "a.png", engine_factory=small_engine)
    (home / "old.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="not overwritten"):
        run_window(Setup(), Parameters(), screenshot=home / "old.png", engine_factory=small_engine)
    assert (home / "old.png").read_bytes() == b"mine"


@pytest.mark.parametrize("environment", [{"DISPLAY": ""}, {"DISPLAY": ":987"}])
def test_without_a_display_one_sentence_and_no_crash(run_python, environment):
    program = (
        "from mldsim.errors import MldsimError\n"
        "from mldsim.gui.app import run_window\n"
        "from mldsim.parameters import Parameters, Setup\n"
        "try:\n    run_window(Setup(), Parameters(), quit_after=1)\n"
        "except MldsimError as error:\n    print(error); raise SystemExit(error.exit_code)\n"
    )
    done = run_python("-c", program, QT_QPA_PLATFORM="", WAYLAND_DISPLAY="", **environment)
    assert done.returncode in (1, 2), done.stderr
    assert "display" in done.stdout
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_ctrl_c_closes_cleanly(run_python, home):
    program = (
        "import os, signal, sys, threading\n"
        "from pathlib import Path\n"
        "from mldsim.gui.app import run_window\n"
        "from mldsim.errors import InputError\n"
        "from mldsim.parameters import Parameters, Setup\n"
        "def broken(*arguments):\n"
        "    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    raise InputError('nothing to see')\n"
        "sys.exit(run_window(Setup(), Parameters(), engine_factory=broken, quit_after=30))\n"
    )
    began = time.monotonic()
    done = run_python("-c", program)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 25


def test_the_parts_of_the_window_are_as_large_as_the_settings_say(run_python):
    program = (
        "from pathlib import Path\n"
        "from PySide6.QtWidgets import QApplication\n"
        "from mldsim.errors import InputError\n"
        "from mldsim.gui.app import run_window\n"
        "from mldsim.gui.preferences import Preferences\n"
        "from mldsim.gui.settings import Settings, save_settings\n"
        "from mldsim.parameters import Parameters, Setup\n"
        "def none(*arguments):\n"
        "    raise InputError('nothing to see')\n"
        "path = Path('w.ini')\n"
        "save_settings(Preferences(path), Settings(size=150))\n"
        "run_window(Setup(), Parameters(), engine_factory=none, quit_after=0.3, settings=path)\n"
        "print(QApplication.instance().devicePixelRatio())\n"
    )
    done = run_python("-c", program)
    assert (done.returncode, done.stdout) == (0, "1.5\n"), done.stderr


def test_a_fault_becomes_one_notice_and_a_log(qapp, home, monkeypatch, small_engine):
    from PySide6.QtCore import QTimer

    from mldsim.gui.app import log_path

    seen = []

    def fail():
        raise RuntimeError("the sky fell")

    def look():
        for window in QApplication.topLevelWidgets():
            if isinstance(window, MainWindow) and window.isVisible():
                seen.extend(window.notices.texts())

    for delay in (200, 300):
        QTimer.singleShot(delay, fail)
    QTimer.singleShot(700, look)
    assert run_window(Setup(), Parameters(), quit_after=1.0, engine_factory=small_engine, settings=home / "w.ini") == 0
    assert len([text for text in seen if "the sky fell" in text]) == 1
    assert "the sky fell" in log_path().read_text(encoding="utf-8")


def test_a_window_that_was_opened_paused_runs_at_the_first_space(open_window):
    desk = open_window(paused=True)
    desk.wait(lambda: desk.state() is RunState.PAUSED)
    assert desk.runner.status().step == 0
    desk.key(Qt.Key.Key_Space)
    desk.wait(desk.moved)


def test_a_run_for_some_time_is_asked_told_and_ends(open_window):
    desk = open_window(paused=True)
    desk.wait(lambda: desk.state() is RunState.PAUSED)
    desk.key(Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    desk.wait(lambda: desk.window.findChild(RunDialog) is not None)
    dialog = desk.window.findChild(RunDialog)
    QTest.keyClicks(dialog.focusWidget(), "0.1")
    QTest.keyClick(dialog.focusWidget(), Qt.Key.Key_Return)
    desk.wait(lambda: desk.state() is RunState.PAUSED and desk.runner.status().step == 200)
    desk.wait(lambda: desk.window.status_bar.text("stretch") == "100 fs done")
    assert desk.window.status_bar.part.isVisible()
    desk.window.activateWindow()  # which a window manager does
    desk.wait(lambda: QApplication.activeWindow() is desk.window)
    desk.key(Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    desk.wait(lambda: desk.state() is RunState.PAUSED and desk.runner.status().step == 400)
    desk.key(Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    desk.wait(lambda: desk.state() is RunState.PAUSED and desk.runner.status().step == 410)


# --- trajectories ---


@pytest.fixture
def recorded(home, small_engine):
    """Trajectories of 60 frames, 5 fs apart: H5MD, and extended XYZ."""
    engine = small_engine(Setup(), Parameters(), lambda text: None)
    h5md, xyz = home / "run.h5md", home / "run.xyz"
    with H5MDWriter(h5md, engine.topology, np.full(3, engine.edge)) as one, ExtxyzWriter(xyz, engine.topology) as other:
        for _ in range(60):
            one.write(engine.frame())
            other.write(engine.frame())
            engine.step += 10
    return h5md, xyz


def shown(desk):
    frame = desk.window.controller.frame
    return None if frame is None else frame.step


@pytest.mark.parametrize("which", [0, 1])
def test_a_trajectory_is_watched_and_scrubbed_by_keys_and_the_simulation_goes_on_after_it(
    open_window, recorded, which, pixels
):
    desk = open_window()
    desk.wait(desk.moved)
    window, scrubber = desk.window, desk.window.scrubber
    assert not scrubber.isVisible()
    window.open_path(recorded[which])
    desk.wait(lambda: scrubber.isVisible() and shown(desk) == 0)
    desk.wait(lambda: desk.state() is RunState.PAUSED)
    stood = desk.runner.status().step
    for key, modifier, frame in (
        (Qt.Key.Key_Right, Qt.KeyboardModifier.NoModifier, 1),
        (Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier, 11),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier, 10),
        (Qt.Key.Key_End, Qt.KeyboardModifier.NoModifier, 59),
        (Qt.Key.Key_Left, Qt.KeyboardModifier.ShiftModifier, 49),
        (Qt.Key.Key_Home, Qt.KeyboardModifier.NoModifier, 0),
    ):
        desk.key(key, modifier, window)
        desk.wait(lambda frame=frame: shown(desk) == 10 * frame)
        desk.wait(lambda frame=frame: scrubber.track.value() == scrubber.frame.value() == frame)
    assert not window.panel.isEnabled()
    assert not window.actions_["quench"].isEnabled()
    window.picks.pick((3,))
    before = pixels(window.viewport.widget)[..., :3].astype(int)
    desk.key(Qt.Key.Key_Space, widget=window)
    desk.wait(lambda: shown(desk) > 50)
    desk.wait(lambda: (pixels(window.viewport.widget)[..., :3].astype(int) - before).any())
    desk.wait(lambda: shown(desk) == 590 and window.actions_["run"].iconText() == "Play")
    desk.wait(lambda: len(window.controller.thermo_columns()["time"]) == 60)
    desk.key(Qt.Key.Key_W, Qt.KeyboardModifier.ControlModifier, window)
    desk.wait(lambda: not scrubber.isVisible() and desk.state() is RunState.RUNNING)
    desk.wait(lambda: desk.runner.status().step > stood and shown(desk) > stood)
    assert window.panel.isEnabled()
    assert window.picks.picked == (3,)


def test_the_slider_goes_where_it_is_pressed_and_a_number_can_be_typed(open_window, recorded):
    desk = open_window(paused=True)
    scrubber = desk.window.scrubber
    desk.window.open_path(recorded[0])
    desk.wait(lambda: scrubber.isVisible() and shown(desk) == 0)
    track = scrubber.track
    QTest.mouseClick(track, Qt.MouseButton.LeftButton, pos=QPoint(track.width() // 2, track.height() // 2))
    desk.wait(lambda: 280 <= shown(desk) <= 310)
    scrubber.frame.setFocus()
    scrubber.frame.selectAll()
    QTest.keyClicks(scrubber.frame, "42")
    QTest.keyClick(scrubber.frame, Qt.Key.Key_Return)
    desk.wait(lambda: shown(desk) == 420)
    assert scrubber.count.text() == "/ 59"
    assert scrubber.time.text() == "210.0 fs"
    desk.window.actions_["loop"].setChecked(True)
    desk.window.controller.set_pace(None)
    desk.key(Qt.Key.Key_End, widget=desk.window)
    desk.wait(lambda: shown(desk) == 590)
    desk.key(Qt.Key.Key_Space, widget=desk.window)
    desk.wait(lambda: 0 < shown(desk) < 300)  # it began anew


def test_the_analyses_are_those_of_the_whole_file(open_window, recorded):
    desk = open_window(paused=True, size=(1280, 720))
    instruments = desk.window.instruments
    instruments.docks[0].raise_()
    desk.window.open_path(recorded[0])
    desk.qtbot.waitUntil(
        lambda: instruments.analyses.chosen is not None and instruments._averager.findings().part == 1.0, timeout=60000
    )
    assert instruments._averager.findings().averaged == pytest.approx(295.0)
    assert instruments._averager.findings().frames == 15  # every 20 fs
    desk.window.controller.back()
    desk.wait(lambda: instruments._averager is instruments.analyst)


def test_a_simulation_goes_on_from_the_frame_that_is_shown(open_window, recorded, small_engine):
    setups = []

    def engine(setup, parameters, progress):
        setups.append(setup)
        return small_engine(setup, parameters, progress)

    desk = open_window(engine=engine)
    desk.window.open_path(recorded[1])
    desk.wait(lambda: shown(desk) == 0 and desk.window.scrubber.isVisible())
    desk.window.controller.seek(17)
    desk.wait(lambda: shown(desk) == 170)
    desk.key(Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier, desk.window)
    desk.wait(lambda: len(setups) == 2)
    assert (setups[1].start, setups[1].start_frame) == (recorded[1], 17)
    desk.wait(lambda: desk.state() is RunState.RUNNING and not desk.window.scrubber.isVisible())


def test_one_can_look_back_and_go_on_from_there(open_window):
    desk = open_window()
    desk.wait(lambda: desk.runner.status().step > 300)
    desk.key(Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier, desk.window)
    desk.wait(desk.window.scrubber.isVisible)
    stood = desk.runner.status().step
    desk.window.controller.seek(5)
    desk.wait(lambda: shown(desk) == 50)
    desk.key(Qt.Key.Key_Space, widget=desk.window)
    desk.key(Qt.Key.Key_Space, widget=desk.window)
    desk.window.controller.seek(5)
    desk.wait(lambda: shown(desk) == 50)
    desk.window.actions_["go_on"].trigger()
    desk.wait(lambda: not desk.window.scrubber.isVisible() and desk.state() is RunState.RUNNING)
    assert desk.runner.thermo.columns()["time"][0] == 0.0
    assert desk.runner.status().step >= 50
    assert stood > 300


def test_a_file_that_cannot_be_opened_is_one_sentence_and_nothing_changes(open_window, recorded, home):
    desk = open_window()
    desk.wait(desk.moved)
    nothing = home / "notes.txt"
    nothing.write_text("buy milk\n")
    broken = home / "broken.h5md"
    broken.write_bytes(recorded[0].read_bytes()[:3000])
    for path, told in ((nothing, "neither"), (home / "no.xyz", "does not exist"), (broken, "damaged")):
        desk.window.open_path(path)
        desk.wait(lambda told=told: any(told in text for text in desk.window.notices.texts()))
        desk.wait(lambda: not desk.window.controller.playing)
    desk.wait(lambda: desk.state() is RunState.RUNNING)
    assert not desk.window.scrubber.isVisible()


def test_what_is_opened_is_known_by_its_content(open_window, recorded, home, repository):
    desk = open_window(paused=True)
    asked = []
    desk.window.controller.load_model = asked.append
    desk.window.controller.restart = lambda **changes: asked.append(changes)
    model, one = home / "m", home / "one.xyz"
    model.write_bytes((repository / "assets" / "models" / "water-fast.json").read_bytes())
    one.write_text("".join(recorded[1].read_text().splitlines(keepends=True)[: 81 + 2]))
    desk.window.open_path(model)
    desk.window.open_path(one)
    assert asked == [model, {"start": one, "start_frame": -1}]


def test_the_file_that_is_being_recorded_is_not_watched(open_window, home):
    desk = open_window()
    desk.window.controller.start_recording(home / "now.h5md", 10)
    desk.wait(lambda: desk.runner.status().recording is not None)
    desk.wait(lambda: (home / "now.h5md").exists())
    desk.window.open_path(home / "now.h5md")
    assert any("being recorded" in text for text in desk.window.notices.texts())
    assert not desk.window.controller.playing


def test_a_trajectory_cannot_be_touched(open_window, recorded):
    desk = open_window()
    desk.wait(desk.moved)
    desk.window.picks.pick((0,))
    touch = [desk.window.actions_[name].text() for name in TOUCH]
    buttons = [one for one in desk.window.agents_panel.findChildren(QPushButton) if one.text() in touch]
    assert len(buttons) == len(touch)
    assert all(button.isEnabled() for button in buttons)
    desk.window.open_path(recorded[0])
    desk.wait(desk.window.scrubber.isVisible)
    desk.wait(lambda: not any(button.isEnabled() for button in buttons))
    desk.window.actions_["back"].trigger()
    desk.wait(lambda: all(button.isEnabled() for button in buttons))


def test_a_window_closes_while_a_trajectory_plays(open_window, recorded):
    desk = open_window()
    desk.window.open_path(recorded[0])
    desk.wait(desk.window.scrubber.isVisible)
    desk.key(Qt.Key.Key_Space, widget=desk.window)
    desk.window.close()


def test_a_preset_is_taken_and_what_is_changed_is_bold_with_a_way_back(open_window):
    desk = open_window()
    panel, controller = desk.window.panel, desk.window.controller
    names = [panel.preset.itemText(i) for i in range(panel.preset.count())]
    assert names[0] == "Liquid at 300 K"
    assert names[-2:] == ["Save as a preset…", "Manage presets…"]
    desk.window.presets.take("Hot water, 400 K")
    desk.wait(lambda: controller.applied.temperature == 400.0)
    row = panel.rows["temperature"]
    desk.wait(lambda: not row.undo.isEnabled())
    assert not row.box.property("changed")
    controller.change(temperature=350.0, thermostat=ThermostatKind.CSVR)
    desk.wait(lambda: row.undo.isEnabled())
    assert row.box.property("changed")
    assert "400 K in the preset ‘Hot water, 400 K’" in row.box.toolTip()
    assert panel.thermostat.property("changed")
    assert "Nosé–Hoover" in panel._back["thermostat"].toolTip()
    panel._back["thermostat"].click()
    row.undo.click()
    desk.wait(lambda: controller.applied == Parameters(temperature=400.0))
    desk.window.presets.take("512 molecules")
    desk.wait(lambda: controller.setup.molecules == 512)
    assert not panel.restart_rows["molecules"].undo.isEnabled()


def test_a_preset_of_the_user_is_saved_renamed_deleted_and_brought_back(open_window, home):
    desk = open_window()
    window = desk.window
    window.controller.change(temperature=345.0)
    desk.wait(lambda: window.controller.applied.temperature == 345.0)
    window.actions_["save_preset"].trigger()
    dialog = window.findChild(NameDialog)
    assert not dialog.accept_button.isEnabled()
    dialog.edit.setText("Liquid at 300 K")
    assert not dialog.accept_button.isEnabled()
    dialog.edit.setText("Mine")
    dialog.accept_button.click()
    assert Presets(home / "presets.json").own[0].parameters.temperature == 345.0
    assert window.panel.preset.currentText() == "Mine"
    assert "Simulation › Presets › Mine" in [name for name, _ in commands_of(menus_of(window))]
    window.actions_["manage_presets"].trigger()
    dialog = window.findChild(ManageDialog)
    dialog.list.item(0).setText("Yours")
    assert [preset.name for preset in Presets(home / "presets.json").own] == ["Yours"]
    dialog.delete.click()
    assert Presets(home / "presets.json").own == ()
    dialog.undo.click()
    assert [preset.name for preset in Presets(home / "presets.json").own] == ["Yours"]
    dialog.close()


def menus_of(window):
    return [action.menu() for action in window.menuBar().actions()]


def test_a_schedule_is_edited_started_and_stopped(open_window):
    desk = open_window()
    window, controller = desk.window, desk.window.controller
    window.actions_["schedule"].trigger()
    dialog = window.findChild(ScheduleDialog)
    dialog.legs[0][0].setValue(450.0)
    dialog.add.click()
    dialog.repeats.setChecked(True)
    dialog.legs[1][2].findChild(QAbstractButton).click()
    assert str(dialog.schedule(0.0)) == "450K:10ps 300K:10ps, again and again"
    dialog.accept()
    desk.wait(lambda: controller.applied.schedule is not None)
    assert controller.applied.temperature == 300.0
    desk.wait(lambda: window.panel.schedule.words.startswith("450K:10ps"))
    desk.wait(lambda: window.panel.rows["temperature"].value > 300.0)
    window.panel.schedule.click()
    dialog = window.findChildren(ScheduleDialog)[-1]
    button = next(one for one in dialog.findChildren(QAbstractButton) if one.text() == "Stop it here")
    button.click()
    desk.wait(lambda: controller.applied.schedule is None)
    assert controller.applied.temperature > 300.0


def test_preferences_are_kept_and_can_be_the_defaults_again(open_window, home):
    desk = open_window()
    window = desk.window
    window.actions_["preferences"].trigger()
    dialog = window.findChild(PreferencesDialog)
    dialog.fields["folder"].edit.setText(str(home / "nowhere"))
    assert not dialog.accept_button.isEnabled()
    (home / "runs").mkdir()
    dialog.fields["folder"].edit.setText(str(home / "runs"))
    dialog.fields["memory"].setValue(64)
    dialog.fields["model"].show_data("water-fast")
    dialog.look.show_data(Theme.LIGHT)
    dialog.accept_button.click()
    assert window.theme is Theme.LIGHT
    assert window.new_file("png").parent == home / "runs"
    kept = load_settings(Preferences(home / "window.ini"))
    assert kept == Settings(model="water-fast", folder=str(home / "runs"), memory=64)
    dialog = PreferencesDialog(window, kept, Theme.LIGHT, ["water"])
    dialog.defaults.click()
    assert (dialog.settings, dialog.theme) == (Settings(), Theme.DARK)


def test_settings_that_cannot_be_are_the_defaults(home):
    preferences = Preferences(home / "window.ini")
    for record in ({"threads": -1}, {"memory": "much"}, {"confirm_close": 3}):
        preferences.set_record("settings", record)
        assert load_settings(preferences) == Settings()
    preferences.set_record("settings", {"threads": 2, "unknown": 1})
    assert load_settings(preferences) == Settings(threads=2)


def test_a_settings_file_that_is_none_is_told_and_kept_aside(open_window, home):
    path = home / "window.ini"
    path.write_bytes(b"this is no settings file\n\x00\xff[\n")
    desk = open_window(settings=path)
    told = [label.text() for label in desk.window.notices.findChildren(QLabel)]
    assert any("window.ini.broken" in text for text in told)
    assert (home / "window.ini.broken").is_file()
    desk.wait(desk.moved)


def test_a_broken_file_of_presets_is_told_and_kept_aside(open_window, home):
    (home / "presets.json").write_text("{")
    desk = open_window()
    told = [label.text() for label in desk.window.notices.findChildren(QLabel)]
    assert any("presets.json.broken" in text for text in told)
    assert desk.window.panel.preset.currentText() == "Liquid at 300 K"


def test_closing_while_recording_is_asked_about_and_can_be_left(open_window, home):
    desk = open_window()
    window = desk.window
    desk.wait(desk.moved)
    window.controller.start_recording(home / "a.h5md", 10)
    desk.wait(lambda: window._recording is not None)
    window.actions_["quit"].trigger()
    question = window.findChild(QMessageBox)
    assert "a.h5md" in question.text()
    question.reject()
    assert window.isVisible()
    window.actions_["quit"].trigger()
    button = next(one for one in window.findChildren(QAbstractButton) if one.text() == "Finish and close")
    button.click()
    desk.wait(lambda: not window.isVisible())
    with read_h5md(home / "a.h5md") as trajectory:
        assert len(trajectory) >= 1


def test_what_is_told_of_versions_can_be_copied(open_window):
    desk = open_window()
    dialog = AboutDialog(desk.window)
    button = next(one for one in dialog.findChildren(QAbstractButton) if one.text() == "Copy versions")
    button.click()
    copied = QApplication.clipboard().text()
    assert copied.startswith("mldsim ")
    assert "arXiv:2504.10560" in copied
    assert "numba" in copied


def test_a_movie_of_a_trajectory_has_every_frame_and_stops_whole(open_window, recorded, home):
    from PIL import Image

    desk = open_window(paused=True)
    desk.window.open_path(recorded[0])
    desk.wait(lambda: shown(desk) == 0 and desk.window.scrubber.isVisible())
    desk.window.make_movie(home / "water.gif", range(0, 60, 20), 64, 48, 10)
    desk.wait(lambda: any("3 pictures" in text for text in desk.window.notices.texts()))
    with Image.open(home / "water.gif") as movie:
        assert (movie.n_frames, movie.size) == (3, (64, 48))
    desk.wait(lambda: not desk.window.findChildren(QProgressDialog))
    desk.window.make_movie(home / "stopped.gif", range(60), 64, 48, 10)
    progress = desk.window.findChild(QProgressDialog)
    desk.wait(lambda: progress.value() >= 2)
    progress.cancel()
    desk.wait(lambda: any("stopped.gif" in text for text in desk.window.notices.texts()))
    with Image.open(home / "stopped.gif") as movie:
        assert 2 <= movie.n_frames < 60
    desk.window.make_movie(home / "water.avi", range(3), 64, 48, 10)
    assert any("ends in .mp4 or .gif" in text for text in desk.window.notices.texts())
    desk.window.controller.step()
    desk.wait(lambda: shown(desk) == 10)


def test_a_movie_of_the_view_is_recorded_while_it_runs_and_stops_whole(open_window, home):
    from PIL import Image

    desk = open_window()
    desk.wait(desk.moved)
    window = desk.window
    window.actions_["movie"].trigger()
    dialog = QApplication.activeModalWidget()
    dialog.output.edit.setText(str(home / "live.gif"))
    dialog._size.setItemData(0, (64, 48))
    dialog._rate.setCurrentIndex(dialog._rate.findData(10))
    begun = time.monotonic()
    dialog.accept()
    desk.wait(lambda: window.status_bar.movie.isVisible() and window.status_bar.movie.text()[6:] >= "0.6 s")
    assert window.actions_["movie"].text() == "Stop the movie"
    window.viewport.orbit(40.0, 0.0)
    step = desk.runner.status().step
    desk.wait(lambda: window.status_bar.movie.text()[6:] >= "1.2 s")
    desk.wait(lambda: desk.runner.status().step > step)
    window.actions_["movie"].trigger()
    desk.wait(lambda: any("live.gif" in text for text in window.notices.texts()))
    lasted = time.monotonic() - begun
    assert window.actions_["movie"].text() == "Make movie…"
    assert not window.status_bar.movie.isVisible()
    with Image.open(home / "live.gif") as movie:
        assert movie.size == (64, 48)
        assert 0 < sum(_durations(movie)) <= 1e3 * lasted + 200


def test_a_window_that_closes_finishes_its_movie(open_window, home):
    from PIL import Image

    desk = open_window()
    desk.wait(desk.moved)
    desk.window.record_movie(home / "live.gif", 64, 48, 10)
    desk.wait(lambda: desk.window.status_bar.movie.text() not in ("", "Movie 0.0 s"))
    desk.window.close()
    with Image.open(home / "live.gif") as movie:
        assert movie.n_frames >= 1
    assert not list(home.glob(".*.part"))


def _durations(movie) -> list[float]:
    """Of every picture, ms."""
    found = []
    for number in range(movie.n_frames):
        movie.seek(number)
        found.append(movie.info["duration"])
    return found


def test_every_control_says_what_it_is_and_what_it_does(open_window):
    """A tooltip, a name for screen readers and, of what can be typed or chosen, a place in the tab order."""
    desk = open_window(paused=True, size=(1280, 720))
    kinds = (QAbstractButton, QComboBox, QAbstractSpinBox, QSlider, QAbstractItemView)
    silent, nameless, unreachable = [], [], []
    for kind in kinds:
        for control in desk.window.findChildren(kind):
            name = control.accessibleName() or (control.text() if isinstance(control, QAbstractButton) else "")
            told = f"{type(control).__name__} '{control.objectName() or name}' in {type(control.parent()).__name__}"
            if any(part in told for part in PARTS_OF_QT) or _is_part(control):
                continue
            if not control.toolTip():
                silent.append(told)
            if not name:
                nameless.append(told)
            by_keys = isinstance(control, QAbstractButton) or name == "Frame"  # its number beside it, and keys
            if not by_keys and not control.focusPolicy() & Qt.FocusPolicy.TabFocus:
                unreachable.append(told)
    assert not silent, "\n".join(silent)
    assert not nameless, "\n".join(nameless)
    assert not unreachable, "\n".join(unreachable)


def test_tab_goes_down_each_dock_and_on_to_the_right(open_window):
    """As one reads: from one control to the next it is never back, neither up nor to the left in the same row."""
    desk = open_window(paused=True, size=(1600, 1200))
    seen, back = 0, []
    for dock in desk.window.findChildren(QDockWidget):
        dock.show()
        dock.raise_()
        panel, last = dock.widget(), None
        desk.wait(partial(is_seen, panel))
        control = panel.nextInFocusChain()
        while control is not panel:
            takes_tab = control.focusPolicy() & Qt.FocusPolicy.TabFocus and control.focusProxy() is None
            if panel.isAncestorOf(control) and control.isVisible() and takes_tab:
                seen += 1
                place = control.mapTo(panel, control.rect().center())
                left = control.mapTo(panel, QPoint(0, 0)).x()
                if last is not None and place.y() <= last[1] + 8 and left < last[0]:
                    back.append(f"{dock.windowTitle()}: {control.accessibleName() or type(control).__name__}")
                last = (left, place.y())
            control = control.nextInFocusChain()
    assert seen > 60
    assert not back, "\n".join(back)


PARTS_OF_QT = ("qt_dockwidget", "qt_spinbox", "ScrollLeftButton", "ScrollRightButton", "qt_toolbar_ext", "qt_menubar")


def _is_part(control) -> bool:
    """Whether it is a piece that Qt itself has put into a list or a bar of tabs."""
    above = control.parent()
    return isinstance(above, QComboBox | QTabBar) or isinstance(above.parent(), QComboBox)
