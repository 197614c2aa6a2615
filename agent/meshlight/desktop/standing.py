"""How it stands with the service, as its supervisor sees it."""

from typing import Literal

from msgspec import Struct

ServiceState = Literal["starting", "running", "silent", "restarting", "port-taken", "stopped", "given-up"]
"""`silent` is there and does not answer."""


class Standing(Struct, frozen=True, kw_only=True):
    """One state of the service, with what to say of it."""

    state: ServiceState
    text: str
    fix: str = ""
    url: str = ""
    """Where it answers, while it runs."""
    instance: str = ""
    """Which start of the service that is."""
    is_ours: bool = True
    """Whether it is our child, and ends with us."""
    port: int | None = None
    """The port that somebody else has, when that is what is wrong."""
