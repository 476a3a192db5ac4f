"""The status bar: where it computes, how far it is, how fast it goes, what is recorded."""

from __future__ import annotations

from PySide6.QtWidgets import QLabel, QProgressBar, QStatusBar

from mldsim.gui.viewmodel import StatusLine


class StatusBar(QStatusBar):
    """Shows a `StatusLine`; parts keep their widest width so that changing numbers do not make the bar tremble."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizeGripEnabled(False)
        self._labels: dict[str, QLabel] = {}
        for name in ("device", "agents", "time", "speed", "rate", "display", "pull", "stretch", "loss"):
            self._labels[name] = QLabel()
            self.addWidget(self._labels[name])
        self.part = QProgressBar()
        self.part.setRange(0, 1000)
        self.part.setTextVisible(False)
        self.part.setFixedSize(80, 6)
        self.addWidget(self.part)
        self.part.hide()
        self.movie = QLabel()
        self.movie.setProperty("level", "recording")
        self.movie.setToolTip("A movie of the view is being recorded; Ctrl+M stops it")
        self.movie.hide()
        self.addPermanentWidget(self.movie)
        self._labels["recording"] = QLabel()
        self.addPermanentWidget(self._labels["recording"])
        self._labels["loss"].setProperty("level", "warning")
        self._labels["time"].setToolTip("Simulated time since the start of this simulation")
        self._labels["speed"].setToolTip("Time steps per second of the clock on the wall")
        self._labels["pull"].setToolTip("Force of the spring on the molecule that is pulled")
        self._labels["stretch"].setToolTip("A run with an end: how much of it is done, and how long it will take")
        self._labels["rate"].setToolTip("Simulated nanoseconds per day on the wall")
        self._labels["display"].setToolTip("Pictures per second; the simulation never waits for them")

    def show_status(self, line: StatusLine) -> None:
        for name, label in self._labels.items():
            self._set(label, getattr(line, name))
        self._tell(self._labels["device"], line.device_tip)
        self.part.setVisible(line.part is not None)
        if line.part is not None:
            self.part.setValue(round(1000 * line.part))
        self._tell(self._labels["loss"], line.loss_tip)
        recording = self._labels["recording"]
        self._tell(recording, line.recording_tip)
        if recording.property("level") != line.recording_level.value:
            recording.setProperty("level", line.recording_level.value)
            recording.style().unpolish(recording)
            recording.style().polish(recording)

    def show_movie(self, text: str) -> None:
        """Show how long the movie is that is being recorded; nothing where none is."""
        self._set(self.movie, text)

    def text(self, name: str) -> str:
        """What one part shows."""
        return self._labels[name].text()

    @staticmethod
    def _set(label: QLabel, text: str) -> None:
        if label.text() != text:
            label.setText(text)
            label.setVisible(bool(text))
            # Grow only: shrinking on every change of a digit would make the whole bar tremble.
            width = label.sizeHint().width() if text else 0
            if width > label.minimumWidth() or not text:
                label.setMinimumWidth(width)

    @staticmethod
    def _tell(label: QLabel, tip: str) -> None:
        if label.toolTip() != tip:
            label.setToolTip(tip)
