"""Fixtures of the tests that open a window; pytest-xvfb gives them a display of their own."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget


@pytest.fixture
def pixels() -> Callable[[QWidget | QImage], NDArray[np.uint8]]:
    """Red, green, blue, alpha of what a widget or a picture shows: (height, width, 4) uint8.

    A widget's pixels are those that its mouse events count, on screens of any scale (try QT_SCALE_FACTOR=2).
    """

    def read(shown: QWidget | QImage) -> NDArray[np.uint8]:
        if isinstance(shown, QImage):
            image = shown
        else:
            image = shown.grab().toImage()
            if image.size() != shown.size():
                image = image.scaled(shown.size(), mode=Qt.TransformationMode.SmoothTransformation)
        image = image.convertToFormat(QImage.Format.Format_RGBA8888)
        return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4).copy()

    return read
