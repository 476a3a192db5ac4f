"""The analyses of a whole trajectory: those of a run over the same frames."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from mldsim.averages import Averages, Reference
from mldsim.frames import Frame, Sample, SampleSeries, ThermoRow, Topology
from mldsim.survey import Survey
from mldsim.trajectory.sources import Footage, Remembered

LONG = 150.0
N = 12
BOX = np.full(3, 12.0)
BONDS = np.array([[3 * i, 3 * i + j] for i in range(N) for j in (1, 2)], np.int32)
TOPOLOGY = Topology(("O", "H"), np.tile(np.int32([0, 1, 1]), N), np.tile([15.999, 1.008, 1.008], N), BONDS)
REFERENCE = Reference("a reference", "", 300.0, 1.0, 64, {}, {})


def drifting(n_frames: int, *, velocities: bool = True, temperature: float = 300.0) -> list[Frame]:
    """Molecules that drift through the box, 100 fs from frame to frame."""
    rng = np.random.default_rng(4)
    sites = np.array(np.unravel_index(np.arange(N), (3, 2, 2))).T * 3.8
    start = (sites[:, None] + np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])).reshape(-1, 3)
    drift = np.repeat(rng.normal(size=(N, 3)) * 0.005, 3, axis=0)
    frames = []
    for number in range(n_frames):
        positions = start + 100.0 * number * drift + rng.normal(size=start.shape) * 0.02
        moving = drift if velocities else np.full_like(drift, np.nan)
        row = ThermoRow(100.0 * number, temperature, *[0.0] * 7)
        frames.append(Frame(number, 100.0 * number, BOX, positions, moving, positions, positions[:, 0], row))
    return frames


def surveyed(source: Remembered) -> Survey:
    survey = Survey(Footage(source), reference=lambda stop: REFERENCE)
    survey.start()
    survey.listen(True)
    deadline = time.monotonic() + LONG
    while survey.findings().part < 1.0 or not survey.findings().analyses:
        assert time.monotonic() < deadline, survey.findings()
        time.sleep(0.002)
    survey.close()
    return survey


def curve(survey: Survey, key: str) -> np.ndarray:
    one = next(each for each in survey.findings().analyses if each.key == key)
    assert one.run is not None, one.waiting
    return one.run.y


def test_it_finds_what_a_run_finds_over_the_same_frames() -> None:
    frames = drifting(80)
    survey = surveyed(Remembered(TOPOLOGY, frames))
    series = SampleSeries(TOPOLOGY, 100.0, 0.0, thermostatted=False)
    averages = Averages(series, BOX, REFERENCE)
    for number, frame in enumerate(frames):
        averages.add(Sample(series, frame, number > 0))
    found, expected = survey.findings(), averages.findings()
    assert (found.frames, found.averaged, found.temperature) == (80, 7900.0, pytest.approx(300.0))
    for one, other in zip(found.analyses, expected.analyses, strict=True):
        if other.run is not None:
            np.testing.assert_array_equal(curve(survey, one.key), other.run.y)


def test_displacements_go_on_over_the_edge_of_the_box_in_files_that_fold_positions_into_it() -> None:
    class Folded(Remembered):
        unwrapped = False

        def frame(self, index: int) -> Frame:
            frame = super().frame(index)
            return Frame(
                frame.step, frame.time, frame.box, np.mod(frame.positions, BOX), frame.velocities, frame.forces,
                frame.losses, frame.thermo,
            )  # fmt: skip

    frames = drifting(80)
    open_ones, folded = surveyed(Remembered(TOPOLOGY, frames)), surveyed(Folded(TOPOLOGY, frames))
    np.testing.assert_allclose(curve(folded, "displacement"), curve(open_ones, "displacement"), rtol=1e-6, atol=1e-9)
    assert curve(folded, "displacement")[-1] > 1.0


def test_a_gap_in_time_begins_a_new_stretch_of_motion() -> None:
    frames = drifting(80)
    del frames[40:44]
    found = surveyed(Remembered(TOPOLOGY, frames)).findings()
    motion = next(each for each in found.analyses if each.key == "displacement")
    assert motion.run is None  # 5 ps are complete neither before the gap nor after it
    assert found.frames == 76


def test_without_velocities_there_is_no_density_of_states_and_an_unknown_temperature_is_told() -> None:
    frames = drifting(30, velocities=False, temperature=float("nan"))
    found = surveyed(Remembered(TOPOLOGY, frames)).findings()
    assert "states" not in [each.key for each in found.analyses]
    assert "temperature of this trajectory is not known" in found.comparison


@pytest.mark.parametrize("begin", [lambda survey: None, lambda survey: survey.listen(True)])
def test_it_ends_at_any_time(begin: Callable[[Survey], None]) -> None:
    survey = Survey(Footage(Remembered(TOPOLOGY, drifting(3000))), reference=lambda stop: REFERENCE)
    survey.start()
    begin(survey)
    survey.close()
    assert survey.findings().part < 1.0
