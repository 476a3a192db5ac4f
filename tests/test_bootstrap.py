"""The set-up from a bare Python: what it installs, what it says when it cannot, and that it works only once."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mldsim import bootstrap

RunPython = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a pyproject.toml and nothing installed, which the bootstrap takes for its own."""
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'mldsim'\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that the set-up runs; environments are made for real, without pip, and nothing is installed."""
    called: list[list[str]] = []
    follow = bootstrap.follow

    def record(command: Sequence[str], show: tuple[str, ...] = ("",)) -> None:
        called.append(list(command))
        if "venv" in command:
            follow([*command, "--without-pip"], show)

    monkeypatch.setattr(bootstrap, "follow", record)
    return called


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that the bootstrap ends in."""
    ends: list[list[str]] = []

    def replace(command: Sequence[str]) -> int:
        ends.append(list(command))
        return 0

    monkeypatch.setattr(bootstrap, "replace_process", replace)
    monkeypatch.setattr(bootstrap.os, "chdir", lambda folder: None)
    return ends


@pytest.fixture
def complete_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "missing_from_system", lambda **needs: bootstrap.Missing([], []))


def bare_system(monkeypatch: pytest.MonkeyPatch, *, root: bool, apt: bool) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(bootstrap, "cannot_load", lambda library: library == "libEGL.so.1")
    monkeypatch.setattr(bootstrap, "is_root", lambda: root)
    monkeypatch.setattr(
        bootstrap.shutil, "which", lambda name: "/usr/bin/apt-get" if apt and name == "apt-get" else None
    )
    monkeypatch.delenv("DISPLAY", raising=False)


def test_needs_the_standard_library_alone(run_python: RunPython, repository: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(repository)!r}); import mldsim.bootstrap as b; b.main(['nonsense'])"
    run = run_python("-I", "-S", "-c", code)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: python3 -m mldsim.bootstrap")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("module", ["bootstrap", "__init__"])
def test_an_old_python_can_read_it_to_say_that_it_is_too_old(repository: Path, module: str) -> None:
    source = (repository / "mldsim" / f"{module}.py").read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    evaluated = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "typing"]
    assert {alias.name for node in evaluated for alias in node.names} <= {"NamedTuple", "NoReturn"}


def test_an_old_python_hands_over_or_names_the_versions(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    monkeypatch.setattr(bootstrap, "supported_python_elsewhere", lambda: None)
    assert bootstrap.main(["run"]) == 1
    assert "Python 3.11 to 3.14 is needed" in capsys.readouterr().err

    monkeypatch.setattr(bootstrap, "supported_python_elsewhere", lambda: "/usr/bin/python3.12")
    assert bootstrap.main(["run", "models"]) == 0
    assert started[0][0] == "/usr/bin/python3.12"
    assert started[0][-2:] == ["run", "models"]


@pytest.mark.parametrize("arguments", [[], ["open"], ["setup", "now"]])
def test_wrong_use_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bootstrap.main(arguments)
    assert "usage:" in capsys.readouterr().err


@pytest.mark.usefixtures("complete_system")
def test_the_environment_is_made_once_and_again_when_pyproject_changes(
    checkout: Path, commands: list[list[str]], started: list[list[str]]
) -> None:
    assert bootstrap.main(["run", "--paused"]) == 0
    make, install = commands
    assert make[1:3] == ["-m", "venv"]
    assert install[-2:] == ["-e", str(checkout)]
    python = str(bootstrap.venv_python(checkout))
    assert started == [[python, "-m", "mldsim", "--paused"]]

    commands.clear()
    assert bootstrap.main(["run"]) == 0
    assert commands == []

    (checkout / "pyproject.toml").write_text("[project]\nname = 'mldsim'\ndependencies = ['numpy']\n")
    assert bootstrap.main(["run"]) == 0
    assert [command[1:3] for command in commands] == [["-m", "ensurepip"], ["-m", "pip"]]


@pytest.mark.usefixtures("complete_system")
def test_test_adds_the_test_tools_and_run_keeps_them(
    checkout: Path, commands: list[list[str]], started: list[list[str]]
) -> None:
    bootstrap.main(["run"])
    bootstrap.main(["test", "-k", "water"])
    assert commands[-1][-1] == f"{checkout}[test]"
    assert started[-1][1:4] == ["-m", "pytest", "-q"]
    assert started[-1][-2:] == ["-k", "water"]
    commands.clear()
    bootstrap.main(["run"])
    assert commands == []


@pytest.mark.usefixtures("complete_system", "started")
def test_a_set_up_that_was_cut_short_or_moved_is_done_again(checkout: Path, commands: list[list[str]]) -> None:
    bootstrap.main(["run"])
    stamp = bootstrap.stamp_file(checkout)
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "root": "/elsewhere"}))
    commands.clear()
    bootstrap.main(["run"])
    assert [command[2] for command in commands] == ["ensurepip", "pip"]

    bootstrap.venv_python(checkout).unlink()
    commands.clear()
    bootstrap.main(["run"])
    assert [command[2] for command in commands] == ["venv", "pip"]


@pytest.mark.usefixtures("complete_system", "started")
@pytest.mark.parametrize(
    ("last_lines", "sentence"),
    [
        (["NewConnectionError: Temporary failure", "ERROR: No matching distribution"], "could not reach the package"),
        (["ERROR: No matching distribution found for PySide6-Essentials", ""], "No matching distribution found for"),
        (["ERROR: Could not install: [Errno 28] No space left on device"], "No space left on device"),
    ],
)
def test_a_failure_of_pip_is_one_sentence_and_no_stamp(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    last_lines: list[str],
    sentence: str,
) -> None:
    follow = bootstrap.follow

    def fail(command: Sequence[str], show: tuple[str, ...] = ("",)) -> None:
        if "pip" in command:
            raise bootstrap.CommandFailed(last_lines)
        follow([*command, "--without-pip"], show)

    monkeypatch.setattr(bootstrap, "follow", fail)
    assert bootstrap.main(["run"]) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not bootstrap.stamp_file(checkout).exists()


@pytest.mark.usefixtures("complete_system")
def test_a_folder_that_cannot_be_written_is_one_sentence(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / ".venv").write_text("a file is in the way")
    assert bootstrap.main(["run"]) == 1
    assert ".venv" in capsys.readouterr().err


def test_root_updates_then_installs_what_is_missing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bare_system(monkeypatch, root=True, apt=True)
    assert bootstrap.main(["test"]) == 1  # the recorded apt-get changes nothing, which is noticed
    assert [command[:2] for command in commands] == [["apt-get", "update"], ["apt-get", "install"]]
    assert {"libegl1", "xvfb"} <= set(commands[1])
    assert "libgl1" not in commands[1]
    assert "still missing" in capsys.readouterr().err


def test_others_are_told_the_line_to_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    bare_system(monkeypatch, root=False, apt=True)
    assert bootstrap.main(["run"]) == 1
    assert "sudo apt-get update && sudo apt-get install -y --no-install-recommends libegl1\n" in capsys.readouterr().err
    assert commands == []


def test_a_system_without_apt_is_told_and_goes_on(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    commands: list[list[str]],
    started: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    bare_system(monkeypatch, root=False, apt=False)
    assert bootstrap.main(["run"]) == 0
    assert "libEGL.so.1" in capsys.readouterr().out
    assert started


def test_a_command_without_a_window_needs_no_window_libraries(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], started: list[list[str]]
) -> None:
    bare_system(monkeypatch, root=False, apt=True)
    assert bootstrap.main(["run", "fit", "--help"]) == 0
    assert started[0][-2:] == ["fit", "--help"]


def test_a_python_without_ensurepip_asks_for_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    bare_system(monkeypatch, root=False, apt=True)
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    missing = bootstrap.missing_from_system(window=False, screen=False, venv=True)
    assert missing.packages == [f"python3.{sys.version_info.minor}-venv"]


def test_a_command_that_fails_keeps_its_last_lines(capsys: pytest.CaptureFixture[str]) -> None:
    code = "print('Downloading a'); print('chatter'); print('ERROR: no luck'); raise SystemExit(3)"
    with pytest.raises(bootstrap.CommandFailed) as failed:
        bootstrap.follow([sys.executable, "-c", code], show=("Downloading",))
    assert failed.value.tail[-1] == "ERROR: no luck"
    assert capsys.readouterr().out == "  Downloading a\n"
    with pytest.raises(bootstrap.CommandFailed):
        bootstrap.follow([os.path.join("no", "such", "program")])
