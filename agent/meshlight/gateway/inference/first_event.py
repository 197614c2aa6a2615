"""The first event of a 200 stream, as far as it may be an error: a refusal like a status, for nothing was said yet.

An ordinary stream costs one search in its first piece; a piece is held only while it may still become such an event.
"""

from typing import Any

import msgspec

from meshlight.domain.decoding import decode_or_none
from meshlight.http_client.client import Reply, Response

PEEK = 8_192
"""Bytes within which an error must stand, and be whole, to count as one."""
_SHORT = 32
"""A first piece of fewer bytes may be the beginning of an error's first words."""
_MARKS = (b'data:{"error"', b'data:{"type":"error"', b'data:{"object":"error"', b"event:error", b'{"error"')
"""How such an event begins, without its blanks."""
_DEFAULT = 500
_STATUS = {
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
"""The words by which servers name the kind of an error → the status that says the same."""


def is_clear(first: bytes) -> bool:
    """Whether the first piece of an answer is plainly no error."""
    return len(first) >= _SHORT and first.find(b"error", 0, PEEK) == -1


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
    """Whether what was read may be an error, and is not known to be one or none."""
    start = head.lstrip()
    bare = b"".join(start[:64].split())
    if not any(mark.startswith(bare) or bare.startswith(mark) for mark in _MARKS):
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
    else:
        name, data = _event(start)
    said = decode_or_none(data)
    if not isinstance(said, dict):
        return (_DEFAULT, _wrapped(data)) if name == b"error" and data else None
    error = said.get("error")
    if not (error or name == b"error" or "error" in (said.get("type"), said.get("object"))):
        return None
    parts = [part for part in (error, said) if isinstance(part, dict)]
    return _status(parts), data if error else msgspec.json.encode({"error": said})


def _event(start: bytes) -> tuple[bytes, bytes]:
    """Return name and data of the first event of a stream; comments before it are passed over."""
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
    """Return the status that an error names, by number or by word."""
    words = [
        part.get(key) for part in parts for key in ("code", "status", "status_code", "http_code", "type")
    ]
    for word in words:
        text = str(word) if isinstance(word, int | str) else ""
        if text.isascii() and text.isdigit() and len(text) == 3 and 400 <= int(text) <= 599:
            return int(text)
    return next((_STATUS[word] for word in words if isinstance(word, str) and word in _STATUS), _DEFAULT)


def _wrapped(data: bytes) -> bytes:
    return msgspec.json.encode({"error": {"message": data.decode("utf-8", "replace"), "type": "api_error"}})


def _is_json(text: bytes) -> bool:
    return decode_or_none(text, msgspec.Raw) is not None
