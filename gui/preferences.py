"""What the window remembers from one start to the next. Broken or missing settings never stop a start."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from PySide6.QtCore import QByteArray, QSettings

from mldsim.files import put_aside

E = TypeVar("E", bound=enum.Enum)

LAYOUT_VERSION = 2
"""Raised when docks are added or renamed: a layout of an older window is then forgotten."""


def default_path() -> Path:
    """Where the settings of the window are kept."""
    return Path(platformdirs.user_config_dir("mldsim")) / "window.ini"


class Preferences:
    """A thin, forgiving layer over QSettings: whatever cannot be understood is as if it were not there.

    Attributes
    ----------
    path : Path
    trouble : str
        What was wrong with the file as a whole, one sentence; empty if nothing was.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_path()
        self.trouble = ""
        self._settings = QSettings(str(self.path), QSettings.Format.IniFormat)
        self._settings.allKeys()  # reads the file, which making it need not
        if self._settings.status() is QSettings.Status.FormatError:
            kept = put_aside(self.path)
            where = f"it is kept as {kept.name}" if kept else "they are left out"
            self.trouble = f"The settings in {self.path} cannot be read; {where}, and all begins with the defaults."
            self._settings = QSettings(str(self.path), QSettings.Format.IniFormat)

    def choice(self, key: str, default: E) -> E:
        """A member of the enum of `default`."""
        try:
            return type(default)(self._settings.value(key, default.value))
        except (ValueError, TypeError, EOFError):
            return default

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key)
        return {"true": True, "false": False}.get(str(value).lower(), default)

    def folder(self, key: str) -> Path:
        """A folder that exists; the user's home otherwise."""
        value = self._value(key)
        path = Path(value) if isinstance(value, str) and value else Path.home()
        try:
            return path if path.is_dir() else Path.home()
        except OSError:
            return Path.home()

    def paths(self, key: str) -> list[Path]:
        """Paths that were set by `set_paths`."""
        value = self._value(key)
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return [Path(name) for name in names if isinstance(name, str) and name]

    def set_paths(self, key: str, paths: list[Path]) -> None:
        self._settings.setValue(key, [str(path) for path in paths])

    def layout(self, key: str) -> QByteArray | None:
        value = self._value(key)
        return value if isinstance(value, QByteArray) and not value.isEmpty() else None

    def record(self, key: str) -> dict[str, Any]:
        """What `set_record` was given; empty where nothing was, or it cannot be read."""
        value = self._value(key)
        try:
            found = json.loads(value) if isinstance(value, str) else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def set_record(self, key: str, record: Mapping[str, object]) -> None:
        """Remember names with numbers, words and lists."""
        self._settings.setValue(key, json.dumps(record))

    def set(self, key: str, value: enum.Enum | bool | Path | QByteArray) -> None:
        """Remember a value."""
        if isinstance(value, enum.Enum):
            value = value.value
        self._settings.setValue(key, str(value) if isinstance(value, Path) else value)

    def save(self) -> None:
        """Write to disk; a disk that refuses costs the memory, not the window."""
        self._settings.sync()

    def _value(self, key: str) -> object:
        try:
            return self._settings.value(key)
        except (ValueError, TypeError, EOFError, RuntimeError):  # an entry that Qt cannot decode
            return None
