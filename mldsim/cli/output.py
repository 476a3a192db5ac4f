"""What a command says: sentences, JSON, exit codes, and files that may be written."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from mldsim.errors import InputError
from mldsim.progress import tell

DONE, FAILED, WRONG = 0, 1, 2


def refuse(text: str, code: int) -> int:
    """One line, whatever a file or the system put into it."""
    tell("mldsim: " + "".join(c if c.isprintable() else " " for c in text))
    return code


def end_output() -> None:
    """Bring out what was printed; what standard output does not take must not trouble the interpreter's own flush."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def check_output(path: Path, force: bool) -> None:
    """Refuse before the work what would be refused after it."""
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the name of a file.")
        if path.exists() and not force:
            raise InputError(f"{path} exists; choose another name or add --force to replace it.")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is not an ordinary file and will not be replaced; choose another name.")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} cannot be written to.")


def print_json(content: dict[str, Any]) -> None:
    """The JSON object of `--json`, the last line of a command."""
    print(json.dumps(content, allow_nan=False), flush=True)


def finite(value: float) -> float | None:
    """The value; None, which JSON can say, where it is not finite."""
    return value if math.isfinite(value) else None


def printable(text: str) -> str:
    """Text out of a file, without what a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def ranks_of(max_rank: int) -> str:
    """The ranks of a model in words."""
    return f"ranks 0 to {max_rank}" if max_rank else "rank 0"
