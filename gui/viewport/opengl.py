"""Whether this machine can draw the 3-D view, asked before anything depends on it."""

from __future__ import annotations

from PySide6.QtGui import QOffscreenSurface, QOpenGLContext

_NEEDED = (2, 1)


def unusable_reason() -> str | None:
    """Why the 3-D view cannot be drawn here, one sentence; None where it can. Needs a QGuiApplication."""
    context = QOpenGLContext()
    if not context.create():
        return "The 3-D view needs OpenGL, which this display does not offer; everything else works."
    surface = QOffscreenSurface()
    surface.setFormat(context.format())
    surface.create()
    if not context.makeCurrent(surface):
        return "The 3-D view needs OpenGL, which could not be started on this display; everything else works."
    try:
        version = context.format().version()
        if version < _NEEDED:
            return (
                f"The 3-D view needs OpenGL {_NEEDED[0]}.{_NEEDED[1]}, and the graphics driver offers "
                f"{version[0]}.{version[1]}: a newer driver brings the picture back; everything else works."
            )
        if version < (3, 0) and not context.hasExtension(b"GL_ARB_texture_float"):
            return (
                "The 3-D view needs textures of floating-point numbers, which the graphics driver lacks: "
                "a newer driver brings the picture back; everything else works."
            )
    finally:
        context.doneCurrent()
    return None
