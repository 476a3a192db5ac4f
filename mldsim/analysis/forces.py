"""Errors of forces on labelled frames: of the agents, and of the molecules they make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mldsim.analysis.periodic import nearest
from mldsim.analysis.statistics import BlockMean, Number
from mldsim.files import whole_file
from mldsim.molecules import molecules_of

Array = NDArray[np.float64]

PARTS = ("net force", "torque", "intramolecular")
"""What is made of the forces on a molecule: the force on its centre of mass, the torque about it, and what is left
when the motion of a rigid body is taken off."""

SHOWN = 3000
"""Components of force per species that are kept for a parity plot."""


class ForceSample:
    """A fair sample of the components of labels and forces of each species, for a parity plot.

    Parameters
    ----------
    symbols : sequence of str
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._rng = np.random.default_rng(0)
        self._shown = {symbol: np.empty((0, 3)) for symbol in self.symbols}

    def add(self, names: Sequence[str], labels: Array, forces: Array) -> None:
        """Take one frame: symbol of each agent, labels and forces (n_agents, 3), eV/angstrom."""
        species = np.array([self.symbols.index(name) for name in names])
        for row, symbol in enumerate(self.symbols):
            mine = species == row
            self._keep(symbol, labels[mine].ravel(), forces[mine].ravel())

    def of(self, symbol: str) -> tuple[Array, Array]:
        """Labels and forces of the model, each (at most `SHOWN`,), eV/angstrom."""
        return self._shown[symbol][:, 1], self._shown[symbol][:, 2]

    def _keep(self, symbol: str, labels: Array, forces: Array) -> None:
        """Those with the smallest of random keys stay."""
        new = np.column_stack([self._rng.random(len(labels)), labels, forces])
        together = np.concatenate([self._shown[symbol], new])
        if len(together) > SHOWN:
            together = together[np.argpartition(together[:, 0], SHOWN)[:SHOWN]]
        self._shown[symbol] = together


def write_parity(samples: Mapping[str, ForceSample], path: Path) -> None:
    """Write samples, by the part of the frames that they are of, as comma-separated values: part, species, eV/angstrom.

    Raises
    ------
    WorkFailed
        If the file cannot be written.
    """
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write("part,species,label_eV_A,model_eV_A\n")
        for part, sample in samples.items():
            for symbol in sample.symbols:
                for label, force in zip(*sample.of(symbol), strict=True):
                    file.write(f"{part},{symbol},{label:.6g},{force:.6g}\n")


class ForceComparison:
    """Model against labels, frame by frame.

    The error e_i of the agents of a molecule is divided into the share that accelerates it, m_i/M sum_j e_j; the one
    that turns it, m_i (alpha x r_i) with alpha = I^-1 torque; and the rest, which only deforms it (the orthogonal
    projection in mass-weighted coordinates on translation, rotation and vibration: Wilson, Decius & Cross 1955,
    ch. 2, Eckart's conditions).

    Parameters
    ----------
    symbols : sequence of str
        Species that there are, in the order they are told in.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        n = len(self.symbols) + len(PARTS)
        # Of each species and part: squared error, squared label, number of components.
        self._sums = BlockMean((n, 3))
        self._sample = ForceSample(self.symbols)

    def add(
        self,
        names: Sequence[str],
        masses: Array,
        bonds: NDArray[np.int32],
        positions: Array,
        box: Array,
        labels: Array,
        forces: Array,
    ) -> None:
        """Take one frame.

        Parameters
        ----------
        names : sequence of str
            Symbol of each agent.
        masses : (n_agents,) float64, amu
        bonds : (n_bonds, 2) int32
        positions, labels, forces : (n_agents, 3) float64, angstrom and eV/angstrom
        box : (3,) float64, angstrom
        """
        error = forces - labels
        sample = np.zeros((len(self.symbols) + len(PARTS), 3))
        species = np.array([self.symbols.index(name) for name in names])
        for row in range(len(self.symbols)):
            mine = species == row
            sample[row] = (error[mine] ** 2).sum(), (labels[mine] ** 2).sum(), 3 * mine.sum()
        self._sample.add(names, labels, forces)
        molecule = molecules_of(len(names), bonds)
        in_molecule = np.bincount(molecule)[molecule] > 1
        split = [rigid_parts(molecule, masses, positions, box, values) for values in (error, labels)]
        for row, (wrong, whole) in enumerate(zip(*split, strict=True), start=len(self.symbols)):
            chosen = in_molecule if len(wrong) == len(names) else np.bincount(molecule) > 1
            sample[row] = (wrong[chosen] ** 2).sum(), (whole[chosen] ** 2).sum(), 3 * chosen.sum()
        self._sums.add(sample)

    @property
    def count(self) -> int:
        """Frames so far."""
        return self._sums.count

    def parity(self, symbol: str) -> tuple[Array, Array]:
        """A sample of components: labels and forces of the model, each (at most `SHOWN`,), eV/angstrom."""
        return self._sample.of(symbol)

    def total(self) -> tuple[Number, float]:
        """Root mean square of the error of all components, and of the labels, eV/angstrom."""
        return self._rms(slice(0, len(self.symbols)))

    def of(self, name: str) -> tuple[Number, float]:
        """The same for a species, or for one of `PARTS` (the torque in eV)."""
        row = [*self.symbols, *PARTS].index(name)
        return self._rms(slice(row, row + 1))

    def _rms(self, rows: slice) -> tuple[Number, float]:
        def rms(column: int, sums: Array) -> float:
            squares, count = sums[rows, column].sum(), sums[rows, 2].sum()
            return float(np.sqrt(squares / count)) if count else float("nan")

        return self._sums.number(lambda sums: rms(0, sums)), rms(1, self._sums.mean)


def rigid_parts(
    molecule: NDArray[np.int32], masses: Array, positions: Array, box: Array, forces: Array
) -> tuple[Array, Array, Array]:
    """Net force and torque of each molecule, and what the forces do besides on each agent.

    Parameters
    ----------
    molecule : (n_agents,) int32
        Index of each agent's molecule.
    masses : (n_agents,) float64, amu
    positions : (n_agents, 3) float64, angstrom
    box : (3,) float64, angstrom
    forces : (n_agents, 3) float64, eV/angstrom

    Returns
    -------
    net : (n_molecules, 3) float64, eV/angstrom
    torque : (n_molecules, 3) float64, eV
        About the centre of mass.
    rest : (n_agents, 3) float64, eV/angstrom
    """
    n = int(molecule.max()) + 1

    def summed(values: Array) -> Array:
        return np.stack([np.bincount(molecule, values[:, axis], n) for axis in range(values.shape[1])], axis=1)

    first = np.unique(molecule, return_index=True)[1][molecule]
    arms = nearest(positions - positions[first], box)
    total = np.bincount(molecule, masses, n)
    arms -= (summed(masses[:, None] * arms) / total[:, None])[molecule]
    net, torque = summed(forces), summed(np.cross(arms, forces))
    products = summed((masses[:, None, None] * arms[:, :, None] * arms[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
    inertia = np.trace(products, axis1=1, axis2=2)[:, None, None] * np.eye(3) - products
    # A linear molecule does not turn about its axis: the pseudo-inverse leaves that out.
    turning = np.einsum("nij,nj->ni", np.linalg.pinv(inertia, rcond=1e-9, hermitian=True), torque)
    rigid = masses[:, None] * (net / total[:, None])[molecule]
    rigid += masses[:, None] * np.cross(turning[molecule], arms)
    return net, torque, forces - rigid
