"""The 3-D view on a display: what a user sees at its pixels."""

import itertools
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QWheelEvent
from PySide6.QtWidgets import QApplication, QLabel

from mldsim.errors import InputError, WorkFailed
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.gui.theme import Theme
from mldsim.gui.viewport import Colouring, Style, Viewport
from mldsim.gui.viewport.colours import VIEW_COLOURS
from mldsim.gui.viewport.marks import Marks
from mldsim.gui.viewport.overlay import Overlay
from mldsim.gui.viewport.scales import ColourMap, Scale

pytestmark = pytest.mark.gui

BOX = np.full(3, 9.0)


def make_frame(positions, losses=None, box=BOX):
    positions = np.asarray(positions, float)
    zeros = np.zeros_like(positions)
    losses = np.zeros(len(positions)) if losses is None else np.asarray(losses, float)
    return Frame(0, 0.0, box, positions, zeros, zeros, losses, ThermoRow(*[0.0] * 9))


def waters(n):
    """n water molecules well apart, in a row of y, and their topology."""
    oxygen = np.stack([np.full(n, 4.5), np.linspace(1.5, 7.5, n), np.full(n, 4.0)], axis=1)
    agents = oxygen[:, None] + np.array([[0, 0, 0], [0.76, 0, 0.59], [-0.76, 0, 0.59]])
    species = np.tile([0, 1, 1], n).astype(np.int32)
    bonds = np.array([[3 * i, 3 * i + j] for i in range(n) for j in (1, 2)], np.int32)
    return agents.reshape(-1, 3), Topology(("O", "H"), species, np.where(species == 0, 16.0, 1.0), bonds)


@pytest.fixture
def viewport(qtbot):
    view = Viewport()
    qtbot.addWidget(view.widget)
    view.widget.resize(480, 400)
    view.widget.show()
    qtbot.waitExposed(view.widget)
    assert view.usable
    return view


@pytest.fixture
def water(viewport):
    positions, topology = waters(3)
    viewport.set_topology(topology, BOX)
    viewport.set_frame(make_frame(positions, np.linspace(-1, 1, 9)))
    viewport.axis_view("x")
    return viewport


def at(picture, place):
    """Mean colour of the 3 x 3 pixels round a place."""
    x, y = np.round(place).astype(int)
    return picture[y - 1 : y + 2, x - 1 : x + 2, :3].reshape(-1, 3).mean(0)


def differ(a, b):
    return int(np.count_nonzero(np.abs(a.astype(int) - b.astype(int)).max(-1) > 24))


def test_oxygens_are_red_and_hydrogens_white_where_they_are(water, pixels):
    water.axis_view("y")  # the plane of the molecules: no agent hides another
    positions, topology = waters(1)
    water.set_topology(topology, BOX)
    water.set_frame(make_frame(positions))
    picture, places = pixels(water.widget), water.project()
    red, green, blue = at(picture, places[0])
    assert red > 120
    assert red > 2.5 * max(green, blue)
    for place in places[1:]:
        assert at(picture, place).min() > 130


def test_bonds_and_box_can_be_hidden(water, pixels):
    full = pixels(water.widget)
    water.show_bonds(False)
    without_bonds = pixels(water.widget)
    water.show_box(False)
    without_box = pixels(water.widget)
    assert differ(full, without_bonds) > 20
    assert differ(without_bonds, without_box) > 200
    water.show_bonds(True)
    water.show_box(True)
    assert differ(full, pixels(water.widget)) == 0


def test_mouse_orbits_pans_and_zooms(water, pixels, qtbot):
    water.reset_view()
    surface = QApplication.widgetAt(water.widget.mapToGlobal(QPoint(240, 200)))
    seen = [pixels(water.widget)]

    def drag(button, modifier=Qt.KeyboardModifier.NoModifier):
        # qtbot.mouseMove holds no button down, so the move is an event of our own.
        qtbot.mousePress(surface, button, modifier, QPoint(200, 200))
        event_target = QPoint(260, 230)
        move = QMouseEvent(
            QEvent.Type.MouseMove, QPointF(event_target), surface.mapToGlobal(QPointF(event_target)),
            Qt.MouseButton.NoButton, button, modifier,
        )  # fmt: skip
        QApplication.sendEvent(surface, move)
        qtbot.mouseRelease(surface, button, modifier, event_target)
        seen.append(pixels(water.widget))

    centre = water.camera.project(np.zeros((1, 3)), 480, 400)[0]
    drag(Qt.MouseButton.LeftButton)
    np.testing.assert_allclose(water.camera.project(np.zeros((1, 3)), 480, 400)[0], centre, atol=1e-6)
    drag(Qt.MouseButton.MiddleButton)
    panned = water.camera.project(np.zeros((1, 3)), 480, 400)[0]
    assert np.all(np.abs(panned - centre) > 10)
    drag(Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier)
    before = water.camera.magnification
    wheel = QWheelEvent(
        QPointF(240, 200), surface.mapToGlobal(QPointF(240, 200)), QPoint(), QPoint(0, 240), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(surface, wheel)
    assert water.camera.magnification > before
    seen.append(pixels(water.widget))
    for one, other in itertools.pairwise(seen):
        assert differ(one, other) > 300


def test_click_tells_the_agent_under_the_mouse_and_a_drag_does_not(water, qtbot):
    surface = QApplication.widgetAt(water.widget.mapToGlobal(QPoint(240, 200)))
    told = []
    water.clicked.connect(told.append)
    for index, place in enumerate(water.project()[:3]):
        if water.pick(*place) == index:
            qtbot.mouseClick(surface, Qt.MouseButton.LeftButton, pos=QPoint(*np.round(place).astype(int)))
    qtbot.mouseClick(surface, Qt.MouseButton.LeftButton, pos=QPoint(3, 390))
    assert told[-1] is None
    assert 0 in told


def test_pick_agrees_with_what_is_drawn(viewport, pixels):
    positions, topology = waters(3)
    viewport.set_topology(topology, BOX)
    viewport.show_bonds(False)
    ground = pixels(viewport.widget).astype(int)
    viewport.set_frame(make_frame(positions))
    drawn = np.abs(pixels(viewport.widget).astype(int) - ground).max(-1) > 12
    picked = np.array(
        [[viewport.pick(x + 0.5, y + 0.5) is not None for x in range(0, 480, 8)] for y in range(0, 400, 8)]
    )
    assert picked.sum() > 30
    # Pixels on a silhouette are covered in part, and may count either way.
    assert np.count_nonzero(drawn[::8, ::8] != picked) < 0.15 * picked.sum()


@pytest.mark.parametrize("orthographic", [False, True])
def test_overlapping_spheres_cut_each_other_where_they_meet(viewport, pixels, orthographic):
    """Two equal space-filling spheres side by side along the view's x: the border is the plane between them; then one
    before the other: the front one shows. Sizes of quads or of depth would get either wrong."""
    species = np.array([0, 1], np.int32)
    topology = Topology(("O", "N"), species, np.array([16.0, 14.0]), np.empty((0, 2), np.int32))
    viewport.set_topology(topology, BOX)
    viewport.set_style(Style.SPACE_FILLING)
    viewport.set_orthographic(orthographic)
    viewport.axis_view("y")  # x to the right, z up, from -y
    viewport.show_box(False)

    def shown(positions):
        viewport.set_frame(make_frame(positions))
        return pixels(viewport.widget)

    def is_red(colour):
        return colour[0] > 1.5 * colour[2]

    # Oxygen a little nearer to the viewer: the cut is tilted, and the red sphere shows beyond the middle.
    picture = shown([[4.0, 4.0, 4.5], [5.0, 4.5, 4.5]])
    red, blue = viewport.project()
    row = [is_red(at(picture, red + (blue - red) * t)) for t in np.linspace(-0.5, 1.5, 41)]
    assert row[0]
    assert not row[-1]
    assert sum(a != b for a, b in itertools.pairwise(row)) == 1
    # On the line of sight through the cut, both spheres are equally far: found here by the exact ray cast.
    for t in np.linspace(-0.4, 1.4, 37):
        x, y = red + (blue - red) * t
        beside = {viewport.pick(x - 2, y), viewport.pick(x + 2, y)}
        if len(beside) == 1:
            assert is_red(at(picture, (x, y))) == (beside == {0})
    assert is_red(at(shown([[4.5, 3.5, 4.5], [4.5, 4.5, 4.5]]), viewport.project()[0]))
    assert not is_red(at(shown([[4.5, 4.5, 4.5], [4.5, 3.5, 4.5]]), viewport.project()[0]))


def test_molecule_at_the_edge_is_drawn_whole(water, pixels):
    positions, topology = waters(1)
    water.set_topology(topology, BOX)
    water.axis_view("y")
    for shift in ([0, 0, 0], [4.45, 0, 0], [-4.45, 0, 0], [400.2, -90.0, 9.0]):
        water.set_frame(make_frame(positions + shift))
        places = water.project()
        assert np.linalg.norm(places - places[0], axis=1).max() < 60


def test_colouring_by_loss_shows_other_colours_and_a_scale(water, pixels):
    by_element = pixels(water.widget)
    water.set_colouring(Colouring.LOSS)
    by_loss = pixels(water.widget)
    low, high = water.project()[[0, 6]]
    assert at(by_loss, high)[1] > at(by_loss, low)[1] + 25  # from violet to yellow
    legend = by_loss[:110, :240, :3].astype(int)
    yellow = (legend[..., 0] > 200) & (legend[..., 1] > 180) & (legend[..., 2] < 100)
    assert yellow.sum() > 30
    water.set_colouring(Colouring.ELEMENT)
    assert differ(by_element, pixels(water.widget)) == 0


def test_fixed_range_of_losses(water, pixels):
    water.set_colouring(Colouring.LOSS)
    followed = pixels(water.widget)
    water.set_scale(Colouring.LOSS, Scale(fixed=(-100.0, 100.0)))
    fixed = pixels(water.widget)
    assert differ(followed, fixed) > 100
    assert water.shown_range() == (-100.0, 100.0)
    with pytest.raises(InputError, match="lower to a higher"):
        water.set_scale(Colouring.LOSS, Scale(fixed=(1.0, 0.0)))


@pytest.fixture
def moving(viewport):
    """Three waters in a row of y; the second moves, the third has the steepest loss."""
    positions, topology = waters(3)
    velocities, forces = np.zeros((2, 9, 3))
    velocities[3:6], forces[6:9] = [0.02, 0.0, 0.0], [0.0, 4.0, 0.0]
    frame = replace(make_frame(positions), velocities=velocities, forces=forces)
    viewport.set_topology(topology, BOX)
    viewport.set_frame(frame)
    viewport.axis_view("x")
    return viewport


def test_speed_and_gradient_have_scales_in_their_units(moving, pixels):
    moving.set_colouring(Colouring.SPEED)
    moving.set_scale(Colouring.SPEED, Scale(fixed=(0.0, 2000.0)))  # 0.02 angstrom/fs is 2000 m/s
    picture, places = pixels(moving.widget), moving.project()
    assert at(picture, places[3])[1] > at(picture, places[0])[1] + 60
    assert at(picture, places[6])[1] == pytest.approx(at(picture, places[0])[1], abs=20)
    moving.set_colouring(Colouring.GRADIENT)
    picture = pixels(moving.widget)
    assert at(picture, places[6])[1] > at(picture, places[3])[1] + 60


def test_a_scale_can_be_reversed_and_every_quantity_keeps_its_own(moving, pixels):
    moving.set_colouring(Colouring.SPEED)
    moving.set_scale(Colouring.SPEED, Scale(ColourMap.CIVIDIS, (0.0, 2000.0), backwards=True))
    picture, places = pixels(moving.widget), moving.project()
    assert at(picture, places[0])[1] > at(picture, places[3])[1] + 60
    moving.set_colouring(Colouring.GRADIENT)
    assert moving.scale(Colouring.GRADIENT) == Scale()
    moving.set_colouring(Colouring.SPEED)
    assert differ(picture, pixels(moving.widget)) == 0


def test_molecules_get_colours_that_tell_neighbours_apart(moving, pixels):
    moving.set_colouring(Colouring.MOLECULE)
    picture, places = pixels(moving.widget), moving.project()
    oxygens = [at(picture, places[i]) for i in (0, 3, 6)]
    for one, other in itertools.combinations(oxygens, 2):
        assert np.abs(one - other).max() > 40


def test_hydrogen_bonds_are_counted_for_each_molecule_and_drawn_dashed(viewport, pixels, qtbot):
    """Two waters 2.8 angstrom apart, one giving a bond to the other, and one far away."""
    first = np.array([[2.0, 2.0, 2.0], [2.96, 2.0, 2.0], [1.76, 2.93, 2.0]])
    second = np.array([[4.8, 2.0, 2.0], [5.2, 2.5, 2.7], [5.2, 2.5, 1.3]])
    third = np.array([[4.0, 8.0, 7.0], [4.6, 8.6, 7.0], [3.4, 8.6, 7.0]])
    _, topology = waters(3)
    viewport.set_topology(topology, BOX)
    viewport.set_frame(make_frame(np.concatenate([first, second, third])))
    viewport.axis_view("z")
    plain = pixels(viewport.widget)
    viewport.show_hydrogen_bonds(True)
    qtbot.waitUntil(lambda: differ(plain, pixels(viewport.widget)) > 15)  # they are found in another thread
    viewport.show_hydrogen_bonds(False)
    viewport.set_colouring(Colouring.HYDROGEN_BONDS)
    picture, places = pixels(viewport.widget), viewport.project()
    assert np.abs(at(picture, places[0]) - at(picture, places[3])).max() < 40  # one bond each
    assert np.abs(at(picture, places[0]) - at(picture, places[6])).max() > 25  # none
    viewport.set_frame(make_frame(np.concatenate([first, second, third]), box=np.full(3, 6.9)))
    viewport.set_frame(make_frame(np.concatenate([first, second, third])))  # a box too small to tell costs nothing


def test_a_hydrogen_bond_goes_to_the_nearest_image_and_moves_with_its_agents(viewport, pixels, qtbot):
    """A bond through a face of the box: its line begins at the hydrogen and leaves the box, from frame to frame."""
    giver = np.array([[8.0, 4.5, 4.5], [8.96, 4.5, 4.5], [7.76, 5.43, 4.5]])
    taker = np.array([[10.8, 4.5, 4.5], [11.2, 5.0, 5.2], [11.2, 5.0, 3.8]])
    _, topology = waters(2)
    viewport.set_topology(topology, BOX)
    viewport.show_box(False)
    viewport.axis_view("z")

    def line(frame):
        """Where pixels are other with hydrogen bonds than without, (n, 2)."""
        viewport.set_frame(frame)
        viewport.show_hydrogen_bonds(False)
        without = pixels(viewport.widget).astype(int)
        viewport.show_hydrogen_bonds(True)
        found = np.argwhere(np.abs(pixels(viewport.widget) - without)[..., :3].max(-1) > 24)
        return found[:, ::-1]

    first = make_frame(np.concatenate([giver, taker]))
    qtbot.waitUntil(lambda: len(line(first)) > 15)
    for frame in (first, make_frame(first.positions - np.array([0.0, 2.5, 0.0]))):
        drawn, (x, y) = line(frame), viewport.project()[1]
        assert drawn[:, 0].min() > x  # not to where the oxygen is drawn, at the other end of the box
        assert np.abs(drawn[:, 1] - y).max() < 8


def test_an_agent_without_a_value_is_grey(water, pixels):
    losses = np.linspace(-1, 1, 9)
    losses[0] = np.nan
    water.set_colouring(Colouring.LOSS)
    water.set_frame(make_frame(waters(3)[0], losses))
    red, green, blue = at(pixels(water.widget), water.project()[0])
    assert max(red, green, blue) - min(red, green, blue) < 25


def test_periodic_images_surround_the_box_and_can_be_picked(water, pixels):
    water.axis_view("z")
    one = pixels(water.widget)
    water.set_images((3, 3, 1))
    water.axis_view("z")
    nine = pixels(water.widget)
    assert differ(one, nine) > 1000
    middle = water.project()[3]
    assert water.pick(*middle) == 3
    pitch = water.camera.project(np.array([[0.0, 0.0, 0.0], [BOX[0], 0.0, 0.0]]), 480, 400)
    assert water.pick(*(middle + pitch[1] - pitch[0])) in (3, 4, 5)  # the same molecule, one box to the right
    water.set_images((1, 1, 1))
    water.axis_view("z")
    assert differ(one, pixels(water.widget)) == 0


def test_fog_and_axes_can_be_switched_off(water, pixels):
    full = pixels(water.widget)
    water.set_fog(False)
    assert differ(full, pixels(water.widget)) > 20
    water.set_fog(True)
    water.show_axes(False)
    assert differ(full[300:, :100], pixels(water.widget)[300:, :100]) > 20


def test_themes(water, pixels):
    dark = pixels(water.widget)[200, 20, :3]
    water.set_theme(Theme.LIGHT)
    light = pixels(water.widget)[200, 20, :3]
    assert dark.max() < 80
    assert light.min() > 200


def test_message_is_written_over_the_picture_and_taken_away(viewport, pixels):
    empty = pixels(viewport.widget)
    viewport.message("Compiling kernels, first start only")
    written = pixels(viewport.widget)
    assert differ(empty[150:250], written[150:250]) > 100
    viewport.message(None)
    assert differ(empty, pixels(viewport.widget)) == 0


def test_picture_has_the_size_asked_for_the_water_and_the_legend(water, pixels):
    picture = pixels(water.picture(321, 200))
    assert picture.shape == (200, 321, 4)
    red = (picture[..., 0] > 120) & (picture[..., 0] > 2.5 * picture[..., 1])
    assert red[:60, :60].any()  # the legend
    assert red[60:, 80:].any()  # the molecules
    clear = pixels(water.picture(300, 240, transparent=True))
    assert clear[120, 5, 3] == 0
    assert clear[..., 3].max() == 255
    with pytest.raises(InputError, match="pixels a side"):
        water.picture(0, 100)


def test_picture_shows_what_the_window_shows(water, pixels):
    """Same size, so same pixels, but for the smoothing of edges."""
    window = pixels(water.widget)[..., :3].astype(int)
    picture = pixels(water.picture(480, 400))[..., :3].astype(int)
    assert np.abs(window - picture).mean() < 1.5


def test_nothing_is_drawn_unless_something_changed(water, qtbot):
    for _ in range(5):
        QApplication.processEvents()
    drawn = water.frames_drawn
    for _ in range(20):
        QApplication.processEvents()
    assert water.frames_drawn == drawn
    water.set_frame(make_frame(waters(3)[0] + 0.1))
    qtbot.waitUntil(lambda: water.frames_drawn > drawn)


def test_frame_of_an_earlier_simulation_is_left_out(water, pixels):
    before = pixels(water.widget)
    water.set_frame(make_frame(np.zeros((2, 3))))
    assert differ(before, pixels(water.widget)) == 0


def test_another_box_is_framed_anew_and_the_same_keeps_the_camera(water):
    _, topology = waters(3)
    water.orbit(50, 20)
    azimuth = water.camera.azimuth
    water.set_topology(topology, BOX)
    assert water.camera.azimuth == azimuth
    water.set_topology(topology, 2 * BOX)
    assert water.camera.azimuth == water.camera.HOME[0]


def test_many_agents_and_one(viewport, pixels):
    for n in (1, 1500):
        rng = np.random.default_rng(3)
        topology = Topology(("O",), np.zeros(n, np.int32), np.ones(n), np.empty((0, 2), np.int32))
        viewport.set_topology(topology, BOX)
        viewport.show_box(False)
        empty = pixels(viewport.widget)
        positions = rng.uniform(0, 9, (n, 3))
        viewport.set_frame(make_frame(positions))
        picture = pixels(viewport.widget)
        places = viewport.project()
        assert differ(empty, picture) > 50
        for index in (0, n - 1):  # the last texel as well as the first
            assert at(picture, places[index])[0] > 90


def test_driver_that_refuses_the_shaders_costs_the_picture_only(water, qtbot, monkeypatch):
    def refuse(*_):
        raise RuntimeError("Shader compilation error in vertex shader:\nline 7")

    monkeypatch.setattr("mldsim.gui.viewport.surroundings.Ground.draw", refuse)
    water.orbit(10, 0)
    qtbot.waitUntil(lambda: not water.usable)
    assert "Shader compilation error" in water.widget.findChild(QLabel).text()
    water.set_frame(make_frame(waters(3)[0]))
    with pytest.raises(WorkFailed):
        water.picture(100, 100)


def test_without_opengl_a_sentence_takes_the_place_of_the_picture():
    """Qt's offscreen platform has no OpenGL: the view says so, takes everything, and refuses only a picture."""
    script = """
import numpy as np
from PySide6.QtWidgets import QApplication, QLabel
app = QApplication([])
from mldsim.errors import WorkFailed
from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.gui.theme import Theme
from mldsim.gui.viewport import Colouring, Style, Viewport
from mldsim.gui.viewport.scales import Scale
view = Viewport()
view.widget.show()
one = np.zeros((1, 3))
view.set_topology(Topology(("O",), np.zeros(1, np.int32), np.ones(1), np.empty((0, 2), np.int32)), np.full(3, 9.0))
view.set_frame(Frame(0, 0.0, np.full(3, 9.0), one, one, one, np.zeros(1), ThermoRow(*[0.0] * 9)))
view.set_colouring(Colouring.LOSS); view.set_style(Style.STICKS); view.set_theme(Theme.LIGHT); view.message("hello")
view.show_box(False); view.show_bonds(False); view.reset_view(); view.axis_view("z"); view.set_orthographic(True)
view.zoom(2.0); view.orbit(3, 4); view.pan(1, 2); view.set_scale(Colouring.LOSS, Scale(fixed=(0.0, 1.0)))
view.set_images((2, 1, 1)); view.set_fog(False)
app.processEvents()
assert not view.usable and view.frames_drawn == 0 and view.pick(3, 3) is None
assert "OpenGL" in view.widget.findChild(QLabel).text()
try:
    view.picture(100, 100)
except WorkFailed as error:
    print("refused:", error)
"""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "refused: The picture could not be drawn" in done.stdout


def test_words_at_one_place_do_not_cover_each_other(qapp):
    colours, end = VIEW_COLOURS[Theme.DARK], (60.0, 40.0)
    arrow = ((20.0, 40.0), end, "0.81 eV/Å", colours.arrow)
    spring = ((20.0, 60.0), end, "0.53 eV/Å")

    def drawn(marks):
        image = QImage(240, 160, QImage.Format.Format_RGB32)
        image.fill(0)
        painter = QPainter(image)
        Overlay(colours, None, None, None, marks).paint(painter, 240.0, 160.0, 1.0)
        painter.end()
        pixels = np.array(image.constBits()).reshape(160, 240, 4)[:, 80:, 2::-1].astype(int)  # where only words are
        near = {name: np.abs(pixels - 255 * np.array(rgb)).max(axis=2) < 40 for name, rgb in wanted.items()}
        return {name: int(found.sum()) for name, found in near.items()}

    wanted = {"arrow": colours.arrow, "spring": colours.pull}
    both = drawn(Marks(arrows=(arrow,), springs=(spring,)))
    assert both["arrow"] >= 0.9 * drawn(Marks(arrows=(arrow,)))["arrow"] > 0
    assert both["spring"] >= 0.9 * drawn(Marks(springs=(spring,)))["spring"] > 0
