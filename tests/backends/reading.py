"""Helpers of the client's tests: reading complete answers, and waiting for connections."""

import asyncio
import os

from meshlight.http_client.client import Upstream
from meshlight.http_client.response import Response

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BIG = os.urandom(1 << 20) * 50


async def whole(response: Response) -> bytes:
    body = b""
    while piece := await response.read():
        body += piece
    return body


async def get(upstream: Upstream, target: str = "/", *, fresh: bool = False) -> bytes:
    return await whole(await upstream.send("GET", target, (), fresh=fresh))


async def until_open(upstream: Upstream, count: int) -> None:
    """Wait until just `count` connections are open."""
    while upstream.open != count:  # noqa: ASYNC110  # the pool has no event, as nobody but tests would wait for it
        await asyncio.sleep(0.001)
