"""Sessions: a checkpoint and what a window shows of it, in one file.

To the layout of `mldsim.checkpoint` a session adds::

    window           JSON text: whatever the window wants to find again; told to nobody else
    past/<column>    (n_rows,) float64 for each of `THERMO_COLUMNS`: the thermo table
    /                attribute running: whether the simulation ran

so that whatever reads a checkpoint, `mldsim run --resume` for one, reads a session too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from mldsim.checkpoint import Checkpoint, Fields, fill, parse, put_text, read_image, write_image
from mldsim.errors import InputError, WorkFailed
from mldsim.files import reason, whole_file
from mldsim.frames import THERMO_COLUMNS
from mldsim.loss import exact_text, load_model

if TYPE_CHECKING:
    from mldsim.messages import Engine

MOST_ROWS = 1_000_000

Resume = Callable[[Checkpoint, Callable[[str], None]], "Engine"]
"""Makes an engine that goes on from a checkpoint, as `messages.EngineFactory` makes one from a setup."""


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """All that is found again.

    Attributes
    ----------
    checkpoint : Checkpoint
    past : mapping of (n_rows,) float64
        Columns of the thermo table, as of `ThermoTable.columns`.
    running : bool
    window : str
        JSON text; empty where no window has said anything.
    """

    checkpoint: Checkpoint
    past: Mapping[str, NDArray[np.float64]]
    running: bool
    window: str


def save_session(session: Session, path: Path, *, force: bool = False) -> None:
    """Write a session; it appears whole or not at all.

    Raises
    ------
    InputError, WorkFailed
        As `save_checkpoint`.
    """

    def put(file: Any) -> None:
        fill(file, session.checkpoint)
        file.attrs["running"] = session.running
        put_text(file, "window", session.window)
        group = file.create_group("past")
        for name, values in session.past.items():
            group[name] = values

    write_image(path, put, force=force)


def load_session(path: Path) -> Session:
    """Read a session; a checkpoint is one that no window has said anything about.

    Raises
    ------
    InputError
        One sentence: what is wrong with the file and where.
    """

    def get(file: Any) -> Session:
        fields = Fields(file, str(path))
        checkpoint = parse(fields)
        running = file.attrs.get("running", False)
        return Session(
            checkpoint,
            _past(fields) if fields.has("past") else {},
            bool(running) if isinstance(running, bool | np.bool_) else False,
            fields.text("window") if fields.has("window") else "",
        )

    return read_image(path, get)


def _past(fields: Fields) -> dict[str, NDArray[np.float64]]:
    group = fields.group("past")
    time = group.array("time", (None,), most=MOST_ROWS)
    if not (np.diff(time) > 0.0).all():
        raise group.wrong("time", "does not grow")
    columns = {"time": time}
    for name in THERMO_COLUMNS:
        if name != "time":
            # Some columns are not a number where they have no meaning.
            columns[name] = group.array(name, (len(time),), finite=False)
    return columns


def resume(checkpoint: Checkpoint, progress: Callable[[str], None]) -> Engine:
    """Make the simulation of a checkpoint; its model is found under the name that its setup has from now on.

    Raises
    ------
    InputError
        As `Simulation.resumed`.
    WorkFailed
        When the model has to be unpacked and cannot be.
    """
    from mldsim.simulation import Simulation

    progress("Going on from a checkpoint")
    return Simulation.resumed(with_model_file(checkpoint, Path(platformdirs.user_data_dir("mldsim")) / "models"))


def with_model_file(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """The same, with its model in a file where what its setup names is gone, or is another model by now.

    Views read the model by the name in the setup; what they show must be what runs.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : Path
        Where the file is put; it is made when it is needed.

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    text = exact_text(checkpoint.model)
    try:
        if exact_text(load_model(checkpoint.setup.model)) == text:
            return checkpoint
    except InputError:
        pass
    stem = re.sub(r"[^A-Za-z0-9_.+-]+", "_", checkpoint.model.name).strip("._") or "model"
    path = folder / f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"
    if not path.is_file():
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkFailed(f"{folder}: there is no room for the model of the session: {reason(error)}.") from error
        with whole_file(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return replace(checkpoint, setup=replace(checkpoint.setup, model=str(path)))
