"""What every test gets: a home of its own, few threads, no screen of the user's, and a check that no thread is left."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mldsim.parameters import DeviceKind

REPOSITORY = Path(__file__).resolve().parent.parent


def _kernel_cache() -> Path:
    """Folder for compiled kernels, one for each state of the kernels' source.

    Numba looks at the file that a function stands in, not at those of the functions it calls, so a cache that outlives
    an edit may serve yesterday's machine code.
    """
    digest = hashlib.sha256()
    for source in sorted((REPOSITORY / "kernels").glob("*.py")):
        digest.update(source.read_bytes())
    return REPOSITORY / "build" / "numba" / digest.hexdigest()[:16]


# Read once, when Numba and Matplotlib are imported: too early for a fixture.
os.environ.setdefault("NUMBA_CACHE_DIR", str(_kernel_cache()))
# Two threads everywhere: races between threads are met on one core, and a sum is split alike on every machine.
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("MPLCONFIGDIR", str(REPOSITORY / "build" / "matplotlib"))
# pytest-xvfb gives an X screen; a Wayland session of the developer must not be taken instead.
os.environ.pop("WAYLAND_DISPLAY", None)

import numpy as np  # noqa: E402
import pytest  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", choices=["cpu", "cuda"], default="cpu", help="where simulations of the tests compute")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that run in several processes: one at a time has a window, and a file's tests share what they compile."""
    for item in items:
        group = "gui" if item.path.is_relative_to(REPOSITORY / "tests" / "gui") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> "DeviceKind":
    """Where simulations compute: on the CPU, or with ``--device cuda`` on a GPU."""
    from mldsim.parameters import DeviceKind

    return DeviceKind(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home folder of this test: settings, caches, recent files and relative paths all land in it."""
    folder = tmp_path_factory.mktemp("home")
    if "XAUTHORITY" not in os.environ:  # a real screen stays reachable with --no-xvfb
        monkeypatch.setenv("XAUTHORITY", str(Path.home() / ".Xauthority"))
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder))
    for name in ("CONFIG", "DATA", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(folder / name.lower()))
    if qt := sys.modules.get("PySide6.QtCore"):  # QSettings remembers the folders it met first
        for file_format in (qt.QSettings.Format.NativeFormat, qt.QSettings.Format.IniFormat):
            qt.QSettings.setPath(file_format, qt.QSettings.Scope.UserScope, str(folder / "config"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_thread_left(home: Path) -> Iterator[None]:
    """A test that starts a thread also ends it."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 3.0
    while left := [thread for thread in threading.enumerate() if _is_ours(thread) and thread not in before]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads still run: {', '.join(thread.name for thread in left)}")
        time.sleep(0.005)


def _is_ours(thread: threading.Thread) -> bool:
    # Threads that C++ started and Python only met in a callback are never seen to end.
    return thread.is_alive() and not isinstance(thread, threading._DummyThread)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(20250414)


@pytest.fixture
def run_python(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python with these arguments in a process of its own, in the test's home; output is captured as text."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **environment},
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
