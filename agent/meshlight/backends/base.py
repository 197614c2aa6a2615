"""What every kind of backend can do; the kinds themselves are in the modules that `kinds` lists."""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol, get_args, runtime_checkable

from msgspec import Struct

from meshlight.backends.address import Address
from meshlight.backends.response import Headers, Reply
from meshlight.backends.upstream import Upstream
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.errors import UpstreamError
from meshlight.domain.health import Fact, ProbeFact
from meshlight.domain.model import ModelDetail
from meshlight.domain.reason import Reason

OpenAIFace = Literal[
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
AnthropicFace = Literal["messages", "messages/count_tokens"]
OllamaFace = Literal["api/chat", "api/generate", "api/embed", "api/embeddings"]
GeminiFace = Literal[
    "gemini/generateContent",
    "gemini/streamGenerateContent",
    "gemini/countTokens",
    "gemini/embedContent",
    "gemini/batchEmbedContents",
]
Face = OpenAIFace | AnthropicFace | OllamaFace | GeminiFace
"""One operation of one protocol: an inference request is posted to a face."""

OPENAI_FACES: tuple[Face, ...] = get_args(OpenAIFace)
"""Each is the path below `/v1` to which it is posted."""
ANTHROPIC_FACES: tuple[Face, ...] = get_args(AnthropicFace)
"""These too are paths below `/v1`."""
OLLAMA_FACES: tuple[Face, ...] = get_args(OllamaFace)
"""Each is the path to which it is posted."""
GEMINI_FACES: tuple[Face, ...] = get_args(GeminiFace)
"""Posted to `/v1beta/models/MODEL:` with the word after the slash."""
FACES: tuple[Face, ...] = (*OPENAI_FACES, *ANTHROPIC_FACES)
"""The faces below `/v1`."""


def path_of(face: Face) -> str:
    """Return where a face lives, for people."""
    if face.startswith("gemini/"):
        return f"/v1beta/models/MODEL:{face.removeprefix('gemini/')}"
    return f"/{face}" if face.startswith("api/") else f"/v1/{face}"


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


class Found(Struct, frozen=True):
    """A server recognised by what it answers."""

    kind: Kind
    url: str
    name: str
    models: tuple[str, ...]


class Asks(Protocol):
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


class Means(Struct, frozen=True):
    """What a channel lives by."""

    backend: Backend
    probes: Asks
    upstream_for: Callable[[Address], Upstream]
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], float]
    """Unix seconds, by this machine's clock."""
    hurry: Callable[[], None] = _nothing
    """Asks for a probe soon: something has changed there."""
    tell: Callable[[str, Fact], None] = _untold
    """Tells what was seen of one place behind the backend."""


class Way(Struct, frozen=True):
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

    async def way(self, model: str, secret: str | None) -> Way | None:
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

    async def way_to(self, place: str, model: str) -> Way:
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

    async def recognise(self, upstream: Asks) -> Found | None:
        """Say what is there if its answers bear this kind's mark, by two or three GETs at most.

        The port proves nothing, and no model name is ever sent. Raises the UpstreamErrors of `upstream`.
        """

    async def probe(self, upstream: Asks, backend: Backend, secret: str | None) -> Probe:
        """Check the health once; whatever goes wrong on the way becomes the fact, with cause and fix."""

    def authorize(self, secret: str | None, face: Face | None = None) -> Headers:
        """Return the headers that carry the secret upstream; without a face, those of a probe."""

    def defaults(self, face: Face) -> Headers:
        """Return the headers that a request must have, and gets where its client sent none of that name."""

    def speaks(self, face: Face) -> bool:
        """Whether requests to this face can be sent there at all; what the model can do is its own affair."""

    def path(self, face: Face, path: str) -> str:
        """Return where a face lives there, given the path to which it is posted here."""

    def open(self, means: Means) -> Channel | None:
        """Return what has to be kept for one backend; None when nothing has to."""

    def why(self, error: UpstreamError, backend: Backend) -> Reason:
        """Say why a backend gave no answer."""

    def headers_say(self, headers: Headers) -> Mapping[str, str] | None:
        """Return what the headers of an answer tell about the backend (labelled lines, as in `Probe.about`)."""
