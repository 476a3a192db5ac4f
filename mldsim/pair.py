"""Two simulations side by side, by turns in one thread: from the same start, each with its own loss.

`Pair` is one engine. Time steps, parameters and what a hand does go to both; what is shown, recorded and analysed
is the first one, and its frames carry the other. The edit of the loss in the parameters is that of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mldsim import units
from mldsim.checkpoint import Checkpoint
from mldsim.delivery import Delivery
from mldsim.edits import LossEdit
from mldsim.errors import InputError, LeftPhysics
from mldsim.frames import Beside, Frame, Topology
from mldsim.parameters import Parameters, Setup

if TYPE_CHECKING:
    from mldsim.doubt import Doubt
    from mldsim.simulation import Simulation

KEPT_EVERY = 100
"""Steps between two states that both go back to when one leaves physics; the last but one is taken."""

ONE_AT_A_TIME = "Of two simulations beside each other agents stay the same; end the comparison first."


class Pair:
    """The first simulation and another that starts where it stands; implements `messages.Engine`.

    Parameters
    ----------
    first : Simulation
    model : str
        Of the other: the name of a shipped model or a file.
    edit : LossEdit
        What is changed of it.

    Raises
    ------
    InputError
        If the model cannot be used here.
    """

    def __init__(self, first: Simulation, model: str, edit: LossEdit) -> None:
        self.first, self._model, self._edit = first, model, edit
        self.second = first.twin(model, edit)
        self._keep()

    def _keep(self) -> None:
        self._newer = (self.first.checkpoint(), self.second.checkpoint())
        self._older = self._newer
        self._since = 0

    # -- what is shown is the first

    @property
    def topology(self) -> Topology:
        return self.first.topology

    @property
    def parameters(self) -> Parameters:
        return self.first.parameters

    @property
    def setup(self) -> Setup:
        return self.first.setup

    @property
    def device(self) -> str:
        return self.first.device

    @property
    def device_reason(self) -> str:
        return self.first.device_reason

    @property
    def model_name(self) -> str:
        return self.first.model_name

    @property
    def model_card(self) -> Mapping[str, object]:
        return self.first.model_card

    def frame(self) -> Frame:
        """Of the first, with that of the other beside it."""
        return self.send_frame().wait()

    def send_frame(self) -> Delivery[Frame]:
        """The same, while the run may go on."""
        name = self.second.model_name
        both = self.first.send_frame().beside(self.second.send_frame())
        return both.then(lambda frames: replace(frames[0], beside=Beside(name, frames[1])))

    def checkpoint(self) -> Checkpoint:
        """Of the first."""
        return self.first.checkpoint()

    def judge(self) -> Doubt:
        """Of the first."""
        return self.first.judge()

    # -- what is done to both

    def advance(self, steps: int) -> None:
        """Take `steps` time steps with each.

        Raises
        ------
        LeftPhysics
            When one of them leaves physics; both are then back at one earlier time.
        """
        while steps > 0:
            if self._since >= KEPT_EVERY:
                self._older, self._newer = self._newer, (self.first.checkpoint(), self.second.checkpoint())
                self._since = 0
            portion = min(steps, KEPT_EVERY - self._since)
            for one in (self.first, self.second):
                try:
                    one.advance(portion)
                except LeftPhysics as error:
                    why = f"{one.model_name}: {str(error).split(';')[0]}"
                    for other, kept in zip((self.first, self.second), self._older, strict=True):
                        other.restore(kept)
                    self._keep()
                    raise LeftPhysics(f"{why}; both are back at {units.format_time(self.first.state.time)}.") from None
            self._since += portion
            steps -= portion

    def set_parameters(self, parameters: Parameters) -> Parameters:
        """To both, but for the edit of the loss."""
        applied = self.first.set_parameters(parameters)
        self.second.set_parameters(replace(applied, loss=self._edit))
        self._keep()
        return applied

    def quench(self, steps: int) -> bool:
        """Descend both losses; True when both are at a minimum."""
        done = [one.quench(steps) for one in (self.first, self.second)]
        self._keep()
        return all(done)

    def new_velocities(self) -> None:
        """The same new velocities for both."""
        self.first.new_velocities()
        self.second.take_velocities(self.first.state.velocities)
        self._keep()

    def pull(self, agent: int, target: NDArray[np.float64]) -> None:
        """In both to the same place."""
        for one in (self.first, self.second):
            one.pull(agent, target)

    def release(self) -> None:
        for one in (self.first, self.second):
            one.release()
        self._keep()

    def heat(self, agents: NDArray[np.int64], factor: float) -> None:
        for one in (self.first, self.second):
            one.heat(agents, factor)
        self._keep()

    def kick(self, agent: int, velocity: NDArray[np.float64]) -> None:
        for one in (self.first, self.second):
            one.kick(agent, velocity)
        self._keep()

    def reset(self) -> None:
        """Both to the start of the first."""
        self.first.reset()
        self.second = self.first.twin(self._model, self._edit)
        self._keep()

    def set_model(self, name_or_path: str | Path) -> None:
        """Of the first."""
        self.first.set_model(name_or_path)
        self._keep()

    def go_to(self, frame: Frame) -> None:
        """Both to an earlier frame that has the other beside it."""
        if frame.beside is None:
            raise InputError("The frame is of one simulation alone; end the comparison to go back to it.")
        self.first.go_to(frame)
        self.second.go_to(frame.beside.frame)
        self._keep()

    # -- what is not done to two

    def remove_molecule(self, agent: int) -> None:  # noqa: ARG002
        raise InputError(ONE_AT_A_TIME)

    def add_molecule(self, near: NDArray[np.float64] | None = None) -> None:  # noqa: ARG002
        raise InputError(ONE_AT_A_TIME)

    def take_back(self) -> None:
        raise InputError(ONE_AT_A_TIME)

    def with_beside(self, model: str, edit: LossEdit) -> Pair:
        """The first with another one beside it."""
        return Pair(self.first, model, edit)

    def alone(self) -> Simulation:
        """The first."""
        return self.first
