"""How a second start reaches the first: by a socket file (on Windows a named pipe), never over the network."""

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

LONGEST = 512
"""Bytes of a message."""
MESSAGE_S = 2.0
"""For one who rings to say what he wants."""
_LONGEST_PATH = 100
"""Systems cut the path of a socket off at 104 or 108 bytes."""


class ActivationListener:
    """Listens for rings by one `name` below one folder; who makes it holds the lock that allows only one.

    `on_ring` is called from a thread of the bell's with the text that came.
    """

    def __init__(self, folder: Path, name: str, on_ring: Callable[[str], None]) -> None:
        self._on_ring = on_ring
        self._address = _address(folder, name)
        if sys.platform != "win32":
            with suppress(FileNotFoundError):
                Path(self._address).unlink()  # of one that was killed: the lock says that nobody else listens
        self._listener = Listener(self._address, backlog=32)
        self._is_open = True
        threading.Thread(target=self._listen, name=f"bell {name}", daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
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
                with self._listener.accept() as caller:
                    if not caller.poll(MESSAGE_S):
                        continue
                    text = caller.recv_bytes(LONGEST).decode("utf-8", "replace")
                    caller.send_bytes(b"heard")
            except (OSError, EOFError):
                continue
            self._on_ring(text)


def signal_instance(folder: Path, name: str, text: str = "") -> bool:
    """Ring the bell; whether somebody heard it."""
    try:
        with Client(_address(folder, name)) as line:
            line.send_bytes(text.encode()[:LONGEST])
            return line.poll(MESSAGE_S) and line.recv_bytes(LONGEST) == b"heard"
    except (OSError, EOFError):
        return False


def _address(folder: Path, name: str) -> str:
    digest = hashlib.sha256(f"{folder}\n{name}".encode()).hexdigest()[:16]
    if sys.platform == "win32":
        return rf"\\.\pipe\meshlight-{digest}"
    path = folder / f"{name}.bell"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return str(path)
    # A folder of this user's own, or somebody else could take the name first.
    short = Path(tempfile.gettempdir()) / f"meshlight-{os.getuid()}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if short.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{short} is not a folder of this user's own.")
    return str(short / digest)
