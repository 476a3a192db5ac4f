"""The learned loss on a panel: pair curves with the visited distances and the fitted range, matrices, sensitivities."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QImage

from mldsim.edits import FITTED, LossEdit
from mldsim.gui import theme
from mldsim.gui.panels.loss import EFFECT, FITTED_NOW, HERE, LINEAR, VISITED, Kind, LossPanel
from mldsim.gui.plots.matrix import MatrixMap
from mldsim.gui.theme import Theme
from mldsim.kernels.mutual import columns
from mldsim.loss import Hops, Scope, load_model
from mldsim.surroundings import Surroundings

pytestmark = pytest.mark.gui

R = np.linspace(0.7, 6.0, 200)
BINS = np.arange(0.025, 6.0, 0.05)


@pytest.fixture(scope="module")
def model():
    return load_model("water-paper")


@pytest.fixture(scope="module")
def seen(model):
    k = model.radial.n_radial
    linear = np.broadcast_to(np.exp(-R), (2, 2, len(R)))
    fitted = np.broadcast_to([[0.9, 6.0]], (2, 2, 2))
    peaks = np.broadcast_to(np.linspace(1.0, 5.0, k), (2, 2, k))
    effect = np.broadcast_to(np.linspace(-0.02, 0.05, k), (2, 2, k))
    visited = np.broadcast_to(np.exp(-((BINS - 2.8) ** 2)), (2, 2, len(BINS)))
    return Surroundings(
        model.symbols, R, linear, 0.5 * linear, 0.1 * linear, BINS, visited, fitted, peaks, effect, 0.1 * effect
    )  # fmt: skip


@pytest.fixture
def panel(qtbot):
    made = LossPanel()
    qtbot.addWidget(made)
    made.resize(900, 220)
    made.colour(theme.COLOURS[Theme.DARK])
    made.show()
    return made


def test_pair_curves_show_both_parts_the_visited_distances_and_the_fitted_range(panel, model, seen):
    panel.show_loss(model, seen)
    panel.choose(Kind.PAIRS, 0)
    for plot in panel.pairs:
        r, here = plot.drawn(HERE)
        _, linear = plot.drawn(LINEAR)
        assert r[0] >= 0.9  # below the closest contact of the fit nothing is known
        assert np.allclose(here, 0.5 * linear)
        assert plot.band_drawn(HERE)
        assert plot.band_drawn(VISITED)
        assert plot._region.getRegion() == (0.9, 6.0)
        assert "seen" in plot._legend.text()
    plot = panel.pairs[0]
    plot._point_at(2.8)
    assert plot.reading.count("<b>") == 3  # the distance and two curves; a histogram has no value


def test_matrices_of_every_rank_and_their_entries_can_be_read(panel, seen):
    model = load_model("water-fast")
    k = model.radial.n_radial
    peaks = np.broadcast_to(np.linspace(1.0, 5.0, k), (2, 2, k))
    panel.show_loss(model, replace(seen, peaks=peaks))
    panel.choose(Kind.MATRICES, 1)
    shown = [chart for chart in panel.matrices if chart.isVisible()]
    assert len(shown) == model.max_rank + 1
    reading = shown[0].reading(0, k)
    assert "O at 1.00 Å with H at 1.00 Å" in reading
    assert f"{model.quadratic[1, 0, 0, k]:.3g} eV" in reading
    assert shown[0].largest == pytest.approx(np.abs(model.quadratic[1, 0]).max())


def test_blue_lowers_and_orange_raises(panel, model, seen, pixels):
    panel.show_loss(model, seen)
    panel.choose(Kind.MATRICES, 0)
    chart = panel.matrices[0]
    chart.show_matrix("", "eV", np.array([[1.0, 0.0], [0.0, -1.0]]), ("O",), ("a", "b"))
    panel.show()
    square = chart._square()
    shown = pixels(chart)[..., :3].astype(int)
    row, step = int(square.top()), int(square.width() / 4)
    first = shown[row + step, int(square.left()) + step]
    last = shown[row + 3 * step, int(square.left()) + 3 * step]
    assert first[0] > first[2] + 50
    assert last[2] > last[0] + 50


def test_sensitivities_of_oxygen_stand_beside_those_of_hydrogen(panel, model, seen):
    panel.show_loss(model, seen)
    panel.choose(Kind.SENSITIVITIES)
    for plot, symbol in zip(panel.effects, ("O", "H"), strict=True):
        assert plot.isVisible()
        assert symbol in plot._labels[1]
        assert "meV" in plot._labels[1]
        for name in EFFECT:
            assert plot.drawn(name)[1].max() == pytest.approx(50.0)


def test_without_a_loss_or_a_frame_it_says_so_and_a_choice_stays(panel, model, seen):
    assert panel.pairs[0].message == "There is no loss yet."
    panel.show_loss(model, None)
    assert "still to come" in panel.pairs[0].message
    panel.choose(Kind.SENSITIVITIES)
    panel.show_loss(model, seen)
    assert panel._stack.currentIndex() == 2


def test_what_is_left_out_is_said(panel, seen):
    model = load_model("water-best")
    panel.show_loss(model, None)
    assert "by all its terms" in panel.text.words
    hopping = replace(model, hops=Hops(np.zeros((2, len(columns(2, model.radial.n_radial, model.cubic.n_channels))))))
    panel.show_loss(hopping, None)
    assert "by all but its hops" in panel.text.words


# --- switches


@pytest.fixture
def asked(panel):
    edits = []
    panel.asked.connect(edits.append)
    return edits


def test_a_switch_asks_for_an_edit_and_shows_only_what_is_applied(panel, asked):
    switches = panel.switches
    switches.show_model(load_model("water"))
    assert list(switches.terms) == ["linear", *(f"quadratic, rank {rank}" for rank in range(3)), "cubic"]
    switches.terms["cubic"].click()
    assert asked == [LossEdit(off=("cubic",))]
    switches.show_edit(FITTED)  # the engine refused
    assert switches.terms["cubic"].isChecked()
    assert not switches.fitted.isEnabled()


def test_losses_are_scaled_beside_what_is_switched_off_already(panel, asked):
    switches = panel.switches
    switches.show_model(load_model("water"))
    switches.show_edit(LossEdit(off=("cubic",), scales=(("H", 0.9),)))
    assert not switches.terms["cubic"].isChecked()
    switches.scales["O"].asked.emit(0.5)
    assert asked == [LossEdit(off=("cubic",), scales=(("O", 0.5), ("H", 0.9)))]
    switches.fitted.click()
    assert asked[-1] == FITTED


def test_the_scope_as_fitted_is_no_change(panel, asked):
    switches = panel.switches
    switches.show_model(load_model("water"))
    for scope in (Scope.OWN, Scope.SHARED):
        switches.scope.setCurrentIndex(switches.scope.findData(scope))
        switches.scope.activated.emit(switches.scope.currentIndex())
    assert asked == [LossEdit(scope=Scope.OWN), FITTED]


def test_another_model_brings_its_own_switches(panel):
    switches = panel.switches
    switches.show_model(load_model("water"))
    switches.show_model(load_model("water-paper"))
    assert list(switches.terms) == ["linear", "quadratic, rank 0"]
    assert switches.scope.currentData() is Scope.OWN


def test_the_edited_curve_lies_beside_the_fitted_one(panel, model, seen):
    panel.show_loss(model, replace(seen, mean=0.3 * seen.linear), seen)
    for plot in panel.pairs:
        assert plot.drawn(FITTED_NOW)[1] == pytest.approx(plot.drawn(HERE)[1] / 0.6)
    panel.show_loss(model, seen)
    assert not len(panel.pairs[0].drawn(FITTED_NOW)[0])


def test_a_heat_map_is_saved_as_a_table_and_as_a_picture(qtbot, tmp_path):
    chart = MatrixMap()
    qtbot.addWidget(chart)
    chart.resize(160, 160)
    asked = []
    chart.export_asked.connect(asked.append)
    assert not any(action.isEnabled() for action in chart.menu().actions())
    values = np.array([[1.5, -0.25], [-0.25, 3.0]])
    chart.show_matrix("rank 0", "eV", values, ("O", "H"), ("O at 2.80 Å", "H at 1.90 Å"))
    chart.ask_table()
    chart.ask_picture()
    table, picture = asked
    table.write(tmp_path / "w.csv")
    picture.write(tmp_path / "w.png")
    rows = [line.split(",") for line in (tmp_path / "w.csv").read_text(encoding="utf-8").splitlines()]
    assert rows == [
        ["eV", "O at 2.80 Å", "H at 1.90 Å"],
        ["O at 2.80 Å", "1.5", "-0.25"],
        ["H at 1.90 Å", "-0.25", "3"],
    ]
    assert QImage(str(tmp_path / "w.png")).width() >= 3 * 160
