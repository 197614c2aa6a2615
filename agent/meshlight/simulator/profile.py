"""How the engines differ (`EngineProfile`), the state of one engine (`EngineFacts`), and one inference request."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from meshlight.domain.backend import Kind
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.protocols.text import Speech
from meshlight.simulator.request_log import LoggedRequest, RequestLog

Dialect = Literal["llamacpp", "ollama", "vllm", "mlx", "lmstudio", "openai"]
Habit = Literal["groq", "mistral", "azure", "gemini", "anthropic", "sloppy"]
"""Strict or sloppy behaviour beside the dialect; `habits` explains each."""
ErrorCode = Literal["bad_request", "unauthorized", "no_model", "not_found"]


class EngineProfile(Struct, frozen=True, kw_only=True):
    """How one kind of engine behaves: an entry of `profiles.PROFILES`."""

    label: str
    """The engine's own name."""
    kind: Kind
    """The kind of backend that the mesh detects."""
    get: "Mapping[str, Callable[[EngineFacts], Reply]]"
    """Handlers of GET, by path: lists, health, versions."""
    error: Callable[[int, str, ErrorCode], Reply]
    """Builds an error answer in the engine's own format, from status, message and code."""
    no_such_path: Callable[[LoggedRequest], Reply]
    http: str = "1.1"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every answer."""
    keep_alive: str = ""
    """The value of its `keep-alive` header; empty for none."""
    idle_s: float = float("inf")
    """Seconds after which an idle connection is closed."""
    open_paths: tuple[str, ...] = ()
    """Prefixes of paths that need no key."""
    no_model_status: int | None = 404
    """Status for a model it does not serve; None: the name is ignored and the first model answers."""
    has_messages: bool = False
    """Whether it has Anthropic's Messages API, below `/v1/messages`."""
    refuses_chunked: bool = False
    """Whether an upload without content-length is answered with 411."""
    closes_after_stream: bool = False
    """Whether the connection is closed after each stream, though the head says keep-alive."""
    closes_after_error: bool = False
    head_waits: bool = False
    """Whether a stream's head is sent only with its first piece."""
    has_sizes: bool = True
    """Whether answers other than inference have a content-length; else the end of the connection ends them."""
    delta: dict[str, Any] = field(default_factory=dict)
    """Fields of each delta of a streamed message besides its text."""
    first_delta: dict[str, Any] | None = None
    """The delta before the first token; None if there is none."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of its own in every inference answer."""
    comment: bytes = b""
    """An SSE comment before the first event."""


class EngineFacts:
    """The state of one engine, as far as its answers depend on it."""

    def __init__(
        self,
        profile: EngineProfile,
        name: str,
        models: tuple[str, ...],
        speech: Speech,
        request_log: RequestLog,
        habit: Habit | None = None,
        context: int | None = None,
    ) -> None:
        self.profile = profile
        self.context = context
        """Tokens of context of its models; None for what is usual for its kind."""
        self.name = name
        self.models = models
        self.loaded = set(models[:1])
        """The models in memory; an answer by another one loads it."""
        self.load_s = 0.0
        """Seconds that this takes."""
        self.speech = speech
        self.request_log = request_log
        self.habit = habit
        """Strict or sloppy behaviour beside the profile; None for neither."""
        self.created = int(time.time())

    def speaker(self, model: str) -> tuple[str, str, str]:
        """Return name, label and model, for `write_script`."""
        return self.name, self.profile.label, model


class EngineRequest(Struct, frozen=True, kw_only=True):
    """One inference request, decoded. This engine serves the model."""

    facts: EngineFacts
    logged: LoggedRequest
    model: str
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def is_stream(self) -> bool:
        """Whether the answer is to be streamed."""
        return self.body.get("stream") is True

    @property
    def limit(self) -> int | None:
        """The client's limit of tokens, under any of its names; None for no limit. Raises BadEngineRequest."""
        options = self.body.get("options")
        places = (self.body, options if isinstance(options, dict) else {})
        names = ("max_completion_tokens", "max_tokens", "max_output_tokens", "num_predict")
        found = next((place[name] for place in places for name in names if place.get(name) is not None), None)
        if found is None or found == -1:
            return None
        if not isinstance(found, int) or isinstance(found, bool) or found < 0:
            raise BadEngineRequest("max_tokens must be a non-negative integer")
        return found


class BadEngineRequest(Exception):
    """A request that an engine refuses as malformed; the text is the reason."""


def new_id(prefix: str) -> str:
    """Return a new id for an answer."""
    return f"{prefix}-{uuid4().hex[:24]}"


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode a JSON object; raises BadEngineRequest."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise BadEngineRequest(f"the request body is no JSON object: {error}") from None
