"""Hydrogen bonds that are seen: as lines, and as the colour of molecules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject

from mldsim.analysis.water import HydrogenBonds
from mldsim.errors import MldsimError
from mldsim.frames import Frame, Topology
from mldsim.gui.errand import Errand
from mldsim.gui.viewport.molecules import Molecules

Pairs = NDArray[np.intp]


class BondCount:
    """The hydrogen bonds of a system, found beside the window as often as is cheap.

    Parameters
    ----------
    topology : Topology
    molecules : Molecules
    changed : callable
        Told that newer ones were found.
    owner : QObject
        What shows them.
    """

    def __init__(self, topology: Topology, molecules: Molecules, changed: Callable[[], None], owner: QObject) -> None:
        self._finder = HydrogenBonds(topology)
        self._molecules = molecules
        self._changed = changed
        self._errand: Errand[Pairs] = Errand(self._take, owner)
        self._seen: Frame | None = None
        self._pairs: Pairs = np.empty((0, 2), np.intp)
        self._tells = True

    def pairs(self, frame: Frame) -> Pairs:
        """The hydrogen and the accepting oxygen of every bond, (n_bonds, 2); of this frame or of one before it."""
        if frame is not self._seen:
            self._seen = frame
            self._errand.ask(partial(self._finder.pairs, frame))
        return self._pairs

    def find(self, frame: Frame) -> None:
        """Find those of this frame now, as a picture that is saved needs them."""
        self._seen = frame
        self._errand.forget()
        try:
            self._keep(self._finder.pairs(frame))
        except MldsimError:  # the box is too small to tell
            self._keep(None)

    def forget(self) -> None:
        """There is another system."""
        self._errand.forget()

    def of_molecules(self, frame: Frame) -> NDArray[np.float64]:
        """How many bonds each agent's molecule takes part in, (n_agents,) float64; NaN where one cannot tell."""
        molecule = self._molecules.molecule
        ends = molecule[self.pairs(frame).ravel()]
        if not self._tells:
            return np.full(len(molecule), np.nan)
        return np.bincount(ends, minlength=len(self._molecules.reference))[molecule].astype(float)

    # --- inside ---

    def _take(self, found: Pairs | MldsimError) -> None:
        self._keep(None if isinstance(found, MldsimError) else found)
        self._changed()

    def _keep(self, pairs: Pairs | None) -> None:
        self._tells = pairs is not None
        self._pairs = np.empty((0, 2), np.intp) if pairs is None else pairs
