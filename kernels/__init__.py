"""Numerical kernels: arrays in, arrays out. No classes of ours, no files, no Qt.

Numba keeps compiled kernels beside their source or, where that cannot be written, in the user's cache. Where neither
can, its decorators raise while the modules are being imported; so this package, imported before any of them, gives
Numba a temporary folder then, and kernels are compiled at each start.

It also tells OpenMP's threads to sleep soon, rather than spin long, while they wait for each other. A step is short; on
a machine that does anything else, such as drawing the molecules, a spinning thread keeps off the core the one it waits
for (benchmarks/waiting_threads.py, docs/performance.md).
"""

import atexit as _atexit
import os as _os
import shutil as _shutil
import sys as _sys
import tempfile as _tempfile
from pathlib import Path as _Path


def _writable(folder: _Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _ensure_cache() -> None:
    if _os.environ.get("NUMBA_CACHE_DIR") or _writable(_Path(__file__).parent / "__pycache__"):
        return
    from platformdirs import user_cache_path

    if _writable(user_cache_path("numba", appauthor=False)):
        return
    folder = _tempfile.mkdtemp(prefix="mldsim-kernels-")
    _atexit.register(_shutil.rmtree, folder, ignore_errors=True)
    _os.environ["NUMBA_CACHE_DIR"] = folder
    if "numba" in _sys.modules:  # which has read its environment already
        _sys.modules["numba"].config.CACHE_DIR = folder


_ensure_cache()
if "OMP_WAIT_POLICY" not in _os.environ:
    _os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # some microseconds; read when the OpenMP library is loaded
