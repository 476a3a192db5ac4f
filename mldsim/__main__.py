"""``python -m mldsim`` is the command ``mldsim``."""

import sys

from mldsim.cli import main

if __name__ == "__main__":
    sys.exit(main())
