"""Sessions: the runner saves one and goes on from it; what a window left in it comes back as it was."""

import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mldsim.checkpoint import load_checkpoint, save_checkpoint
from mldsim.errors import InputError
from mldsim.frames import THERMO_COLUMNS
from mldsim.loss import load_model, save_model
from mldsim.messages import (
    Applied,
    Level,
    Loaded,
    Notice,
    Opened,
    OpenSession,
    Run,
    RunState,
    SaveSession,
    SetParameters,
    Step,
)
from mldsim.parameters import DeviceKind, Parameters, Setup, ThermostatKind
from mldsim.runner import Runner
from mldsim.session import load_session, with_model_file
from mldsim.simulation import build_simulation

SETUP = Setup(model="water-fast", molecules=8, device=DeviceKind.CPU)
PARAMETERS = Parameters(thermostat=ThermostatKind.LANGEVIN, steps_per_frame=5)


class Bench:
    """A runner with real water, and what it told."""

    def __init__(self):
        self.runner = Runner(build_simulation, SETUP, PARAMETERS, paused=True)
        self.runner.start()
        self.events = []
        self.until(lambda: self.of(Loaded))

    def until(self, condition):
        deadline = time.monotonic() + 60
        while not (self.look() or condition()):
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def look(self):
        self.events += self.runner.events()

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def told(self, words):
        return [event for event in self.of(Notice) if words in event.text]

    def step(self, n):
        before = self.runner.status().step
        self.runner.send(Step(n))
        self.until(lambda: self.runner.status().step == before + n)
        self.until(lambda: self.runner.status().run_state is RunState.PAUSED)
        return self.runner.mailbox.take()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    assert made.runner.close(30)


def test_a_session_goes_on_where_it_was_bitwise_and_with_its_past(bench):
    bench.step(23)
    bench.runner.send(SaveSession(Path("a.session.h5"), '{"picked": [1]}'))
    bench.until(lambda: bench.told("was saved"))
    past = bench.runner.thermo.columns()
    then = bench.step(40)
    bench.runner.send(SetParameters(PARAMETERS.with_changes(temperature=400.0)))
    bench.step(5)
    bench.events.clear()
    bench.runner.send(OpenSession(Path("a.session.h5")))
    bench.until(lambda: bench.of(Opened))
    assert [type(event) for event in bench.events] == [Loaded, Applied, Opened]
    assert bench.of(Opened)[0].window == '{"picked": [1]}'
    assert bench.of(Applied)[0].parameters == PARAMETERS
    assert bench.runner.status().step == 23
    again = bench.runner.thermo.columns()
    assert again["time"].tolist() == [*past["time"][past["time"] < 11.5], 11.5]
    assert again["heat"][-1] == past["heat"][-1] or past["time"][-1] < 11.5
    now = bench.step(40)
    assert np.array_equal(now.positions, then.positions)
    assert np.array_equal(now.velocities, then.velocities)
    assert now.thermo == then.thermo


def test_a_session_that_ran_runs_on(bench):
    bench.runner.send(Run())
    bench.until(lambda: bench.runner.status().step > 0)
    bench.runner.send(SaveSession(Path("a.session.h5"), ""))
    bench.until(lambda: bench.told("was saved"))
    assert load_session(Path("a.session.h5")).running
    bench.runner.send(OpenSession(Path("a.session.h5")))
    bench.until(lambda: bench.of(Opened))
    bench.until(lambda: bench.runner.status().run_state is RunState.RUNNING)


def test_what_cannot_be_opened_or_saved_is_told_and_the_run_goes_on(bench):
    Path("text.h5").write_text("hello")
    for command, told in (
        (OpenSession(Path("nowhere.h5")), "does not exist"),
        (OpenSession(Path("text.h5")), "damaged"),
        (SaveSession(Path("text.h5"), ""), "exists"),
        (SaveSession(Path("no/such/folder.h5"), ""), "does not exist"),
    ):
        bench.events.clear()
        bench.runner.send(command)
        bench.until(lambda told=told: bench.told(told))
        assert bench.of(Notice)[0].level is Level.ERROR
    bench.step(3)
    assert Path("text.h5").read_text() == "hello"


def test_a_session_is_a_checkpoint_and_a_checkpoint_a_session(bench):
    bench.runner.send(SaveSession(Path("a.session.h5"), "{}"))
    bench.until(lambda: bench.told("was saved"))
    checkpoint = load_checkpoint(Path("a.session.h5"))
    save_checkpoint(checkpoint, Path("c.h5"))
    session = load_session(Path("c.h5"))
    assert (session.window, session.running, dict(session.past)) == ("", False, {})
    assert set(load_session(Path("a.session.h5")).past) == set(THERMO_COLUMNS)
    with h5py.File("a.session.h5", "r+") as file:
        del file["past/heat"]
    with pytest.raises(InputError, match="'past/heat' is missing"):
        load_session(Path("a.session.h5"))


def test_a_model_whose_file_is_gone_or_changed_is_unpacked(tmp_path):
    path = tmp_path / "mine.json"
    save_model(replace(load_model("water-fast"), name="mine"), path)
    setup = Setup(model=str(path), molecules=8, device=DeviceKind.CPU)
    checkpoint = build_simulation(setup, PARAMETERS, lambda _text: None).checkpoint()
    folder = tmp_path / "models"
    assert with_model_file(checkpoint, folder) is checkpoint
    assert not folder.exists()
    path.unlink()
    moved = with_model_file(checkpoint, folder)
    assert Path(moved.setup.model).parent == folder
    assert np.array_equal(load_model(moved.setup.model).quadratic, checkpoint.model.quadratic)
    assert with_model_file(checkpoint, folder).setup == moved.setup
    assert len(list(folder.iterdir())) == 1
