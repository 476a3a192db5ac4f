"""What can go wrong, by whose hand.

Every message is one clear sentence: what is wrong, where (file, line, field), what to do.
The command line prints it and exits with `exit_code`; the window shows it and goes on.
"""


class MldsimError(Exception):
    """Anything that is told to the user in one sentence instead of a traceback."""

    exit_code = 1


class InputError(MldsimError):
    """Wrong use or wrong input: the user can mend it."""

    exit_code = 2


class WorkFailed(MldsimError):
    """The request was right, but the work could not be finished (disk full, no solution, ...)."""


class LeftPhysics(WorkFailed):
    """A guard stopped a run; the last good state is kept."""


class DeviceLost(WorkFailed):
    """A GPU failed in the middle of its work, or has no memory left; the CPU can go on."""


class Cancelled(WorkFailed):
    """The user stopped the work; what was written so far is valid."""
