"""The network interfaces of this machine that may lead to other machines."""

import ipaddress
import re
from collections.abc import Iterable

import ifaddr
from msgspec import Struct

_INNER = re.compile(
    r"(docker|podman|cni|virbr|lxcbr|lxdbr|vmnet|vboxnet)[0-9]+|br-[0-9a-f]{12}|(veth|cali|flannel|vnet).*"
)
"""Networks of containers and virtual machines inside this machine. Their addresses are the same on every machine, so
announcing them would make two machines look like one; and they come and go all the time."""


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
