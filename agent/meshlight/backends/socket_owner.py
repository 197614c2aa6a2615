"""Which account's server listens on a port of this machine, if the system says so: other users are not trusted."""

import os
import re
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from msgspec import Struct

from meshlight.http_client.address import Address

PROC_NET = Path("/proc/net")
HAS_SOCKET_OWNERS = sys.platform == "linux"
"""Whether this system shows the owner of a listening socket without special permissions."""
_LISTENING = "0A"
"""TCP_LISTEN, as the fourth column of the kernel's tables has it (proc_net_tcp.rst)."""
_AT = re.compile(r"(?:[0-9A-F]{8}|[0-9A-F]{32}):[0-9A-F]{4}")
_EVERYWHERE = (IPv4Address(0), IPv6Address(0))
_SERVICES_BELOW = 1000
"""User ids below belong to the system and its services, by the convention of all distributions (`login.defs`)."""
_DYNAMIC = range(61_184, 65_520)
"""User ids of systemd's services with `DynamicUser=` ("Users, Groups, UIDs and GIDs on systemd Systems"); no person
has one of them."""

IPAddress = IPv4Address | IPv6Address


class Listener(Struct, frozen=True):
    """A listening socket."""

    ip: IPAddress
    port: int
    owner: int
    """The user id of its account."""


class Listeners(Struct, frozen=True):
    """All listening TCP sockets of this machine at one moment; empty if the system does not show them."""

    all: tuple[Listener, ...] = ()

    def owner_at(self, address: Address) -> int | None:
        """Return the user id whose server a connection to a loopback address reaches; of several, an untrusted one.

        None if no listener is visible: the system does not show it, or it is a container behind a redirection, which
        only the system's own account can set up.
        """
        target = ip_address("127.0.0.1" if address.host == "localhost" else address.host)
        here = [one for one in self.all if one.port == address.port]
        # The kernel prefers the socket of this exact address to one of all addresses.
        for ip in (target, *(every for every in _EVERYWHERE if every.version >= target.version)):
            owners = [one.owner for one in here if one.ip == ip]
            if owners:
                return next((owner for owner in owners if not is_trusted(owner)), owners[0])
        return None


def is_trusted(owner: int | None) -> bool:
    """Whether prompts may be sent to an account's server: this user's, root's, a service's, or an unknown one's."""
    return owner is None or owner < _SERVICES_BELOW or owner in _DYNAMIC or owner == _own_uid()


def read_listeners(tables: Path = PROC_NET) -> Listeners:
    """Read the listening sockets. Call it in a thread: with many connections the kernel takes long."""
    found: list[Listener] = []
    for name in ("tcp", "tcp6") if HAS_SOCKET_OWNERS else ():
        try:
            with (tables / name).open(encoding="ascii", errors="replace") as lines:
                found += [one for line in lines if (one := _listener(line)) is not None]
        except OSError:
            continue
    return Listeners(tuple(found))


def read_connection_owner(host: str, port: int, to_port: int, tables: Path = PROC_NET) -> int | None:
    """Return the user id of the program whose socket at `host`:`port` is connected to a port here.

    None if the system does not show it. Call it in a thread, as `read_listeners`.
    """
    try:
        local = ip_address(host)
    except ValueError:
        return None
    for name in ("tcp", "tcp6") if HAS_SOCKET_OWNERS else ():
        try:
            with (tables / name).open(encoding="ascii", errors="replace") as lines:
                for line in lines:
                    words = line.split(maxsplit=8)
                    if len(words) < 8 or not _AT.fullmatch(words[1]) or not _AT.fullmatch(words[2]):
                        continue
                    at, _, own_port = words[1].partition(":")
                    if (
                        int(own_port, 16) == port
                        and int(words[2].partition(":")[2], 16) == to_port
                        and words[7].isdecimal()
                        and _ip(at) == local
                    ):
                        return int(words[7])
        except OSError:
            continue
    return None


def is_own(owner: int | None) -> bool:
    """Whether an account is this user's, or root's, or unknown."""
    return owner is None or owner in {0, _own_uid()}


def _listener(line: str) -> Listener | None:
    words = line.split(maxsplit=8)
    if len(words) < 8 or words[3] != _LISTENING or not _AT.fullmatch(words[1]) or not words[7].isdecimal():
        return None
    at, _, port = words[1].partition(":")
    return Listener(_ip(at), int(port, 16), int(words[7]))


def _ip(text: str) -> IPAddress:
    """Read an address of the tables: words of 32 bits in the machine's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    if len(packed) == 4:
        return IPv4Address(packed)
    address = IPv6Address(packed)
    return address.ipv4_mapped or address


def _own_uid() -> int:
    return -1 if sys.platform == "win32" else os.geteuid()
