"""The recent and not so recent past of a run, in bounded memory."""

from __future__ import annotations

from mldsim.frames import Frame

HISTORY_BYTES = 256_000_000
"""Of frames, where nobody says otherwise."""


class History:
    """Frames at even intervals, as many as memory allows.

    When it is full, every second frame is dropped and from then on only every second one is taken: a long run keeps
    its whole length at a coarser grain.

    Parameters
    ----------
    max_frames : int
    max_bytes : int
        At least two frames are kept, whatever their size.
    """

    def __init__(self, max_frames: int = 5000, max_bytes: int = HISTORY_BYTES) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._frames: list[Frame] = []
        self._stride = 1
        self._intervals = 0
        self._models: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._frames)

    def tick(self) -> bool:
        """One more interval has passed; True when its frame is to be appended."""
        self._intervals += 1
        return (self._intervals - 1) % self._stride == 0

    def append(self, frame: Frame) -> None:
        """Take the next frame."""
        self._frames.append(frame)
        if len(self._frames) >= max(3, min(self._max_frames, self._max_bytes // frame_bytes(frame))):
            self._frames = self._frames[::2]
            self._stride *= 2

    def forget_after(self, step: int) -> None:
        """The run goes on from `step`, where it was before."""
        while self._frames and self._frames[-1].step > step:
            self._frames.pop()
        while len(self._models) > 1 and self._models[-1][0] >= step:
            self._models.pop()

    def model(self, step: int, name: str) -> None:
        """What follows this step is made by another loss model, or by one that was edited: its name says so."""
        if not self._models or self._models[-1][1] != name:
            self._models.append((step, name))

    def models(self) -> list[tuple[int, str]]:
        """By which models the frames that are kept were made: each with the step of its first frame, in their order."""
        found: list[tuple[int, str]] = []
        for frame in self._frames:
            made = [name for step, name in self._models if step < frame.step] or [name for _, name in self._models[:1]]
            if made and (not found or found[-1][1] != made[-1]):
                found.append((frame.step, made[-1]))
        return found

    def frames(self) -> list[Frame]:
        """The frames, oldest first, in a list of the caller's own."""
        return list(self._frames)

    def clear(self) -> None:
        self._frames = []
        self._models = []
        self._stride = 1
        self._intervals = 0


def frame_bytes(frame: Frame) -> int:
    """Memory that a frame's arrays take."""
    arrays = (frame.box, frame.positions, frame.velocities, frame.forces, frame.losses)
    return sum(array.nbytes for array in arrays)
