"""A paired peer: another Meshlight, whose models are used as if they were here."""

import asyncio
import re
import ssl
from contextlib import suppress
from typing import ClassVar

import msgspec
from msgspec.structs import replace

from meshlight.backends.base import (
    PROBE_S,
    BackendKind,
    Channel,
    ChannelDeps,
    DetectedEngine,
    Field,
    Group,
    HttpClient,
    Probe,
)
from meshlight.backends.diagnostics import reason, status_fact, where
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.metadata import LOAD_MAX_S, SLOTS_MAX, WORD_MAX, number, short_text, tokens
from meshlight.backends.model_control import ask
from meshlight.backends.model_list import BODY_LIMIT, MODELS_MAX
from meshlight.domain.backend import RING_ORDER, Backend, ModelDetail, Reason, Ring, is_model_id
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import Conflict, ConnectError, NotFound, ReadError, UpstreamError
from meshlight.domain.health import Answered, Failed, Refused
from meshlight.domain.operations import (
    ANTHROPIC_OPERATIONS,
    GEMINI_OPERATIONS,
    OLLAMA_OPERATIONS,
    OPENAI_OPERATIONS,
    Operation,
)
from meshlight.domain.peers import SharedBackend, SharedCatalog
from meshlight.domain.text import sanitize_line
from meshlight.http_client.client import Upstream
from meshlight.http_client.error_text import message_of
from meshlight.http_client.reply import Headers

CATALOG = "/peer/catalog"
EVENTS = "/peer/events"
MODELS = "/peer/models"
NOT_SHARED = "not-shared"
"""The code of the reason for a model that a peer has withdrawn."""
QUIET_S = 45.0
"""Three of the peer's pings: a stream that is silent for longer is dead."""

BACKENDS_MAX = 200
"""Backends of a catalog that are read."""
LINES_MAX = 20
"""Of these, how many are shown to people."""
_COMMAS_MAX = 500_000
"""A catalog with more commas is a bomb of empty items, which unfold to hundreds of bytes each."""
_WORK_PER_MODEL = 64
"""The work that one model of a catalog takes, as a number of bytes to decode."""
_HASH = re.compile(r"[0-9a-zA-Z]{1,64}")
_EVENT = re.compile(rb'event: catalog\r?\ndata: \{"hash": ?"([0-9a-zA-Z]{1,64})"')
_EVENT_MAX = 4096
"""Bytes of the stream that are buffered, because an event may arrive in pieces."""

_catalog = msgspec.json.Decoder(SharedCatalog)


class PeerKind(BackendKind):
    """A peer is connected to by mutual TLS, with this node's key and the key that was verified when pairing.

    Requests in every protocol are passed on unchanged: the peer that has the model translates them.
    """

    kind = "peer"
    label = "Meshlight"
    about = "another Meshlight on the network, paired with this one"
    group: ClassVar[Group] = "peer"
    start = "Start Meshlight there"
    default_ring: ClassVar[Ring | None] = "lan"
    takes_models: ClassVar[bool] = False
    operations = frozenset[Operation]((*OPENAI_OPERATIONS, *ANTHROPIC_OPERATIONS, *OLLAMA_OPERATIONS))

    @property
    def fields(self) -> tuple[Field, ...]:
        """None: a peer is added by pairing."""
        return ()

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Detect nothing: peers announce themselves."""
        del upstream
        return None

    def authorize(self, secret: str | None, operation: Operation | None = None) -> Headers:
        """Send no key: the TLS handshake proves who this node is."""
        del secret, operation
        return ()

    def speaks(self, operation: Operation) -> bool:
        """Whether the peer can pass this on; Gemini's protocol only if it has a Gemini backend."""
        return super().speaks(operation) or operation in GEMINI_OPERATIONS

    def explain(self, error: UpstreamError, backend: Backend) -> Reason:
        """Distinguish a peer that is down from another server at its address."""
        return _explain(error, backend)

    async def load_model(
        self,
        upstream: HttpClient,
        backend: Backend,
        secret: str | None,
        model: str,
        *,
        stays: bool = True,
    ) -> None:
        """Have the peer load a model; its owner decides whether this node may (`may_manage`)."""
        del secret, stays
        await self._manage(upstream, backend, model, "load")

    async def unload_model(
        self, upstream: HttpClient, backend: Backend, secret: str | None, model: str
    ) -> None:
        """Have the peer unload a model, which it does only if nobody uses it."""
        del secret
        await self._manage(upstream, backend, model, "unload")

    async def _manage(self, upstream: HttpClient, backend: Backend, model: str, verb: str) -> None:
        reply = await ask(upstream, f"{MODELS}/{verb}", {"model": model}, (), backend.first_byte_s)
        if reply.status == 204:
            return
        said = sanitize_line(message_of(reply))
        title = f"{backend.name} did not {verb} {sanitize_line(model, 80)}."
        raise (NotFound if reply.status == 404 else Conflict)(f"{title} It says: {said}" if said else title)

    def open_channel(self, deps: ChannelDeps) -> Channel:
        """Keep the catalog, and the event stream that reports its changes."""
        return PeerChannel(self, deps)


class PeerChannel(Channel):
    """The state of one peer: its last catalog, and the event stream that reports changes of it."""

    def __init__(self, kind: PeerKind, deps: ChannelDeps) -> None:
        self._kind = kind
        self._deps = deps
        self._events: Upstream | None = None
        self._following: asyncio.Task[None] | None = None
        self._hash = b""
        self._catalog: SharedCatalog | None = None
        self._result: tuple[str, Probe] | None = None
        """The probe's result from the last catalog, and the backend's name that its sentences contain."""
        self._shared: dict[str, None] = {}
        """The models that some catalog named: those that a later one leaves out are not shared any more."""
        self._is_closed = False

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Fetch the catalog; an unchanged one costs a few bytes."""
        del secret
        headers = ((b"if-none-match", b'"%s"' % self._hash),) if self._hash else ()
        try:
            reply = await self._deps.probes.fetch(
                "GET", CATALOG, headers=headers, timeout_s=PROBE_S, limit=BODY_LIMIT
            )
        except UpstreamError as error:
            reason_ = self._kind.explain(error, backend)
            return Probe(fact=Refused(reason_) if reason_.code in _CERTAIN else Failed(reason_))
        if reply.status == 403:
            return Probe(fact=Refused(_unpaired(backend)))
        if reply.status == 200:
            catalog = await in_thread_if_large(len(reply.body), _decode, reply.body)
            if catalog is None:
                return Probe(fact=Failed(_no_catalog(backend)))
            self._catalog, self._result = catalog, None
            self._hash = catalog.hash.encode() if _HASH.fullmatch(catalog.hash) else b""
        elif reply.status != 304 or self._catalog is None:
            return Probe(fact=status_fact(reply, backend, self._kind.label))
        self._start_following()
        if self._result is None or self._result[0] != backend.name:
            models = sum(len(shared.models) for shared in self._catalog.backends)
            result = await in_thread_if_large(_WORK_PER_MODEL * models, _probe_of, self._catalog, backend)
            self._result = backend.name, self._with_withdrawn(result, backend)
        return replace(self._result[1], fact=Answered(reply.elapsed_s))

    def close(self) -> None:
        """End the event stream."""
        self._is_closed = True
        if self._following is not None:
            self._following.cancel()
        if self._events is not None:
            self._events.close()

    def _with_withdrawn(self, probe: Probe, backend: Backend) -> Probe:
        """Add the models that are not shared any more to those that can't be used."""
        unusable = dict(probe.unusable or {})
        named = {*(probe.models or ()), *unusable}
        for model in self._shared:
            if model not in named:
                text = f"{backend.name} does not share {model} with you any more."
                unusable[model] = Reason(NOT_SHARED, text, "Ask its owner to share it again.")
        self._shared |= dict.fromkeys(named)
        if len(self._shared) > MODELS_MAX:
            self._shared = dict.fromkeys(named)
        return replace(probe, unusable=unusable)

    def _start_following(self) -> None:
        if self._is_closed or (self._following is not None and not self._following.done()):
            return
        self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        """Request a probe whenever the stream reports a change, and when it ends."""
        deps = self._deps
        if self._events is None:
            self._events = deps.upstream_for(deps.probes.address)
        with suppress(UpstreamError, TimeoutError):
            async with asyncio.timeout(PROBE_S):
                response = await self._events.send("GET", EVENTS, ((b"accept", b"text/event-stream"),))
            try:
                if response.status != 200:
                    return
                received = b""
                while True:
                    async with asyncio.timeout(QUIET_S):
                        piece = await response.read()
                    if not piece:
                        break
                    received = (received + piece)[-_EVENT_MAX:]
                    *_, last = None, *_EVENT.finditer(received)
                    if last is not None:
                        received = received[last.end() :]
                        if last[1] != self._hash:
                            deps.probe_soon()
            finally:
                response.abort()
        deps.probe_soon()


_CERTAIN = frozenset({"identity-changed", "no-certificate"})
"""Codes of reasons that a second probe would not change."""


def _explain(error: UpstreamError, backend: Backend) -> Reason:
    cause = error.__cause__
    if isinstance(error, ConnectError) and error.cause == "tls":
        if cause is None:  # this node could not start the handshake
            return Reason("no-certificate", error.title, "Unpair it, and pair it again.")
        if isinstance(cause, ConnectionError):
            return Reason(
                "connection-lost", sanitize_line(error.title), "It may be restarting. Look at its log."
            )
        if not isinstance(cause, ssl.SSLCertVerificationError):
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


def _decode(body: bytes) -> SharedCatalog | None:
    """Decode a catalog; None if the body is not one."""
    if body.count(b",") > _COMMAS_MAX:
        return None
    return decode_or_none(body, _catalog)


def _probe_of(catalog: SharedCatalog, backend: Backend) -> Probe:
    """Return a probe's result from a catalog, whose untrusted contents are limited and sanitized."""
    backends = [cleaned for shared in catalog.backends[:BACKENDS_MAX] if (cleaned := _clean(shared)).models]
    up = [] if catalog.paused else [shared for shared in backends if shared.state != "unhealthy"]
    models = tuple(dict.fromkeys(model for shared in up for model in shared.models))[:MODELS_MAX]
    details: dict[str, ModelDetail] = {}
    for shared in up:
        for model, detail in shared.details.items():
            known_so_far = details.get(model)
            details[model] = detail if known_so_far is None else _together(known_so_far, detail)
        for model in shared.models if RING_ORDER[shared.ring] > RING_ORDER["lan"] else ():
            details[model] = _reaching(details.get(model, ModelDetail()), shared.ring)
    known = frozenset(models)
    down = backends if catalog.paused else [shared for shared in backends if shared.state == "unhealthy"]
    unusable = {
        model: _not_now(shared, backend, is_paused=catalog.paused)
        for shared in down[:LINES_MAX]
        for model in shared.models
        if model not in known
    }
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
        about={shared.name: _summary(shared) for shared in backends[:LINES_MAX]},
        warnings=tuple(warnings),
        unusable=unusable,
        can_load=catalog.may_manage and not catalog.paused,
    )


def _not_now(shared: SharedBackend, backend: Backend, *, is_paused: bool) -> Reason:
    """Return why a model that a peer shares can't be used now."""
    if is_paused:
        return Reason("peer-paused", f"Its owner has paused sharing on {backend.name}.")
    text = f"{shared.name} on {backend.name} is {shared.state} there."
    return Reason("peer-backend-down", text, "`meshlight status` there shows why.")


def _clean(shared: SharedBackend) -> SharedBackend:
    """Return the parts of a shared backend that can be shown."""
    models = tuple(model for model in shared.models[:MODELS_MAX] if is_model_id(model))
    known = frozenset(models)
    details = {
        model: cleaned
        for model, detail in shared.details.items()
        if model in known and (cleaned := _clean_detail(detail)) != ModelDetail()
    }
    name, kind = sanitize_line(shared.name, 80) or "?", short_text(shared.kind) or "?"
    return replace(shared, name=name, kind=kind, models=models, details=details)


def _together(first: ModelDetail, second: ModelDetail) -> ModelDetail:
    """Return what holds for a model that two backends of a peer serve: the peer chooses the one that suits."""
    both = first.slots is not None and second.slots is not None
    are_full = first.waiting is not None and second.waiting is not None
    return replace(
        first,
        loaded=first.loaded if second.loaded is None else first.loaded or second.loaded,
        context=max(first.context or 0, second.context or 0) or None,
        slots=(first.slots or 0) + (second.slots or 0) if both else None,
        running=(first.running or 0) + (second.running or 0) if are_full else None,
        waiting=(first.waiting or 0) + (second.waiting or 0) if are_full else None,
        load_s=first.load_s if second.load_s is None else second.load_s,
    )


def _reaching(detail: ModelDetail, ring: Ring) -> ModelDetail:
    """Return the detail of a model that a backend of this ring serves too."""
    return replace(detail, ring=max(detail.ring or ring, ring, key=lambda one: RING_ORDER[one]))


def _clean_detail(detail: ModelDetail) -> ModelDetail:
    return ModelDetail(
        context=tokens(detail.context),
        loaded=detail.loaded,
        slots=number(detail.slots, SLOTS_MAX),
        running=number(detail.running, SLOTS_MAX),
        waiting=number(detail.waiting, SLOTS_MAX),
        load_s=detail.load_s if detail.load_s is not None and 0 < detail.load_s <= LOAD_MAX_S else None,
        quantization=short_text(detail.quantization),
        parameters=short_text(detail.parameters),
        capabilities=tuple(text for word in detail.capabilities[:WORD_MAX] if (text := short_text(word))),
    )


def _summary(shared: SharedBackend) -> str:
    number = len(shared.models)
    return f"{shared.kind}, {shared.state}, {'1 model' if number == 1 else f'{number} models'}"
