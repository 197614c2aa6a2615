"""The model services of a cluster: how the manager lists them, and what people see of the cluster.

The list is untrusted text: each field is checked before it is used or shown.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.backends.backend_ai.client import ManagerVersion
from meshlight.backends.backend_ai.limits import SHOWN_S, ClusterClock, Quota
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import BadAddress
from meshlight.domain.text import milliseconds, sanitize_line
from meshlight.http_client.address import Address, parse_address, ring_of

SERVICES_MAX = 500
NAME_MAX = 200
REPLICAS_MAX = 1_000_000
_COMMAS_MAX = 100_000
_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Service(Struct, frozen=True, kw_only=True):
    """One model service: containers that run the same model, behind one address of the app proxy."""

    id: str
    name: str
    endpoint: str = ""
    """Its address; empty while it has none."""
    routes: int = 0
    """How many of its containers can answer now."""
    desired: int | None = None
    """How many containers its owner wants; None if the manager does not say."""
    is_public: bool = False
    """Whether it may be used without a token."""

    @property
    def is_up(self) -> bool:
        """Whether anything could answer there."""
        return self.routes > 0 and self.endpoint != ""

    @property
    def state(self) -> str:
        """Why nothing can answer there, in a few words; empty when something can."""
        if self.is_up:
            return ""
        if self.routes > 0:
            return "it has no address yet"
        if self.desired == 0:
            return "it is stopped (0 replicas wanted)"
        wanted = "" if self.desired is None else f" ({self.routes} of {self.desired} wanted)"
        return f"no active route{wanted}"


class _Item(Struct):
    id: str
    name: str
    active_route_count: Any = None
    desired_session_count: Any = None
    replicas: Any = None
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


def address_of_service(endpoint: str, manager: Address) -> Address | str:
    """Return the address of a service, or the sentence that says why it can't be used.

    A loopback address from a manager elsewhere is that machine's own; used here, it would let the manager choose
    what this machine requests from itself.
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
    desired = _count(item.desired_session_count)
    return Service(
        id=item.id,
        name=name,
        endpoint=item.service_endpoint if isinstance(item.service_endpoint, str) else "",
        routes=_count(item.active_route_count) or 0,
        desired=_count(item.replicas) if desired is None else desired,
        is_public=item.is_public is True,
    )


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= REPLICAS_MAX
    return value if is_count and isinstance(value, int) else None


PROBLEMS_SHOWN = 8
PROBLEMS_IN_WARNING = 3


class ClusterSummary(Struct, frozen=True, kw_only=True):
    """What is known of a cluster."""

    address: Address
    """The manager's."""
    access_key: str
    greeting: ManagerVersion
    version: str
    """The API version that requests are signed for."""
    services: tuple[Service, ...]
    quota: Quota | None
    latency_s: float | None
    """How long the manager takes to list the services; no model is part of it."""
    problems: Mapping[str, str]
    """Why some services can't be used, by their names."""
    plain: tuple[str, ...]
    """The services that are reached without TLS though the manager is reached with it."""


def summary_lines(summary: ClusterSummary, clock: ClusterClock) -> dict[str, str]:
    """Return labelled lines for people."""
    up = sum(service.is_up for service in summary.services)
    lines = {
        "Manager": summary.greeting.manager or "of an unknown version",
        "API version": summary.version,
        "Access key": sanitize_line(summary.access_key, 40),
        "Services": f"{len(summary.services)}, {up} with an active route",
    }
    if summary.latency_s is not None:
        lines["Manager latency"] = f"{milliseconds(summary.latency_s * 1000)} (its API, not a model)"
    if summary.quota is not None:
        lines["Requests left"] = str(summary.quota)
    if abs(clock.offset_s) > SHOWN_S:
        lines["Clock"] = f"this computer's is {clock.difference()}"
    problems = list(summary.problems.items())
    for name, problem in problems[:PROBLEMS_SHOWN]:
        lines[f"Service {sanitize_line(name, 60)}"] = sanitize_line(problem)
    if len(problems) > PROBLEMS_SHOWN:
        lines["Further services"] = f"{len(problems) - PROBLEMS_SHOWN} more can't be used"
    return lines


def degraded_text(summary: ClusterSummary) -> str:
    """Return why the cluster can serve nothing though its manager answers; empty when a service can be used."""
    if not summary.services:
        return "Signed in, but there is no model service: start one in Backend.AI."
    if len(summary.problems) < len(summary.services):
        return ""
    shown = [f"{name}: {problem}" for name, problem in summary.problems.items()][:PROBLEMS_IN_WARNING]
    more = len(summary.problems) - len(shown)
    text = sanitize_line("; ".join(shown) + (f"; and {more} more" if more else ""), 300).rstrip(".")
    if len(summary.services) == 1:
        return f"The only model service can't be used: {text}."
    return f"None of the {len(summary.services)} model services can be used: {text}."


def warnings(summary: ClusterSummary, clock: ClusterClock) -> tuple[str, ...]:
    """Return sentences about what should be looked at."""
    found: list[str] = []
    if summary.address.scheme == "http" and ring_of(summary.address) != "machine":
        found.append(
            "Plain http to another host: who can listen on the way sees tokens, prompts and answers, and can change "
            "them. Use the https:// address."
        )
    if clock.is_far_off:
        fix = "Requests are dated by the cluster's clock; set this one." if clock.follows else "Set it."
        found.append(f"This computer's clock is {clock.difference()}. {fix}")
    if degraded := degraded_text(summary):
        found.append(degraded)
    if summary.plain:
        names = sanitize_line(", ".join(summary.plain), 120)
        found.append(f"The manager is reached by https, but these services by plain http: {names}.")
    return tuple(found)
