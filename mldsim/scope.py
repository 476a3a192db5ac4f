"""Whose loss an agent descends."""

from __future__ import annotations

import enum


class Scope(enum.Enum):
    """Whose loss an agent descends."""

    OWN = "own"
    SHARED = "shared"
