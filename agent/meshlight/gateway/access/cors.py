"""CORS headers for pages of other origins that the user allows to use inference (`allowed_origins`)."""

import re
from collections.abc import Collection

from meshlight.domain.allowed_callers import is_allowed_origin
from meshlight.gateway.server.asgi import Message, Scope, Send
from meshlight.gateway.server.request_cycle import CORS_HEADERS

_METHODS = b"GET, POST, DELETE"
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9, _-]{0,2000}")
_MAX_AGE_S = b"600"


def allowed_origin(scope: Scope, allowed: Collection[str]) -> bytes:
    """Return the request's origin if it is allowed, else b""."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    return origins[0] if len(origins) == 1 and is_allowed_origin(origins[0], allowed) else b""


def is_preflight(scope: Scope) -> bool:
    """Whether this is a browser's preflight request."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def answer_preflight(scope: Scope, send: Send) -> None:
    """Answer with what the page may send; `send` must be one of `with_cors`."""
    headers_sent = dict(scope["headers"])
    cors = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _MAX_AGE_S)]
    names = headers_sent.get(b"access-control-request-headers", b"")
    if names and _HEADER_NAMES.fullmatch(names):
        cors.append((b"access-control-allow-headers", names))
    if headers_sent.get(b"access-control-request-private-network") == b"true":
        cors.append((b"access-control-allow-private-network", b"true"))
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers, CORS_HEADERS: cors})
    await send({"type": "http.response.body"})


def with_cors(origin: bytes, send: Send) -> Send:
    """Return a `send` that lets a page of `origin` read the answer, also an error."""

    async def send_with_cors(message: Message) -> None:
        if message["type"] == "http.response.start":
            message[CORS_HEADERS] = [
                *message.get(CORS_HEADERS, ()),
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"*"),
                (b"vary", b"Origin"),
            ]
        await send(message)

    return send_with_cors
