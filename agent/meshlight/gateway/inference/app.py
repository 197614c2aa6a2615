"""The inference faces as one ASGI app, in every protocol in which prompts come in; no framework stands in its way.

`/v1` is OpenAI's and Anthropic's, `/api` is Ollama's, `/v1beta` is Gemini's. Gemini's clients ask below `/v1` too.

Sends inference straight to the relay, and everything else to the framework.
"""

from urllib.parse import unquote, unquote_plus

import msgspec
from msgspec.structs import replace

from meshlight.domain.errors import MeshlightError, NotFound, RouteError
from meshlight.domain.operations import GEMINI_OPERATIONS, OPERATIONS, Operation
from meshlight.gateway.errors import error_response, protocol_of, unexpected
from meshlight.gateway.inference.headers import request_id
from meshlight.gateway.inference.json_body import fold
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.inference.request import GUEST, ClientLeft, InferenceRequest, expect, read_request
from meshlight.gateway.inference.streaming import AsgiSink
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.request_cycle import OFFER
from meshlight.gateway.translation.responses.memory import ResponseMemory

_FACES: dict[str, Operation] = {operation: operation for operation in OPERATIONS}
_VERBS: dict[str, Operation] = {
    operation.removeprefix("gemini/"): operation for operation in GEMINI_OPERATIONS
}
_STORED = "/v1/responses/"
_KEYS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})
"""Query parameters in which some clients send their key: ours is no backend's business."""
_GEMINI_STREAM = "alt=sse"
"""The one parameter that a peer's request keeps: it is a stream's form."""


class Inference:
    """Answers lists of models from the catalog, and relays everything else."""

    def __init__(self, relay: Relay, catalog: ModelCatalog, ollama: Ollama) -> None:
        self._relay = relay
        self._catalog = catalog
        self._ollama = ollama
        self._responses = ResponseMemory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        target = scope["raw_path"].decode("latin-1")
        try:
            await self._answer(target, scope, receive, send)
        except ClientLeft:
            return
        except MeshlightError as error:
            made = error_response(error, target)
            if isinstance(error, RouteError) and GUEST not in scope["extensions"]:
                attempts = (b"x-meshlight-attempts", b"%d" % error.attempts)
                made = replace(made, headers=(*made.headers, attempts, request_id()))
            await made.send(send)
        except Exception as error:  # noqa: BLE001 the last line of defence: a fault of ours, told as one
            await unexpected(error, target).send(send)

    async def _answer(self, target: str, scope: Scope, receive: Receive, send: Send) -> None:
        operation = _FACES.get(target[4:]) if target.startswith("/v1/") else None
        if operation is not None:
            if scope["method"] != "POST":
                expect("POST", scope, target)
            extensions = scope["extensions"]
            whole = _whole(target, scope) if scope["query_string"] else target
            guest = extensions.get(GUEST)
            inbound = await read_request(operation, whole, scope["headers"], receive, guest=guest)
            if operation == "responses":
                inbound = replace(inbound, stored=self._responses.of(guest))
            await self._relay.run(inbound, AsgiSink(send, extensions[OFFER]), extensions[DISCONNECT])
        elif target.startswith("/api/"):
            found = await self._ollama.answer(target, scope, receive)
            if isinstance(found, InferenceRequest):
                await self._run(found, scope, send)
            else:
                await _send_json(found, send)
        elif target.startswith(_STORED):
            await _send_json(self._stored(target, scope), send)
        else:
            await self._models(target, scope, receive, send)

    def _stored(self, target: str, scope: Scope) -> bytes:
        """Answer for one kept response: what it is, or that it is kept no more."""
        response_id = unquote(target[len(_STORED) :])
        stored = self._responses.of(scope["extensions"].get(GUEST))
        if scope["method"] == "DELETE":
            if stored.forget(response_id):
                return msgspec.json.encode({"id": response_id, "object": "response", "deleted": True})
        else:
            expect("GET", scope, target)
            if (found := stored.response(response_id)) is not None:
                return found
        raise NotFound(
            f"Response with id {response_id[:100]!r} not found: the latest of engines are kept, in memory.",
            "Ask the backend that made it.",
        )

    async def _models(self, target: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what begins with `/v1/models` or `/v1beta/models`: lists, and Gemini's verbs."""
        path = target.partition("/")[2].partition("/")[2]
        if path != "models" and not path.startswith("models/"):
            known = ", ".join(sorted(_FACES))
            raise NotFound(f"There is no {target[:200]} here.", f"Inference is at /v1/ + {known}.")
        name = unquote(path[len("models/") :])
        if protocol_of(target) == "gemini" and (verb := name.rpartition(":")[2]) in _VERBS:
            expect("POST", scope, target)
            model = name[: -len(verb) - 1]
            guest = scope["extensions"].get(GUEST)
            inbound = await read_request(
                _VERBS[verb], _whole(target, scope), scope["headers"], receive, model=model, guest=guest
            )
            await self._run(inbound, scope, send)
            return
        expect("GET", scope, target)
        if GUEST in scope["extensions"]:
            raise NotFound("Peers are told of models by /peer/catalog.")
        await _send_json(self._catalog.answer(name, _is_inference(target, scope)), send)

    async def _run(self, inbound: InferenceRequest, scope: Scope, send: Send) -> None:
        extensions = scope["extensions"]
        await self._relay.run(inbound, AsgiSink(send, extensions[OFFER]), extensions[DISCONNECT])


def _is_inference(target: str, scope: Scope) -> str:
    """Return in whose shape a list is wanted: the clients of three protocols ask for it at one path."""
    if target.startswith("/v1beta/"):
        return "gemini"
    names = {name for name, _ in scope["headers"]}
    if b"anthropic-version" in names:
        return "anthropic"
    return "gemini" if b"x-goog-api-key" in names else "openai"


def _whole(target: str, scope: Scope) -> str:
    """Return the path with its query as it stands, but for the parameters that carry a key or name a model.

    What a peer says there would be said in the owner's name: nothing of it goes on.
    """
    query = scope["query_string"].decode("latin-1")
    if not query:
        return target
    pairs = query.split("&")
    if GUEST in scope["extensions"]:
        is_gemini = protocol_of(target) == "gemini"
        return f"{target}?{_GEMINI_STREAM}" if is_gemini and _GEMINI_STREAM in pairs else target
    kept = [pair for pair in pairs if not _is_ours(unquote_plus(pair.partition("=")[0]))]
    return f"{target}?{'&'.join(kept)}" if kept else target


def _is_ours(name: str) -> bool:
    return name.lower() in _KEYS or fold(name) == "model"


async def _send_json(body: bytes, send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


_INFERENCE = ("/v1/", "/api/", "/v1beta/")


class InferenceDispatch:
    """ASGI middleware behind the guard.

    A mount inside Litestar costs 20 µs a request and one more coroutine a chunk, a sixth of the whole: so the paths
    of inference go past it.
    """

    def __init__(self, app: ASGIApp, inference: ASGIApp) -> None:
        self._app = app
        self._inference = inference

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"].startswith(_INFERENCE):
            await self._inference(scope, receive, send)
        else:
            await self._app(scope, receive, send)
