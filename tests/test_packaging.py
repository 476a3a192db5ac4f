"""What a user gets by installing: every package, every data file, the command, and imports that stay light."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mldsim

RunPython = Callable[..., subprocess.CompletedProcess[str]]

#: Folder in the checkout, and the package that it is installed as.
ROOMS = {"mldsim": "mldsim", "gui": "mldsim.gui", "kernels": "mldsim.kernels", "assets": "mldsim.assets"}
LARGEST_ASSETS = 15e6  # bytes in all


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


def package_folders(repository: Path) -> dict[str, Path]:
    """Packages of the checkout by the name they are imported by."""
    return {
        ".".join((package, *init.parent.relative_to(repository / room).parts)): init.parent
        for room, package in ROOMS.items()
        for init in (repository / room).rglob("__init__.py")
    }


def shipped_files(repository: Path) -> set[str]:
    """Paths that an installation holds: every module, and the data of the assets."""
    files = set()
    for room, package in ROOMS.items():
        for path in (repository / room).rglob("*"):
            if path.suffix in {".py", ".json", ".h5", ".svg", ".png", ".typed"} and "__pycache__" not in path.parts:
                files.add("/".join((package.replace(".", "/"), path.relative_to(repository / room).as_posix())))
    return files


def test_every_folder_of_modules_is_a_listed_package(repository: Path, pyproject: dict[str, Any]) -> None:
    folders = package_folders(repository)
    assert set(pyproject["tool"]["setuptools"]["packages"]) == set(folders)
    for room in ROOMS:
        for module in (repository / room).rglob("*.py"):
            assert module.parent in folders.values(), f"{module} lies in a folder without __init__.py"


def test_every_asset_is_packaged_and_the_sum_stays_small(repository: Path, pyproject: dict[str, Any]) -> None:
    patterns = pyproject["tool"]["setuptools"]["package-data"]
    size = 0
    for package, folder in package_folders(repository).items():
        if not package.startswith("mldsim.assets"):
            continue
        for path in folder.iterdir():
            if path.is_file() and path.suffix not in {".py", ".md"}:
                assert any(path.match(pattern) for pattern in patterns[package]), f"{path} would not be installed"
                size += path.stat().st_size
    assert size < LARGEST_ASSETS


def test_the_changelog_names_this_version(repository: Path) -> None:
    assert f"## [{mldsim.__version__}]" in (repository / "CHANGELOG.md").read_text(encoding="utf-8")


def test_only_the_gui_loads_a_graphical_toolkit(repository: Path, run_python: RunPython) -> None:
    """Import every module outside gui/ where Qt, vispy and pyqtgraph cannot be imported."""
    names = []
    for room in ("mldsim", "kernels"):
        for path in sorted((repository / room).rglob("*.py")):
            parts = path.relative_to(repository / room).with_suffix("").parts
            if parts[-1] not in {"__init__", "__main__"}:
                names.append(".".join((ROOMS[room], *parts)))
    code = f"import importlib\nfor name in {names!r}: importlib.import_module(name)"
    run = run_python("-c", BLOCK_TOOLKITS + code, NUMBA_ENABLE_CUDASIM="1")  # what is for a GPU needs CuPy otherwise
    assert run.returncode == 0, run.stderr


BLOCK_TOOLKITS = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"PySide6", "shiboken6", "vispy", "pyqtgraph"}:
            raise ImportError(f"{name} is not installed here")
sys.meta_path.insert(0, Block())
"""

#: Slow to import, or graphical: nothing that a command line needs to print its help.
HEAVY = {"numba", "scipy", "ase", "matplotlib", "h5py", "PySide6", "vispy", "pyqtgraph", "MDAnalysis", "cupy"}


def loaded_by(run_python: RunPython, statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = run_python("-c", code)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


def test_importing_mldsim_imports_nothing_heavy(run_python: RunPython) -> None:
    assert not loaded_by(run_python, "import mldsim") & {*HEAVY, "numpy", "pydantic", "rich"}


def test_importing_the_command_line_imports_nothing_heavy(run_python: RunPython) -> None:
    assert not loaded_by(run_python, "import mldsim.cli") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models"], ["devices"], ["run", "--help"]])
def test_commands_work_where_there_is_no_qt(run_python: RunPython, arguments: list[str]) -> None:
    run = run_python("-c", BLOCK_TOOLKITS + RUN_MLDSIM, *arguments)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


def test_the_window_without_qt_is_one_sentence(run_python: RunPython) -> None:
    run = run_python("-c", BLOCK_TOOLKITS + RUN_MLDSIM, "--paused", "--quit-after", "1")
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    assert "PySide6" in run.stderr


RUN_MLDSIM = """
import runpy
sys.argv[0] = "mldsim"
runpy.run_module("mldsim", run_name="__main__")
"""


@pytest.fixture(scope="module")
def wheel_and_sdist(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of this checkout and the wheel built from that sdist, as a package index would have them."""
    if importlib.util.find_spec("setuptools.command.bdist_wheel") is None:
        pytest.skip("building needs setuptools >= 77, which the test extra installs")
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for room in ROOMS:
        shutil.copytree(repository / room, source / room, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(repository / name, source)
    sdist = folder / build("build_sdist", source, folder)
    with tarfile.open(sdist) as archive:
        # Python 3.11 has the filter from its fourth patch on; Debian 12 has the second.
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / build("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder), sdist


def build(hook: str, source: Path, output: Path) -> str:
    code = f"from setuptools import build_meta; print(build_meta.{hook}({str(output)!r}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()[-1]


def test_the_wheel_holds_every_module_and_asset(repository: Path, wheel_and_sdist: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(wheel_and_sdist[0]) as wheel:
        names = {name for name in wheel.namelist() if name.startswith("mldsim/")}
    assert names == shipped_files(repository)


def test_the_installed_wheel_works_away_from_the_checkout(
    repository: Path, wheel_and_sdist: tuple[Path, Path], tmp_path: Path, run_python: RunPython
) -> None:
    site = tmp_path / "site"
    pip = run_python(
        "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index",
        "--target", str(site), str(wheel_and_sdist[0]),
    )  # fmt: skip
    assert pip.returncode == 0, pip.stderr
    code = "import mldsim.gui, mldsim.kernels, mldsim.assets as a; print(mldsim.gui.__file__, a.__file__)"
    run = run_python("-P", "-c", code, PYTHONPATH=str(site))
    assert run.returncode == 0, run.stderr
    assert run.stdout.count(str(site)) == 2
    assert str(repository) not in run.stdout

    script = next((site / "bin").glob("mldsim*"), None) or next((site / "Scripts").glob("mldsim*"))
    for command in ([str(script)], [sys.executable, "-P", "-m", "mldsim"]):
        version = subprocess.run(
            [*command, "--version"], env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True
        )
        assert version.returncode == 0, version.stderr
        assert mldsim.__version__ in version.stdout
