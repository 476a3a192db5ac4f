"""Cycles with widgets are looked for in the thread of the windows."""

import gc
import threading

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget

from mldsim.gui import garbage
from mldsim.gui.garbage import Collector

pytestmark = pytest.mark.gui


@pytest.fixture
def collector(qapp):
    return Collector.of(qapp)


def test_a_widget_in_a_cycle_is_destroyed_in_its_own_thread(collector, qtbot):
    ended, threads = threading.Event(), []

    def work():
        while not ended.wait(0.001):  # as a worker that compiles: Python would look for cycles here
            for _ in range(1000):
                cycle = []
                cycle.append(cycle)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(20):
            widget = QWidget()
            widget.destroyed.connect(
                lambda *_: threads.append(threading.current_thread()), Qt.ConnectionType.DirectConnection
            )
            widget.me = widget
            del widget
            qtbot.wait(10)
        qtbot.waitUntil(lambda: len(threads) == 20, timeout=20_000)
    finally:
        ended.set()
        worker.join()
    assert set(threads) == {threading.main_thread()}


def test_there_is_one_for_an_application(qapp, collector):
    assert Collector.of(qapp) is collector
    assert qapp.findChildren(Collector) == [collector]


def test_what_takes_long_is_looked_at_once(collector, monkeypatch):
    monkeypatch.setattr(garbage.gc, "get_count", lambda: (10_000, 100, 100))
    monkeypatch.setattr(garbage, "LONG", 0.0)
    gc.unfreeze()
    collector.look()
    assert gc.get_freeze_count() > 10_000
    monkeypatch.setattr(garbage, "LONG", 1e9)
    gc.unfreeze()
    collector.look()
    assert gc.get_freeze_count() == 0


def test_python_looks_again_when_it_is_stopped():
    application = QApplication.instance()
    Collector.of(application).stop()
    try:
        assert gc.isenabled()
        assert application.findChild(Collector) is None
    finally:
        Collector.of(application)
    assert not gc.isenabled()
