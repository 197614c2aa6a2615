"""Reads one inference request: what routing needs is decoded, the rest stays bytes.

In the body that goes on to a backend, the value of `model` is all that may change.
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from meshlight.domain.errors import BadRequest, MethodNotAllowed, NoModelInBody, UnsupportedMediaType
from meshlight.domain.kept_ids import KeptId
from meshlight.domain.operations import OPERATIONS, Operation, path_of
from meshlight.domain.peers import SharingTerms
from meshlight.domain.prompt_size import PromptSize
from meshlight.domain.routing import NAME_MAX
from meshlight.gateway.inference.content_coding import coding_of, decompress, too_large
from meshlight.gateway.inference.form_body import is_form, model_span
from meshlight.gateway.inference.json_body import (
    check_models,
    fold,
    read_fields,
    value_span,
    with_models,
)
from meshlight.gateway.inference.usual_body import read_usual
from meshlight.gateway.server.asgi import Receive, Scope
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.http_client.client import Headers

JSON: Final = b"application/json"
_FORMS: Final = frozenset[Operation](
    {"audio/transcriptions", "audio/translations", "images/edits", "images/variations"}
)
"""The operations to which forms are sent."""
_OTHER_NAMES: Final = """
models modellist fallbacks fallbackmodels contextwindowfallbacks engine engineid deploymentid draftmodel
speculativemodel route provider plugins preset apibase baseurl apikey apitype customllmprovider userconfig
litellmparams
"""
_OTHER_MODELS: Final = frozenset(_OTHER_NAMES.split())
"""Fields by which some servers choose another model than `model`, or another server to run it; folded."""


class Head:
    """What routing needs to know of a request body."""

    __slots__ = ("model", "store", "stream")

    def __init__(self, model: str, stream: bool = False, store: bool = False) -> None:
        self.model = model
        self.stream = stream
        self.store = store

    def naming(self, model: str) -> "Head":
        """Return the same for another model."""
        return Head(model, self.stream, self.store)


def sent_type(content_type: bytes, operation: Operation) -> bytes:
    """Return the content type under which a body is read here and sent on, so that the backend reads it as we did.

    Raises UnsupportedMediaType for a form where none is accepted. All else is JSON whatever it is called, as with
    curl and Ollama.
    """
    if content_type == JSON or not is_form(content_type):
        return JSON
    if operation == "other":
        raise NoModelInBody("Only JSON is passed on to an unknown path.")
    if operation not in _FORMS:
        raise UnsupportedMediaType(
            f"{operation} accepts no form.", "Send JSON, with `Content-Type: application/json`."
        )
    return content_type


def read_head(body: bytes, content_type: bytes, *, is_guest: bool = False) -> Head:
    """Return model, stream and store of a JSON or multipart body.

    Raises BadRequest when it has no model (NoModelInBody for JSON), or when another reader might find another one in
    it. A guest's body may not name models beside it.
    """
    if content_type != JSON and is_form(content_type):
        start, end = model_span(body, content_type)
        try:
            return Head(checked_model(body[start:end].decode()))
        except UnicodeDecodeError:
            raise BadRequest("The form's model is no text.", "Send it as UTF-8.", "model") from None
    if (usual := read_usual(body)) is not None and 0 < len(usual[0]) <= NAME_MAX:
        return Head(usual[0], usual[1], usual[2])
    fields = read_fields(body)
    if is_guest and (other := next((n for n in fields.names if fold(n) in _OTHER_MODELS), None)):
        raise BadRequest(
            f"{other[:40]!r} is not accepted from a peer.", 'Name the one model under "model".', other[:40]
        )
    return Head(checked_model(fields.model), fields.stream, fields.store)


def checked_model(value: str | None) -> str:
    """Return a model's name; raises NoModelInBody for none, BadRequest for one that no model can have."""
    if not value:
        raise NoModelInBody(
            "The request names no model.", 'Add "model"; GET /v1/models lists those there are.', param="model"
        )
    if len(value) > NAME_MAX:
        check_name(value)
    return value


def check_name(model: str) -> None:
    """Raise BadRequest for what is too long to be a model's name."""
    if len(model) > NAME_MAX:
        raise BadRequest(
            f"The model's name has {len(model)} characters; none has over {NAME_MAX}.",
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


BODY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one inference request's body."""
VIA: Final = b"x-meshlight-via"
"""The header with the ids of the nodes that a request has passed through."""
GUEST: Final = "meshlight.guest"
"""The key in `scope["extensions"]` of the peer that sent a request, on the LAN listener."""
HOPS: Final = 2
"""How often a request may go on from one node to the next."""
VISITED_MAX: Final = 16
"""Nodes that a request may name as visited; more are ignored."""
_COSTLY: Final = frozenset(name for name in OPERATIONS if name.startswith(("images/", "audio/"))) | {"other"}


_FIELDS: Final = (
    "operation",
    "target",
    "headers",
    "content_type",
    "body",
    "head",
    "visited",
    "guest",
    "named",
    "size",
    "kept_ids",
    "stored",
    "keep_alive_s",
)


class ClientLeft(Exception):
    """The client left before its request was complete."""


class InferenceRequest:
    """A request to be routed; `target` is the path with its query, `body` is decompressed.

    What is sent to a backend is what is stored here: `content_type` says how the body was read. It never changes.
    """

    __slots__ = _FIELDS

    def __init__(  # noqa: PLR0913 - a record, whose fields are given by name
        self,
        *,
        operation: Operation,
        target: str,
        headers: Headers,
        content_type: bytes,
        body: bytes,
        head: Head,
        visited: tuple[str, ...] = (),
        guest: SharingTerms | None = None,
        named: str | None = None,
        size: PromptSize | None = None,
        kept_ids: tuple[KeptId, ...] | None = None,
        stored: StoredResponses | None = None,
        keep_alive_s: float | None = None,
    ) -> None:
        self.operation = operation
        """Such as `chat/completions`; `other` for a path below `/v1` that Meshlight does not know."""
        self.target = target
        self.headers = headers
        self.content_type = content_type
        self.body = body
        self.head = head
        self.visited = visited
        """Ids of the nodes that this request has passed through."""
        self.guest = guest
        """What the peer that sent the request may use; None for this machine's own requests."""
        self.named = named
        """The model as the body calls it, where that is not `head.model`; "" when the path names it."""
        self.size = size
        """What the body is made of, where that was worked out already."""
        self.kept_ids = kept_ids
        """What the body names that one backend may keep, where that was worked out already."""
        self.stored = stored
        """The stored responses that the caller may continue from."""
        self.keep_alive_s = keep_alive_s
        """For how long a request of Ollama's API wants the model to stay in memory; see `Demand.keep_alive_s`."""

    def changed(self, **fields: Any) -> "InferenceRequest":
        """Return the same request with other values of some fields."""
        return InferenceRequest(**{name: getattr(self, name) for name in _FIELDS} | fields)

    @property
    def path(self) -> str:
        """The path that was requested, for people."""
        return self.target.partition("?")[0] if self.operation == "other" else path_of(self.operation)

    @property
    def is_costly(self) -> bool:
        """Whether doing it twice costs or changes something (see `retry_policy`)."""
        return self.operation in _COSTLY or (self.head.store and self.operation == "responses")

    def body_for(self, model: str) -> bytes:
        """Return the body with `model` as its model; the same bytes where it is already."""
        if self.named == "":
            return self.body if model == self.head.model else with_models(self.body, model)
        named = self.head.model if self.named is None else self.named
        return self.body if model == named else with_model(self.body, self.content_type, model)

    def target_for(self, model: str) -> str:
        """Return the target with `model` as its model, if the path names the model."""
        if self.named != "" or model == self.head.model:
            return self.target
        path, mark, query = self.target.partition("?")
        base, verb = path.partition("/models/")[0], self.operation.removeprefix("gemini/")
        return f"{base}/models/{quote(model, safe='')}:{verb}{mark}{query}"


def request_header(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header, or nothing."""
    return next((value for key, value in headers if key == name), b"")


def expect(method: str, scope: Scope, target: str) -> None:
    """Raise MethodNotAllowed for another method; a HEAD counts as a GET, since the server leaves its body out."""
    method_sent = "GET" if scope["method"] == "HEAD" else scope["method"]
    if method_sent != method:
        raise MethodNotAllowed(f"{target[:200]} takes {method}, not {scope['method']}.")


def visited_by(via: bytes) -> tuple[str, ...]:
    """Return the ids of the nodes that a request has passed through, by its header `VIA`."""
    if not via:
        return ()
    nodes = (node.strip() for node in via.decode("latin-1").split(","))
    return tuple(node for node in nodes if node)[:VISITED_MAX]


async def read_body(receive: Receive, limit: int = BODY_LIMIT) -> bytes:
    """Return a request body; raises PayloadTooLarge over `limit` bytes, ClientLeft when it never ends."""
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

    `model` is the one that a path names. Raises BadRequest when it can't be routed, or when not every reader would
    find the same model in it; UnsupportedMediaType for a content type or encoding that is not accepted,
    PayloadTooLarge, ClientLeft.
    """
    values = dict(headers)
    coding = coding_of(headers) if b"content-encoding" in values else ""
    content_type = sent_type(values.get(b"content-type", b""), operation)
    body = await read_body(receive)
    if coding:
        body = await decompress(body, coding, BODY_LIMIT)
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
        visited=visited_by(values.get(VIA, b"")),
    )
