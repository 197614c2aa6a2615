"""A real terminal: what a person types there and sees."""

import os
import pty
import select
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from meshlight.desktop.system.process import program

WAIT_S = 45.0
PRESS_S, PRESSES = 3.0, 15
"""How long nothing happens until Ctrl-C is pressed again, and how often it is pressed."""


class Terminal:
    """`with Terminal(home, "pair", "Bo") as term:` runs a word until it ends or the block does."""

    def __init__(self, home: Path, *words: str, width: int = 80, term: str = "dumb") -> None:
        self._ours, theirs = pty.openpty()
        environ = {
            "PATH": os.environ["PATH"],
            "MESHLIGHT_HOME": str(home),
            "TERM": term,
            "LC_ALL": "C.UTF-8",
            "COLUMNS": str(width),
        }
        self._running = subprocess.Popen(
            program(*words), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environ
        )
        os.close(theirs)
        self.screen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running.poll() is None:
            self._running.kill()
            self._running.wait()
        os.close(self._ours)

    def until(self, said: str) -> None:
        """Wait until this is on the screen."""
        while said not in self.screen:
            assert self._more(), self.screen

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{text}\n".encode())

    def ctrl_c(self) -> None:
        """Press Ctrl-C, and again if nothing happens.

        A signal that comes after the prompt and right before Python's `input()` waits for a key is only noticed at
        the next key or signal.
        """
        for _ in range(PRESSES):
            self._running.send_signal(signal.SIGINT)
            if select.select([self._ours], [], [], PRESS_S)[0]:
                return

    def end(self) -> int:
        """Wait until the word has ended; return its exit code."""
        while self._more():
            pass
        return self._running.wait(WAIT_S)

    def _more(self) -> bool:
        """Read what comes next; False at the end."""
        assert select.select([self._ours], [], [], WAIT_S)[0], self.screen
        try:
            data = os.read(self._ours, 4096)
        except OSError:
            return False  # how Linux says that the other end is closed
        self.screen += data.decode("utf-8", "replace").replace("\r", "")
        return bool(data)
