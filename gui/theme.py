"""How the window looks: two palettes of colours, the style sheet made from them, and the icons drawn in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from importlib import resources

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication, QStyleFactory


class Theme(enum.Enum):
    """The two looks of the window."""

    DARK = "dark"
    LIGHT = "light"


@dataclass(frozen=True, slots=True)
class Colours:
    """Every colour that the window uses, as ``#rrggbb``."""

    ground: str
    """Behind everything: tool bar, status bar, gaps."""
    panel: str
    """Docks and plots."""
    field: str
    """What can be typed into."""
    raised: str
    """Buttons, and rows under the mouse."""
    border: str
    text: str
    dim: str
    """Units, labels of axes, what matters less."""
    disabled: str
    accent: str
    on_accent: str
    warning: str
    error: str
    temperature: str
    kinetic: str
    loss: str
    total: str
    conserved: str
    heat: str
    oxygen: str
    hydrogen: str


COLOURS: dict[Theme, Colours] = {
    Theme.DARK: Colours(
        ground="#12161c", panel="#181d25", field="#11151b", raised="#252c37", border="#2d3541",
        text="#e4e9f0", dim="#93a0b1", disabled="#566170", accent="#46a3ff", on_accent="#06131f",
        warning="#f0b849", error="#ff6e6e",
        temperature="#ff9d5c", kinetic="#ff9d5c", loss="#4ea6ff", total="#c3ccd8", conserved="#56d08a", heat="#e77fb3",
        oxygen="#ff6e6e", hydrogen="#a9e3f0",
    ),
    Theme.LIGHT: Colours(
        ground="#eceff3", panel="#ffffff", field="#f6f8fa", raised="#e6eaef", border="#d3d9e1",
        text="#1a212b", dim="#5a6675", disabled="#a2acb9", accent="#0b6bd3", on_accent="#ffffff",
        warning="#9a6300", error="#c4242f",
        temperature="#d2601a", kinetic="#d2601a", loss="#0b6bd3", total="#4c5866", conserved="#178a4a", heat="#b03a7b",
        oxygen="#b3261e", hydrogen="#3d8ea8",
    ),
}  # fmt: skip


def apply_theme(app: QApplication, theme: Theme) -> Colours:
    """Give the whole application the palette and the style sheet of `theme`; returns its colours."""
    colours = COLOURS[theme]
    if app.style().objectName().lower() != "fusion":
        app.setStyle(QStyleFactory.create("Fusion"))
    app.setPalette(_palette(colours))
    app.setStyleSheet(_style_sheet(colours))
    return colours


def icon(name: str, colours: Colours, *, colour: str | None = None, active: str | None = None) -> QIcon:
    """The icon `name` of mldsim.assets.icons in the theme's colours; `active` is the colour of its checked state."""
    source = resources.files("mldsim.assets.icons").joinpath(f"{name}.svg").read_text(encoding="utf-8")
    result = QIcon()
    normal = colour or colours.text
    for mode, state, paint in (
        (QIcon.Mode.Normal, QIcon.State.Off, normal),
        (QIcon.Mode.Disabled, QIcon.State.Off, colours.disabled),
        (QIcon.Mode.Normal, QIcon.State.On, active or normal),
        (QIcon.Mode.Disabled, QIcon.State.On, colours.disabled),
    ):
        renderer = QSvgRenderer(QByteArray(source.replace("currentColor", paint).encode()))
        for size in (16, 20, 24, 32, 48, 64):
            pixmap = QPixmap(size, size)
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            renderer.render(painter, QRectF(0, 0, size, size))
            painter.end()
            result.addPixmap(pixmap, mode, state)
    return result


def small_font(font: QFont) -> QFont:
    """The font of what belongs to axes, a little smaller than that of the rest."""
    small = QFont(font)
    small.setPointSizeF(font.pointSizeF() * 8.0 / 9.0)
    return small


def application_icon() -> QIcon:
    """The picture in the task bar."""
    return icon("mldsim", COLOURS[Theme.DARK])


def _palette(c: Colours) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for which, colour in (
        (role.Window, c.panel),
        (role.WindowText, c.text),
        (role.Base, c.field),
        (role.AlternateBase, c.panel),
        (role.Text, c.text),
        (role.PlaceholderText, c.dim),
        (role.Button, c.raised),
        (role.ButtonText, c.text),
        (role.BrightText, c.error),
        (role.ToolTipBase, c.raised),
        (role.ToolTipText, c.text),
        (role.Highlight, c.accent),
        (role.HighlightedText, c.on_accent),
        (role.Link, c.accent),
        (role.LinkVisited, c.accent),
        (role.Light, c.raised),
        (role.Midlight, c.raised),
        (role.Mid, c.border),
        (role.Dark, c.border),
        (role.Shadow, c.ground),
    ):
        palette.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(c.disabled))
    palette.setColor(QPalette.ColorGroup.Disabled, role.Highlight, QColor(c.border))
    return palette


def _style_sheet(c: Colours) -> str:
    def drawn(name: str) -> str:
        return str(resources.files("mldsim.assets.icons").joinpath(f"{name}.svg")).replace("\\", "/")

    chevron, check = drawn("chevron-down"), drawn("check-dark" if c is COLOURS[Theme.DARK] else "check-light")
    return f"""
    QMainWindow, QMainWindow > QWidget#centre {{ background: {c.ground}; }}
    QMainWindow::separator {{ background: {c.ground}; width: 5px; height: 5px; }}
    QMainWindow::separator:hover {{ background: {c.accent}; }}
    QMenuBar {{ background: {c.ground}; padding: 2px 4px; }}
    QMenuBar::item {{ padding: 4px 9px; border-radius: 4px; background: transparent; }}
    QMenuBar::item:selected {{ background: {c.raised}; }}
    QMenu {{ background: {c.panel}; border: 1px solid {c.border}; padding: 5px; }}
    QMenu::item {{ padding: 5px 26px 5px 26px; border-radius: 4px; }}
    QMenu::item:selected {{ background: {c.raised}; color: {c.text}; }}
    QMenu::item:disabled {{ color: {c.disabled}; }}
    QMenu::icon {{ padding-left: 6px; }}
    QMenu::separator {{ height: 1px; background: {c.border}; margin: 5px 8px; }}
    QToolTip {{ background: {c.raised}; color: {c.text}; border: 1px solid {c.border}; padding: 5px; }}

    QToolBar {{ background: {c.ground}; border: none; padding: 3px 8px 5px 8px; spacing: 3px; }}
    QToolBar QComboBox {{ background: transparent; border-color: transparent; }}
    QToolBar QComboBox:hover {{ background: {c.raised}; }}
    QTreeWidget {{ background: {c.panel}; border: none; outline: none; }}
    QTreeWidget::item {{ padding: 4px 6px; border-radius: 4px; }}
    QTreeWidget::item:selected {{ background: {c.raised}; color: {c.text}; }}
    QToolBar::separator {{ background: {c.border}; width: 1px; margin: 5px 6px; }}
    QToolButton {{ background: transparent; border: none; border-radius: 5px; padding: 5px 9px; }}
    QToolButton:hover {{ background: {c.raised}; }}
    QToolButton:pressed {{ background: {c.border}; }}
    QToolButton:disabled {{ color: {c.disabled}; }}
    QToolButton:checked {{ background: {c.raised}; border: 1px solid {c.accent}; }}
    QToolButton#scrub_run {{ background: {c.accent}; }}
    QToolButton#scrub_run:disabled {{ background: {c.raised}; }}
    QToolButton#run {{ background: {c.accent}; color: {c.on_accent}; font-weight: 600; padding: 5px 14px 5px 10px; }}
    QToolButton#run:disabled {{ background: {c.raised}; color: {c.disabled}; }}
    QToolButton#record[recording="true"] {{ color: {c.error}; }}
    QToolButton[flat="true"] {{ padding: 2px; }}
    QToolButton[frozen="true"] {{ padding: 1px 6px; color: {c.warning}; border: 1px solid {c.warning}; }}

    QDockWidget {{ background: {c.panel}; color: {c.dim}; font-weight: 600; }}
    QDockWidget::title {{ background: {c.panel}; padding: 6px 10px; border-bottom: 1px solid {c.border}; }}
    QDockWidget::close-button, QDockWidget::float-button {{ border: none; padding: 0px; border-radius: 3px; }}
    QDockWidget::close-button:hover, QDockWidget::float-button:hover {{ background: {c.raised}; }}

    QScrollArea {{ background: {c.panel}; border: none; }}
    QWidget#panel {{ background: {c.panel}; }}
    QScrollBar:vertical {{ background: transparent; width: 9px; margin: 0; }}
    QScrollBar::handle:vertical {{ background: {c.border}; border-radius: 4px; min-height: 28px; }}
    QScrollBar::handle:vertical:hover {{ background: {c.disabled}; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}

    QListWidget {{ background: {c.field}; border: 1px solid {c.border}; border-radius: 4px; outline: none; }}
    QListWidget::item {{ padding: 1px 2px; border-left: 3px solid transparent; }}
    QListWidget::item:hover {{ background: {c.panel}; }}
    QListWidget::item:selected {{ background: {c.raised}; color: {c.text}; border-left: 3px solid {c.accent}; }}

    QProgressBar {{ background: {c.raised}; border: none; border-radius: 3px; max-height: 6px; }}
    QProgressBar::chunk {{ background: {c.accent}; border-radius: 3px; }}
    QLabel#readout {{
        background: {c.raised}; border: 1px solid {c.border}; border-radius: 4px; padding: 2px 5px; color: {c.text};
    }}
    QLabel[dim="true"] {{ color: {c.dim}; }}
    QLabel[level="warning"] {{ color: {c.warning}; }}
    QLabel[large="true"] {{ color: {c.text}; font-size: 19px; font-weight: 600; }}
    QLabel[section="true"] {{ color: {c.text}; font-weight: 600; }}
    QFrame[line="true"] {{ background: {c.border}; border: none; max-height: 1px; min-height: 1px; }}

    QAbstractSpinBox, QComboBox, QLineEdit {{
        background: {c.field}; border: 1px solid {c.border}; border-radius: 4px; padding: 3px 6px; min-height: 18px;
        selection-background-color: {c.accent}; selection-color: {c.on_accent};
    }}
    QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ width: 0; height: 0; border: none; }}
    QAbstractSpinBox QLineEdit {{ border: none; padding: 0; min-height: 0; background: transparent; }}
    QAbstractSpinBox:hover, QComboBox:hover, QLineEdit:hover {{ border-color: {c.disabled}; }}
    QAbstractSpinBox:focus, QComboBox:focus, QLineEdit:focus {{ border-color: {c.accent}; }}
    QAbstractSpinBox:disabled, QComboBox:disabled {{ color: {c.disabled}; background: {c.panel}; }}
    QAbstractSpinBox[changed="true"], QComboBox[changed="true"], QPushButton[changed="true"] {{ font-weight: 700; }}
    QAbstractSpinBox[pending="true"] {{ color: {c.accent}; }}
    QComboBox {{ padding-right: 20px; }}
    QComboBox::drop-down {{ border: none; width: 20px; }}
    QComboBox::down-arrow {{ image: url("{chevron}"); width: 13px; height: 13px; }}
    QComboBox QAbstractItemView {{
        background: {c.panel}; border: 1px solid {c.border}; padding: 4px; outline: none;
        selection-background-color: {c.raised}; selection-color: {c.text};
    }}

    QCheckBox {{ spacing: 7px; }}
    QCheckBox:disabled {{ color: {c.disabled}; }}
    QCheckBox::indicator {{
        width: 13px; height: 13px; border: 1px solid {c.disabled}; border-radius: 3px; background: {c.field};
    }}
    QCheckBox::indicator:hover, QCheckBox::indicator:focus {{ border-color: {c.accent}; }}
    QCheckBox::indicator:checked {{ background: {c.accent}; border-color: {c.accent}; image: url("{check}"); }}
    QCheckBox::indicator:disabled {{ border-color: {c.border}; background: {c.panel}; }}

    QTabBar {{ background: {c.ground}; qproperty-drawBase: 0; }}
    QTabBar::tab {{
        background: {c.ground}; color: {c.dim}; padding: 5px 12px; border: none; border-bottom: 2px solid transparent;
    }}
    QTabBar::tab:hover {{ color: {c.text}; }}
    QTabBar::tab:selected {{ color: {c.text}; background: {c.panel}; border-bottom-color: {c.accent}; }}

    QSlider::groove:horizontal {{ height: 4px; border-radius: 2px; background: {c.border}; }}
    QSlider::sub-page:horizontal {{ height: 4px; border-radius: 2px; background: {c.accent}; }}
    QSlider::sub-page:horizontal:disabled {{ background: {c.border}; }}
    QSlider::handle:horizontal {{
        background: {c.text}; border: 2px solid {c.panel}; width: 12px; height: 12px; margin: -6px 0;
        border-radius: 8px;
    }}
    QSlider::handle:horizontal:hover {{ background: {c.accent}; }}
    QSlider::handle:horizontal:focus {{ border-color: {c.accent}; }}
    QSlider::handle:horizontal:disabled {{ background: {c.disabled}; }}

    QPushButton {{
        background: {c.raised}; border: 1px solid {c.border}; border-radius: 5px; padding: 5px 12px; min-height: 17px;
    }}
    QPushButton:hover {{ border-color: {c.disabled}; }}
    QPushButton:pressed {{ background: {c.border}; }}
    QPushButton:disabled {{ color: {c.disabled}; background: {c.panel}; }}
    QPushButton[primary="true"]:enabled, QDialog QPushButton:default {{
        background: {c.accent}; color: {c.on_accent}; border-color: {c.accent}; font-weight: 600;
    }}

    QPushButton:focus, QToolButton[flat="true"]:focus {{ border: 1px solid {c.accent}; }}
    QPushButton[primary="true"]:focus, QDialog QPushButton:default:focus {{ border-color: {c.text}; }}
    QTabBar::tab:focus {{ color: {c.text}; }}

    QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}

    QStatusBar {{ background: {c.ground}; color: {c.dim}; border: none; }}
    QStatusBar::item {{ border: none; }}
    QStatusBar QLabel {{ color: {c.dim}; padding: 1px 9px; }}
    QStatusBar QLabel[level="recording"] {{ color: {c.error}; }}
    QStatusBar QLabel[level="warning"] {{ color: {c.warning}; }}

    QFrame#notice {{ background: {c.panel}; border: none; border-left: 4px solid {c.accent}; }}
    QFrame#notice[level="warning"] {{ border-left-color: {c.warning}; }}
    QFrame#notice[level="error"] {{ border-left-color: {c.error}; }}
    """
