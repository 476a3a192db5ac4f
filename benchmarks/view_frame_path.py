"""What a frame costs the window's thread before the graphics driver draws it: whole molecules, colours, the upload.

Run it on a display: ``python benchmarks/view_frame_path.py``, without a screen ``xvfb-run python ...``.
"""

from __future__ import annotations

import time

import numpy as np
from PySide6.QtWidgets import QApplication

from mldsim.frames import Frame, ThermoRow, Topology
from mldsim.gui.viewport import Colouring, Viewport

REPEATS = 60
AGENTS = (192, 3_000, 30_000, 100_000)


def water(n_molecules: int) -> tuple[Topology, Frame]:
    rng = np.random.default_rng(0)
    edge = 3.1 * n_molecules ** (1 / 3)
    species = np.tile([0, 1, 1], n_molecules).astype(np.int32)
    first = 3 * np.arange(n_molecules, dtype=np.int32)
    bonds = np.concatenate([np.stack([first, first + k], axis=1) for k in (1, 2)])
    oxygen = rng.uniform(-2 * edge, 3 * edge, (n_molecules, 1, 3))  # unwrapped: far from the box, as after a long run
    positions = (oxygen + rng.uniform(-0.7, 0.7, (n_molecules, 3, 3))).reshape(-1, 3)
    zeros = np.zeros_like(positions)
    frame = Frame(
        0, 0.0, np.full(3, edge), positions, zeros, zeros, rng.normal(size=len(species)), ThermoRow(*[0.0] * 9)
    )
    return Topology(("O", "H"), species, np.where(species == 0, 15.999, 1.008), bonds), frame


def milliseconds(viewport: Viewport, frame: Frame) -> tuple[float, float]:
    """Median and 95th percentile of the frame path, the handing over to the driver included, its drawing not."""
    canvas = viewport._canvas
    if canvas is None:
        raise SystemExit("There is no OpenGL on this display.")
    canvas.native.setUpdatesEnabled(False)
    taken = []
    for _ in range(REPEATS):
        canvas.set_current()
        begin = time.perf_counter()
        viewport.set_frame(frame)
        canvas.context.flush_commands()
        taken.append(1e3 * (time.perf_counter() - begin))
    canvas.native.setUpdatesEnabled(True)
    return float(np.median(taken)), float(np.percentile(taken, 95))


def main() -> None:
    app = QApplication([])
    viewport = Viewport()
    viewport.widget.resize(320, 240)
    viewport.widget.show()
    print("agents   colouring   median ms   p95 ms")
    for n_agents in AGENTS:
        topology, frame = water(n_agents // 3)
        viewport.set_topology(topology, frame.box)
        for colouring in Colouring:
            viewport.set_colouring(colouring)
            viewport.set_frame(frame)
            for _ in range(3):
                app.processEvents()
            median, slow = milliseconds(viewport, frame)
            print(f"{topology.n_agents:6d}   {colouring.value:9s}   {median:9.3f}   {slow:6.3f}", flush=True)


if __name__ == "__main__":
    main()
