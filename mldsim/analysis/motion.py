"""How agents move: density of states, mean square displacement and diffusion, temperature, energy drift."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.analysis.periodic import nearest
from mldsim.analysis.statistics import BlockMean, Curve, Histogram, Number
from mldsim.errors import InputError
from mldsim.frames import Frame, Topology
from mldsim.molecules import molecules_of

Array = NDArray[np.float64]

PER_CM = 2.99792458e-5
"""Speed of light, cm/fs: a frequency of 1/fs is 1 / PER_CM wavenumbers."""

DIFFUSION_UNIT = 1e4
"""1e-5 cm^2/s in one angstrom^2/fs."""

XI_CUBE = 2.837297
"""Madelung-like sum of a cubic lattice in the correction of Yeh & Hummer."""


class DensityOfStates:
    """Vibrational density of states from velocities, mass-weighted.

    The autocorrelation C(t) = sum_i m_i <v_i(0) . v_i(t)> of each stretch of the run is found by FFT with zero padding
    (Wiener-Khinchin), divided by the number of pairs of times that went into each lag, faded out by a Hann window and
    cosine-transformed: g(nu) ~ integral C(t) w(t) cos(2 pi c nu t) dt, normalised to the area 1 (Allen & Tildesley,
    Computer Simulation of Liquids, 2nd ed., sections 2.7 and 8.3). The window makes lines 1/(c `longest_lag`)
    wide at half height, 65 cm-1 for 512 fs, with side lobes of 3 % of their height.

    Parameters
    ----------
    masses : (n_agents,) float64, amu
    interval : float, fs
        Between two frames; at most 4 fs, so that the O-H stretch is resolved.
    stretch : float, fs
        Length of the stretches; velocities of one are held in memory.
    longest_lag : float, fs

    Raises
    ------
    InputError
        If the frames are too far apart.
    """

    SLOWEST = 4.0
    """fs; a hydrogen swings once in 9 fs."""

    def __init__(self, masses: Array, interval: float, *, stretch: float = 1024.0, longest_lag: float = 512.0) -> None:
        if not 0.0 < interval <= self.SLOWEST:
            raise InputError(
                f"A density of states needs frames at most {self.SLOWEST:g} fs apart, not {interval:g} fs."
            )
        self._n = max(2, round(stretch / interval))
        self._lags = np.arange(min(self._n, round(longest_lag / interval) + 1))
        self._interval = interval
        self._root = np.sqrt(masses)[:, None]
        self._velocities = np.empty((self._n, len(masses), 3), np.float32)
        self._filled = 0
        self._correlation = BlockMean((len(self._lags),))
        self.wavenumbers = np.arange(0.0, 4500.0 + 1.0, 5.0)

    def add(self, frame: Frame) -> None:
        """Take the velocities of the next frame, one interval after the last."""
        self._velocities[self._filled] = self._root * frame.velocities
        self._filled += 1
        if self._filled == self._n:
            self._correlation.add(self._correlated())
            self._filled = 0

    def gap(self) -> None:
        """What follows is not one interval after the last frame: a stretch that is not complete is dropped."""
        self._filled = 0

    def _correlated(self) -> Array:
        series = self._velocities.reshape(self._n, -1)
        power = np.zeros(self._n + 1)
        for start in range(0, series.shape[1], 64):  # a few components at a time: the transforms are twice as long
            part = np.fft.rfft(series[:, start : start + 64].astype(np.float64), 2 * self._n, axis=0)
            power += (part.real**2 + part.imag**2).sum(axis=1)
        pairs = self._n - self._lags
        return np.asarray(np.fft.irfft(power, 2 * self._n)[self._lags] / pairs)

    @property
    def count(self) -> int:
        """Stretches that are complete."""
        return self._correlation.count

    def _spectrum(self, correlation: Array) -> Array:
        time = self._lags * self._interval
        window = 0.5 * (1.0 + np.cos(np.pi * self._lags / len(self._lags)))
        weight = np.where(self._lags == 0, 0.5, 1.0)  # trapezoids
        kernel = np.cos(2.0 * np.pi * PER_CM * np.outer(self.wavenumbers, time))
        density = kernel @ (weight * window * correlation)
        area = density.sum() * (self.wavenumbers[1] - self.wavenumbers[0])
        return np.asarray(density / (area or np.nan))  # what stands still has no spectrum

    def result(self) -> Curve:
        """Density per cm-1 over wavenumbers, area 1; NaN before a stretch is complete, and where nothing moves."""
        return self._correlation.curve(self.wavenumbers, self._spectrum)

    def band(self, low: float, high: float) -> tuple[Number, Number]:
        """Centre (cm-1, mean wavenumber) and area of the part between two wavenumbers."""
        inside = (self.wavenumbers >= low) & (self.wavenumbers < high)
        nu, step = self.wavenumbers[inside], self.wavenumbers[1] - self.wavenumbers[0]

        def centre(correlation: Array) -> float:
            part = self._spectrum(correlation)[inside]
            return float((nu * part).sum() / part.sum())

        def area(correlation: Array) -> float:
            return float(self._spectrum(correlation)[inside].sum() * step)

        return self._correlation.number(centre), self._correlation.number(area)


class MeanSquareDisplacement:
    """Mean square displacement of the molecules' centres of mass, and the diffusion coefficient.

    Positions may be wrapped: from frame to frame each agent goes to the nearest image. The displacement of the whole
    system's centre of mass is taken off. Each frame is an end for all lags at once, so that every lag is averaged over
    the same frames; memory is that of one window of centres. D is the slope of the straight line through the
    displacement within the fit window, over six (Einstein; Frenkel & Smit, section 4.4).

    Parameters
    ----------
    topology : Topology
    interval : float, fs
        Between two frames.
    window : float, fs
        Longest lag.
    fit_from : float, fs
        Where the fit begins; it ends with the window. Before about 1 ps molecules rattle in their cages.
    """

    def __init__(
        self, topology: Topology, interval: float, *, window: float = 5000.0, fit_from: float = 1000.0
    ) -> None:
        n_lags = round(window / interval)
        self.lags: Array = interval * np.arange(1, n_lags + 1, dtype=np.float64)
        self._fitted = self.lags >= fit_from - 1e-6
        if np.count_nonzero(self._fitted) < 3:
            raise InputError("Diffusion needs at least three frames between the start of the fit and the longest lag.")
        self.fit_window = (float(self.lags[self._fitted][0]), float(self.lags[-1]))
        molecule = molecules_of(topology.n_agents, topology.bonds)
        self._mass = np.bincount(molecule, topology.masses)
        self._share = topology.masses / self._mass[molecule]
        self._molecule = molecule
        self._last: Array | None = None
        self._centres = np.zeros((len(self._mass), 3))
        self._ring: deque[Array] = deque(maxlen=n_lags)
        self._squares = BlockMean((n_lags,))

    def add(self, frame: Frame) -> None:
        """Take the next frame, one interval after the last."""
        if self._last is not None:
            step = nearest(frame.positions - self._last, frame.box)
            moved = np.stack(
                [np.bincount(self._molecule, self._share * step[:, axis], len(self._mass)) for axis in range(3)], axis=1
            )
            moved -= self._mass @ moved / self._mass.sum()
            self._centres = self._centres + moved
        self._last = frame.positions
        if len(self._ring) == self._ring.maxlen:
            squares = ((np.stack(self._ring) - self._centres) ** 2).sum(axis=2).mean(axis=1)
            self._squares.add(squares[::-1])
        self._ring.append(self._centres)

    def gap(self) -> None:
        """What follows is not one interval after the last frame: a window that is not complete is dropped."""
        self._ring.clear()
        self._last = None

    @property
    def count(self) -> int:
        """Frames that ended a whole window."""
        return self._squares.count

    def result(self) -> Curve:
        """angstrom^2 over lags in fs."""
        return self._squares.curve(self.lags)

    def diffusion(self) -> Number:
        """D, angstrom^2/fs; multiply by `DIFFUSION_UNIT` for 1e-5 cm^2/s."""
        t = self.lags[self._fitted] - self.lags[self._fitted].mean()
        return self._squares.number(lambda squares: float(t @ squares[self._fitted] / (t @ t) / 6.0))


def finite_size_correction(temperature: float, viscosity: float, edge: float) -> float:
    """What D in a periodic cube lacks against an infinite system, angstrom^2/fs.

    xi k T / (6 pi eta L) (Yeh & Hummer 2004, doi:10.1021/jp0477147, eq. 12).

    Parameters
    ----------
    temperature : float, K
    viscosity : float, mPa s
        Of the same model at the same state.
    edge : float, angstrom
    """
    # 1 mPa s = 1e-3 J s / m^3, in eV fs / angstrom^3.
    eta = viscosity * 1e-3 / 1.602176634e-19 * 1e15 * 1e-30
    return XI_CUBE * units.BOLTZMANN * temperature / (6.0 * np.pi * eta * edge)


class TemperatureDistribution:
    """Distribution of the instantaneous temperature, to be held against the canonical law.

    In the canonical ensemble K = sum m v^2 / 2 has the Gamma distribution of shape f/2 and scale k T, so that the
    temperature 2 K / (f k) scatters by T sqrt(2/f) (Frenkel & Smit, section 6.1).

    Parameters
    ----------
    masses : (n_agents,) float64, amu
    degrees_of_freedom : int
        f
    target : float, K
    """

    def __init__(self, masses: Array, degrees_of_freedom: int, target: float) -> None:
        self._masses = masses
        self._freedoms = degrees_of_freedom
        self._target = target
        self.expected_deviation = float(target * np.sqrt(2.0 / degrees_of_freedom))
        width = 5.0 * self.expected_deviation
        self._histogram = Histogram(max(0.0, target - width), target + width, 40)

    def add(self, frame: Frame) -> None:
        """Take the temperature of one frame."""
        kinetic = 0.5 * units.MASS * float(np.einsum("i,ij,ij->", self._masses, frame.velocities, frame.velocities))
        self._histogram.add([2.0 * kinetic / (units.BOLTZMANN * self._freedoms)])

    def result(self) -> Histogram:
        """Distribution of the temperature, K."""
        return self._histogram

    def law(self) -> Curve:
        """The canonical density on the bins of the histogram, per K."""
        from scipy.stats import gamma

        x = self._histogram.density().x
        y = gamma.pdf(x, 0.5 * self._freedoms, scale=2.0 * self._target / self._freedoms)
        return Curve(x, np.asarray(y), np.zeros(len(x)))


class EnergyDrift:
    """Slope of the conserved quantity by least squares, with the scatter of the slopes of the blocks."""

    def __init__(self) -> None:
        self._sums = BlockMean((4,))
        self._first: tuple[float, float] | None = None

    def add(self, frame: Frame) -> None:
        """Take the conserved quantity of one frame; what is not a number is passed over."""
        value = frame.thermo.conserved
        if not np.isfinite(value):
            return
        if self._first is None:
            self._first = frame.time, value
        t, e = frame.time - self._first[0], value - self._first[1]
        self._sums.add([t, e, t * t, t * e])

    def result(self) -> Number:
        """eV/fs, of the whole system; NaN without two frames."""
        return self._sums.number(_slope)


def _slope(sums: Array) -> float:
    t, e, tt, te = sums
    spread = tt - t * t
    return float((te - t * e) / spread) if spread > 0.0 else float("nan")
