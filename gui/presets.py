"""Presets in the window: the menu, the list of the panel, saving and managing."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup
from PySide6.QtWidgets import QDialog, QMenu, QWidget

from mldsim.errors import MldsimError
from mldsim.gui.controller import Controller
from mldsim.gui.dialogs.presets import ManageDialog, NameDialog
from mldsim.gui.panels.parameters import ParameterPanel
from mldsim.messages import Level
from mldsim.presets import SHIPPED, Preset, Presets


class PresetDesk(QObject):
    """Takes presets, and lets the user keep some of his own.

    Parameters
    ----------
    window : QWidget
    presets : Presets
    panel : ParameterPanel
        Shows which one was taken last, and what was changed since.
    controller : Controller
    tell : callable (level, text)
    open_dialog : callable (dialog, accepted)
    """

    def __init__(
        self,
        window: QWidget,
        presets: Presets,
        panel: ParameterPanel,
        controller: Controller,
        tell: Callable[[Level, str], None],
        open_dialog: Callable[[QDialog, Callable[[], None]], None],
    ) -> None:
        super().__init__(window)
        self._window, self._presets, self._panel, self._controller = window, presets, panel, controller
        self._tell, self._open_dialog = tell, open_dialog
        self.taken = SHIPPED[0]
        self.menu = QMenu("Presets", window)
        self.menu.setToolTipsVisible(True)
        self.commands: dict[str, Callable[[], object]] = {
            "save_preset": self.ask_save,
            "manage_presets": self.ask_manage,
        }
        panel.preset_chosen.connect(self.take)
        panel.save_preset_asked.connect(self.ask_save)
        panel.manage_presets_asked.connect(self.ask_manage)
        self._show()
        if presets.trouble:
            tell(Level.WARNING, presets.trouble)

    def take(self, name: str) -> None:
        """Take a preset: parameters at once, another system by a restart."""
        preset = self._presets.named(name)
        if preset is not None:
            self.taken = preset
            self._controller.take(preset.setup, preset.parameters)
            self._show()

    def ask_save(self) -> None:
        """Ask for a name, and keep what is set now under it."""
        names = {preset.name for preset in self._presets.own}
        dialog = NameDialog(self._window, self.taken.name if self.taken in self._presets.own else "", names)

        def save() -> None:
            preset = Preset(dialog.name, dialog.told, self._controller.setup, self._controller.applied)
            if self._tried(lambda: self._presets.save(preset, replacing=True)):
                self.taken = self._presets.named(" ".join(dialog.name.split())) or self.taken
                self._tell(Level.INFO, f"What is set now was saved as the preset '{self.taken.name}'.")
            self._show()

        self._open_dialog(dialog, save)

    def ask_manage(self) -> None:
        """Rename and delete the user's own."""
        dialog = ManageDialog(self._window, self._presets, self._tried)
        self._open_dialog(dialog, self._show)
        dialog.finished.connect(lambda _: self._show())

    def _tried(self, change: Callable[[], None]) -> bool:
        """Change the presets, or say why not; whether it was done."""
        try:
            change()
        except MldsimError as error:
            self._tell(Level.ERROR, str(error))
            return False
        return True

    def _show(self) -> None:
        if self.taken not in self._presets.all():
            self.taken = self._presets.named(self.taken.name) or SHIPPED[0]
        self._panel.show_presets(SHIPPED, self._presets.own, self.taken)
        self.menu.clear()
        group = QActionGroup(self.menu)
        for presets in (SHIPPED, self._presets.own):
            for preset in presets:
                action = QAction(preset.name, self.menu)
                action.setToolTip(preset.told or preset.name)
                action.setCheckable(True)
                action.setChecked(preset is self.taken)
                action.triggered.connect(lambda _=False, name=preset.name: self.take(name))
                group.addAction(action)
                self.menu.addAction(action)
            if presets is SHIPPED and self._presets.own:
                self.menu.addSeparator()
