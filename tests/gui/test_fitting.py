"""The dock Fit: what is asked for, what is shown of it, and what becomes of the model; the work itself is made up."""

from types import SimpleNamespace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow

from mldsim.gui import theme
from mldsim.gui.fitting import Fitting
from mldsim.gui.theme import Theme
from mldsim.jobs import JobStatus
from mldsim.loss import Scope
from mldsim.messages import RunState, SaveDoubtful, Status

pytestmark = pytest.mark.gui


class MadeUpJob:
    def __init__(self, arguments):
        self.arguments = arguments
        self.now = JobStatus()
        self.cancelled = self.closed = False

    def status(self):
        return self.now

    def cancel(self):
        self.cancelled = True
        self.now = JobStatus(running=False, error="Cancelled.")

    def close(self):
        self.closed = True

    def option(self, name):
        return self.arguments[self.arguments.index(name) + 1]


class Desk:
    def __init__(self):
        self.loaded, self.told = [], []
        self.controller = SimpleNamespace(load_model=self.loaded.append)

    def tell(self, level, text):
        self.told.append(text)


class Runner:
    def __init__(self):
        self.sent = []
        self.exports = self.doubtful = 0

    def send(self, command):
        self.sent.append(command)

    def status(self):
        return Status(RunState.RUNNING, exports=self.exports, doubtful_frames=self.doubtful)


@pytest.fixture
def bench(qtbot):
    window = QMainWindow()
    qtbot.addWidget(window)
    beside = QDockWidget("Plots", window)
    window.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, beside)
    jobs = []

    def start(arguments):
        jobs.append(MadeUpJob(arguments))
        return jobs[-1]

    made = SimpleNamespace(desk=Desk(), runner=Runner(), jobs=jobs)
    made.fitting = Fitting(window, beside, made.desk, made.runner, start)
    made.panel = made.fitting.panel
    made.panel.colour(theme.COLOURS[Theme.DARK])
    window.resize(1100, 320)
    window.show()
    made.fitting.dock.raise_()
    yield made
    made.fitting.close()


def finish(bench, parity="part,species,label_eV_A,model_eV_A\ntrain,O,1,1.1\nholdout,O,2,2.2\nholdout,H,3,3\n"):
    job = bench.jobs[-1]
    with open(job.option("--parity"), "w") as file:
        file.write(parity)
    said = ("holdout: force error 40", f"{job.option('-o')}: 12 parameters, fitted in 3 s.")
    job.now = JobStatus(running=False, said=said, result={"seconds": 3.0, "parameters": 12})
    bench.fitting.look()


def test_the_shipped_data_are_there_and_the_form_becomes_options(bench):
    panel = bench.panel
    panel.order.show_data(3)
    panel.scope.show_data(Scope.SHARED)
    panel.radial.show_value(6)
    panel.cutoff.show_value(5.5)
    panel.holdout.show_value(20.0)
    panel.fit.click()
    job = bench.jobs[-1]
    assert job.arguments[:2] == ["fit", str(panel.data[0])]
    assert panel.data[0].name == "cnnp_fit.h5"
    assert panel.data[0].exists()
    wanted = {"--order": "3", "--max-rank": "2", "--radial": "6", "--cutoff": "5.5", "--channels": "4"}
    assert {name: job.option(name) for name in wanted} == wanted
    assert job.option("--holdout") == "0.2"
    assert "--bounded" in job.arguments


def test_a_linear_loss_has_no_ranks_channels_or_bound(bench):
    panel = bench.panel
    panel.order.show_data(1)
    panel.order.activated.emit(0)
    assert not panel.max_rank.isEnabled()
    panel.fit.click()
    assert bench.jobs[-1].option("--max-rank") == "0"
    assert not {"--channels", "--bounded"} & set(bench.jobs[-1].arguments)


def test_progress_and_errors_are_shown_as_they_come(bench):
    panel = bench.panel
    panel.fit.click()
    assert not panel.fit.isEnabled()
    assert panel.cancel.isEnabled()
    bench.jobs[-1].now = JobStatus(True, "Fitting", "frame 3 of 9", 0.25, 30.0, ("train: force error 41",))
    bench.fitting.look()
    assert panel.doing.words == "Fitting: frame 3 of 9, 30 s left"
    assert panel.bar.isVisible()
    assert panel.bar.value() == 250
    assert "train: force error 41" in panel.told.text()


def test_a_fitted_model_is_shown_and_run(bench):
    panel = bench.panel
    assert not panel.run.isEnabled()
    panel.fit.click()
    finish(bench)
    assert "12 parameters" in panel.doing.words
    assert panel.plots[0].drawn("holdout")[1] == pytest.approx([2.2])
    assert panel.plots[0].drawn("train")[0] == pytest.approx([1.0])
    assert panel.plots[1].isVisible()
    panel.run.click()
    assert [str(path) for path in bench.desk.loaded] == [bench.jobs[-1].option("-o")]


def test_where_a_fit_keeps_its_files_is_not_told(bench):
    bench.panel.fit.click()
    finish(bench)
    assert bench.panel.told.text() == "holdout: force error 40"
    assert "12 parameters, fitted in 3 s." in bench.panel.doing.words


def test_a_refusal_is_said_and_the_last_model_stays(bench):
    panel = bench.panel
    panel.fit.click()
    finish(bench)
    panel.fit.click()
    bench.jobs[-1].now = JobStatus(running=False, error="The box is smaller than the cutoff.")
    bench.fitting.look()
    assert panel.doing.words == "The box is smaller than the cutoff."
    assert panel.run.isEnabled()
    panel.run.click()
    assert str(bench.desk.loaded[-1]) == bench.jobs[0].option("-o")


def test_cancel_stops_it_and_closing_ends_it(bench):
    panel = bench.panel
    panel.fit.click()
    panel.cancel.click()
    bench.fitting.look()
    assert panel.doing.words == "Cancelled."
    assert panel.fit.isEnabled()
    panel.fit.click()
    bench.fitting.close()
    assert bench.jobs[-1].closed


def test_doubtful_frames_are_saved_labelled_and_fitted(bench, tmp_path):
    panel, runner = bench.panel, bench.runner
    assert not panel.label.isEnabled()
    runner.doubtful = 5
    bench.fitting.look()
    assert panel.label.text() == "Label 5 doubtful"
    panel.label.click()
    command = runner.sent[-1]
    assert isinstance(command, SaveDoubtful)
    bench.fitting.look()
    assert not bench.jobs  # the frames are still being written
    command.path.write_text("frames")
    runner.exports += 1
    bench.fitting.look()
    job = bench.jobs[-1]
    assert job.arguments[:2] == ["label", str(command.path)]
    assert job.option("--engine") == "cp2k-nnp"
    job.now = JobStatus(running=False, result={"frames": 5})
    bench.fitting.look()
    assert str(panel.data[-1]) == job.option("-o")
    assert panel.list.count() == 2


def test_where_cp2k_is_missing_it_says_so(bench):
    bench.runner.doubtful = 1
    bench.fitting.look()
    bench.panel.label.click()
    bench.runner.sent[-1].path.write_text("frames")
    bench.runner.exports += 1
    bench.fitting.look()
    bench.jobs[-1].now = JobStatus(running=False, error="CP2K is not installed.")
    bench.fitting.look()
    assert bench.panel.doing.words == "CP2K is not installed."
    assert bench.panel.list.count() == 1
