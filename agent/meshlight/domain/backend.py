"""One backend as configured or found, what it reports of a model, and the reason for its state."""

from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

Kind = Literal[
    "local",
    "llamacpp",
    "ollama",
    "vllm",
    "mlx",
    "lmstudio",
    "openai-compatible",
    "peer",
    "continuum",
    "cluster",
    "openai",
    "anthropic",
    "gemini",
]
Ring = Literal["machine", "lan", "company", "cloud"]
Source = Literal["config", "found", "own", "demo"]

KINDS: tuple[Kind, ...] = get_args(Kind)
RINGS: tuple[Ring, ...] = get_args(Ring)
RING_ORDER: dict[Ring, int] = {ring: distance for distance, ring in enumerate(RINGS)}
ACCOUNT_KINDS: frozenset[Kind] = frozenset({"cluster", "openai", "anthropic", "gemini"})
"""Kinds where many accounts share one address, so that it may be configured once per account."""
_ACCOUNT_RINGS: Mapping[Kind, Ring] = {
    "cluster": "company",
    "openai": "cloud",
    "anthropic": "cloud",
    "gemini": "cloud",
}
"""The ring of a kind's account, whatever the ring of its address (perhaps a proxy's)."""

MODEL_ID_MAX = 512
"""Letters in the id of a model."""
SLOTS_MAX = 10_000
"""Slots that a user may set for one backend."""
NAMED_MODELS_MAX = 1_000
"""Models that a user may name for one backend."""


def is_model_id(name: str) -> bool:
    """Whether a text, from the user or a server, can be the id of a model."""
    return 0 < len(name) <= MODEL_ID_MAX and name.isprintable() and not name.isspace()


class Backend(Struct, frozen=True, kw_only=True):
    """A server that answers inference requests, as configured or found; its live state is a `Node`."""

    id: str
    name: str
    kind: Kind
    ring: Ring
    url: str
    enabled: bool = True
    source: Source = "config"
    priority: int = 0
    """Smaller is tried earlier under the `priority` policy."""
    slots: int | None = None
    """Requests that it answers at the same time for each model, as the user set it; None for what is learned."""
    first_byte_s: float = 300.0
    """Seconds that a request may wait for its first body byte; loading a model may take minutes."""
    idle_s: float = 300.0
    """Seconds that a stream may pause between two bytes."""
    has_secret: bool = False
    """Whether a secret is stored for this backend; the secret itself is never part of this struct."""
    access_key: str = ""
    """The public half of a cluster's key pair: it names the account and is not a secret."""
    ca_file: str = ""
    """Path of a PEM file with the authorities for its certificate; empty for the system's."""
    proxy: str = ""
    """`env` (HTTPS_PROXY and NO_PROXY), `none`, or the URL of an HTTP proxy; empty for `proxy_setting`'s default."""
    models: tuple[str, ...] = ()
    """The ids of its models as the user names them, for a server without a list; empty for what the server lists."""
    node_id: str = ""
    """Of a peer: the node id that its key must have."""
    follow_clock: bool = True
    """Whether requests are signed with a cluster's time when this machine's clock is wrong."""

    @property
    def is_offer(self) -> bool:
        """Whether it was not added by the user: a found engine, a part of the demo, or a peer."""
        return self.source in {"found", "demo"} or self.kind == "peer"

    @property
    def is_metered(self) -> bool:
        """Whether each request may cost money."""
        return self.ring == "cloud" or _ACCOUNT_RINGS.get(self.kind) == "cloud"

    @property
    def proxy_setting(self) -> str:
        """`env`, `none` or a URL: without a setting, the environment's proxy for clouds and none for all else."""
        return self.proxy or ("env" if self.reach == "cloud" else "none")

    @property
    def reach(self) -> Ring:
        """How far a prompt really travels: its ring, or the ring of its account where that is farther."""
        account_ring = _ACCOUNT_RINGS.get(self.kind, self.ring)
        return max(self.ring, account_ring, key=lambda ring: RING_ORDER[ring])


class ModelDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an engine reports of one of its models; what it does not report is never guessed."""

    context: int | None = None
    """Tokens that a prompt and its answer may have together."""
    loaded: bool | None = None
    """Whether it is in memory now, so that a request need not wait for loading."""
    slots: int | None = None
    """Requests that it answers at the same time."""
    running: int | None = None
    """Requests of all its clients that it works on, while others wait in its own queue."""
    waiting: int | None = None
    """Requests of all its clients that wait in its own queue; None for none."""
    load_s: float | None = None
    """Seconds that its last load took."""
    ring: Ring | None = None
    """How far a prompt may travel behind a peer, where that is beyond its network."""
    quantization: str = ""
    """The engine's name for it, such as `Q4_K_M`."""
    parameters: str = ""
    """The size as text, such as `7B`."""
    capabilities: tuple[str, ...] = ()
    """Out of: chat, completion, embeddings, rerank, vision, audio, tools, thinking, image, speech, transcription."""


class Reason(Struct, frozen=True):
    """Why a backend is in its state: a code for programs, a sentence with the cause, a sentence with the fix."""

    code: str
    text: str
    fix: str = ""


OK = Reason("ok", "Answers as it should.")
NOT_CHECKED = Reason("not-checked", "Not checked yet.", "Wait a moment, or press Refresh.")
