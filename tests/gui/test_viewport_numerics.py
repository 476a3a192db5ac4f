"""The parts of the 3-D view that need no display: whole molecules, camera, picking, colours."""

import itertools

import numpy as np
import pytest

from mldsim.frames import Topology
from mldsim.gui.viewport.camera import Axis, Camera
from mldsim.gui.viewport.colours import Style, element_colour, sphere_radius
from mldsim.gui.viewport.marks import Picked
from mldsim.gui.viewport.molecules import Molecules
from mldsim.gui.viewport.picking import first_hit
from mldsim.gui.viewport.scales import ColourMap, ScaleRange, scale_colours, scale_labels

BOX = np.array([10.0, 12.0, 14.0])


def water_and_ion() -> Topology:
    """Two waters, hydrogens first in the second, and a lone sodium between them."""
    species = np.array([0, 1, 1, 2, 1, 1, 0], np.int32)
    masses = np.array([15.999, 1.008, 22.99])[species]
    return Topology(("O", "H", "Na"), species, masses, np.array([[0, 1], [0, 2], [4, 6], [5, 6]], np.int32))


def test_molecules_are_the_connected_components_and_refer_to_their_heaviest_agent():
    molecules = Molecules.of(water_and_ion())
    groups = [set(np.flatnonzero(molecules.molecule == m)) for m in range(len(molecules.reference))]
    assert sorted(map(sorted, groups)) == [[0, 1, 2], [3], [4, 5, 6]]
    assert [int(molecules.reference[molecules.molecule[i]]) for i in (1, 3, 4)] == [0, 3, 6]


def test_molecules_are_whole_and_in_the_box_wherever_they_wandered():
    rng = np.random.default_rng(0)
    molecules = Molecules.of(water_and_ion())
    oxygen = np.array([[9.9, 0.1, 13.9], [5, 5, 5], [0.05, 11.95, 7]])
    positions = oxygen[molecules.molecule] + rng.uniform(-0.9, 0.9, (7, 3))
    positions[molecules.reference] = oxygen
    images = np.array([[3, -70, 0], [-1, 0, 2], [0, 1, -5]])
    shown = molecules.into_box(positions + (images * BOX)[molecules.molecule], BOX) + 0.5 * BOX
    assert np.all((shown[molecules.reference] >= 0) & (shown[molecules.reference] < BOX))
    inner = shown - shown[molecules.reference][molecules.molecule]
    np.testing.assert_allclose(inner, positions - oxygen[molecules.molecule], atol=1e-5)


def test_topology_without_bonds_makes_every_agent_a_molecule():
    lone = Topology(("Ar",), np.zeros(5, np.int32), np.full(5, 39.9), np.empty((0, 2), np.int32))
    assert len(Molecules.of(lone).reference) == 5


@pytest.mark.parametrize("half", [np.full(3, 6.2), np.array([3.0, 20.0, 9.0]), np.full(3, 80.0)])
@pytest.mark.parametrize("size", [(900, 600), (500, 1000), (640, 640)])
@pytest.mark.parametrize("orthographic", [False, True])
def test_box_fills_the_view_and_no_corner_leaves_it(half, size, orthographic):
    camera = Camera(half=half, orthographic=orthographic)
    corners = np.array(list(itertools.product((-1, 1), repeat=3))) * half
    for turn in (camera.reset, *(lambda axis=axis: camera.look_along(axis) for axis in Axis)):
        turn()
        places = camera.project(corners, *size)
        assert np.all((places > 0) & (places < size))
        extent = np.ptp(places, axis=0) / size
        assert 0.75 < extent.max() < 0.95
        np.testing.assert_allclose((places.min(0) + places.max(0)) / size, 1.0, atol=0.08)


def test_axis_views_look_along_their_axis_with_the_others_upright():
    camera = Camera()
    for axis, right, up in (
        (Axis.X, [0, 1, 0], [0, 0, 1]),
        (Axis.Y, [1, 0, 0], [0, 0, 1]),
        (Axis.Z, [1, 0, 0], [0, 1, 0]),
    ):
        camera.look_along(axis)
        np.testing.assert_allclose(camera.rotation()[:2], [right, up], atol=1e-12)


@pytest.mark.parametrize("orthographic", [False, True])
def test_line_of_sight_goes_through_what_is_projected_there(orthographic):
    rng = np.random.default_rng(1)
    camera = Camera(azimuth=33.0, elevation=-21.0, target=np.array([1.0, -2.0, 0.5]), orthographic=orthographic)
    points = rng.uniform(-5, 5, (20, 3))
    for point, (x, y) in zip(points, camera.project(points, 800, 500), strict=True):
        origin, direction = camera.ray(x, y, 800, 500)
        towards = point - origin
        assert towards @ direction > 0
        np.testing.assert_allclose(np.cross(towards, direction), 0, atol=1e-9)


@pytest.mark.parametrize("orthographic", [False, True])
def test_one_point_is_placed_where_many_are_projected(orthographic):
    rng = np.random.default_rng(2)
    camera = Camera(azimuth=33.0, elevation=-21.0, target=np.array([1.0, -2.0, 0.5]), orthographic=orthographic)
    points, sight = rng.uniform(-5, 5, (20, 3)), camera.sight(800, 500)
    found = np.array([sight.place(point.tolist(), 800, 500) for point in points])
    np.testing.assert_allclose(found[:, :2], camera.project(points, 800, 500), rtol=1e-12)
    back = -camera.rotation()[2]
    for point, depth in zip(points, found[:, 2], strict=True):
        farther = sight.place((point + back).tolist(), 800, 500)
        assert farther[2] - depth == pytest.approx(1.0)


def test_picked_agents_are_measured_in_the_images_nearest_to_each_other():
    box = [10.0, 12.0, 14.0]
    picked = Picked([[4.9, 0.0, 0.0], [-4.9, 5.9, 0.0], [4.8, -5.9, 6.0], [4.7, -5.8, -6.9]], box, [1.0] * 4, [0.0] * 3)
    np.testing.assert_allclose(
        picked.places(), [[4.9, 0.0, 0.0], [5.1, 5.9, 0.0], [4.8, 6.1, 6.0], [4.7, 6.2, 7.1]], atol=1e-12
    )


def test_drags_move_the_scene_with_the_mouse():
    camera = Camera()
    front = camera.rotation()[2][None] * 5.0  # a point between camera and centre
    before = camera.project(front, 800, 600)[0]
    camera.orbit(10.0, 0.0)
    assert camera.project(front, 800, 600)[0, 0] > before[0] + 5
    camera = Camera()
    centre = np.zeros((1, 3))
    before = camera.project(centre, 800, 600)[0]
    camera.pan(40.0, 25.0, 600, 800 / 600)
    np.testing.assert_allclose(camera.project(centre, 800, 600)[0] - before, [40.0, -25.0], atol=0.5)


def test_zoom_stays_in_a_sensible_range_and_elevation_upright():
    camera = Camera()
    for _ in range(200):
        camera.zoom(1.5, 1.5)
    assert camera.distance(1.5) >= 3.9
    for _ in range(400):
        camera.zoom(0.5, 1.5)
    assert camera.distance(1.5) < 400
    camera.orbit(0.0, -500.0)
    assert camera.elevation == 90.0


def test_first_hit_is_the_nearest_sphere_before_the_eye():
    centres = np.array([[0, 0, -5], [0, 0, -3], [0, 0, 4], [2, 0, -1]], np.float32)
    radii = np.array([1, 0.5, 1, 0.5], np.float32)
    assert first_hit(np.zeros(3), np.array([0, 0, -1.0]), centres, radii) == 1
    assert first_hit(np.zeros(3), np.array([0, 1.0, 0]), centres, radii) is None
    assert first_hit(np.zeros(3), np.array([0, 1.0, 0]), centres[:0], radii[:0]) is None


def test_losses_are_placed_within_the_range_of_their_own_species():
    species = np.repeat([0, 1], 500).astype(np.int32)
    rng = np.random.default_rng(2)
    losses = np.where(species == 0, -400.0, -2.0) + rng.normal(0, [[0.5], [0.01]], (2, 500)).ravel()
    scale = ScaleRange(species, 3)
    placed = scale.normalised(losses)
    assert placed.min() == 0.0
    assert placed.max() == 1.0
    for index in (0, 1):
        assert 0.4 < np.median(placed[species == index]) < 0.6
    assert np.isnan(scale.low[2])


def test_loss_range_follows_slowly_and_a_fixed_one_holds():
    scale = ScaleRange(np.zeros(100, np.int32), 1)
    losses = np.linspace(0.0, 1.0, 100)
    scale.normalised(losses)
    high = scale.high[0]
    for _ in range(4):
        scale.normalised(losses + 10.0)
    assert high < scale.high[0] < high + 3.0
    scale.fixed = (0.0, 2.0)
    np.testing.assert_allclose(scale.normalised(losses), losses / 2.0)


def test_labels_of_a_scale_have_the_digits_that_tell_them_apart():
    assert scale_labels(-3.43, -3.04) == ("−3.43", "−3.04")
    assert scale_labels(-1000.0, 500.0) == ("−1000", "500")
    assert scale_labels(0.0011, 0.0012)[0] != scale_labels(0.0011, 0.0012)[1]


def test_colour_scale_grows_in_lightness_and_elements_differ_in_it():
    luminance = np.array([0.2126, 0.7152, 0.0722])
    for colour_map in ColourMap:
        assert np.all(np.diff(scale_colours(64, colour_map) @ luminance) > 0)
        assert np.all(np.diff(scale_colours(64, colour_map, backwards=True) @ luminance) < 0)
    assert luminance @ element_colour("H") - luminance @ element_colour("O") > 0.4
    assert sphere_radius("O", Style.BALL_AND_STICK) > sphere_radius("H", Style.BALL_AND_STICK)
    for unknown in ("Xe", "not an element"):
        assert len(element_colour(unknown)) == 3
        assert sphere_radius(unknown, Style.SPACE_FILLING) > 0
