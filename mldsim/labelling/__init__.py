"""Labelling: a real CP2K computes energies and forces of given frames.

`engines` says which theories there are and writes CP2K's input for them; `sources` reads frames from whatever holds
structures; `cp2k` drives one CP2K process; `job` does the work so that being stopped loses nothing.
"""

from mldsim.labelling.engines import Engine, EngineKind, make_engine
from mldsim.labelling.job import Labels, NothingLabelled, label
from mldsim.labelling.sources import Configurations, fingerprint, read_configurations, thinned

__all__ = [
    "Configurations",
    "Engine",
    "EngineKind",
    "Labels",
    "NothingLabelled",
    "fingerprint",
    "label",
    "make_engine",
    "read_configurations",
    "thinned",
]
