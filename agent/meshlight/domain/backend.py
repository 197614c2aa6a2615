"""What the configuration says of one backend.

What an engine tells of one of its models, beyond the id.

Why a backend is not healthy, in words for people, with the way to mend it.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from msgspec import Struct

Kind = Literal[
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
Source = Literal["config", "found"]

KINDS: tuple[Kind, ...] = get_args(Kind)
RINGS: tuple[Ring, ...] = get_args(Ring)
RING_ORDER: dict[Ring, int] = {ring: place for place, ring in enumerate(RINGS)}
ACCOUNT_KINDS: frozenset[Kind] = frozenset({"cluster", "openai", "anthropic", "gemini"})
"""Kinds of which many accounts share one address: it may be listed once for each account."""
_HOME_RINGS: Mapping[Kind, Ring] = {
    "cluster": "company",
    "openai": "cloud",
    "anthropic": "cloud",
    "gemini": "cloud",
}
"""Where the account of a kind is, whatever ring its address (a proxy's, perhaps) lies in."""


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
    first_byte_s: float = 300.0
    """How long a request may wait for its first body byte; a cold model load may take minutes."""
    idle_s: float = 300.0
    """How long a stream may pause between two bytes."""
    has_secret: bool = False
    """Whether a secret is kept for this backend; the secret itself is never part of this struct."""
    access_key: str = ""
    """The public half of a cluster's pair of keys: it names the account and proves nothing."""
    ca_file: str = ""
    """Path of a PEM file with the authorities that its certificate is checked against; empty for the system's."""
    node_id: str = ""
    """Of a peer: the id that its key has to have."""
    follow_clock: bool = True
    """Whether requests are signed by a cluster's clock when this machine's is off."""

    @property
    def is_offer(self) -> bool:
        """Whether somebody else said that it is there, and what it has: a found engine, a peer."""
        return self.source == "found" or self.kind == "peer"

    @property
    def is_metered(self) -> bool:
        """Whether sending a request twice may cost money twice."""
        return self.ring == "cloud" or _HOME_RINGS.get(self.kind) == "cloud"

    @property
    def reach(self) -> Ring:
        """How far a prompt really travels: its ring, or that of its kind's account where that is farther."""
        home = _HOME_RINGS.get(self.kind, self.ring)
        return max(self.ring, home, key=lambda ring: RING_ORDER[ring])


class ModelDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Only what the engine itself says is here; what it does not say is left out, never guessed."""

    context: int | None = None
    """How many tokens a prompt and its answer may have together."""
    loaded: bool | None = None
    """Whether it lies in memory now, so that an answer need not wait for it."""
    quantization: str = ""
    """As the engine calls it, such as `Q4_K_M`."""
    parameters: str = ""
    """The size in words, such as `7B`."""
    capabilities: tuple[str, ...] = ()
    """Out of: chat, completion, embeddings, rerank, vision, audio, tools, thinking, image, speech, transcription."""


class Reason(Struct, frozen=True):
    """A code for programs, a sentence that names the cause, a sentence that names the fix."""

    code: str
    text: str
    fix: str = ""


OK = Reason("ok", "Answers as it should.")
NOT_CHECKED = Reason("not-checked", "Not checked yet.", "Wait a moment, or press Refresh.")
