"""All inference paths as one ASGI app: `/v1` is OpenAI's and Anthropic's, `/api` Ollama's, `/v1beta` Gemini's.

Gemini's clients also use `/v1`. Lists of models are answered here, everything else goes to the relay. A POST to an
unknown path below `/v1` goes to a backend too, if its JSON body names a model: servers have paths of their own, such
as `/v1/score`.
"""

import re
from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol
from urllib.parse import unquote, unquote_plus

import msgspec
from msgspec.structs import replace

from meshlight.domain.errors import ContextExceeded, MeshlightError, NoModelInBody, NotFound, RouteError
from meshlight.domain.operations import GEMINI_OPERATIONS, OPERATIONS, Operation
from meshlight.gateway.access.guard import PAGE_CHAT
from meshlight.gateway.errors import ErrorResponse, error_response, protocol_of, unexpected
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.headers import request_id
from meshlight.gateway.inference.json_body import fold
from meshlight.gateway.inference.request import GUEST, ClientLeft, InferenceRequest, expect, read_request
from meshlight.gateway.inference.sinks import AsgiSink, Sink
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.server.request_cycle import OFFER
from meshlight.gateway.translation.responses.memory import ResponseMemory

_OPERATIONS: dict[str, Operation] = {operation: operation for operation in OPERATIONS}
_GEMINI_VERBS: dict[str, Operation] = {
    operation.removeprefix("gemini/"): operation for operation in GEMINI_OPERATIONS
}
_PREFIXES = ("/v1/", "/api/", "/v1beta/")
_CHAT = "/v1/chat/completions"
_STORED = "/v1/responses/"
_OTHER_PATH = re.compile(r"/v1(?:/[A-Za-z0-9_-]+)+")
"""The form of unknown paths that are passed on: nothing that a server could read as another path."""
_LOADS = re.compile(r"/(?:un)?load")
"""In paths by which servers are managed, such as vLLM's `/v1/load_lora_adapter`: they are not for guests."""
OTHER_PATH_MAX = 200
"""Characters of an unknown path that is passed on."""
_KEYS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})
"""Query parameters in which some clients send their key: no backend may see ours."""
_GEMINI_STREAM = "alt=sse"
"""The only parameter that is kept of a peer's query: it sets the form of a stream."""


class Carrier(Protocol):
    """What carries requests to backends: the relay."""

    async def run(
        self,
        inbound: InferenceRequest,
        sink: Sink,
        disconnect: DisconnectListeners,
        begun: Begun | None = None,
    ) -> None:
        """See `Relay.run`."""


class Inference:
    """Answers lists of models from the catalog, and relays everything else."""

    def __init__(self, relay: Carrier, catalog: ModelCatalog, ollama: Ollama) -> None:
        self._relay = relay
        self._catalog = catalog
        self.ollama = ollama
        self._responses = ResponseMemory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["raw_path"].decode("latin-1")
        try:
            await self._answer(path, scope, receive, send)
        except ClientLeft:
            return
        except MeshlightError as error:
            await _error(error, path, scope).send(send)
        except Exception as error:  # noqa: BLE001 - the last place where a fault of ours can become an answer
            await unexpected(error, path).send(send)

    async def resume(self, begun: Begun, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - an ASGI app's
        """Answer one request that was begun in the lane."""
        path, extensions = scope["path"], scope["extensions"]
        try:
            sink = AsgiSink(send, extensions[OFFER])
            await self._relay.run(begun.trial.inbound, sink, extensions[DISCONNECT], begun)
        except MeshlightError as error:
            await _error(error, path, scope).send(send)
        except Exception as error:  # noqa: BLE001 - as above
            await unexpected(error, path).send(send)

    async def fail(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as above
        """Tell the client of a fault of ours that came up in the lane."""
        await unexpected(error, scope["path"]).send(send)

    async def _answer(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        operation = _OPERATIONS.get(path[4:]) if path.startswith("/v1/") else None
        if operation is not None:
            if scope["method"] != "POST":
                expect("POST", scope, path)
            extensions = scope["extensions"]
            target = _with_query(path, scope) if scope["query_string"] else path
            guest = extensions.get(GUEST)
            inbound = await read_request(operation, target, scope["headers"], receive, guest=guest)
            if operation == "responses":
                inbound = inbound.changed(stored=self._responses.of(guest))
            await self._relay.run(inbound, AsgiSink(send, extensions[OFFER]), extensions[DISCONNECT])
        elif path.startswith("/api/"):
            found = await self.ollama.answer(path, scope, receive)
            if isinstance(found, InferenceRequest):
                await self._run(found, scope, send)
            elif isinstance(found, bytes):
                await send_json(found, send)
            else:
                await _send_lines(found, scope, send)
        elif path.startswith(_STORED) and scope["method"] != "POST":
            await send_json(self._stored(path, scope), send)
        else:
            below = path.partition("/")[2].partition("/")[2]
            if below == "models" or below.startswith("models/"):
                await self._models(path, unquote(below[len("models/") :]), scope, receive, send)
            else:
                await self._other(path, scope, receive, send)

    def _stored(self, path: str, scope: Scope) -> bytes:
        """Return a stored response, or what its deletion answers; raises NotFound if it is not stored (any more)."""
        response_id = unquote(path[len(_STORED) :])
        stored = self._responses.of(scope["extensions"].get(GUEST))
        if scope["method"] == "DELETE":
            if stored.forget(response_id):
                return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})
        else:
            expect("GET", scope, path)
            if (found := stored.response(response_id)) is not None:
                return found
        raise NotFound(
            f"Response with id {response_id[:100]!r} not found: only the latest of engines are stored, in memory.",
            "Ask the backend that made it.",
        )

    async def _models(self, path: str, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what begins with `/v1/models` or `/v1beta/models`: lists, and Gemini's verbs."""
        if protocol_of(path) == "gemini" and (verb := name.rpartition(":")[2]) in _GEMINI_VERBS:
            expect("POST", scope, path)
            model = name[: -len(verb) - 1]
            guest = scope["extensions"].get(GUEST)
            inbound = await read_request(
                _GEMINI_VERBS[verb],
                _with_query(path, scope),
                scope["headers"],
                receive,
                model=model,
                guest=guest,
            )
            await self._run(inbound, scope, send)
            return
        expect("GET", scope, path)
        if GUEST in scope["extensions"]:
            raise NotFound("Peers find the models at /peer/catalog.")
        await send_json(self._catalog.answer(name, _list_protocol(path, scope)), send)

    async def _other(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to an unknown path on if its body names a model; raises NotFound if not."""
        is_post = scope["method"] == "POST"
        guest = scope["extensions"].get(GUEST)
        is_passed = is_post and len(path) <= OTHER_PATH_MAX and _OTHER_PATH.fullmatch(path)
        if is_passed and not (guest is not None and _LOADS.search(path)):
            target = _with_query(path, scope)
            try:
                inbound = await read_request("other", target, scope["headers"], receive, guest=guest)
            except NoModelInBody:
                pass
            else:
                await self._run(inbound, scope, send)
                return
        if path.startswith(_STORED):
            expect("GET", scope, path)
        known = ", ".join(sorted(_OPERATIONS))
        hint = f"Inference is at /v1/ + {known}."
        if is_post and path.startswith("/v1/"):
            hint += " A POST to another path is passed to a backend if its JSON body names a model."
        raise NotFound(f"There is no {path[:200]} here.", hint)

    async def _run(self, inbound: InferenceRequest, scope: Scope, send: Send) -> None:
        extensions = scope["extensions"]
        await self._relay.run(inbound, AsgiSink(send, extensions[OFFER]), extensions[DISCONNECT])


class InferenceDispatch:
    """ASGI middleware behind the guard that sends inference past the framework.

    A mount inside Litestar costs 20 µs a request and one more coroutine a chunk, a sixth of the whole.
    """

    def __init__(self, app: ASGIApp, inference: ASGIApp) -> None:
        self._app = app
        self._inference = inference

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(_PREFIXES):
            return self._inference(scope, receive, send)
        if scope["type"] == "http" and scope["path"] == PAGE_CHAT:
            scope["path"], scope["raw_path"] = _CHAT, _CHAT.encode()
            return self._inference(scope, receive, send)
        return self._app(scope, receive, send)


def _error(error: MeshlightError, path: str, scope: Scope) -> ErrorResponse:
    response = error_response(error, path)
    if isinstance(error, RouteError | ContextExceeded) and GUEST not in scope["extensions"]:
        attempts = (b"x-meshlight-attempts", b"%d" % error.attempts)
        response = replace(response, headers=(*response.headers, attempts, request_id()))
    return response


def _list_protocol(path: str, scope: Scope) -> str:
    """Return in which protocol's shape a list is wanted: the clients of three protocols use the same path."""
    if path.startswith("/v1beta/"):
        return "gemini"
    names = {name for name, _ in scope["headers"]}
    if b"anthropic-version" in names:
        return "anthropic"
    return "gemini" if b"x-goog-api-key" in names else "openai"


def _with_query(path: str, scope: Scope) -> str:
    """Return the path with its query unchanged, but without the parameters that carry a key or name a model.

    Of a peer's query nothing is kept but the form of a stream: the rest would be sent in the owner's name.
    """
    query = scope["query_string"].decode("latin-1")
    if not query:
        return path
    pairs = query.split("&")
    if GUEST in scope["extensions"]:
        is_gemini = protocol_of(path) == "gemini"
        return f"{path}?{_GEMINI_STREAM}" if is_gemini and _GEMINI_STREAM in pairs else path
    kept = [pair for pair in pairs if not _is_ours(unquote_plus(pair.partition("=")[0]))]
    return f"{path}?{'&'.join(kept)}" if kept else path


def _is_ours(name: str) -> bool:
    return name.lower() in _KEYS or fold(name) == "model"


async def send_json(body: bytes, send: Send) -> None:
    """Send a complete answer of JSON."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _send_lines(lines: AsyncGenerator[bytes, None], scope: Scope, send: Send) -> None:
    """Send lines of JSON as they come, until the client has left."""
    disconnect: DisconnectListeners = scope["extensions"][DISCONNECT]
    headers = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async for line in lines:
            if disconnect.gone:
                break
            await send({"type": "http.response.body", "body": line, "more_body": True})
    finally:
        await lines.aclose()
    await send({"type": "http.response.body", "body": b""})
