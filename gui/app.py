"""Opens the window and keeps it alive: platform checks, faults that become notices, Ctrl-C, smoke-test options."""

from __future__ import annotations

import ctypes
import logging
import logging.handlers
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from mldsim.errors import InputError, WorkFailed
from mldsim.messages import Engine, EngineFactory, Level
from mldsim.parameters import Parameters, Setup

if TYPE_CHECKING:
    from mldsim.gui.main_window import MainWindow

log = logging.getLogger("mldsim")

SYSTEM_PACKAGES = (
    "libgl1 libegl1 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 "
    "libdbus-1-3 libfontconfig1"
)
"""What Qt needs of Debian or Ubuntu."""

SETTLED_FRAMES = 20
"""Pictures of moving water before a screenshot without ``--quit-after`` is taken."""


def run_window(
    setup: Setup,
    parameters: Parameters,
    *,
    paused: bool = False,
    quit_after: float | None = None,
    screenshot: Path | None = None,
    engine_factory: EngineFactory | None = None,
    settings: Path | None = None,
    model_given: bool = True,
    file: Path | None = None,
) -> int:
    """Open the window and stay until it is closed.

    Parameters
    ----------
    setup, parameters : Setup, Parameters
        What to simulate.
    paused : bool
        Show the start and wait.
    quit_after : float, seconds
        Close by itself after this time.
    screenshot : Path
        Save the whole window, the 3-D view included, as PNG: just before `quit_after` closes it; without
        `quit_after` as soon as the water has moved, and then go on.
    engine_factory : callable
        Builds the engine in the worker; `mldsim.simulation.build_simulation` unless given.
    settings : Path
        File of the window's settings; the user's own unless given.
    model_given : bool
        Whether the model of the setup was asked for; if not, that of the settings is taken.
    file : Path
        Opened in the window, as what its content says it is.

    Returns
    -------
    int
        Exit code: 0, or 1 when the screenshot could not be written.

    Raises
    ------
    InputError
        If the screenshot cannot be written there.
    WorkFailed
        If there is no display, or a library of the system is missing.
    """
    if screenshot is not None:
        _check_screenshot(screenshot)
    _check_display()
    try:
        from PySide6.QtCore import QEvent
        from PySide6.QtWidgets import QApplication

        from mldsim.gui.garbage import Collector
        from mldsim.gui.main_window import MainWindow
        from mldsim.gui.preferences import Preferences
        from mldsim.gui.settings import load_settings
    except ImportError as error:
        raise WorkFailed(
            f"The window cannot be opened because a library is missing ({error}); on Debian or Ubuntu install "
            f"'{SYSTEM_PACKAGES}', or use 'mldsim run', which needs no window."
        ) from None
    from mldsim.loss import load_model
    from mldsim.runner import Runner

    preferences = Preferences(settings)
    wanted = load_settings(preferences)
    if wanted.size != 100:  # Qt reads it once, when the application is made
        os.environ.setdefault("QT_SCALE_FACTOR", f"{wanted.size / 100:g}")
    application = QApplication.instance() or QApplication(["mldsim"])
    assert isinstance(application, QApplication)
    Collector.of(application)
    application.setApplicationName("mldsim")
    application.setDesktopFileName("mldsim")
    # The window's own signal ends the loop; Qt's would leave a second request behind for whoever runs a loop next.
    application.setQuitOnLastWindowClosed(False)
    # The engine needs the interpreter for a moment in every step and would else wait five milliseconds for it while a
    # plot is drawn (software OpenGL, two cores, five starts each: 202 against 173 steps per second on average).
    sys.setswitchinterval(1e-3)
    trouble = ""
    if not model_given and wanted.model != setup.model:
        try:
            load_model(wanted.model)
            setup = replace(setup, model=wanted.model)
        except InputError as error:
            trouble = f"{error} mldsim opens with {setup.model}; the preferences name another."
    build = engine_factory or partial(_build_simulation, threads=wanted.threads)
    runner = Runner(build, setup, parameters, paused=paused, memory=wanted.memory * 1_000_000)
    window = MainWindow(runner, setup, parameters, preferences)
    if trouble:
        window.tell(Level.WARNING, trouble)
    smoke = _Smoke(window, quit_after, screenshot)
    window.closed.connect(application.quit)
    with _faults_become_notices(window), _interrupt_closes(window):
        window.start()
        if file is not None:
            window.open_path(file)
        smoke.start()
        application.exec()
        window.close()
    window.deleteLater()
    # Outside of the event loop nobody else deletes it.
    application.sendPostedEvents(window, QEvent.Type.DeferredDelete.value)
    return smoke.exit_code


def _build_simulation(
    setup: Setup, parameters: Parameters, progress: Callable[[str], None], *, threads: int = 0
) -> Engine:
    """Build the engine in the worker, on all cores but one: the window needs a core to stay smooth."""
    import numba

    from mldsim.simulation import build_simulation

    most = numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(min(threads, most) if threads else max(1, most - 1))
    return build_simulation(setup, parameters, progress)


class _Smoke:
    """``--quit-after`` and ``--screenshot``."""

    def __init__(self, window: MainWindow, quit_after: float | None, screenshot: Path | None) -> None:
        from PySide6.QtCore import QTimer

        self._window = window
        self._quit_after = quit_after
        self._screenshot = screenshot
        self.exit_code = 0
        self._timer = QTimer(window)
        if quit_after is not None:
            self._timer.setSingleShot(True)
            self._timer.setInterval(max(round(quit_after * 1000), 0))
            self._timer.timeout.connect(self._quit)
        elif screenshot is not None:
            self._timer.setInterval(100)
            self._timer.timeout.connect(self._look)

    def start(self) -> None:
        if self._quit_after is not None or self._screenshot is not None:
            self._timer.start()

    def _quit(self) -> None:
        self._save()
        self._window.close()

    def _look(self) -> None:
        controller = self._window.controller
        frame = controller.frame
        moving = frame is not None and frame.step > 0
        if controller.frames_shown >= (SETTLED_FRAMES if moving else 1) and (moving or self._window.paused):
            self._timer.stop()
            self._save()

    def _save(self) -> None:
        if self._screenshot is None:
            return
        from mldsim.gui.exports import save_image

        try:
            save_image(self._window.picture_of_window(), self._screenshot)
        except WorkFailed as error:
            self.exit_code = error.exit_code
            self._window.notices.show_notice(Level.ERROR, str(error))
            print(error, file=sys.stderr)


def _check_screenshot(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: the screenshot cannot be written there; name a file in a folder that exists.")
    if path.exists() and path.stat().st_size > 0:
        raise InputError(f"{path} exists and is not overwritten; name another file for the screenshot.")


def _check_display() -> None:
    """Refuse to start Qt where it would abort the process: no display, or one that does not answer.

    Raises
    ------
    WorkFailed
        One sentence that says what is missing.
    """
    platform = os.environ.get("QT_QPA_PLATFORM", "").split(":")[0]
    if not sys.platform.startswith("linux") or platform not in ("", "xcb", "wayland"):
        return
    advice = "start it on a desktop, or under 'xvfb-run', or use 'mldsim run', which needs no window"
    wayland = bool(os.environ.get("WAYLAND_DISPLAY"))
    if wayland and platform != "xcb":
        return
    if not os.environ.get("DISPLAY"):
        raise WorkFailed(f"There is no display to open a window on: {advice}.")
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
        ctypes.CDLL("libxcb-cursor.so.0")
    except OSError as error:
        raise WorkFailed(
            f"The window cannot be opened because a library is missing ({error}); on Debian or Ubuntu install "
            f"'{SYSTEM_PACKAGES}', or use 'mldsim run', which needs no window."
        ) from None
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connect.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)
    broken = bool(xcb.xcb_connection_has_error(connection))
    xcb.xcb_disconnect(connection)
    if broken:
        raise WorkFailed(f"The display '{os.environ['DISPLAY']}' does not answer: {advice}.")


def log_path() -> Path:
    """Where faults of the window are written."""
    return Path(platformdirs.user_log_dir("mldsim")) / "window.log"


@contextmanager
def _faults_become_notices(window: MainWindow) -> Iterator[None]:
    """An exception that nobody caught goes to a log and into one notice; the application lives."""
    handler = _log_handler()
    log.addHandler(handler)
    hook, thread_hook = sys.excepthook, threading.excepthook
    told: set[str] = set()

    def tell(kind: type[BaseException], error: BaseException | None, trace: types.TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            window.fault.emit("")
            return
        log.error("uncaught exception", exc_info=(kind, error or kind(), trace))
        text = f"Something went wrong inside mldsim ({kind.__name__}: {error}); the details are in {log_path()}."
        if text not in told:
            told.add(text)
            window.fault.emit(text)  # a signal, because a thread other than the window's may be telling

    sys.excepthook = tell
    threading.excepthook = lambda args: tell(args.exc_type, args.exc_value, args.exc_traceback)
    try:
        yield
    finally:
        sys.excepthook, threading.excepthook = hook, thread_hook
        log.removeHandler(handler)
        handler.close()


def _log_handler() -> logging.Handler:
    handler: logging.Handler
    try:
        log_path().parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            log_path(), maxBytes=1_000_000, backupCount=1, encoding="utf-8", delay=True
        )
    except OSError:
        handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    return handler


@contextmanager
def _interrupt_closes(window: MainWindow) -> Iterator[None]:
    """Ctrl-C in the terminal closes the window as its button does; the timer of the window lets Python see it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: window.close())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
