"""A failing answer of a backend, kept whole: it is passed on when no other backend does better."""

import asyncio

from meshlight.backends.upstream import Reply, Response
from meshlight.domain.errors import UpstreamError

LIMIT = 64 * 1024
"""Bytes of an error body that are kept."""
PATIENCE_S = 2.0
GOES_ELSEWHERE = frozenset({401, 403, 404, 408, 421, 425, 429, 500, 501, 502, 503, 504, 507, 508, 529})
"""Statuses that say something of the backend, not of the request: another backend may do better."""


async def read_refusal(response: Response) -> Reply:
    """Read the body of a failing answer, as far as it comes quickly and fits."""
    pieces: list[bytes] = []
    size = 0
    whole = False
    try:
        async with asyncio.timeout(PATIENCE_S):
            while size < LIMIT and not whole:
                piece = await response.read()
                whole = not piece
                pieces.append(piece)
                size += len(piece)
    except (TimeoutError, UpstreamError):
        pass
    if not whole:
        response.abort()
    body = b"".join(pieces)[:LIMIT]
    kept = [pair for pair in response.headers if pair[0] != b"content-length"]
    headers = (*kept, (b"content-length", b"%d" % len(body)))
    return Reply(response.status, headers, body, elapsed_s=0.0, reused=response.reused)
