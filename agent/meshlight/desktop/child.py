"""The service as a child: started with a pipe that it watches, its last words kept, ended in good order."""

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from meshlight.desktop.program import HOLDS_STDIN, apart, service_environment
from meshlight.domain.private_variables import OWN_VARIABLES

KEPT_LINES = 20
LONGEST_LINE = 400
ORDERLY_S = 12.0
"""The service lets running requests end for 10 s."""
FORCE_S = 3.0


class Child:
    """One run of the service. `on_end` is called with this object, from a thread of its own, when it has ended.

    The child holds the read end of our pipe: when we die, in whatever way, it reads the end of it and goes.
    Raises OSError when the program can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_end: Callable[["Child"], None],
        environ: Mapping[str, str] = OWN_VARIABLES,
    ) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=service_environment(HOLDS_STDIN, environ),
            **apart(),
        )
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._on_end = on_end
        self._thread = threading.Thread(target=self._watch, name=f"child {self.pid}", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    @property
    def code(self) -> int | None:
        """The exit code; negative when a signal ended it, None while it runs."""
        return self._process.poll()

    @property
    def last_line(self) -> str:
        """The last thing it said."""
        return self._lines[-1] if self._lines else ""

    def end(self) -> None:
        """End it: by its closed input, by a signal if it doesn't listen, by force if it must be; waits for that."""
        self._close_stdin()
        for wait_s, harder in ((ORDERLY_S, self._process.terminate), (FORCE_S, self._process.kill)):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
                break
            harder()
        self._process.wait()
        self._thread.join(FORCE_S)

    def kill(self) -> None:
        """End it at once: it hangs."""
        self._process.kill()

    def _watch(self) -> None:
        stderr: IO[str] | None = self._process.stderr
        if stderr is not None:
            with suppress(OSError, ValueError):
                for line in stderr:
                    if said := line.strip():
                        self._lines.append(said[:LONGEST_LINE])
            stderr.close()
        self._process.wait()
        self._close_stdin()
        self._on_end(self)

    def _close_stdin(self) -> None:
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
