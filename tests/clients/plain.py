"""A server with chat completions and little else: a real engine whose other protocols are hidden."""

import asyncio
import re
from types import TracebackType
from typing import Self

from real.engines import Engine

_FOREIGN = re.compile(rb"[A-Z]+ (?:/v1/messages|/v1/responses|/api/)")
_HEAD = b"HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 22\r\n\r\n"
_NOT_FOUND = _HEAD + b'{"detail":"Not Found"}'
_PIECE = 1 << 16


class Plain:
    """Passes one request per connection on to `engine`, byte for byte, and answers 404 to other protocols.

    `lines` holds the request lines that it passed on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server: asyncio.Server
        self._running: set[asyncio.Task[None]] = set()
        self.lines: list[str] = []

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await self._pass(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two has left
        finally:
            writer.close()
            self._running.discard(task)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if _FOREIGN.match(head):
            writer.write(_NOT_FOUND)
            await writer.drain()
            return
        self.lines.append(head.partition(b"\r\n")[0].decode())
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._engine.port)
        try:
            up_writer.write(head[:-2] + b"connection: close\r\n\r\n")
            onward = asyncio.create_task(_pour(reader, up_writer))
            back = asyncio.create_task(_pour(up_reader, writer))
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
