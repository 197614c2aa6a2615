"""Which programs beside Meshlight are connected to engines of this machine, if the system says so (Linux)."""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")
SHOWS_CONNECTIONS = sys.platform == "linux"
_ESTABLISHED = "01"
"""TCP_ESTABLISHED, as the fourth column of the kernel's tables has it (proc_net_tcp.rst)."""
_HAS_ESTABLISHED = f" {_ESTABLISHED} "
_AT = re.compile(r"(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}")
CONNECTIONS_MAX = 100_000
"""Lines of one table that are read."""
PROCESSES_MAX = 4_000
FILES_MAX = 4_096
"""Open files of one process that are looked at."""
NAMES_KEPT = 1_000
PROGRAMS_MAX = 5
OTHER_MACHINE = "another machine or a container"


class Clients(Struct, frozen=True):
    """The connections of others to one port."""

    connections: int
    programs: tuple[str, ...] = ()


class EngineClients:
    """Looks for connections to ports of this machine; a program's name is looked up once for each connection.

    Call it in a thread: with many connections or processes the kernel takes long.
    """

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._names: dict[str, str] = {}
        """Names of programs by the inode of a socket; empty where it belongs to another user."""

    def look(self, ports: Mapping[str, int]) -> dict[str, Clients]:
        """Return who else is connected to these ports (by any key), without those to which nobody is."""
        if not SHOWS_CONNECTIONS or not ports:
            return {}
        wanted = frozenset(ports.values())
        rows = [row for row in self._rows() if row[1] in wanted or row[3] in wanted]
        if not rows:
            return {}
        own = set(_sockets(self._proc / "self" / "fd"))
        ends = {(ip, port) for ip, port, _, _, _ in rows}
        inodes: dict[int, list[str]] = {}
        for _, port, to_ip, to_port, inode in rows:
            if to_port in wanted and inode not in own:
                inodes.setdefault(to_port, []).append(inode)
            if port in wanted and (to_ip, to_port) not in ends:  # its other end is not on this machine
                inodes.setdefault(port, []).append("")
        self._learn_names({inode for found in inodes.values() for inode in found if inode})
        return {
            key: Clients(len(found), self._programs(found))
            for key, port in ports.items()
            if (found := inodes.get(port))
        }

    def _rows(self) -> Iterator[tuple[str, int, str, int, str]]:
        for name in ("tcp", "tcp6"):
            try:
                with (self._proc / "self" / "net" / name).open(encoding="ascii", errors="replace") as lines:
                    for line in islice(lines, CONNECTIONS_MAX):
                        # Most lines of a busy machine are connections that have ended: they are not taken apart.
                        if _HAS_ESTABLISHED in line and (row := _row(line)) is not None:
                            yield row
            except OSError:
                continue

    def _learn_names(self, inodes: set[str]) -> None:
        missing = inodes - self._names.keys()
        if not missing:
            return
        if len(self._names) > NAMES_KEPT:
            self._names.clear()
            missing = inodes
        self._names |= dict.fromkeys(missing, "")
        for process in islice(self._proc.glob("[0-9]*"), PROCESSES_MAX):
            if not missing:
                return
            found = missing.intersection(_sockets(process / "fd"))
            if found:
                missing -= found
                self._names |= dict.fromkeys(found, _name(process))

    def _programs(self, inodes: Iterable[str]) -> tuple[str, ...]:
        names = dict.fromkeys(self._names.get(inode, "") if inode else OTHER_MACHINE for inode in inodes)
        return tuple(name for name in names if name)[:PROGRAMS_MAX]


def _row(line: str) -> tuple[str, int, str, int, str] | None:
    """Read a line: own address and port, the other end's, and the inode; None unless it is a connection."""
    words = line.split(maxsplit=10)
    if len(words) < 10 or words[3] != _ESTABLISHED:
        return None
    if not _AT.fullmatch(words[1]) or not _AT.fullmatch(words[2]):
        return None
    (ip, _, port), (to_ip, _, to_port) = words[1].partition(":"), words[2].partition(":")
    return _short(ip), int(port, 16), _short(to_ip), int(to_port, 16), words[9]


def _short(ip: str) -> str:
    """Return an address of version 4 in one form, also where it is written as one of version 6."""
    return ip[24:] if len(ip) == 32 and ip.startswith("0" * 16 + "FFFF0000") else ip


def _sockets(folder: Path) -> Iterator[str]:
    """Return the inodes of a process's sockets; none where it has ended, or belongs to another user."""
    try:
        for link in islice(folder.iterdir(), FILES_MAX):
            try:
                target = str(link.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                yield target[8:-1]
    except OSError:
        return


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
