"""A model's card in words: what people read of it, on a terminal or on a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def told(card: Mapping[str, Any]) -> dict[str, str]:
    """Fields of a card as one line of text each; what is long there is told in short. A card may hold anything."""
    words: dict[str, str] = {}
    for key, value in card.items():
        if key == "errors" and isinstance(value, dict):
            for part, errors in value.items():
                words[f"force error, {part}"] = _errors(errors)
        elif key == "cross_validation" and isinstance(value, dict) and isinstance(value.get("trials"), list):
            words["cross-validation"] = f"{len(value['trials'])} settings tried on {value.get('folds')} folds"
        elif key == "bad_frames" and isinstance(value, list):
            words["bad frames left out"] = "; ".join(_frame(frame) for frame in value)
        elif key == "bounded" and isinstance(value, dict):
            words["bounded below"] = _bounded(value)
        else:
            words[str(key)] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return words


def _number(value: Any, key: str) -> float | None:
    found = value.get(key) if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) else None


def _errors(errors: Any) -> str:
    rmse = _number(errors, "force_rmse_meV_A")
    if rmse is None:
        return json.dumps(errors, ensure_ascii=False)
    return f"{rmse:.1f} meV/Å on {errors.get('frames')} frames"


def _frame(frame: Any) -> str:
    if not isinstance(frame, dict):
        return json.dumps(frame, ensure_ascii=False)
    place = " ".join(str(frame[key]) for key in ("source", "system") if frame.get(key))
    return f"{place} frame {frame.get('frame')}"


def _bounded(value: dict[str, Any]) -> str:
    error, free = _number(value, "train_force_rmse_meV_A"), _number(value, "free_train_force_rmse_meV_A")
    if error is None or free is None:
        return json.dumps(value, ensure_ascii=False)
    return f"force error {error:.1f} meV/Å on the fitted frames, {free:.1f} without the bound"
