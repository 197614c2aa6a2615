"""An HTTP proxy that opens tunnels, and leads every host to one server of the test."""

import asyncio
from contextlib import suppress
from typing import Self

from meshlight.domain.proxy import Proxy


class ConnectProxy:
    """Answers `CONNECT` with `answer`; a 200 is followed by a tunnel to 127.0.0.1:`to_port`."""

    def __init__(
        self, to_port: int = 0, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    ) -> None:
        self._to_port = to_port
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()
        self.heads: list[str] = []
        """The head of each request."""

    @property
    def proxy(self) -> Proxy:
        """Where it is."""
        return Proxy("127.0.0.1", self.port)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        """The first line of each request."""
        return [head.partition("\r\n")[0] for head in self.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode("latin-1"))
            writer.write(self._answer)
            if self._answer.startswith(b"HTTP/1.1 2") or b"\r\n\r\nHTTP/1.1 2" in self._answer:
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
                try:
                    await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
                finally:
                    inner_writer.transport.abort()
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
