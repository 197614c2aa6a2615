"""Asks an engine that loads whether it is ready: one small request on a connection of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from meshlight.http_client.address import Address

_TIMEOUT_S: Final = 2.0
_STATUS_LINE_MAX: Final = 1024

CheckReady = Callable[[Address, str, str], Awaitable[int]]
"""Returns the HTTP status of a path, 0 if there is no answer; never raises.

The last argument is empty, or JSON that is sent to it, and whose answer may take any time."""


async def check_ready(address: Address, path: str, body: str = "") -> int:
    """See `CheckReady`."""
    try:
        async with asyncio.timeout(None if body else _TIMEOUT_S):
            return await _status(address, path, body.encode())
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return 0


async def _status(address: Address, path: str, body: bytes) -> int:
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=_STATUS_LINE_MAX)
    try:
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {address.authority}\r\nConnection: close\r\n"
        if body:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}\r\n".encode() + body)
        words = (await reader.readline()).split(maxsplit=2)
        return int(words[1][:3]) if len(words) > 1 and words[0].startswith(b"HTTP/") else 0
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
