"""What is shown of a cluster that answers: labelled lines, and sentences about what should be looked at."""

from collections.abc import Mapping

from msgspec import Struct

from meshlight.backends.address import Address, ring_of
from meshlight.backends.cluster_clock import NOTICED_S, ClusterClock
from meshlight.backends.cluster_manager import Hello
from meshlight.backends.cluster_quota import Quota
from meshlight.backends.cluster_services import Service
from meshlight.backends.quote import clean

TROUBLES_SHOWN = 8


class Shown(Struct, frozen=True, kw_only=True):
    """All that is known of a cluster."""

    address: Address
    """Of its manager."""
    access_key: str
    hello: Hello
    version: str
    """Of the API, as it is spoken."""
    services: tuple[Service, ...]
    quota: Quota | None
    troubles: Mapping[str, str]
    """Why some services can't be used, by their names."""
    plain: tuple[str, ...]
    """The services that are reached without TLS though the manager is reached by it."""


def about(shown: Shown, clock: ClusterClock) -> dict[str, str]:
    """Return the labelled lines."""
    up = sum(service.is_up for service in shown.services)
    lines = {
        "Manager": shown.hello.manager or "of an unknown version",
        "API version": shown.version,
        "Access key": clean(shown.access_key, 40),
        "Services": f"{len(shown.services)}, {up} with an active route",
        "Latency": "of the manager's API, not of a model",
    }
    if shown.quota is not None:
        lines["Requests left"] = str(shown.quota)
    if abs(clock.offset_s) > NOTICED_S:
        lines["Clock"] = f"this computer's is {clock.difference()}"
    troubles = list(shown.troubles.items())
    for name, trouble in troubles[:TROUBLES_SHOWN]:
        lines[f"Service {clean(name, 60)}"] = clean(trouble)
    if len(troubles) > TROUBLES_SHOWN:
        lines["Further services"] = f"{len(troubles) - TROUBLES_SHOWN} more can't be used"
    return lines


def warnings(shown: Shown, clock: ClusterClock) -> tuple[str, ...]:
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
        names = clean(", ".join(shown.plain), 120)
        found.append(f"The manager is asked by https, but these services are reached by plain http: {names}.")
    return tuple(found)
