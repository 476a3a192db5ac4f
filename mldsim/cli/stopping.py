"""Being stopped by Ctrl-C, a signal, or a terminal that goes away."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def _handling(handler: _Handler, *names: str) -> Iterator[None]:
    """Handle these signals inside the block, where that is possible and nobody asked for them to be ignored."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in names:
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def interruptible() -> Iterator[None]:
    """Treat a request to end, or a terminal that goes away, as Ctrl-C, and lose none of them.

    What is raised inside a callback of C, such as LLVM's, cannot get out of it: Python prints and forgets it. Then the
    interrupt is sent again.
    """
    hook = sys.unraisablehook

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            timer = threading.Timer(0.01, _thread.interrupt_main)
            timer.daemon = True
            timer.start()
        else:
            hook(unraisable)

    sys.unraisablehook = again
    try:
        with _handling(signal.default_int_handler, "SIGTERM", "SIGHUP"):
            yield
    finally:
        sys.unraisablehook = hook


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether the user asked to stop: the step and the frame under way come to their end, unless asked twice."""
    asked = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    with _handling(note, "SIGINT", "SIGTERM", "SIGHUP"):
        yield lambda: asked
