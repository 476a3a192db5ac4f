"""The 3-D view: agents as lit spheres, bonds as cylinders, the periodic box, a camera, and a legend in the picture.

`Viewport` is all that the rest of the application needs. It knows topologies and frames, nothing of the runner.
"""

from mldsim.gui.viewport.colours import Style
from mldsim.gui.viewport.quantities import Colouring
from mldsim.gui.viewport.widget import Viewport

__all__ = ["Colouring", "Style", "Viewport"]
