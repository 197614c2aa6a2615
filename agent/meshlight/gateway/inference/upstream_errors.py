"""Recognises a backend's failing answer and reads it, so that it can be passed on when no other backend does better.

A failing answer is a failing status, a redirect, a web page, or a 200 whose first event is an error: nothing has been
answered by then, so it counts like a status. An ordinary stream costs one search in its first piece; a piece is held
back only while it may still become such an event.
"""

import asyncio
from typing import Any, Final

import msgspec

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.gateway.inference.headers import is_page
from meshlight.http_client.client import Headers, Reply, Response

REFUSAL_LIMIT: Final = 1024 * 1024
"""Bytes of a failing answer that are read."""
REFUSAL_WITHIN_S: Final = 2.0
"""How long a failing answer may take to come in full."""
RETRY_AFTER_S: Final = 5
"""When a retry may help: one probe period."""
_OF_BACKEND: Final = frozenset(
    {401, 403, 404, 405, 408, 421, 425, 429, 500, 501, 502, 503, 504, 505, 507, 508, 529}
)
"""Statuses that are about the backend, not about the request: another backend may do better."""
_UNKNOWN_PATH: Final = b'{"error":"Unexpected endpoint or method.'
_UNKNOWN_PATH_WITHIN: Final = 64
_TIMES: Final = frozenset({b"retry-after", b"retry-after-ms"})


PEEK: Final = 8_192
"""An error must end within so many bytes to count as one."""
_SHORT: Final = 32
"""A first piece of fewer bytes may be the beginning of an error."""
_ERROR_STARTS: Final = (
    b'data:{"error"',
    b'data:{"type":"error"',
    b'data:{"object":"error"',
    b"event:error",
    b'{"error"',
)
"""How such an event begins, without white space."""
_DEFAULT_STATUS: Final = 500
_STATUS_BY_NAME: Final = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "content_filter": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "UNAUTHENTICATED": 401,
    "billing_error": 402,
    "permission_error": 403,
    "PERMISSION_DENIED": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "NOT_FOUND": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "RESOURCE_EXHAUSTED": 429,
    "unavailable_error": 503,
    "UNAVAILABLE": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""Name of a kind of error, as servers give it → the status that means the same."""


def is_refusal(response: Response) -> bool:
    """Whether an answer should not reach the client while another backend may give a better one.

    A redirect never does: it would send the prompt to an address that nobody chose. Nor does a web page.
    """
    status = response.status
    if status == 200:
        return is_page(response.headers)
    return status in _OF_BACKEND or 300 <= status < 400


def speaks_of_backend(status: int) -> bool:
    """Whether a failing status is about the backend, so that another one may do better."""
    return status in _OF_BACKEND


def has_no_such_path(first: bytes) -> bool:
    """Whether the body of a 200 begins as LM Studio's does for a path that it lacks."""
    return _UNKNOWN_PATH in first[:_UNKNOWN_PATH_WITHIN]


async def read_refusal(response: Response) -> tuple[Reply, bool]:
    """Read a failing answer, within limits of time and size; return it and whether that is all of it."""
    pieces: list[bytes] = []
    size = 0
    is_complete = False
    try:
        async with asyncio.timeout(REFUSAL_WITHIN_S):
            while size <= REFUSAL_LIMIT and not is_complete:
                piece = await response.read()
                is_complete = not piece
                pieces.append(piece)
                size += len(piece)
    except (TimeoutError, UpstreamError):
        pass
    response.abort()
    return refusal_reply(response, b"".join(pieces)), is_complete


def refusal_reply(response: Response | Reply, body: bytes) -> Reply:
    """Return a failing answer with the body that was read of it."""
    kept = [pair for pair in response.headers if pair[0] != b"content-length"]
    headers = (*kept, (b"content-length", b"%d" % len(body)))
    return Reply(response.status, headers, body, elapsed_s=0.0, reused=response.reused)


def last_headers(refusal: Reply, *, is_loading: bool) -> Headers:
    """Return the headers of a failing answer that goes to the client, with Meshlight's advice on whether to retry.

    Each route has been tried by now, so the client's retries would only repeat that, unless a model is being
    loaded. How long to wait after a 429 only the backend knows.
    """
    if refusal.status == 429:
        return refusal.headers
    kept = [pair for pair in refusal.headers if pair[0] != b"x-should-retry"]
    kept.append((b"x-should-retry", b"true" if is_loading else b"false"))
    if is_loading and not any(name in _TIMES for name, _ in kept):
        kept.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    return kept


def is_plainly_ok(first: bytes) -> bool:
    """Whether the first piece of an answer is certainly no error."""
    # `partition` takes one argument, so it is called sooner than `find`; without a find it copies nothing.
    return len(first) >= _SHORT and not (first if len(first) <= PEEK else first[:PEEK]).partition(b"error")[1]


async def read_error(response: Response, first: bytes) -> tuple[bytes, Reply | None]:
    """Read on while a first piece may be an error; return all that was read, and the error as a refusal.

    Raises the UpstreamErrors.
    """
    while first and len(first) < PEEK and _is_open(first):
        piece = await response.read()
        if not piece:
            break
        first += piece
    found = _find(first) if first.find(b"error", 0, PEEK) != -1 else None
    if found is None:
        return first, None
    status, body = found
    headers = (
        *(pair for pair in response.headers if not pair[0].startswith(b"content-")),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    )
    return first, Reply(status, headers, body, elapsed_s=0.0, reused=response.reused)


def _is_open(head: bytes) -> bool:
    """Whether it is still undecided if the bytes read so far are an error."""
    start = head.lstrip()
    bare = b"".join(start[:64].split())
    if not any(known.startswith(bare) or bare.startswith(known) for known in _ERROR_STARTS):
        # An error may stand behind other keys of an event that is in the middle of its line.
        return start.startswith(b"data:") and b"error" in start and b"\n" not in start
    if start.startswith(b"{"):
        return b"\n" not in start and not _is_json(start)
    return b"\n\n" not in start and b"\r\n\r\n" not in start


def _find(head: bytes) -> tuple[int, bytes] | None:
    """Return status and body of the error that a body begins with, or None."""
    start = head.lstrip()
    if start.startswith(b"{"):
        name, data = b"", start.partition(b"\n")[0] if not _is_json(start) else start
        if not b"".join(data[:64].split()).startswith(b'{"error"'):
            return None
        if has_no_such_path(data):
            return 404, data
    else:
        name, data = _event(start)
    decoded = decode_or_none(data)
    if not isinstance(decoded, dict):
        return (_DEFAULT_STATUS, _wrapped(data)) if name == b"error" and data else None
    error = decoded.get("error")
    if not (error or name == b"error" or "error" in (decoded.get("type"), decoded.get("object"))):
        return None
    parts = [part for part in (error, decoded) if isinstance(part, dict)]
    return _status(parts), data if error else msgspec.json.encode({"error": decoded})


def _event(start: bytes) -> tuple[bytes, bytes]:
    """Return name and data of the first event of a stream; comments before it are skipped."""
    name = b""
    data: list[bytes] = []
    for line in start[: 2 * PEEK].splitlines():
        if not line and (name or data):
            break
        field, _, value = line.partition(b":")
        if field == b"event":
            name = value.strip()
        elif field == b"data":
            data.append(value.strip())
    return name, b"\n".join(data)


def _status(parts: list[dict[str, Any]]) -> int:
    """Return the status that an error gives as a number or by name."""
    values = [
        part.get(key) for part in parts for key in ("code", "status", "status_code", "http_code", "type")
    ]
    for value in values:
        text = str(value) if isinstance(value, int | str) else ""
        if text.isascii() and text.isdigit() and len(text) == 3 and 400 <= int(text) <= 599:
            return int(text)
    names = (value for value in values if isinstance(value, str) and value in _STATUS_BY_NAME)
    return next((_STATUS_BY_NAME[name] for name in names), _DEFAULT_STATUS)


def _wrapped(data: bytes) -> bytes:
    return msgspec.json.encode({"error": {"message": data.decode("utf-8", "replace"), "type": "api_error"}})


def _is_json(text: bytes) -> bool:
    return decode_or_none(text, msgspec.Raw) is not None
