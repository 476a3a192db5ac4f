"""Averages of a run while it goes: the reference itself must agree with itself, and nothing else is held against it."""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import resources

import h5py
import numpy as np
import pytest

from mldsim.averages import Analyst, Averages, Reference, _Trace, shipped_reference
from mldsim.frames import Frame, Sample, Samples, SampleSeries, ThermoRow, Topology
from mldsim.molecules import find_bonds

ROW = ThermoRow(0.0, 300.0, 300.0, *[0.0] * 6)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return shipped_reference()


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """The first 3.6 ps of the CP2K run, 24 fs apart."""
    data = resources.files("mldsim.assets.data") / "water64_300K_reference.h5"
    with resources.as_file(data) as path, h5py.File(path, "r") as file:
        positions, box = np.asarray(file["positions"][:150], np.float64), np.asarray(file["box"])
    still = np.zeros(positions.shape[1:])
    return [
        Frame(48 * i, 24.0 * i, box, moved, still, still, still[:, 0], replace(ROW, time=24.0 * i))
        for i, moved in enumerate(positions)
    ]


@pytest.fixture(scope="module")
def topology(frames: list[Frame]) -> Topology:
    data = resources.files("mldsim.assets.data") / "water64_300K_reference.h5"
    with resources.as_file(data) as path, h5py.File(path, "r") as file:
        names = ["O" if number == 8 else "H" for number in file["atomic_numbers"][()]]
    species = np.array([int(name == "H") for name in names], np.int32)
    bonds = find_bonds(names, frames[0].positions, frames[0].box)
    return Topology(("O", "H"), species, np.where(species == 0, 15.999, 1.008), bonds)


def fed(series: SampleSeries, frames: list[Frame], reference: Reference | None) -> Averages:
    averages = Averages(series, frames[0].box, reference)
    for index, frame in enumerate(frames):
        averages.add(Sample(series, frame, index > 0))
    return averages


def test_the_reference_agrees_with_itself(topology: Topology, frames: list[Frame], reference: Reference) -> None:
    found = fed(SampleSeries(topology, 24.0, 300.0, True), frames, reference).findings()
    assert found.comparable
    assert found.frames == len(frames)
    assert found.averaged == pytest.approx(24.0 * (len(frames) - 1))
    by_key = {one.key: one for one in found.analyses}
    assert {"g_O-O", "g_O-H", "g_H-H", "bond_O-H", "angle_H-O-H", "hydrogen_bonds", "displacement"} <= by_key.keys()
    for key, most in (("g_O-O", 0.06), ("g_O-H", 0.04), ("g_H-H", 0.04)):
        run, its = by_key[key].run, by_key[key].reference
        assert run is not None
        assert its is not None
        assert np.allclose(run.x, its.x)
        assert np.abs(run.y - its.y).mean() < most  # 3.6 of the 18 ps
    for one in found.analyses:
        assert "(" in one.x_label or one.key == "tetrahedral_order"  # a unit on every axis that has one
    bonds = by_key["hydrogen_bonds"]
    assert bonds.run is not None
    assert bonds.run.y.mean() == pytest.approx(reference.numbers["hydrogen_bonds"].value, abs=0.15)


@pytest.mark.parametrize(
    ("series_changes", "stretch", "said"),
    [({"target": 400.0}, 1.0, "400 K"), ({}, 1.02, "g/cm³"), ({"thermostatted": False}, 1.0, "")],
)
def test_what_is_not_comparable_is_not_shown_and_says_so(
    topology: Topology,
    frames: list[Frame],
    reference: Reference,
    series_changes: dict[str, object],
    stretch: float,
    said: str,
) -> None:
    series = replace(SampleSeries(topology, 24.0, 300.0, True), **series_changes)
    some = [replace(frame, box=stretch * frame.box, positions=stretch * frame.positions) for frame in frames[:3]]
    found = fed(series, some, reference).findings()
    assert "\n" not in found.comparison
    if said:
        assert said in found.comparison
        assert "not shown" in found.comparison
        assert all(one.reference is None for one in found.analyses)
    else:  # constant energy at the reference's own temperature
        assert found.comparable


def test_motion_waits_for_a_whole_window_and_begins_anew_after_a_gap(topology: Topology, frames: list[Frame]) -> None:
    series = SampleSeries(topology, 24.0, 300.0, True)
    averages = Averages(series, frames[0].box, None)
    long = [replace(frames[i % 150], time=24.0 * i) for i in range(250)]
    for index, frame in enumerate(long):
        averages.add(Sample(series, frame, index > 0), structure=False)
    assert next(one for one in averages.findings().analyses if one.key == "displacement").run is not None
    averages = Averages(series, frames[0].box, None)
    for index, frame in enumerate(long):
        averages.add(Sample(series, frame, index not in (0, 125)), structure=False)
    waits = next(one for one in averages.findings().analyses if one.key == "displacement")
    assert waits.run is None
    assert "complete after another" in waits.waiting


def test_the_density_of_states_finds_the_frequency(topology: Topology, frames: list[Frame]) -> None:
    period = 10.0  # fs: 3336 cm-1
    series = SampleSeries(topology, 2.0, 300.0, True)
    averages = Averages(series, frames[0].box, None)
    for index in range(600):
        swing = np.full((192, 3), np.cos(2 * np.pi * 2.0 * index / period))
        averages.add(Sample(series, replace(frames[0], velocities=swing, time=2.0 * index), index > 0), structure=False)
    states = next(one for one in averages.findings().analyses if one.key == "states")
    assert states.run is not None
    assert states.run.x[np.argmax(states.run.y)] == pytest.approx(3336, abs=10)


def test_a_trace_keeps_its_length_in_bounded_memory() -> None:
    trace = _Trace()
    for i in range(10_000):
        trace.add(float(i), 2.0 * i)
    x, y = trace.curve()
    assert len(x) <= 1000
    assert x[0] < 20
    assert x[-1] > 9900
    assert np.allclose(y, 2 * x)


def test_samples_that_are_not_taken_are_lost_and_said_to_be(topology: Topology, frames: list[Frame]) -> None:
    samples = Samples(capacity=4 * 192 * 80)
    series = SampleSeries(topology, 24.0, 300.0, True)
    for frame in frames[:20]:
        samples.put(series, frame)
    assert samples.lost > 0
    taken = []
    while (sample := samples.take(0.0)) is not None:
        taken.append(sample)
    assert [sample.follows for sample in taken] == [False] + [True] * (len(taken) - 1)
    samples.put(series, frames[30])
    late = samples.take(0.0)
    assert late is not None
    assert not late.follows


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_analyst_averages_a_series_forgets_on_demand_and_with_another_series(
    topology: Topology, frames: list[Frame], reference: Reference
) -> None:
    samples = Samples()
    analyst = Analyst(samples, lambda _: reference)
    analyst.start()
    try:
        series = SampleSeries(topology, 24.0, 300.0, True)
        for frame in frames[:5]:
            samples.put(series, frame)
        until(lambda: analyst.findings().averaged == pytest.approx(96.0))
        analyst.restart()
        until(lambda: not analyst.findings().analyses)
        samples.put(series, frames[5])
        until(lambda: analyst.findings().began == frames[5].time)
        hot = SampleSeries(topology, 24.0, 400.0, True)
        samples.put(hot, frames[6])
        until(lambda: "400 K" in analyst.findings().comparison)
        assert analyst.findings().frames == 1
    finally:
        analyst.close()
    assert not samples.wanted


def test_a_fault_in_an_analysis_is_one_sentence_and_no_more_samples_are_taken(
    topology: Topology, frames: list[Frame], reference: Reference
) -> None:
    samples = Samples()
    analyst = Analyst(samples, lambda _: reference)
    analyst.start()
    try:
        series = SampleSeries(topology, 24.0, 300.0, True)
        samples.put(series, frames[0])

        def told() -> bool:
            samples.put(series, replace(frames[1], box=0.5 * frames[1].box))
            return "box" in analyst.findings().comparison

        until(told)
        assert not samples.wanted
    finally:
        analyst.close()
