"""Faults that can be switched on at an engine, for the demo and for the tests."""

from typing import Literal, get_args

from msgspec import Struct

FaultKind = Literal[
    "refuse",  # the listener and idle connections are closed; the port stays reserved
    "hang-headers",  # the request is read and never answered
    "hang-body",  # head and some bytes, then silence
    "reset-headers",  # RST once the request was read
    "reset-body",  # head and some bytes, then RST
    "close-early",  # FIN before any byte
    "close-body",  # head and some bytes, then FIN without the body's end
    "garbage",  # bytes that are not HTTP, then FIN
    "html",  # 200 with a web page
    "status",  # the status `status`, with `retry_after_s` where one is given
    "error-event",  # 200, and an error as the first event of a stream, with `status` as its code
    "loading",  # 503 in llama.cpp's shape
    "slow",  # one byte at a time, `delay_s` apart
    "trickle",  # one byte at a time, without delay
    "wrong-length",  # content-length says more than is sent, then FIN
    "big-head",  # a response head of `size` bytes
]
Scope = Literal["all", "probe", "inference"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

INFERENCE = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/rerank",
    "/v1/images/",
    "/v1/audio/",
    "/v1/messages",
    "/anthropic/v1/messages",
    "/v1beta/models/",
    "/v1beta/openai/chat/",
    "/v1beta/openai/embeddings",
    "/api/chat",
    "/api/generate",
    "/api/embed",
)
"""Prefixes of inference paths; every other request counts as a probe for `Scope`."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault, and the requests that it applies to."""

    kind: FaultKind
    count: int | None = None
    """Number of requests after which it is switched off; None: it stays until it is cleared."""
    scope: Scope = "all"
    paths: tuple[str, ...] = ()
    """Prefixes of the paths that it applies to; empty: every path."""
    after_bytes: int | None = None
    """Body bytes that are sent before `hang-body`, `reset-body` or `close-body`.

    0 sends the head alone; None sends the first piece of a stream, or half of a complete body."""
    delay_s: float = 0.05
    """Seconds between two bytes of `slow`."""
    status: int = 500
    message: str = ""
    """The message of `status` and `error-event`; empty for a default message."""
    retry_after_s: int | None = None
    size: int = 128 * 1024
    """Bytes by which `big-head` grows the head."""

    def __post_init__(self) -> None:
        if self.kind == "refuse" and (self.count is not None or self.paths or self.scope != "all"):
            raise ValueError("refuse closes the whole listener: it has no count, paths or scope")
        if self.count is not None and self.count < 1:
            raise ValueError("count must be at least 1, or left out")
        if not 100 <= self.status <= 599:
            raise ValueError("status must be a number from 100 to 599")

    def meets(self, path: str) -> bool:
        """Whether the fault applies to a request to `path`."""
        if self.paths and not path.startswith(self.paths):
            return False
        return self.scope == "all" or path.startswith(INFERENCE) == (self.scope == "inference")


class FaultSwitch:
    """The fault that is on now, if any; a new one replaces it."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.hits = 0
        """The number of requests that it was applied to."""

    def turn_on(self, fault: Fault) -> None:
        """Switch a fault on."""
        self.fault = fault
        self.hits = 0

    def turn_off(self) -> None:
        """Switch the fault off."""
        self.fault = None

    def take(self, path: str) -> Fault | None:
        """Return the fault that applies to a request to `path`, and count it."""
        fault = self.fault
        if fault is None or fault.kind == "refuse" or not fault.meets(path):
            return None
        self.hits += 1
        if fault.count is not None and self.hits >= fault.count:
            self.fault = None
        return fault
