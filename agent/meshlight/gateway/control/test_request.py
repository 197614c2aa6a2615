"""First success without code: a few small real requests through the relay, with who answered and how fast."""

import re
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import MeshlightError, NotFound
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.inference.streaming import UsageTap
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.http_client.client import Headers
from meshlight.mesh.registry import Registry

PROMPT = "Say hello in one short sentence."
MAX_TOKENS = 48
RUNS_MAX = 5
TEXT_MAX = 2_000
ANSWER_LIMIT = 1 << 20
"""Bytes of an answer that are looked at; an endless one is not kept."""

_NO_CHAT = re.compile(r"embed|rerank|bge-|whisper|tts|dall-e|stable-diffusion|moderation", re.IGNORECASE)
_CONTENT_TYPE = b"application/json"


class ModelTestRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which model to try (the first one that can chat, if none is named), and how often (1 to 5)."""

    model: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    count: Annotated[int, Meta(ge=1, le=RUNS_MAX)] = 1


ANY_MODEL = ModelTestRequest()


class ModelTestRun(Struct, frozen=True, kw_only=True):
    """One request: times in milliseconds; `tokens` as the backend counted them, else the pieces of the stream."""

    backend: str | None
    ok: bool
    first_token_ms: float | None
    tokens: int
    tokens_per_s: float | None
    total_ms: float
    text: str
    error: str | None = None


class ModelTestReport(Struct, frozen=True, kw_only=True):
    """What came of it."""

    model: str
    runs: tuple[ModelTestRun, ...]


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: _Delta | None = None


class _Chunk(Struct):
    choices: tuple[_Choice, ...] = ()


_chunk = msgspec.json.Decoder(_Chunk)


class _MeasuringSink:
    """A sink that listens: it keeps what came, and when."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()
        self.pieces: list[float] = []
        self.tap = UsageTap()
        self.is_whole = False

    async def start(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    async def write(self, data: bytes) -> None:
        self.offer(data)

    def offer(self, data: bytes) -> bool:
        self.pieces.append(self._clock())
        self.tap.feed(data)
        if len(self.body) < ANSWER_LIMIT:
            self.body += data
        return True

    async def end(self, last: bytes = b"") -> None:
        if last:
            self.offer(last)
        self.is_whole = True

    def abort(self) -> None:
        self.is_whole = False


class ModelTester:
    """Runs trials, one request after the other."""

    def __init__(self, relay: Relay, registry: Registry, clock: Callable[[], float]) -> None:
        self._relay = relay
        self._registry = registry
        self._clock = clock

    async def run(self, wish: ModelTestRequest) -> ModelTestReport:
        """Send the requests; NotFound when there is no model to try."""
        model = wish.model or _chat_model(self._registry.snapshot)
        return ModelTestReport(model=model, runs=tuple([await self._once(model) for _ in range(wish.count)]))

    async def _once(self, model: str) -> ModelTestRun:
        body = msgspec.json.encode(
            {
                "model": model,
                "messages": [{"role": "user", "content": PROMPT}],
                "max_tokens": MAX_TOKENS,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )
        inbound = InferenceRequest(
            operation="chat/completions",
            target="/v1/chat/completions",
            headers=((b"content-type", _CONTENT_TYPE), (b"accept", b"text/event-stream")),
            content_type=_CONTENT_TYPE,
            body=body,
            head=Head(model, stream=True),
        )
        ear = _MeasuringSink(self._clock)
        started = self._clock()
        error: str | None = None
        try:
            await self._relay.run(inbound, ear, DisconnectListeners())
        except MeshlightError as raised:
            error = f"{raised.title} {raised.hint}".strip()
        return _report(ear, started, self._clock(), error)


def _report(ear: _MeasuringSink, started: float, ended: float, error: str | None) -> ModelTestRun:
    body = bytes(ear.body)
    ok = error is None and ear.is_whole and ear.status == 200 and b'data: {"error"' not in body[-4_096:]
    if error is None and not ok:
        error = body[:500].decode("utf-8", "replace") or f"It answered {ear.status}."
    text = _text(body) if ok else ""
    counts = ear.tap.read()
    tokens = counts[1] if counts and counts[1] else len(ear.pieces)
    first = ear.pieces[0] if ear.pieces else None
    spread_s = ear.pieces[-1] - ear.pieces[0] if len(ear.pieces) > 1 else 0.0
    backend = next((value.decode() for name, value in ear.headers if name == b"x-meshlight-backend"), None)
    return ModelTestRun(
        backend=backend,
        ok=ok,
        first_token_ms=round((first - started) * 1000, 1) if ok and first is not None else None,
        tokens=tokens if ok else 0,
        tokens_per_s=round((tokens - 1) / spread_s, 1) if ok and spread_s > 0 and tokens > 1 else None,
        total_ms=round((ended - started) * 1000, 1),
        text=text[:TEXT_MAX],
        error=error,
    )


def _text(body: bytes) -> str:
    """Return the text of a streamed (or whole) chat answer."""
    said: list[str] = []
    lines = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:")] or [body]
    for line in lines:
        chunk = decode_or_none(line, _chunk)
        # None for `[DONE]`, comments, or half an emoji: a test shows what it can read.
        for choice in chunk.choices if chunk is not None else ():
            delta = choice.delta or choice.message
            if delta is not None:
                said.append(delta.content or delta.reasoning_content or "")
    return "".join(said).strip()


def _chat_model(snapshot: Snapshot) -> str:
    """Return the first model that looks as if it could chat, one with a healthy route before others."""
    names = [model for model in snapshot.routes if not _NO_CHAT.search(model)] or list(snapshot.routes)
    if not names:
        raise NotFound("There is no model to try yet.", "Start a local engine, or add a backend.")
    healthy = (
        model
        for model in names
        if any(snapshot.nodes[backend].health.state == "healthy" for backend in snapshot.routes[model])
    )
    return next(healthy, names[0])
