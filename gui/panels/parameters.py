"""The panel of everything that can be set: while the simulation runs, and with a restart."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from mldsim.gui import theme
from mldsim.gui.panels.fields import Choice, FlatButton, NumberRow, Paragraph, mark_changed
from mldsim.gui.panels.panel import Panel, WordyButton, push_button
from mldsim.gui.viewmodel import THERMOSTAT_NAMES, THERMOSTAT_PHYSICS, model_card
from mldsim.parameters import FIELDS, Parameters, Setup, ThermostatKind
from mldsim.presets import SHIPPED, Preset
from mldsim.units import format_time

LIVE = ("temperature", "coupling_time", "timestep", "steps_per_frame")
RESTART = ("molecules", "density", "seed")
OPEN_FILE = "open a file"
SAVE_PRESET, MANAGE_PRESETS = "save as a preset", "manage presets"
"""Entries of lists that are commands; no file and no preset has such a name."""


class ParameterPanel(Panel):
    """Parameters, model, and what needs a restart; built once, then only filled.

    Signals
    -------
    changed(dict) : some fields of `Parameters` are asked for
    restart_asked(dict) : a new simulation with these fields of `Setup`
    model_asked(str) : another loss model, by name or path
    applied(Parameters) : what the engine took
    """

    changed = Signal(dict)
    restart_asked = Signal(dict)
    model_asked = Signal(str)
    applied = Signal(object)
    preset_chosen = Signal(str)
    save_preset_asked = Signal()
    manage_presets_asked = Signal()
    schedule_asked = Signal()
    open_model_asked = Signal()
    open_structure_asked = Signal()
    quench_asked = Signal()
    velocities_asked = Signal()

    def __init__(self, shipped_models: list[str], setup: Setup) -> None:
        super().__init__()
        self._setup = setup
        self._shipped = shipped_models
        self._always = False
        self._buttons: list[FlatButton] = []
        self._preset = SHIPPED[0]
        self._applied = self._preset.parameters
        self._build_presets()
        self._build_dynamics()
        self._build_model()
        self._build_restart()
        self.finish()
        self._show_model(setup.model)
        self._show_setup()

    # --- what the controller shows ---

    def show_parameters(self, applied: Parameters) -> None:
        """Show parameters as the engine took them."""
        for name in LIVE:
            self.rows[name].show_applied(float(getattr(applied, name)))
        self._applied = applied
        self.thermostat.show_data(applied.thermostat)
        self.thermostat.setToolTip(f"<p>{THERMOSTAT_PHYSICS[applied.thermostat]}</p>")
        self.rows["coupling_time"].set_available(applied.thermostat is not ThermostatKind.NONE)
        schedule = applied.schedule
        self.schedule.say("None" if schedule is None else str(schedule))
        self.schedule.setToolTip(
            "<p>Moves the target while it runs: heats, cools, or goes up and down again and again.</p>"
            + ("" if schedule is None else f"<p>{schedule}, begun at {format_time(schedule.begin)}.</p>")
        )
        self._mark_choices()
        self.edited.setText(f"Edited: {applied.loss.words()}.")
        self.edited.setVisible(bool(applied.loss))
        self.applied.emit(applied)

    def show_target(self, target: float) -> None:
        """Show the target of now, K, while a schedule moves it."""
        self.rows["temperature"].show_applied(target)

    def show_presets(self, shipped: Sequence[Preset], own: Sequence[Preset], taken: Preset) -> None:
        """Show what can be taken, and which one was; what is not as in it is shown in bold."""
        self._preset = taken
        self.preset.clear()
        for presets in (shipped, own):
            for preset in presets:
                self.preset.addItem(preset.name, preset.name)
                self.preset.setItemData(
                    self.preset.count() - 1, f"<p>{html.escape(preset.told)}</p>", Qt.ItemDataRole.ToolTipRole
                )
            if presets:
                self.preset.insertSeparator(self.preset.count())
        self.preset.addItem("Save as a preset…", SAVE_PRESET)
        self.preset.addItem("Manage presets…", MANAGE_PRESETS)
        self._show_preset()
        for name in LIVE:
            self.rows[name].set_default(float(getattr(taken.parameters, name)), taken.name)
        for name, row in self.restart_rows.items():
            row.set_default(float(getattr(taken.setup, name)), taken.name)
        self._mark_choices()

    def show_pending(self, names: frozenset[str]) -> None:
        """Mark what was asked for and is not applied yet."""
        for name in LIVE:
            self.rows[name].set_pending(name in names)

    def show_loaded(self, setup: Setup, model_name: str, n_agents: int) -> None:
        """Show another system or another model."""
        self._setup = setup
        self._show_model(setup.model)
        card = model_card(setup.model, model_name)
        self.card.setText(card.short)
        self.card.setToolTip(card.full)
        self._show_setup(n_agents)

    def offer_restart(self, always: bool) -> None:
        """Offer a restart even when nothing was changed: the last one could not be built."""
        self._always = always
        self._on_restart_edited()

    def colour(self, colours: theme.Colours) -> None:
        """Draw the icons in the colours of a theme."""
        for row in (*self.rows.values(), *self.restart_rows.values()):
            row.undo.colour(colours)
        for button in (*self._buttons, *self._back.values()):
            button.colour(colours)

    # --- built once ---

    def _build_presets(self) -> None:
        self._back = {name: FlatButton("undo", "") for name in ("thermostat", "model", "schedule")}
        for name, button in self._back.items():
            button.clicked.connect(lambda _=False, name=name: self._on_back(name))
        self.preset = Choice()
        self.preset.setMinimumContentsLength(12)
        self.preset.activated.connect(self._on_preset)
        self.labelled("Preset", self.preset)

    def _build_dynamics(self) -> None:
        self.rows = {name: NumberRow(name) for name in LIVE}
        self.thermostat = Choice()
        for kind, title in THERMOSTAT_NAMES.items():
            self.thermostat.addItem(title, kind)
        self.thermostat.activated.connect(self._on_thermostat)
        self.column.addWidget(self.rows["temperature"])
        self.schedule = WordyButton("None")
        self.schedule.clicked.connect(self.schedule_asked)
        self.labelled("Schedule", self.schedule, self._back["schedule"])
        self.labelled("Thermostat", self.thermostat, self._back["thermostat"])
        for name in ("coupling_time", "timestep", "steps_per_frame"):
            self.column.addWidget(self.rows[name])
        for name, row in self.rows.items():
            row.asked.connect(lambda value, name=name: self._on_number(name, value))
        self.quench = push_button("Quench", "Descend the loss without inertia until it is flat, then pause (Ctrl+D)")
        self.quench.clicked.connect(self.quench_asked)
        self.velocities = push_button("New velocities", "Draw all velocities at the target temperature (Ctrl+N)")
        self.velocities.clicked.connect(self.velocities_asked)
        self.side_by_side(self.quench, self.velocities)

    def _build_model(self) -> None:
        self.heading("Loss model")
        self.model = Choice()
        self.model.setToolTip("<p>The loss that the agents descend: another one goes on from the present state.</p>")
        for name in self._shipped:
            self.model.addItem(name, name)
        self.model.insertSeparator(self.model.count())
        self.model.addItem("Open file…", OPEN_FILE)
        self.model.activated.connect(self._on_model)
        self.labelled("Model", self.model, self._back["model"])
        self.card = Paragraph(Qt.TextFormat.RichText)
        self.column.addWidget(self.card)
        self.edited = Paragraph()
        self.edited.setProperty("level", "warning")
        self.edited.setToolTip("<p>The dock Loss changes the fitted loss, and brings it back.</p>")
        self.edited.hide()
        self.column.addWidget(self.edited)

    def _build_restart(self) -> None:
        self.heading("Start again with").setToolTip("A change of these needs a restart: the present run ends.")
        self.restart_rows = {name: NumberRow(name, slider=False) for name in RESTART}
        for row in self.restart_rows.values():
            self.column.addWidget(row)
            row.asked.connect(lambda value, row=row: self._on_restart_number(row, value))
            row.box.lineEdit().textEdited.connect(self._on_restart_edited)
        self.start_text = Paragraph()
        self.column.addWidget(self.start_text)
        self.water_box = push_button("Use a water box", "Forget the structure file and build a box of water again")
        self.water_box.clicked.connect(self._on_water_box)
        self.restart = push_button("Apply and restart", "Build a new simulation; the present one ends")
        self.restart.setProperty("primary", True)
        self.restart.clicked.connect(self._on_restart)
        self.side_by_side(self.water_box, self.restart)

    # --- what the user does ---

    def _on_preset(self) -> None:
        data = self.preset.currentData()
        self._show_preset()
        if data == SAVE_PRESET:
            self.save_preset_asked.emit()
        elif data == MANAGE_PRESETS:
            self.manage_presets_asked.emit()
        elif data is not None:
            self.preset_chosen.emit(data)

    def _show_preset(self) -> None:
        self.preset.show_data(self._preset.name)
        self.preset.setToolTip(f"<p>{html.escape(self._preset.told or self._preset.name)}</p>")

    def _on_back(self, name: str) -> None:
        if name == "model":
            self.model_asked.emit(self._preset.setup.model)
        else:
            self.changed.emit({name: getattr(self._preset.parameters, name)})

    def _mark_choices(self) -> None:
        """Mark thermostat, model and schedule where they are not those of the preset."""
        preset, name = self._preset, html.escape(self._preset.name)
        shown: dict[str, tuple[QWidget, bool, str]] = {
            "thermostat": (
                self.thermostat,
                self._applied.thermostat is not preset.parameters.thermostat,
                THERMOSTAT_NAMES[preset.parameters.thermostat],
            ),
            "model": (self.model, self._setup.model != preset.setup.model, preset.setup.model),
            "schedule": (
                self.schedule,
                self._applied.begun_at(0.0).schedule != preset.parameters.begun_at(0.0).schedule,
                str(preset.parameters.schedule or "none"),
            ),
        }
        for key, (widget, changed, original) in shown.items():
            mark_changed(widget, changed)
            self._back[key].setEnabled(changed)
            self._back[key].setToolTip(f"Back to {original}, as in the preset ‘{name}’")

    def _on_number(self, name: str, value: float) -> None:
        self.changed.emit({name: int(value) if FIELDS[name].integer else value})

    def _on_thermostat(self) -> None:
        self.changed.emit({"thermostat": self.thermostat.currentData()})

    def _on_model(self) -> None:
        data = self.model.currentData()
        self._show_model_choice()  # what is shown is what is applied; the answer of the engine changes it
        if data == OPEN_FILE:
            self.open_model_asked.emit()
        elif data != self._setup.model:
            self.model_asked.emit(data)

    def _on_restart_number(self, row: NumberRow, value: float) -> None:
        row.box.show_value(value)
        self._on_restart_edited()

    def _on_restart_edited(self) -> None:
        changed = self._restart_changes()
        typing = any(row.box.being_typed() for row in self.restart_rows.values())
        self.restart.setEnabled(bool(changed) or typing or self._always)
        for row in self.restart_rows.values():
            row.mark()

    def _on_restart(self) -> None:
        for row in self.restart_rows.values():
            row.box.interpretText()
        changes = self._restart_changes()
        if changes or self._always:
            self.restart_asked.emit(changes)

    def _on_water_box(self) -> None:
        self.restart_asked.emit({**self._restart_changes(), "start": None})

    def _restart_changes(self) -> dict[str, float | int]:
        changes: dict[str, float | int] = {}
        for name, row in self.restart_rows.items():
            value = int(row.value) if FIELDS[name].integer else row.value
            if row.isEnabled() and value != getattr(self._setup, name):
                changes[name] = value
        return changes

    # --- shown ---

    def _show_setup(self, n_agents: int = 0) -> None:
        start: Path | None = self._setup.start
        for name, row in self.restart_rows.items():
            row.set_available(start is None or name == "seed")
            row.box.show_value(float(getattr(self._setup, name)))
            row.mark()
        if start is None:
            self.start_text.setText("")
        else:
            agents = f", {n_agents} agents" if n_agents else ""
            self.start_text.setText(f"Started from {start.name}{agents}: the file gives the agents and the box.")
        self.start_text.setVisible(start is not None)
        self.water_box.setVisible(start is not None)
        self._on_restart_edited()

    def _show_model(self, model: str) -> None:
        if self.model.findData(model) < 0:
            self.model.insertItem(len(self._shipped), Path(model).name, model)
        self._show_model_choice()

    def _show_model_choice(self) -> None:
        self.model.show_data(self._setup.model)
        self._mark_choices()
