"""The layer contracts of pyproject.toml hold, and each of them fails on the import that it forbids."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def package(repository: Path, tmp_path: Path) -> Path:
    """A copy of the package as it is installed, with gui/, kernels/ and assets/ inside, free to be spoilt."""
    ignore = shutil.ignore_patterns("__pycache__", "*.h5", "*.json")
    package = tmp_path / "mldsim"
    shutil.copytree(repository / "mldsim", package, ignore=ignore)
    for room in ("gui", "kernels", "assets"):
        shutil.copytree(repository / room, package / room, ignore=ignore)
    return package


def check_layers(package: Path, repository: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    config = str(repository / "pyproject.toml")
    return subprocess.run(
        [sys.executable, "-c", code, "--no-logo", "--no-cache", "--config", config],
        cwd=package.parent,
        capture_output=True,
        text=True,
    )


def test_the_layers_hold(package: Path, repository: Path) -> None:
    run = check_layers(package, repository)
    assert run.returncode == 0, run.stdout
    assert "0 broken" in run.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("kernels/reference.py", "from mldsim.units import KB", "kernels import nothing of mldsim but kernels"),
        ("kernels/backend.py", "import mldsim.gui", "kernels import nothing of mldsim but kernels"),
        ("state.py", "def f():\n    from mldsim.gui import app", "only the command line opens the gui"),
        ("units.py", "def f():\n    import mldsim.gui.theme", "only the command line opens the gui"),
        ("runner.py", "from PySide6.QtCore import QObject", "only the gui knows Qt, vispy and pyqtgraph"),
        ("kernels/radial.py", "import vispy.scene", "only the gui knows Qt, vispy and pyqtgraph"),
    ],
)
def test_an_upward_import_breaks_its_contract(
    package: Path, repository: Path, module: str, line: str, contract: str
) -> None:
    path = package / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n\n{line}\n", encoding="utf-8")
    run = check_layers(package, repository)
    assert run.returncode == 1
    assert f"{contract} BROKEN" in run.stdout


def test_the_command_line_may_open_the_gui(package: Path, repository: Path) -> None:
    with (package / "cli" / "window.py").open("a", encoding="utf-8") as cli:
        cli.write("\n\ndef open_window():\n    import mldsim.gui\n    from mldsim.gui import app\n")
    assert check_layers(package, repository).returncode == 0


def test_the_folders_have_one_name(repository: Path, tmp_path: Path) -> None:
    """`import kernels` would load a second copy of every module, or a stranger's package of that name."""
    for statement in ("import kernels", "from gui import app", "import assets.models"):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", str(repository / "pyproject.toml"), "-"],
            input=f'"""A module."""\n\n{statement}\n',
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert "TID251" in run.stdout, run.stdout + run.stderr
