"""One inference request as it came in: what routing needs decoded, the rest kept as bytes.

Reads what routing needs out of a request body, and changes the `model` value in it, and nothing else.
"""

from urllib.parse import quote

import msgspec
from msgspec import Struct

from meshlight.domain.errors import BadRequest, MethodNotAllowed, UnsupportedMediaType
from meshlight.domain.operations import Operation
from meshlight.domain.peers import SharingTerms
from meshlight.domain.routing import NAME_MAX
from meshlight.gateway.inference.content_coding import coding_of, too_large, unpacked
from meshlight.gateway.inference.form_body import is_form, model_span
from meshlight.gateway.inference.gemini_body import check_models, with_models
from meshlight.gateway.inference.json_body import fold, read_fields, value_span
from meshlight.gateway.server.asgi import Receive, Scope
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.http_client.client import Headers

JSON = b"application/json"
_FORMS = frozenset[Operation](
    {"audio/transcriptions", "audio/translations", "images/edits", "images/variations"}
)
"""The faces to which forms are sent."""
_OTHER_WORDS = """
models modellist fallbacks fallbackmodels contextwindowfallbacks engine engineid deploymentid draftmodel
speculativemodel route provider plugins preset apibase baseurl apikey apitype customllmprovider userconfig
litellmparams
"""
_OTHER_MODELS = frozenset(_OTHER_WORDS.split())
"""Fields in which some servers take another model than `model`, or another place to run it; folded."""


class Head(Struct, frozen=True):
    """What routing needs to know of a request body."""

    model: str
    stream: bool = False
    store: bool = False


def sent_type(content_type: bytes, operation: Operation) -> bytes:
    """Return the content type under which a body is read here, and sent on: what was judged is what is read.

    Raises WrongType for a form where none is taken. All else is JSON whatever it is called, as with curl and Ollama.
    """
    if content_type == JSON or not is_form(content_type):
        return JSON
    if operation not in _FORMS:
        raise UnsupportedMediaType(
            f"{operation} takes no form.", "Send JSON, with `Content-Type: application/json`."
        )
    return content_type


def read_head(body: bytes, content_type: bytes, *, is_guest: bool = False) -> Head:
    """Return model, stream and store of a JSON or multipart body.

    Raises BadRequest when it has no model, or when another reader might find another one in it. A guest's body may
    not name models beside it.
    """
    if is_form(content_type):
        start, end = model_span(body, content_type)
        try:
            return Head(checked_model(body[start:end].decode()))
        except UnicodeDecodeError:
            raise BadRequest("The form's model is no text.", "Send it as UTF-8.", "model") from None
    fields = read_fields(body)
    if is_guest and (other := next((n for n in fields.names if fold(n) in _OTHER_MODELS), None)):
        raise BadRequest(
            f"{other[:40]!r} is not taken from a peer.", 'Name the one model under "model".', other[:40]
        )
    return Head(checked_model(fields.model), fields.stream, fields.store)


def checked_model(value: str | None) -> str:
    """Return a model's name; BadRequest for none, and for one that is none's."""
    if not value:
        raise BadRequest(
            "The request names no model.", 'Add "model"; GET /v1/models lists those there are.', param="model"
        )
    check_name(value)
    return value


def check_name(model: str) -> None:
    """Raise BadRequest for what is too long to be the name of a model."""
    if len(model) > NAME_MAX:
        raise BadRequest(
            f"The model's name has {len(model)} letters; none has over {NAME_MAX}.",
            "GET /v1/models lists those there are.",
            "model",
        )


def with_model(body: bytes, content_type: bytes, model: str) -> bytes:
    """Return the body with another `model` value; every other byte stays as it is."""
    if is_form(content_type):
        start, end = model_span(body, content_type)
        value = model.encode()
    else:
        start, end = value_span(body, "model")
        value = msgspec.json.encode(model)
    return body[:start] + value + body[end:]


BODY_LIMIT = 64 * 1024 * 1024
"""Bytes of one request body on `/v1`."""
GUEST = "meshlight.guest"
"""The extension of a request's scope that holds the peer who asks, on the LAN listener."""
HOPS = 2
"""How often a request may go on from one node to the next."""

_DEAR = ("images/", "audio/")


class ClientLeft(Exception):
    """The client left before its request was whole."""


class InferenceRequest(Struct, frozen=True, kw_only=True):
    """A request to be routed; `target` is the path with its query, `body` is unpacked.

    What goes on to a backend is what stands here: `content_type` says how the body was read.
    """

    operation: Operation
    """The path below `/v1/`, such as `chat/completions`."""
    target: str
    headers: Headers
    content_type: bytes
    body: bytes
    head: Head
    visited: tuple[str, ...] = ()
    """Ids of the nodes that this request has passed through."""
    guest: SharingTerms | None = None
    """On whose behalf a peer asks, and what it may use; None for this machine's own requests."""
    named: str | None = None
    """The model as the body calls it, where that is not `head.model`; "" when the path names it."""
    stored: StoredResponses | None = None
    """The responses that the caller may go on from, where it asks for another one."""

    @property
    def is_dear(self) -> bool:
        """Whether sending it twice would cost or do something twice."""
        return self.operation.startswith(_DEAR) or (
            self.operation.startswith("responses") and self.head.store
        )

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
        front, verb = path.partition("/models/")[0], self.operation.removeprefix("gemini/")
        return f"{front}/models/{quote(model, safe='')}:{verb}{mark}{query}"


def request_header(headers: Headers, name: bytes) -> bytes:
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


async def read_request(
    operation: Operation,
    target: str,
    headers: Headers,
    receive: Receive,
    *,
    model: str | None = None,
    guest: SharingTerms | None = None,
) -> InferenceRequest:
    """Read and decode one request.

    `model` is what a path named. Raises BadRequest when it can't be routed, or when not every reader would find the
    same model in it; WrongType for a content type or encoding that is not taken, TooLarge.
    """
    seen = dict(headers)
    coding = coding_of(headers) if b"content-encoding" in seen else ""
    content_type = sent_type(seen.get(b"content-type", b""), operation)
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
    return InferenceRequest(
        operation=operation,
        target=target,
        headers=headers,
        content_type=content_type,
        body=body,
        head=head,
        guest=guest,
        named=named,
        visited=tuple(node.strip() for node in via.split(",") if node.strip())[:16] if via else (),
    )
