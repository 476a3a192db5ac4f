"""The dock Fit: jobs of the command line beside the simulation, and what is done with their results."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import numpy as np
from PySide6.QtCore import QObject
from PySide6.QtWidgets import QDialog, QDockWidget, QFileDialog, QMainWindow

from mldsim.errors import MldsimError
from mldsim.files import whole_file
from mldsim.gui.dialogs.save import SaveDialog
from mldsim.gui.docks import looking, show_or, tabbed_dock
from mldsim.gui.panels.fit import FitPanel, Parity
from mldsim.jobs import Job, JobStatus
from mldsim.messages import Command, Level, SaveDoubtful, Status

LOOK_MS = 200

DATA = "Labelled frames (*.h5 *.hdf5 *.xyz *.extxyz *.data *.npy);;All files (*)"
MODELS = "Loss models (*.json);;All files (*)"

StartJob = Callable[[list[str]], Job]


class Runs(Protocol):
    """What runs models."""

    def load_model(self, name_or_path: str | Path) -> None: ...


class Watched(Protocol):
    """What is needed of a runner."""

    def send(self, command: Command) -> None: ...
    def status(self) -> Status: ...


class Desk(Protocol):
    """What is needed of the window around."""

    @property
    def controller(self) -> Runs: ...

    def new_file(self, suffix: str) -> Path: ...
    def remember_folder(self, path: Path) -> None: ...
    def tell(self, level: Level, text: str) -> None: ...
    def open_dialog(self, dialog: QDialog, accepted: Callable[[], None]) -> None: ...


def read_parity(path: Path) -> Parity:
    """What ``mldsim fit --parity`` has written."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            part, symbol, label, force = line.split(",")
            found.setdefault((part, symbol), []).append((float(label), float(force)))
    return {key: (np.array(pairs)[:, 0], np.array(pairs)[:, 1]) for key, pairs in found.items()}


class Fitting(QObject):
    """The dock Fit of a window, tabbed with another one.

    Parameters
    ----------
    window : QMainWindow
    beside : QDockWidget
    desk : Desk
    runner : Watched
    start : callable
        Starts a command in a process of its own.
    """

    def __init__(
        self, window: QMainWindow, beside: QDockWidget, desk: Desk, runner: Watched, start: StartJob = Job
    ) -> None:
        super().__init__(window)
        self._window, self._desk, self._runner, self._start_job = window, desk, runner, start
        self._folder: TemporaryDirectory[str] | None = None
        self._number = 0
        self._job: Job | None = None
        self._ended: Callable[[JobStatus], None] | None = None
        self._awaited: tuple[int, Callable[[], None]] | None = None
        self.model: Path | None = None
        self.panel = FitPanel()
        self.dock = tabbed_dock(window, "Fit", "dock_fit", self.panel, beside)
        self.panel.add_asked.connect(self._ask_data)
        self.panel.label_asked.connect(self.label)
        self.panel.fit_asked.connect(self.fit)
        self.panel.cancel_asked.connect(self.cancel)
        self.panel.run_asked.connect(self._run)
        self.panel.save_asked.connect(self._ask_save)
        self.commands: dict[str, Callable[[], object]] = {
            "fit": lambda: show_or(self.dock, self.fit),
            "cancel_fit": self.cancel,
        }
        self._timer = looking(self, LOOK_MS, self.look)

    def start(self) -> None:
        """Begin to look."""
        self._timer.start()

    def close(self) -> None:
        """End what is being done, forget what was not saved."""
        self._timer.stop()
        if self._job is not None:
            self._job.close()
        if self._folder is not None:
            self._folder.cleanup()

    def fit(self) -> None:
        """Fit what the panel says."""
        if self._job is not None or not self.panel.data:
            return
        self._number += 1
        model, parity = self._file(f"fit-{self._number}.json"), self._file(f"parity-{self._number}.csv")
        paths = [str(path) for path in self.panel.data]
        self.panel.show_parity({})

        def ended(status: JobStatus) -> None:
            assert status.result is not None
            self.model = model
            self.panel.show_parity(read_parity(parity))
            seconds, parameters = status.result["seconds"], status.result["parameters"]
            self.panel.show_outcome(f"{parameters} parameters, fitted in {seconds:.0f} s.", fitted=True)

        options = self.panel.form().arguments()
        self._begin(["fit", *paths, "-o", str(model), "--parity", str(parity), *options], ended)

    def label(self, engine: str) -> None:
        """Have CP2K label the doubtful frames; the labelled ones are added to the data."""
        if self._job is not None or self._awaited is not None:
            return
        self._number += 1
        frames, labelled = self._file(f"doubtful-{self._number}.xyz"), self._file(f"doubtful-{self._number}.h5")

        def ended(_: JobStatus) -> None:
            self.panel.add(labelled)
            self.panel.show_outcome("Labelled, and in the list.")

        def saved() -> None:
            if frames.exists():  # where not, a notice has said why
                self._begin(["label", str(frames), "-o", str(labelled), "--engine", engine], ended)

        self._awaited = (self._runner.status().exports, saved)
        self._runner.send(SaveDoubtful(frames))

    def cancel(self) -> None:
        """Stop what is being done."""
        if self._job is not None:
            self._job.cancel()

    def look(self) -> None:
        """Show how far the job is; at its end, do what follows."""
        status = self._runner.status()
        self.panel.show_doubtful(status.doubtful_frames)
        if self._awaited is not None and status.exports > self._awaited[0]:
            _, then = self._awaited
            self._awaited = None
            then()
        if self._job is None:
            return
        found = self._job.status()
        kept = self._folder  # where that is, is nobody's concern
        said = tuple(line for line in found.said if kept is None or kept.name not in line)
        self.panel.show_job(replace(found, said=said))
        if found.running:
            return
        self._job.close()
        self._job, ended = None, self._ended
        if found.result is None:
            self.panel.show_outcome(found.error)
        elif ended is not None:
            ended(found)

    # --- inside ---

    def _file(self, name: str) -> Path:
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="mldsim-fit-", ignore_cleanup_errors=True)
        return Path(self._folder.name) / name

    def _begin(self, arguments: list[str], ended: Callable[[JobStatus], None]) -> None:
        try:
            self._job = self._start_job(arguments)
        except OSError as error:
            self.panel.show_outcome(f"The work could not be started: {error.strerror}.")
            return
        self._ended = ended
        self.panel.show_job(self._job.status())

    def _ask_data(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(
            self._window, "Add labelled frames", str(self._desk.new_file("h5").parent), DATA
        )
        for name in names:
            self._desk.remember_folder(Path(name))
            self.panel.add(Path(name))

    def _run(self) -> None:
        if self.model is not None:
            self._desk.controller.load_model(self.model)

    def _ask_save(self) -> None:
        model = self.model
        if model is None:
            return
        dialog = SaveDialog(self._window, "Save the fitted model", "Save", self._desk.new_file("json"), MODELS)

        def accepted() -> None:
            path = dialog.output.path
            self._desk.remember_folder(path)
            try:
                with whole_file(path) as unfinished:
                    shutil.copyfile(model, unfinished)
            except MldsimError as error:
                self._desk.tell(Level.ERROR, str(error))
            else:
                self._desk.tell(Level.INFO, f"Saved as {path}.")

        self._desk.open_dialog(dialog, accepted)
