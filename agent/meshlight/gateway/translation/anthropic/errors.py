"""Anthropic's form of an error: `{"type": "error", "error": {"type", "message"}}` (API reference, "Errors")."""

import msgspec

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_encode = msgspec.json.Encoder().encode


def error_type(status: int) -> str:
    """Return Anthropic's error type for an HTTP status."""
    return _TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")


def error_body(kind: str, message: str) -> bytes:
    """Return the body of a failing answer."""
    return _encode({"type": "error", "error": {"type": kind, "message": message}})


def error_event(kind: str, message: str) -> bytes:
    """Return the event that ends a broken stream."""
    return b"event: error\ndata: %s\n\n" % error_body(kind, message)
