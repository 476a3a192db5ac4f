"""mldsim: a laboratory for molecular learning dynamics.

Importing this package imports nothing heavy and nothing graphical: a machine without Qt can compute.
"""

from pathlib import Path as _Path

__version__ = "0.1.0"

# In a source checkout gui/, kernels/ and assets/ lie beside this package; in a wheel they lie inside it.
_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and (_root / "gui" / "__init__.py").is_file():
    __path__.append(str(_root))
del _root
