"""The window: the view in the centre, panel and plots in docks, commands in menus and on the tool bar."""

from __future__ import annotations

import datetime
import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QEvent, QPoint, QSize, Qt, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QGuiApplication, QImage
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDockWidget,
    QFileDialog,
    QLabel,
    QMainWindow,
    QMenu,
    QMessageBox,
    QTabWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from mldsim.errors import InputError, MldsimError
from mldsim.gui import exports, sessions, theme
from mldsim.gui.actions import SPECS, Actions
from mldsim.gui.comparing import Comparing, Sides
from mldsim.gui.controller import FRAMES_AT_ONCE, Controller, RunnerLike, Views
from mldsim.gui.dialogs.about import AboutDialog
from mldsim.gui.dialogs.keys import KeysDialog
from mldsim.gui.dialogs.palette import Palette
from mldsim.gui.dialogs.preferences import PreferencesDialog
from mldsim.gui.dialogs.run import RunDialog
from mldsim.gui.dialogs.save import EXPORTS, LiveMovieDialog, MovieDialog, PictureDialog, RecordDialog, SaveDialog
from mldsim.gui.dialogs.schedule import ScheduleDialog
from mldsim.gui.fitting import Fitting
from mldsim.gui.instruments import Instruments
from mldsim.gui.movies import LiveMovie, MovieMaker
from mldsim.gui.opening import Opening, open_file
from mldsim.gui.panels.agents import AgentsPanel
from mldsim.gui.panels.fields import Choice
from mldsim.gui.panels.notices import NoticeBar
from mldsim.gui.panels.panel import on_screen
from mldsim.gui.panels.parameters import ParameterPanel
from mldsim.gui.panels.scrubber import Scrubber
from mldsim.gui.panels.status import StatusBar
from mldsim.gui.panels.view import COLOURING_NAMES, STYLE_NAMES, ViewPanel
from mldsim.gui.picks import Picks
from mldsim.gui.plots.thermo import ThermoPlots
from mldsim.gui.plots.tracks import TrackPlots
from mldsim.gui.preferences import LAYOUT_VERSION, Preferences
from mldsim.gui.presets import PresetDesk
from mldsim.gui.pulse import Pulse
from mldsim.gui.settings import load_settings, save_settings
from mldsim.gui.theme import Theme
from mldsim.gui.turns import Turns
from mldsim.gui.viewmodel import PACES, pace_text
from mldsim.gui.viewport import Colouring, Style, Viewport
from mldsim.gui.viewport.scales import Scale
from mldsim.loss import load_model, shipped_models
from mldsim.messages import Level, RunState, Status
from mldsim.movies import MovieFile
from mldsim.parameters import Parameters, Setup
from mldsim.presets import Presets
from mldsim.tables import write_thermo
from mldsim.trajectory.sources import Footage

T = TypeVar("T")

log = logging.getLogger(__name__)

VIEW_TOGGLES = ("bonds", "hydrogen_bonds", "box", "axes", "orthographic", "fog")
TOUCH = ("heat", "cool", "kick", "remove_molecule", "add_molecule", "take_back")
HEAT, KICK = 1.5, 0.015
"""What one heating multiplies kinetic energy by, and the velocity of a kick, angstrom/fs: 0.2 eV for water."""
CAMERA_COMMANDS = ("view_reset", "focus", "axis_x", "axis_y", "axis_z")

TRANSPORT = ("run", "step", "step_frame", "faster", "slower", "picture")
PLAYBACK = ("first", "step_back", "step_frames_back", "last", "loop", "go_on")
INTERVENTIONS = (
    "run_for", "extend", "run_on", "reset", "quench", "velocities", "export", "save_session", "look_back", "undo",
    "redo", "schedule", *TOUCH,
)  # fmt: skip
"""What makes sense of anything that moves, of a trajectory, of a simulation."""

TRAJECTORIES = "Trajectories (*.h5md *.h5 *.xyz *.extxyz);;All files (*)"
MODELS = "Loss models (*.json);;All files (*)"
STRUCTURES = "Structures (*.xyz *.extxyz *.h5 *.h5md *.hdf5 *.cif *.pdb *.gro *.data);;All files (*)"


class MainWindow(QMainWindow):
    """The window of one simulation.

    Parameters
    ----------
    runner : RunnerLike
        Not started yet; the window starts it when it is shown and closes it when it is closed.
    setup, parameters : Setup, Parameters
        What the runner was made with.
    preferences : Preferences
    """

    controller: Controller

    closed = Signal()
    fault = Signal(str)
    """A sentence about a fault, from whichever thread; an empty one asks the window to close."""

    def __init__(self, runner: RunnerLike, setup: Setup, parameters: Parameters, preferences: Preferences) -> None:
        super().__init__()
        self.setWindowTitle("mldsim")
        self.setWindowIcon(theme.application_icon())
        self.setDockOptions(
            QMainWindow.DockOption.AnimatedDocks
            | QMainWindow.DockOption.AllowNestedDocks
            | QMainWindow.DockOption.AllowTabbedDocks
        )
        self.preferences = preferences
        self.settings = load_settings(preferences)
        if self.settings.folder:
            preferences.set("folder", Path(self.settings.folder).expanduser())
        self.viewport = Viewport(self)
        self.notices = NoticeBar()
        self.actions_ = Actions(self)
        self.panel = ParameterPanel(shipped_models(), setup)
        self.view_panel = ViewPanel(
            [self.actions_[name] for name in VIEW_TOGGLES], [self.actions_[name] for name in CAMERA_COMMANDS]
        )
        self.agents_panel = AgentsPanel([self.actions_[name] for name in TOUCH])
        self.turns = Turns()
        self.plots = ThermoPlots(self.turns.ask)
        self.tracks = TrackPlots(self.turns.ask)
        self.scrubber = Scrubber(self.actions_)
        self.status_bar = StatusBar()
        self._keys: KeysDialog | None = None
        self._about: AboutDialog | None = None
        self._recording: Path | None = None
        self._live_movie: LiveMovie | None = None

        self._build_centre()
        self._build_docks()
        self.instruments = Instruments(self, self._plots_dock, self, runner)
        self.fitting = Fitting(self, self._plots_dock, self, runner)
        self.comparing = Comparing(self, self._plots_dock, self, runner, self.sides, shipped_models())
        self._build_tool_bar()
        self.picks = Picks(
            self.viewport,
            self.agents_panel,
            self.tracks,
            model=lambda: load_model(self.controller.setup.model),
            edit=lambda: self.controller.applied.loss,
            later=self.turns.ask,
        )
        views = Views(self.picks, self.plots, self.panel, self.status_bar, self.notices, self, self)
        self.controller = Controller(runner, views, setup, parameters, later=self.turns.ask)
        self.opening = Opening(self, preferences, lambda path: open_file(self.controller, path), self.tell)
        self.presets = PresetDesk(
            self,
            Presets(preferences.path.with_name("presets.json")),
            self.panel,
            self.controller,
            self.tell,
            self.open_dialog,
        )
        self._connect()
        self._build_menus()
        self.setStatusBar(self.status_bar)
        self._default_layout = self.saveState(LAYOUT_VERSION)
        self._restore()
        if preferences.trouble:
            self.tell(Level.WARNING, preferences.trouble)

        self._pulse = Pulse(self, self._beat, lambda: self.controller.lively and on_screen(self))
        self.controller.asked = self._pulse.wake

    def start(self) -> None:
        """Show the window, then start the worker: the window is there before anything is computed."""
        if not self.isVisible():
            self.show()
        self.viewport.widget.setFocus()
        self.controller.start()
        self.instruments.start()
        self.fitting.start()
        self.comparing.start()
        self._pulse.start()

    @property
    def paused(self) -> bool:
        """Whether the simulation stands still."""
        return self.controller.status().run_state is RunState.PAUSED

    def picture_of_window(self) -> QImage:
        """The whole window as it is on the screen, the 3-D view included."""
        # Qt draws a QOpenGLWidget anew when it is grabbed, so the view is in the picture.
        return self.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)

    # --- the CommandsView of the controller ---

    def show_state(self, state: RunState, recording: Path | None) -> None:
        """Enable the commands that make sense now, and give those that toggle their present name."""
        moving = state in (RunState.RUNNING, RunState.QUENCHING)
        alive = moving or state is RunState.PAUSED
        playing = self.controller.playing
        actions = self.actions_
        for name in TRANSPORT:
            actions[name].setEnabled(alive)
        for name in PLAYBACK:
            actions[name].setEnabled(playing and alive)
        for name in INTERVENTIONS:
            actions[name].setEnabled(alive and not playing)
        actions["back"].setEnabled(playing)
        actions["record"].setEnabled((alive and not playing) or recording is not None)
        actions["open_model"].setEnabled(alive or state is RunState.FAILED)
        self.panel.setEnabled(not playing)
        self.panel.offer_restart(state is RunState.FAILED)
        self.panel.quench.setEnabled(alive)
        self.panel.velocities.setEnabled(alive)
        self.pace.setEnabled(not playing)
        what = "trajectory" if playing else "simulation"
        if moving:
            actions.retitle("run", "Pause", "Pause", f"Pause the {what}")
        elif playing:
            actions.retitle("run", "Play", "Play", "Play the trajectory")
        else:
            actions.retitle("run", "Run", "Run", "Go on with the simulation")
        if playing:
            actions.retitle("step", "Frame after", "Frame", "One frame forth")
            actions.retitle("step_frame", "Ten frames forth", "Ten frames", "Ten frames forth")
        else:
            for name in ("step", "step_frame"):
                actions.retitle(name, SPECS[name].text, SPECS[name].short or SPECS[name].text, SPECS[name].tip)
        self._recording = recording
        if recording is None:
            actions.retitle("record", "Record…", "Record", "Write the trajectory to an H5MD file while it runs")
        else:
            actions.retitle("record", "Stop recording", "Stop", f"Finish {recording.name}")
        self._moving = moving
        self._draw_toggles()

    def show_pace(self, pace: float | None) -> None:
        """Show the speed that is asked for."""
        self.pace.show_data(pace)

    def show_actual(self, text: str) -> None:
        """Show the speed that it makes, beside the one that is asked for."""
        self.actual.setText(text)

    def show_opened(self, path: Path, window: str) -> None:
        """Show what a session says, after its system is there."""
        try:
            if window:
                sessions.show(self, window, VIEW_TOGGLES, str(path))
        except MldsimError as error:
            self.notices.show_notice(Level.WARNING, f"{error} The simulation goes on; the view stays as it is.")

    # --- the PlaybackView of the controller ---

    def show_playback(self, status: Status | None) -> None:
        """Show where the trajectory stands; None takes the bar away."""
        self.scrubber.show_status(status)

    def show_footage(self, footage: Footage | None) -> None:
        """Analyse the frames of a trajectory, now that they are open; None goes back to the run's analyses."""
        self.instruments.survey(footage)
        self.tracks.clear()

    # --- commands of the user ---

    def open_path(self, path: Path) -> None:
        """Open a file by what is in it, or say why not."""
        self.opening.open(path)

    def ask_session(self) -> None:
        path = self._ask_file("Open a session", sessions.SESSIONS)
        if path is not None:
            self.open_path(path)

    def ask_schedule(self) -> None:
        """Edit the temperature schedule, from the target of now."""
        controller = self.controller
        dialog = ScheduleDialog(
            self, controller.applied.schedule, controller.target, self._colours, controller.hold_target
        )
        self.open_dialog(dialog, lambda: controller.follow_schedule(dialog.schedule(0.0)))

    def ask_save_session(self) -> None:
        path = self.new_file("session.h5")
        dialog = SaveDialog(self, "Save the session", "Save", path, sessions.SESSIONS)

        def save() -> None:
            path = dialog.output.path
            self.remember_folder(path)
            self.controller.save_session(path, sessions.text_of(self, VIEW_TOGGLES), force=dialog.output.exists)
            self.opening.remember(path)

        self.open_dialog(dialog, save)

    @property
    def colouring(self) -> Colouring:
        """What colours tell."""
        return self._colouring

    @property
    def style_of_view(self) -> Style:
        """How agents are drawn."""
        return self._style

    def ask_trajectory(self) -> None:
        path = self._ask_file("Open a trajectory to watch", TRAJECTORIES)
        if path is not None:
            self.open_path(path)

    def ask_model(self) -> None:
        path = self._ask_file("Open a loss model", MODELS)
        if path is not None:
            self.open_path(path)

    def ask_structure(self) -> None:
        path = self._ask_file("Open a structure to start from", STRUCTURES)
        if path is not None:
            self.controller.restart(start=path, start_frame=-1)
            self.opening.remember(path)

    def toggle_recording(self) -> None:
        """Stop the recording, or ask where to record."""
        if self._recording is not None:
            self.controller.stop_recording()
            return
        applied = self.controller.applied
        dialog = RecordDialog(
            self, self.new_file("h5md"), applied.steps_per_frame, applied.timestep, self.controller.n_agents
        )

        def record() -> None:
            self.remember_folder(dialog.output.path)
            self.controller.start_recording(dialog.output.path, dialog.every, force=dialog.output.exists)

        self.open_dialog(dialog, record)

    def ask_run(self) -> None:
        """Ask how long to run."""
        stretch = self.controller.status().stretch
        dialog = RunDialog(self, 1e4 if stretch is None else stretch.duration)
        self.open_dialog(dialog, lambda: self.controller.run_for(dialog.duration))

    def ask_export(self) -> None:
        frames = self.controller.status().memory_frames
        dialog = SaveDialog(self, f"Export {frames} frames kept in memory", "Export", self.new_file("h5md"), EXPORTS)

        def export() -> None:
            self.remember_folder(dialog.output.path)
            self.controller.export_history(dialog.output.path, force=dialog.output.exists)

        self.open_dialog(dialog, export)

    def ask_picture(self) -> None:
        ratio = self.devicePixelRatioF()
        size = self.sides.size()
        dialog = PictureDialog(self, self.new_file("png"), round(size.width() * ratio), round(size.height() * ratio))

        def save() -> None:
            self.remember_folder(dialog.output.path)
            self.save_picture(dialog.output.path, *dialog.size_pixels, transparent=dialog.transparent)

        self.open_dialog(dialog, save)

    def ask_movie(self) -> None:
        """Ask for a movie of the trajectory that is watched, or of the view from now on; or stop that."""
        if self._live_movie is not None:
            self._live_movie.stop()
            return
        playback = self.controller.playback
        size = self.sides.size() * self.devicePixelRatioF()
        if playback is None:
            live = LiveMovieDialog(self, self.new_file("mp4"), size.width(), size.height())

            def record() -> None:
                self.remember_folder(live.output.path)
                self.record_movie(live.output.path, *live.size_pixels, live.rate)

            self.open_dialog(live, record)
            return
        if playback.n_frames < 2:
            self.notices.show_notice(Level.INFO, "A movie needs a trajectory of two frames at least.")
            return
        dialog = MovieDialog(self, self.new_file("mp4"), playback, size.width(), size.height())

        def make() -> None:
            self.remember_folder(dialog.output.path)
            self.make_movie(dialog.output.path, dialog.frames, *dialog.size_pixels, dialog.rate)

        self.open_dialog(dialog, make)

    def make_movie(self, path: Path, frames: range, width: int, height: int, rate: int) -> None:
        """Draw these frames of the trajectory that is watched into a movie."""
        footage = self.controller.footage
        if footage is None:
            return
        file = self._movie_file(path, width, height, rate)
        if file is None:
            return
        self.controller.hold(True)
        maker = MovieMaker(self, self.viewport, self.picks.set_frame, footage.again(), frames, file, width, height)
        maker.ended.connect(self._end_movie)
        maker.start()

    def _movie_file(self, path: Path, width: int, height: int, rate: int) -> MovieFile | None:
        """A file for pictures; says why where there is none."""
        try:
            return MovieFile(path, width, height, rate)
        except MldsimError as error:
            self.notices.show_notice(Level.ERROR, str(error))
            return None

    def record_movie(self, path: Path, width: int, height: int, rate: int) -> None:
        """Take pictures of the view from now on, until `ask_movie` stops it."""
        if self._live_movie is not None:
            return
        file = self._movie_file(path, width, height, rate)
        if file is None:
            return
        self._live_movie = LiveMovie(self, partial(self.comparing.picture, smooth=False), file, width, height, rate)
        self._live_movie.progressed.connect(self.status_bar.show_movie)
        self._live_movie.ended.connect(self._end_live_movie)
        self.actions_.retitle("movie", "Stop the movie", "Stop the movie", f"Finish {path.name}")

    def _end_live_movie(self, level: Level, text: str) -> None:
        self._live_movie = None
        self.status_bar.show_movie("")
        self.actions_.retitle("movie", SPECS["movie"].text, SPECS["movie"].text, SPECS["movie"].tip)
        self.notices.show_notice(level, text)

    def _end_movie(self, level: Level, text: str) -> None:
        self.controller.hold(False)
        self.notices.show_notice(level, text)

    def save_picture(self, path: Path, width: int, height: int, *, transparent: bool = False) -> None:
        """Save the view, or both of Two; says what came of it."""
        try:
            exports.save_image(self.comparing.picture(width, height, transparent=transparent), path)
        except MldsimError as error:
            self.notices.show_notice(Level.ERROR, str(error))
        else:
            self.notices.show_notice(Level.INFO, f"The picture was saved as {path}.")

    def set_theme(self, name: Theme) -> None:
        """Dark or light."""
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self.theme = name
        self._colours = theme.apply_theme(application, name)
        self.actions_.colour(self._colours)
        self._draw_toggles()
        self.panel.colour(self._colours)
        self.agents_panel.colour(self._colours)
        self.plots.colour(self._colours)
        self.tracks.colour(self._colours)
        self.instruments.colour(self._colours)
        self.fitting.panel.colour(self._colours)
        self.comparing.colour(self._colours)
        self.notices.colour(self._colours)
        self.viewport.set_theme(name)
        self.controller.redraw_plots()
        self._theme_actions[name].setChecked(True)

    def set_colouring(self, colouring: Colouring) -> None:
        """Say what the colour of an agent tells."""
        self._colouring = colouring
        if colouring is Colouring.DOUBT:
            self.instruments.watch_doubt()
        self.viewport.set_colouring(colouring)
        self.view_panel.show_colouring(colouring, self.viewport.scale(colouring))
        self._colouring_actions[colouring].setChecked(True)

    def set_scale(self, scale: Scale) -> None:
        """Show the values of the present quantity in other colours or another range."""
        try:
            self.viewport.set_scale(self._colouring, scale)
        except MldsimError as error:
            self.notices.show_notice(Level.ERROR, str(error))
        self.view_panel.show_scale(self.viewport.scale(self._colouring))

    def set_images(self, images: tuple[int, int, int]) -> None:
        """Draw periodic images of the box."""
        self.viewport.set_images(images)
        self.view_panel.show_images(images)

    def _fix_range(self) -> None:
        """Fix the colour scale at what it shows now, in round numbers."""
        low, high = self.viewport.shown_range() or (0.0, 1.0)
        digits = max(0, 2 - math.floor(math.log10(max(high - low, 1e-6))))
        self.view_panel.fix_range(round(low, digits), max(round(high, digits), round(low, digits) + 10.0**-digits))

    def set_style(self, style: Style) -> None:
        """Balls and sticks, spheres that fill space, or sticks."""
        self._style = style
        self.viewport.set_style(style)
        self.view_panel.show_style(style)
        self._style_actions[style].setChecked(True)

    def restore_layout(self) -> None:
        """Bring all docks back to where they were made."""
        self.restoreState(self._default_layout, LAYOUT_VERSION)
        for dock in (*self._docks(), *self.instruments.docks, self.fitting.dock, self.comparing.dock):
            dock.show()
        self._panel_dock.raise_()
        self._plots_dock.raise_()
        self._size_docks()

    def ask_preferences(self) -> None:
        """Show the settings, and take what is kept of them."""
        dialog = PreferencesDialog(self, self.settings, self.theme, shipped_models())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

        def keep() -> None:
            self.settings = dialog.settings
            save_settings(self.preferences, self.settings)
            self.set_theme(dialog.theme)
            if self.settings.folder:
                self.preferences.set("folder", Path(self.settings.folder).expanduser())

        self.open_dialog(dialog, keep)

    def ask_close(self) -> None:
        """Close the window; while a recording is under way, ask whether that is meant."""
        if self._recording is None or not self.settings.confirm_close:
            self.close()
            return
        dialog = QMessageBox(
            QMessageBox.Icon.Question,
            "Close mldsim",
            f"The recording to {self._recording.name} is under way. Shall it be finished, and the window closed?",
            QMessageBox.StandardButton.NoButton,
            self,
        )
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        finish = dialog.addButton("Finish and close", QMessageBox.ButtonRole.AcceptRole)
        dialog.addButton("Go on recording", QMessageBox.ButtonRole.RejectRole)
        finish.clicked.connect(self.close)
        dialog.open()

    # --- Qt ---

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        if event.spontaneous() and self._recording is not None and self.settings.confirm_close:
            event.ignore()
            self.ask_close()
            return
        self._pulse.stop()
        self._remember()
        # The window goes at once; what the recorder still has to write is written behind it.
        self.hide()
        QGuiApplication.sync()
        if self._live_movie is not None:
            self._live_movie.finish()
        self.instruments.close()
        self.fitting.close()
        self.comparing.close()
        if not self.controller.close():
            log.warning("The worker goes on: it compiles, or writes a file, which is valid up to its last flush.")
        self.closed.emit()
        super().closeEvent(event)

    def changeEvent(self, event: QEvent) -> None:  # noqa: N802
        if event.type() == QEvent.Type.WindowStateChange:
            self.actions_["full_screen"].setChecked(self.isFullScreen())
        super().changeEvent(event)

    # --- built once ---

    def _build_centre(self) -> None:
        centre = QWidget()
        centre.setObjectName("centre")
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.notices)
        self.sides = Sides(self.viewport.widget)
        column.addWidget(self.sides, 1)
        column.addWidget(self.scrubber)
        self.viewport.widget.setMinimumSize(240, 160)
        self.setCentralWidget(centre)

    def _build_docks(self) -> None:
        self.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)
        self._panel_dock = self._dock(
            "Parameters", "dock_parameters", self.panel, Qt.DockWidgetArea.RightDockWidgetArea
        )
        self._view_dock = self._dock("View", "dock_view", self.view_panel, Qt.DockWidgetArea.RightDockWidgetArea)
        self._agents_dock = self._dock(
            "Agents", "dock_agents", self.agents_panel, Qt.DockWidgetArea.RightDockWidgetArea
        )
        self.tabifyDockWidget(self._panel_dock, self._view_dock)
        self.tabifyDockWidget(self._view_dock, self._agents_dock)
        self._panel_dock.raise_()
        self._plots_dock = self._dock("Plots", "dock_plots", self.plots, Qt.DockWidgetArea.BottomDockWidgetArea)
        self._tracks_dock = self._dock(
            "Picked over time", "dock_tracks", self.tracks, Qt.DockWidgetArea.BottomDockWidgetArea
        )
        self.tabifyDockWidget(self._plots_dock, self._tracks_dock)
        self._plots_dock.raise_()
        # The panel is tall and the plots are wide: the corner between them belongs to the panel.
        self.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
        self.setCorner(Qt.Corner.BottomLeftCorner, Qt.DockWidgetArea.LeftDockWidgetArea)

    def _docks(self) -> tuple[QDockWidget, ...]:
        return (self._panel_dock, self._view_dock, self._agents_dock, self._plots_dock, self._tracks_dock)

    def _dock(self, title: str, name: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self.addDockWidget(area, dock)
        return dock

    def _build_tool_bar(self) -> None:
        bar = QToolBar("Tools", self)
        bar.setObjectName("tool_bar")
        bar.setMovable(False)
        bar.setIconSize(QSize(18, 18))
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        for name in ("run", "step", "reset", None, "quench", "velocities", None, "record", "picture"):
            if name is None:
                bar.addSeparator()
                continue
            bar.addAction(self.actions_[name])
            button = bar.widgetForAction(self.actions_[name])
            assert isinstance(button, QToolButton)
            button.setObjectName(name)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            if name == "run":
                # Run and Pause differ in width; the buttons beside it stay where they are.
                self._run_button = button
            if name == "record":
                self._record_button = button
        bar.addSeparator()
        self.pace = Choice()
        self.pace.setObjectName("pace")
        self.pace.setAccessibleName("Speed")
        self.pace.setToolTip(
            "<p>How much simulated time passes per second, from slow motion to flat out (+ and -). The time step is "
            "never stretched; what the machine makes of it stands beside.</p>"
        )
        for pace in (None, *reversed(PACES)):
            self.pace.addItem(pace_text(pace), pace)
        self.pace.setMinimumContentsLength(9)
        self.pace.activated.connect(lambda _: self.controller.set_pace(self.pace.currentData()))
        bar.addWidget(self.pace)
        self.actual = QLabel()
        self.actual.setProperty("dim", True)
        self.actual.setToolTip("Simulated time that passes per second now")
        self.actual.setMinimumWidth(self.actual.fontMetrics().horizontalAdvance("8.88 ps/s") + 8)
        bar.addWidget(self.actual)
        self.addToolBar(bar)
        self._moving = False

    def _build_menus(self) -> None:
        menus = self.menuBar()
        a = self.actions_
        files = menus.addMenu("&File")
        self._fill(files, "open_session", "save_session", "open_model", "open_structure", "open_trajectory")
        files.addMenu(self.opening.menu)
        self._fill(files, None, "record", "export", "picture", "movie", None, "preferences", "quit")
        simulation = menus.addMenu("&Simulation")
        self._fill(
            simulation, "run", "step", "step_frame", "run_for", "extend", "run_on", None, "faster", "slower", None,
            "undo", "redo", None, "reset", "quench", "velocities",
            *TOUCH, None, "schedule",
        )  # fmt: skip
        simulation.addMenu(self.presets.menu)
        self._fill(simulation, "save_preset", "manage_presets")
        trajectory = menus.addMenu("&Trajectory")
        self._fill(trajectory, "open_trajectory", "look_back", None, "first", "step_frames_back", "step_back", "last")
        self._fill(trajectory, "loop", None, "go_on", "back")
        analysis = menus.addMenu("&Analysis")
        self._fill(analysis, "average_anew", "analysis_table", "analysis_picture", None)
        self._fill(analysis, "watch_doubt", "pause_on_doubt", "save_doubtful", None)
        self._fill(analysis, "freeze_plots", "follow_plots", "thermo_table")
        self._fill(analysis, None, "fit", "cancel_fit", "compare", "end_compare")
        view = menus.addMenu("&View")
        self._colouring_actions = self._choices(view.addMenu("Colour by"), COLOURING_NAMES, self.set_colouring)
        self._style_actions = self._choices(view.addMenu("Draw as"), STYLE_NAMES, self.set_style)
        self._fill(view, *VIEW_TOGGLES, None, *CAMERA_COMMANDS, None, "find", "clear", None)
        self._theme_actions = self._choices(
            view.addMenu("Theme"), {Theme.DARK: "Dark", Theme.LIGHT: "Light"}, self.set_theme
        )
        for dock in (*self._docks(), *self.instruments.docks, self.fitting.dock, self.comparing.dock):
            view.addAction(dock.toggleViewAction())
        self._fill(view, "restore_layout", None, "full_screen")
        self._fill(menus.addMenu("&Help"), "palette", "keys", "about")
        a["quit"].setMenuRole(QAction.MenuRole.QuitRole)
        a["about"].setMenuRole(QAction.MenuRole.AboutRole)

    def _fill(self, menu: QMenu, *names: str | None) -> None:
        for name in names:
            if name is None:
                menu.addSeparator()
            else:
                menu.addAction(self.actions_[name])

    def _choices(self, menu: QMenu, names: dict[T, str], chosen: Callable[[T], None]) -> dict[T, QAction]:
        group = QActionGroup(self)
        actions: dict[T, QAction] = {}
        for value, title in names.items():
            action = menu.addAction(title)
            action.setCheckable(True)
            action.triggered.connect(lambda _=False, value=value: chosen(value))
            group.addAction(action)
            actions[value] = action
        return actions

    def _connect(self) -> None:
        controller, view = self.controller, self.viewport
        commands: dict[str, Callable[[], object]] = {
            "run": controller.toggle_run,
            "step": controller.step,
            "step_frame": controller.step_frame,
            "run_for": self.ask_run,
            "extend": controller.extend,
            "run_on": lambda: controller.run_for(None),
            "undo": controller.undo,
            "redo": controller.redo,
            "palette": self._show_palette,
            "faster": lambda: controller.change_speed(+1),
            "slower": lambda: controller.change_speed(-1),
            "reset": controller.reset,
            "quench": controller.quench,
            "velocities": controller.new_velocities,
            "open_model": self.ask_model,
            "open_structure": self.ask_structure,
            "open_session": self.ask_session,
            "save_session": self.ask_save_session,
            "open_trajectory": self.ask_trajectory,
            "look_back": controller.look_back,
            "first": lambda: controller.seek(0),
            "last": lambda: controller.seek(-1),
            "step_back": controller.step_back,
            "step_frames_back": lambda: controller.step_back(FRAMES_AT_ONCE),
            "go_on": controller.go_on,
            "back": controller.back,
            "record": self.toggle_recording,
            "export": self.ask_export,
            "picture": self.ask_picture,
            "movie": self.ask_movie,
            "preferences": self.ask_preferences,
            "quit": self.ask_close,
            "view_reset": view.reset_view,
            "focus": view.focus,
            "axis_x": lambda: view.axis_view("x"),
            "axis_y": lambda: view.axis_view("y"),
            "axis_z": lambda: view.axis_view("z"),
            "heat": lambda: self._heat(HEAT),
            "cool": lambda: self._heat(1.0 / HEAT),
            "kick": self._kick,
            "remove_molecule": self._remove_molecule,
            "add_molecule": lambda: controller.add_molecule(self.picks.picked[-1] if self.picks.picked else None),
            "take_back": controller.take_back,
            "clear": self.picks.clear,
            "find": self._find_agent,
            "follow_plots": self._follow_plots,
            "thermo_table": self._ask_thermo_table,
            "restore_layout": self.restore_layout,
            "keys": self._show_keys,
            "about": self._show_about,
            "schedule": self.ask_schedule,
            **self.presets.commands,
            **self.instruments.commands,
            **self.fitting.commands,
            **self.comparing.commands,
        }
        for name, command in commands.items():
            self.actions_[name].triggered.connect(lambda _=False, command=command: command())
        toggles: dict[str, Callable[[bool], None]] = {
            "bonds": view.show_bonds,
            "hydrogen_bonds": view.show_hydrogen_bonds,
            "box": view.show_box,
            "axes": view.show_axes,
            "orthographic": view.set_orthographic,
            "fog": view.set_fog,
            "freeze_plots": lambda on: self.plots.freeze(on=on),
            "loop": controller.loop,
        }
        for name, toggle in toggles.items():
            self.actions_[name].toggled.connect(toggle)
        self.actions_["full_screen"].triggered.connect(self._set_full_screen)
        self.instruments.connect_toggles(self.actions_["watch_doubt"], self.actions_["pause_on_doubt"])
        panel = self.panel
        panel.changed.connect(lambda changes: controller.change(**changes))
        panel.applied.connect(lambda applied: self.instruments.loss.switches.show_edit(applied.loss))
        self.instruments.loss.asked.connect(lambda edit: controller.change(loss=edit))
        panel.restart_asked.connect(lambda changes: controller.restart(**changes))
        panel.model_asked.connect(controller.load_model)
        panel.open_model_asked.connect(self.ask_model)
        panel.schedule_asked.connect(self.ask_schedule)
        panel.quench_asked.connect(controller.quench)
        panel.velocities_asked.connect(controller.new_velocities)
        self.scrubber.seek_asked.connect(controller.seek)
        self.scrubber.pace_asked.connect(controller.set_pace)
        view_panel = self.view_panel
        view_panel.colouring_chosen.connect(self.set_colouring)
        view_panel.colouring_tried.connect(lambda tried: view.set_colouring(tried or self._colouring))
        view_panel.style_chosen.connect(self.set_style)
        view_panel.scale_chosen.connect(self.set_scale)
        view_panel.range_fixed.connect(self._fix_range)
        view_panel.images_chosen.connect(self.set_images)
        view.clicked.connect(self._show_agents)
        view.added.connect(self._show_agents)
        view.pulled.connect(controller.pull)
        view.released.connect(controller.release)
        self.agents_panel.plot_asked.connect(lambda _: self._show_tracks())
        for asked in (*(plot.export_asked for plot in self.plots.plots.values()), self.tracks.export_asked):
            asked.connect(lambda export: exports.ask(self, self, export))
        self.fault.connect(self._on_fault)

    # --- inside ---

    def _beat(self) -> None:
        self.viewport.rest(not on_screen(self))
        self.controller.tick()
        self.picks.read_off()
        self.turns.take(every=not self.controller.lively)

    def _restore(self) -> None:
        preferences = self.preferences
        geometry = preferences.layout("geometry")
        if geometry is None or not self.restoreGeometry(geometry):
            self._first_size()
        layout = preferences.layout("layout")
        if layout is None or not self.restoreState(layout, LAYOUT_VERSION):
            self._size_docks()
        self.set_theme(preferences.choice("theme", Theme.DARK))
        self.set_colouring(preferences.choice("colouring", Colouring.ELEMENT))
        self.set_style(preferences.choice("style", Style.BALL_AND_STICK))
        self.plots.restore(preferences.record("plots"))
        with suppress(InputError):  # broken settings are as if they were not there
            sessions.show_looks(self, json.dumps(preferences.record("view")))
        for name in VIEW_TOGGLES:
            action = self.actions_[name]
            wanted = preferences.flag(name, name not in ("orthographic", "hydrogen_bonds"))
            action.setChecked(wanted)
            action.toggled.emit(wanted)

    def _remember(self) -> None:
        preferences = self.preferences
        preferences.set("geometry", self.saveGeometry())
        preferences.set("layout", self.saveState(LAYOUT_VERSION))
        preferences.set("theme", self.theme)
        preferences.set("colouring", self._colouring)
        preferences.set("style", self._style)
        preferences.set_record("plots", self.plots.settings())
        preferences.set_record("view", json.loads(sessions.looks_of(self)))
        for name in VIEW_TOGGLES:
            preferences.set(name, self.actions_[name].isChecked())
        preferences.save()

    def _first_size(self) -> None:
        screen = self.screen().availableGeometry()
        size = QSize(min(1440, screen.width()), min(900, screen.height()))
        self.resize(size)
        self.move(screen.center() - QPoint(size.width() // 2, size.height() // 2))

    def _size_docks(self) -> None:
        self.resizeDocks([self._panel_dock], [self.panel.minimumWidth()], Qt.Orientation.Horizontal)
        self.resizeDocks([self._plots_dock], [max(254, self.height() * 3 // 10)], Qt.Orientation.Vertical)

    def _draw_toggles(self) -> None:
        """The icons of Run and Record say what a click would do."""
        c = self._colours
        self.actions_["run"].setIcon(theme.icon("pause" if self._moving else "run", c, colour=c.on_accent))
        recording = self._recording is not None
        self.actions_["record"].setIcon(theme.icon("record-stop" if recording else "record", c, colour=c.error))
        self._record_button.setProperty("recording", recording)
        self._record_button.style().unpolish(self._record_button)
        self._record_button.style().polish(self._record_button)
        width = self._run_button.fontMetrics().horizontalAdvance("Pause") + 64
        self._run_button.setMinimumWidth(width)

    def _show_agents(self, agent: int | None) -> None:
        """Bring the panel of picked agents to the front when there is something in it."""
        if agent is not None:
            self._agents_dock.show()
            self._agents_dock.raise_()

    def _find_agent(self) -> None:
        self._agents_dock.show()
        self._agents_dock.raise_()
        self.agents_panel.number.setFocus()
        self.agents_panel.number.selectAll()

    def _heat(self, factor: float) -> None:
        agents = self.picks.around()
        if agents:
            self.controller.heat(agents, factor)

    def _kick(self) -> None:
        """Kick the last molecule that is picked away from the viewer."""
        if not self.picks.picked:
            self.notices.show_notice(Level.INFO, "Pick an agent first: its molecule is kicked away from you.")
            return
        self.controller.kick(self.picks.picked[-1], -KICK * self.viewport.camera.rotation()[2])

    def _remove_molecule(self) -> None:
        if not self.picks.picked:
            self.notices.show_notice(Level.INFO, "Pick an agent first: its molecule is taken out.")
            return
        self.controller.remove_molecule(self.picks.picked[-1])

    def _show_palette(self) -> None:
        menus = [action.menu() for action in self.menuBar().actions()]
        palette = Palette(self, [menu for menu in menus if isinstance(menu, QMenu)])
        palette.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        centre = self.mapToGlobal(QPoint(self.width() // 2, self.height() // 6))
        palette.move(centre - QPoint(palette.width() // 2, 0))
        palette.show()

    def _follow_plots(self) -> None:
        self.actions_["freeze_plots"].setChecked(False)
        self.plots.follow()

    def _ask_thermo_table(self) -> None:
        columns = self.controller.thermo_columns()
        if not len(columns["time"]):
            self.notices.show_notice(Level.INFO, "The run has not begun: there is no table to save yet.")
            return
        title = f"Save {len(columns['time'])} rows of the thermo table"
        export = exports.Export(title, "csv", exports.TABLES, lambda path: write_thermo(path, columns))
        exports.ask(self, self, export)

    def _show_tracks(self) -> None:
        self._tracks_dock.show()
        self._tracks_dock.raise_()

    def _on_fault(self, text: str) -> None:
        if text:
            self.notices.show_notice(Level.ERROR, text)
        else:
            self.close()

    def _show_keys(self) -> None:
        self._keys = self._keys or KeysDialog(self)
        self._keys.show()

    def _show_about(self) -> None:
        self._about = self._about or AboutDialog(self)
        self._about.show()

    def _set_full_screen(self, wanted: bool) -> None:
        if wanted:
            self.showFullScreen()
        else:
            self.showNormal()

    def tell(self, level: Level, text: str) -> None:
        """Tell the user something in one sentence."""
        self.notices.show_notice(level, text)

    def open_dialog(self, dialog: QDialog, accepted: Callable[[], None]) -> None:
        """Open a dialog over the window, which goes on."""
        dialog.accepted.connect(accepted)
        dialog.open()

    def _ask_file(self, title: str, kinds: str) -> Path | None:
        name, _ = QFileDialog.getOpenFileName(self, title, str(self.preferences.folder("folder")), kinds)
        if not name:
            return None
        self.remember_folder(Path(name))
        return Path(name)

    def new_file(self, suffix: str) -> Path:
        """A name for a new file where the user last saved one."""
        moment = datetime.datetime.now().strftime("%Y-%m-%d-%H%M%S")
        return self.preferences.folder("folder") / f"mldsim-{moment}.{suffix}"

    def remember_folder(self, path: Path) -> None:
        """Offer its folder the next time."""
        self.preferences.set("folder", path.parent)
