"""Errors in Ollama's format: `{"error": "what went wrong"}`, as a body or as a line of a stream."""

import msgspec

_encode = msgspec.json.Encoder().encode


def error_body(message: str) -> bytes:
    """Return the body of a failing answer."""
    return _encode({"error": message})


def error_line(message: str) -> bytes:
    """Return the line that ends a broken stream (`docs/api/errors.mdx` of Ollama)."""
    return error_body(message) + b"\n"
