"""The docks that watch a run, and what feeds them: analyses, doubt and the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow

from mldsim.averages import Analyst
from mldsim.edits import FITTED, LossEdit
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Samples, Topology
from mldsim.gui import exports, theme
from mldsim.gui.dialogs.save import EXPORTS, SaveDialog
from mldsim.gui.docks import System, looking, tabbed_dock
from mldsim.gui.errand import Errand
from mldsim.gui.exports import ask
from mldsim.gui.panels.analyses import AnalysesPanel
from mldsim.gui.panels.doubt import DoubtPanel
from mldsim.gui.panels.loss import LossPanel
from mldsim.loss import LossModel, load_model
from mldsim.messages import Command, Level, SaveDoubtful, Status, WatchDoubt
from mldsim.surroundings import Surroundings, surroundings
from mldsim.survey import Survey
from mldsim.trajectory.sources import Footage
from mldsim.watch import DoubtTable

LOOK_MS = 250
"""Between two looks at what is new: analyses change twice a second."""

LOSS_LOOKS = 4
"""Looks between two at the loss: its pair curves move once in a second."""


class Watched(Protocol):
    """What the instruments need of a runner."""

    @property
    def samples(self) -> Samples: ...
    @property
    def doubts(self) -> DoubtTable: ...
    def send(self, command: Command) -> None: ...
    def status(self) -> Status: ...


class Desk(exports.Desk, Protocol):
    """What the instruments need of the window around them."""

    @property
    def controller(self) -> System: ...


@dataclass(frozen=True, slots=True)
class Looked:
    """A model of this name, and the surroundings that its agents have; None where it cannot be read.

    `edited` is the model as it is now, and `fitted_seen` the surroundings as the model itself has them, where that is
    another one.
    """

    name: str
    model: LossModel | None
    edited: LossModel | None
    seen: Surroundings | None
    fitted_seen: Surroundings | None = None


def _look(name: str, known: LossModel | None, edit: LossEdit, topology: Topology, frame: Frame) -> Looked:
    model = known or load_model(name)
    if model.symbols != topology.symbols:
        return Looked(name, model, model, None)
    edited = edit.of(model)
    fitted = surroundings(model, topology, frame)
    if not edit:
        return Looked(name, model, model, fitted)
    return Looked(name, model, edited, surroundings(edited, topology, frame), fitted)


class Instruments(QObject):
    """Docks at the bottom of a window, tabbed with the plots, and the threads behind them.

    Parameters
    ----------
    window : QMainWindow
    beside : QDockWidget
        The dock that they are tabbed with.
    desk : Desk
    runner : Watched
    """

    def __init__(self, window: QMainWindow, beside: QDockWidget, desk: Desk, runner: Watched) -> None:
        super().__init__(window)
        self._window, self._desk, self._runner = window, desk, runner
        self.analyst = Analyst(runner.samples)
        self.analyses = AnalysesPanel()
        self.doubt = DoubtPanel()
        self.loss = LossPanel()
        self._survey: Survey | None = None
        self._model = Looked("", None, None, None)
        self._edit_seen = FITTED
        self._looker: Errand[Looked] = Errand(self._show_loss, self, share=0.3)
        self._asked = ""
        self._frame_seen: Frame | None = None
        self._looks = LOSS_LOOKS
        self._seen = self._doubts_seen = -1
        self._status_seen: tuple[str, int] | None = None
        self.docks = [
            tabbed_dock(window, "Analyses", "dock_analyses", self.analyses, beside),
            tabbed_dock(window, "Doubt", "dock_doubt", self.doubt, beside),
            tabbed_dock(window, "Loss", "dock_loss", self.loss, beside),
        ]
        self.commands: dict[str, Callable[[], object]] = {
            "average_anew": lambda: self._averager.restart(),
            "analysis_table": lambda: self._ask_export(self.analyses.plot.ask_table),
            "analysis_picture": lambda: self._ask_export(self.analyses.plot.ask_picture),
            "save_doubtful": self._ask_doubtful,
        }
        self.analyses.restart_asked.connect(lambda: self._averager.restart())
        for panel in (self.analyses, self.doubt, self.loss):
            panel.export_asked.connect(lambda export: ask(window, desk, export))
        self.doubt.asked.connect(lambda settings: runner.send(WatchDoubt(settings)))
        self.doubt.save_asked.connect(self._ask_doubtful)
        self._timer = looking(self, LOOK_MS, self._look)

    def start(self) -> None:
        """Begin to watch."""
        self.analyst.start()
        self._timer.start()

    def survey(self, footage: Footage | None) -> None:
        """Show the analyses of a whole trajectory in the place of the run's; None goes back to those."""
        if self._survey is not None:
            self._survey.close()
        self._survey = None
        if footage is not None:
            self._survey = Survey(footage.again())
            self._survey.start()
        self._seen = -1

    def close(self) -> None:
        """End the threads."""
        self._timer.stop()
        self.survey(None)
        self._looker.forget()
        self.analyst.close()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self.analyses.colour(colours)
        self.doubt.colour(colours)
        self.loss.colour(colours)

    def connect_toggles(self, watch: QAction, pause: QAction) -> None:
        """Join the commands of a menu to the boxes of the panel."""
        for action, box in ((watch, self.doubt.watch), (pause, self.doubt.pause)):
            action.toggled.connect(box.setChecked)
            box.toggled.connect(action.setChecked)

    def watch_doubt(self) -> None:
        """Begin to watch doubt, if it is not watched yet."""
        self.doubt.watch.setChecked(True)

    # --- inside ---

    @property
    def _averager(self) -> Analyst | Survey:
        """Whose findings are shown."""
        return self._survey or self.analyst

    def _look(self) -> None:
        # Behind another tab averages go on, so that they are there when it is opened; a closed dock costs nothing.
        self.analyst.listen(not self.docks[0].isHidden())
        if self._survey is not None:
            self._survey.listen(not self.docks[0].isHidden())
        if self._averager.version != self._seen and self.analyses.wanted():
            self._seen = self._averager.version
            self.analyses.show_findings(self._averager.findings())
        status = self._runner.status()
        if (status.doubt_refused, status.doubtful_frames) != self._status_seen:
            self._status_seen = (status.doubt_refused, status.doubtful_frames)
            self.doubt.show_status(*self._status_seen)
            if status.doubt_refused:
                self._desk.tell(Level.WARNING, status.doubt_refused)
        if self._runner.doubts.version != self._doubts_seen and self.doubt.wanted():
            self._doubts_seen = self._runner.doubts.version
            self.doubt.show_table(self._runner.doubts.columns())
        self._look_at_loss()

    def _look_at_loss(self) -> None:
        """Have the loss looked at about once in a second."""
        self._looks += 1
        if self._looks < LOSS_LOOKS or not self.loss.wanted():
            return
        system = self._desk.controller
        frame, topology, name, edit = system.frame, system.topology, system.setup.model, system.applied.loss
        known_all = frame is self._frame_seen and name == self._asked and edit == self._edit_seen
        if frame is None or topology is None or known_all:
            return
        known = self._model.model if name == self._model.name else None
        if known is None and name == self._model.name:
            return  # it could not be read, and was told
        self._looks, self._frame_seen, self._asked, self._edit_seen = 0, frame, name, edit
        self._looker.ask(partial(_look, name, known, edit, topology, frame))

    def _show_loss(self, found: Looked | MldsimError) -> None:
        if isinstance(found, MldsimError):
            self._desk.tell(Level.WARNING, str(found))
            found = Looked(self._asked, None, None, None)
        self._model = found
        self.loss.switches.show_model(found.model)
        self.loss.show_loss(found.edited, found.seen, found.fitted_seen)

    def _ask_doubtful(self) -> None:
        frames = self._runner.status().doubtful_frames
        if not frames:
            self._desk.tell(Level.INFO, "No frame has been in doubt yet.")
            return
        title = f"Save {frames} doubtful frames for labelling"
        dialog = SaveDialog(self._window, title, "Save", self._desk.new_file("xyz"), EXPORTS)

        def accepted() -> None:
            path = dialog.output.path
            self._desk.remember_folder(path)
            self._runner.send(SaveDoubtful(path, dialog.output.exists))

        self._desk.open_dialog(dialog, accepted)

    def _ask_export(self, ask_it: Callable[[], None]) -> None:
        one = self.analyses.chosen
        if one is None or one.run is None:
            self._desk.tell(Level.INFO, "There is no analysis to save yet.")
        else:
            ask_it()
