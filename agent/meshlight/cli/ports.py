"""Ports of this machine: whether one is free, and which process uses it."""

import errno
import socket
import sys
from pathlib import Path

from msgspec import Struct

from meshlight.domain.config import HOST

_LISTENING = "0A"
"""The kernel's number for a listening socket in /proc/net/tcp."""

_FINDERS = {
    "linux": "sudo ss -ltnp 'sport = :{port}'",
    "darwin": "sudo lsof -nP -iTCP:{port} -sTCP:LISTEN",
    "win32": "netstat -ano | findstr :{port}",
}


class PortOwner(Struct, frozen=True):
    """A process that listens on a port."""

    pid: int
    name: str


def is_port_free(port: int, host: str = HOST) -> bool:
    """Whether a service could listen on this port of a loopback address now; True for IPv6 where there is none."""
    try:
        probe = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return True
    with probe:
        if sys.platform != "win32":  # on Windows it would let two programs share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            return ":" in host and error.errno != errno.EADDRINUSE
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def port_owner(port: int, proc: Path = Path("/proc")) -> PortOwner | None:
    """Return the process that listens on `port`, if the system shows it (Linux, for processes of this user)."""
    sockets = {
        f"socket:[{inode}]" for table in ("tcp", "tcp6") for inode in _inodes(proc / "net" / table, port)
    }
    if not sockets:
        return None
    for process in proc.glob("[0-9]*"):
        try:
            if any(str(link.readlink()) in sockets for link in (process / "fd").iterdir()):
                return PortOwner(int(process.name), (process / "comm").read_text().strip())
        except OSError:
            continue  # it has ended, or belongs to another user
    return None


def how_to_find(port: int) -> str:
    """Return the command that shows which process uses a port, for when `port_owner` can't."""
    return _FINDERS.get(sys.platform, _FINDERS["darwin"]).format(port=port)


def _inodes(table: Path, port: int) -> set[str]:
    """Return the inodes of the sockets that listen on `port`, from one of the kernel's tables."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return set()
    fields = [line.split() for line in lines]
    return {f[9] for f in fields if len(f) > 9 and f[3] == _LISTENING and f[1].endswith(f":{port:04X}")}
