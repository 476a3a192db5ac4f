"""What may go wrong around the window costs a sentence: files that vanish, full disks, no OpenGL, an engine that
throws, parameters at their limits, and hands that press at random."""

import errno
import importlib
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel

import mldsim.assets.models
from mldsim.gui.app import _build_simulation
from mldsim.gui.panels.loss import Kind
from mldsim.gui.preferences import Preferences
from mldsim.gui.viewport import Colouring, Style
from mldsim.messages import DoubtSettings, Level, RunState
from mldsim.parameters import FIELDS, Parameters, Setup, ThermostatKind
from mldsim.session import load_session
from mldsim.trajectory.h5md import read_h5md

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]  # kernels may have to be compiled first

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODEL = Path(mldsim.assets.models.__file__).with_name("water-fast.json")


@pytest.fixture
def told(monkeypatch):
    """All sentences that windows have told, and of which kind they were."""
    from mldsim.gui.panels.notices import NoticeBar

    sentences = []
    show = NoticeBar.show_notice

    def hear(self, level, text):
        sentences.append((level, text))
        show(self, level, text)

    monkeypatch.setattr(NoticeBar, "show_notice", hear)
    return sentences


@pytest.fixture
def open_water(open_window):
    """A window with the real engine and a little water."""

    def open_it(model="water-fast", **options):
        setup = Setup(model=str(model), molecules=27)
        desk = open_window(engine=_build_simulation, setup=setup, size=(1280, 800), patience=60.0, **options)
        desk.wait(lambda: desk.window.controller.frame is not None)
        return desk

    return open_it


def full(*_):
    """What a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def heard(told, words):
    return any(words in text for _, text in told)


def goes_on(desk):
    """Whether steps are taken and shown."""
    step = desk.runner.status().step
    desk.wait(lambda: desk.runner.status().step > step + 20)
    shown = desk.window.controller.frame.step
    desk.wait(lambda: desk.window.controller.frame.step > shown)
    return True


def test_a_model_file_that_vanishes_costs_its_dissection_and_a_restart_only(open_water, home, told):
    model = home / "mine.json"
    shutil.copyfile(MODEL, model)
    desk = open_water(model)
    window = desk.window
    model.unlink()
    window.instruments.docks[2].raise_()
    window.picks.pick((3,))
    window._agents_dock.raise_()
    assert goes_on(desk)
    window.actions_["watch_doubt"].setChecked(True)
    window.actions_["reset"].trigger()
    assert goes_on(desk)
    window.controller.restart(seed=2)
    desk.wait(lambda: heard(told, "mine.json"))
    assert goes_on(desk)  # the simulation that there was
    window.controller.save_session(home / "kept.h5", "")
    desk.wait(lambda: heard(told, "The session was saved"))
    window.controller.load_model("water-fast")
    desk.wait(lambda: window.panel.model.currentData() == "water-fast")
    assert goes_on(desk)
    window.controller.open_session(home / "kept.h5")  # has its model within
    desk.wait(lambda: window.controller.setup.model not in ("water-fast", str(model)))
    assert goes_on(desk)
    assert not heard(told, "internal error")


def test_a_window_closes_in_the_midst_of_everything_and_nothing_is_lost(open_water, home, told):
    desk = open_water()
    window, runner = desk.window, desk.runner
    window.controller.change(steps_per_frame=1)
    window.instruments.doubt.watch_like(DoubtSettings(interval=20.0))
    window.controller.start_recording(home / "run.h5md", 1)
    window.comparing.begin()
    window.fitting.dock.raise_()
    window.fitting.panel.fit.click()
    desk.wait(lambda: window.fitting._job is not None)
    window.controller.save_session(home / "session.h5", "")
    desk.wait(lambda: runner.status().recording is not None and runner.status().recording.frames_written > 30)
    window.controller.export_history(home / "memory.xyz")
    window.controller.look_back()
    desk.wait(lambda: window.controller.playing)
    window.close()
    assert runner.status().run_state is RunState.CLOSED
    ends = [event.text for event in runner.events() if hasattr(event, "text")]
    recorded = next(text for text in (*ends, *(text for _, text in told)) if text.startswith("Recorded"))
    with read_h5md(home / "run.h5md") as trajectory:
        assert f"Recorded {len(trajectory)} frames" in recorded
        assert np.array_equal(np.diff(trajectory.steps), np.ones(len(trajectory) - 1))
    assert (home / "memory.xyz").stat().st_size > 0
    load_session(home / "session.h5")
    assert not multiprocessing.active_children()
    assert not list(home.rglob("*.part"))


def test_a_full_disk_ends_the_recording_and_not_the_run(open_water, home, told, monkeypatch):
    import mldsim.trajectory.hdf5_file as files

    desk = open_water()
    window = desk.window
    path = home / "run.h5md"
    window.controller.start_recording(path, 2)
    desk.wait(lambda: desk.runner.status().recording is not None)
    begun = path.stat().st_size
    desk.wait(lambda: path.stat().st_size > begun)
    monkeypatch.setattr(files, "_reserve", full)
    desk.wait(lambda: any(level is Level.ERROR and "disk is full" in text for level, text in told))
    desk.wait(lambda: window.actions_["record"].text() == "Record…")
    assert goes_on(desk)
    with read_h5md(path) as trajectory:
        assert len(trajectory) > 0
    window.controller.export_history(home / "memory.h5md")
    desk.wait(lambda: sum("disk is full" in text for _, text in told) > 1)
    monkeypatch.setattr("mldsim.files.os.fsync", full)
    window.controller.save_session(home / "session.h5", "")
    desk.wait(lambda: heard(told, "session.h5 could not be written: the disk is full"))
    assert goes_on(desk)
    assert not heard(told, "internal error")
    assert not (home / "session.h5").exists()


def test_pictures_tables_and_movies_on_a_full_disk_are_refused_in_a_sentence(open_water, home, told, monkeypatch):
    desk = open_water()
    window = desk.window
    desk.wait(lambda: desk.runner.status().memory_frames > 3)
    with monkeypatch.context() as patch:
        patch.setattr("mldsim.files.os.fsync", full)
        window.save_picture(home / "a.png", 64, 64)
        assert told[-1] == (Level.ERROR, f"{home / 'a.png'} could not be written: the disk is full.")
    window.controller.look_back()
    desk.wait(lambda: window.controller.n_frames > 2)
    monkeypatch.setattr("mldsim.movies._Gif.add", full)
    window.make_movie(home / "a.gif", range(2), 64, 64, 25)
    desk.wait(lambda: heard(told, "a.gif could not be written"))
    assert not list(home.glob("*.gif"))
    assert not list(home.glob("*.png"))
    assert not list(home.glob(".*.part"))
    window.controller.back()
    assert goes_on(desk)


def test_without_opengl_the_view_says_so_and_everything_else_works(open_water, home, told, monkeypatch):
    why = "The 3-D view needs OpenGL, which this display does not offer; everything else works."
    monkeypatch.setattr("mldsim.gui.viewport.widget.unusable_reason", lambda: why)
    desk = open_water()
    window = desk.window
    label = next(label for label in window.viewport.widget.findChildren(QLabel) if label.text() == why)
    assert label.isVisible()
    assert goes_on(desk)
    desk.wait(lambda: len(window.plots.temperature.curves()) > 0)
    for colouring in Colouring:
        window.set_colouring(colouring)
    for style in Style:
        window.set_style(style)
    window.set_images((3, 3, 3))
    window.agents_panel.found.emit(3)
    desk.wait(lambda: window.agents_panel.title.text() == "O 3")
    for name in ("focus", "axis_x", "view_reset", "kick", "heat", "take_back", "hydrogen_bonds", "fog"):
        window.actions_[name].trigger()
    window.comparing.begin()
    desk.wait(lambda: window.controller.frame.beside is not None)
    desk.wait(lambda: window.comparing.view is not None)
    window.comparing.end()
    window.save_picture(home / "a.png", 200, 100)
    assert heard(told, "no OpenGL")
    desk.wait(lambda: desk.runner.status().memory_frames > 3)
    window.controller.look_back()
    desk.wait(lambda: window.controller.n_frames > 2)
    window.make_movie(home / "a.gif", range(2), 64, 64, 25)
    desk.wait(lambda: sum("no OpenGL" in text for _, text in told) > 1)
    assert not list(home.glob("*.gif"))
    window.controller.back()
    assert goes_on(desk)


@pytest.mark.parametrize("what", ["folder", "read-only", "bytes"])
def test_settings_that_cannot_be_read_or_kept_stop_nothing(open_window, home, what):
    path = home / "kept" / "window.ini"
    path.parent.mkdir()
    match what:
        case "folder":
            path.mkdir()
        case "read-only":
            path.write_text("[General]\ntheme=light\n", encoding="utf-8")
            path.chmod(0o444)
            path.parent.chmod(0o555)
        case _:
            path.write_bytes(bytes(range(256)) * 40)
    try:
        desk = open_window(settings=path)
        desk.wait(desk.moved)
        desk.window.set_style(Style.STICKS)
        assert desk.window.close()
        assert isinstance(Preferences(path).trouble, str)
    finally:
        path.parent.chmod(0o755)


@pytest.mark.parametrize("method", ["advance", "frame", "set_parameters", "quench", "new_velocities", "reset"])
def test_an_engine_that_throws_costs_a_sentence_and_can_be_started_anew(open_window, small_engine, told, method):
    throwing = [False]

    def fail(self, *arguments):
        if throwing[0]:
            raise RuntimeError("the sky fell")
        return getattr(small_engine, method)(self, *arguments)

    engine = type("Throwing", (small_engine,), {method: fail})
    desk = open_window(engine=engine)
    desk.wait(desk.moved)
    throwing[0] = True
    window = desk.window
    match method:
        case "set_parameters":
            window.controller.change(temperature=310.0)
        case "quench" | "new_velocities" | "reset":
            window.actions_["velocities" if method == "new_velocities" else method].trigger()
    desk.wait(lambda: heard(told, "the sky fell"))
    desk.wait(lambda: desk.state() is RunState.PAUSED)
    desk.wait(lambda: window.actions_["run"].text() == "Run")
    assert window.viewport.usable
    throwing[0] = False
    window.controller.restart(seed=2)
    desk.wait(lambda: window.controller.setup.seed == 2)
    window.actions_["run"].trigger()
    assert goes_on(desk)
    assert len(told) < 10


@pytest.mark.slow
def test_every_parameter_can_be_driven_to_its_limits(open_water, told):
    desk = open_water()
    window, panel = desk.window, desk.window.panel
    names = [name for name in FIELDS if name in Parameters.__slots__]
    for thermostat in ThermostatKind:
        window.controller.change(thermostat=thermostat)
        for name in names if thermostat is ThermostatKind.NOSE_HOOVER else ["coupling_time"]:
            field = FIELDS[name]
            for value in (field.minimum, field.maximum, field.default):
                told.clear()
                step = desk.runner.status().step
                panel.rows[name].asked.emit(value)
                desk.wait(lambda name=name, value=value: getattr(window.controller.applied, name) == value)
                desk.wait(lambda step=step: desk.runner.status().step != step or desk.state() is RunState.PAUSED)
                if desk.state() is RunState.PAUSED:  # a guard has stopped it
                    desk.wait(lambda: any(level is Level.ERROR for level, _ in told))
                    assert not heard(told, "internal error")
                    panel.rows[name].asked.emit(field.default)
                    desk.wait(lambda name=name: getattr(window.controller.applied, name) == FIELDS[name].default)
                    window.actions_["reset"].trigger()
                    window.controller.toggle_run()
                    desk.wait(lambda: desk.state() is RunState.RUNNING)
    window.actions_["reset"].trigger()
    assert goes_on(desk)
    # All at once, and a loss that is scaled to nothing or as far as it goes.
    for extreme in ("minimum", "maximum"):
        values = {name: getattr(FIELDS[name], extreme) for name in names}
        window.controller.change(**{**values, "steps_per_frame": int(values["steps_per_frame"])})
        for scale in ("O", "H"):
            window.instruments.loss.choose(Kind.PAIRS, 0)
            row = window.instruments.loss.switches.scales.get(scale)
            if row is not None:
                row.asked.emit(getattr(FIELDS["loss_scale"], extreme))
        desk.wait(lambda: window.controller.applied.timestep == values["timestep"])  # noqa: B023
        desk.qtbot.wait(200)
    assert not heard(told, "internal error")
    assert desk.state() in (RunState.RUNNING, RunState.PAUSED)


def test_a_window_that_closes_while_kernels_compile_ends_its_process_cleanly(run_python, home):
    done = run_python("-m", "mldsim", "--quit-after", "0.5", NUMBA_CACHE_DIR=str(home / "kernels"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.slow
def test_keys_and_buttons_at_random_break_nothing(qapp, home, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkey = importlib.import_module("monkey")
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    folder = home / "bananas"
    folder.mkdir()
    problems, hand = monkey.hammer(folder, seed=20, seconds=20.0)
    assert not problems, "\n".join([*problems, "the last acts:", *hand.last])
    assert hand.done.total() > 40
