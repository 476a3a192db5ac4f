"""The docks that watch a run, and what feeds them: the analyses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QObject, Qt, QTimer
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QDialog, QDockWidget, QMainWindow, QWidget

from mldsim.averages import Analyst, write_table
from mldsim.errors import MldsimError
from mldsim.frames import Samples
from mldsim.gui import theme
from mldsim.gui.dialogs.save import PICTURES, SaveDialog
from mldsim.gui.panels.analyses import AnalysesPanel
from mldsim.messages import Level

LOOK_MS = 250
"""Between two looks at what is new: analyses change twice a second."""

TABLES = "Comma-separated values (*.csv);;All files (*)"


class Watched(Protocol):
    """What the instruments need of a runner."""

    @property
    def samples(self) -> Samples: ...


class Desk(Protocol):
    """What the instruments need of the window around them."""

    def new_file(self, suffix: str) -> Path:
        """A name for a new file where the user last saved one."""
        ...

    def remember_folder(self, path: Path) -> None: ...
    def tell(self, level: Level, text: str) -> None: ...
    def open_dialog(self, dialog: QDialog, accepted: Callable[[], None]) -> None: ...
    def save_image(self, image: QImage, path: Path) -> None: ...


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
        self._window, self._desk = window, desk
        self.analyst = Analyst(runner.samples)
        self.analyses = AnalysesPanel()
        self._seen = -1
        self.docks = [self._dock("Analyses", "dock_analyses", self.analyses, beside)]
        beside.raise_()
        self.commands: dict[str, Callable[[], object]] = {
            "average_anew": self.analyst.restart,
            "analysis_table": self._ask_table,
            "analysis_picture": self._ask_picture,
        }
        self.analyses.restart_asked.connect(self.analyst.restart)
        self.analyses.table_asked.connect(self._ask_table)
        self.analyses.picture_asked.connect(self._ask_picture)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)

    def start(self) -> None:
        """Begin to watch."""
        self.analyst.start()
        self._timer.start()

    def close(self) -> None:
        """End the threads."""
        self._timer.stop()
        self.analyst.close()

    def colour(self, colours: theme.Colours) -> None:
        """Take the colours of a theme."""
        self.analyses.colour(colours)

    # --- inside ---

    def _dock(self, title: str, name: str, widget: QWidget, beside: QDockWidget) -> QDockWidget:
        dock = QDockWidget(title, self._window)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self._window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
        self._window.tabifyDockWidget(beside, dock)
        return dock

    def _look(self) -> None:
        # Behind another tab averages go on, so that they are there when it is opened; a closed dock costs nothing.
        self.analyst.listen(not self.docks[0].isHidden())
        if self.analyst.version != self._seen and self.analyses.wanted():
            self._seen = self.analyst.version
            self.analyses.show_findings(self.analyst.findings())

    def _ask_table(self) -> None:
        one = self.analyses.chosen
        if one is None or one.run is None:
            self._desk.tell(Level.INFO, "There is no analysis to save yet.")
            return

        def save(path: Path) -> None:
            write_table(one, path)

        self._ask(f"Save {one.title} as a table", "csv", TABLES, save)

    def _ask_picture(self) -> None:
        one = self.analyses.chosen
        if one is None or one.run is None:
            self._desk.tell(Level.INFO, "There is no analysis to save yet.")
            return
        image = self.analyses.picture()
        self._ask(f"Save {one.title} as a picture", "png", PICTURES, lambda path: self._desk.save_image(image, path))

    def _ask(self, title: str, suffix: str, kinds: str, save: Callable[[Path], None]) -> None:
        dialog = SaveDialog(self._window, title, "Save", self._desk.new_file(suffix), kinds)

        def accepted() -> None:
            path = dialog.output.path
            self._desk.remember_folder(path)
            try:
                save(path)
            except MldsimError as error:
                self._desk.tell(Level.ERROR, str(error))
            else:
                self._desk.tell(Level.INFO, f"Saved as {path}.")

        self._desk.open_dialog(dialog, accepted)
