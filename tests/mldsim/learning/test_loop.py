"""The loop: what it learns from, when it stops, and that being stopped loses nothing."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames
from mldsim.errors import Cancelled, InputError, WorkFailed
from mldsim.labelling import NothingLabelled
from mldsim.learning.journal import Journal, Stage, read_journal
from mldsim.learning.loop import learn
from mldsim.learning.settings import LearnSettings
from mldsim.learning.theory import compare_theories
from mldsim.loss import load_model
from mldsim.readers import load_frames

from .conftest import SHORT, THEORY, Laboratory


def run(laboratory: Laboratory, folder: Path, settings: LearnSettings = SHORT, **options) -> Journal:
    return learn(laboratory.start(), laboratory.data(), settings, folder, laboratory.means, **options)


def contains(systems: list[LabelledFrames], positions: np.ndarray) -> bool:
    return any(np.allclose(frame, positions, atol=1e-6) for system in systems for frame in system.positions)


@dataclass
class Whole:
    """A loop in one go."""

    folder: Path
    laboratory: Laboratory
    journal: Journal
    told: list[str]
    fractions: list[float]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    laboratory, folder = Laboratory(), tmp_path_factory.mktemp("whole") / "out"
    told: list[str] = []
    fractions: list[float] = []
    journal = run(laboratory, folder, tell=told.append, progress=lambda fraction, what: fractions.append(fraction))
    return Whole(folder, laboratory, journal, told, fractions)


def test_it_stops_when_the_runs_stay_inside(whole: Whole) -> None:
    """Doubt of 0.15 against a limit of 0.1 before frames are added, and less after the first round."""
    journal = whole.journal
    assert journal.stage is Stage.SETTLED
    assert [(entry.warned, entry.stopped) for entry in journal.rounds] == [(1.0, 0), (0.0, 0)]
    first, last = journal.rounds
    assert (first.chosen, first.drawn, last.chosen, last.drawn) == (2, 2, 0, 2)
    assert len(whole.told) == 2
    assert all(0.0 <= fraction <= 1.0 for fraction in whole.fractions)
    assert read_journal(whole.folder) == journal
    # The fit went half the way to the teacher: errors before are those of the model that ran.
    assert first.new_before.force_rmse_meV_A > 0.1
    assert first.new_after.force_rmse_meV_A == pytest.approx(0.5 * first.new_before.force_rmse_meV_A, rel=1e-3)
    assert last.held_out_before.force_rmse_meV_A < first.held_out_before.force_rmse_meV_A
    assert last.all_held_out.frames == 4
    assert first.new_before.doubt_meV_A == pytest.approx(150, rel=0.1)
    assert first.new_after.doubt_meV_A < 30
    assert load_model(whole.folder / "model.json").name == "out"
    assert [path.name for path in whole.folder.glob("sums-*")] == ["sums-01.h5"]


def test_what_is_held_out_is_never_fitted_and_the_old_data_always(laboratory: Laboratory, tmp_path: Path) -> None:
    """Also where the sums were lost: they are the largest files, and the first that someone removes."""
    never_sure = replace(laboratory.means, doubt=lambda m, species, box: lambda x: np.full(len(x), 0.15))
    for rounds in (1, 2, 3):
        settings = replace(SHORT, rounds=rounds)
        journal = learn(laboratory.start(), laboratory.data(), settings, tmp_path / "out", never_sure)
        if rounds == 2:
            (tmp_path / "out" / "sums-02.h5").unlink()
    assert journal.stage is Stage.ROUNDS_USED
    fits = [systems for systems in laboratory.fitted if len(systems) > 1]
    assert len(fits) == 3
    old = laboratory.data()[0]
    for number, systems in enumerate(fits, start=1):
        assert all(contains(systems, frame) for frame in old.positions)
        for before in range(1, number + 1):
            folder = tmp_path / "out" / f"round-{before:02d}"
            assert all(contains(systems, frame) for frame in load_frames(folder / "fit.h5")[0].positions)
            assert not any(contains(systems, frame) for frame in load_frames(folder / "held-out.h5")[0].positions)
        assert sum(system.n_frames for system in systems) == 4 + sum(e.chosen for e in journal.rounds[:number])
    assert all(entry.chosen + entry.drawn <= SHORT.frames for entry in journal.rounds)
    card = load_model(tmp_path / "out" / "model.json").card
    assert card["theory"] == f"as the engine; {THEORY}"
    assert "3 rounds" in card["learned"]


@pytest.mark.parametrize("when", ["label 1", "label 3", "doubt 3", "doubt 16", "fit 2"])
def test_being_stopped_loses_nothing(tmp_path: Path, whole: Whole, when: str) -> None:
    """Stopped anywhere and begun again, the loop ends as it does in one go; no finished work is done twice."""
    stopped = Laboratory(interrupt=when)
    with pytest.raises(Cancelled, match="the same command goes on"):
        run(stopped, tmp_path / "out")
    assert run(stopped, tmp_path / "out") == whole.journal
    frames = sorted(whole.folder.rglob("*.xyz"))
    assert len(frames) == 8  # of two rounds with two runs
    for path in frames:
        assert path.read_bytes() == (tmp_path / "out" / path.relative_to(whole.folder)).read_bytes()
    assert not list((tmp_path / "out").rglob("*.part"))
    repeated = {"label": 2, "fit": 1, "doubt": SHORT.looks}  # at most what was under way
    for what, most in repeated.items():
        assert stopped.calls[what] - whole.laboratory.calls[what] <= (most if when.startswith(what) else 0)


def test_a_settled_loop_does_nothing_more(whole: Whole) -> None:
    calls = dict(whole.laboratory.calls)
    assert run(whole.laboratory, whole.folder) == whole.journal
    assert run(whole.laboratory, whole.folder, replace(SHORT, rounds=30)).rounds == whole.journal.rounds
    assert whole.laboratory.calls == calls


def test_another_loop_does_not_enter_the_folder(whole: Whole, tmp_path: Path) -> None:
    laboratory = whole.laboratory
    with pytest.raises(InputError, match="another --temperatures"):
        run(laboratory, whole.folder, replace(SHORT, temperatures=(310.0,)))
    with pytest.raises(InputError, match="other data"):
        learn(laboratory.start(), laboratory.data(3), SHORT, whole.folder, laboratory.means)
    with pytest.raises(InputError, match="another model"):
        learn(laboratory.teacher, laboratory.data(), SHORT, whole.folder, laboratory.means)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files"):
        run(laboratory, tmp_path / "mine")
    with pytest.raises(InputError, match="does not exist"):
        run(laboratory, tmp_path / "no" / "where")


def test_two_commands_do_not_share_a_folder(whole: Whole) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (whole.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another command"):
            run(whole.laboratory, whole.folder)


def test_more_rounds_can_be_given_later(laboratory: Laboratory, tmp_path: Path) -> None:
    one = run(laboratory, tmp_path / "out", replace(SHORT, rounds=1))
    assert (one.stage, len(one.rounds)) == (Stage.ROUNDS_USED, 1)
    more = run(laboratory, tmp_path / "out")
    assert (more.stage, len(more.rounds)) == (Stage.SETTLED, 2)
    assert more.rounds[0] == one.rounds[0]


def test_data_of_another_theory_are_refused_before_anything_runs(laboratory: Laboratory, tmp_path: Path) -> None:
    """Told by the forces, whatever the files say of their theory."""
    (data,) = laboratory.data()
    other = replace(data, forces=1.2 * data.forces, provenance={"source": "other.h5", "theory": "PBE"})
    arguments = (laboratory.start(), [data, other], SHORT, tmp_path / "out", laboratory.means)
    for _ in range(2):  # a second time without a label
        with pytest.raises(InputError, match=r"other\.h5 was labelled by 'PBE': its forces differ by \d+ meV/Å"):
            learn(*arguments)
    assert laboratory.calls["label"] == 2
    laboratory.interrupt = "doubt 1"
    with pytest.raises(Cancelled):  # on the way
        learn(*arguments, mix_theories=True)


def test_one_frame_of_each_theory_is_repeated(laboratory: Laboratory, tmp_path: Path) -> None:
    (data,) = laboratory.data()
    systems = [data, replace(data, provenance={"source": "b.h5"}), replace(data, provenance={"source": "c.h5"}), data]
    checks = compare_theories(systems, laboratory.label, tmp_path)
    assert [check.source for check in checks] == ["data.h5", "b.h5", "c.h5"]
    assert all(check.difference_meV_A < 0.1 for check in checks)


def test_a_model_without_doubt_is_fitted_to_the_data_first(laboratory: Laboratory, tmp_path: Path) -> None:
    means = replace(laboratory.means, tells_doubt=lambda model: model.name != "start")
    journal = learn(laboratory.start(), laboratory.data(), replace(SHORT, rounds=1), tmp_path / "out", means)
    assert journal.fitted_first
    assert [system.n_frames for system in laboratory.fitted[0]] == [4]
    assert load_model(tmp_path / "out" / "round-00" / "model.json").name == "out"


def test_forces_that_would_rule_the_fit_are_left_out_and_counted(laboratory: Laboratory, tmp_path: Path) -> None:
    right = laboratory.label

    def label(frames, output, progress=None):
        from mldsim.dataset import save_frames

        (found,) = right(frames, output, progress)
        if output.name == "fit.h5":
            forces = found.forces.copy()
            forces[0, 0] = 25.0
            found = replace(found, forces=forces)
            save_frames(output, [found], force=True)
        return [found]

    means = replace(laboratory.means, label=label)
    journal = learn(laboratory.start(), laboratory.data(), replace(SHORT, rounds=1), tmp_path / "out", means)
    first = journal.rounds[0]
    assert (first.chosen, first.left_out, first.new_before.frames) == (2, 1, 1)
    assert max(np.abs(system.forces).max() for system in laboratory.fitted[-1]) < 20.0


def test_a_round_without_a_held_out_label_goes_on(laboratory: Laboratory, tmp_path: Path) -> None:
    """Wave functions of a few frames may all fail to converge."""

    def label(frames, output, progress=None):
        if output.name == "held-out.h5":
            raise NothingLabelled("No label can be used.")
        return laboratory.label(frames, output, progress)

    means = replace(laboratory.means, label=label)
    journal = learn(laboratory.start(), laboratory.data(), replace(SHORT, rounds=1), tmp_path / "out", means)
    (entry,) = journal.rounds
    assert (entry.left_out, entry.held_out_after, entry.new_after.frames) == (2, None, 2)


def test_runs_that_leave_nothing_to_label_are_told(laboratory: Laboratory, tmp_path: Path) -> None:
    spoilt = replace(laboratory.start(), linear=np.full_like(laboratory.start().linear, 1e19))
    with pytest.raises(WorkFailed, match=r"round 1 gave no frame that could be labelled.*300 K and 1 g/cm³"):
        learn(spoilt, laboratory.data(), SHORT, tmp_path / "out", laboratory.means)


def test_a_file_that_was_changed_is_not_believed(laboratory: Laboratory, tmp_path: Path) -> None:
    laboratory.interrupt = "label 3"
    with pytest.raises(Cancelled):
        run(laboratory, tmp_path / "out", replace(SHORT, rounds=1))
    folder = tmp_path / "out"
    journal = json.loads((folder / "journal.json").read_text())
    assert journal["rounds"][0]["chosen"] is not None
    journal["rounds"][0]["chosen"] = journal["rounds"][0]["drawn"] = None
    (folder / "journal.json").write_text(json.dumps(journal))
    (folder / "round-01" / "run-01.xyz").write_text("")
    with pytest.raises(InputError, match=r"run-01\.xyz holds 0 frames"):
        run(laboratory, folder, replace(SHORT, rounds=1))
