"""How long it takes from the call to the first moving frame, with an empty kernel cache and with a full one.

    python benchmarks/start.py [--model water] [--molecules 64] [--warm 3] [--without-window]

Each start is a process of its own, Python and imports included. The first one finds no compiled kernels (Numba's cache
is a temporary folder), the others find what it left. Seconds of wall time and, because other programs may be running,
of this process's processors; the window needs a display (or ``xvfb-run``).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINE = """
from mldsim.parameters import DeviceKind, Parameters, Setup
from mldsim.simulation import build_simulation
tell("imports")
simulation = build_simulation(Setup(model=MODEL, molecules=MOLECULES, device=DeviceKind.CPU), Parameters(), lambda _: 0)
tell("ready")
simulation.advance(1)
tell("first step")
"""

WINDOW = """
from mldsim.gui import app, main_window
from mldsim.gui.controller import Controller
from mldsim.parameters import DeviceKind, Parameters, Setup
tell("imports")
class Window(main_window.MainWindow):
    def showEvent(self, event):
        super().showEvent(event)
        tell("window there")
main_window.MainWindow = Window
show = Controller._show_frame
def show_frame(self, frame):
    show(self, frame)
    if frame.step and "first moving frame" not in told:
        tell("first moving frame")
        Controller._show_frame = show
        from PySide6.QtCore import QTimer
        QTimer.singleShot(0, QApplication.instance().quit)
Controller._show_frame = show_frame
from PySide6.QtWidgets import QApplication
app.run_window(Setup(model=MODEL, molecules=MOLECULES, device=DeviceKind.CPU), Parameters(), settings=SETTINGS)
"""

PRELUDE = """
import time, os, json
from pathlib import Path
told = {}
def tell(what):
    told.setdefault(what, (time.time() - BEGAN, time.process_time()))
"""


def start(body: str, cache: Path, options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """One start; what was reached after how many seconds of wall and of processor time."""
    constants = (
        f"BEGAN = {time.time()!r}\nMODEL, MOLECULES = {options.model!r}, {options.molecules}\n"
        f"from pathlib import Path\nSETTINGS = Path({str(cache / 'settings.ini')!r})\n"
    )
    source = constants + PRELUDE + body + "\nprint('told', json.dumps(told))\n"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("told ")]
    if not lines:
        sys.exit(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "The start told nothing.")
    return {what: (wall, busy) for what, (wall, busy) in json.loads(lines[-1][5:]).items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="water")
    parser.add_argument("--molecules", type=int, default=64)
    parser.add_argument("--warm", type=int, default=3, help="starts with a full cache")
    parser.add_argument("--without-window", action="store_true")
    options = parser.parse_args()
    bodies = {"without a window": ENGINE} | ({} if options.without_window else {"with a window": WINDOW})
    for name, body in bodies.items():
        with tempfile.TemporaryDirectory() as folder:
            for n in range(1 + options.warm):
                found = start(body, Path(folder), options)
                text = "   ".join(f"{what} {wall:.2f} ({busy:.2f})" for what, (wall, busy) in found.items())
                print(f"{name}, {'warm' if n else 'cold'}: {text}", flush=True)


if __name__ == "__main__":
    main()
