"""Picked agents: joins the view, where they are clicked, to the panel that tells of them and to their plots."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mldsim.dissection import Dissection, dissect
from mldsim.edits import FITTED, LossEdit
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Topology
from mldsim.gui.errand import Errand
from mldsim.gui.panels.agents import AgentsPanel
from mldsim.gui.picked import Reading, figure, pick, region
from mldsim.gui.plots.tracks import TrackPlots
from mldsim.gui.turns import Later, at_once
from mldsim.gui.viewport import Viewport
from mldsim.loss import LossModel
from mldsim.molecules import molecules_of

TEXT_INTERVAL = 0.2
"""Seconds between two updates of numbers: faster, and they cannot be read."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A model as it was fitted, and the loss of an agent taken apart; None where that cannot be done."""

    model: LossModel
    parts: Dissection | None


def take_apart(
    known: LossModel | None,
    load: Callable[[], LossModel],
    edit: LossEdit,
    topology: Topology,
    frame: Frame,
    agent: int,
) -> Apart:
    """Take the loss of an agent apart; raises MldsimError where there is no model."""
    model = known or load()
    edited = edit.of(model)
    if edited.symbols != topology.symbols or (frame.box < edited.cutoff).any():
        return Apart(model, None)
    return Apart(model, dissect(edited, topology.species, frame.positions, frame.box, agent))


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
    later : Later
        Draws numbers and plots when their turn has come.
    """

    def __init__(
        self,
        viewport: Viewport,
        panel: AgentsPanel,
        tracks: TrackPlots,
        model: Callable[[], LossModel],
        clock: Callable[[], float] = time.perf_counter,
        edit: Callable[[], LossEdit] = lambda: FITTED,
        later: Later = at_once,
    ) -> None:
        self._viewport, self._panel, self._tracks = viewport, panel, tracks
        self._model_now, self._edit_now = model, edit
        self._clock, self._later = clock, later
        self._apart: Errand[Apart] = Errand(self._show_apart, panel)
        self._model: LossModel | None = None
        self._topology: Topology | None = None
        self._frame: Frame | None = None
        self._numbered: Frame | None = None
        self._numbers_at = -np.inf
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
        due = self._readable()
        if due:
            self._viewport.read_off()
        self._viewport.set_frame(frame)
        self._tracks.take(frame)
        if due:
            self._show_numbers(frame)

    def read_off(self) -> None:
        """Write the numbers of the newest frame, if they are not: the last frame of a run came too soon after others.

        To be called again and again.
        """
        frame = self._frame
        if frame is not None and frame is not self._numbered and self._readable():
            self.set_frame(frame)

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
        self._numbers_at = -np.inf
        self._apart.forget()
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

    def _readable(self) -> bool:
        """Whether the numbers that stand there have been there for long enough."""
        return self._clock() - self._numbers_at >= TEXT_INTERVAL

    def _show_numbers(self, frame: Frame) -> None:
        self._numbered, self._numbers_at = frame, self._clock()
        self._tracks.draw()
        if self.picked and self._panel.isVisible():
            self._later(self, partial(self._show_picked, self.picked, frame))

    def _show_picked(self, picked: tuple[int, ...], frame: Frame) -> None:
        topology = self._topology
        if picked != self.picked or topology is None:
            return  # another was picked meanwhile
        self._panel.show_frame(frame)
        self._apart.ask(
            partial(take_apart, self._model, self._model_now, self._edit_now(), topology, frame, picked[-1])
        )

    def _show_apart(self, apart: Apart | MldsimError) -> None:
        if isinstance(apart, MldsimError):  # the file of the model went away
            self._panel.show_dissection(None)
        else:
            self._model = apart.model
            self._panel.show_dissection(apart.parts)
