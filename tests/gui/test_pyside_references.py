"""Some PySide6 releases lose a reference to None at each virtual call, and the process dies some seconds later."""

import sys

import pytest
from PySide6 import QtCore, QtWidgets
from pytestqt.qtbot import QtBot

EVENTS = 500


@pytest.mark.gui
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None, True and False are immortal from Python 3.12 on")
def test_events_keep_the_references_to_none_true_and_false(qtbot: QtBot) -> None:
    class Listener(QtWidgets.QWidget):
        def event(self, event: QtCore.QEvent) -> bool:
            return super().event(event)

        def eventFilter(self, watched: QtCore.QObject, event: QtCore.QEvent) -> bool:  # noqa: N802
            return False

        def customEvent(self, event: QtCore.QEvent) -> None:  # noqa: N802
            return None

    widget = Listener()
    qtbot.addWidget(widget)
    widget.installEventFilter(widget)
    before = [sys.getrefcount(constant) for constant in (None, True, False)]
    for _ in range(EVENTS):
        QtCore.QCoreApplication.sendEvent(widget, QtCore.QEvent(QtCore.QEvent.Type.User))
        widget.update()
    after = [sys.getrefcount(constant) for constant in (None, True, False)]
    for count_before, count_after in zip(before, after, strict=True):
        assert count_after > count_before - EVENTS // 2
