from collections.abc import Callable

import numpy as np
import pytest
from tqdm import tqdm

from mldsim.frames import Frame, ThermoRow


@pytest.fixture
def make_frame() -> Callable[..., Frame]:
    """A frame of which only some things are known; the rest is not a number, as from a file that lacks it."""

    def make(positions, box=(100.0, 100.0, 100.0), *, velocities=None, time=0.0, conserved=np.nan) -> Frame:
        positions = np.asarray(positions, np.float64)
        unknown = np.full(positions.shape, np.nan)
        thermo = ThermoRow(time, *[np.nan] * 5, conserved, np.nan, np.nan)
        velocities = unknown if velocities is None else np.asarray(velocities, np.float64)
        return Frame(0, time, np.array(box, np.float64), positions, velocities, unknown, unknown[:, 0], thermo)

    return make


@pytest.fixture(autouse=True)
def _no_monitor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress bars of MDAnalysis would leave a thread behind."""
    monkeypatch.setattr(tqdm, "monitor_interval", 0)
