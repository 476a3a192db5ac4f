"""Analyses of a run, one frame at a time: ``add(frame)``, then ``result()`` at any moment."""
