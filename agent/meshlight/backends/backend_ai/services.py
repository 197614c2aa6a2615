"""The model services of a cluster, as its manager lists them: a stranger's text, so nothing in it is believed."""

import re
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.backends.address import Address, parse_address, ring_of
from meshlight.backends.quote import clean
from meshlight.domain.errors import BadAddress

SERVICES_MAX = 500
NAME_MAX = 200
_COMMAS_MAX = 100_000
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Service(Struct, frozen=True, kw_only=True):
    """One model service: some containers that run the same model, behind one address of the app proxy."""

    id: str
    name: str
    endpoint: str = ""
    """Where it is used; empty while it has no address."""
    routes: int = 0
    """How many of its containers can answer now."""
    is_public: bool = False
    """Whether it may be used without a token."""

    @property
    def is_up(self) -> bool:
        """Whether anybody could answer there."""
        return self.routes > 0 and self.endpoint != ""


class _Item(Struct):
    id: str
    name: str
    active_route_count: Any = None
    service_endpoint: Any = None
    is_public: Any = None


_items = msgspec.json.Decoder(list[Raw])
_item = msgspec.json.Decoder(_Item)


def read_services(body: bytes) -> tuple[Service, ...] | None:
    """Read the answer to `GET /services` (one shape from 23.03 to 26.9); None when it is no such list."""
    if body.count(b",") > _COMMAS_MAX:
        return None
    try:
        raws = _items.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    found = [service for raw in raws[:SERVICES_MAX] if (service := _read(raw)) is not None]
    return tuple({service.id: service for service in found}.values())


def place_of_service(endpoint: str, manager: Address) -> Address | str:
    """Return where a service is, or the sentence that says why it is not used.

    An address of the loopback, from a manager elsewhere, is that machine's own: here it would be a stranger's say
    in what this machine asks itself.
    """
    try:
        address = parse_address(endpoint)
    except BadAddress as error:
        return clean(error.title)
    if ring_of(address) == "machine" and ring_of(manager) != "machine":
        return (
            f"{address.url} leads to this machine and not to the cluster; its app proxy needs an address "
            "that is known from outside."
        )
    return address


def _read(raw: Raw) -> Service | None:
    try:
        item = _item.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    name = item.name
    if (
        not _ID.fullmatch(item.id)
        or not 0 < len(name) <= NAME_MAX
        or not name.isprintable()
        or name.isspace()
    ):
        return None
    routes = item.active_route_count
    return Service(
        id=item.id,
        name=name,
        endpoint=item.service_endpoint if isinstance(item.service_endpoint, str) else "",
        routes=routes if isinstance(routes, int) and routes > 0 else 0,
        is_public=item.is_public is True,
    )
