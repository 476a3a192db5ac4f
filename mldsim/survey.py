"""The analyses of a whole trajectory, in the background: those of a run that goes, over frames that are there already.

`Survey` has the face of `mldsim.averages.Analyst`, so that the panel that shows findings need not know which it is.
"""

from __future__ import annotations

import logging
import math
import threading
import time as clock
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mldsim import observables, units
from mldsim.analysis.periodic import nearest
from mldsim.averages import PUBLISH_EVERY, Averages, Findings, Reference, shipped_reference
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Sample, SampleSeries, Topology
from mldsim.parameters import ThermostatKind
from mldsim.thermostats import degrees_of_freedom
from mldsim.trajectory.sources import Footage

Array = NDArray[np.float64]

logger = logging.getLogger(__name__)

SHARE = 0.5
"""Of the time of one core: the window needs the interpreter too."""

_EVEN = 0.01
"""Of an interval: what two frames may be further apart or closer and still follow each other."""


class Survey:
    """Averages all frames of footage, one after the other, in a thread of its own.

    Parameters
    ----------
    footage : Footage
        Belongs to the survey from now on.
    reference : callable
        As for `Analyst`.
    """

    def __init__(
        self, footage: Footage, reference: Callable[[Callable[[], bool]], Reference] = shipped_reference
    ) -> None:
        self._footage = footage
        self._make_reference = reference
        self._findings = Findings(comparison="The CP2K reference is being measured.", part=0.0)
        self._version = 0
        self._closing = threading.Event()
        self._wanted = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mldsim-survey", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the file."""
        self._closing.set()
        self._wanted.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._footage.close()

    def listen(self, wanted: bool) -> None:
        """Go on, or rest: what was averaged stays."""
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()

    def restart(self) -> None:
        """There is nothing to forget: it is always the whole trajectory."""

    @property
    def version(self) -> int:
        """Changes with the findings."""
        return self._version

    def findings(self) -> Findings:
        """The newest."""
        return self._findings

    # --- the thread's own ---

    def _work(self) -> None:
        try:
            self._measure()
        except MldsimError as error:
            self._publish(Findings(comparison=str(error)))
        except Exception as error:  # a thread's exception would be lost
            logger.error("survey", exc_info=error)
            self._publish(Findings(comparison=f"The analyses stopped at an internal error ({error}); see the log."))

    def _measure(self) -> None:
        if not self._goes_on():
            return
        footage, reference = self._footage, self._make_reference(self._closing.is_set)
        topology, interval = footage.topology, footage.interval
        first = footage.frame(0)
        moving = bool(np.isfinite(first.velocities).all())
        series = SampleSeries(topology, interval, 0.0, thermostatted=False)
        averages = Averages(series, first.box, reference, velocities=moving)
        unwrap = _Unwrapped() if not footage.unwrapped else None
        published = clock.monotonic()
        for index in range(footage.n_frames):
            if not self._goes_on():
                return
            began = clock.thread_time()
            frame = footage.frame(index)
            follows = index > 0 and abs(footage.times[index] - footage.times[index - 1] - interval) <= _EVEN * interval
            frame = _with_temperature(unwrap.frame(frame) if unwrap is not None else frame, topology)
            averages.add(Sample(series, frame, follows))
            if clock.monotonic() - published >= PUBLISH_EVERY:
                self._publish(replace(averages.findings(), part=(index + 1) / footage.n_frames))
                published = clock.monotonic()
            self._closing.wait((clock.thread_time() - began) * (1.0 / SHARE - 1.0))
        self._publish(averages.findings())

    def _goes_on(self) -> bool:
        """Wait while nobody wants it; False when it is to end."""
        self._wanted.wait()
        return not self._closing.is_set()

    def _publish(self, findings: Findings) -> None:
        self._findings = findings
        self._version += 1


class _Unwrapped:
    """Positions that go on over the edge of the box, from frames that were folded into it."""

    def __init__(self) -> None:
        self._last: Array | None = None

    def frame(self, frame: Frame) -> Frame:
        """The frame with every agent in the image nearest to where it was last."""
        positions = frame.positions
        if self._last is not None:
            positions = self._last + nearest(positions - self._last, frame.box)
        self._last = positions
        return replace(frame, positions=positions)


def _with_temperature(frame: Frame, topology: Topology) -> Frame:
    """The frame with the temperature of its velocities, where the file tells none."""
    if math.isfinite(frame.thermo.temperature) or not np.isfinite(frame.velocities).all():
        return frame
    kinetic = 0.5 * units.MASS * float((topology.masses[:, None] * frame.velocities**2).sum())
    freedoms = degrees_of_freedom(ThermostatKind.NONE, topology.n_agents, drift_removed=True)
    return replace(frame, thermo=replace(frame.thermo, temperature=observables.temperature(kinetic, freedoms)))
