"""The id by which this node recognises its own requests: random, stored, and different on each machine."""

import hashlib
import re
import secrets
import socket
from contextlib import suppress
from pathlib import Path

from meshlight.storage.files import read_capped, write_atomic

_SEED = re.compile(r"[0-9a-f]{32}")


def read_node_id(state_dir: Path, host: str | None = None) -> str:
    """Return this node's id (16 hex digits), created at the first start; raises OSError where it can't be stored.

    The host's name is part of it: a state folder copied to another machine keeps its seed, and two nodes with the
    same id would take each other's requests for their own.
    """
    path = state_dir / "node.id"
    seed = ""
    with suppress(OSError, UnicodeDecodeError):
        seed = read_capped(path, 4096).decode("ascii").strip()
    if not _SEED.fullmatch(seed):
        seed = secrets.token_hex(16)
        write_atomic(path, f"{seed}\n".encode())
    parts = ("meshlight node", seed, socket.gethostname() if host is None else host)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
