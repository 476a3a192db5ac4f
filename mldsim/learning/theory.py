"""Whether the data were labelled by the theory that the loop labels with: by labelling a frame of them again.

Names of theories are words of who wrote the file. Forces of two functionals for the same water differ by 180 to 370
meV/angstrom, several times the error of any model; forces of one theory, repeated, by its convergence (C-NNP: 0.004
meV/angstrom). One functional in another setting is another theory as well: a frame of revPBE-D3 at 320 Ry, labelled
again by `cp2k-dft` at 400 Ry, differed by 81.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mldsim.dataset import LabelledFrames, Progress
from mldsim.errors import InputError, WorkFailed
from mldsim.labelling import Configurations, NothingLabelled
from mldsim.learning.journal import TheoryCheck

Labeller = Callable[[Sequence[Configurations], Path, Progress | None], list[LabelledFrames]]
"""(frames, data set to write, progress) -> what the data set holds; stopped, it goes on when it is called again.
`mldsim.labelling.NothingLabelled` says that no frame has a label that can be used."""

SAME_THEORY = 30.0
"""meV/angstrom, between the convergence of one theory and the difference of two."""


def stated_theory(system: LabelledFrames) -> str:
    """What the provenance of frames says of their theory; empty when nothing."""
    return system.provenance.get("theory") or system.provenance.get("method") or ""


def to_repeat(systems: Sequence[LabelledFrames]) -> list[LabelledFrames]:
    """One frame for each theory that is stated, of the smallest system; for each file where none is stated."""
    smallest: dict[str, LabelledFrames] = {}
    for system in systems:
        key = stated_theory(system) or f"file {system.source}"
        if key not in smallest or system.n_agents < smallest[key].n_agents:
            smallest[key] = system
    return [system.take([system.n_frames // 2]) for system in smallest.values()]


def compare_theories(
    systems: Sequence[LabelledFrames], label: Labeller, folder: Path, progress: Progress | None = None
) -> tuple[TheoryCheck, ...]:
    """Label a frame of each theory in the data again.

    Raises
    ------
    WorkFailed
        When the engine fails, or has no label for a frame.
    """
    checks = []
    for number, system in enumerate(to_repeat(systems), start=1):
        output = folder / f"theory-{number:02d}.h5"
        again = Configurations(
            system.symbols, system.positions, system.boxes, system.source, None, np.zeros(1, np.int64)
        )
        try:
            found = label([again], output, progress)
        except NothingLabelled:
            raise WorkFailed(
                f"The engine could not repeat a label of {system.source}, so that theories cannot be compared; "
                "take other data."
            ) from None
        difference = float(np.sqrt(np.mean((found[0].forces - system.forces) ** 2)))
        checks.append(TheoryCheck(Path(system.source).name, stated_theory(system), 1e3 * difference))
    return tuple(checks)


def refuse_mixing(checks: Sequence[TheoryCheck], theory: str) -> None:
    """Refuse data of another theory than the engine's.

    Raises
    ------
    InputError
    """
    for check in checks:
        if check.difference_meV_A > SAME_THEORY:
            stated = f"'{check.theory}'" if check.theory else "a theory that is not stated"
            raise InputError(
                f"{check.source} was labelled by {stated}: its forces differ by {check.difference_meV_A:.0f} meV/Å "
                f"from those of this engine ({theory}); take the engine (and its --dft-cutoff) that labelled the data, "
                "label them anew with 'mldsim label', or mix theories with --mix-theories."
            )


def fingerprint(systems: Sequence[LabelledFrames]) -> str:
    """SHA-256 of frames and labels in their order."""
    digest = hashlib.sha256()
    for system in systems:
        digest.update(f"{system.n_frames} {' '.join(system.symbols)}\n".encode())
        for array in (system.positions, system.boxes, system.forces):
            digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    return digest.hexdigest()
