"""What tells one engine's dialect from another's: head lines, errors, lists, and the oddities."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Struct, field

from meshlight.domain.backend import Kind
from meshlight.simulator.habits import Habit
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.protocols.text import Speech
from meshlight.simulator.request_log import LoggedRequest, RequestLog

Dialect = Literal["llamacpp", "ollama", "vllm", "mlx", "lmstudio", "openai"]
ErrorCode = Literal["bad_request", "unauthorized", "no_model", "not_found"]


class EngineProfile(Struct, frozen=True, kw_only=True):
    """How one kind of engine behaves; an entry in the table of dialects."""

    label: str
    """The engine's own name."""
    kind: Kind
    """What the mesh takes it for."""
    get: "Mapping[str, Callable[[EngineFacts], Reply]]"
    """Paths that are read: lists, health, versions."""
    error: Callable[[int, str, ErrorCode], Reply]
    """The engine's shape of an error."""
    no_such_path: Callable[[LoggedRequest], Reply]
    http: str = "1.1"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent with every answer."""
    keep_alive: str = ""
    """What it says of its patience, in the header of that name."""
    idle_s: float = float("inf")
    """After how many seconds an idle connection is closed."""
    open_paths: tuple[str, ...] = ()
    """Prefixes that answer without the key."""
    no_model_status: int | None = 404
    """Status for a model it does not serve; None: the name is ignored and the first model answers."""
    refuses_chunked: bool = False
    """Whether an upload without content-length is answered with 411."""
    closes_after_stream: bool = False
    """Whether the connection ends after each stream, though the head promised to keep it."""
    closes_after_error: bool = False
    head_waits: bool = False
    """Whether a stream's head comes only with its first piece."""
    has_sizes: bool = True
    """Whether answers that are no inference say their length; without, only the connection's end does."""
    delta: dict[str, Any] = field(default_factory=dict)
    """What each piece of a streamed message carries besides its text."""
    first_delta: dict[str, Any] | None = None
    """The piece before the first word; None: there is none."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields of its own in every inference answer."""
    comment: bytes = b""
    """An SSE comment before the first event."""


class EngineFacts:
    """What one engine is, as far as its answers show it."""

    def __init__(  # what one engine is
        self,
        profile: EngineProfile,
        name: str,
        models: tuple[str, ...],
        speech: Speech,
        request_log: RequestLog,
        habit: Habit | None = None,
    ) -> None:
        self.profile = profile
        self.name = name
        self.models = models
        self.loaded = set(models[:1])
        """The models in memory; an answer by another one loads it."""
        self.speech = speech
        self.request_log = request_log
        self.habit = habit
        """How strictly it reads and how carelessly it writes; None: as a good-natured engine."""
        self.created = int(time.time())

    def who(self, model: str) -> tuple[str, str, str]:
        """Return name, label and model, as the script wants them."""
        return self.name, self.profile.label, model


class EngineRequest(Struct, frozen=True, kw_only=True):
    """One inference request, decoded: the model is one that this engine serves."""

    facts: EngineFacts
    seen: LoggedRequest
    model: str
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def is_stream(self) -> bool:
        """Whether the answer shall come in pieces."""
        return self.body.get("stream") is True

    @property
    def limit(self) -> int | None:
        """The most tokens the client wants, by whatever name it says so; raises BadAsk."""
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
    """A request that an engine refuses as malformed; its text says why."""


def new_id(prefix: str) -> str:
    """Return a fresh id such as engines give to each answer."""
    return f"{prefix}-{uuid4().hex[:24]}"


def decode_body(body: bytes) -> dict[str, Any]:
    """Decode a JSON object; raises BadAsk."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError, UnicodeDecodeError) as error:
        raise BadEngineRequest(f"the request body is no JSON object: {error}") from None
