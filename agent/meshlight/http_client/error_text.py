"""The error message in a server's response, found in each usual shape, and quoted safely."""

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.text import QUOTE_MAX, sanitize_line
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

_BODY_MAX = 1 << 16


def is_html(reply: Reply) -> bool:
    """Whether a response is an HTML page."""
    content_type = header_value(reply.headers, b"content-type").lower()
    return "html" in content_type or reply.body[:64].lstrip().lower().startswith((b"<!doctype", b"<html"))


def message_of(reply: Reply) -> str:
    """Return the error message of a response, unchanged; empty when there is none."""
    if is_html(reply) or len(reply.body) > _BODY_MAX:
        return ""
    found = decode_or_none(reply.body)
    if found is None and reply.body.strip() != b"null":
        return bytes(reply.body[: 8 * QUOTE_MAX]).decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(found, dict):
            found = found.get(key, found)
    return found if isinstance(found, str) else ""


def quoted_error(reply: Reply, secret: str | None) -> str:
    """Return the error message as a sentence to append, with the secret replaced; empty when there is none."""
    text = message_of(reply)
    if secret and secret.strip():
        text = text.replace(secret.strip(), "***")
    text = sanitize_line(text)
    return f" It says: {text}" if text else ""
