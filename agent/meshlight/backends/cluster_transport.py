"""Carries httpx's requests over our own client: one set of rules for whatever leaves this machine."""

from typing import Any

import httpx

from meshlight.backends.kind import Asks
from meshlight.domain.errors import BadReply

LIMIT = 4 << 20
"""Bytes of an answer that are read: a list of some thousand services."""
_MADE_BELOW = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding"})


class AsksTransport(httpx.AsyncBaseTransport):
    """Sends by a backend's client, and reads no more than `LIMIT` bytes.

    That client refuses forbidden addresses and our own on every connect, trusts the backend's authorities, asks for
    identity encoding, looks at no proxy and follows nothing.

    The whole answer, as `Reply`, is in the response's extension `reply`. The read timeout is that of the whole
    exchange. Raises the UpstreamErrors.
    """

    def __init__(self, asks: Asks) -> None:
        self._asks = asks

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer."""
        target = request.url.raw_path.decode("ascii")
        timeouts: dict[str, Any] = request.extensions["timeout"]
        base = self._asks.address.base
        if not target.startswith(base):  # a dot segment, or a lone %: it would not be sent as it was signed
            raise BadReply(f"The path {base} of the URL can't be sent as it is written.")
        reply = await self._asks.fetch(
            request.method,
            target.removeprefix(base),
            headers=[pair for pair in request.headers.raw if pair[0].lower() not in _MADE_BELOW],
            body=await request.aread(),
            timeout_s=timeouts["read"],
            limit=LIMIT,
        )
        return httpx.Response(reply.status, request=request, extensions={"reply": reply})
