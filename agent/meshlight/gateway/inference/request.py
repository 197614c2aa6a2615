"""One inference request as it came in: what routing needs decoded, the rest kept as bytes."""

from urllib.parse import quote

from msgspec import Struct

from meshlight.backends.kind import Face
from meshlight.backends.upstream import Headers
from meshlight.domain.errors import MethodNotAllowed
from meshlight.domain.sharing import Terms
from meshlight.gateway.asgi import Receive, Scope
from meshlight.gateway.bodies import Head, checked_model, read_head, sent_type, with_model
from meshlight.gateway.content_coding import coding_of, too_large, unpacked
from meshlight.gateway.gemini_body import check_models, with_models
from meshlight.gateway.translation.responses_memory import StoredResponses

BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request body on `/v1`."""
GUEST = "meshlight.guest"
"""The extension of a request's scope that holds the peer who asks, on the LAN listener."""
HOPS = 2
"""How often a request may go on from one node to the next."""

_DEAR = ("images/", "audio/")


class ClientLeft(Exception):
    """The client left before its request was whole."""


class Inbound(Struct, frozen=True, kw_only=True):
    """A request to be routed; `target` is the path with its query, `body` is unpacked.

    What goes on to a backend is what stands here: `content_type` says how the body was read.
    """

    face: Face
    """The path below `/v1/`, such as `chat/completions`."""
    target: str
    headers: Headers
    content_type: bytes
    body: bytes
    head: Head
    visited: tuple[str, ...] = ()
    """Ids of the nodes that this request has passed through."""
    guest: Terms | None = None
    """On whose behalf a peer asks, and what it may use; None for this machine's own requests."""
    named: str | None = None
    """The model as the body calls it, where that is not `head.model`; "" when the path names it."""
    stored: StoredResponses | None = None
    """The responses that the caller may go on from, where it asks for another one."""

    @property
    def is_dear(self) -> bool:
        """Whether sending it twice would cost or do something twice."""
        return self.face.startswith(_DEAR) or (self.face.startswith("responses") and self.head.store)

    def body_for(self, model: str) -> bytes:
        """Return the body with `model` as its model; the very same bytes where it is so already."""
        if self.named == "":
            return self.body if model == self.head.model else with_models(self.body, model)
        named = self.head.model if self.named is None else self.named
        return self.body if model == named else with_model(self.body, self.content_type, model)

    def target_for(self, model: str) -> str:
        """Return the target with `model` as its model, where it is the path that names it."""
        if self.named != "" or model == self.head.model:
            return self.target
        path, mark, query = self.target.partition("?")
        front, verb = path.partition("/models/")[0], self.face.removeprefix("gemini/")
        return f"{front}/models/{quote(model, safe='')}:{verb}{mark}{query}"


def header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header, or nothing."""
    return next((value for key, value in headers if key == name), b"")


def expect(method: str, scope: Scope, target: str) -> None:
    """Raise MethodNotAllowed for another method; a HEAD counts as a GET, for the connection leaves the body out."""
    asked = "GET" if scope["method"] == "HEAD" else scope["method"]
    if asked != method:
        raise MethodNotAllowed(f"{target[:200]} takes {method}, not {scope['method']}.")


async def read_body(receive: Receive, limit: int = BODY_LIMIT) -> bytes:
    """Read a whole request body; TooLarge over `limit` bytes, ClientLeft when it is never finished."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        body: bytes = message.get("body", b"")
        if len(body) <= limit:
            return body
    pieces: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientLeft
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)
        message = await receive()


async def read_inbound(
    face: Face,
    target: str,
    headers: Headers,
    receive: Receive,
    *,
    model: str | None = None,
    guest: Terms | None = None,
) -> Inbound:
    """Read and decode one request.

    `model` is what a path named. Raises BadRequest when it can't be routed, or when not every reader would find the
    same model in it; WrongType for a content type or encoding that is not taken, TooLarge.
    """
    seen = dict(headers)
    coding = coding_of(headers) if b"content-encoding" in seen else ""
    content_type = sent_type(seen.get(b"content-type", b""), face)
    body = await read_body(receive)
    if coding:
        body = await unpacked(body, coding, BODY_LIMIT)
    via = seen.get(b"x-meshlight-via", b"").decode("latin-1")
    named: str | None = None
    if model is not None:
        head, named = Head(checked_model(model)), ""
        check_models(body, model)
    else:
        head = read_head(body, content_type, is_guest=guest is not None)
    return Inbound(
        face=face,
        target=target,
        headers=headers,
        content_type=content_type,
        body=body,
        head=head,
        guest=guest,
        named=named,
        visited=tuple(node.strip() for node in via.split(",") if node.strip())[:16] if via else (),
    )
