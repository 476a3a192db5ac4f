"""The plots of a run: chosen columns, smoothing, freezing, lines, reading off, and what is saved of them."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QObject, QPointF, Qt
from PySide6.QtGui import QImage, QRegion
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from mldsim.errors import WorkFailed
from mldsim.frames import THERMO_COLUMNS, ThermoRow, ThermoTable
from mldsim.gui import theme
from mldsim.gui.dialogs.line import LineDialog
from mldsim.gui.panels.panel import is_seen
from mldsim.gui.plots.curves import CurvePlot
from mldsim.gui.plots.plot import Pen, unit_of
from mldsim.gui.plots.thermo import ThermoPlots
from mldsim.gui.preferences import Preferences
from mldsim.gui.theme import Theme
from mldsim.gui.viewmodel import COLUMNS, RunningMean, Smoothing, curves
from mldsim.tables import write_thermo

pytestmark = pytest.mark.gui

AGENTS = 100


def table(rows=400, **changes):
    filled = ThermoTable()
    for i in range(rows):
        wave = math.sin(0.3 * i)
        filled.append(
            replace(
                ThermoRow(5.0 * i, 300.0 + 20.0 * wave, 300.0, 4.0 + wave, -9.0 - wave, -5.0, -5.0, 0.0, 0.0),
                oxygen_loss=-1.0 - 0.1 * wave,
                hydrogen_loss=-2.0 + 0.05 * wave,
                **changes,
            )
        )
    return filled.columns()


def run(rows=400, **changes):
    return curves(table(rows, **changes), AGENTS)


@pytest.fixture
def plots(qtbot):
    made = ThermoPlots()
    qtbot.addWidget(made)
    made.resize(920, 200)
    made.colour(theme.COLOURS[Theme.DARK])
    with qtbot.waitExposed(made):
        made.show()
    return made


def test_all_that_a_run_has_can_be_plotted_and_has_a_unit():
    assert set(COLUMNS) == set(THERMO_COLUMNS) - {"time"}
    assert all(unit_of(column.axis) for column in COLUMNS.values())
    assert unit_of("g(O-O)") == ""
    assert len({column.name for column in COLUMNS.values()}) == len(COLUMNS)


def test_losses_of_the_species_are_shown_and_the_heat_where_nothing_is_conserved(plots):
    plots.show_curves(run())
    assert set(plots.free.curves()) >= {"loss per O", "loss per H"}
    _, oxygen = plots.free.drawn("loss per O")
    assert np.ptp(oxygen) == pytest.approx(200.0, rel=0.01)  # meV per oxygen
    plots.show_curves(run(conserved=math.nan, nonreciprocal_power=0.1))
    assert "heat to thermostat" in plots.free.curves()
    assert "conserved" not in plots.energy.curves()


def test_columns_of_one_unit_share_a_plot_and_others_give_way(plots):
    plots.show_curves(run())
    plots.free.toggle("loss")
    assert plots.free.columns == ("loss", "oxygen_loss", "hydrogen_loss")
    plots.free.toggle("temperature")
    assert plots.free.columns == ("temperature",)
    assert plots.free._labels == ("Time (ps)", "Temperature (K)")
    plots.free.toggle("temperature")  # the last one stays
    assert plots.free.columns == ("temperature",)
    menu = plots.free.columns_menu(plots)
    entries = {action.text(): action for action in menu.actions()}
    assert not entries["non-reciprocal power"].isEnabled()  # this run has none
    entries["conserved"].trigger()
    assert plots.free.columns == ("conserved",)
    assert entries["conserved"].isChecked()
    assert not entries["temperature"].isChecked()


def test_raw_smoothed_and_both(plots):
    found = run()
    plots.show_curves(found)
    plot = plots.energy
    assert set(plot.curves()) == {"kinetic", "loss", "total", "conserved"}
    plot.smooth(Smoothing.SMOOTHED, 0.1)
    assert set(plot.curves()) == {f"{name}, 0.1 ps mean" for name in ("kinetic", "loss", "total", "conserved")}
    mean = plot.curves()["kinetic, 0.1 ps mean"].y
    assert np.allclose(mean, RunningMean(found.time, 0.1).of(found.values["kinetic"]))
    assert np.ptp(mean[50:]) < 0.5 * np.ptp(found.values["kinetic"])
    plot.smooth(Smoothing.BOTH, 0.1)
    assert len(plot.curves()) == 8
    assert "0.1" in plot._legend.text()
    both = plots.temperature.curves()
    assert set(both) == {"temperature", "target", "temperature, 0.5 ps mean"}  # a target is not smoothed
    menu = plot.menu()
    next(action for action in menu.actions() if action.text() == "Raw").trigger()
    assert plot.smoothing is Smoothing.RAW


def test_a_frozen_plot_stands_while_the_run_goes_on_and_says_so(plots):
    plots.show_curves(run(100))
    plot = plots.temperature
    plot.freeze(on=True)
    assert plot._thaw.isVisible()
    assert "0.495 ps" in plot._thaw.text()
    plots.show_curves(run(200))
    assert len(plot.curves()["target"].x) == 100
    assert len(plots.energy.curves()["kinetic"].x) == 200
    plot._thaw.click()
    assert len(plot.curves()["target"].x) == 200
    assert not plot._thaw.isVisible()
    plot.freeze(on=True)
    plots.show_curves(None)  # another system: there is nothing to hold on to
    assert not plot.frozen
    assert not plot.curves()


def test_the_cross_hair_reads_values_off_with_units(plots):
    plots.show_curves(run())
    plot = plots.energy
    place = plot._box.mapViewToScene(QPointF(1.0, 0.0))
    plot._on_pointer(place)
    x = plot._pointer
    assert x == pytest.approx(1.0, abs=0.01)
    value = np.interp(x, plot.curves()["kinetic"].x, plot.curves()["kinetic"].y)
    assert f"{value:.4g}".replace("-", "−") in plot.reading or f"{value:.3g}".replace("-", "−") in plot.reading
    assert "meV/agent" in plot.reading
    assert " ps</b>" in plot.reading
    assert all(hair.isVisible() for hair in plot._hairs)
    plot._graph.setFocus()
    before = plot._pointer
    QTest.keyClick(plot._graph, Qt.Key.Key_Right)
    assert plot._pointer > before
    QTest.keyClick(plot._graph, Qt.Key.Key_Escape)
    assert plot.reading == ""


def test_zoom_is_kept_and_one_click_follows_again(plots):
    plots.show_curves(run(100))
    plot = plots.energy
    plot._box.setRange(xRange=(0.1, 0.2), padding=0)
    plot._box.sigRangeChangedManually.emit([True, True])
    plots.show_curves(run(200))
    assert plot._box.viewRange()[0] == pytest.approx([0.1, 0.2])
    assert plot._follow.isVisible()
    plot._follow.click()
    assert plot._box.viewRange()[0][1] >= 0.995
    assert not plot._follow.isVisible()
    plot._box.sigRangeChangedManually.emit([True, True])
    plot._graph.setFocus()
    QTest.keyClick(plot._graph, Qt.Key.Key_A)
    assert plot.following


def test_a_line_of_the_user_is_in_view_and_has_its_value(plots):
    plots.show_curves(run())
    plot = plots.temperature
    plot.ask_line()
    dialog = plot.window().findChild(LineDialog)
    dialog.edit.setText("350")
    dialog.accept()
    assert plot.lines == (350.0,)
    assert plot._box.viewRange()[1][1] >= 350.0
    assert plot._drawn_lines[0].label.format == "350 K"
    entries = [action.text() for action in plot.menu().actions()]
    assert "Remove the line at 350 K" in entries
    plot.set_lines(())
    assert plot._drawn_lines == []


def test_what_is_saved_is_all_of_it_not_what_is_drawn(plots, home):
    asked = []
    plots.temperature.export_asked.connect(asked.append)
    plots.show_curves(run(5000))
    assert len(plots.temperature.drawn("target")[0]) < 2500
    plots.temperature.ask_table()
    asked.pop().write(home / "t.csv")
    with (home / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curve", "Time (ps)", "Temperature (K)", "standard error"]
    assert sum(row[0] == "target" for row in rows) == 5000
    plots.temperature.ask_picture()
    export = asked.pop()
    export.write(home / "t.png")
    assert QImage(str(home / "t.png")).width() >= 3 * plots.temperature._graph.width()
    export.write(home / "t.svg")
    drawing = QSvgRenderer(str(home / "t.svg"))
    assert drawing.isValid()
    written = (home / "t.svg").read_bytes()
    assert b"polyline" in written  # curves and letters, and not pictures of them
    assert b"<text" in written
    assert b"<image" not in written
    with pytest.raises(WorkFailed):
        export.write(home / "nowhere" / "t.png")


def test_the_table_of_a_run_has_every_column_with_its_unit(home):
    write_thermo(home / "run.csv", table(3, conserved=math.nan))
    with (home / "run.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:2] == ["Time (fs)", "Temperature (K)"]
    assert len(rows[0]) == len(THERMO_COLUMNS)
    assert [row[0] for row in rows[1:]] == ["0", "5", "10"]
    assert rows[1][list(THERMO_COLUMNS).index("conserved")] == ""


def test_what_a_long_run_adds_is_drawn_when_it_can_be_seen(plots, qtbot):
    now = 0.0
    plots.clock = lambda: now
    qtbot.waitUntil(lambda: is_seen(plots))
    plots.show_curves(run(20_000))  # to 99,995 fs
    pixel = 1e3 * plots.temperature.pixel
    assert 50 < pixel < 5000
    assert not plots.wanted(99_995 + 0.2 * pixel)
    assert plots.wanted(99_995 + 1.1 * pixel)
    assert plots.wanted(5.0)  # it went back
    assert plots.wanted(math.nan)  # another one
    now = 1.1  # the last frame of a run that stands
    assert plots.wanted(99_995 + 0.2 * pixel)
    plots.hide()
    assert not plots.wanted(99_995 + 1.1 * pixel)


def test_what_a_short_run_adds_is_drawn_at_once(plots, qtbot):
    qtbot.waitUntil(lambda: is_seen(plots))
    plots.show_curves(run(40))
    assert plots.wanted(5.0 * 40)


def test_a_long_run_is_drawn_with_few_points(plots):
    plots.show_curves(run(20_000))
    for plot in plots.plots.values():
        for name in plot.curves():
            assert len(plot.drawn(name)[0]) <= 2 * max(100, round(plot._box.width())) + 4


def test_choices_are_remembered_and_nonsense_is_not(plots, home, qtbot):
    plots.show_curves(run())
    plots.free.choose(("conserved",))
    plots.energy.smooth(Smoothing.BOTH, 2.0)
    plots.temperature.set_lines((310.0,))
    preferences = Preferences(home / "w.ini")
    preferences.set_record("plots", plots.settings())
    preferences.save()
    again = ThermoPlots()
    qtbot.addWidget(again)
    again.restore(Preferences(home / "w.ini").record("plots"))
    assert again.free.columns == ("conserved",)
    assert again.energy.smoothing is Smoothing.BOTH
    assert again.energy.window_ps == 2.0
    assert again.temperature.lines == (310.0,)
    again.restore(
        {"free": {"columns": ["loss", "temperature"], "smoothing": 7, "window_ps": "x", "lines": [None]}, "x": 1}
    )
    assert again.free.columns == ("conserved",)
    assert Preferences(home / "w.ini").record("nothing") == {}


@pytest.mark.parametrize("name", list(Theme))
def test_nothing_overlaps_in_the_narrowest_window(plots, name, qtbot):
    plots.resize(880, 190)
    plots.colour(theme.COLOURS[name])
    plots.show_curves(run())
    for plot in plots.plots.values():
        legend = plot._legend
        qtbot.waitUntil(lambda legend=legend: legend.heightForWidth(legend.width()) <= legend.height() + 1)
        assert plot._legend.geometry().right() < plot._more.geometry().left()
        for side, room in (("left", plot._graph.height()), ("bottom", plot._graph.width())):
            label = plot._graph.getPlotItem().getAxis(side).label
            assert label.boundingRect().width() <= room


class Painted(QObject):
    """Where a widget was painted."""

    def __init__(self, widget):
        super().__init__(widget)
        self._where = QRegion()
        widget.installEventFilter(self)

    def eventFilter(self, _widget, event):  # noqa: N802
        if event.type() is QEvent.Type.Paint:
            self._where |= event.region()
        return False

    def since(self):
        """What was painted since the last call, and what was still to be painted."""
        before = None
        while before != self._where:
            before = QRegion(self._where)
            QApplication.processEvents()
        where, self._where = self._where, QRegion()
        return where


def pixels(widget):
    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    return np.array(image.constBits()).reshape(image.height(), image.width(), 4)


def test_a_time_axis_moves_seldom_and_wastes_little_room_once_a_run_is_no_longer_young(plots):
    now = 0.0
    plots.clock = lambda: now
    whole, ends = table(1200), []

    def grow(rows, seconds):
        nonlocal now
        for n in rows:
            now += seconds
            plots.show_curves(curves({name: column[:n] for name, column in whole.items()}, AGENTS))
            shown = {plot._box.viewRange()[0][1] for plot in plots.plots.values()}
            assert len(shown) == 1  # side by side
            ends.append((shown.pop(), whole["time"][n - 1] * 1e-3))

    grow(range(10, 400, 5), 0.05)  # four seconds: from 0.05 to 2 ps
    moves = len({end for end, _ in ends})
    assert 2 < moves <= 9
    assert all(run <= end for end, run in ends)
    ends.clear()
    grow(range(400, 1200, 5), 0.5)
    late = [(end, run) for end, run in ends if end != ends[0][0]]
    assert late
    assert all(run <= end <= 1.2 * run for end, run in late)


@pytest.mark.parametrize("rows", [40, 4000])
def test_while_a_run_goes_on_what_has_changed_is_painted_and_little_more(plots, rows):
    whole = table(rows + 60)
    area, narrow = plots.temperature._graph.viewport(), 0

    def show(n):
        plots.show_curves(curves({name: column[:n] for name, column in whole.items()}, AGENTS))

    show(rows)
    painted = Painted(area)
    painted.since()
    for n in range(rows + 20, rows + 61, 20):
        before = pixels(area)
        painted.since()  # to look at a widget is to paint it
        show(n)
        where = painted.since()
        y, x = np.nonzero((pixels(area) != before).any(axis=2))
        assert len(x)
        seen = np.zeros(before.shape[:2], bool)
        for part in where:
            seen[part.top() : part.bottom() + 1, part.left() : part.right() + 1] = True
        assert seen[y, x].all()
        narrow += where.boundingRect().width() < 0.1 * area.width()
    assert narrow == (3 if rows == 4000 else 0)


def test_a_plot_that_is_told_of_no_curves_is_painted_once_and_not_without_end(qtbot):
    plot = CurvePlot({"g(r)": Pen("loss")})
    qtbot.addWidget(plot)
    plot.resize(400, 250)
    with qtbot.waitExposed(plot):
        plot.show()
    qtbot.wait(100)
    plot.show_curves("r (Å)", "g(r)", {})
    qtbot.wait(100)
    painted, shown = Painted(plot._graph.viewport()), plot._box.viewRange()
    qtbot.wait(200)
    assert painted.since().isEmpty()
    assert plot._box.viewRange() == shown
