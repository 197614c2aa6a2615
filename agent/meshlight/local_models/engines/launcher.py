"""Starts an engine that dies with the service, even if that is killed: a program of its own, for Linux.

`python -I -S launcher.py PARENT PROGRAM ARGUMENTS...`: asks the kernel for SIGKILL at the parent's death, and becomes
the engine by `exec`, so that no further process remains. Imports nothing of ours: it has to be quick.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

CANNOT_RUN = 126
"""The exit code for a program that can't be run, as in a shell."""
_PR_SET_PDEATHSIG = 1


def main(argv: Sequence[str]) -> int:
    """Become the program `argv[1:]`, a child of process `argv[0]`; returns only if that fails."""
    parent, command = int(argv[0]), list(argv[1:])
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request was made
        return 1
    try:
        os.execv(command[0], command)  # noqa: S606 - no shell is the point
    except OSError as error:
        print(f"cannot run {os.path.basename(command[0])}: {error.strerror}", file=sys.stderr)  # noqa: PTH119, T201
    return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
