"""The panel of the view: what colours tell, how agents are drawn, and what is drawn around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget

from mldsim.gui.panels.fields import LABEL_WIDTH, Choice, NumberBox, Tick
from mldsim.gui.panels.panel import Panel, action_button
from mldsim.gui.viewport import Colouring, Style
from mldsim.gui.viewport.quantities import QUANTITIES
from mldsim.gui.viewport.scales import ColourMap, Scale

COLOURING_NAMES: dict[Colouring, str] = {
    Colouring.ELEMENT: "Element",
    Colouring.MOLECULE: "Molecule",
    Colouring.SPEED: "Speed",
    Colouring.LOSS: "Loss of each agent",
    Colouring.GRADIENT: "Gradient",
    Colouring.DOUBT: "Doubt",
    Colouring.HYDROGEN_BONDS: "Hydrogen bonds",
}

COLOURING_PHYSICS: dict[Colouring, str] = {
    Colouring.ELEMENT: "The species of each agent: it decides which loss the agent has.",
    Colouring.MOLECULE: "Molecules in colours that only tell them apart, to follow one among the others.",
    Colouring.SPEED: "How fast each agent moves; hydrogen is lighter and faster at the same temperature.",
    Colouring.LOSS: "How much each agent has to lose; only agents of one species can be compared.",
    Colouring.GRADIENT: "How steep the loss is that each agent descends: the length of its force.",
    Colouring.DOUBT: "The error to expect of each force; grey until the first judgement.",
    Colouring.HYDROGEN_BONDS: "How many hydrogen bonds the agent's molecule gives and takes: four in ice.",
}

STYLE_NAMES: dict[Style, str] = {
    Style.BALL_AND_STICK: "Balls and sticks",
    Style.SPACE_FILLING: "Space-filling spheres",
    Style.STICKS: "Sticks",
}

MAP_NAMES: dict[ColourMap, str] = {
    ColourMap.VIRIDIS: "Viridis",
    ColourMap.CIVIDIS: "Cividis",
    ColourMap.MAGMA: "Magma",
}

IMAGE_NAMES: dict[tuple[int, int, int], str] = {
    (1, 1, 1): "None",
    (3, 3, 1): "Along x and y",
    (3, 3, 3): "In all directions",
}

T = TypeVar("T")

LARGEST = 1e7
"""What the ends of a colour scale can be set to."""


class PreviewChoice(Choice):
    """A list whose entries are tried while the mouse or the arrows go over them.

    Signals
    -------
    hovered(object) : the entry under the mouse while the list is open
    left() : the list was closed; what was hovered counts no more
    """

    hovered = Signal(object)
    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.highlighted.connect(lambda index: self.hovered.emit(self.itemData(index)))

    def hidePopup(self) -> None:  # noqa: N802
        super().hidePopup()
        self.left.emit()


class ViewPanel(Panel):
    """What the 3-D view shows; built once, then only filled.

    Parameters
    ----------
    toggles : list of QAction
        Commands that are on or off: each becomes a box to tick.
    buttons : list of QAction
        Commands of the camera.

    Signals
    -------
    colouring_chosen(Colouring), colouring_tried(Colouring or None), style_chosen(Style), scale_chosen(Scale),
    images_chosen(tuple)
    range_fixed() : a fixed range is asked for; who knows what is shown now answers with `fix_range`
    """

    colouring_chosen = Signal(Colouring)
    colouring_tried = Signal(object)
    style_chosen = Signal(Style)
    scale_chosen = Signal(Scale)
    images_chosen = Signal(tuple)
    range_fixed = Signal()

    def __init__(self, toggles: list[QAction], buttons: list[QAction]) -> None:
        super().__init__()
        self._scale = Scale()
        self._build_colours()
        self._build_drawing(toggles)
        self._build_camera(buttons)
        self.finish()

    # --- shown ---

    def show_colouring(self, colouring: Colouring, scale: Scale) -> None:
        """Show what colours tell, and the scale of it."""
        self.colouring.show_data(colouring)
        self.colouring.setToolTip(f"<p>{COLOURING_PHYSICS[colouring]}</p>")
        quantity = QUANTITIES.get(colouring)
        self.colour_map.setEnabled(quantity is not None or colouring is Colouring.HYDROGEN_BONDS)
        self.backwards.setEnabled(self.colour_map.isEnabled())
        self.range.setEnabled(quantity is not None)
        unit = f" {quantity.unit}" if quantity is not None else ""
        for box in (self.low, self.high):
            box.setSuffix(unit)
        self.show_scale(scale)

    def show_scale(self, scale: Scale) -> None:
        """Show a colour scale as it is."""
        self._scale = scale
        self.colour_map.show_data(scale.colour_map)
        self.backwards.show_checked(scale.backwards)
        self.range.show_data(scale.fixed is not None)
        self._ends.setVisible(scale.fixed is not None and self.range.isEnabled())
        if scale.fixed is not None:
            self.low.show_value(scale.fixed[0])
            self.high.show_value(scale.fixed[1])

    def show_images(self, images: tuple[int, int, int]) -> None:
        self.images.show_data(images)

    def show_style(self, style: Style) -> None:
        self.style_choice.show_data(style)

    def fix_range(self, low: float, high: float) -> None:
        """Ask for a fixed range."""
        self.scale_chosen.emit(replace(self._scale, fixed=(low, high)))

    # --- built once ---

    def _build_colours(self) -> None:
        self.heading("Colours")
        self.colouring = PreviewChoice()
        for kind, title in COLOURING_NAMES.items():
            self.colouring.addItem(title, kind)
            self.colouring.setItemData(
                self.colouring.count() - 1, f"<p>{COLOURING_PHYSICS[kind]}</p>", Qt.ItemDataRole.ToolTipRole
            )
        self.colouring.hovered.connect(self.colouring_tried)
        self.colouring.left.connect(lambda: self.colouring_tried.emit(None))
        self.colouring.activated.connect(lambda _: self.colouring_chosen.emit(self.colouring.currentData()))
        self.labelled("Colour by", self.colouring)
        self.colour_map = _choice(MAP_NAMES)
        self.colour_map.setToolTip(
            "<p>All three grow in lightness alone, so that they can be read without hue and in grey; Cividis looks the "
            "same to those who do not see red and green apart.</p>"
        )
        self.colour_map.activated.connect(
            lambda _: self.scale_chosen.emit(replace(self._scale, colour_map=self.colour_map.currentData()))
        )
        self.labelled("Colour map", self.colour_map)
        self.range = _choice({False: "Automatic", True: "Fixed"})
        self.range.setToolTip(
            "<p>Automatic follows the middle 94 % of the agents; fixed makes pictures of different moments and models "
            "comparable.</p>"
        )
        self.range.activated.connect(lambda _: self._on_range())
        self.labelled("Range", self.range)
        self.low, self.high = (NumberBox(-LARGEST, LARGEST) for _ in range(2))
        self._ends = QWidget()
        ends = QHBoxLayout(self._ends)
        ends.setContentsMargins(0, 0, 0, 0)
        ends.setSpacing(6)
        label = QLabel("From, to")
        label.setFixedWidth(LABEL_WIDTH)
        ends.addWidget(label)
        for box, what in ((self.low, "low"), (self.high, "high")):
            box.setToolTip(f"The value at the {what} end of the colour scale")
            box.setAccessibleName(f"{what.capitalize()} end of the colour scale")
            box.asked.connect(self._on_end)
            box.setMinimumWidth(60)  # not that of the largest number: the dock would be too narrow for two of them
            ends.addWidget(box, 1)
        self.column.addWidget(self._ends)
        self.backwards = Tick("Reversed", "The high end gets the colour of the low one")
        self.backwards.toggled.connect(lambda on: self.scale_chosen.emit(replace(self._scale, backwards=on)))
        self.labelled("", self.backwards)

    def _build_drawing(self, toggles: list[QAction]) -> None:
        self.heading("Drawing")
        self.style_choice = _choice(STYLE_NAMES)
        self.style_choice.setToolTip(
            "<p>Balls and sticks show bonds; space-filling spheres (van der Waals) reach to where neighbours begin "
            "to repel; sticks leave the view free.</p>"
        )
        self.style_choice.activated.connect(lambda _: self.style_chosen.emit(self.style_choice.currentData()))
        self.labelled("Draw as", self.style_choice)
        self.images = _choice(IMAGE_NAMES)
        self.images.setToolTip("<p>The box has no walls: what leaves on one side comes in on the other.</p>")
        self.images.activated.connect(lambda _: self.images_chosen.emit(self.images.currentData()))
        self.labelled("Periodic images", self.images)
        grid = QGridLayout()
        grid.setVerticalSpacing(5)
        self.ticks: dict[str, Tick] = {}
        for place, action in enumerate(toggles):
            tick = Tick(action.text(), action.toolTip())
            tick.show_checked(action.isChecked())
            tick.toggled.connect(action.setChecked)
            action.toggled.connect(tick.show_checked)
            grid.addWidget(tick, place // 2, place % 2)
            self.ticks[action.objectName()] = tick
        self.column.addLayout(grid)

    def _build_camera(self, buttons: list[QAction]) -> None:
        self.heading("Camera")
        grid = QGridLayout()
        grid.setSpacing(6)
        for place, action in enumerate(buttons):
            button = action_button(action)
            # Two, and below them the three axes.
            wide = place < len(buttons) - 3
            grid.addWidget(
                button, int(not wide), 3 * place if wide else 2 * (place - len(buttons) + 3), 1, 3 - int(not wide)
            )
        self.column.addLayout(grid)

    # --- what the user does ---

    def _on_range(self) -> None:
        if self.range.currentData():
            self.range_fixed.emit()
        else:
            self.scale_chosen.emit(replace(self._scale, fixed=None))

    def _on_end(self, _: float) -> None:
        self.scale_chosen.emit(replace(self._scale, fixed=(self.low.value(), self.high.value())))


def _choice(names: Mapping[T, str]) -> Choice:
    choice = Choice()
    for value, title in names.items():
        choice.addItem(title, value)
    return choice
