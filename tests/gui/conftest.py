"""Fixtures of the tests that open a window; pytest-xvfb gives them a display of their own."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QWidget


@pytest.fixture
def pixels() -> Callable[[QWidget | QImage], NDArray[np.uint8]]:
    """Red, green, blue, alpha of what a widget or a picture shows: (height, width, 4) uint8."""

    def read(shown: QWidget | QImage) -> NDArray[np.uint8]:
        image = shown if isinstance(shown, QImage) else shown.grab().toImage()
        image = image.convertToFormat(QImage.Format.Format_RGBA8888)
        return np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.width(), 4).copy()

    return read
