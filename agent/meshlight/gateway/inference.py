"""`/v1`: the ASGI app that Litestar mounts for inference; no framework stands in its way."""

from urllib.parse import unquote

from msgspec.structs import replace

from meshlight.backends.kind import FACES
from meshlight.domain.errors import MeshlightError, MethodNotAllowed, NotFound, RouteError
from meshlight.gateway.answer import answer, unexpected
from meshlight.gateway.asgi import Receive, Scope, Send
from meshlight.gateway.catalog import Catalog
from meshlight.gateway.inbound import ClientLeft, read_inbound
from meshlight.gateway.leave import LEAVE
from meshlight.gateway.relay import Relay
from meshlight.gateway.sink import AsgiSink

_FACES = frozenset(FACES) - {"messages", "messages/count_tokens"}


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
                made = replace(made, headers=(*made.headers, attempts))
            await made.send(send)
        except Exception as error:  # noqa: BLE001 the last line of defence: a fault of ours, told as one
            await unexpected(error, target).send(send)

    async def _answer(self, target: str, scope: Scope, receive: Receive, send: Send) -> None:
        method: str = scope["method"]
        face = target.removeprefix("/v1/")
        if face == "models" or face.startswith("models/"):
            await self._models(face, method, send)
            return
        if face not in _FACES:
            known = ", ".join(sorted(_FACES))
            raise NotFound(f"There is no {target[:200]} here.", f"Inference is at /v1/ + {known}.")
        if method != "POST":
            raise MethodNotAllowed(f"{target} takes POST, not {method}.")
        query: bytes = scope["query_string"]
        if query:
            target = f"{target}?{query.decode('latin-1')}"
        inbound = await read_inbound(face, target, scope["headers"], receive)
        await self._relay.run(inbound, AsgiSink(send), scope["extensions"][LEAVE])

    async def _models(self, face: str, method: str, send: Send) -> None:
        if method != "GET":
            raise MethodNotAllowed(f"/v1/{face} takes GET, not {method}.")
        name = unquote(face[len("models/") :])
        body = self._catalog.one(name) if name else self._catalog.all()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
