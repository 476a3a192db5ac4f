"""The panel of analyses: what is measured, beside its reference, with units and errors, and why where it is not."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QImage

from mldsim.analysis.statistics import Curve
from mldsim.averages import Findings, Measured
from mldsim.gui import theme
from mldsim.gui.panels.analyses import REFERENCE, RUN, AnalysesPanel
from mldsim.gui.theme import Theme

pytestmark = pytest.mark.gui

X = np.linspace(2.0, 6.0, 81)


def curve(height: float, error: float = 0.05) -> Curve:
    return Curve(X, 1.0 + height * np.exp(-((X - 2.8) ** 2) / 0.02), np.full(len(X), error))


def findings(**changes: object) -> Findings:
    pairs = Measured("g_O-O", "g(O-O)", "r (Å)", "g(O-O)", curve(1.6), curve(1.5), "First peak 2.60 ± 0.05 at 2.80 Å")
    motion = Measured(
        "displacement", "Displacement and D", "Lag (ps)", "Mean square (Å²)", None, None, "", "Wait 5 ps."
    )
    alone = Measured("states", "Density of states", "Wavenumber (cm⁻¹)", "Density", curve(0.3, np.nan), None, "")
    return Findings((pairs, motion, alone), 3000.0, 150, 500.0, 300.2, "Reference: CP2K", True, "in full", **changes)


@pytest.fixture
def panel(qtbot):
    made = AnalysesPanel()
    qtbot.addWidget(made)
    made.resize(900, 220)
    made.colour(theme.COLOURS[Theme.DARK])
    made.show()
    return made


def test_a_run_is_shown_beside_its_reference_with_units_and_errors(panel):
    panel.show_findings(findings())
    assert [panel.list.item(i).text() for i in range(panel.list.count())] == [
        "g(O-O)", "Displacement and D", "Density of states",
    ]  # fmt: skip
    for name, height in ((RUN, 2.6), (REFERENCE, 2.5)):
        _, y = panel.plot.drawn(name)
        assert y.max() == pytest.approx(height, abs=0.02)
        assert panel.plot.band_drawn(name)
    assert panel.plot._labels == ("r (Å)", "g(O-O)")
    assert "2.60 ± 0.05" in panel.text.text()
    assert "3 ps" in panel.about.words
    assert "150 frames" in panel.about.words
    assert "in full" in panel.about.toolTip()


def test_what_is_chosen_stays_chosen_and_what_is_not_there_says_why(panel):
    panel.show_findings(findings())
    panel.choose("displacement")
    panel.show_findings(findings())
    assert panel.chosen.key == "displacement"
    assert panel.plot.message == "Wait 5 ps."
    assert not panel.table.isEnabled()
    panel.choose("states")
    assert panel.plot.message == ""
    assert len(panel.plot.drawn(REFERENCE)[0]) == 0
    assert not panel.plot.band_drawn(RUN)  # the error is not known
    assert panel.table.isEnabled()


def test_before_there_is_anything_it_says_so_and_offers_nothing(panel):
    assert panel.plot.message == "The run has not begun."
    assert not any(button.isEnabled() for button in (panel.restart, panel.table, panel.image))
    panel.show_findings(findings())
    panel.show_findings(Findings(comparison="Averages begin with the next step."))
    assert panel.chosen is None
    assert panel.plot.message == "Averages begin with the next step."


def test_the_list_names_another_substance_anew(panel):
    panel.show_findings(findings())
    panel.choose("states")
    other = Measured("g_Ar-Ar", "g(Ar-Ar)", "r (Å)", "g(Ar-Ar)", curve(2.0), None, "")
    panel.show_findings(Findings((other,), 10.0, 1, 0.0, 90.0, "not shown", False))
    assert panel.chosen.key == "g_Ar-Ar"


def test_a_zoom_is_kept_until_a_double_click(panel, qtbot):
    panel.show_findings(findings())
    box = panel.plot._graph.getPlotItem().getViewBox()
    whole = box.viewRange()[0]
    box.setRange(xRange=(2.5, 3.0), padding=0)
    box.sigRangeChangedManually.emit([True, True])
    panel.show_findings(findings())
    assert box.viewRange()[0] == pytest.approx([2.5, 3.0])
    panel.plot.show_everything()
    assert box.viewRange()[0] == pytest.approx(whole)


def test_the_pointer_reads_the_curves_off(panel):
    panel.show_findings(findings())
    panel.plot._point_at(2.8)
    reading = panel.plot.reading
    assert "2.8 Å" in reading
    assert "2.6" in reading
    assert "2.5" in reading
    assert "± 0.05" in reading
    panel.plot._point_at(None)
    assert panel.plot.reading == ""


def test_the_picture_is_sharp_enough_for_print_in_both_themes(panel, pixels):
    panel.show_findings(findings())
    for name in Theme:
        colours = theme.COLOURS[name]
        panel.colour(colours)
        image = panel.plot.picture()
        assert isinstance(image, QImage)
        assert image.width() >= 3 * panel.plot.width()
        ground = tuple(int(colours.panel[i : i + 2], 16) for i in (1, 3, 5))
        shown = pixels(image)[..., :3]
        assert (shown == ground).all(axis=-1).mean() > 0.5
        run = np.array([int(colours.loss[i : i + 2], 16) for i in (1, 3, 5)])
        assert (np.abs(shown.astype(int) - run).max(axis=-1) < 12).sum() > 500


def test_nothing_is_cut_off_at_the_smallest_window(panel):
    panel.resize(600, 190)
    panel.show_findings(findings())
    for button in (panel.restart, panel.table, panel.image):
        assert button.width() >= button.sizeHint().width()
        assert button.x() + button.width() <= panel.width()
    assert panel.plot._graph.height() >= 80
    long = "a very long sentence " * 30
    panel.about.say(long)
    assert panel.about.text().endswith("…")
    assert panel.about.toolTip() == long


def test_what_was_found_is_never_cut_off(panel, qapp):
    """The last words are the difference from the reference."""
    panel.resize(600, 190)
    one = findings()
    told = (
        "First peak 2.65 ± 0.07 at 2.827 ± 0.008 Å (reference 2.59 ± 0.03 at 2.811 ± 0.005 Å); mean |difference| 0.02"
    )
    panel.show_findings(replace(one, analyses=(replace(one.analyses[0], text=told), *one.analyses[1:])))
    panel.show()
    qapp.processEvents()
    assert panel.text.text() == told
    assert panel.text.height() >= panel.text.heightForWidth(panel.text.width())
    assert panel.plot._graph.height() >= 80


def test_a_table_has_both_curves_with_units_and_errors(panel, home):
    path = home / "g.csv"
    asked = []
    panel.export_asked.connect(asked.append)
    panel.show_findings(findings())
    panel.table.click()
    asked.pop().write(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curve", "r (Å)", "g(O-O)", "standard error"]
    assert [row[0] for row in rows[1:]] == [REFERENCE] * 81 + [RUN] * 81
    assert float(rows[98][2]) == pytest.approx(curve(1.6).y[16], rel=1e-6)
    assert float(rows[98][3]) == pytest.approx(0.05)
    panel.choose("states")
    panel.table.click()
    asked.pop().write(path)
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1][3] == ""
