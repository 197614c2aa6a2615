"""`POST /mesh/test`: sends a few small real requests through the relay, and reports who answered and how fast."""

from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.api_types import ModelTestReport, ModelTestRun
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import MeshlightError, NotFound
from meshlight.domain.model_names import can_chat
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
"""Bytes of an answer that are evaluated; the rest is not stored."""
_CONTENT_TYPE = b"application/json"


class ModelTestRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model to test (default: the first one that can chat), and how often (1 to 5)."""

    model: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    count: Annotated[int, Meta(ge=1, le=RUNS_MAX)] = 1


ANY_MODEL = ModelTestRequest()


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
    """A sink that records the answer, and the time of each piece."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.status = 0
        self.headers: Headers = ()
        self.body = bytearray()
        self.pieces: list[float] = []
        self.tap = UsageTap()
        self.is_complete = False

    async def start(self, status: int, headers: Headers) -> None:
        self.status, self.headers = status, headers

    async def write(self, data: bytes) -> None:
        self.offer(data)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:  # noqa: ARG002 - a Sink's
        self.pieces.append(self._clock())
        self.tap.feed(data)
        if len(self.body) < ANSWER_LIMIT:
            self.body += data
        return True

    async def end(self, last: bytes = b"") -> None:
        if last:
            self.offer(last)
        self.is_complete = True

    def abort(self) -> None:
        self.is_complete = False


class ModelTester:
    """Runs model tests, one request after the other."""

    def __init__(self, relay: Relay, registry: Registry, clock: Callable[[], float]) -> None:
        self._relay = relay
        self._registry = registry
        self._clock = clock

    async def run(self, request: ModelTestRequest) -> ModelTestReport:
        """Send the requests; raises NotFound if there is no model."""
        model = request.model or chat_model(self._registry.snapshot)
        return ModelTestReport(
            model=model, runs=tuple([await self._run_once(model) for _ in range(request.count)])
        )

    async def _run_once(self, model: str) -> ModelTestRun:
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
        sink = _MeasuringSink(self._clock)
        started = self._clock()
        error: str | None = None
        try:
            await self._relay.run(inbound, sink, DisconnectListeners())
        except MeshlightError as raised:
            error = f"{raised.title} {raised.hint}".strip()
        return _report(sink, started, self._clock(), error)


def _report(sink: _MeasuringSink, started: float, ended: float, error: str | None) -> ModelTestRun:
    body = bytes(sink.body)
    ok = error is None and sink.is_complete and sink.status == 200 and b'data: {"error"' not in body[-4_096:]
    if error is None and not ok:
        error = body[:500].decode("utf-8", "replace") or f"It answered {sink.status}."
    text = _text(body) if ok else ""
    counts = sink.tap.read()
    tokens = counts[1] if counts and counts[1] else len(sink.pieces)
    first = sink.pieces[0] if sink.pieces else None
    spread_s = sink.pieces[-1] - sink.pieces[0] if len(sink.pieces) > 1 else 0.0
    backend = next((value.decode() for name, value in sink.headers if name == b"x-meshlight-backend"), None)
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
    """Return the text of a chat answer, streamed or complete."""
    texts: list[str] = []
    lines = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:")] or [body]
    for line in lines:
        chunk = decode_or_none(line, _chunk)
        # None for `[DONE]`, a comment, or half an emoji: the rest is still shown.
        for choice in chunk.choices if chunk is not None else ():
            delta = choice.delta or choice.message
            if delta is not None:
                texts.append(delta.content or delta.reasoning_content or "")
    return "".join(texts).strip()


def chat_model(snapshot: Snapshot) -> str:
    """Return the first model that can chat, preferably one in memory with a healthy route, else a healthy one.

    Raises NotFound if there is no model.
    """
    names = [model for model in snapshot.routes if _can_chat(snapshot, model)] or list(snapshot.routes)
    if not names:
        raise NotFound(
            "There is no model to try yet.",
            "`meshlight setup` gets a first one; `meshlight models pull starter` a small one at once.",
        )
    return max(names, key=lambda model: _readiness(snapshot, model))


def _can_chat(snapshot: Snapshot, model: str) -> bool:
    details = (snapshot.nodes[backend].details.get(model) for backend in snapshot.routes[model])
    return can_chat(model, [detail.capabilities for detail in details if detail is not None])


def _readiness(snapshot: Snapshot, model: str) -> int:
    """Return 2 for a healthy route that need not load the model first, 1 for another healthy one, else 0."""
    best = 0
    for backend in snapshot.routes[model]:
        node = snapshot.nodes[backend]
        if node.health.state == "healthy":
            detail = node.details.get(model)
            best = max(best, 1 if detail is not None and detail.loaded is False else 2)
    return best
