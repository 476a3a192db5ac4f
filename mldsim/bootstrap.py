"""Set mldsim up in a checkout, then open it or run its tests. Needs Python and nothing else.

::

    python3 -m mldsim.bootstrap run  [mldsim arguments]     open the application, or run one of its commands
    python3 -m mldsim.bootstrap test [pytest arguments]     run the tests
    python3 -m mldsim.bootstrap setup                       prepare what `test` needs and run nothing

Everything that is installed for Python goes to ``.venv`` in the checkout, which is used again until ``pyproject.toml``
changes. Libraries of the system that Qt and OpenGL need are installed with apt when root calls, and named otherwise.

This module runs before anything is installed, perhaps on a Python that is too old, only to say so: it imports the
standard library alone and keeps to the grammar of Python 3.8.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections import deque
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent.parent

OLDEST_PYTHON = (3, 11)
NEWEST_PYTHON = (3, 14)

#: What Qt and OpenGL load at run time, and the Debian package that has it; Ubuntu's names are the same.
WINDOW_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
}

#: The screen that the tests draw on, with the software renderer that it needs.
SCREEN_PACKAGES = ["xvfb", "libgl1-mesa-dri"]

#: Tests run in so many processes; which of them stay together, tests/conftest.py says.
AT_ONCE = ("-n", "auto", "--maxprocesses", "8", "--dist", "loadgroup")


class Mode(Enum):
    """What the user asks for."""

    RUN = "run"
    TEST = "test"
    SETUP = "setup"


class SetupFailed(Exception):
    """The set-up cannot go on; the message is the sentence for the user."""


class CommandFailed(Exception):
    """A command that the set-up called has failed; `tail` holds its last lines."""

    def __init__(self, tail: Sequence[str]) -> None:
        super().__init__("\n".join(tail))
        self.tail = list(tail)


class Missing(NamedTuple):
    """What the system lacks: names for people, and the packages of Debian that bring it."""

    names: list[str]
    packages: list[str]


def say(text: str) -> None:
    """Print one line about what is being done, at once."""
    print("mldsim: " + text, flush=True)


def follow(command: Sequence[str], show: tuple[str, ...] = ("",)) -> None:
    """Run a command without input, pass on its lines that begin with one of `show`, keep the last ones.

    Raises
    ------
    CommandFailed
        When the command cannot be started or does not return 0.
    """
    tail: deque[str] = deque(maxlen=15)
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", PIP_NO_INPUT="1")
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
    except OSError as error:
        raise CommandFailed([str(error)]) from error
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line.rstrip())
            if line.strip().startswith(show):
                print("  " + textwrap.shorten(line, 116, placeholder=" ..."), flush=True)
    if process.returncode:
        raise CommandFailed(tail)


# ----------------------------------------------------------------------------------------------------------------------
# The Python


def is_supported(version: tuple[int, int]) -> bool:
    """Whether mldsim runs on this major and minor version of Python."""
    return OLDEST_PYTHON <= version <= NEWEST_PYTHON


def supported_python_elsewhere() -> str | None:
    """Path of another Python on this machine that mldsim runs on, or None."""
    for minor in range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1):
        found = shutil.which(f"python3.{minor}")
        # A shim of a version manager may be there and still refuse to run.
        if found and subprocess.run([found, "-c", "import venv"], capture_output=True).returncode == 0:
            return found
    return None


def hand_over_to_supported_python(argv: Sequence[str]) -> int:
    """Start this module again on a Python that mldsim supports, and return its exit status.

    Raises
    ------
    SetupFailed
        When there is none on this machine.
    """
    other = supported_python_elsewhere()
    if other is None:
        raise SetupFailed(
            "Python {}.{} to {}.{} is needed and this is {}: install one and use it in place of python3.".format(
                *OLDEST_PYTHON, *NEWEST_PYTHON, sys.version.split()[0]
            )
        )
    say(f"this is Python {sys.version.split()[0]}, going on with {other}")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from mldsim.bootstrap import main; sys.exit(main(sys.argv[1:]))"
    )
    return replace_process([other, "-c", code, *argv])


# ----------------------------------------------------------------------------------------------------------------------
# The system


def cannot_load(library: str) -> bool:
    """Whether the dynamic linker does not find this library."""
    try:
        import ctypes
    except ImportError:  # a Python built without libffi cannot tell
        return False
    try:
        ctypes.CDLL(library)
    except OSError:
        return True
    return False


def missing_from_system(*, window: bool, screen: bool, venv: bool) -> Missing:
    """List what is missing on Linux: libraries for a `window`, a virtual `screen`, the `venv` module's other half."""
    names: list[str] = []
    packages: list[str] = []
    if not sys.platform.startswith("linux"):
        return Missing(names, packages)
    if venv and importlib.util.find_spec("ensurepip") is None:
        names.append("ensurepip")
        packages.append(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if window:
        absent = [library for library in WINDOW_LIBRARIES if cannot_load(library)]
        names += absent
        packages += [WINDOW_LIBRARIES[library] for library in absent]
    if screen and shutil.which("Xvfb") is None:
        names.append("Xvfb")
        packages += SCREEN_PACKAGES
    return Missing(names, packages)


def is_root() -> bool:
    """Whether this process may install packages of the system."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def provide_system(*, window: bool, screen: bool, venv: bool) -> None:
    """Install what the system lacks, or say how.

    Raises
    ------
    SetupFailed
        When something is missing that this process cannot install.
    """
    missing = missing_from_system(window=window, screen=screen, venv=venv)
    if not missing.names:
        return
    if shutil.which("apt-get") is None:
        if "ensurepip" in missing.names:
            raise SetupFailed(f"{sys.executable} has no ensurepip, which makes virtual environments: install it.")
        # Wayland needs fewer of them, so the window may open all the same.
        say(f"not found on this system, and the window may need them: {', '.join(missing.names)}")
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing.packages]
    if not is_root():
        if missing.names == ["Xvfb"] and os.environ.get("DISPLAY"):
            say("Xvfb is not installed, so the tests open their windows on this screen")
            return
        raise SetupFailed(
            "packages of the system are missing; run this line and repeat the command:\n"
            f"    sudo apt-get update && sudo {' '.join(install)}"
        )
    say(f"installing packages of the system: {' '.join(missing.packages)}")
    wait_for_lock = ["-o", "DPkg::Lock::Timeout=120"]
    try:
        follow(["apt-get", "update", "-qq", *wait_for_lock])
        follow([*install, "-qq", *wait_for_lock], show=("Setting up", "E:"))
    except CommandFailed as error:
        raise SetupFailed(
            f"apt-get could not install {' '.join(missing.packages)}: {last_error(error.tail)}"
        ) from error
    importlib.invalidate_caches()
    still = missing_from_system(window=window, screen=screen, venv=venv)
    if still.names:
        raise SetupFailed(f"still missing after apt-get has run: {', '.join(still.names)}.")


# ----------------------------------------------------------------------------------------------------------------------
# The virtual environment


def venv_folder(root: Path) -> Path:
    """Folder of the checkout's virtual environment."""
    return root / ".venv"


def venv_python(root: Path) -> Path:
    """Python of the checkout's virtual environment."""
    return venv_folder(root) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def stamp_file(root: Path) -> Path:
    """Where the set-up notes what it has installed."""
    return venv_folder(root) / "mldsim-setup.json"


def venv_version(root: Path) -> str | None:
    """Version of the environment's Python, or None where it does not run or is not supported."""
    code = "import sys; print(*sys.version_info[:2], sys.version.split()[0])"
    try:
        run = subprocess.run([str(venv_python(root)), "-c", code], capture_output=True, text=True, check=True)
        major, minor, version = run.stdout.split()
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    return version if is_supported((int(major), int(minor))) else None


def read_stamp(root: Path) -> dict[str, object]:
    """What the set-up has noted, empty where it has not finished."""
    try:
        stamp = json.loads(stamp_file(root).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def provide_venv(root: Path, *, test: bool) -> None:
    """Make the virtual environment and install mldsim into it, unless that is done already.

    Raises
    ------
    SetupFailed
        When the environment cannot be made or pip fails.
    """
    version = venv_version(root)
    pyproject = hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()
    stamp = read_stamp(root)
    # An environment that once had the test extra keeps it up to date.
    test = test or (stamp.get("test") is True and version is not None)
    wanted = {"pyproject": pyproject, "root": str(root), "python": version, "test": test}
    if version is not None and stamp == wanted:
        return

    if version is None:
        say(f"making a virtual environment in {venv_folder(root)}")
        make = [sys.executable, "-m", "venv", "--clear", str(venv_folder(root))]
    else:
        make = [str(venv_python(root)), "-m", "ensurepip", "--default-pip"]  # does nothing where pip is there
    with contextlib.suppress(FileNotFoundError):
        stamp_file(root).unlink()
    try:
        follow(make, show=("Error",))
    except CommandFailed as error:
        raise SetupFailed(
            f"the virtual environment {venv_folder(root)} could not be made: {last_error(error.tail)}"
        ) from error

    say("installing mldsim and what it needs" + (", with the test tools" if test else "") + ": some minutes, once")
    target = f"{root}[test]" if test else str(root)
    install = [str(venv_python(root)), "-m", "pip", "install", "--disable-pip-version-check", "-e", target]
    try:
        follow(install, show=("Downloading", "Building wheel", "Installing", "ERROR"))
    except CommandFailed as error:
        raise SetupFailed(explain_pip(error.tail)) from error
    wanted["python"] = venv_version(root)
    stamp_file(root).write_text(json.dumps(wanted), encoding="utf-8")


def last_error(tail: Sequence[str]) -> str:
    """The line of a command's last output that names the error."""
    lines = [line.strip() for line in tail if line.strip()]
    named = [line for line in lines if line.lower().startswith(("error", "e:", "fatal"))]
    return (named or lines or ["it said nothing"])[-1]


def explain_pip(tail: Sequence[str]) -> str:
    """Why pip failed, as one sentence from its last lines."""
    network = ("NewConnectionError", "NameResolutionError", "ConnectTimeout", "ReadTimeout", "ProxyError", "SSLError")
    if any(word in line for line in tail for word in network):
        return "pip could not reach the package index: check the network and the proxy, then repeat the command."
    return f"pip could not install mldsim: {last_error(tail)}"


# ----------------------------------------------------------------------------------------------------------------------


def replace_process(command: Sequence[str]) -> int:
    """Go on as another command, with its exit status. On POSIX it takes this process over, so signals reach it."""
    if os.name == "posix":
        sys.stdout.flush()
        os.execv(command[0], list(command))
    return subprocess.run(list(command)).returncode


def usage_error() -> NoReturn:
    """Tell how this module is called, and leave with status 2."""
    print(
        "usage: python3 -m mldsim.bootstrap run [mldsim arguments] | test [pytest arguments] | setup", file=sys.stderr
    )
    raise SystemExit(2)


def main(argv: Sequence[str]) -> int:
    """Set up, then run what is asked for; return the exit status: 1 when the set-up fails, 2 for wrong use."""
    try:
        mode = Mode(argv[0])
    except (IndexError, ValueError):
        usage_error()
    arguments = list(argv[1:])
    if mode is Mode.SETUP and arguments:
        usage_error()
    test = mode is not Mode.RUN
    # `run fit ...` and its like open no window; the application itself is called by options alone.
    window = test or not arguments or arguments[0].startswith("-")
    try:
        if not is_supported((sys.version_info[0], sys.version_info[1])):
            return hand_over_to_supported_python(argv)
        provide_system(window=window, screen=test, venv=not venv_python(ROOT).exists())
        provide_venv(ROOT, test=test)
    except SetupFailed as error:
        print(f"mldsim: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"mldsim: the set-up cannot go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("mldsim: interrupted; repeat the command to go on.", file=sys.stderr)
        return 130
    python = str(venv_python(ROOT))
    if mode is Mode.RUN:
        return replace_process([python, "-m", "mldsim", *arguments])
    if mode is Mode.TEST:
        os.chdir(ROOT)
        return replace_process([python, "-m", "pytest", "-q", *AT_ONCE, *arguments])
    say(f"ready in {venv_folder(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
