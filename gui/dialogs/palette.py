"""The command palette: every command of the menus, found by a few letters."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QDialog, QLineEdit, QMenu, QTreeWidget, QTreeWidgetItem, QVBoxLayout, QWidget

_ACTION = Qt.ItemDataRole.UserRole


def commands_of(menus: list[QMenu]) -> list[tuple[str, QAction]]:
    """Every command that menus offer, with its way through them: ``View › Colour by › Loss``."""
    found: list[tuple[str, QAction]] = []

    def collect(menu: QMenu, way: str) -> None:
        for action in menu.actions():
            text = action.text().replace("&", "").rstrip("…")
            inner = action.menu()
            if isinstance(inner, QMenu):
                collect(inner, f"{way}{text} › ")
            elif text and not action.isSeparator():
                found.append((way + text, action))

    for menu in menus:
        collect(menu, menu.title().replace("&", "") + " › ")
    return found


def rank(typed: str, name: str) -> int | None:
    """How well what was typed finds a name, smaller is better; None where it does not.

    Every word has to be in the name; words that begin where a word of the name begins count more, and so does the end
    of the way, which is the command itself.
    """
    lower, worst = name.casefold(), 0
    for word in typed.casefold().split():
        place = lower.find(word)
        if place < 0:
            return None
        last = lower.rfind("›")
        begins = f" {word}" in f" {lower[last + 1 :]}"
        worst += 0 if begins else 1 if lower.find(word, last) >= 0 else 2
    return worst


class Palette(QDialog):
    """A field to type into and the commands that it finds; Enter does the one that is chosen."""

    def __init__(self, parent: QWidget, menus: list[QMenu]) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setWindowTitle("Commands")
        self._commands = commands_of(menus)
        self._items: list[QTreeWidgetItem] = []
        self.field = QLineEdit()
        self.field.setPlaceholderText("Type a few letters of a command")
        self.field.textChanged.connect(self._find)
        self.field.installEventFilter(self)
        self.list = QTreeWidget()
        self.list.setColumnCount(2)
        self.list.setHeaderHidden(True)
        self.list.setRootIsDecorated(False)
        self.list.setUniformRowHeights(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemClicked.connect(lambda item, _: self._do(item))
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 10)
        column.setSpacing(8)
        column.addWidget(self.field)
        column.addWidget(self.list, 1)
        self.resize(520, 380)
        self.list.setColumnWidth(0, 370)
        self._find("")

    def names(self) -> list[str]:
        """What is found now, best first."""
        return [item.text(0) for item in self._items]

    def showEvent(self, event: QEvent) -> None:  # noqa: N802
        super().showEvent(event)  # type: ignore[arg-type]
        self.field.setFocus()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """The field keeps the keyboard; arrows and Enter go to the list."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1, Qt.Key.Key_PageDown: 8, Qt.Key.Key_PageUp: -8}.get(
                Qt.Key(event.key())
            )
            if step is not None:
                self._move(step)
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                item = self.list.currentItem()
                if item is not None:
                    self._do(item)
                return True
        return super().eventFilter(watched, event)

    def _find(self, typed: str) -> None:
        ranked = [(rank(typed, name), place) for place, (name, _) in enumerate(self._commands)]
        order = sorted((found, place) for found, place in ranked if found is not None)
        self.list.clear()
        self._items = []
        native = QKeySequence.SequenceFormat.NativeText
        for _, place in order:
            name, action = self._commands[place]
            mark = "✓ " if action.isCheckable() and action.isChecked() else ""
            item = QTreeWidgetItem([mark + name, action.shortcut().toString(native)])
            item.setData(0, _ACTION, action)
            item.setTextAlignment(1, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            item.setToolTip(0, action.toolTip())
            item.setDisabled(not action.isEnabled())
            self.list.addTopLevelItem(item)
            self._items.append(item)
        self._move(0)

    def _move(self, step: int) -> None:
        """Choose the command so many rows below; those that make no sense now are skipped."""
        possible = [item for item in self._items if not item.isDisabled()]
        if possible:
            now = self.list.currentItem()
            place = possible.index(now) if now in possible else 0
            self.list.setCurrentItem(possible[min(max(place + step, 0), len(possible) - 1)])

    def _do(self, item: QTreeWidgetItem) -> None:
        if item.isDisabled():
            return
        action = item.data(0, _ACTION)
        # Closed first: a command may open a dialog of its own.
        self.accept()
        action.trigger()
