"""What the user may set; the file it is read from is the store's business.

What the service leaves for those who look for it, once its port is bound: the runtime file.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from meshlight.domain.backend import Backend
from meshlight.domain.peers import DOOR_PORT, LAN_PORT, Peer
from meshlight.domain.rules import Routing

HOST = "127.0.0.1"
"""The address that the service listens at, and has to have."""
HOST_V6 = "::1"
"""The same in IPv6, which `localhost` may mean to a program; it is listened at where it can be had."""
DEFAULT_PORT = 6374
"""M-E-S-H on a phone."""


class DiscoverySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether local engines are looked for, and the URLs of those that are switched off for good."""

    enabled: bool = True
    ignored: tuple[str, ...] = ()


class LanSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this node meets others on the local network."""

    visible: bool = False
    """Whether others can see this machine, and ask it to pair."""
    browse: bool = True
    """Whether it looks for others."""
    listen: bool = False
    """Whether peers may ask at all; the first pairing switches it on."""
    port: Annotated[int, Meta(ge=1, le=65_535)] = LAN_PORT
    """Where peers ask (TLS, only with a paired key)."""
    pending_unpair_notices: tuple[str, ...] = ()
    """Node ids of former peers that have not heard yet that the pairing is over: they are told when they next ask."""
    door: Annotated[int, Meta(ge=1, le=65_535)] = DOOR_PORT
    """Where others ask to pair, while this machine is visible."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration, valid by construction; secrets are never in it."""

    port: int = DEFAULT_PORT
    name: str = ""
    """How this node calls itself; empty means the host's name."""
    require_key: bool = True
    """Whether `/v1` wants the local key; False opens it to every program on this machine."""
    paused: bool = False
    """Whether requests are turned away; the backends are watched all the same."""
    allowed_hosts: tuple[str, ...] = ()
    """Other names by which this service is asked, with the local key only."""
    allowed_origins: tuple[str, ...] = ()
    """Other sites whose pages may ask for inference, with the local key only."""
    routing: Routing = field(default_factory=Routing)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    lan: LanSettings = field(default_factory=LanSettings)
    backends: tuple[Backend, ...] = ()
    peers: tuple[Peer, ...] = ()
    """Whom this node is paired with, and what each may use here."""


class Runtime(Struct, frozen=True, kw_only=True):
    """Where the running service is; the key itself is in the file that `key_file` names."""

    url: str
    pid: int
    instance: str
    """A random id of this start, part of its proof at `/healthz`; nobody else is told."""
    key_file: str
    version: str
