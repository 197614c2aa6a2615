import asyncio

import pytest

from meshlight.domain.config import HOST
from meshlight.http_client.address import Address
from meshlight.local_models.engines.ready_check import check_ready


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200),
        (b"HTTP/1.0 503 Loading\r\n\r\n", 503),
        (b"SSH-2.0-x 200\r\n", 0),
        (b"HTTP/1.1 abc\r\n", 0),
        (b"x" * 100_000, 0),
        (b"", 0),
    ],
)
async def test_the_status_of_whatever_listens(answer: bytes, status: int) -> None:
    heads = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, HOST, 0)
    async with server:
        address = Address("http", HOST, server.sockets[0].getsockname()[1])
        assert await check_ready(address, "/health") == status
        assert await check_ready(address, "/v1/completions", '{"a": 1}') == status
    assert heads[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert b"Content-Length: 8\r\n" in heads[1]
    assert await check_ready(address, "/health") == 0
