"""How an engine's process is started on this system so that it can't outlive the service, and how it is ended."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from meshlight.local_models.engines.windows_job import Kernel, WindowsJob, windows_kernel

LAUNCHER = Path(__file__).with_name("launcher.py")
MINDER = Path(__file__).with_name("minder.py")


class Guard(Protocol):
    """Guards one process."""

    stdin: int
    """What the process gets as its standard input: `subprocess.PIPE` or `subprocess.DEVNULL`."""
    options: dict[str, Any]
    """Further arguments of `loop.subprocess_exec`."""
    has_minder: bool
    """Whether the process that was started minds the engine, which is its child."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that starts the engine `argv`."""

    def started(self, transport: asyncio.SubprocessTransport) -> None:
        """Take over the process that was started; raises OSError."""

    def terminate(self) -> None:
        """Ask the engine to end."""

    def kill(self) -> None:
        """End the engine and whatever it has started."""

    def close(self) -> None:
        """Let go: the process has ended."""


class LauncherGuard:
    """Linux: the kernel kills the engine when the service dies (see `launcher.py`)."""

    stdin = subprocess.DEVNULL
    has_minder = False

    def __init__(self, python: str) -> None:
        self.options: dict[str, Any] = {"start_new_session": True}
        self._python = python
        self._transport: asyncio.SubprocessTransport | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """See `Guard`."""
        return [self._python, "-I", "-S", str(LAUNCHER), str(os.getpid()), *argv]

    def started(self, transport: asyncio.SubprocessTransport) -> None:
        """See `Guard`."""
        self._transport = transport

    def terminate(self) -> None:
        """See `Guard`."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Guard`."""
        self._signal(signal.SIGKILL)

    def close(self) -> None:
        """See `Guard`."""
        self._transport = None

    def _signal(self, number: int) -> None:
        if self._transport is not None and self._transport.get_returncode() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._transport.get_pid(), number)


class MinderGuard:
    """Any Unix: a small process waits for the end of a pipe that the service holds (see `minder.py`)."""

    stdin = subprocess.PIPE
    has_minder = True

    def __init__(self, python: str) -> None:
        self.options: dict[str, Any] = {"start_new_session": True}
        self._python = python
        self._transport: asyncio.SubprocessTransport | None = None

    def command(self, argv: Sequence[str]) -> list[str]:
        """See `Guard`."""
        return [self._python, "-I", "-S", str(MINDER), *argv]

    def started(self, transport: asyncio.SubprocessTransport) -> None:
        """See `Guard`."""
        self._transport = transport

    def terminate(self) -> None:
        """See `Guard`."""
        if self._transport is not None:
            with suppress(ProcessLookupError):
                self._transport.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """See `Guard`."""
        pipe = self._transport.get_pipe_transport(0) if self._transport is not None else None
        if pipe is not None and not pipe.is_closing():
            # By cast: uvloop's is one without saying so.
            cast("asyncio.WriteTransport", pipe).write(b"k")

    def close(self) -> None:
        """See `Guard`."""
        self._transport = None


class JobGuard:
    """Windows: a job object, whose handle the service alone holds."""

    stdin = subprocess.DEVNULL
    has_minder = False

    def __init__(self, kernel: Kernel) -> None:
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0) | getattr(
            subprocess, "CREATE_NEW_PROCESS_GROUP", 0
        )
        self.options: dict[str, Any] = {"creationflags": flags}
        self._job = WindowsJob(kernel)

    def command(self, argv: Sequence[str]) -> list[str]:
        """See `Guard`."""
        return list(argv)

    def started(self, transport: asyncio.SubprocessTransport) -> None:
        """See `Guard`."""
        try:
            self._job.add(transport.get_pid())
        except OSError:
            transport.kill()  # better none than one that might outlive us
            raise

    def terminate(self) -> None:
        """See `Guard`; Windows has no signal that asks a program without a window."""
        self._job.kill()

    def kill(self) -> None:
        """See `Guard`."""
        self._job.kill()

    def close(self) -> None:
        """See `Guard`."""
        self._job.close()


def guard_for(*, has_children: bool, python: str = sys.executable, system: str = sys.platform) -> Guard:
    """Return the guard for an engine on this system; raises OSError if there can be none.

    The kernel's guard of Linux is for one process: an engine with children of its own needs a minder.
    """
    if system == "win32":
        return JobGuard(windows_kernel())
    if system == "linux" and not has_children:
        return LauncherGuard(python)
    return MinderGuard(python)
