"""A failing answer of a backend, kept whole: it is passed on when no other backend does better."""

import asyncio

from meshlight.domain.errors import UpstreamError
from meshlight.gateway.inference.headers import is_page
from meshlight.http_client.client import Headers, Reply, Response

LIMIT = 1024 * 1024
"""Bytes of a failing answer that are kept."""
PATIENCE_S = 2.0
RETRY_AFTER_S = 5
"""When asking again may help: one probe period."""
_GOES_ELSEWHERE = frozenset(
    {401, 403, 404, 405, 408, 421, 425, 429, 500, 501, 502, 503, 504, 505, 507, 508, 529}
)
"""Statuses that say something of the backend, not of the request: another backend may do better."""
_UNKNOWN_PATH = b'{"error":"Unexpected endpoint or method.'
_UNKNOWN_PATH_WITHIN = 64
_TIMES = frozenset({b"retry-after", b"retry-after-ms"})


def is_refusal(response: Response) -> bool:
    """Whether an answer is none that the client should have while another backend may give a better one.

    A redirect never reaches it: it would take the prompt to where nobody sent it. Nor does a web page.
    """
    status = response.status
    if status == 200:
        return is_page(response.headers)
    return status in _GOES_ELSEWHERE or 300 <= status < 400


def speaks_of_backend(status: int) -> bool:
    """Whether a failing status says something of the backend, so that another may do better."""
    return status in _GOES_ELSEWHERE


def says_no_such_path(first: bytes) -> bool:
    """Whether the body of a 200 begins as that of LM Studio where it has no such path."""
    return _UNKNOWN_PATH in first[:_UNKNOWN_PATH_WITHIN]


async def read_refusal(response: Response) -> tuple[Reply, bool]:
    """Read a failing answer as far as it comes quickly and fits, and say whether that is all of it."""
    pieces: list[bytes] = []
    size = 0
    is_whole = False
    try:
        async with asyncio.timeout(PATIENCE_S):
            while size <= LIMIT and not is_whole:
                piece = await response.read()
                is_whole = not piece
                pieces.append(piece)
                size += len(piece)
    except (TimeoutError, UpstreamError):
        pass
    response.abort()
    return whole_refusal(response, b"".join(pieces)), is_whole


def whole_refusal(response: Response | Reply, body: bytes) -> Reply:
    """Return a failing answer with the body that was read of it."""
    kept = [pair for pair in response.headers if pair[0] != b"content-length"]
    headers = (*kept, (b"content-length", b"%d" % len(body)))
    return Reply(response.status, headers, body, elapsed_s=0.0, reused=response.reused)


def last_headers(refusal: Reply, *, is_loading: bool) -> Headers:
    """Return the headers of a failing answer that is the last word: whether asking again helps, is ours to say.

    Each route has been tried by now, so the client's own retries would only repeat that, unless a model is being
    loaded. How long to wait after a 429 only the backend knows.
    """
    if refusal.status == 429:
        return refusal.headers
    kept = [pair for pair in refusal.headers if pair[0] != b"x-should-retry"]
    kept.append((b"x-should-retry", b"true" if is_loading else b"false"))
    if is_loading and not any(name in _TIMES for name, _ in kept):
        kept.append((b"retry-after", b"%d" % RETRY_AFTER_S))
    return kept
