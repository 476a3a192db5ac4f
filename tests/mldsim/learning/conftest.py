"""A loop without CP2K and without a committee: a teacher, a doubt and a fit that a test can foresee."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from mldsim.dataset import LabelledFrames, Progress, save_frames
from mldsim.evaluator import Evaluator
from mldsim.labelling import Configurations
from mldsim.learning.loop import Means
from mldsim.learning.settings import LearnSettings
from mldsim.loss import LossModel, load_model
from mldsim.parameters import Precision
from mldsim.readers import load_frames
from mldsim.water import water_box

THEORY = "the model 'water'"

SHORT = LearnSettings(
    temperatures=(300.0, 400.0),
    densities=(1.0,),
    molecules=8,
    time=60.0,
    every=5.0,
    rounds=3,
    frames=5,
    holdout=0.4,
    doubt_limit=0.1,
)


def forces_of(model: LossModel, symbols: Sequence[str], positions: np.ndarray, box: np.ndarray) -> np.ndarray:
    species = np.array([model.symbols.index(symbol) for symbol in symbols], np.int32)
    return Evaluator(model, species, box, precision=Precision.DOUBLE)(positions).forces


@cache
def _teacher() -> LossModel:
    return load_model("water")


@cache
def _data(n_frames: int) -> LabelledFrames:
    teacher, symbols = _teacher(), ("O", "H", "H") * 8
    frames = [water_box(8, 1.0, 300.0, seed, ("O", "H"), teacher.masses) for seed in range(n_frames)]
    return LabelledFrames(
        symbols=symbols,
        positions=np.array([frame.positions for frame in frames]),
        forces=np.array([forces_of(teacher, symbols, frame.positions, frame.box) for frame in frames]),
        boxes=frames[0].box,
        provenance={"source": "data.h5", "theory": "as the engine"},
    )


@dataclass
class Laboratory:
    """The teacher is the model 'water'; as frames are added, doubt falls, and a fit goes half the way to the teacher.

    `interrupt` names the call ("label 3", "doubt 40", "fit 1") in which the user presses Ctrl-C, once.
    """

    teacher: LossModel = field(default_factory=_teacher)
    doubt_of_start: float = 0.15
    interrupt: str = ""
    calls: dict[str, int] = field(default_factory=lambda: {"label": 0, "doubt": 0, "fit": 0})
    labelled: list[np.ndarray] = field(default_factory=list)
    fitted: list[list[LabelledFrames]] = field(default_factory=list)

    def call(self, what: str) -> None:
        self.calls[what] += 1
        if self.interrupt == f"{what} {self.calls[what]}":
            self.interrupt = ""
            raise KeyboardInterrupt

    def start(self) -> LossModel:
        wrong = replace(self.teacher, linear=0.98 * self.teacher.linear, card={"frames": 0})
        return replace(wrong, name="start")

    def data(self, n_frames: int = 4) -> list[LabelledFrames]:
        return [_data(n_frames)]

    def doubt(self, model: LossModel, species: np.ndarray, box: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        level = self.doubt_of_start / (1.0 + model.card["frames"])

        def doubts(positions: np.ndarray) -> np.ndarray:
            self.call("doubt")
            return level * (1.0 + 0.1 * np.cos(positions[:, 0]))

        return doubts

    def label(
        self, frames: Sequence[Configurations], output: Path, progress: Progress | None = None
    ) -> list[LabelledFrames]:
        (system,) = frames
        labels = []
        for positions, box in zip(system.positions, system.boxes, strict=True):
            self.call("label")
            self.labelled.append(positions)
            labels.append(forces_of(self.teacher, system.symbols, positions, box))
        made = LabelledFrames(
            symbols=system.symbols,
            positions=system.positions,
            forces=np.array(labels),
            boxes=system.boxes,
            provenance={"source": str(output), "theory": THEORY},
        )
        save_frames(output, [made])
        return [made]

    def fit(
        self,
        form: LossModel,
        systems: Sequence[LabelledFrames],
        name: str,
        known: Path | None,
        keep: Path,
        progress: Progress | None = None,
    ) -> LossModel:
        """What it keeps are the frames themselves."""
        self.call("fit")
        systems = [*(load_frames(known) if known else []), *systems]
        self.fitted.append(systems)
        save_frames(keep, systems, force=True)
        frames = sum(system.n_frames for system in systems)
        towards = form.linear if known is None else 0.5 * (form.linear + self.teacher.linear)
        return replace(form, name=name, linear=towards, card={"frames": frames if known else 0})

    @property
    def means(self) -> Means:
        return Means(self.doubt, lambda model: True, self.label, THEORY, self.fit)


@pytest.fixture
def laboratory() -> Laboratory:
    return Laboratory()
