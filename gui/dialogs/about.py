"""What this program is, of which parts, and how to cite it."""

from __future__ import annotations

import platform
from importlib import metadata

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

import mldsim
from mldsim.gui import theme

CITATION = "Gusev and Vanchurin, Molecular learning dynamics, arXiv:2504.10560 (2025)"

PARTS = ("numpy", "numba", "h5py", "PySide6_Essentials", "vispy", "pyqtgraph")


def versions() -> str:
    """Versions of mldsim and its parts, one per line: what a report of a fault should contain."""
    lines = [f"mldsim {mldsim.__version__}", f"Python {platform.python_version()} on {platform.platform(terse=True)}"]
    for part in PARTS:
        try:
            lines.append(f"{part.replace('_', '-')} {metadata.version(part)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{part} (version unknown)")
    return "\n".join(lines)


class AboutDialog(QDialog):
    """Versions and the citation, both ready to be copied."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("About mldsim")
        picture = QLabel()
        picture.setPixmap(theme.application_icon().pixmap(QSize(64, 64), self.devicePixelRatioF()))
        words = QLabel(
            f"<h2 style='margin: 0'>mldsim {mldsim.__version__}</h2>"
            "<p>A desktop laboratory for molecular learning dynamics: every atom is an agent<br>"
            "that descends the gradient of a loss learned from first-principles forces.</p>"
            f"<p>If it serves your work, please cite<br><b>{CITATION}</b><br>"
            "and the data each loss model was fitted to, as its card says.</p>"
            f"<p style='white-space: pre'>{versions()}</p>"
            "<p>BSD-3-Clause licence. Qt is used under the LGPL.</p>"
        )
        words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        copy = QPushButton("Copy versions")
        copy.setAutoDefault(False)
        copy.clicked.connect(self._copy)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        row = QHBoxLayout()
        row.setSpacing(20)
        row.addWidget(picture, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(words)
        column = QVBoxLayout(self)
        column.setContentsMargins(22, 20, 22, 16)
        column.setSpacing(14)
        column.addLayout(row)
        column.addWidget(buttons)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{versions()}\n{CITATION}")
