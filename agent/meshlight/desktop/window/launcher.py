"""Opens the mesh window, which is a separate process, or brings the open one to the front."""

import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.process import HAS_KEY, HOLDS_STDIN, detached_options, environment, send_key
from meshlight.domain.private_variables import KEY, OWN_VARIABLES

INSTANCE_SOCKET = "window"
PEERS_NODE = "peers?"
"""Instead of a node: the page shows the peers. No backend id contains a `?`."""
APPS_NODE = "apps?"
"""The same for the apps that can use Meshlight."""
SETTINGS_NODE = "settings?"
"""The same for the settings; the section to begin with may follow."""
START_TIMEOUT_S = 10.0
RETRY_S = 0.1
CLOSE_TIMEOUT_S = 3.0


class WindowLauncher:
    """Starts at most one window; a window that is open already is activated instead.

    `command` is the command line of the window, to which `--node ID` is added. `on_failure` gets one line for people.
    """

    def __init__(
        self,
        command: Sequence[str],
        state_dir: Path,
        on_failure: Callable[[str], None] = lambda _: None,
        environ: Mapping[str, str] = OWN_VARIABLES,
    ) -> None:
        self._command = tuple(command)
        self._state_dir = state_dir
        self._on_failure = on_failure
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    def open(self, node: str = "") -> None:
        """Show the window with this node selected; returns at once."""
        process = self._process
        if process is not None and process.poll() is None:
            # It may not listen yet: a second window process would only send it the same message, later.
            threading.Thread(target=self._activate, args=(process, node), name="window", daemon=True).start()
        elif not signal_instance(self._state_dir, INSTANCE_SOCKET, node):
            self._start(node)

    def close(self) -> None:
        """Close the window that was opened here."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLOSE_TIMEOUT_S)
            return
        process.kill()
        process.wait()

    def _start(self, node: str) -> None:
        arguments = [*self._command, *(["--node", node] if node else [])]
        key = self._environ.get(KEY, "")
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment(HOLDS_STDIN | HAS_KEY if key else HOLDS_STDIN, self._environ),
                **detached_options(),
            )
        except OSError as error:
            self._on_failure(f"The window can't be opened: {error}.")
            return
        if key and self._process.stdin is not None:
            with suppress(OSError):
                send_key(self._process.stdin, key)
        threading.Thread(target=self._watch, args=(self._process,), name="window", daemon=True).start()

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        last_line = b""
        if process.stderr is not None:
            with suppress(OSError, ValueError), process.stderr as stderr:
                for line in stderr:
                    last_line = line.strip() or last_line
        code = process.wait()
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        if code > 0:
            self._on_failure(last_line.decode("utf-8", "replace")[:400] or "The window ended by itself.")

    def _activate(self, process: subprocess.Popen[bytes], node: str) -> None:
        for _ in range(int(START_TIMEOUT_S / RETRY_S)):
            if signal_instance(self._state_dir, INSTANCE_SOCKET, node):
                return
            with suppress(subprocess.TimeoutExpired):
                process.wait(RETRY_S)
                return
