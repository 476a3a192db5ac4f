"""Long work in a process of its own: what it tells on the way, how it ends, and that it can be stopped."""

import sys
import time

import pytest

from mldsim.jobs import Job

PROGRAM = """
import json, sys, time
from mldsim.progress import progress_bar, tell
kind = sys.argv[1]
assert sys.argv[-1] == "--json"
if kind == "good":
    with progress_bar("Fitting") as report:
        report(0.5, "frame 1 of 2")
        report(1.0, "frame 2 of 2")
    print("held out: fine")
    print(json.dumps({"parameters": 7}))
elif kind == "bad":
    tell("Reading")
    tell("mldsim: x.h5: there is no such file.")
    sys.exit(2)
elif kind == "broken":
    sys.exit(3)
else:
    tell("waiting")
    time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    started = []

    def begin(*arguments):
        started.append(Job(arguments, program=(sys.executable, str(program))))
        return started[-1]

    yield begin
    for job in started:
        job.close()


def test_its_progress_lines_and_result_are_heard(start):
    status = start("good").wait(60)
    assert not status.running
    assert status.result == {"parameters": 7}
    assert status.error == ""
    assert (status.title, status.what, status.fraction) == ("Fitting", "frame 2 of 2", 1.0)
    assert status.left == 0.0
    assert status.said == ("held out: fine",)


def test_a_refusal_is_its_sentence(start):
    status = start("bad").wait(60)
    assert status.result is None
    assert status.error == "x.h5: there is no such file."


def test_an_end_without_a_word_is_told(start):
    assert start("broken").wait(60).error == "The process ended without a result (exit code 3)."


def test_it_can_be_stopped(start):
    job = start("long")
    deadline = time.monotonic() + 60
    while not job.status().said and time.monotonic() < deadline:
        time.sleep(0.01)
    assert job.status().running
    job.cancel()
    status = job.wait(60)
    assert not status.running
    assert (status.result, status.error) == (None, "Cancelled.")


def test_the_command_line_answers_a_job():
    job = Job(["info", "water"])
    try:
        status = job.wait(120)
    finally:
        job.close()
    assert status.result is not None
    assert status.result["name"] == "water"
