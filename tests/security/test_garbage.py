"""Whatever bytes arrive, in whatever pieces: the connection answers or closes, and never fails."""

import asyncio
from itertools import pairwise
from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.client_connection import ClientConnection, GatewayState
from meshlight.gateway.server.limits import DEFAULT_LIMITS

PARTS = [
    b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: u\r\n\r\n",
    b"POST /d HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
    b"POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n!",
    b"GET /f%20g?h HTTP/1.0\r\nHost: x\r\n\r\n",
    b"HEAD /i HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\r\n",
    b"\x00",
]
WHOLE = PARTS[:5]


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_over = False
        self.is_paused = False

    def write(self, data: bytes) -> None:
        if not self.is_over:
            self.written += data

    def close(self) -> None:
        self.is_over = True

    abort = write_eof = close

    def is_closing(self) -> bool:
        return self.is_over

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def get_extra_info(self, name: str) -> Any:
        return self if name == "socket" else None

    def setsockopt(self, *_: Any) -> None:
        pass

    def getsockname(self) -> tuple[str, int]:
        return ("127.0.0.1", 1)

    getpeername = getsockname


class Seen(list[tuple[str, bytes]]):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})


async def converse(pieces: list[bytes]) -> tuple[Seen, bytes]:
    """Feed the pieces to a connection, letting the application run between them."""
    observed, wire = Seen(), Wire()
    protocol = ClientConnection(observed, GatewayState(DEFAULT_LIMITS), {})
    protocol.connection_made(cast("asyncio.Transport", wire))
    for piece in pieces:
        if wire.is_over:
            break
        protocol.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    while protocol.tasks and not all(task.done() for task in protocol.tasks):
        before = len(observed)
        for _ in range(5):
            await asyncio.sleep(0)
        if len(observed) == before:
            break
    protocol.connection_lost(None)
    await asyncio.gather(*protocol.tasks)
    return observed, wire.written


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(ends)]


PLACES = st.lists(st.integers(0, 1000), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=8), PLACES)
def test_any_split_of_the_bytes_gives_the_same_requests(parts: list[bytes], places: list[int]) -> None:
    data = b"".join(parts)
    expected, _ = asyncio.run(converse(parts))
    whole, _ = asyncio.run(converse(cut(data, places)))
    bytewise, _ = asyncio.run(converse([data[place : place + 1] for place in range(len(data))]))

    assert len(expected) == len(parts)
    assert whole == bytewise == expected


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(PARTS) | st.binary(max_size=20), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(0, 1000), st.binary(max_size=3)), max_size=3),
    PLACES,
)
def test_damaged_bytes_never_break_the_connection(
    parts: list[bytes], damage: list[tuple[int, bytes]], places: list[int]
) -> None:
    data = b"".join(parts)
    for place, bytes_ in damage:
        at = place % (len(data) + 1)
        data = data[:at] + bytes_ + data[at + len(bytes_) :]
    _, written = asyncio.run(converse(cut(data, places)))

    answers = written.split(b"HTTP/1.1 ")[1:]
    assert written.startswith(b"HTTP/1.1 ") or not written
    assert all(answer[:3] in {b"100", b"200", b"400", b"414", b"431", b"501"} for answer in answers)
