"""Lets a second start of Meshlight activate the first, by a socket file (on Windows a named pipe)."""

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from pathlib import Path
from typing import Self

QUIT = "quit?"
"""Asks a tray or window to end. No backend id contains a `?`."""
MAX_MESSAGE_BYTES = 512
MESSAGE_TIMEOUT_S = 2.0
"""How long the listener waits for the message of a connection, and the sender for the reply."""
_MAX_PATH_BYTES = 100
"""Systems limit the path of a socket to 104 or 108 bytes."""
_RECEIVED = b"heard"
"""The reply to a message. It stays the same, as programs before and after an update talk to each other."""


class ActivationListener:
    """Listens on the socket `name` in a folder; its owner must hold the lock that allows only one instance.

    `on_activate` is called with the received text, from the listener's own thread.
    """

    def __init__(self, folder: Path, name: str, on_activate: Callable[[str], None]) -> None:
        self._on_activate = on_activate
        self._address = _address(folder, name)
        if sys.platform != "win32":
            with suppress(FileNotFoundError):
                Path(
                    self._address
                ).unlink()  # left by a killed process: the lock guarantees that no other one listens
        self._listener = Listener(self._address, backlog=32)
        self._is_open = True
        threading.Thread(target=self._listen, name=f"activation {name}", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._is_open = False
        with suppress(OSError):
            self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listen(self) -> None:
        while self._is_open:
            try:
                with self._listener.accept() as connection:
                    if not connection.poll(MESSAGE_TIMEOUT_S):
                        continue
                    text = connection.recv_bytes(MAX_MESSAGE_BYTES).decode("utf-8", "replace")
                    connection.send_bytes(_RECEIVED)
            except (OSError, EOFError):
                continue
            self._on_activate(text)


def signal_instance(folder: Path, name: str, text: str = "") -> bool:
    """Send a text to the running instance; returns whether one received it."""
    try:
        with Client(_address(folder, name)) as connection:
            connection.send_bytes(text.encode()[:MAX_MESSAGE_BYTES])
            return (
                connection.poll(MESSAGE_TIMEOUT_S) and connection.recv_bytes(MAX_MESSAGE_BYTES) == _RECEIVED
            )
    except (OSError, EOFError):
        return False


def _address(folder: Path, name: str) -> str:
    digest = hashlib.sha256(f"{folder}\n{name}".encode()).hexdigest()[:16]
    if sys.platform == "win32":
        return rf"\\.\pipe\meshlight-{digest}"
    path = folder / f"{name}.bell"
    if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
        return str(path)
    # In a folder that only this user can write, so that no other user can take the name first.
    short = Path(tempfile.gettempdir()) / f"meshlight-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    status = short.lstat()
    if short.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{short} is not a private folder of this user.")
    return str(short / digest)
