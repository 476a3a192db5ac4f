"""Motions whose spectrum, spread or distribution is known."""

import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.analysis.msd import EinsteinMSD

from mldsim import units
from mldsim.analysis.motion import (
    DIFFUSION_UNIT,
    PER_CM,
    DensityOfStates,
    EnergyDrift,
    MeanSquareDisplacement,
    TemperatureDistribution,
    finite_size_correction,
)
from mldsim.errors import InputError
from mldsim.frames import Topology


def free(n: int, mass: float = 16.0) -> Topology:
    return Topology(("O",), np.zeros(n, np.int32), np.full(n, mass), np.empty((0, 2), np.int32))


def test_an_oscillator_is_a_line_at_its_wavenumber_with_the_share_of_its_energy(make_frame):
    # Two agents at 1600 and 3600 cm-1; the second has three times the kinetic energy of the first.
    rng = np.random.default_rng(8)
    analysis = DensityOfStates(np.array([16.0, 1.0]), 2.0)
    speeds = np.sqrt(np.array([1.0 / 16.0, 3.0]))[:, None]
    phases = rng.uniform(0, 2 * np.pi, (2, 3))
    for step in range(6 * 512):
        angle = 2 * np.pi * PER_CM * np.array([1600.0, 3600.0])[:, None] * 2.0 * step + phases
        analysis.add(make_frame(np.zeros((2, 3)), velocities=speeds * np.cos(angle)))
    spectrum = analysis.result()
    assert (spectrum.y * 5.0).sum() == pytest.approx(1.0)
    assert spectrum.y.min() > -0.03 * spectrum.y.max()  # a Hann window's side lobes
    for low, high, place, area in ((1000, 2400, 1600, 0.25), (2400, 4500, 3600, 0.75)):
        centre, share = analysis.band(low, high)
        assert centre.value == pytest.approx(place, abs=3.0)
        assert share.value == pytest.approx(area, rel=0.01)
        assert share.error < 0.01


def test_the_spectrum_of_white_velocities_is_flat(make_frame):
    rng = np.random.default_rng(9)
    analysis = DensityOfStates(np.full(50, 12.0), 3.0)
    for _ in range(341 * 8):
        analysis.add(make_frame(np.zeros((50, 3)), velocities=rng.normal(size=(50, 3))))
    spectrum = analysis.result()
    assert np.abs(spectrum.y * 4505.0 - 1.0).max() < 0.1


def test_velocities_across_a_gap_are_not_correlated(make_frame):
    """One oscillator in pieces whose phases do not fit together: the line is that of each piece."""
    rng = np.random.default_rng(8)
    analysis = DensityOfStates(np.array([1.0]), 2.0)
    for _ in range(6):
        start = rng.uniform(0, 2 * np.pi)
        for step in range(512 + 300):  # 300 are left of each piece and belong to no stretch
            angle = 2 * np.pi * PER_CM * 1600.0 * 2.0 * step + start
            analysis.add(make_frame(np.zeros((1, 3)), velocities=np.full((1, 3), np.cos(angle))))
        analysis.gap()
    assert analysis.count == 6
    centre, share = analysis.band(1000, 2400)
    assert centre.value == pytest.approx(1600.0, abs=3.0)
    assert share.value == pytest.approx(1.0, abs=0.01)


def test_frames_that_miss_the_stretch_are_refused():
    with pytest.raises(InputError, match="at most 4 fs"):
        DensityOfStates(np.ones(3), 5.0)


def test_a_brownian_walk_spreads_with_its_diffusion_coefficient(make_frame):
    rng = np.random.default_rng(10)
    D, interval, n, box = 2.3e-4, 20.0, 60, np.full(3, 12.0)  # angstrom^2/fs: 2.3e-5 cm^2/s is 2.3e-4
    analysis = MeanSquareDisplacement(free(n), interval, window=2000.0, fit_from=500.0)
    positions = rng.uniform(0, 12, (n, 3))
    for frame in range(1200):
        drift = [0.01 * frame, 0.0, 0.0]  # of the whole system: no diffusion
        analysis.add(make_frame((positions + drift) % box, box))
        positions = positions + rng.normal(0.0, np.sqrt(2 * D * interval), (n, 3))
    found = analysis.diffusion()
    expected = D * (1 - 1 / n)  # what the centre of mass of n walkers does is taken off
    assert found.value == pytest.approx(expected, abs=4 * found.error)
    assert found.error < 0.1 * expected
    assert analysis.fit_window == (500.0, 2000.0)
    curve = analysis.result()
    np.testing.assert_allclose(curve.y, 6 * expected * curve.x, rtol=0.15)


def test_displacements_are_those_of_mdanalysis(make_frame):
    rng = np.random.default_rng(11)
    walk = np.cumsum(rng.normal(0, 0.1, (12, 5, 3)), axis=0)
    walk -= walk.mean(axis=1, keepdims=True)
    universe = MDAnalysis.Universe.empty(5, trajectory=True)
    universe.load_new(walk.astype(np.float32), dimensions=np.tile([50.0, 50.0, 50.0, 90, 90, 90], (12, 1)))
    theirs = EinsteinMSD(universe, msd_type="xyz", fft=False).run().results.timeseries
    analysis = MeanSquareDisplacement(free(5), 10.0, window=110.0, fit_from=50.0)
    for frame in walk:
        analysis.add(make_frame(frame, (50.0, 50.0, 50.0)))
    # Of 12 frames only the last ends a window of 11 lags; there it is the longest lag that has one origin in both.
    assert analysis.result().y[-1] == pytest.approx(theirs[-1], rel=1e-5)


def test_molecules_turn_without_moving(make_frame):
    topology = Topology(
        ("O", "H"), np.int32([0, 1, 1] * 2), np.array([16.0, 1.0, 1.0] * 2), np.int32([[0, 1], [0, 2], [3, 4], [3, 5]])
    )
    analysis = MeanSquareDisplacement(topology, 10.0, window=100.0, fit_from=50.0)
    rng = np.random.default_rng(12)
    shape = np.array([[0.0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]])
    shape -= topology.masses[:3] @ shape / 18.0
    for _ in range(30):
        turned = [shape @ np.linalg.qr(rng.normal(size=(3, 3)))[0].T + place for place in ([0, 0, 0], [4.9, 0, 0])]
        analysis.add(make_frame(np.concatenate(turned) % 10.0, (10.0, 10.0, 10.0)))
    assert analysis.result().y.max() < 1e-20


def test_the_finite_size_correction_is_that_of_yeh_and_hummer():
    # xi k T / (6 pi eta L) in SI for 298 K, 0.89 mPa s, 12.42 angstrom.
    expected = 2.837297 * 1.380649e-23 * 298.0 / (6 * np.pi * 0.89e-3 * 12.42e-10)  # m^2/s
    found = finite_size_correction(298.0, 0.89, 12.42) * DIFFUSION_UNIT * 1e-9  # 1e-5 cm^2/s is 1e-9 m^2/s
    assert found == pytest.approx(expected, rel=1e-6)


def test_velocities_of_maxwell_and_boltzmann_follow_the_canonical_law(make_frame):
    rng = np.random.default_rng(13)
    masses = np.array([16.0, 1.0, 1.0] * 6)
    width = np.sqrt(units.BOLTZMANN * 350.0 / (units.MASS * masses))[:, None]
    analysis = TemperatureDistribution(masses, 54, 350.0)
    for _ in range(4000):
        analysis.add(make_frame(np.zeros((18, 3)), velocities=width * rng.normal(size=(18, 3))))
    found = analysis.result()
    assert found.mean().value == pytest.approx(350.0, abs=4 * found.mean().error)
    assert found.deviation().value == pytest.approx(350.0 * np.sqrt(2 / 54), abs=5 * found.deviation().error)
    assert analysis.expected_deviation == pytest.approx(350.0 * np.sqrt(2 / 54))
    density, law = found.density(), analysis.law()
    assert np.abs(density.y - law.y).max() < 0.1 * law.y.max()


def test_the_drift_is_the_slope_of_the_conserved_quantity(make_frame):
    rng = np.random.default_rng(14)
    analysis = EnergyDrift()
    assert np.isnan(analysis.result().value)
    for step in range(300):
        energy = -3000.0 + 2e-5 * step + rng.normal(0, 1e-4)
        analysis.add(make_frame(np.zeros((1, 3)), time=1e6 + step, conserved=energy))
    assert analysis.result().value == pytest.approx(2e-5, rel=0.02)
    analysis.add(make_frame(np.zeros((1, 3)), time=2e6, conserved=np.nan))  # own scope has none
    assert analysis.result().value == pytest.approx(2e-5, rel=0.02)
