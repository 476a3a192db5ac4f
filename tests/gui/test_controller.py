"""The controller with a runner and views that only remember: no display, no thread."""

import math
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pytest

from mldsim.frames import Frame, Mailbox, ThermoRow, ThermoTable, Topology
from mldsim.gui.controller import ANSWER_TIME, Controller, Views
from mldsim.gui.viewmodel import (
    RunningMean,
    SliderScale,
    StatusLevel,
    card_of,
    clock_of,
    clock_time,
    curves,
    drift,
    model_card,
    next_pace,
    pace_text,
    playback_paces,
    status_line,
    thinned,
)
from mldsim.loss import load_model
from mldsim.messages import (
    Applied,
    Extend,
    GoTo,
    Level,
    Loaded,
    LoadModel,
    LookedBack,
    Notice,
    Opened,
    OpenSession,
    Pause,
    RecordingStatus,
    Restart,
    Run,
    RunFor,
    RunState,
    SaveSession,
    SetPace,
    SetParameters,
    StartRecording,
    Status,
    Step,
    Stretch,
)
from mldsim.parameters import FIELDS, DeviceKind, Parameters, Setup
from mldsim.schedules import Leg, Schedule


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class FakeRunner:
    def __init__(self):
        self.mailbox, self.thermo = Mailbox(), ThermoTable()
        self.sent, self.queue = [], []
        self.state = Status(RunState.RUNNING)
        self.closed_after = None

    def start(self):
        pass

    def send(self, command):
        self.sent.append(command)

    def events(self):
        events, self.queue = self.queue, []
        return events

    def status(self):
        return self.state

    def close(self, timeout):
        self.closed_after = timeout
        return True


class Remember:
    """Every view at once: keeps what it was told, in order."""

    frames_drawn = 0
    visible = True

    def __init__(self):
        self.told = []

    def wanted(self, latest):
        return self.visible

    def __getattr__(self, name):
        return lambda *arguments: self.told.append((name, *arguments))

    def of(self, name):
        return [call[1:] for call in self.told if call[0] == name]


def topology(molecules=2):
    species = np.tile(np.array([0, 1, 1], np.int32), molecules)
    return Topology(("O", "H"), species, np.where(species == 0, 16.0, 1.0), np.array([[0, 1], [0, 2]], np.int32))


def row(time=0.0, temperature=300.0, conserved=-1.0, heat=0.0, kinetic=0.1, loss=-1.1, power=0.0):
    return ThermoRow(time, temperature, 300.0, kinetic, loss, kinetic + loss, conserved, heat, power)


def frame(step, agents=6):
    zeros = np.zeros((agents, 3))
    return Frame(step, 0.5 * step, np.full(3, 10.0), zeros, zeros, zeros, np.zeros(agents), row(0.5 * step))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def runner():
    return FakeRunner()


@pytest.fixture
def views():
    return Remember()


@pytest.fixture
def controller(runner, views, clock):
    controller = Controller(runner, Views(*[views] * 7), Setup(), Parameters(), clock)
    runner.queue.append(Loaded(topology(), Setup(), "water", np.full(3, 10.0)))
    controller.tick()
    views.told.clear()
    return controller


def test_the_controller_needs_no_display(run_python):
    done = run_python("-c", "import sys, mldsim.gui.controller; print([m for m in sys.modules if 'PySide' in m])")
    assert done.stdout.strip() == "[]", done.stderr


def test_the_newest_frame_reaches_the_view(controller, runner, views):
    runner.mailbox.put(frame(1))
    runner.mailbox.put(frame(2))
    controller.tick()
    controller.tick()
    assert [shown.step for (shown,) in views.of("set_frame")] == [2]


def test_a_frame_of_another_system_is_not_shown(controller, runner, views):
    runner.mailbox.put(frame(1, agents=9))
    controller.tick()
    assert views.of("set_frame") == []


def test_the_first_frame_after_a_restart_is_shown_after_its_topology(controller, runner, views):
    """Paused, it is the only frame there will be."""
    runner.queue.append(Loaded(topology(3), Setup(), "water", np.full(3, 12.0)))
    runner.mailbox.put(frame(0, agents=9))
    controller.tick()
    names = [call[0] for call in views.told]
    assert names.index("set_topology") < names.index("set_frame")


def test_changes_between_two_ticks_are_one_command(controller, runner):
    for value in (310.0, 320.0, 330.0):
        controller.change(temperature=value)
    controller.change(timestep=0.25)
    assert runner.sent == []
    controller.tick()
    controller.tick()
    assert runner.sent == [SetParameters(Parameters(temperature=330.0, timestep=0.25))]


def test_a_late_answer_does_not_undo_a_newer_wish(controller, runner, clock):
    controller.change(temperature=350.0)
    controller.tick()
    controller.change(timestep=0.25)
    runner.queue.append(Applied(Parameters(temperature=350.0)))
    controller.tick()
    runner.queue.append(Applied(Parameters(temperature=350.0, timestep=0.25)))
    clock.now += 0.1
    controller.change(coupling_time=80.0)
    controller.tick()
    assert runner.sent[-1] == SetParameters(Parameters(temperature=350.0, timestep=0.25, coupling_time=80.0))


def test_the_panel_shows_what_is_applied(controller, runner, views, clock):
    controller.change(timestep=2.0)
    controller.tick()
    assert views.of("show_parameters") == []
    assert views.of("show_pending") == [(frozenset({"timestep"}),)]
    runner.queue.append(Applied(Parameters(timestep=1.0)))  # the engine went only half the way
    controller.tick()
    assert views.of("show_parameters") == [(Parameters(timestep=1.0),)]
    clock.now += 2 * ANSWER_TIME
    controller.tick()
    assert views.of("show_pending")[-1] == (frozenset(),)
    controller.change(temperature=310.0)
    controller.tick()
    assert runner.sent[-1] == SetParameters(Parameters(timestep=1.0, temperature=310.0))


def test_a_value_out_of_range_is_told_and_not_sent(controller, runner, views):
    controller.change(temperature=-5.0)
    controller.tick()
    assert runner.sent == []
    (level, text), *_ = views.of("show_notice")
    assert level is Level.ERROR
    assert "Target temperature" in text
    assert "-5" in text


def test_space_pauses_what_moves_and_runs_what_stands(controller, runner):
    controller.toggle_run()
    runner.state = Status(RunState.PAUSED)
    controller.toggle_run()
    runner.state = Status(RunState.QUENCHING)
    controller.toggle_run()
    controller.step()
    assert runner.sent == [Pause(), Run(), Pause(), Step(1)]


def test_slower_than_flat_out_is_slower_than_what_it_makes(controller, runner, views):
    runner.state = Status(RunState.RUNNING, steps_per_s=700.0)  # 350 fs per second
    for direction, expected in ((-1, 200.0), (-1, 100.0), (+1, 200.0), (+1, 500.0)):
        controller.change_speed(direction)
        assert runner.sent[-1] == SetPace(expected)
    for _ in range(20):
        controller.change_speed(+1)
    assert runner.sent[-1] == SetPace(None)
    assert views.of("show_pace")[-1] == (None,)
    assert controller.applied == Parameters()  # the time step is never touched
    assert next_pace(2.0, 0.0, -1) == 2.0
    assert [pace_text(pace) for pace in (5.0, 200.0, 2000.0)] == ["5 fs/s", "200 fs/s", "2 ps/s"]


def test_the_speed_that_is_made_is_told_beside_the_one_that_was_asked_for(controller, runner, views):
    runner.state = Status(RunState.RUNNING, steps_per_s=196.0, ns_per_day=98.0 * 86_400e-6, pace=100.0)
    controller._status_at = -math.inf
    controller.tick()
    assert views.of("show_actual")[-1] == ("98 fs/s",)
    assert status_line(replace(runner.state, run_state=RunState.PAUSED), 60.0).actual == ""


def test_a_run_with_an_end_tells_how_far_it_is_and_how_long_it_takes():
    rate = 50.0 * 86_400e-6  # 50 fs per second
    under_way = Status(RunState.RUNNING, time=14e3, ns_per_day=rate, stretch=Stretch(10e3, 20e3, 10e3))
    line = status_line(under_way, 60.0)
    assert line.stretch == "4 ps of 10 ps · 2 min left"
    assert line.part == pytest.approx(0.4)
    over = status_line(replace(under_way, run_state=RunState.PAUSED, time=20e3, ns_per_day=0.0), 60.0)
    assert (over.stretch, over.part) == ("10 ps done", 1.0)
    without = status_line(replace(under_way, stretch=None), 60.0)
    assert (without.stretch, without.part) == ("", None)
    assert [clock_time(seconds) for seconds in (3.2, 130.0, 7800.0)] == ["3 s", "2 min", "2 h 10 min"]


def test_one_picture_is_as_many_steps_as_lie_between_two(controller, runner):
    runner.queue.append(Applied(Parameters(steps_per_frame=25)))
    controller.tick()
    controller.step_frame()
    controller.run_for(1e4)
    controller.extend()
    controller.run_for(None)
    assert runner.sent == [Step(25), RunFor(1e4), Extend(), RunFor(None)]


def test_parameters_can_be_undone_and_one_drag_is_one_step(controller, runner, clock):
    for temperature in (310.0, 330.0, 350.0):  # a slider that is dragged
        controller.change(temperature=temperature)
        controller.tick()
        clock.now += 0.1
    controller.change(timestep=0.25)
    clock.now += 5.0
    controller.change(temperature=400.0)
    controller.tick()

    def after(command):
        command()
        controller.tick()
        return runner.sent[-1].parameters

    assert after(controller.undo) == Parameters(temperature=350.0, timestep=0.25)
    assert after(controller.undo) == Parameters(temperature=350.0)
    assert after(controller.undo) == Parameters()
    assert after(controller.redo) == Parameters(temperature=350.0)
    controller.change(temperature=500.0)
    sent = len(runner.sent)
    controller.redo()  # something else was changed since
    controller.tick()
    assert len(runner.sent) == sent + 1
    assert runner.sent[-1].parameters.temperature == 500.0
    assert after(controller.undo) == Parameters(temperature=350.0)


def test_nothing_to_undo_is_said(controller, views):
    controller.undo()
    controller.redo()
    assert len(views.of("show_notice")) == 2


def test_restart_keeps_the_rest_of_the_setup(controller, runner, views):
    runner.queue.append(Loaded(topology(), Setup(model="water-paper", seed=7), "water-paper", np.full(3, 10.0)))
    controller.tick()
    controller.restart(molecules=128)
    assert runner.sent == [Restart(Setup(model="water-paper", seed=7, molecules=128))]
    controller.restart(molecules=1)
    assert len(runner.sent) == 1
    assert "Molecules" in views.of("show_notice")[-1][1]


def test_a_model_can_be_chosen_where_nothing_could_be_built(controller, runner):
    runner.state = Status(RunState.FAILED, "There is no loss model 'x'.")
    controller.load_model("water-paper")
    assert runner.sent == [Restart(Setup(model="water-paper"))]


def test_the_view_says_what_is_done_while_it_starts(controller, runner, views):
    runner.state = Status(RunState.STARTING, "Compiling kernels")
    controller.tick()
    controller.tick()
    runner.state = Status(RunState.RUNNING)
    controller.tick()
    assert views.of("message") == [("Compiling kernels",), (None,)]


def test_plots_are_drawn_seldom_and_only_when_there_is_something_new_to_see(controller, runner, views, clock):
    runner.thermo.append(row())
    for _ in range(60):  # one second of ticks without a new row
        clock.now += 1 / 60
        controller.tick()
    assert len(views.of("show_curves")) == 1
    for _ in range(60):
        clock.now += 1 / 60
        runner.thermo.append(row())
        controller.tick()
    assert 5 <= len(views.of("show_curves")) - 1 <= 10
    drawn = len(views.of("show_curves"))
    views.visible = False
    for _ in range(60):
        clock.now += 1 / 60
        runner.thermo.append(row())
        controller.tick()
    assert len(views.of("show_curves")) == drawn
    views.visible = True
    clock.now += 1.0
    controller.tick()  # the run stands; its end is not left out
    assert len(views.of("show_curves")) == drawn + 1


def test_notices_are_passed_on_and_closing_ends_everything(controller, runner, views):
    runner.queue.append(Notice(Level.WARNING, "Look."))
    controller.tick()
    assert views.of("show_notice") == [(Level.WARNING, "Look.")]
    controller.close(3.0)
    controller.close(3.0)
    assert runner.closed_after == 3.0
    views.told.clear()
    runner.mailbox.put(frame(3))
    controller.tick()
    assert views.told == []


def test_recording_is_sent_as_asked(controller, runner):
    controller.start_recording(Path("a.h5md"), 5, force=True)
    assert runner.sent == [StartRecording(Path("a.h5md"), 5, True)]


# --- what is shown ---


def test_status_line_of_a_running_recording():
    status = Status(
        RunState.RUNNING, "", "CPU, 2 threads", "There is no CUDA driver.", "water", 192, 2000, 1000.0, 1234.5, 53.3,
        RecordingStatus(Path("/data/a.h5md"), 10, 1, 3), False, 5,
    )  # fmt: skip
    line = status_line(status, 59.6)
    assert line.device == "CPU, 2 threads"
    assert line.device_tip == "There is no CUDA driver."
    assert line.agents == "192 agents"
    assert "1 ps" in line.time
    assert line.rate == "53.3 ns/day"
    assert line.display == "60 frames/s"
    assert "a.h5md" in line.recording
    assert "1 frame" in line.recording
    assert line.recording_level is StatusLevel.RECORDING
    slow = status_line(replace(status, waiting_for_disk=True), 60)
    assert "waiting for disk" in slow.recording
    assert slow.recording_level is StatusLevel.WARNING


def test_energies_are_changes_per_agent_in_meV():  # noqa: N802
    table = ThermoTable()
    table.append(row(0.0, kinetic=1.0, loss=-500.0, conserved=-499.0))
    table.append(row(10.0, kinetic=1.3, loss=-500.2, conserved=-499.0, heat=0.1))
    shown = curves(table.columns(), n_agents=100)
    np.testing.assert_allclose(shown.time, [0, 0.01])
    np.testing.assert_allclose(shown.values["kinetic"], [0, 3.0])
    np.testing.assert_allclose(shown.values["loss"], [0, -2.0])
    np.testing.assert_allclose(shown.values["total"], [0, 1.0], atol=1e-9)
    np.testing.assert_allclose(shown.values["conserved"], [0, 0], atol=1e-9)
    np.testing.assert_allclose(shown.values["temperature"], [300.0, 300.0])
    assert "nonreciprocal_power" not in shown.values  # forces are reciprocal


def test_losses_of_the_species_are_changes_per_agent_of_them():
    table = ThermoTable()
    for time, oxygen, hydrogen in ((0.0, -15.0, -2.0), (10.0, -15.1, -1.95)):
        table.append(replace(row(time), oxygen_loss=oxygen, hydrogen_loss=hydrogen))
    shown = curves(table.columns(), n_agents=300)
    np.testing.assert_allclose(shown.values["oxygen_loss"], [0, -100.0])
    np.testing.assert_allclose(shown.values["hydrogen_loss"], [0, 50.0])
    table.append(row(20.0))  # a row that does not know them
    assert "oxygen_loss" not in curves(table.columns(), n_agents=300).values


def test_own_scope_shows_the_heat_that_was_taken_instead():
    table = ThermoTable()
    for i in range(3):
        table.append(
            row(10.0 * i, conserved=math.nan, heat=-0.2 * i, power=0.3)
        )  # the thermostat gives a negative heat
    shown = curves(table.columns(), n_agents=100)
    assert "conserved" not in shown.values
    np.testing.assert_allclose(shown.values["heat"], [0, 2, 4])
    np.testing.assert_allclose(shown.values["nonreciprocal_power"], 3.0)
    assert curves(ThermoTable().columns(), 100) is None


def test_running_mean_of_unequal_rows():
    time = np.concatenate([np.arange(0, 1000, 20.0), np.arange(1000, 2000, 2.0)])
    mean = RunningMean(time, 500.0)
    np.testing.assert_array_equal(mean.time, time)
    np.testing.assert_allclose(mean.of(np.full(len(time), 7.0)), 7.0)
    ramp = mean.of(time)
    np.testing.assert_allclose(ramp[time >= 500], time[time >= 500] - 250.0, atol=10.0)


def test_running_mean_of_many_rows_is_told_for_some_of_them():
    time = np.cumsum(np.random.default_rng(0).uniform(0.5, 1.5, 20_000))
    values = np.sin(time / 40.0)
    means = RunningMean(time, 100.0)
    at, mean = means.time, means.of(values)
    assert len(at) <= 5_000
    assert (at[0], at[-1]) == (time[0], time[-1])
    for end in np.searchsorted(time, at)[1::500]:
        begin = min(np.searchsorted(time, time[end] - 100.0), end - 1)
        expected = np.trapezoid(values[begin : end + 1], time[begin : end + 1]) / (time[end] - time[begin])
        assert mean[at == time[end]] == pytest.approx(expected, abs=1e-9)
    longer = np.append(time, time[-1] + 1.0)  # what was drawn stays, but for the last
    np.testing.assert_array_equal(RunningMean(longer, 100.0).of(np.append(values, 0.0))[:-1], mean[:-1])


def test_thinning_keeps_spikes_and_the_ends():
    x = np.arange(20_000.0)
    y = np.sin(x / 500)
    y[12_345] = 50.0
    tx, ty = thinned(x, y, 0, 2e4, 400)
    assert len(tx) <= 1650
    assert ty.max() == 50.0
    assert (np.diff(tx) >= 0).all()
    near, _ = thinned(x, y, 100.0, 110.0, 400)
    assert near[0] <= 100.0
    assert near[-1] >= 110.0
    assert len(near) < 20


def test_drift_is_a_slope_and_needs_some_time():
    time = np.linspace(0, 2, 50)
    assert drift(time, 3.0 * time + 1) == pytest.approx(3.0)
    assert math.isnan(drift(time[:2], time[:2]))


@pytest.mark.parametrize("name", ["temperature", "coupling_time", "timestep", "steps_per_frame", "density"])
def test_a_slider_covers_the_range_and_comes_back(name):
    field = FIELDS[name]
    scale = SliderScale(field)
    assert scale.value(0) == field.minimum
    assert scale.value(scale.positions) == field.maximum
    assert scale.value(scale.position(field.default)) == pytest.approx(field.default, rel=0.02)
    assert float(scale.value(300)).is_integer() or not field.integer


def test_the_card_of_a_model_says_what_it_is_and_how_good():
    model = replace(
        load_model("water"),
        card={
            "errors": {"holdout": {"force_rmse_meV_A": 40.6}},
            "theory": "revPBE0-D3 <C-NNP>",
            "purpose": "liquid water",
            "stability": "24 h",
        },
    )
    card = card_of(model)
    assert "Shared loss" in card.short
    assert "41 meV/Å" in card.short
    assert "liquid water" in card.short
    assert "revPBE0-D3 &lt;C-NNP&gt;" in card.short
    assert "24 h" in card.full
    assert "Held-out" not in card_of(replace(model, card={"errors": {"holdout": None}, "theory": 7})).short
    assert model_card("/no/such/file.json", "mine").short == "mine"


# --- a trajectory beside the simulation ---


def past(n=8):
    """Frames of three molecules in memory."""
    return LookedBack(topology(3), tuple(frame(10 * number, agents=9) for number in range(n)))


@pytest.fixture
def looking(controller, runner, views):
    """A controller that shows the past of a run."""
    runner.mailbox.put(frame(70))
    controller.tick()
    runner.queue.append(past())
    until(controller, lambda: controller.frame is not None and controller.frame.step == 0)
    yield controller
    controller.close()


def until(controller, what):
    deadline = monotonic() + 10.0
    while not what():
        assert monotonic() < deadline
        controller.tick()
        sleep(0.001)


def test_the_past_is_shown_while_the_simulation_waits(looking, runner, views):
    assert runner.sent == [Pause()]
    assert views.of("set_topology")[-1][0].n_agents == looking.n_agents == 9
    footage = views.of("show_footage")[-1][0]
    assert footage.n_frames == 8
    looking.step()
    until(looking, lambda: looking.frame.step == 10)
    looking.seek(-1)
    until(looking, lambda: looking.frame.step == 70)
    looking.pull(1, np.zeros(3))  # what has happened cannot be pulled
    assert runner.sent == [Pause()]
    runner.mailbox.put(frame(71))
    looking.tick()
    assert looking.frame.step == 70


def test_back_shows_the_simulation_where_it_was_and_lets_it_go_on(looking, runner, views):
    looking.back()
    assert not looking.playing
    assert views.of("set_topology")[-1][0].n_agents == looking.n_agents == 6
    assert looking.frame.step == 70
    assert views.of("show_footage")[-1] == views.of("show_playback")[-1] == (None,)
    assert runner.sent == [Pause(), Run()]


def test_going_on_from_a_frame_in_memory_goes_to_it(looking, runner):
    looking.seek(3)
    until(looking, lambda: looking.frame.step == 30)
    chosen = looking.frame
    looking.go_on()
    assert [type(command) for command in runner.sent] == [Pause, GoTo, Run]
    assert runner.sent[1].frame is chosen
    assert not looking.playing


def test_a_restart_leaves_the_trajectory_and_a_setup_that_fails_does_not_run(looking, runner, views):
    looking._played_from = Path("run.h5md")
    looking.seek(2)
    until(looking, lambda: looking.frame.step == 20)
    looking.go_on()
    assert runner.sent[-1] == Restart(Setup(start=Path("run.h5md"), start_frame=2))
    runner.queue.append(Notice(Level.ERROR, "run.h5md holds helium."))
    runner.queue.append(Loaded(topology(), Setup(), "water", np.full(3, 10.0)))
    looking.tick()
    assert Run() not in runner.sent


def test_there_is_no_past_before_there_are_two_frames(controller, runner, views):
    runner.queue.append(past(1))
    controller.tick()
    assert not controller.playing
    assert "nothing in memory" in views.of("show_notice")[-1][1]


def test_a_trajectory_can_be_played_from_one_to_some_hundred_frames_per_second():
    assert playback_paces(20.0) == (20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0)
    assert [pace_text(pace) for pace in (20.0, 5000.0, 2e6)] == ["20 fs/s", "5 ps/s", "2 ns/s"]
    assert next_pace(None, math.inf, -1, playback_paces(20.0)) == 5000.0
    assert next_pace(5000.0, math.inf, +1, playback_paces(20.0)) is None
    assert [clock_of(time, end) for time, end in ((12.5, 500.0), (12.5, 5e4), (12.5, 5e6))] == [
        "12.5 fs", "0.013 ps", "0.0000 ns",
    ]  # fmt: skip


def test_a_preset_is_taken_with_the_fewest_changes_and_undone_at_once(controller, runner, views, clock):
    mine = Parameters(temperature=350.0, timestep=0.25)
    controller.take(replace(Setup(), device=DeviceKind.CUDA), mine)  # the device is the machine's, not the preset's
    assert runner.sent == [SetParameters(mine)]
    runner.sent.clear()
    controller.take(Setup(model="water-paper"), Parameters())
    assert runner.sent == [SetParameters(Parameters()), LoadModel("water-paper")]
    runner.sent.clear()
    controller.take(Setup(molecules=512), Parameters())
    assert runner.sent == [SetParameters(Parameters()), Restart(Setup(molecules=512))]
    controller.undo()
    controller.undo()
    controller.tick()
    assert runner.sent[-1] == SetParameters(mine)


def test_a_schedule_begins_now_at_the_target_of_now_and_a_set_target_ends_it(controller, runner, views, clock):
    legs = Schedule((Leg(400.0, 100.0), Leg(300.0, 100.0)))
    runner.state = replace(runner.state, time=1000.0)
    controller.follow_schedule(legs)
    controller.tick()
    asked = Parameters(schedule=replace(legs, begin=1000.0))
    assert runner.sent[-1] == SetParameters(asked)
    runner.queue.append(Applied(asked))
    runner.state = replace(runner.state, time=1050.0)
    clock.now += 1.0
    controller.tick()
    assert controller.target == 350.0
    assert views.of("show_target")[-1] == (350.0,)
    controller.hold_target()
    controller.tick()
    assert runner.sent[-1] == SetParameters(Parameters(temperature=350.0))
    runner.queue.append(Applied(asked))
    controller.undo()
    controller.tick()
    controller.change(temperature=310.0)
    controller.tick()
    assert runner.sent[-1] == SetParameters(Parameters(temperature=310.0))


def test_an_opened_session_is_told_and_has_nothing_to_undo(controller, runner, views, clock):
    controller.change(temperature=350.0)
    controller.tick()
    runner.queue += [Applied(Parameters(temperature=280.0)), Opened(Path("a.session.h5"), "{}")]
    controller.tick()
    assert views.of("show_opened") == [(Path("a.session.h5"), "{}")]
    runner.sent.clear()
    controller.undo()
    clock.now += 5.0
    controller.tick()
    assert runner.sent == []
    controller.save_session(Path("b.session.h5"), "{}", force=True)
    controller.open_session(Path("b.session.h5"))
    assert runner.sent == [SaveSession(Path("b.session.h5"), "{}", True), OpenSession(Path("b.session.h5"))]
