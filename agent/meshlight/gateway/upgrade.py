"""Reading a request that offers an upgrade as if it offered none, which HTTP allows and asks of us.

Java's client offers h2c with its first request, and the parser would take that request's body for the new protocol.
"""

from collections.abc import Iterable

_OFFERS = frozenset({b"upgrade", b"http2-settings"})


def without_upgrade(method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of the request, in HTTP/1.1 bytes, without the offer. Header names are lower-case."""
    lines = [method.encode("ascii") + b" " + target + b" HTTP/1.1"]
    for name, value in headers:
        if name == b"connection":
            tokens = [token.strip() for token in value.split(b",")]
            kept = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
            if kept:
                lines.append(b"connection: " + kept)
        elif name not in _OFFERS:
            lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
