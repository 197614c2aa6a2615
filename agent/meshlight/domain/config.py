"""The settings of the user, and the content of the runtime file, by which programs find the running service.

The files themselves are read and written in `meshlight.storage`.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from meshlight.domain.backend import Backend
from meshlight.domain.local_models import RunnerName, StoreName
from meshlight.domain.peers import LAN_PORT, PAIRING_PORT, Peer
from meshlight.domain.rules import Routing

HOST = "127.0.0.1"
"""The address that the service must be able to listen on."""
HOST_V6 = "::1"
"""The same in IPv6, which `localhost` may mean to a program; used where it is available."""
DEFAULT_PORT = 6374
"""M-E-S-H on a phone."""


class DiscoverySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether local engines are searched for, and the URLs of those that are ignored for good."""

    enabled: bool = True
    ignored: tuple[str, ...] = ()


class LanSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this node and others find and reach each other on the local network."""

    visible: bool = False
    """Whether others can discover this machine, and request a pairing."""
    browse: bool = True
    """Whether it discovers others."""
    listen: bool = False
    """Whether it listens for peers; the first pairing switches it on."""
    port: Annotated[int, Meta(ge=1, le=65_535)] = LAN_PORT
    """The port for peers (TLS, only with a paired key)."""
    pending_unpair_notices: tuple[str, ...] = ()
    """Node ids of former peers that do not know yet that the pairing is over; notified when they next connect."""
    door: Annotated[int, Meta(ge=1, le=65_535)] = PAIRING_PORT
    """The port for pairing requests, while this machine is visible."""


class LocalModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user has set for one of this machine's models; None means as for all."""

    id: str
    keep: bool = False
    """Loaded at the start, and never unloaded by itself."""
    idle_s: float | None = None
    context: Annotated[int, Meta(ge=256)] | None = None
    args: tuple[str, ...] = ()
    """Further arguments of the engine; those of network, key, model and tools are refused."""
    hidden: bool = False
    """Whether it is in no list and gets no request."""


class LocalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where this machine's models are looked for, what runs them, and for how long they stay in memory."""

    enabled: bool = True
    folder: str = ""
    """Where downloads go; empty for a folder of our own among the user's data."""
    folders: tuple[str, ...] = ()
    """Further folders with models, which are only read; may begin with `~`."""
    look_in: tuple[StoreName, ...] = ("hub", "lmstudio", "llamacpp", "jan", "gpt4all")
    """The stores of other programs, which are only read."""
    runner: Literal["auto"] | RunnerName = "auto"
    llama_server: str = ""
    """Path of llama.cpp's server; empty for the one on the PATH."""
    memory: str = "auto"
    """What models may take in all, such as `12 GB`; `auto` follows what the machine has free."""
    max_loaded: Annotated[int, Meta(ge=1, le=100)] = 3
    idle_s: Annotated[float, Meta(ge=0)] = 900.0
    """Seconds without a request until a model is unloaded; 0 for never."""
    load_s: Annotated[float, Meta(ge=1)] = 1_800.0
    """Seconds that a load may take at most."""
    context: Literal["auto"] | Annotated[int, Meta(ge=256)] = "auto"
    models: tuple[LocalModelSettings, ...] = ()


KeyStorage = Literal["ask", "keyring", "file"]
"""Where the keys of backends are kept: `ask` means the keyring, and a question where there is none."""


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration, valid by construction; secrets are never in it."""

    port: int = DEFAULT_PORT
    name: str = ""
    """The name of this node; empty means the host's name."""
    require_key: bool = True
    """Whether `/v1` requires the local key; False opens it to every program on this machine."""
    paused: bool = False
    """Whether requests are rejected; the backends are still probed."""
    key_storage: KeyStorage = "ask"
    notifications: bool = True
    """Whether the tray shows notifications."""
    keep_history: bool = True
    """Whether the last hour of each backend is remembered."""
    check_updates: bool = False
    """Whether the release feed is looked at once a day."""
    lane: bool = True
    """Whether ordinary requests are answered without a task; False sends all on the road that odd ones take."""
    allowed_hosts: tuple[str, ...] = ()
    """Other host names of this service, with the local key only."""
    allowed_origins: tuple[str, ...] = ()
    """Other web origins whose pages may send inference requests, with the local key only."""
    routing: Routing = field(default_factory=Routing)
    discovery: DiscoverySettings = field(default_factory=DiscoverySettings)
    lan: LanSettings = field(default_factory=LanSettings)
    backends: tuple[Backend, ...] = ()
    local: LocalSettings = field(default_factory=LocalSettings)
    peers: tuple[Peer, ...] = ()
    """The paired peers, and what each may use here."""


class Runtime(Struct, frozen=True, kw_only=True):
    """The address of the running service; the key itself is in the file `key_file`."""

    url: str
    pid: int
    instance: str
    """A random id of this start, part of its proof at `/healthz`; written nowhere else."""
    key_file: str
    version: str
