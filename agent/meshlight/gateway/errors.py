"""Turns an error into the response that a client gets: status, headers and a body in its protocol's shape."""

import logging
import math
import re
import secrets
import traceback
from http import HTTPStatus
from typing import Literal

import msgspec
from msgspec import Struct

from meshlight.domain.errors import (
    ContextExceeded,
    Envelope,
    ErrorBody,
    MeshlightError,
    RouteError,
    Unauthorized,
    envelope,
)
from meshlight.gateway.server.asgi import Send
from meshlight.gateway.translation.anthropic.errors import error_type

RETRY_WITHIN_S = 60.0
"""OpenAI's and Anthropic's clients honour a `Retry-After` up to this; longer ones they ignore."""

log = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_GEMINI_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_GEMINI_VERB = re.compile(r":(?:generate|streamGenerate|embed|batchEmbed)Content(?:s)?$|:countTokens$")

Protocol = Literal["openai", "anthropic", "ollama", "gemini"]


class ErrorResponse(Struct, frozen=True):
    """A complete small response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def raw(self) -> bytes:
        """Return the response as HTTP/1.1 bytes that also close the connection."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        lines = [f"HTTP/1.1 {self.status} {phrase}".encode()]
        lines += [b"%s: %s" % header for header in self.headers]
        lines += [b"connection: close", b"", self.body]
        return b"\r\n".join(lines)

    async def send(self, send: Send) -> None:
        """Send the response to an ASGI server."""
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": self.body})


def error_response(error: MeshlightError, path: str = "") -> ErrorResponse:
    """Return the response for an error, in the protocol of `path`.

    That is OpenAI's envelope, except at the paths of Anthropic's, Ollama's and Gemini's APIs.
    """
    extra: list[tuple[bytes, bytes]] = []
    retry_after_s = error.retry_after_s if isinstance(error, RouteError) else None
    if retry_after_s is not None:
        extra.append((b"retry-after", b"%d" % max(1, math.ceil(retry_after_s))))
    if isinstance(error, Unauthorized):
        extra.append((b"www-authenticate", b"Bearer"))
    # Without this header the clients retry every 409 and 5xx by themselves, after we have tried each route.
    is_spent = isinstance(error, RouteError) and error.attempts > 0 and not error.is_warming
    may_retry = retry_after_s is not None and retry_after_s <= RETRY_WITHIN_S and not is_spent
    extra.append((b"x-should-retry", b"true" if may_retry else b"false"))
    message = envelope(error).error.message
    body: object
    protocol = protocol_of(path)
    if isinstance(error, ContextExceeded):
        message = f"{_context_words(error, protocol)} {error.hint}".strip()
    match protocol:
        case "anthropic":
            body = {"type": "error", "error": {"type": error_type(error.status), "message": message}}
        case "ollama":
            body = {"error": message}
        case "gemini":
            other = "INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT"
            status = _GEMINI_STATUSES.get(error.status, other)
            body = {"error": {"code": error.status, "message": message, "status": status}}
        case _:
            body = envelope(error)
    return _build(error.status, _encode(body), extra)


def _context_words(error: ContextExceeded, protocol: Protocol) -> str:
    """Return what the API of a protocol says of a prompt that is too long: its clients look for these words."""
    limit, tokens, answer = error.limit, error.tokens, error.answer_tokens
    match protocol:
        case "anthropic" if tokens <= limit < tokens + answer:
            return (
                f"input length and `max_tokens` exceed context limit: {tokens} + {answer} > {limit}, decrease input "
                "length or `max_tokens` and try again."
            )
        case "anthropic":
            return (
                f"prompt is too long: {tokens} tokens > {limit} maximum." if limit else "prompt is too long."
            )
        case "ollama":
            sizes = f" ({tokens} > {limit} tokens)" if limit else ""
            return f"the input length exceeds the context length{sizes}."
        case "gemini" if limit:
            return f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."
        case "gemini":
            return "The input token count exceeds the maximum number of tokens allowed."
    return error.title


def protocol_of(path: str) -> Protocol:
    """Return the protocol that is spoken at a path."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    if path.startswith("/api/"):
        return "ollama"
    if path.startswith("/v1beta/") or (path.startswith("/v1/models/") and _GEMINI_VERB.search(path)):
        return "gemini"
    return "openai"


def plain(status: int, code: str, text: str) -> ErrorResponse:
    """Return the response for what fails before there is a request, such as a head that is malformed or late."""
    kind = "api_error" if status >= 500 else "invalid_request_error"
    return _build(status, _encode(Envelope(ErrorBody(message=text, type=kind, code=code))), [])


def unexpected(error: BaseException, path: str = "") -> ErrorResponse:
    """Return the response for a fault of our own: the log gets an id and the traceback, the client only the id.

    The text of the error goes into neither: it may quote a prompt or a key.
    """
    number = secrets.token_hex(4)
    where = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("Fault %s: %s\n%s", number, type(error).__name__, where)
    return error_response(
        MeshlightError("Something broke inside Meshlight.", f"Look for fault {number} in its log."), path
    )


def _build(status: int, body: bytes, extra: list[tuple[bytes, bytes]]) -> ErrorResponse:
    headers = (
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *extra,
    )
    return ErrorResponse(status, headers, body)
