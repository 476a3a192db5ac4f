"""A monkey at the window: it presses, drags, types and chooses at random, and looks whether anything breaks.

    python benchmarks/monkey.py                          # ten minutes
    python benchmarks/monkey.py --minutes 1 --seed 7 --verbose

Run it on a display, or under ``xvfb-run -a -s "-screen 0 1600x1000x24"``. The real window with the shipped model
`water-fast`, 27 molecules at the most (so that a restart takes no minutes), in a folder of its own with a model, a
session, trajectories, labelled frames, and files that are none of these. Commands, menus, buttons, sliders, fields,
keys, docks, the view and the plots are used at random; dialogs are filled in, accepted or dismissed. The seed fixes
what is chosen, and not when the simulation answers, so that two runs are alike and not the same.

Counted as broken: an exception that nobody caught, an internal error that the window or its log tells of, a process
that dies, a window that does not close, a recording or an export whose file does not hold what was told of it, a
session that cannot be read, half a file. Told as well: the longest time in which the window answered nothing.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import random
import re
import shutil
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, QPoint, QPointF, Qt, QTimer
from PySide6.QtGui import QAction, QContextMenuEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDialog,
    QDockWidget,
    QFileDialog,
    QLineEdit,
    QMenu,
    QMessageBox,
    QProgressDialog,
    QSlider,
    QTabBar,
    QWidget,
)

from mldsim.dataset import save_frames
from mldsim.gui.actions import SPECS
from mldsim.gui.app import _build_simulation
from mldsim.gui.garbage import Collector
from mldsim.gui.main_window import MainWindow
from mldsim.gui.plots.plot import Plot
from mldsim.gui.preferences import Preferences
from mldsim.messages import Level
from mldsim.parameters import Parameters, Setup
from mldsim.readers import load_frames
from mldsim.runner import Runner
from mldsim.session import load_session
from mldsim.trajectory.extxyz_reader import read_extxyz
from mldsim.trajectory.h5md_reader import read_h5md

MOLECULES = 27
SLOW, STUCK = 1.0, 120.0
"""Seconds without an answer that are told, and after which the process is ended with the stack of every thread."""

WORDS = ("", "0", "1", "-1", "3,5", "300", "1e9", "1e-9", "nan", "12 K", "O 4", "water", "a name", "µ ∞ 水")
NEVER = {"quit"}
"""What would end the run."""


Act = Callable[[], str]


class Monkey(QObject):
    """Acts on a window until its time is over; `run` returns then, with every dialog and menu dismissed.

    Parameters
    ----------
    window : MainWindow
    folder : Path
        Files to open, and where new ones go.
    seed : int
    verbose : bool
        Print every act.

    Attributes
    ----------
    done : Counter
        How often each kind of act was done.
    last : deque of str
        The latest acts.
    slowest : (seconds, str)
        The longest time without an answer, and after which act that was.
    """

    def __init__(self, window: MainWindow, folder: Path, seed: int, *, verbose: bool = False) -> None:
        super().__init__()
        self._window, self._folder, self._verbose = window, folder, verbose
        self._random = random.Random(seed)
        self._loop = QEventLoop()
        self._end = 0.0
        self._seen = 0.0
        self.done: Counter[str] = Counter()
        self.last: deque[str] = deque(maxlen=40)
        self.slowest = (0.0, "")
        self._acts: dict[Act, int] = {
            self._trigger: 22,
            self._press_button: 20,
            self._use_field: 18,
            self._press_key: 16,
            self._use_view: 12,
            self._use_plot: 6,
            self._open_menu: 5,
            self._raise_dock: 6,
            self._open_sample: 3,
            self._use_window: 2,
            self._spoil_sample: 1,
        }

    def run(self, seconds: float) -> None:
        """Act for so long."""
        self._end = time.monotonic() + seconds
        self._seen = time.monotonic()
        QTimer.singleShot(0, self, self._act)
        self._loop.exec()

    # --- one act ---

    def _act(self) -> None:
        now = time.monotonic()
        waited = now - self._seen
        if waited > self.slowest[0]:
            self.slowest = (waited, self.last[-1] if self.last else "")
        faulthandler.dump_traceback_later(STUCK, exit=True)
        popup, modal = QApplication.activePopupWidget(), QApplication.activeModalWidget()
        over = now >= self._end or not self._window.isVisible()
        if over and popup is None and modal is None:
            faulthandler.cancel_dump_traceback_later()
            self._loop.quit()
            return
        # A menu or a dialog that is opened now waits in a loop of its own: whoever answers is called from there.
        pause = self._random.choice((0, 5, 20, 60))
        self._seen = time.monotonic() + 1e-3 * pause
        QTimer.singleShot(pause, self, self._act)
        if over:
            self._dismiss(popup or modal)
        elif popup is not None:
            self._note("popup", self._answer_popup(popup))
        elif isinstance(modal, QDialog):
            self._note("dialog", self._answer(modal))
        else:
            act = self._random.choices(list(self._acts), list(self._acts.values()))[0]
            self._note(act.__name__, act())

    def _note(self, kind: str, told: str) -> None:
        self.done[kind.strip("_")] += 1
        self.last.append(told)
        if self._verbose:
            print(f"{self._end - time.monotonic():7.1f}  {told}", flush=True)

    def _dismiss(self, widget: QWidget | None) -> None:
        if isinstance(widget, QProgressDialog):
            widget.cancel()
        elif isinstance(widget, QDialog):
            widget.reject()
        elif widget is not None:
            widget.close()

    # --- what is open ---

    def _answer_popup(self, popup: QWidget) -> str:
        r = self._random
        if not isinstance(popup, QMenu):
            view = popup.findChild(QAbstractItemView)
            key = r.choice((Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Up, Qt.Key.Key_Return, Qt.Key.Key_Escape))
            QTest.keyClick(view or popup, key)
            return f"list: {key.name}"
        actions = [one for one in popup.actions() if one.isEnabled() and not one.isSeparator() and _allowed(one)]
        if not actions or r.random() < 0.3:
            popup.close()
            return "menu: closed"
        action = r.choice(actions)
        told = f"menu: {action.text()}"
        popup.setActiveAction(action)
        QTest.keyClick(popup, Qt.Key.Key_Right if action.menu() is not None else Qt.Key.Key_Return)
        return told

    def _answer(self, dialog: QDialog) -> str:
        r, title = self._random, dialog.windowTitle()
        if isinstance(dialog, QProgressDialog):
            if r.random() < 0.03:
                dialog.cancel()
            return f"{title}: waited for"
        if isinstance(dialog, QMessageBox):
            dialog.reject()
            return f"{title}: not now"
        if isinstance(dialog, QFileDialog):
            return self._answer_files(dialog)
        chance = r.random()
        if chance < 0.15:
            dialog.reject()
            return f"{title}: dismissed"
        if chance < 0.5:
            buttons = [one for one in _usable(dialog, QAbstractButton) if getattr(one, "isDefault", lambda: False)()]
            if buttons:
                QTest.mouseClick(buttons[0], Qt.MouseButton.LeftButton)
                return f"{title}: accepted"
        return f"{title}: {self._use_field(dialog) if chance < 0.8 else self._press_button(dialog)}"

    def _answer_files(self, dialog: QFileDialog) -> str:
        r, title = self._random, dialog.windowTitle()
        if r.random() < 0.25 or dialog.fileMode() is QFileDialog.FileMode.Directory:
            dialog.reject()
            return f"{title}: dismissed"
        saving = dialog.acceptMode() is QFileDialog.AcceptMode.AcceptSave
        path = self._folder / f"new-{r.randrange(6)}" if saving else self._sample()
        edit = dialog.findChild(QLineEdit)
        assert edit is not None
        edit.setText(str(path))
        QTest.keyClick(edit, Qt.Key.Key_Return)
        return f"{title}: {path.name}"

    # --- what the window offers ---

    def _trigger(self) -> str:
        window = self._window
        name = self._random.choice([one for one in SPECS if one not in NEVER and window.actions_[one].isEnabled()])
        told = f"command {name}"
        window.actions_[name].trigger()
        return told

    def _press_button(self, root: QWidget | None = None) -> str:
        buttons = _usable(root or self._root(), QAbstractButton)
        if not buttons:
            return "no button"
        button = self._random.choice(buttons)
        told = f"button {button.text() or button.toolTip() or button.objectName()}"
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        return told

    def _use_field(self, root: QWidget | None = None) -> str:
        r = self._random
        kinds: list[type[QWidget]] = [QAbstractSpinBox, QComboBox, QSlider, QLineEdit, QAbstractItemView]
        fields = _usable(root or self._root(), r.choice(kinds))
        if not fields:
            return "no field"
        field = r.choice(fields)
        told = f"{type(field).__name__} {field.accessibleName() or field.objectName()}"
        if isinstance(field, QSlider):
            at = QPoint(r.randrange(max(field.width(), 1)), field.height() // 2)
            QTest.mousePress(field, Qt.MouseButton.LeftButton, pos=at)
            for _ in range(r.randrange(6)):
                field.setSliderPosition(r.randint(field.minimum(), field.maximum()))
            QTest.mouseRelease(field, Qt.MouseButton.LeftButton, pos=at)
        elif isinstance(field, QComboBox) and r.random() < 0.7:
            field.setFocus()
            for _ in range(r.randrange(1, 4)):
                QTest.keyClick(field, r.choice((Qt.Key.Key_Down, Qt.Key.Key_Up)))
        elif isinstance(field, QAbstractItemView):
            QTest.mouseClick(
                field.viewport(), Qt.MouseButton.LeftButton,
                pos=QPoint(r.randrange(max(field.width(), 1)), r.randrange(max(field.height(), 1))),
            )  # fmt: skip
        elif isinstance(field, QComboBox):
            QTest.mouseClick(field, Qt.MouseButton.LeftButton)
        else:
            field.setFocus()
            field.selectAll()  # type: ignore[attr-defined]
            # What QTest types must be keys that there are; a clipboard pastes anything.
            word = r.choice(WORDS)
            if word.isascii():
                QTest.keyClicks(field, word)
            else:
                QApplication.clipboard().setText(word)
                QTest.keyClick(field, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
            QTest.keyClick(field, r.choice((Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_Tab)))
            told += f" {word!r}"
        return told

    def _press_key(self) -> str:
        r = self._random
        key = r.choice(
            (*(Qt.Key(Qt.Key.Key_A + k) for k in range(26)), Qt.Key.Key_Space, Qt.Key.Key_Tab, Qt.Key.Key_Tab,
             Qt.Key.Key_Return, Qt.Key.Key_Escape, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down,
             Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Plus, Qt.Key.Key_Minus, Qt.Key.Key_Delete, Qt.Key.Key_Insert,
             Qt.Key.Key_F11, Qt.Key.Key_Question, Qt.Key.Key_Backspace, Qt.Key.Key_2)
        )  # fmt: skip
        none, control, shift = (
            Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier,
        )  # fmt: skip
        modifier = r.choice((none, none, none, control, shift, control | shift))
        if key is Qt.Key.Key_Q and modifier & control:
            key = Qt.Key.Key_W
        told = f"key {modifier.name} {key.name}"
        QTest.keyClick(QApplication.focusWidget() or self._window, key, modifier)
        return told

    def _use_view(self) -> str:
        r = self._random
        surface = self._window.viewport._surface
        if not surface.isVisible():
            return "no view"
        agents = self._window.viewport.project()
        if len(agents) and r.random() < 0.6:
            x, y = agents[r.randrange(len(agents))]
            place = QPoint(round(x), round(y))
        else:
            place = QPoint(r.randrange(surface.width()), r.randrange(surface.height()))
        modifier = r.choice(
            (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier)
        )
        if r.random() < 0.25:
            wheel(surface, place, r.choice((-240, -120, 120, 240)))
            return "wheel over the view"
        button = r.choice((Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton))
        QTest.mousePress(surface, button, modifier, place)
        drags = r.choice((0, 0, 1, 5))
        for _ in range(drags):
            place += QPoint(r.randint(-60, 60), r.randint(-60, 60))
            QTest.mouseMove(surface, place)
        if r.random() < 0.1 and drags:
            self._trigger()  # a key in the middle of a drag
        QTest.mouseRelease(surface, button, modifier, place)
        return f"{modifier.name} {button.name} with {drags} moves over the view"

    def _use_plot(self) -> str:
        r = self._random
        plots = _usable(self._window, Plot)
        if not plots:
            return "no plot"
        plot = r.choice(plots)
        graph = plot._graph.viewport()
        place = QPoint(r.randrange(max(graph.width(), 1)), r.randrange(max(graph.height(), 1)))
        what = r.choice(("wheel", "drag", "menu", "double click", "pointer"))
        match what:
            case "wheel":
                wheel(graph, place, r.choice((-120, 120)))
            case "drag":
                QTest.mousePress(graph, Qt.MouseButton.LeftButton, pos=place)
                QTest.mouseMove(graph, place + QPoint(r.randint(-40, 40), r.randint(-40, 40)))
                QTest.mouseRelease(graph, Qt.MouseButton.LeftButton, pos=place)
            case "menu":
                asked = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, place, graph.mapToGlobal(place))
                QCoreApplication.sendEvent(graph, asked)
            case "double click":
                QTest.mouseDClick(graph, Qt.MouseButton.LeftButton, pos=place)
            case _:
                QTest.mouseMove(graph, place)
        return f"{what} over the plot {plot.title}"

    def _open_menu(self) -> str:
        bar = self._window.menuBar()
        action = self._random.choice(bar.actions())
        QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.actionGeometry(action).center())
        return f"menu {action.text()} opened"

    def _raise_dock(self) -> str:
        r = self._random
        bars = _usable(self._window, QTabBar)
        if bars and r.random() < 0.7:
            bar = r.choice(bars)
            tab = r.randrange(bar.count())
            QTest.mouseClick(bar, Qt.MouseButton.LeftButton, pos=bar.tabRect(tab).center())
            return f"tab {bar.tabText(tab)}"
        dock = r.choice(self._window.findChildren(QDockWidget))
        if r.random() < 0.5:
            dock.show()
            dock.raise_()
            return f"dock {dock.windowTitle()} raised"
        if r.random() < 0.5:
            dock.setFloating(not dock.isFloating())
            return f"dock {dock.windowTitle()} floats or not"
        dock.setVisible(dock.isHidden())
        return f"dock {dock.windowTitle()} shown or hidden"

    def _open_sample(self) -> str:
        path = self._sample()
        self._window.open_path(path)
        return f"open {path.name}"

    def _spoil_sample(self) -> str:
        """A file that is known to the window goes, or is something else from now on."""
        made = [path for path in self._folder.iterdir() if path.is_file() and path.name.startswith("sample")]
        if not made:
            return "nothing to spoil"
        path = self._random.choice(made)
        path.unlink()
        if self._random.random() < 0.5:
            path.write_bytes(b"not what it was")
        return f"spoil {path.name}"

    def _use_window(self) -> str:
        r, window = self._random, self._window
        match r.choice(("resize", "hide", "theme", "focus")):
            case "resize":
                window.resize(r.randint(900, 1500), r.randint(560, 900))
                return "resize"
            case "hide":
                window.showMinimized()
                QTimer.singleShot(300, window, window.showNormal)
                return "minimise for a moment"
            case "theme":
                window.set_theme(r.choice(list(type(window.theme))))
                return "theme"
            case _:
                window.activateWindow()
                return "activate"

    def _sample(self) -> Path:
        return self._random.choice([path for path in self._folder.iterdir() if not path.name.startswith(".")])

    def _root(self) -> QWidget:
        """The window, or one of those that it has opened beside it."""
        others = [
            one for one in QApplication.topLevelWidgets()
            if one.isVisible() and isinstance(one, QDialog | QDockWidget)
        ]  # fmt: skip
        return self._random.choice(others) if others and self._random.random() < 0.2 else self._window


def _allowed(action: QAction) -> bool:
    return action.objectName() not in NEVER


def _usable(root: QWidget, kind: type[Any]) -> list[Any]:
    """Children of a kind that a hand could reach."""
    found = root.findChildren(kind)
    return [one for one in found if one.isVisible() and one.isEnabled() and not one.visibleRegion().isEmpty()]


def wheel(widget: QWidget, place: QPoint, angle: int) -> None:
    """Turn the wheel over a widget."""
    at = QPointF(place)
    none = Qt.KeyboardModifier.NoModifier
    event = QWheelEvent(
        at, QPointF(widget.mapToGlobal(place)), QPoint(), QPoint(0, angle), Qt.MouseButton.NoButton, none,
        Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QCoreApplication.sendEvent(widget, event)


class _Ears(logging.Handler):
    """Whatever is logged as an error."""

    def __init__(self, told: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.append(self.format(record))


@contextmanager
def overheard() -> Iterator[list[str]]:
    """All faults that are told while the block runs, wherever they happen."""
    told: list[str] = []
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    text = logging.Formatter().formatException

    sys.excepthook = lambda kind, error, trace: told.append(text((kind, error, trace)))
    threading.excepthook = lambda args: told.append(
        text((args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback))
    )
    sys.unraisablehook = lambda args: told.append(
        text((args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback))
    )
    ears = _Ears(told)
    logging.getLogger("mldsim").addHandler(ears)
    try:
        yield told
    finally:
        logging.getLogger("mldsim").removeHandler(ears)
        sys.excepthook, threading.excepthook, sys.unraisablehook = before


def make_samples(folder: Path, window: MainWindow) -> None:
    """Files to open: good ones that the window itself has made, and bad ones."""
    controller = window.controller
    shutil.copyfile(Path(mldsim_model("water-fast")), folder / "sample-model.json")
    (folder / "sample-text.txt").write_text("Nothing that can be opened.\n", encoding="utf-8")
    (folder / "sample-broken.json").write_text('{"format": "mldsim loss model", ', encoding="utf-8")
    (folder / "sample-cut.h5md").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    small = next(system for system in load_frames(mldsim_data("cnnp_fit.h5")) if len(system.symbols) == 192)
    save_frames(folder / "sample-labelled.h5", [small.take(slice(0, 12))])
    places = np.random.default_rng(0).uniform(0.0, 12.0, (4, 60, 3))
    for name, symbols in (("bare", ["O", "H", "H"] * 20), ("argon", ["Ar"] * 60), ("lone", ["O"])):
        # Symbols and positions and nothing else, as many programs write them.
        frames = [Atoms(symbols, frame[: len(symbols)], cell=[12.0] * 3, pbc=True) for frame in places]
        write(folder / f"sample-{name}.xyz", frames, format="extxyz")
    for name in ("sample-run.h5md", "sample-run.xyz"):
        exports = controller.status().exports
        controller.export_history(folder / name)
        until(lambda exports=exports: controller.status().exports > exports)  # type: ignore[misc]
    controller.save_session(folder / "sample-session.h5", "")
    until((folder / "sample-session.h5").is_file)


def mldsim_data(name: str) -> Path:
    """A file of assets/data."""
    import mldsim.assets.data

    return Path(str(mldsim.assets.data.__file__)).with_name(name)


def mldsim_model(name: str) -> Path:
    """The file of a shipped model."""
    import mldsim.assets.models

    return Path(str(mldsim.assets.models.__file__)).with_name(f"{name}.json")


def until(condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Let the window live until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("What was waited for did not come.")
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.WaitForMoreEvents, 20)


WRITTEN = re.compile(r"(?:Recorded|Exported) (\d+) frames to (.+?)\.(?: They|$)")


def wrong_files(folder: Path, notices: list[tuple[Level, str]]) -> list[str]:
    """What is not in the files as it was told, and what was left half-written."""
    wrong = [f"{path.name} was left half-written" for path in folder.rglob(".*.part")]
    promised: dict[Path, int] = {}
    for _, text in notices:
        if found := WRITTEN.match(text):
            promised[Path(found[2])] = int(found[1])
        elif text.startswith("The session was saved as "):
            promised[Path(text.removeprefix("The session was saved as ").removesuffix("."))] = 0
    for path, frames in promised.items():
        if path.name.startswith("sample"):
            continue  # it may have been spoiled
        try:
            if not frames:
                load_session(path)
                continue
            reader = read_extxyz if path.suffix.lower() in (".xyz", ".extxyz") else read_h5md
            with reader(path) as trajectory:
                if len(trajectory) != frames:
                    wrong.append(f"{path.name} holds {len(trajectory)} frames, {frames} were told")
        except Exception as error:  # noqa: BLE001 - whatever it is, the file cannot be read
            wrong.append(f"{path.name} cannot be read: {error}")
    return wrong


def hammer(folder: Path, seed: int, seconds: float, *, verbose: bool = False) -> tuple[list[str], Monkey]:
    """Open a window, let the monkey at it, close it.

    Returns
    -------
    problems : list of str
        Empty if nothing broke.
    monkey : Monkey
    """
    notices: list[tuple[Level, str]] = []
    os.chdir(folder)
    with overheard() as problems:
        setup, parameters = Setup(model="water-fast", molecules=MOLECULES), Parameters()
        runner = Runner(_build_simulation, setup, parameters)
        window = MainWindow(runner, setup, parameters, Preferences(folder / ".window.ini"))
        window.preferences.set("folder", folder)
        window.panel.restart_rows["molecules"].box.setMaximum(MOLECULES)
        show = window.notices.show_notice

        def overhear(level: Level, text: str) -> None:
            notices.append((level, text))
            show(level, text)

        window.notices.show_notice = overhear  # type: ignore[method-assign]
        window.resize(1280, 800)
        window.start()
        window.activateWindow()
        until(lambda: window.controller.frame is not None and window.controller.status().memory_frames > 5)
        make_samples(folder, window)
        monkey = Monkey(window, folder, seed, verbose=verbose)
        monkey.run(seconds)
        begun = time.monotonic()
        window.close()
        if not runner.close(60.0):
            problems.append("the simulation did not end within a minute")
        closing = time.monotonic() - begun
        window.controller.tick()
        notices += [(event.level, event.text) for event in runner.events() if hasattr(event, "text")]
        window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    problems += [text for _, text in notices if "internal error" in text or "inside mldsim" in text]
    problems += wrong_files(folder, notices)
    monkey.last.append(f"closed within {closing:.1f} s, {len(notices)} notices")
    return problems, monkey


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--verbose", action="store_true", help="print every act")
    options = parser.parse_args()
    faulthandler.enable()
    QApplication.setAttribute(Qt.ApplicationAttribute.AA_DontUseNativeDialogs)
    app = QApplication([])
    Collector.of(app)
    app.setQuitOnLastWindowClosed(False)
    with TemporaryDirectory() as home:
        problems, monkey = hammer(Path(home), options.seed, 60.0 * options.minutes, verbose=options.verbose)
        os.chdir("/")
    acts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in monkey.done.most_common())
    print(f"seed {options.seed}, {options.minutes:g} minutes: {monkey.done.total()} acts ({acts}); {monkey.last[-1]}")
    print(f"longest without an answer: {monkey.slowest[0]:.1f} s, after: {monkey.slowest[1]}")
    for problem in dict.fromkeys(problems):
        print(f"\n{problem}")
    if problems:
        print("\nThe last acts were:", *monkey.last, sep="\n  ")
        raise SystemExit(1)
    print("Nothing broke.")


if __name__ == "__main__":
    main()
