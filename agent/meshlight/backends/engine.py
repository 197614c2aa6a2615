"""What the kinds have in common: one `GET` for the list of models is the probe, a bearer token is the key."""

from collections.abc import Mapping
from typing import ClassVar

from meshlight.backends.aside import aside
from meshlight.backends.kind import FACES, Asks, Channel, Face, Field, Found, Group, Means, Probe
from meshlight.backends.listing import BODY_LIMIT, Listing, read_models
from meshlight.backends.reasons import no_list_reason, not_this_kind, reason, status_fact
from meshlight.backends.response import Headers, Reply
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.errors import ReplyTooLate, UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.reason import Reason

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
    faces: ClassVar[frozenset[Face]] = frozenset(FACES)
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

    async def probe(self, upstream: Asks, backend: Backend, secret: str | None) -> Probe:
        """Ask for the models; whatever goes wrong becomes the fact."""
        try:
            reply = await self.ask_list(upstream, secret)
        except UpstreamError as error:
            return self.missed(error, backend)
        return await aside(len(reply.body), self.judge, reply, backend, secret)

    async def ask_list(self, upstream: Asks, secret: str | None) -> Reply:
        """Ask for the models.

        Raises the UpstreamErrors.
        """
        return await upstream.fetch(
            "GET", self.list_path, headers=self.authorize(secret), timeout_s=PROBE_S, limit=BODY_LIMIT
        )

    def missed(self, error: UpstreamError, backend: Backend) -> Probe:
        """Judge a probe that got no answer."""
        return Probe(fact=Failed(self.why(error, backend)), is_busy=isinstance(error, ReplyTooLate))

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

    def authorize(self, secret: str | None, face: Face | None = None) -> Headers:  # noqa: ARG002 — some kinds differ
        """Carry the secret as a bearer token; what has line breaks in it is no key and is not sent."""
        token = token_of(secret)
        return ((b"authorization", b"Bearer " + token),) if token else ()

    def speaks(self, face: Face) -> bool:
        """Whether this kind has such a path at all."""
        return face in self.faces

    def defaults(self, face: Face) -> Headers:  # noqa: ARG002 — for kinds that want some
        """Demand no header of its own."""
        return ()

    def path(self, face: Face, path: str) -> str:  # noqa: ARG002 — for kinds that moved it
        """Have every face where it is here."""
        return path

    def open(self, means: Means) -> Channel | None:  # noqa: ARG002 — for kinds with something to keep
        """Keep nothing."""
        return None

    def why(self, error: UpstreamError, backend: Backend) -> Reason:
        """Say what failed between here and there."""
        return reason(error, backend, self.label, self.start)

    def headers_say(self, headers: Headers) -> Mapping[str, str] | None:  # noqa: ARG002 — for kinds with limits
        """Read nothing in an answer's headers."""
        return None

    def found(self, upstream: Asks, models: tuple[str, ...]) -> Found:
        """Name what was recognised by its label and port, as in `llama.cpp :8080`."""
        address = upstream.address
        return Found(self.kind, address.url, f"{self.label} :{address.port}", models)


async def ask(upstream: Asks, path: str) -> Reply:
    """Ask a stranger one thing, without a key.

    Raises the UpstreamErrors.
    """
    return await upstream.fetch("GET", path, timeout_s=RECOGNISE_S, limit=BODY_LIMIT)


def token_of(secret: str | None) -> bytes:
    """Return a key as it goes into a header; empty for none, and for what has line breaks in it and is none."""
    token = (secret or "").strip()
    return token.encode() if token.isprintable() else b""
