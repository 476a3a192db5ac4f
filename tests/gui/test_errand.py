"""What is computed beside the window."""

import threading

from PySide6.QtCore import QCoreApplication, QEvent, QObject

from mldsim.gui.errand import Errand


def test_the_last_of_several_questions_is_answered(qtbot):
    told = []
    owner = QObject()
    errand = Errand(told.append, owner, share=1.0)
    for number in range(5):
        errand.ask(lambda number=number: number)
    qtbot.waitUntil(lambda: told[-1:] == [4])
    assert told == [0, 4]


def test_an_answer_that_comes_after_its_window_is_told_to_nobody(qtbot):
    told, wait = [], threading.Event()
    owner = QObject()
    errand = Errand(told.append, owner)
    errand.ask(lambda: wait.wait(5.0))
    owner.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    wait.set()
    qtbot.wait(50)
    assert not told
