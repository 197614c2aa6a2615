"""`/v1`: the ASGI app that Litestar mounts for inference; no framework stands in its way."""

from urllib.parse import unquote, unquote_plus

from msgspec.structs import replace

from meshlight.backends.kind import FACES, Face
from meshlight.domain.errors import MeshlightError, MethodNotAllowed, NotFound, RouteError
from meshlight.gateway.answer import answer, unexpected
from meshlight.gateway.asgi import Receive, Scope, Send
from meshlight.gateway.catalog import Catalog
from meshlight.gateway.exchange import OFFER
from meshlight.gateway.headers import request_id
from meshlight.gateway.inbound import ClientLeft, read_inbound
from meshlight.gateway.leave import LEAVE
from meshlight.gateway.relay import Relay
from meshlight.gateway.sink import AsgiSink

_FACES: dict[str, Face] = {face: face for face in FACES if not face.startswith("messages")}
_KEYS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})
"""Query parameters in which some clients send their key: ours is no backend's business."""


class Inference:
    """Answers `/v1/models` from the catalog and relays everything else."""

    def __init__(self, relay: Relay, catalog: Catalog) -> None:
        self._relay = relay
        self._catalog = catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        target = scope["raw_path"].decode("latin-1")
        try:
            await self._answer(target, scope, receive, send)
        except ClientLeft:
            return
        except MeshlightError as error:
            made = answer(error, target)
            if isinstance(error, RouteError):
                attempts = (b"x-meshlight-attempts", b"%d" % error.attempts)
                made = replace(made, headers=(*made.headers, attempts, request_id()))
            await made.send(send)
        except Exception as error:  # noqa: BLE001 the last line of defence: a fault of ours, told as one
            await unexpected(error, target).send(send)

    async def _answer(self, target: str, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        path = target.removeprefix("/v1/")
        if path == "models" or path.startswith("models/"):
            await self._models(path, method, send)
            return
        face = _FACES.get(path)
        if face is None:
            known = ", ".join(sorted(_FACES))
            raise NotFound(f"There is no {target[:200]} here.", f"Inference is at /v1/ + {known}.")
        if method != "POST":
            raise MethodNotAllowed(f"{target} takes POST, not {method}.")
        query = _without_keys(scope["query_string"].decode("latin-1"))
        if query:
            target = f"{target}?{query}"
        inbound = await read_inbound(face, target, scope["headers"], receive)
        extensions = scope["extensions"]
        await self._relay.run(inbound, AsgiSink(send, extensions[OFFER]), extensions[LEAVE])

    async def _models(self, path: str, method: str, send: Send) -> None:
        if method != "GET":
            raise MethodNotAllowed(f"/v1/{path[:200]} takes GET, not {method}.")
        name = unquote(path[len("models/") :])
        body = self._catalog.one(name) if name else self._catalog.all()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _without_keys(query: str) -> str:
    """Return the query as it stands, but for the parameters that carry a key."""
    if not query:
        return query
    kept = [pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]).lower() not in _KEYS]
    return "&".join(kept)
