"""The command line: the window without arguments, everything else by name; a module for each command.

Names of options and keys of the JSON are a contract; see docs/commands.md. Exit codes: 0 done, 1 the work failed,
2 wrong use or wrong input. Every failure is one sentence on standard error.
"""

from mldsim.cli.entry import main

__all__ = ["main"]
