"""The model services of a cluster, as its manager lists them: a stranger's text, so nothing in it is believed.

What is shown of a cluster that answers: labelled lines, and sentences about what should be looked at.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.backends.backend_ai.client import ManagerVersion
from meshlight.backends.backend_ai.limits import NOTICED_S, ClusterClock, Quota
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import BadAddress
from meshlight.domain.text import sanitize_line
from meshlight.http_client.address import Address, parse_address, ring_of

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
    raws = decode_or_none(body, _items)
    if raws is None:
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
        return sanitize_line(error.title)
    if ring_of(address) == "machine" and ring_of(manager) != "machine":
        return (
            f"{address.url} leads to this machine and not to the cluster; its app proxy needs an address "
            "that is known from outside."
        )
    return address


def _read(raw: Raw) -> Service | None:
    item = decode_or_none(raw, _item)
    if item is None:
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


TROUBLES_SHOWN = 8


class ClusterSummary(Struct, frozen=True, kw_only=True):
    """All that is known of a cluster."""

    address: Address
    """Of its manager."""
    access_key: str
    hello: ManagerVersion
    version: str
    """Of the API, as it is spoken."""
    services: tuple[Service, ...]
    quota: Quota | None
    troubles: Mapping[str, str]
    """Why some services can't be used, by their names."""
    plain: tuple[str, ...]
    """The services that are reached without TLS though the manager is reached by it."""


def summary_lines(shown: ClusterSummary, clock: ClusterClock) -> dict[str, str]:
    """Return the labelled lines."""
    up = sum(service.is_up for service in shown.services)
    lines = {
        "Manager": shown.hello.manager or "of an unknown version",
        "API version": shown.version,
        "Access key": sanitize_line(shown.access_key, 40),
        "Services": f"{len(shown.services)}, {up} with an active route",
        "Latency": "of the manager's API, not of a model",
    }
    if shown.quota is not None:
        lines["Requests left"] = str(shown.quota)
    if abs(clock.offset_s) > NOTICED_S:
        lines["Clock"] = f"this computer's is {clock.difference()}"
    troubles = list(shown.troubles.items())
    for name, trouble in troubles[:TROUBLES_SHOWN]:
        lines[f"Service {sanitize_line(name, 60)}"] = sanitize_line(trouble)
    if len(troubles) > TROUBLES_SHOWN:
        lines["Further services"] = f"{len(troubles) - TROUBLES_SHOWN} more can't be used"
    return lines


def warnings(shown: ClusterSummary, clock: ClusterClock) -> tuple[str, ...]:
    """Return the sentences."""
    found: list[str] = []
    if shown.address.scheme == "http" and ring_of(shown.address) != "machine":
        found.append(
            "Plain http to another host: who can listen on the way sees tokens, prompts and answers, and can change "
            "them. Use the https:// address."
        )
    if clock.is_far_off:
        mend = "Requests are dated by the cluster's clock; set this one." if clock.follows else "Set it."
        found.append(f"This computer's clock is {clock.difference()}. {mend}")
    if not any(service.is_up for service in shown.services):
        found.append("Signed in, but no model service has an active route: start one in Backend.AI.")
    if shown.plain:
        names = sanitize_line(", ".join(shown.plain), 120)
        found.append(f"The manager is asked by https, but these services are reached by plain http: {names}.")
    return tuple(found)
