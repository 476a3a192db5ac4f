"""Saving what a panel shows: one way to ask where, to write, and to say what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from PySide6.QtCore import QBuffer, QIODevice
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QDialog, QWidget

from mldsim.errors import MldsimError
from mldsim.files import whole_file
from mldsim.gui.dialogs.save import SaveDialog
from mldsim.messages import Level

TABLES = "Comma-separated values (*.csv);;All files (*)"
DRAWINGS = "PNG picture (*.png);;Vector graphics (*.svg);;All files (*)"


def save_image(image: QImage, path: Path) -> None:
    """Write a picture as PNG, whole or not at all.

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    buffer = QBuffer()  # Qt itself takes a full disk for a success
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG")  # type: ignore[call-overload]
    with whole_file(path) as unfinished:
        unfinished.write_bytes(bytes(buffer.data().data()))


@dataclass(frozen=True, slots=True)
class Export:
    """Something that can be saved.

    Attributes
    ----------
    title : str
        Of the dialog: ``Save Temperature as a table``.
    suffix, kinds : str
        Of the file that is suggested, and of those that can be chosen.
    write : callable (path)
        Raises `MldsimError` where it cannot.
    """

    title: str
    suffix: str
    kinds: str
    write: Callable[[Path], None]


class Desk(Protocol):
    """What saving needs of the window around it."""

    def new_file(self, suffix: str) -> Path:
        """A name for a new file where the user last saved one."""
        ...

    def remember_folder(self, path: Path) -> None: ...
    def tell(self, level: Level, text: str) -> None: ...
    def open_dialog(self, dialog: QDialog, accepted: Callable[[], None]) -> None: ...


def ask(window: QWidget, desk: Desk, export: Export) -> None:
    """Ask where to save, save, and say so."""
    dialog = SaveDialog(window, export.title, "Save", desk.new_file(export.suffix), export.kinds)

    def accepted() -> None:
        path = dialog.output.path
        desk.remember_folder(path)
        try:
            export.write(path)
        except MldsimError as error:
            desk.tell(Level.ERROR, str(error))
        else:
            desk.tell(Level.INFO, f"Saved as {path}.")

    desk.open_dialog(dialog, accepted)
