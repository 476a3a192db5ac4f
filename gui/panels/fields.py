"""Input fields that keep the keyboard to themselves while they are typed into, and rows made of them.

Single letters, Space and the arrows are shortcuts of the window. Qt asks the widget with the focus first, by a
ShortcutOverride event: a field accepts it for every plain key, so that typing ``300`` or a space stays typing.
"""

from __future__ import annotations

import html

from PySide6.QtCore import QEvent, QLocale, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QResizeEvent, QValidator, QWheelEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QToolButton,
    QWidget,
)

from mldsim.gui import theme
from mldsim.gui.viewmodel import SliderScale, field_tip, number
from mldsim.parameters import FIELDS

_COMMAND_KEYS = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.AltModifier | Qt.KeyboardModifier.MetaModifier


def claims(event: QEvent) -> bool:
    """Whether a field that has the focus keeps this key from the shortcuts of the window; accepts the event if so."""
    if event.type() != QEvent.Type.ShortcutOverride or not isinstance(event, QKeyEvent):
        return False
    if event.modifiers() & _COMMAND_KEYS or Qt.Key.Key_F1 <= event.key() <= Qt.Key.Key_F35:
        return False
    event.accept()
    return True


def mark_changed(widget: QWidget, changed: bool) -> None:
    """Show what was changed in bold."""
    if bool(widget.property("changed")) != changed:
        widget.setProperty("changed", changed)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class NumberBox(QDoubleSpinBox):
    """A number with its unit. What is typed counts when it is finished: by Enter, or by leaving the field.

    Enter and Escape give the keyboard back to the window; Escape forgets what was typed. The wheel turns the
    number only while the field has the focus, so that scrolling the panel changes nothing.
    """

    asked = Signal(float)

    def __init__(self, minimum: float, maximum: float, *, integer: bool = False, unit: str = "") -> None:
        super().__init__()
        self._integer = integer
        self._shown = minimum
        self.setLocale(QLocale.c())
        self.setKeyboardTracking(False)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setDecimals(0 if integer else 4)
        self.setRange(minimum, maximum)
        self.setSuffix(f" {unit}" if unit else "")
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.lineEdit().setTextMargins(4, 0, 4, 0)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.valueChanged.connect(self._on_value)

    def show_value(self, value: float) -> None:
        """Show a value that was not typed here; what is being typed stays."""
        self._shown = value
        if not self.being_typed():
            with QSignalBlocker(self):
                self.setValue(value)

    def being_typed(self) -> bool:
        return self.hasFocus() and self.lineEdit().isModified()

    def forget(self) -> None:
        """Drop what was typed."""
        with QSignalBlocker(self):
            self.setValue(self._shown)
            self.lineEdit().setText(self.prefix() + self.textFromValue(self._shown) + self.suffix())
        self.lineEdit().setModified(False)

    def textFromValue(self, value: float) -> str:  # noqa: N802
        return number(value)

    def valueFromText(self, text: str) -> float:  # noqa: N802
        try:
            return float(self._bare(text))
        except ValueError:
            return self.value()

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """Anything that is, or can still become, a number in the range."""
        bare = self._bare(text)
        try:
            value = float(bare)
        except ValueError:
            partial = all(c in "0123456789.eE+-" for c in bare)
            return (QValidator.State.Intermediate if partial else QValidator.State.Invalid), text, position
        if self._integer and not value.is_integer():
            return QValidator.State.Intermediate, text, position
        inside = self.minimum() <= value <= self.maximum()
        return (QValidator.State.Acceptable if inside else QValidator.State.Intermediate), text, position

    def fixup(self, text: str) -> str:
        """What is typed and out of range becomes the nearest value that is in it."""
        try:
            value = float(self._bare(text))
        except ValueError:
            value = self._shown
        value = round(value) if self._integer else value
        return number(min(max(value, self.minimum()), self.maximum())) + self.suffix()

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.key() == Qt.Key.Key_Escape:
            self.forget()
            self.clearFocus()
            return
        super().keyPressEvent(event)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.lineEdit().setModified(False)
            self.clearFocus()

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def set_pending(self, pending: bool) -> None:
        """Mark a value that was asked for and is not applied yet."""
        if bool(self.property("pending")) != pending:
            self.setProperty("pending", pending)
            self.style().unpolish(self)
            self.style().polish(self)

    def set_changed(self, changed: bool) -> None:
        """Mark a value that is not the one of the preset."""
        mark_changed(self, changed)

    def _on_value(self, value: float) -> None:
        self.lineEdit().setModified(False)
        self.asked.emit(value)

    def _bare(self, text: str) -> str:
        return text.removesuffix(self.suffix()).strip().replace(",", ".") if self.suffix() else text.strip()


class Choice(QComboBox):
    """A list of which one is chosen. Chosen by the mouse, it leaves the keyboard where it was."""

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)

    def show_data(self, data: object) -> None:
        """Show the entry that carries `data`."""
        with QSignalBlocker(self):
            self.setCurrentIndex(next((i for i in range(self.count()) if self.itemData(i) == data), -1))

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        event.ignore()


class Tick(QCheckBox):
    """Something that is on or off. Ticked by the mouse, it leaves the keyboard where it was."""

    def __init__(self, text: str, tip: str) -> None:
        super().__init__(text)
        self.setToolTip(tip)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)

    def show_checked(self, checked: bool) -> None:
        """Show a state that was not asked for here."""
        with QSignalBlocker(self):
            self.setChecked(checked)

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)


class _Slider(QSlider):
    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(0, SliderScale.positions)
        self.setPageStep(SliderScale.positions // 20)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMinimumWidth(60)

    def event(self, event: QEvent) -> bool:
        return claims(event) or super().event(event)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        event.ignore()


class Paragraph(QLabel):
    """Words that wrap and take exactly the height they need at the width they have.

    A plain QLabel that wraps guesses a height at a width of its own choice, and a panel full of them scrolls in vain.
    """

    def __init__(self, text_format: Qt.TextFormat = Qt.TextFormat.PlainText) -> None:
        super().__init__()
        self.setProperty("dim", True)
        self.setWordWrap(True)
        self.setTextFormat(text_format)
        policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(False)
        self.setSizePolicy(policy)

    def sizeHint(self) -> QSize:  # noqa: N802
        return QSize(0, max(self.heightForWidth(self.width()), 0))

    def minimumSizeHint(self) -> QSize:  # noqa: N802
        return self.sizeHint()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        if event.oldSize().width() != event.size().width():
            self.updateGeometry()


class Line(QLabel):
    """One line of words; where it is too long for its place it ends in dots, and the tooltip has all of it."""

    def __init__(self, *, dim: bool = False) -> None:
        super().__init__()
        self._words = ""
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("dim", dim)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    @property
    def words(self) -> str:
        """All of it."""
        return self._words

    def say(self, words: str, tip: str = "") -> None:
        """Show other words."""
        if words != self._words or tip != self.toolTip():
            self._words = words
            self.setToolTip(tip or words)
            self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        room = self.contentsRect().width()
        self.setText(self.fontMetrics().elidedText(self._words, Qt.TextElideMode.ElideRight, room))


class FlatButton(QToolButton):
    """A small button of one icon; never takes the keyboard."""

    def __init__(self, icon: str, tip: str) -> None:
        super().__init__()
        self._icon = icon
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setProperty("flat", True)
        self.setIconSize(QSize(16, 16))
        self.setFixedSize(22, 22)
        self.setToolTip(tip)

    def setToolTip(self, tip: str) -> None:  # noqa: N802
        """An icon has no words: what it does is also its name for a screen reader."""
        super().setToolTip(tip)
        self.setAccessibleName(tip)

    def colour(self, colours: theme.Colours) -> None:
        self.setIcon(theme.icon(self._icon, colours, colour=colours.dim))


class NumberRow(QWidget):
    """One number of `mldsim.parameters.FIELDS`: label, slider, field with unit, and the way back to the default.

    It shows what `show_applied` was told. What the user asks for is sent by `asked`; it is shown as pending until it
    comes back as applied. While the slider is dragged its handle is the hand's, the number is the applied one.
    """

    asked = Signal(float)

    def __init__(self, name: str, *, slider: bool = True, default: float | None = None) -> None:
        super().__init__()
        field = FIELDS[name]
        self.name = name
        self._default = field.default if default is None else default
        self._scale = SliderScale(field)
        self.label = QLabel(field.label)
        self.box = NumberBox(field.minimum, field.maximum, integer=field.integer, unit=field.unit)
        self.slider: QSlider | None = _Slider() if slider else None
        self.undo = FlatButton("undo", "")

        tip = field_tip(name)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        self.label.setFixedWidth(LABEL_WIDTH)
        self.box.setFixedWidth(BOX_WIDTH)
        layout.addWidget(self.label)
        if self.slider is not None:
            layout.addWidget(self.slider, 1)
            self.slider.setToolTip(tip)
            self.slider.valueChanged.connect(self._on_slider)
            self.slider.sliderReleased.connect(self._on_released)
        else:
            layout.addStretch(1)
        layout.addWidget(self.box)
        layout.addWidget(self.undo)
        self.label.setToolTip(tip)
        self.call(field.label)
        self.set_default(self._default)
        self.box.asked.connect(self.asked)
        self.undo.clicked.connect(self._on_undo)
        self._applied = self._default
        self.show_applied(self._applied)

    @property
    def value(self) -> float:
        """What the field shows."""
        return self.box.value()

    def call(self, name: str) -> None:
        """Give the row its name, for eyes and for screen readers."""
        self.label.setText(name)
        for widget in (self.box, self.slider):
            if widget is not None:
                widget.setAccessibleName(name)

    def set_default(self, default: float, whose: str = "") -> None:
        """Say where the way back leads to, and whose value that is; another value is shown in bold."""
        self._default = default
        told = f"{number(default)} {FIELDS[self.name].unit}".rstrip()
        self.undo.setToolTip(f"Back to {told}")
        origin = f"<p>{told} in the preset ‘{html.escape(whose)}’.</p>" if whose else ""
        self.box.setToolTip(field_tip(self.name) + origin)
        self.mark()

    def mark(self) -> None:
        """Mark what is shown where it is not the default."""
        changed = self.isEnabled() and self.value != self._default
        self.undo.setEnabled(changed)
        self.box.set_changed(changed)

    def show_applied(self, value: float) -> None:
        self._applied = value
        self.box.show_value(value)
        self.mark()
        if self.slider is not None and not self.slider.isSliderDown():
            with QSignalBlocker(self.slider):
                self.slider.setValue(self._scale.position(value))

    def set_pending(self, pending: bool) -> None:
        self.box.set_pending(pending)

    def set_available(self, available: bool) -> None:
        """Grey the row where its number has no meaning."""
        self.setEnabled(available)
        self.mark()

    def _on_slider(self, position: int) -> None:
        value = self._scale.value(position)
        if value != self._applied:
            self.asked.emit(value)

    def _on_released(self) -> None:
        self.show_applied(self._applied)

    def _on_undo(self) -> None:
        self.box.forget()
        self.asked.emit(self._default)


LABEL_WIDTH = 128
BOX_WIDTH = 92
