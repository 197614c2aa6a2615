"""The network interfaces of this machine that may lead to other machines."""

import ipaddress
import re
import socket
import sys
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

_INNER = re.compile(
    r"(docker|podman|cni|virbr|lxcbr|lxdbr|vmnet|vboxnet)[0-9]+|br-[0-9a-f]{12}|(veth|cali|flannel|vnet).*"
)
"""Networks of containers and virtual machines inside this machine. Their addresses are the same on every machine, so
announcing them would make two machines look like one; and they come and go all the time."""


_LINK, _V4, _V6 = 0x1, 0x10, 0x100
"""The groups of rtnetlink(7) that hear of changed interfaces and addresses."""


class Interface(Struct, frozen=True, order=True):
    """One interface that is not the loopback one."""

    name: str
    index: int
    v4: tuple[str, ...]
    v6: tuple[str, ...]
    """Without zones."""


def find_interfaces() -> tuple[Interface, ...]:
    """Return the interfaces in a fixed order; blocks for about a millisecond. Raises OSError.

    Those of containers and virtual machines are left out, and so is one that has only a link-local IPv6 address: it
    belongs to no network of its own (for example the host's end of a container's cable).
    """
    import ifaddr  # noqa: PLC0415 - in the thread that looks, not at the start

    found = []
    for adapter in ifaddr.get_adapters():
        v4 = tuple(sorted(ip.ip for ip in adapter.ips if isinstance(ip.ip, str)))
        v6 = tuple(sorted(ip.ip[0].partition("%")[0] for ip in adapter.ips if isinstance(ip.ip, tuple)))
        if is_outside(adapter.nice_name, (*v4, *v6)):
            found.append(Interface(adapter.nice_name, adapter.index or 0, v4, v6))
    return tuple(sorted(found))


def is_outside(name: str, addresses: Iterable[str]) -> bool:
    """Whether an interface of this name and these addresses may lead to other machines."""
    if _INNER.fullmatch(name):
        return False
    parsed = [ipaddress.ip_address(text) for text in addresses]
    if any(address.is_loopback for address in parsed):
        return False
    return any(address.version == 4 or not address.is_link_local for address in parsed)


class InterfaceNews(Protocol):
    """Says whether the interfaces have to be listed again."""

    def may_differ(self) -> bool:
        """Whether they may have changed since this was asked last; True when it is asked for the first time."""

    def close(self) -> None:
        """Forget what was asked; it may be asked again."""


class NetlinkNews:
    """Implements `InterfaceNews` by Linux's messages; on other systems, they may always have changed."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def may_differ(self) -> bool:
        """See `InterfaceNews`."""
        if self._socket is None:
            self._socket = _netlink()
            return True
        may_differ = False
        try:
            while self._socket.recv(65_536, socket.MSG_DONTWAIT):
                may_differ = True
        except BlockingIOError:
            return may_differ
        except OSError:  # more messages than it holds
            return True
        return True

    def close(self) -> None:
        """See `InterfaceNews`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _netlink() -> socket.socket | None:
    """Return a socket that receives a message for each change; None where there is none."""
    if sys.platform != "linux":
        return None
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)  # 0: NETLINK_ROUTE
    except OSError:
        return None
    try:
        netlink.bind((0, _LINK | _V4 | _V6))
    except OSError:
        netlink.close()
        return None
    return netlink
