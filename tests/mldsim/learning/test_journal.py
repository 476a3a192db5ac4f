"""The journal of a loop, and how much of it is done."""

from dataclasses import replace
from pathlib import Path

import pytest

from mldsim.errors import InputError
from mldsim.learning.journal import (
    NAME,
    Job,
    Journal,
    Round,
    RunRecord,
    Score,
    Stage,
    TheoryCheck,
    difference,
    read_journal,
    write_journal,
)
from mldsim.learning.pace import Pace, Work
from mldsim.learning.settings import LearnSettings

RUN = RunRecord(1, 300.0, 1.0, 17, 5000.0, 1, 500, 3, 2, 1, 0, 31.5, 95.0, None)
SCORE = Score(5, 80.0, 900.0, 75.0)
JOB = Job("water", "ab", ("data.h5",), "cd", "theory", LearnSettings(start=Path("a.xyz"), doubt_limit=0.1))
JOURNAL = Journal(
    JOB,
    checks=(TheoryCheck("data.h5", "theory", 0.1),),
    rounds=(Round(1, {"O": 80.0, "H": None}, 0.01, (RUN, RUN), 2, 1, 0, SCORE, SCORE, done=True), Round(2, {}, 0.0)),
    stage=Stage.ROUNDS_USED,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_journal(tmp_path, JOURNAL)
    assert read_journal(tmp_path) == JOURNAL


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"looks": 500', '"looks": "500"', "looks"),
        ('"looks": 500', '"looks": 500, "gazes": 1', "gazes"),
        ('"rounds used up"', '"finished"', "stage"),
        ('"temperature": 300.0', '"temperature": null', "temperature"),
        ('"number": 2', '"number": 3', "numbered"),
        ('"schema": 1', '"schema": 2', "schema 2"),
        ('"timestep": 0.5', '"timestep": -1', "Time step"),
        ("}", "", "journal"),
    ],
)
def test_a_spoilt_journal_is_one_sentence(tmp_path: Path, old: str, new: str, named: str) -> None:
    write_journal(tmp_path, JOURNAL)
    text = (tmp_path / NAME).read_text()
    assert old in text
    (tmp_path / NAME).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=named):
        read_journal(tmp_path)


def test_another_job_is_told_apart() -> None:
    def now(**changes: object) -> str | None:
        return difference(JOB, replace(JOB, settings=replace(JOB.settings, **changes)))

    assert difference(JOB, JOB) is None
    assert now(rounds=50) is None
    assert "--temperatures (300 400 500 instead of 300)" in (now(temperatures=(300.0,)) or "")
    assert "--doubt-limit" in (now(doubt_limit=None) or "")
    assert "another model ('water'" in (difference(JOB, replace(JOB, model_sha256="x")) or "")
    assert "other data (data.h5" in (difference(JOB, replace(JOB, data_sha256="x")) or "")
    assert "another theory (theory)" in (difference(JOB, replace(JOB, theory="x")) or "")


def test_a_round_is_inside_when_no_run_stopped_and_few_looks_warned() -> None:
    inside = Round(1, {}, 0.0, (RUN, RUN))
    assert inside.warned == pytest.approx(0.006)
    assert inside.is_inside(0.01)
    assert not inside.is_inside(0.001)
    assert not replace(inside, runs=(RUN, replace(RUN, stopped="a bond broke"))).is_inside(0.5)
    assert not replace(inside, runs=(replace(RUN, looks=0, warned=0),)).is_inside(0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperatures": ()},
        {"molecules": 8, "start": Path("a.xyz")},
        {"temperatures": (300.0, 300.0)},
        {"densities": (5.0,)},
        {"every": 0.1},
        {"time": 1.0},
        {"rounds": 0},
        {"frames": 0},
        {"holdout": 1.0},
        {"doubt_factor": 0.5},
        {"doubt_limit": 0.0},
        {"inside": float("nan")},
        {"temperatures": tuple(range(100, 300)), "densities": (0.9, 1.0)},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        LearnSettings(**wrong)


def test_every_run_of_every_round_has_a_seed_of_its_own() -> None:
    settings = LearnSettings()
    seeds = [plan.seed for number in (1, 2, 3) for plan in settings.plans(number)]
    assert len(set(seeds)) == 27
    assert [plan.seed for plan in settings.plans(1)] == seeds[:9]
    assert [plan.seed for plan in replace(settings, seed=2).plans(1)] != seeds[:9]
    assert [plan.temperature for plan in settings.plans(1)] == [300.0] * 3 + [400.0] * 3 + [500.0] * 3


def test_the_fraction_done_follows_what_the_work_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks take 1 s and labels 4 s: once that is known, the fraction is that of the time."""
    clock = [0.0]
    monkeypatch.setattr("mldsim.learning.pace.time.monotonic", lambda: clock[0])
    told: list[float] = []
    pace = Pace(lambda fraction, what: told.append(fraction))
    pace.expect({Work.LOOK: 20, Work.LABEL: 5})
    for _ in range(20):
        clock[0] += 1.0
        pace.did(Work.LOOK, 1, "running")
    report = pace.part(Work.LABEL, 5, "labelling")
    for n in range(1, 6):
        clock[0] += 4.0
        report(n / 5, "")
    assert told[20:] == pytest.approx([24 / 40, 28 / 40, 32 / 40, 36 / 40, 1.0])
    assert all(0.0 < fraction <= 1.0 for fraction in told)
