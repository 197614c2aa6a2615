"""A server with chat completions and little else: a real engine whose other protocols are hidden."""

import asyncio
import re

from real.engines import Engine
from servers.byte_server import ByteServer, Peer

_FOREIGN = re.compile(rb"[A-Z]+ (?:/v1/messages|/v1/responses|/api/)")
_HEAD = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n"
_NOT_FOUND = _HEAD + b'{"detail":"Not Found"}'
_PIECE = 1 << 16


class Plain(ByteServer):
    """Passes one request per connection on to `engine`, byte for byte, and answers 404 to other protocols.

    `lines` holds the request lines that it passed on.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(self._pass)
        self._engine = engine
        self.lines: list[str] = []

    async def _pass(self, peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        if _FOREIGN.match(head):
            await peer.send(_NOT_FOUND)
            return
        self.lines.append(head.partition(b"\r\n")[0].decode())
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._engine.port)
        try:
            up_writer.write(head[:-2] + b"connection: close\r\n\r\n")
            onward = asyncio.create_task(_pour(peer.reader, up_writer))
            back = asyncio.create_task(_pour(up_reader, peer.writer))
            await asyncio.wait({onward, back}, return_when=asyncio.FIRST_COMPLETED)
            onward.cancel()
            back.cancel()
            await asyncio.gather(onward, back, return_exceptions=True)
        finally:
            up_writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
