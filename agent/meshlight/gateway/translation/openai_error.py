"""What a failing answer of an OpenAI-like server says: OpenAI's, FastAPI's or mlx_lm's JSON, a page, or nothing."""

from typing import Any

import msgspec

from meshlight.backends.quote import clean, is_html, message
from meshlight.backends.response import Reply

MESSAGE_MAX = 2_000
"""Characters of a message that are passed on."""
_BODY_MAX = 1 << 16
_LINES_MAX = 20


def error_message(body: bytes, status: int | None = None) -> str:
    """Return the message in one printable line; where there is none, a sentence that says what came instead."""
    reply = Reply(status=status or 200, headers=(), body=body[: _BODY_MAX + 1], elapsed_s=0.0, reused=False)
    text = clean(message(reply), MESSAGE_MAX) or clean(_details(reply.body), MESSAGE_MAX)
    if text:
        return text
    what = "a web page instead of an error message" if is_html(reply) else "no error message"
    return f"The backend answered with {f'status {status} and ' if status else ''}{what}."


def _details(body: bytes) -> str:
    """Return what FastAPI finds wrong with a request: `{"detail": [{"loc": ["body", "x"], "msg": "…"}]}`."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    details = found.get("detail") if isinstance(found, dict) else None
    lines: list[str] = []
    for detail in details[:_LINES_MAX] if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(said := detail.get("msg"), str):
            place = detail.get("loc")
            where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
            lines.append(f"{where}: {said}" if where else said)
    return "; ".join(lines)
