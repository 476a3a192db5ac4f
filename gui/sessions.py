"""What a window shows, as it is kept in a session and found again."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray

from mldsim.gui.preferences import LAYOUT_VERSION
from mldsim.gui.viewport import Colouring, Style
from mldsim.gui.viewport.camera import Gaze
from mldsim.gui.viewport.scales import Scale
from mldsim.plain import from_text, to_text

if TYPE_CHECKING:
    from mldsim.gui.main_window import MainWindow

SESSIONS = "Sessions and checkpoints (*.h5 *.session.h5);;All files (*)"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a window shows, but for the simulation itself. Whatever is missing stays as it is.

    Attributes
    ----------
    layout : str
        Docks and tool bars as Qt tells them, in base 64.
    gaze : Gaze or None
        Of the camera.
    colouring, style, images, toggles
        Of the view; toggles by the names of their actions.
    scales : dict
        Of colours, for each quantity.
    picked : tuple of int
    pace : float, fs per second, or None
    """

    layout: str = ""
    gaze: Gaze | None = None
    colouring: Colouring | None = None
    style: Style | None = None
    images: tuple[int, int, int] = (1, 1, 1)
    toggles: dict[str, bool] = field(default_factory=dict)
    scales: dict[Colouring, Scale] = field(default_factory=dict)
    picked: tuple[int, ...] = ()
    pace: float | None = None


@dataclass(frozen=True, slots=True)
class Looks:
    """What the view keeps from one start to the next, besides single choices.

    Attributes
    ----------
    images : (int, int, int)
        Of the periodic box.
    scales : dict
        Of every quantity that colours can tell.
    """

    images: tuple[int, int, int] = (1, 1, 1)
    scales: dict[Colouring, Scale] = field(default_factory=dict)


def looks_of(window: MainWindow) -> str:
    """The looks of a view, as text."""
    view = window.viewport
    return to_text(Looks(view.images, {colouring: view.scale(colouring) for colouring in Colouring}))


def show_looks(window: MainWindow, text: str) -> None:
    """Take what `looks_of` gave.

    Raises
    ------
    InputError
        If it is not such a text.
    """
    looks = from_text(Looks, text, "The settings of the window")
    for colouring, scale in looks.scales.items():
        window.viewport.set_scale(colouring, scale)
    window.view_panel.show_scale(window.viewport.scale(window.colouring))
    if all(count in (1, 3) for count in looks.images):
        window.set_images(looks.images)


def text_of(window: MainWindow, toggles: tuple[str, ...]) -> str:
    """What a window shows, as text for `mldsim.messages.SaveSession`."""
    view = window.viewport
    return to_text(
        Shown(
            layout=b64encode(window.saveState(LAYOUT_VERSION).data()).decode(),
            gaze=view.camera.gaze,
            colouring=window.colouring,
            style=window.style_of_view,
            images=view.images,
            toggles={name: window.actions_[name].isChecked() for name in toggles},
            scales={colouring: view.scale(colouring) for colouring in Colouring},
            picked=window.picks.picked,
            pace=window.controller.pace,
        )
    )


def show(window: MainWindow, text: str, toggles: tuple[str, ...], where: str) -> None:
    """Show again what the text of a session says.

    Raises
    ------
    InputError
        If it is not such a text; nothing is changed then.
    """
    shown = from_text(Shown, text, f"{where}, window")
    try:
        layout = b64decode(shown.layout, validate=True)
    except (binascii.Error, ValueError):
        layout = b""
    if layout:
        window.restoreState(QByteArray(layout), LAYOUT_VERSION)
    for name in toggles:
        if name in shown.toggles:
            window.actions_[name].setChecked(shown.toggles[name])
    for colouring, scale in shown.scales.items():
        window.viewport.set_scale(colouring, scale)
    if shown.colouring is not None:
        window.set_colouring(shown.colouring)
    if shown.style is not None:
        window.set_style(shown.style)
    if all(count in (1, 3) for count in shown.images):
        window.set_images(shown.images)
    if shown.gaze is not None:
        window.viewport.look_as(shown.gaze)
    window.picks.pick(shown.picked if min(shown.picked, default=0) >= 0 else ())
    if shown.pace is None or shown.pace > 0.0:
        window.controller.set_pace(shown.pace)
