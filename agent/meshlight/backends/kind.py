"""What every kind of backend can do; the kinds themselves are in the modules that `kinds` lists."""

from typing import Literal, Protocol, get_args

from msgspec import Struct

from meshlight.backends.address import Address
from meshlight.backends.response import Headers, Reply
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.health import ProbeFact

Face = Literal[
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "rerank",
    "messages",
    "messages/count_tokens",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
]
"""A path below `/v1` to which an inference request may be posted."""

FACES: tuple[Face, ...] = get_args(Face)


class Probe(Struct, frozen=True):
    """What one health check brought: a fact, and the models where they became known."""

    fact: ProbeFact
    models: tuple[str, ...] | None = None
    """The ids served now, in the backend's own order; None when this probe did not learn them."""
    is_busy: bool = False
    """Whether it took the connection and stayed silent: within `patience_s` that is busy, not down."""


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

    def authorize(self, secret: str | None) -> Headers:
        """Return the headers that carry the secret upstream."""

    def speaks(self, face: Face) -> bool:
        """Whether requests to this face can be sent there at all; what the model can do is its own affair."""
