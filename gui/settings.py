"""Settings of the application: what they are, in which range, and what they do. The dialog is made from `ENTRIES`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mldsim.errors import InputError
from mldsim.plain import from_text, to_plain

if TYPE_CHECKING:
    from mldsim.gui.preferences import Preferences

KEY = "settings"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user sets once; one field per entry of `ENTRIES`."""

    model: str = "water"
    folder: str = ""
    threads: int = 0
    memory: int = 256
    size: int = 100
    confirm_close: bool = True

    def __post_init__(self) -> None:
        for name, entry in ENTRIES.items():
            if entry.limits is not None and not entry.limits[0] <= getattr(self, name) <= entry.limits[1]:
                low, high = entry.limits
                raise InputError(f"{entry.label} must lie between {low} and {high}.")


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting.

    Attributes
    ----------
    label, tip : str
    at_start : bool
        Whether it counts only from the next start on.
    limits : (int, int) or None
        Of a number.
    unit : str
    """

    label: str
    tip: str
    at_start: bool = False
    limits: tuple[int, int] | None = None
    unit: str = ""


ENTRIES: dict[str, Entry] = {
    "model": Entry("Model at the start", "The loss model that mldsim opens with, unless --model names another.", True),
    "folder": Entry("Folder", "Where files are opened and saved first; left empty, where you did so last."),
    "threads": Entry(
        "Threads", "Cores that compute; 0 takes all but one, which the window needs to stay smooth.", True, (0, 1024)
    ),
    "memory": Entry(
        "Memory for the past", "How much of a run is kept to be looked back at and exported; when it is full, every "
        "second frame of it goes.", True, (16, 65536), "MB",
    ),
    "size": Entry(
        "Size of the window's parts", "Text, buttons and lines, larger or smaller than the screen's own size of them.",
        True, (75, 300), "%",
    ),
    "confirm_close": Entry("Ask before closing", "While a recording is under way."),
}  # fmt: skip


def load_settings(preferences: Preferences) -> Settings:
    """The settings; the defaults where what was kept cannot be."""
    try:
        return from_text(Settings, json.dumps(preferences.record(KEY)), KEY)
    except InputError:
        return Settings()


def save_settings(preferences: Preferences, settings: Settings) -> None:
    """Keep the settings."""
    preferences.set_record(KEY, to_plain(settings))
    preferences.save()
