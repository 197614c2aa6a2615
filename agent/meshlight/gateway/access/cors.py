"""What a browser wants to hear before it hands an answer to another site's page that the user lets ask."""

import re
from collections.abc import Collection

from meshlight.domain.allowed import is_allowed_origin
from meshlight.gateway.server.asgi import Message, Scope, Send
from meshlight.gateway.server.request_cycle import SHARED

_METHODS = b"GET, POST, DELETE"
_NAMES = re.compile(rb"[A-Za-z0-9, _-]{0,2000}")
_KEPT_S = b"600"


def shared_origin(scope: Scope, allowed: Collection[str]) -> bytes:
    """Return the origin that asks, if it is one that may; else nothing."""
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    return origins[0] if len(origins) == 1 and is_allowed_origin(origins[0], allowed) else b""


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks if its page may ask."""
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def answer_preflight(scope: Scope, send: Send) -> None:
    """Say what the page may ask; `send` names the origin."""
    asked = dict(scope["headers"])
    shared = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _KEPT_S)]
    names = asked.get(b"access-control-request-headers", b"")
    if names and _NAMES.fullmatch(names):
        shared.append((b"access-control-allow-headers", names))
    if asked.get(b"access-control-request-private-network") == b"true":
        shared.append((b"access-control-allow-private-network", b"true"))
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 204, "headers": headers, SHARED: shared})
    await send({"type": "http.response.body"})


def naming(origin: bytes, send: Send) -> Send:
    """Return a `send` that lets a page of `origin` read the answer, also one that says what is wrong."""

    async def named(message: Message) -> None:
        if message["type"] == "http.response.start":
            message[SHARED] = [
                *message.get(SHARED, ()),
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"*"),
                (b"vary", b"Origin"),
            ]
        await send(message)

    return named
