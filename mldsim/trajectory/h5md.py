"""Trajectories in H5MD 1.1 (de Buyl, Colberg, Höfling 2014, doi:10.1016/j.cpc.2014.01.018; nongnu.org/h5md).

Layout of a file that this module writes::

    h5md/{author,creator,modules/units}
    particles/trajectory/box/edges                 Angstrom, one row per frame
    particles/trajectory/position                  Angstrom, unwrapped; an image is the position itself
    particles/trajectory/velocity                  Angstrom fs-1
    particles/trajectory/force                     kJ mol-1 Angstrom-1 (MDAnalysis refuses eV Angstrom-1)
    particles/trajectory/loss                      eV, one per agent
    particles/trajectory/{species,id,mass}         static; species are atomic numbers
    observables/<thermo column>                    one value per frame
    connectivity/bonds                             pairs of agents
    parameters/mldsim/{symbols,box,metadata}       the model's order of species, the box at the start, JSON

One `step` and one `time` dataset are hard-linked into every element.

How it survives. Frames are collected in memory and appended about once per second; in between the file is closed, so
that any HDF5 program can open a recording while it grows, and a killed writer leaves nothing half done. An append
lasts about 10 ms; a kill within it leaves HDF5's "open for write" flag, which `read_h5md` clears, and because the
append is done in SWMR mode all frames before it are intact. HDF5 ends the whole process when a write fails halfway
(seen with 2.0: segmentation fault on a full disk), so the space of an append is reserved before HDF5 is let near it.

Chunks are not compressed: on frames of 32 and 64 water molecules gzip-1 with shuffle saved 13 to 20 %, cost five times
the time, and gave the savings back because every append rewrites the last, half-full chunk at a new place.
"""

from mldsim.trajectory.h5md_reader import Trajectory, read_h5md, repair
from mldsim.trajectory.h5md_writer import H5MDWriter

__all__ = ["H5MDWriter", "Trajectory", "read_h5md", "repair"]
