"""What every kind of backend can do; the kinds themselves are in the modules that `kinds` lists.

What the kinds have in common: one `GET` for the list of models is the probe, a bearer token is the key.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Protocol, get_args, runtime_checkable

from msgspec import Struct

from meshlight.backends.diagnostics import no_list_reason, not_this_kind, reason, status_fact
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_list import BODY_LIMIT, Listing, read_models
from meshlight.domain.backend import Backend, Kind, ModelDetail, Reason, Ring
from meshlight.domain.errors import ReadTimeout, UpstreamError
from meshlight.domain.health import Answered, Fact, Failed, ProbeFact
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.response import Headers, Reply

OpenAIOperation = Literal[
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "rerank",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
]
AnthropicOperation = Literal["messages", "messages/count_tokens"]
OllamaOperation = Literal["api/chat", "api/generate", "api/embed", "api/embeddings"]
GeminiOperation = Literal[
    "gemini/generateContent",
    "gemini/streamGenerateContent",
    "gemini/countTokens",
    "gemini/embedContent",
    "gemini/batchEmbedContents",
]
OtherOperation = Literal["other"]
"""A path below `/v1` that is not known here: the request's own path is used."""
Operation = OpenAIOperation | AnthropicOperation | OllamaOperation | GeminiOperation | OtherOperation
"""One operation of one protocol: an inference request is posted to a face."""

OPENAI_OPERATIONS: tuple[Operation, ...] = get_args(OpenAIOperation)
"""Each is the path below `/v1` to which it is posted."""
ANTHROPIC_OPERATIONS: tuple[Operation, ...] = get_args(AnthropicOperation)
"""These too are paths below `/v1`."""
OLLAMA_OPERATIONS: tuple[Operation, ...] = get_args(OllamaOperation)
"""Each is the path to which it is posted."""
GEMINI_OPERATIONS: tuple[Operation, ...] = get_args(GeminiOperation)
"""Posted to `/v1beta/models/MODEL:` with the word after the slash."""
OPERATIONS: tuple[Operation, ...] = (*OPENAI_OPERATIONS, *ANTHROPIC_OPERATIONS)
"""The faces below `/v1`."""


def path_of(operation: Operation) -> str:
    """Return where a face lives, for people."""
    if operation.startswith("gemini/"):
        return f"/v1beta/models/MODEL:{operation.removeprefix('gemini/')}"
    return f"/{operation}" if operation.startswith("api/") else f"/v1/{operation}"


Group = Literal["engine", "router", "cluster", "cloud", "peer"]


class Field(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a person fills in to add a backend; `name` is the field of the request that adds it."""

    name: str
    label: str
    required: bool = False
    is_secret: bool = False
    """Never shown, kept in the keyring."""
    hint: str = ""
    placeholder: str = ""
    default: str = ""


class Probe(Struct, frozen=True, kw_only=True):
    """What one health check brought: a fact, and what became known on the way; None is "not learned now"."""

    fact: ProbeFact
    models: tuple[str, ...] | None = None
    """The ids served now, in the backend's own order."""
    is_busy: bool = False
    """Whether it took the connection and stayed silent: within `patience_s` that is busy, not down."""
    details: Mapping[str, ModelDetail] | None = None
    """What the backend tells of its models, by id."""
    about: Mapping[str, str] | None = None
    """Labelled lines about the backend for people, in order: `{"Version": "b6500"}`."""
    warnings: tuple[str, ...] | None = None
    """Sentences about a backend that works, and yet should be looked at."""
    names: Mapping[str, str] | None = None
    """Further names of its routes (`backend/NAME`), and the id that each serves, or "" while unknown."""
    places: Mapping[str, tuple[str, ...]] | None = None
    """The places behind it that serve a model or a further name: each is a route of its own."""


class DetectedEngine(Struct, frozen=True):
    """A server recognised by what it answers."""

    kind: Kind
    url: str
    name: str
    models: tuple[str, ...]


class HttpClient(Protocol):
    """What a kind needs of an upstream client: its address, and one small exchange."""

    @property
    def address(self) -> Address:
        """Where it leads to."""

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 2.0,
        limit: int = 1 << 20,
    ) -> Reply:
        """Ask once and read the whole answer.

        Raises the UpstreamErrors.
        """


def _nothing() -> None:
    """Do nothing: nobody probes."""


def _untold(place: str, fact: Fact) -> None:
    """Tell nobody."""


class ChannelDeps(Struct, frozen=True):
    """What a channel lives by."""

    backend: Backend
    probes: HttpClient
    upstream_for: Callable[[Address], Upstream]
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds, by this machine's clock."""
    probe_soon: Callable[[], None] = _nothing
    """Asks for a probe soon: something has changed there."""
    tell: Callable[[str, Fact], None] = _untold
    """Tells what was seen of one place behind the backend."""


class ModelRoute(Struct, frozen=True):
    """Where the requests for one model go: which server, with which credentials, by which name."""

    upstream: Upstream
    auth: Headers
    model: str
    """What that server calls the model."""

    def __repr__(self) -> str:
        return f"Way({self.upstream.address.url}, ***, {self.model!r})"


class Channel(Protocol):
    """What some kinds keep for one backend: tokens, clocks, where each of its models really is.

    One is made with each link, and closed with it.
    """

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health once, in place of the kind's own `probe`."""

    async def way(self, model: str, secret: str | None) -> ModelRoute | None:
        """Return the way to a model, or None for the backend's own address with the kind's own credentials.

        Raises WayClosed, or the UpstreamErrors of what had to be asked on the way.
        """

    def renew(self, model: str, status: int, body: bytes) -> bool:
        """Say whether a new `way` may do better after this refusal; asked once for a request."""

    def close(self) -> None:
        """Let go of everything."""


@runtime_checkable
class Places(Protocol):
    """What a channel has besides where the backend is several places, each with a health of its own."""

    async def way_to(self, place: str, model: str) -> ModelRoute:
        """Return the way to a model at one place; raises as `Channel.way` does."""

    def renew_at(self, place: str, status: int, body: bytes) -> bool:
        """Say whether a new way to a place may do better after this refusal; asked once for a request."""

    def look(self, place: str) -> None:
        """Look at a place soon, because traffic gave cause."""

    def refusal_reason(self, place: str, refusal: Reply) -> Reason:
        """Say why a place refuses a request by 401 or 403, when a new way does no better."""


class BackendKind(Protocol):
    """How to speak to one kind of backend.

    A kind holds no state of a single backend: one object serves them all.
    """

    @property
    def kind(self) -> Kind:
        """The word for it in configuration and API."""

    @property
    def label(self) -> str:
        """The name for people."""

    @property
    def about(self) -> str:
        """What it is, in a few words."""

    @property
    def group(self) -> Group:
        """Among which others people look for it."""

    @property
    def default_url(self) -> str:
        """Where it is when nobody says so; empty when somebody must."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """What a person fills in to add one."""

    @property
    def start(self) -> str:
        """How a person starts it, as the beginning of a sentence: "Start Ollama (`ollama serve`)"."""

    @property
    def usual_ports(self) -> tuple[int, ...]:
        """The ports on which it usually listens on this machine; empty when it is never looked for."""

    @property
    def patience_s(self) -> float:
        """For how long silence on an accepted connection means busy, in seconds."""

    @property
    def default_ring(self) -> Ring | None:
        """The ring it always lies in; None when the address decides."""

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """Say what is there if its answers bear this kind's mark, by two or three GETs at most.

        The port proves nothing, and no model name is ever sent. Raises the UpstreamErrors of `upstream`.
        """

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Check the health once; whatever goes wrong on the way becomes the fact, with cause and fix."""

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:
        """Return the headers that carry the secret upstream; without a face, those of a probe."""

    def defaults(self, operation: Operation) -> Headers:
        """Return the headers that a request must have, and gets where its client sent none of that name."""

    def speaks(self, operation: Operation) -> bool:
        """Whether requests to this face can be sent there at all; what the model can do is its own affair."""

    def path(self, operation: Operation, path: str) -> str:
        """Return where a face lives there, given the path to which it is posted here."""

    def open(self, means: ChannelDeps) -> Channel | None:
        """Return what has to be kept for one backend; None when nothing has to."""

    def why(self, error: UpstreamError, backend: Backend) -> Reason:
        """Say why a backend gave no answer."""

    def headers_say(self, headers: Headers) -> Mapping[str, str] | None:
        """Return what the headers of an answer tell about the backend (labelled lines, as in `Probe.about`)."""


PROBE_S = 2.0
RECOGNISE_S = 1.0
MODELS = "/v1/models"


class Engine:
    """A server that lists its models and answers below `/v1`; a kind overrides what is different with it.

    The list is read anew by every probe: it proves more than a bare health page, costs the same, and is how a
    freshly pulled model appears. The latency is the time from sending the request to the answer's head, which
    leaves connecting out: it means the same on a kept and on a new connection, and servers that close after
    each answer have one too.
    """

    kind: ClassVar[Kind]
    label: ClassVar[str]
    about: ClassVar[str] = ""
    group: ClassVar[Group] = "engine"
    default_url: ClassVar[str] = ""
    start: ClassVar[str]
    usual_ports: ClassVar[tuple[int, ...]] = ()
    patience_s: ClassVar[float] = 0.0
    default_ring: ClassVar[Ring | None] = None
    operations: ClassVar[frozenset[Operation]] = frozenset(OPERATIONS)
    has_other_paths: ClassVar[bool] = True
    """Whether it may have paths of its own below `/v1` that take OpenAI's form of request."""
    list_path: ClassVar[str] = MODELS
    key_hint: ClassVar[str] = "Only if the server asks for one."

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its address, and a key that few engines want."""
        port = self.usual_ports[0] if self.usual_ports else 8000
        return (
            Field(name="url", label="Address", required=True, placeholder=f"http://127.0.0.1:{port}"),
            Field(name="api_key", label="API key", is_secret=True, hint=self.key_hint),
        )

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Ask for the models; whatever goes wrong becomes the fact."""
        try:
            reply = await self.ask_list(upstream, secret)
        except UpstreamError as error:
            return self.missed(error, backend)
        return await in_thread_if_large(len(reply.body), self.judge, reply, backend, secret)

    async def ask_list(self, upstream: HttpClient, secret: str | None) -> Reply:
        """Ask for the models.

        Raises the UpstreamErrors.
        """
        return await upstream.fetch(
            "GET", self.list_path, headers=self.authorize(secret), timeout_s=PROBE_S, limit=BODY_LIMIT
        )

    def missed(self, error: UpstreamError, backend: Backend) -> Probe:
        """Judge a probe that got no answer."""
        return Probe(fact=Failed(self.why(error, backend)), is_busy=isinstance(error, ReadTimeout))

    def judge(self, reply: Reply, backend: Backend, secret: str | None) -> Probe:
        """Judge the answer to the question for models."""
        if reply.status != 200:
            return Probe(fact=status_fact(reply, backend, self.label, secret))
        listing = self.read(reply.body)
        if listing is None:
            return Probe(fact=Failed(no_list_reason(reply, backend, self.label, secret)))
        if not self.is_mine(reply, listing):
            return Probe(fact=Failed(not_this_kind(backend, self.label)))
        return Probe(fact=Answered(reply.elapsed_s), models=listing.models)

    def read(self, body: bytes) -> Listing | None:
        """Read the list in this kind's shape."""
        return read_models(body)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — for kinds that can tell
        """Whether a good list may be this kind's; False only where another engine's mark is certain."""
        return True

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:  # noqa: ARG002 — some kinds differ
        """Carry the secret as a bearer token; what has line breaks in it is no key and is not sent."""
        token = token_of(secret)
        return ((b"authorization", b"Bearer " + token),) if token else ()

    def speaks(self, operation: Operation) -> bool:
        """Whether this kind has such a path at all."""
        return operation in self.operations or (operation == "other" and self.has_other_paths)

    def defaults(self, operation: Operation) -> Headers:  # noqa: ARG002 — for kinds that want some
        """Demand no header of its own."""
        return ()

    def path(self, operation: Operation, path: str) -> str:  # noqa: ARG002 — for kinds that moved it
        """Have every face where it is here."""
        return path

    def open(self, means: ChannelDeps) -> Channel | None:  # noqa: ARG002 — for kinds with something to keep
        """Keep nothing."""
        return None

    def why(self, error: UpstreamError, backend: Backend) -> Reason:
        """Say what failed between here and there."""
        return reason(error, backend, self.label, self.start)

    def headers_say(self, headers: Headers) -> Mapping[str, str] | None:  # noqa: ARG002 — for kinds with limits
        """Read nothing in an answer's headers."""
        return None

    def found(self, upstream: HttpClient, models: tuple[str, ...]) -> DetectedEngine:
        """Name what was recognised by its label and port, as in `llama.cpp :8080`."""
        address = upstream.address
        return DetectedEngine(self.kind, address.url, f"{self.label} :{address.port}", models)


async def ask(upstream: HttpClient, path: str) -> Reply:
    """Ask a stranger one thing, without a key.

    Raises the UpstreamErrors.
    """
    return await upstream.fetch("GET", path, timeout_s=RECOGNISE_S, limit=BODY_LIMIT)


def token_of(secret: str | None) -> bytes:
    """Return a key as it goes into a header; empty for none, and for what has line breaks in it and is none."""
    token = (secret or "").strip()
    return token.encode() if token.isprintable() else b""
