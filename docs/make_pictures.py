"""Makes the pictures of the user guide from the real window, so that they never go stale.

Run it on a display, or under ``xvfb-run -s "-screen 0 1600x1000x24"``:

    python docs/make_pictures.py [NAME ...]

Each picture is a function that brings a window into the state to be shown; names are those of the files in
docs/images/guide/. Trajectories are chaotic, so that molecules stand elsewhere each time; nothing else changes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QDialog, QWidget

from mldsim.edits import LossEdit
from mldsim.gui.app import _build_simulation
from mldsim.gui.dialogs.save import MovieDialog
from mldsim.gui.exports import save_image
from mldsim.gui.garbage import Collector
from mldsim.gui.main_window import MainWindow
from mldsim.gui.panels.loss import Kind
from mldsim.gui.preferences import Preferences
from mldsim.gui.theme import Theme
from mldsim.gui.viewport import Colouring
from mldsim.gui.viewport.scales import ColourMap, Scale
from mldsim.messages import DoubtSettings
from mldsim.parameters import Parameters, Setup, ThermostatKind
from mldsim.runner import Runner
from mldsim.schedules import Leg, Schedule

FOLDER = Path(__file__).parent / "images" / "guide"
SIZE = (1280, 800)

Scene = Callable[[MainWindow], None]


def wait(seconds: float, until: Callable[[], bool] = lambda: False) -> None:
    """Let the window live for a while, or until something is so."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.004)


def view(window: MainWindow) -> None:
    """Gradient as colour in a range that is fixed, hydrogen bonds, the panel of the view."""
    window._view_dock.raise_()
    window.set_colouring(Colouring.GRADIENT)
    window.set_scale(Scale(ColourMap.MAGMA, (0.0, 3.0), backwards=True))
    window.actions_["hydrogen_bonds"].setChecked(True)
    wait(2.0)


def picking(window: MainWindow) -> None:
    """An agent, its loss taken apart, an angle, and two plots over time."""
    window.picks.pick((3,))
    window.agents_panel.plot_asked.emit(window.agents_panel._readings[0])
    window.picks.pick((4, 3, 5))
    window.agents_panel.plot_asked.emit(window.agents_panel._figure)
    window._agents_dock.raise_()
    window.viewport.focus()
    wait(90.0, lambda: len(window.tracks.columns(window.tracks.titles()[0])[0]) > 30)


def touch(window: MainWindow) -> None:
    """A molecule that is pulled out of its hydrogen bonds, by a spring whose force is shown."""
    window.actions_["hydrogen_bonds"].setChecked(True)
    window.picks.pick((30,))
    window._agents_dock.raise_()
    wait(1.0)
    assert window.controller.frame is not None
    place = window.controller.frame.positions[30]
    window.controller.pull(30, place + 2.5 * window.viewport.camera.rotation()[0])
    begun = window.controller.frame.time
    wait(60.0, lambda: window.controller.frame is not None and window.controller.frame.time > begun + 60.0)


def plots(window: MainWindow) -> None:
    """A line at 320 K, energies read off at the cross-hair, the losses of both species."""
    window.plots.temperature.set_lines((320.0,))
    wait(240.0, lambda: window.controller.frame is not None and window.controller.frame.time > 4000.0)
    window.plots.free.freeze(on=True)
    window.plots.energy._point_at(2.0, 2.0)


def analyses(window: MainWindow) -> None:
    """g(r) of oxygen beside the reference, with the bands of both errors."""
    window.instruments.docks[0].raise_()
    window.controller.change(steps_per_frame=50)
    wait(300.0, lambda: window.instruments.analyst.findings().averaged > 6000.0)
    wait(1.0)


def doubt(window: MainWindow) -> None:
    """Hot water: doubt as colour and over time, with its warnings."""
    window.instruments.docks[1].raise_()
    window.instruments.doubt.watch_like(DoubtSettings(interval=50.0))
    window.set_colouring(Colouring.DOUBT)
    window.controller.change(temperature=700.0, coupling_time=20.0, steps_per_frame=20)
    wait(240.0, lambda: len(window.instruments.doubt.plot.drawn("largest")[0]) > 25)


def loss(window: MainWindow) -> None:
    """Pair curves of oxygen's loss where the run is, scaled and without its cubic part, beside those as fitted."""
    window.instruments.docks[2].raise_()
    wait(120.0, lambda: window.instruments.loss.page.count() > 0)
    window.instruments.loss.choose(Kind.PAIRS, 0)
    window.controller.change(loss=LossEdit(("cubic",), (("O", 0.9),)))
    wait(5.0)


def fit(window: MainWindow) -> None:
    """A small loss, fitted beside the simulation: errors and parity."""
    fitting, panel = window.fitting, window.fitting.panel
    fitting.dock.raise_()
    panel.add(panel.data[0].with_name("cnnp_holdout.h5"))
    panel.list.setCurrentRow(0)
    panel.remove.click()
    panel.radial.show_value(4)
    panel.max_rank.show_value(1)
    panel.fit.click()
    wait(900.0, lambda: fitting.model is not None or fitting._job is None)
    wait(1.0)


def session(window: MainWindow) -> None:
    """Something changed from a preset, and a schedule that heats and cools."""
    controller = window.controller
    window.presets.take("Hot water, 400 K")
    controller.change(temperature=300.0, thermostat=ThermostatKind.CSVR)
    wait(2.0, lambda: controller.applied.thermostat is ThermostatKind.CSVR)
    controller.follow_schedule(Schedule((Leg(380.0, 200.0), Leg(320.0, 150.0)), repeats=True))
    begun = controller.status().time
    wait(400.0, lambda: controller.status().time > begun + 600.0)
    wait(1.0)


def replay(window: MainWindow) -> None:
    """The past of the run, one third of the way, with a picked angle."""
    window.controller.look_back()
    wait(20.0, lambda: window.controller.n_frames > 0 and window.scrubber.isVisible())
    window.controller.seek(window.controller.n_frames // 3)
    window.picks.pick((4, 3, 5))
    wait(2.0)


def movie(window: MainWindow) -> None:
    """The dialog of a movie over the past of the run."""
    replay(window)
    window.ask_movie()
    dialog = window.findChild(MovieDialog)
    assert dialog is not None
    dialog.output.edit.setText("water.mp4")  # not where this machine keeps its files


def two(window: MainWindow) -> None:
    """Shared beside own: water and water-paper from one start."""
    window.comparing.dock.raise_()
    window.controller.change(steps_per_frame=5)
    window.comparing.begin()
    measures = window.comparing._measures
    wait(400.0, lambda: len(measures.apart.columns()[0]) > 150)
    wait(1.0)


SCENES: dict[str, Scene] = {
    "view": view,
    "picking": picking,
    "touch": touch,
    "plots": plots,
    "analyses": analyses,
    "doubt": doubt,
    "loss": loss,
    "fit": fit,
    "sessions": session,
    "replay": replay,
    "movie": movie,
    "two": two,
}


def picture_of(widget: QWidget) -> QImage:
    """A dialog as it is seen."""
    return widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)


def make(name: str, scene: Scene, size: tuple[int, int] = SIZE, theme: Theme = Theme.DARK) -> Path:
    """Open a window, bring it into a state, save what is seen of it."""
    setup, parameters = Setup(), Parameters()
    with TemporaryDirectory() as home:
        runner = Runner(_build_simulation, setup, parameters)
        window = MainWindow(runner, setup, parameters, Preferences(Path(home) / "window.ini"))
        window.resize(*size)
        window.set_theme(theme)
        window.start()
        wait(120.0, lambda: window.controller.frame is not None and window.controller.frame.time > 200.0)
        scene(window)
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / f"{name}.png"
        dialog = window.findChild(QDialog)
        save_image(picture_of(dialog) if dialog is not None else window.picture_of_window(), path)
        if dialog is not None:
            dialog.reject()
        window.close()
        window.deleteLater()
        wait(0.1)
    return path


def main(names: list[str]) -> None:
    """Make the pictures of these names, or all."""
    application = QApplication([])
    Collector.of(application)
    application.setQuitOnLastWindowClosed(False)
    for name in names or list(SCENES):
        print(make(name, SCENES[name]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
