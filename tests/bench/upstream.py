"""The backend of the benchmarks: answers as fast as a Python process can, so that the gateway is what is measured.

`python upstream.py PORT MODELS` listens at all addresses of loopback; each but the first has a model of its own.
Every POST gets a small chat answer; a body that contains `"stream": true` gets 64 chunks at once; one that contains
`"paced"` gets a chunk every so many milliseconds, `"count"` of them.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

FIRST_HOST = "127.0.0.1"
WELL = b'{"status": "ok"}'
"""For MLX's probe."""
CHUNKS = 64
ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Hello there, how can I help you today?"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
)
DELTA = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,'
    b'"delta":{"content":" word"},"finish_reason":null}]}\n\n'
)
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(DELTA), DELTA)
STREAM = STREAM_HEAD + CHUNK * CHUNKS + b"0\r\n\r\n"
COUNT = re.compile(rb'"paced": ?(\d+), ?"count": ?(\d+)')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Server(asyncio.Protocol):
    """Just enough HTTP/1.1 for one client that behaves."""

    models = b""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._host: str = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = LENGTH.search(head)
            size = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            models = WELL if head.startswith(b"GET /health") else self.models
            if self._host != FIRST_HOST:
                models = b'{"object":"list","data":[{"id":"m-%s","object":"model"}]}' % self._host.encode()
            self._transport.write(JSON_HEAD % len(models) + models)
        elif b'"paced"' in body:
            found = COUNT.search(body)
            self._transport.write(STREAM_HEAD)
            pace_ms, chunks = (int(found[1]), int(found[2])) if found else (100, 1)
            self._pace(pace_ms / 1000, chunks)
        elif b'"stream": true' in body:
            self._transport.write(STREAM)
        else:
            self._transport.write(JSON_HEAD % len(ANSWER) + ANSWER)

    def _pace(self, pace_s: float, left: int) -> None:
        if self._transport.is_closing():
            return
        if not left:
            self._transport.write(b"0\r\n\r\n")
            return
        self._transport.write(CHUNK)
        asyncio.get_running_loop().call_later(pace_s, self._pace, pace_s, left - 1)


async def main(port: int, models: int) -> None:
    listed = ",".join(f'{{"id":"m{n or ""}","object":"model"}}' for n in range(models))
    Server.models = f'{{"object":"list","data":[{listed}]}}'.encode()
    server = await asyncio.get_running_loop().create_server(Server, "0.0.0.0", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
