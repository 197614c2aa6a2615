"""Another Meshlight that was paired with: its models are used as if they were here."""

import asyncio
from contextlib import suppress
from typing import ClassVar

import msgspec

from meshlight.backends.engine import PROBE_S, Engine
from meshlight.backends.kind import (
    ANTHROPIC_FACES,
    GEMINI_FACES,
    OLLAMA_FACES,
    OPENAI_FACES,
    Asks,
    Channel,
    Face,
    Field,
    Found,
    Group,
    Means,
    Probe,
    Way,
)
from meshlight.backends.listing import BODY_LIMIT, MODELS_MAX
from meshlight.backends.reasons import reason, status_fact, where
from meshlight.backends.response import Headers
from meshlight.backends.upstream import Upstream
from meshlight.domain.backend import Backend, Ring
from meshlight.domain.errors import ConnectFailed, UpstreamError
from meshlight.domain.health import Answered, Failed, Refused
from meshlight.domain.model import ModelDetail
from meshlight.domain.reason import Reason
from meshlight.domain.sharing import SharedBackend, SharedCatalog

CATALOG = "/peer/catalog"
EVENTS = "/peer/events"
QUIET_S = 45.0
"""Three pings of the other side: a stream that was silent for longer is dead."""

_catalog = msgspec.json.Decoder(SharedCatalog)


class PeerKind(Engine):
    """It is asked over TLS with the key of this node, and has to answer with the key that was compared.

    Every protocol passes through as it came: the last translation is made where the model is.
    """

    kind = "peer"
    label = "Meshlight"
    about = "another Meshlight on the network, paired with this one"
    group: ClassVar[Group] = "peer"
    start = "Start Meshlight there"
    default_ring: ClassVar[Ring | None] = "lan"
    faces = frozenset[Face]((*OPENAI_FACES, *ANTHROPIC_FACES, *OLLAMA_FACES))

    @property
    def fields(self) -> tuple[Field, ...]:
        """None: a peer is added by pairing."""
        return ()

    async def recognise(self, upstream: Asks) -> Found | None:
        """Recognise nobody: peers announce themselves."""
        del upstream
        return None

    def authorize(self, secret: str | None, face: Face | None = None) -> Headers:
        """Send no key: the TLS handshake has proven who asks."""
        del secret, face
        return ()

    def speaks(self, face: Face) -> bool:
        """Whether the other node can pass this on; Gemini's protocol it can only where a Gemini backend is."""
        return face in self.faces or face in GEMINI_FACES

    def open(self, means: Means) -> Channel:
        """Keep the catalog, and a stream that tells at once when it changes."""
        return PeerChannel(self, means)


class PeerChannel:
    """What is known of one peer: the last catalog, and the stream of its changes."""

    def __init__(self, kind: PeerKind, means: Means) -> None:
        self._kind = kind
        self._means = means
        self._events: Upstream | None = None
        self._listening: asyncio.Task[None] | None = None
        self._tag = b""
        self._last: SharedCatalog | None = None
        self._is_closed = False

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Ask for the catalog; an unchanged one costs a few bytes."""
        del secret
        headers = ((b"if-none-match", self._tag),) if self._tag else ()
        try:
            reply = await self._means.probes.fetch(
                "GET", CATALOG, headers=headers, timeout_s=PROBE_S, limit=BODY_LIMIT
            )
        except UpstreamError as error:
            why = _why(error, backend)
            return Probe(fact=Refused(why) if why.code == "identity-changed" else Failed(why))
        if reply.status == 403:
            return Probe(fact=Refused(_unpaired(backend)))
        if reply.status == 304 and self._last is not None:
            catalog = self._last
        elif reply.status != 200:
            return Probe(fact=status_fact(reply, backend, self._kind.label))
        else:
            try:
                catalog = _catalog.decode(reply.body)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return Probe(fact=Failed(_no_catalog(backend)))
            self._last, self._tag = catalog, b'"%s"' % catalog.hash.encode("ascii", "ignore")[:16]
        self._listen()
        return _seen(catalog, backend, reply.elapsed_s)

    async def way(self, model: str, secret: str | None) -> Way | None:
        """Go to the peer itself."""
        del model, secret
        return None

    def renew(self, model: str, status: int, body: bytes) -> bool:
        """No other way would do better."""
        del model, status, body
        return False

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        if self._listening is not None:
            self._listening.cancel()
        if self._events is not None:
            self._events.close()

    def _listen(self) -> None:
        if self._is_closed or (self._listening is not None and not self._listening.done()):
            return
        self._listening = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Have the peer probed whenever it tells of a change, and when the stream breaks off."""
        means = self._means
        if self._events is None:
            self._events = means.upstream_for(means.probes.address)
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                response = await self._events.send("GET", EVENTS, ((b"accept", b"text/event-stream"),))
            try:
                if response.status != 200:
                    return
                while True:
                    async with asyncio.timeout(QUIET_S):
                        piece = await response.read()
                    if not piece:
                        break
                    if b"event: catalog" in piece and self._tag.strip(b'"') not in piece:
                        means.hurry()
            finally:
                response.abort()
        means.hurry()


def _why(error: UpstreamError, backend: Backend) -> Reason:
    if isinstance(error, ConnectFailed) and error.cause == "tls":
        return Reason(
            "identity-changed",
            f"{where(backend)} does not answer with the key of {backend.name} that you compared.",
            "If it was set up anew, unpair it and pair it again. If not, somebody may be posing as it: "
            "nothing was sent.",
        )
    return reason(error, backend, "Meshlight", "Start Meshlight there")


def _unpaired(backend: Backend) -> Reason:
    return Reason(
        "unpaired",
        f"{backend.name} is no longer paired with this machine.",
        "Pair it anew: `meshlight pair`.",
    )


def _no_catalog(backend: Backend) -> Reason:
    return Reason(
        "bad-reply",
        f"{backend.name} answers with something that is no catalog of models.",
        "It may be of another version: update Meshlight on both.",
    )


def _seen(catalog: SharedCatalog, backend: Backend, elapsed_s: float) -> Probe:
    """Make of a catalog what a probe tells; what a stranger may have written into it is capped and cleaned."""
    backends = [shown for shared in catalog.backends[:200] if (shown := _clean(shared)).models]
    up = [] if catalog.paused else [shared for shared in backends if shared.state != "unhealthy"]
    models = dict.fromkeys(model for shared in up for model in shared.models)
    details: dict[str, ModelDetail] = {}
    about: dict[str, str] = {}
    for shared in backends:
        for model in shared.models:
            details.setdefault(model, shared.details.get(model, ModelDetail()))
        about[shared.name] = f"{shared.kind}, {shared.state}, {_count(len(shared.models))}"
    warnings = []
    if catalog.sees_you is False:
        warnings.append(
            f"{backend.name} can't reach this machine: its users can't use your models. A firewall may block "
            "port 6375 here."
        )
    if catalog.paused:
        warnings.append(f"Its owner has paused sharing on {backend.name}.")
    if not backends:
        warnings.append(f"{backend.name} shares no model with you now.")
    return Probe(
        fact=Answered(elapsed_s),
        models=tuple(models)[:MODELS_MAX],
        details={model: detail for model, detail in details.items() if detail != ModelDetail()},
        about=about,
        warnings=tuple(warnings),
    )


def _clean(shared: SharedBackend) -> SharedBackend:
    models = tuple(m for m in shared.models[:MODELS_MAX] if 0 < len(m) <= 512 and m.isprintable())
    name = "".join(letter for letter in shared.name[:80] if letter.isprintable()) or "?"
    kind = shared.kind if shared.kind.isascii() and len(shared.kind) <= 20 else "?"
    return msgspec.structs.replace(shared, name=name, kind=kind, models=models)


def _count(number: int) -> str:
    return "1 model" if number == 1 else f"{number} models"
