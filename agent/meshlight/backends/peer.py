"""Another Meshlight that was paired with: its models are used as if they were here."""

import asyncio
import re
import ssl
from contextlib import suppress
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from meshlight.backends.base import (
    ANTHROPIC_OPERATIONS,
    GEMINI_OPERATIONS,
    OLLAMA_OPERATIONS,
    OPENAI_OPERATIONS,
    PROBE_S,
    Channel,
    ChannelDeps,
    DetectedEngine,
    Engine,
    Field,
    Group,
    HttpClient,
    ModelRoute,
    Operation,
    Probe,
)
from meshlight.backends.diagnostics import reason, status_fact, where
from meshlight.backends.error_text import sanitize_line
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.metadata import WORD_MAX, short_text, tokens
from meshlight.backends.model_list import BODY_LIMIT, MODELS_MAX, is_id
from meshlight.domain.backend import Backend, ModelDetail, Reason, Ring
from meshlight.domain.errors import ConnectError, ReadError, UpstreamError
from meshlight.domain.health import Answered, Failed, Refused
from meshlight.domain.peers import SharedBackend, SharedCatalog
from meshlight.http_client.client import Upstream
from meshlight.http_client.response import Headers

CATALOG = "/peer/catalog"
EVENTS = "/peer/events"
QUIET_S = 45.0
"""Three pings of the other side: a stream that was silent for longer is dead."""

BACKENDS_MAX = 200
"""Backends of a catalog that are looked at."""
LINES_MAX = 20
"""Of which so many are named to people."""
_COMMAS_MAX = 500_000
"""More of them make a catalog that is a bomb of empty items."""
_HEAVY = 64
"""How much work a model of a catalog is, in bytes that are decoded."""
_HASH = re.compile(r"[0-9a-zA-Z]{1,64}")
_EVENT = re.compile(rb'event: catalog\r?\ndata: \{"hash": ?"([0-9a-zA-Z]{1,64})"')
_EVENT_MAX = 4096
"""Bytes of the stream that are kept to read an event that comes in pieces."""

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
    operations = frozenset[Operation]((*OPENAI_OPERATIONS, *ANTHROPIC_OPERATIONS, *OLLAMA_OPERATIONS))

    @property
    def fields(self) -> tuple[Field, ...]:
        """None: a peer is added by pairing."""
        return ()

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """Recognise nobody: peers announce themselves."""
        del upstream
        return None

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:
        """Send no key: the TLS handshake has proven who asks."""
        del secret, operation
        return ()

    def speaks(self, operation: Operation) -> bool:
        """Whether the other node can pass this on; Gemini's protocol it can only where a Gemini backend is."""
        return super().speaks(operation) or operation in GEMINI_OPERATIONS

    def why(self, error: UpstreamError, backend: Backend) -> Reason:
        """Tell a stranger in its place from a peer that is down."""
        return _why(error, backend)

    def open(self, means: ChannelDeps) -> Channel:
        """Keep the catalog, and a stream that tells at once when it changes."""
        return PeerChannel(self, means)


class PeerChannel:
    """What is known of one peer: the last catalog, and the stream of its changes."""

    def __init__(self, kind: PeerKind, means: ChannelDeps) -> None:
        self._kind = kind
        self._means = means
        self._events: Upstream | None = None
        self._listening: asyncio.Task[None] | None = None
        self._hash = b""
        self._last: SharedCatalog | None = None
        self._shown: tuple[str, Probe] | None = None
        """What the last catalog came to, and the name of the backend in its sentences."""
        self._is_closed = False

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Ask for the catalog; an unchanged one costs a few bytes."""
        del secret
        headers = ((b"if-none-match", b'"%s"' % self._hash),) if self._hash else ()
        try:
            reply = await self._means.probes.fetch(
                "GET", CATALOG, headers=headers, timeout_s=PROBE_S, limit=BODY_LIMIT
            )
        except UpstreamError as error:
            why = self._kind.why(error, backend)
            return Probe(fact=Refused(why) if why.code in _CERTAIN else Failed(why))
        if reply.status == 403:
            return Probe(fact=Refused(_unpaired(backend)))
        if reply.status == 200:
            catalog = await in_thread_if_large(len(reply.body), _read, reply.body)
            if catalog is None:
                return Probe(fact=Failed(_no_catalog(backend)))
            self._last, self._shown = catalog, None
            self._hash = catalog.hash.encode() if _HASH.fullmatch(catalog.hash) else b""
        elif reply.status != 304 or self._last is None:
            return Probe(fact=status_fact(reply, backend, self._kind.label))
        self._listen()
        if self._shown is None or self._shown[0] != backend.name:
            models = sum(len(shared.models) for shared in self._last.backends)
            self._shown = backend.name, await in_thread_if_large(_HEAVY * models, _seen, self._last, backend)
        return replace(self._shown[1], fact=Answered(reply.elapsed_s))

    async def way(self, model: str, secret: str | None) -> ModelRoute | None:
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
                heard = b""
                while True:
                    async with asyncio.timeout(QUIET_S):
                        piece = await response.read()
                    if not piece:
                        break
                    heard = (heard + piece)[-_EVENT_MAX:]
                    *_, last = None, *_EVENT.finditer(heard)
                    if last is not None:
                        heard = heard[last.end() :]
                        if last[1] != self._hash:
                            means.probe_soon()
            finally:
                response.abort()
        means.probe_soon()


_CERTAIN = frozenset({"identity-changed", "no-certificate"})
"""What no second try would change."""


def _why(error: UpstreamError, backend: Backend) -> Reason:
    flaw = error.__cause__
    if isinstance(error, ConnectError) and error.cause == "tls":
        if flaw is None:  # it is this node that could not begin
            return Reason("no-certificate", error.title, "Unpair it, and pair it again.")
        if isinstance(flaw, ConnectionError):
            return Reason(
                "connection-lost", sanitize_line(error.title), "It may be restarting. Look at its log."
            )
        if not isinstance(flaw, ssl.SSLCertVerificationError):
            return Reason(
                "other-server",
                f"What answers at {where(backend)} is no Meshlight: {sanitize_line(error.title)}",
                "Another program may have its port, or another machine its address. Nothing was sent.",
            )
        return Reason(
            "identity-changed",
            f"{where(backend)} does not answer with the key of {backend.name} that you compared.",
            "If it was set up anew, unpair it and pair it again. If not, somebody may be posing as it: "
            "nothing was sent.",
        )
    if isinstance(error, ReadError) and not error.got_bytes:
        return Reason(
            "connection-lost",
            f"{where(backend)} closed the connection without an answer.",
            f"{backend.name} may be restarting, or it knows this machine no longer: look at its peers, and pair "
            "anew if this one is not among them.",
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


def _read(body: bytes) -> SharedCatalog | None:
    """Read a catalog; None when it is none."""
    if body.count(b",") > _COMMAS_MAX:
        return None
    try:
        return _catalog.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _seen(catalog: SharedCatalog, backend: Backend) -> Probe:
    """Make of a catalog what a probe tells; what a stranger may have written into it is capped and cleaned."""
    backends = [shown for shared in catalog.backends[:BACKENDS_MAX] if (shown := _clean(shared)).models]
    up = [] if catalog.paused else [shared for shared in backends if shared.state != "unhealthy"]
    models = tuple(dict.fromkeys(model for shared in up for model in shared.models))[:MODELS_MAX]
    details: dict[str, ModelDetail] = {}
    for shared in up:
        for model, detail in shared.details.items():
            details.setdefault(model, detail)
    known = frozenset(models)
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
        fact=Answered(0.0),
        models=models,
        details={model: detail for model, detail in details.items() if model in known},
        about={shared.name: _line(shared) for shared in backends[:LINES_MAX]},
        warnings=tuple(warnings),
    )


def _clean(shared: SharedBackend) -> SharedBackend:
    """Leave of a backend what is fit to be shown."""
    models = tuple(model for model in shared.models[:MODELS_MAX] if is_id(model))
    known = frozenset(models)
    details = {
        model: fit
        for model, detail in shared.details.items()
        if model in known and (fit := _fit(detail)) != ModelDetail()
    }
    name, kind = sanitize_line(shared.name, 80) or "?", short_text(shared.kind) or "?"
    return replace(shared, name=name, kind=kind, models=models, details=details)


def _fit(detail: ModelDetail) -> ModelDetail:
    return ModelDetail(
        context=tokens(detail.context),
        loaded=detail.loaded,
        quantization=short_text(detail.quantization),
        parameters=short_text(detail.parameters),
        capabilities=tuple(known for said in detail.capabilities[:WORD_MAX] if (known := short_text(said))),
    )


def _line(shared: SharedBackend) -> str:
    number = len(shared.models)
    return f"{shared.kind}, {shared.state}, {'1 model' if number == 1 else f'{number} models'}"
