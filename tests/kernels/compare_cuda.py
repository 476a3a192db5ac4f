"""Compare CUDA kernels with the reference and with the CPU; run by test_cuda.py in a process of its own.

Numba chooses between its CUDA target and its simulator when it is imported, so the choice needs a fresh process.
Prints a JSON list, one object for each highest rank: the largest differences, in units of the largest force and loss,
and what the cases covered.
"""

from __future__ import annotations

import json

import numpy as np
from numba import config
from numpy.typing import NDArray

from mldsim.evaluator import Evaluation, Evaluator
from mldsim.kernels import cuda, mutual
from mldsim.kernels.cubic import features
from mldsim.kernels.reference import NotLocal, descend, neighbors_of
from mldsim.loss import Cubic, FittedRanges, Hops, LossModel, Scope, Wall, Waves
from mldsim.parameters import DeviceKind, Precision
from mldsim.radial import water_basis

CUTOFF = 4.3
COMPARED_WITH_CPU = 2
"""The highest rank whose kernels are compared with those of the CPU, too."""
NOT_LOCAL = 1
"""That with the parts that are not local, which do not care about it."""

Array = NDArray[np.float64]


def water(
    n_molecules: int, edges: tuple[float, float, float], rng: np.random.Generator
) -> tuple[Array, NDArray[np.int32], Array]:
    """Molecules of a sensible shape at random places: close enough to meet the wall, never on top of each other."""
    box = np.array(edges)
    oxygen: list[np.ndarray] = []
    while len(oxygen) < n_molecules:
        trial = rng.uniform(0.0, box)
        away = [trial - other - box * np.round((trial - other) / box) for other in oxygen]
        if all(np.linalg.norm(d) > 2.2 for d in away):
            oxygen.append(trial)
    atoms = []
    for center in oxygen:
        frame = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        atoms += [center, center + 0.96 * frame[0], center + 0.96 * (0.97 * frame[1] - 0.25 * frame[0])]
    return np.array(atoms), np.tile(np.array([0, 1, 1], np.int32), n_molecules), box


def compared(max_rank: int) -> dict[str, object]:
    """The largest differences for one highest rank, over both scopes, both precisions and two boxes."""
    if config.ENABLE_CUDASIM:
        # Fewer threads than neighbours, so that a block needs several rounds, the last one ragged.
        cuda.THREADS = 4
    # Few radial functions and channels, because the simulator is slow; where the CPU computes too, as many as in
    # conftest.py, so that its kernels are compiled once for both.
    n_radial, n_channels = (4, 3) if max_rank == COMPARED_WITH_CPU else (3, 2)
    rng = np.random.default_rng(max_rank)
    width = 2 * n_radial
    quadratic = rng.normal(size=(2, max_rank + 1, width, width)) * 0.02
    # The small box is narrower than twice the cutoff on all sides: agents see several images of one neighbour, and
    # themselves. The simulator is slow, so there are few agents, and the other box has one case only.
    small, large = water(2, (4.4, 4.7, 5.1), rng), water(3, (9.0, 9.5, 10.0), rng)
    cases = [(small, scope, precision) for scope in Scope for precision in Precision]
    cases.append((large, Scope.SHARED, Precision.DOUBLE))
    difference = {"reference float32": 0.0, "reference float64": 0.0, "closest": 0.0}
    covered = {"most_neighbors": 0, "images": 0, "wall": False}
    repeats = True
    columns = features(n_channels, max_rank)
    for (positions, species, box), scope, precision in cases:
        # With and without a cubic part, which does not care about the scope, and with those that are not local.
        cubic, parts, not_local = None, {}, NotLocal()
        if scope is Scope.SHARED:
            cubic = Cubic(
                rng.normal(size=(2, max_rank + 1, n_channels, width)) * 0.2, rng.normal(size=(2, n_channels)),
                np.array([1.0, 2.0]), rng.normal(size=(2, len(columns))) * 0.05,
            )  # fmt: skip
            if max_rank == NOT_LOCAL:
                hops, waves = (rng.normal(size=(2, len(mutual.columns(2, n, 2)))) * 0.2 for n in (n_radial, 1))
                parts = {"hops": Hops(hops), "waves": Waves(np.array([0.5]), 1.9, waves)}
                not_local = NotLocal(
                    mutual.strengths(hops, n_radial, 2), mutual.strengths(waves, 1, 2), np.array([0.5]), 1.9
                )
        model = LossModel(
            "test", ("O", "H"), np.array([15.999, 1.008]), scope, 3 if cubic else 2, max_rank,
            water_basis(("O", "H"), n_radial, CUTOFF), Wall(30.0, np.array([[2.6, 1.0], [1.0, 1.7]])),
            rng.normal(size=(2, width)) * 0.1, quadratic + quadratic.transpose(0, 1, 3, 2),
            FittedRanges({}, np.zeros((2, width, 2))), cubic=cubic, **parts,
        )  # fmt: skip
        losses, forces = descend(
            positions, species, box, CUTOFF, model.radial.exponent, model.radial.coefficients, model.linear,
            model.quadratic, model.wall.radius, model.wall.stiffness, scope is Scope.SHARED,
            None if cubic is None else (cubic.channels, cubic.offsets, cubic.saturation, columns, cubic.coefficients),
            not_local,
        )  # fmt: skip
        closest = closest_pair(positions, species, box, model.wall.radius)
        covered["wall"] |= closest < 1.0
        evaluator = Evaluator(model, species, box, device=DeviceKind.CUDA, precision=precision)
        result = evaluator(positions)
        compare(difference, f"reference {precision.value}", result, losses, forces)
        difference["closest"] = max(difference["closest"], abs(result.closest / closest - 1.0))
        if max_rank == COMPARED_WITH_CPU and (scope, precision) == (Scope.SHARED, Precision.SINGLE):
            # Other ranks would only compile more of what tests of the CPU compare with the same reference.
            cpu = Evaluator(model, species, box, device=DeviceKind.CPU, precision=precision)(positions)
            compare(difference, "cpu float32", result, cpu.losses, cpu.forces)
            again = evaluator(positions)
            repeats &= bool((result.forces == again.forces).all() and (result.losses == again.losses).all())
        for i in range(len(positions)):
            j, _ = neighbors_of(i, positions, box, CUTOFF)
            covered["most_neighbors"] = max(covered["most_neighbors"], len(j))
            covered["images"] += len(j) - len(set(j.tolist()))
    return {"device": evaluator.device_name, "repeats": repeats, **difference, **covered}


def compare(difference: dict[str, float], name: str, result: Evaluation, losses: Array, forces: Array) -> None:
    """Keep the largest difference of losses and forces, in units of the largest loss and the largest force."""
    difference[name] = max(
        difference.get(name, 0.0),
        float(abs(result.losses - losses).max() / abs(losses).max()),
        float(abs(result.forces - forces).max() / abs(forces).max()),
    )


def closest_pair(positions: Array, species: NDArray[np.int32], box: Array, radius: Array) -> float:
    """Smallest distance in units of the pair's wall radius."""
    ratios = []
    for i in range(len(positions)):
        j, separation = neighbors_of(i, positions, box, CUTOFF)
        ratios.append((np.linalg.norm(separation, axis=1) / radius[species[i], species[j]]).min())
    return float(min(ratios))


if __name__ == "__main__":
    print(json.dumps([compared(max_rank) for max_rank in range(4)]))
