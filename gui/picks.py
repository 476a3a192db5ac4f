"""Picked agents: joins the view, where they are clicked, to the panel that tells of them and to their plots."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mldsim.dissection import dissect
from mldsim.edits import FITTED, LossEdit
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Topology
from mldsim.gui.panels.agents import AgentsPanel
from mldsim.gui.picked import Reading, figure, pick, region
from mldsim.gui.plots.tracks import TrackPlots
from mldsim.gui.viewport import Viewport
from mldsim.loss import LossModel
from mldsim.molecules import molecules_of

TEXT_INTERVAL = 0.2
"""Seconds between two updates of numbers: faster, and they cannot be read."""

SHARE = 0.1
"""Of the window's time that taking a loss apart may cost."""


class Picks:
    """The 3-D view with what is picked in it: the stage of a controller.

    Parameters
    ----------
    viewport : Viewport
    panel : AgentsPanel
    tracks : TrackPlots
    model : callable
        The loss model that the agents descend, as it was fitted; raises MldsimError where there is none.
    clock : callable
        Seconds, monotonic.
    edit : callable
        What is changed of the loss now.
    """

    def __init__(
        self,
        viewport: Viewport,
        panel: AgentsPanel,
        tracks: TrackPlots,
        model: Callable[[], LossModel],
        clock: Callable[[], float] = time.perf_counter,
        edit: Callable[[], LossEdit] = lambda: FITTED,
    ) -> None:
        self._viewport, self._panel, self._tracks = viewport, panel, tracks
        self._model_now, self._edit_now = model, edit
        self._clock = clock
        self._model: LossModel | None = None
        self._topology: Topology | None = None
        self._frame: Frame | None = None
        self._numbers_at = self._parts_at = -np.inf
        self.picked: tuple[int, ...] = ()
        viewport.clicked.connect(lambda agent: self.pick(pick(self.picked, agent, add=False)))
        viewport.added.connect(lambda agent: self.pick(pick(self.picked, agent, add=True)))
        panel.found.connect(lambda agent: self.pick((agent,)))
        panel.cleared.connect(self.clear)
        panel.plot_asked.connect(self.follow)

    # --- the stage of the controller ---

    def set_topology(self, topology: Topology, box: NDArray[np.float64]) -> None:
        """Another system, or another model of the same one: then what is picked stays."""
        same = self._topology is not None and np.array_equal(self._topology.species, topology.species)
        self._topology = topology
        self._model = None
        self._frame = None
        self._viewport.set_topology(topology, box)
        kept = self.picked if same else ()
        self._panel.set_topology(topology)
        if not same:
            self._tracks.clear()
        self.pick(kept)

    def set_frame(self, frame: Frame) -> None:
        self._frame = frame
        self._viewport.set_frame(frame)
        self._tracks.take(frame)
        if self._clock() - self._numbers_at >= TEXT_INTERVAL:
            self._show_numbers(frame)

    def message(self, text: str | None) -> None:
        self._viewport.message(text)

    @property
    def frames_drawn(self) -> int:
        """How many pictures the view has drawn."""
        return self._viewport.frames_drawn

    # --- what the user does ---

    def pick(self, picked: tuple[int, ...]) -> None:
        """Pick these agents and no others."""
        topology = self._topology
        if topology is None or any(agent >= topology.n_agents for agent in picked):
            picked = ()
        self.picked = picked
        self._viewport.mark(picked, figure(topology, picked) if topology is not None else None)
        self._panel.show_picked(picked)
        self._numbers_at = self._parts_at = -np.inf
        if self._frame is not None:
            self._show_numbers(self._frame)

    def clear(self) -> None:
        """Pick nothing."""
        self.pick(())

    def around(self) -> tuple[int, ...]:
        """The agents in the region of the last one that is picked; all of them where nothing is."""
        topology, frame = self._topology, self._frame
        if topology is None or frame is None:
            return ()
        if not self.picked:
            return tuple(range(topology.n_agents))
        molecule = molecules_of(topology.n_agents, topology.bonds).astype(np.int64)
        return region(molecule, frame, self.picked[-1], self._panel.radius.value())

    def follow(self, reading: Reading) -> None:
        """Plot a number over time."""
        self._tracks.follow(reading)
        if self._frame is not None:
            self._tracks.take(self._frame)
            self._tracks.draw()

    # --- inside ---

    def _show_numbers(self, frame: Frame) -> None:
        now = self._clock()
        self._numbers_at = now
        self._tracks.draw()
        if not self.picked or not self._panel.isVisible():
            return
        self._panel.show_frame(frame)
        if now < self._parts_at:
            return
        self._show_parts(frame)
        after = self._clock()
        self._parts_at = after + (after - now) * (1.0 / SHARE - 1.0)

    def _show_parts(self, frame: Frame) -> None:
        topology = self._topology
        assert topology is not None
        try:
            if self._model is None:
                self._model = self._model_now()
            model = self._edit_now().of(self._model)
            if model.symbols == topology.symbols and (frame.box >= model.cutoff).all():
                parts = dissect(model, topology.species, frame.positions, frame.box, self.picked[-1])
                self._panel.show_dissection(parts)
                return
        except MldsimError:  # the file of the model went away
            pass
        self._panel.show_dissection(None)
