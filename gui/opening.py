"""Opening files: by a menu, by their names from before, or dropped on the window. What a file is, its content says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QMenu, QWidget

from mldsim.errors import MldsimError
from mldsim.gui.controller import Controller
from mldsim.gui.preferences import Preferences
from mldsim.messages import Level
from mldsim.recognise import FileKind, kind_of

MOST_RECENT = 10


def open_file(controller: Controller, path: Path) -> None:
    """Open a session, a checkpoint, a loss model, a structure to start from or a trajectory to watch.

    Raises
    ------
    InputError
        If there is no such file, or it is nothing that can be opened.
    """
    match kind_of(path):
        case FileKind.SESSION:
            controller.open_session(path)
        case FileKind.MODEL:
            controller.load_model(path)
        case FileKind.STRUCTURE:
            controller.restart(start=path, start_frame=-1)
        case FileKind.TRAJECTORY:
            controller.watch(path)


class Opening(QObject):
    """Opens paths for a window, and remembers them.

    Parameters
    ----------
    window : QWidget
        Files may be dropped on it.
    preferences : Preferences
    open_path : callable
        Opens a file; raises MldsimError.
    tell : callable (level, text)
    """

    def __init__(
        self,
        window: QWidget,
        preferences: Preferences,
        open_path: Callable[[Path], None],
        tell: Callable[[Level, str], None],
    ) -> None:
        super().__init__(window)
        self._preferences, self._open, self._tell = preferences, open_path, tell
        self.menu = QMenu("Open recent", window)
        self.menu.setToolTipsVisible(True)
        window.setAcceptDrops(True)
        window.installEventFilter(self)
        self._fill()

    def open(self, path: Path) -> None:
        """Open a file, or say why not."""
        try:
            self._open(path)
        except MldsimError as error:
            self._tell(Level.ERROR, str(error))
            if not path.exists():
                self._keep([other for other in self._preferences.paths("recent") if other != path])
        else:
            self.remember(path)

    def remember(self, path: Path) -> None:
        """Offer a file the next time, before all others."""
        path = path.absolute()
        others = [other for other in self._preferences.paths("recent") if other != path]
        self._keep([path, *others][:MOST_RECENT])

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Files that are dropped on the window are opened, one after the other."""
        if isinstance(event, QDragEnterEvent) and event.type() == QEvent.Type.DragEnter and _files(event):
            event.acceptProposedAction()
            return True
        if isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop and _files(event):
            event.acceptProposedAction()
            for path in _files(event):
                self.open(path)
            return True
        return super().eventFilter(watched, event)

    def _keep(self, paths: list[Path]) -> None:
        self._preferences.set_paths("recent", paths)
        self._fill()

    def _fill(self) -> None:
        self.menu.clear()
        recent = self._preferences.paths("recent")
        for path in recent:
            action = QAction(path.name, self.menu)
            action.setToolTip(str(path))
            action.triggered.connect(lambda _=False, path=path: self.open(path))
            self.menu.addAction(action)
        if recent:
            self.menu.addSeparator()
            forget = self.menu.addAction("Forget these")
            forget.triggered.connect(lambda: self._keep([]))
        self.menu.setEnabled(bool(recent))


def _files(event: QDropEvent) -> list[Path]:
    """Files of this machine in what is dragged."""
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
