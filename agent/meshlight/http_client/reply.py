"""A small response that is complete."""

from collections.abc import Sequence

from msgspec import Struct

Headers = Sequence[tuple[bytes, bytes]]


class Reply(Struct, frozen=True):
    """A small, complete response."""

    status: int
    headers: Headers
    """Names are lower-case."""
    body: bytes
    elapsed_s: float
    """Seconds from writing the request to the response's head, without the time to connect."""
    reused: bool
    """Whether the connection had carried an earlier exchange, so that `elapsed_s` is a warm latency."""
