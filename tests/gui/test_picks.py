"""Picking agents: what is told of them, what they form, how it goes on over time."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel

from mldsim.errors import InputError
from mldsim.frames import Frame, Pull, ThermoRow, Topology
from mldsim.gui.panels.agents import AgentsPanel
from mldsim.gui.panels.bars import Span
from mldsim.gui.picked import UNKNOWN, Series, figure, pick, readings, region, written
from mldsim.gui.picks import Picks
from mldsim.gui.plots.tracks import MOST_TRACKS, UNTOLD, TrackPlots
from mldsim.gui.viewport import Colouring, Viewport
from mldsim.loss import load_model
from mldsim.water import water_box


def water_frame(n=64, time=0.0):
    """A box of water from the shipped configuration, its topology, and the model's symbols."""
    model = load_model("water")
    state = water_box(n, 0.997, 300.0, 1, model.symbols, model.masses)
    rng = np.random.default_rng(5)
    forces, losses = rng.normal(size=state.positions.shape), rng.normal(size=len(state.species))
    frame = Frame(0, time, state.box, state.positions, state.velocities, forces, losses, ThermoRow(*[0.0] * 9))
    return frame, Topology(state.symbols, state.species, state.masses, state.bonds)


# --- without a display ---


def test_a_click_picks_one_and_shift_click_up_to_four():
    assert pick((1, 2), 7, add=False) == (7,)
    assert pick((1, 2), None, add=False) == ()
    assert pick((1, 2), None, add=True) == (1, 2)
    assert pick((1, 2), 7, add=True) == (1, 2, 7)
    assert pick((1, 2, 7), 2, add=True) == (1, 7)
    assert pick((1, 2, 3, 4), 5, add=True) == (2, 3, 4, 5)


def test_two_three_and_four_agents_form_a_distance_an_angle_and_a_dihedral():
    frame, topology = water_frame()
    assert figure(topology, (0,)) is None
    bond = figure(topology, (0, 1))
    assert bond.title == "Distance O 0 – H 1"
    assert 0.85 < bond.read(frame) < 1.15
    assert bond.unit == "Å"
    assert 85 < figure(topology, (1, 0, 2)).read(frame) < 125
    assert -180 <= figure(topology, (0, 1, 3, 4)).read(frame) <= 180
    far = replace(frame, positions=frame.positions + np.where(np.arange(192) == 1, 5, 0)[:, None] * frame.box)
    assert bond.read(far) == pytest.approx(bond.read(frame))  # by the nearest image


def test_readings_have_the_units_they_say():
    frame, topology = water_frame()
    velocities = np.zeros_like(frame.velocities)
    velocities[0] = [0.005, 0.0, 0.0]  # angstrom/fs: 500 m/s
    frame = replace(frame, velocities=velocities)
    told = {reading.quantity: reading for reading in readings(topology, 0)}
    assert told["Speed"].read(frame) == pytest.approx(500.0)
    # m v^2 / 2 for 15.999 amu at 500 m/s
    joule = 0.5 * 15.999 * 1.66053906660e-27 * 500.0**2
    assert told["Kinetic energy"].read(frame) == pytest.approx(joule / 1.602176634e-22, rel=1e-6)
    assert told["Gradient"].read(frame) == pytest.approx(np.linalg.norm(frame.forces[0]))
    assert told["Loss"].text(frame).endswith(" eV")


def test_numbers_are_written_with_as_many_digits_as_can_be_read():
    assert [written(x) for x in (-1.23456, 12.3456, 123.456, 1234.56)] == ["−1.235", "12.35", "123.5", "1235"]


def test_a_series_is_bounded_keeps_its_ends_and_follows_a_run_that_goes_back():
    series = Series(capacity=100)
    for step in range(1000):
        series.append(float(step), 2.0 * step)
    times, values = series.columns()
    assert len(times) <= 100
    assert times[0] == 0.0
    assert times[-1] == 999.0
    assert np.all(np.diff(times) > 0)
    np.testing.assert_array_equal(values, 2.0 * times)
    series.append(500.0, -1.0)  # a guard went back to an earlier state
    times, values = series.columns()
    assert times[-1] == 500.0
    assert times[-2] < 500.0


# --- on a display ---

pytestmark = pytest.mark.gui


class Clock:
    now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def desk(qtbot):
    viewport, panel, tracks = Viewport(), AgentsPanel([]), TrackPlots()
    for widget, size in ((viewport.widget, (480, 400)), (panel, (360, 700)), (tracks, (700, 220))):
        qtbot.addWidget(widget)
        widget.resize(*size)
        with qtbot.waitExposed(widget):
            widget.show()
    model = load_model("water")
    picks = Picks(viewport, panel, tracks, lambda: model, Clock())
    frame, topology = water_frame()
    picks.set_topology(topology, frame.box)
    picks.set_frame(frame)
    picks.viewport, picks.panel, picks.tracks, picks.frame, picks.topology = viewport, panel, tracks, frame, topology
    return picks


def texts(widget):
    return [label.text() for label in widget.findChildren(QLabel) if label.isVisible()]


def test_nothing_picked_says_what_to_do(desk):
    assert any("Click an agent" in text for text in texts(desk.panel))
    assert not desk.panel.clear.isEnabled()
    assert any("Plot over time" in text for text in texts(desk.tracks))


def test_a_click_in_the_view_tells_of_the_agent_and_a_second_with_shift_measures(desk):
    surface = desk.viewport.widget.childAt(240, 200)
    inside = [place for place in np.round(desk.viewport.project()).astype(int) if 60 < place.min() < 340]
    QTest.mouseClick(surface, Qt.MouseButton.LeftButton, pos=QPoint(*inside[0].tolist()))
    assert len(desk.picked) == 1
    first = desk.picked[0]
    shown = texts(desk.panel)
    assert f"{desk.topology.symbols[desk.topology.species[first]]} {first}" in shown
    for unit in (" Å", " m/s", " eV", " eV/Å", " meV"):
        assert any(text.endswith(unit) for text in shown), unit
    other = next(p for p in inside if desk.viewport.pick(*p) not in (first, None))
    QTest.mouseClick(surface, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, QPoint(*other.tolist()))
    assert len(desk.picked) == 2
    assert any(text.startswith("Distance") for text in texts(desk.panel))
    assert desk.panel.figure_value.text().endswith(" Å")


def test_the_loss_is_split_and_adds_up(desk, qtbot):
    desk.pick((3,))
    qtbot.waitUntil(lambda: bool(desk.panel.terms.rows()), timeout=60000)  # it is taken apart in another thread
    terms, shares = dict(desk.panel.terms.rows()), dict(desk.panel.neighbours.rows())
    assert "Linear" in terms
    assert "Quadratic, rank 0" in terms
    assert sum(terms.values()) == pytest.approx(sum(shares.values()), abs=1e-6)
    assert any(name.startswith("H 4 · ") for name in shares)
    invariants = load_model("water").linear.shape[1]
    assert sum(len(bars.spans()) for bars in desk.panel.invariants if bars.isVisible()) == invariants
    assert Span("s", 2.0, 0.0, 1.0).inside is False


def test_the_agents_themselves_are_ringed_where_a_distance_goes_to_another_image(desk):
    frame, topology = desk.frame, desk.topology
    oxygens = np.flatnonzero(topology.species == 0)
    inside = frame.positions[oxygens] % frame.box
    low, high = oxygens[inside[:, 0].argmin()], oxygens[inside[:, 0].argmax()]  # neighbours through the face of the box
    desk.pick((int(low), int(high)))
    desk.viewport.read_off()
    desk.set_frame(frame)
    marks, drawn = desk.viewport._marks_shown, desk.viewport.project()
    for ring, agent in zip(marks.rings, (low, high), strict=True):
        np.testing.assert_allclose(ring[0], drawn[agent], atol=0.1)
    assert [place for place, _ in marks.images] == [marks.path[1]]
    assert np.linalg.norm(np.subtract(marks.path[1], drawn[high])) > 50
    np.testing.assert_allclose(marks.arrows[0][0], drawn[high], atol=0.1)
    desk.pick((0, 1))  # of one molecule, which is drawn whole
    desk.viewport.read_off()
    desk.set_frame(frame)
    assert desk.viewport._marks_shown.images == ()


def test_numbers_can_be_read_while_they_change_and_end_as_those_of_the_last_frame(desk):
    now = 100.0
    desk._clock = lambda: now
    desk.pick((0, 1))

    def frame(scale):
        return replace(desk.frame, forces=scale * desk.frame.forces)

    def gradient():
        marks = desk.viewport._marks_shown
        return float(marks.arrows[0][2].split()[0]), float(desk.panel.values[1].text().split()[0])

    size = float(np.linalg.norm(desk.frame.forces[1]))
    for step in range(12):  # 60 frames a second
        now += 1 / 60
        desk.set_frame(frame(1.0 + step))
        desk.read_off()
    assert gradient()[0] < 11.0 * size
    for _ in range(15):  # then the run stands
        now += 1 / 60
        desk.read_off()
    assert gradient() == pytest.approx((12.0 * size, 12.0 * size), rel=0.01)
    marks = desk.viewport._marks_shown
    desk.read_off()
    assert desk.viewport._marks_shown is marks  # nothing is drawn for nothing


def test_marks_are_drawn_and_taken_away(desk, pixels):
    plain = pixels(desk.viewport.widget)
    desk.pick((0,))
    one = pixels(desk.viewport.widget)
    desk.pick((0, 30, 60, 90))
    four = pixels(desk.viewport.widget)

    def differ(a, b):
        return int(np.count_nonzero(np.abs(a.astype(int) - b.astype(int)).max(-1) > 24))

    assert differ(plain, one) > 40
    assert differ(one, four) > 300
    desk.clear()
    assert differ(plain, pixels(desk.viewport.widget)) == 0
    desk.pick((0, 30))
    picture = pixels(desk.viewport.picture(480, 400))
    assert differ(picture, pixels(desk.viewport.widget)) < differ(picture, plain)


def test_find_by_number_and_focus_bring_an_agent_to_the_middle(desk):
    desk.panel.number.asked.emit(100.0)
    assert desk.picked == (100,)
    desk.viewport.focus()
    np.testing.assert_allclose(desk.viewport.project()[100], [240, 200], atol=2.0)
    assert desk.viewport.camera.magnification > 1.2
    # It stays there, wherever the molecule goes, and its neighbours around it.
    oxygen = desk.topology.bonds[(desk.topology.bonds == 100).any(axis=1)][0].min()
    before = desk.viewport.project()[oxygen]
    for shift in (3.0, 7.0, -40.0):
        desk.set_frame(replace(desk.frame, positions=desk.frame.positions + shift))
        np.testing.assert_allclose(desk.viewport.project()[oxygen], before, atol=0.5)
    desk.clear()
    desk.viewport.focus()
    assert desk.viewport.camera.magnification == 1.0


def test_a_number_is_plotted_from_the_moment_it_was_asked_for(desk):
    desk.pick((0, 1))
    desk.follow(figure(desk.topology, (0, 1)))
    for time in (10.0, 20.0, 30.0):
        desk.set_frame(replace(desk.frame, time=time))
    times, values = desk.tracks.columns("Distance O 0 – H 1")
    assert times == [0.0, 10.0, 20.0, 30.0]
    assert np.allclose(values, figure(desk.topology, (0, 1)).read(desk.frame))
    desk.clear()  # a plot outlives what is picked
    desk.set_frame(replace(desk.frame, time=40.0))
    assert len(desk.tracks.columns("Distance O 0 – H 1")[0]) == 5
    desk.follow(figure(desk.topology, (0, 1)))
    assert desk.tracks.titles() == ["Distance O 0 – H 1"]
    for agent in range(MOST_TRACKS + 1):
        desk.follow(readings(desk.topology, agent)[0])
    assert len(desk.tracks.titles()) == MOST_TRACKS
    desk.tracks.forget(desk.tracks.titles()[0])
    assert len(desk.tracks.titles()) == MOST_TRACKS - 1


def test_what_a_trajectory_does_not_tell_is_said_to_be_unknown_and_nothing_breaks(desk, qtbot):
    """Positions alone, as many files have them: no velocities, forces or losses."""
    unknown = np.full_like(desk.frame.positions, np.nan)
    bare = replace(desk.frame, velocities=unknown, forces=unknown, losses=unknown[:, 0], time=10.0)
    desk.viewport.set_colouring(Colouring.LOSS)
    desk.set_frame(bare)
    desk.pick((4, 3, 5))
    desk.follow(readings(desk.topology, 5)[0])
    for time in (20.0, 30.0):
        desk.set_frame(replace(bare, time=time))
        qtbot.wait(50)
    shown = texts(desk.panel)
    assert shown.count(UNKNOWN) == 5  # velocity, loss, gradient, speed, kinetic energy
    assert not any("nan" in text for text in shown + texts(desk.tracks))
    assert desk.panel.figure_value.text().endswith("°")
    assert UNTOLD in texts(desk.tracks)
    desk.set_frame(replace(desk.frame, time=40.0))
    qtbot.wait(50)
    assert UNTOLD not in texts(desk.tracks)


def test_a_region_takes_whole_molecules_by_nearest_images():
    frame, _ = water_frame()
    molecule = np.arange(192) // 3
    near = region(molecule, frame, 0, 3.2)
    assert {0, 1, 2} <= set(near)
    assert len(near) % 3 == 0
    assert 3 < len(near) < 60
    assert len(region(molecule, frame, 0, 20.0)) == 192
    far = replace(frame, positions=frame.positions + np.where(molecule == 20, 3, 0)[:, None] * frame.box)
    assert region(molecule, far, 0, 3.2) == near


def test_ctrl_drag_pulls_the_molecule_in_the_plane_of_the_view_and_shows_the_spring(desk, pixels):
    view = desk.viewport
    surface = view.widget.childAt(240, 200)
    told, ended = [], []
    view.pulled.connect(lambda agent, target: told.append((agent, target)))
    view.released.connect(lambda: ended.append(True))
    place = next(p for p in np.round(view.project()).astype(int) if 60 < p.min() < 340 and view.pick(*p) is not None)
    control = Qt.KeyboardModifier.ControlModifier
    QTest.mousePress(surface, Qt.MouseButton.LeftButton, control, QPoint(*place.tolist()))
    there = QPointF(*(place + np.array([60.0, -40.0])).tolist())
    move = QMouseEvent(
        QEvent.Type.MouseMove, there, surface.mapToGlobal(there), Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton,
        control,
    )  # fmt: skip
    QApplication.sendEvent(surface, move)
    agent, target = told[-1]
    members = np.arange(3) + agent // 3 * 3
    centre = np.average(desk.frame.positions[members], axis=0, weights=desk.topology.masses[members])
    drawn = target - centre
    axes = view.camera.rotation()
    assert abs(drawn @ axes[2]) < 1e-6  # neither nearer nor farther
    assert drawn @ axes[0] > 0.5
    assert drawn @ axes[1] > 0.3
    plain = pixels(view.widget)
    desk.set_frame(replace(desk.frame, pull=Pull(agent, target, np.array([0.3, 0.4, 0.0]))))
    springy = pixels(view.widget)
    assert np.count_nonzero(np.abs(plain.astype(int) - springy.astype(int)).max(-1) > 24) > 60
    QTest.mouseRelease(surface, Qt.MouseButton.LeftButton, control, there.toPoint())
    assert ended == [True]
    assert desk.picked == ()  # a drag is no click
    desk.set_frame(replace(desk.frame, pull=None))
    assert np.count_nonzero(np.abs(plain.astype(int) - pixels(view.widget).astype(int)).max(-1) > 24) < 10


def test_another_model_keeps_what_is_picked_and_another_system_does_not(desk):
    desk.pick((5,))
    desk.set_topology(desk.topology, desk.frame.box)
    assert desk.picked == (5,)
    frame, topology = water_frame(8)
    desk.follow(readings(desk.topology, 100)[0])
    desk.set_topology(topology, frame.box)
    assert desk.picked == ()
    assert desk.tracks.titles() == []
    desk.pick((150,))  # is not there any more
    assert desk.picked == ()


def test_a_model_that_cannot_be_read_leaves_the_numbers(desk):
    def gone():
        raise InputError("There is no loss model 'mine.json'.")

    desk._model_now, desk._model = gone, None
    desk.pick((5,))
    assert any(text.endswith(" eV/Å") for text in texts(desk.panel))
    assert not desk.panel.terms.isVisible()
