"""What a server says, made fit to be shown: at most 200 characters, no control characters, not the secret."""

from typing import Any

import msgspec

from meshlight.backends.response import Reply
from meshlight.backends.retry_after import header

QUOTE_MAX = 200
_BODY_MAX = 1 << 16


def clean(text: str, limit: int = QUOTE_MAX) -> str:
    """Make a stranger's text fit to be shown: one line, no control characters, at most `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def is_html(reply: Reply) -> bool:
    """Whether an answer is a page for a browser."""
    kind = header(reply.headers, b"content-type").lower()
    return "html" in kind or reply.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


def message(reply: Reply) -> str:
    """Return what an answer gives as its error message, as it came; empty when it gives none."""
    if is_html(reply) or len(reply.body) > _BODY_MAX:
        return ""
    try:
        found: Any = msgspec.json.decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(reply.body[: 8 * QUOTE_MAX]).decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict):
            found = found.get(key, found)
    return found if isinstance(found, str) else ""


def said(reply: Reply, secret: str | None) -> str:
    """Return the error message as a sentence to append, without the secret; empty when there is none."""
    text = message(reply)
    if secret and secret.strip():
        text = text.replace(secret.strip(), "***")
    text = clean(text)
    return f" It says: {text}" if text else ""
