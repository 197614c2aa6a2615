"""How answers look on the wire, complete or broken."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT
from meshlight.gateway.server.limits import Limits
from security.wire import LOOPS, PATIENCE_S, Echo, Reply, read_all, running

CLOSE = b"%s / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
Headers = list[tuple[bytes, bytes]]


def answering(*pieces: bytes, headers: Headers | None = None, status: int = 200) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": status, "headers": headers or []})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body"})

    return app


def asked(app: Any, loop_name: str, raw: bytes = CLOSE % b"GET") -> Reply:
    with running(app, LOOPS[loop_name], guarded=False) as gateway:
        return gateway.ask(raw)


def test_an_answer_of_known_length_is_sent_as_it_is(loop_name: str) -> None:
    reply = asked(answering(b"ab", b"", b"c", headers=[(b"Content-Length", b"3")]), loop_name)

    assert reply.raw == b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc"


def test_an_answer_of_unknown_length_is_chunked(loop_name: str) -> None:
    reply = asked(answering(b"ab", b"", b"c"), loop_name)

    assert reply.head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close"
    assert reply.body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_a_large_piece_is_sent_whole(loop_name: str) -> None:
    body = bytes(range(256)) * 4000
    reply = asked(answering(body, headers=[(b"content-length", b"%d" % len(body))]), loop_name)

    assert reply.body == body


def test_an_old_client_gets_no_chunks(loop_name: str) -> None:
    reply = asked(answering(b"ab", b"c"), loop_name, b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")

    assert reply.raw == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_an_answer_without_a_body_has_none(method: bytes, status: int, loop_name: str) -> None:
    assert asked(answering(status=status), loop_name, CLOSE % method).body == b""
    long = answering(headers=[(b"content-length", b"5")], status=status)
    reply = asked(long, loop_name, CLOSE % method)

    assert reply.header("content-length") == "5"
    assert reply.body == b""


def test_a_head_is_not_held_back_until_there_is_a_body(loop_name: str) -> None:
    observed = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.get_running_loop().run_in_executor(None, observed.wait, PATIENCE_S)
        await send({"type": "http.response.body", "body": b"x"})

    with running(app, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        sock.sendall(CLOSE % b"GET")
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK")
        observed.set()
        assert read_all(sock) == b"1\r\nx\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"b\r\nset-cookie: c=d"),
        (b"x-a", b"b\nc"),
        (b"x-a", b"b\x00"),
        (b"x-a: b\r\nx-c", b"d"),
        (b"x a", b"b"),
        (b"", b"b"),
    ],
)
def test_a_header_with_a_line_end_in_it_never_leaves(header: tuple[bytes, bytes], loop_name: str) -> None:
    reply = asked(answering(b"x", headers=[header]), loop_name)

    assert reply.status == 500
    assert reply.json()["error"]["code"] == "internal_error"
    assert b"set-cookie" not in reply.raw


def test_permissions_for_other_sites_never_leave(loop_name: str) -> None:
    open_to_all = [
        (b"Access-Control-Allow-Origin", b"*"),
        (b"x-kept", b"1"),
        (b"access-control-max-age", b"9"),
    ]
    reply = asked(answering(b"x", headers=open_to_all), loop_name)

    assert reply.header("x-kept") == "1"
    assert b"access-control" not in reply.head


def test_neither_server_nor_date_is_told(loop_name: str) -> None:
    reply = asked(answering(b"x"), loop_name)

    assert reply.header("server") is None
    assert reply.header("date") is None


def breaking(*, started: bool, sent: bool, fault: bool, length: bytes | None = None) -> Any:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        if started:
            headers = [] if length is None else [(b"content-length", length)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        if sent:
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        if fault:
            raise ValueError("secret words")

    return app


@pytest.mark.parametrize(("started", "fault"), [(False, True), (False, False), (True, True)])
def test_a_fault_before_anything_was_sent_is_a_500_with_an_id(
    started: bool, fault: bool, loop_name: str
) -> None:
    reply = asked(breaking(started=started, sent=False, fault=fault, length=b"3"), loop_name)

    assert reply.status == 500
    assert b"secret words" not in reply.raw
    assert "Look for fault" in reply.json()["error"]["hint"]


@pytest.mark.parametrize("fault", [True, False])
@pytest.mark.parametrize("length", [None, b"9"])
def test_an_answer_that_breaks_off_is_seen_to_be_cut_off(
    length: bytes | None, fault: bool, loop_name: str
) -> None:
    reply = asked(breaking(started=True, sent=True, fault=fault, length=length), loop_name)

    assert b"abc" in reply.body
    assert not reply.raw.endswith(b"0\r\n\r\n")
    assert reply.count == 1


def test_an_answer_cut_off_on_purpose_is_not_called_a_fault(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked(breaking(started=True, sent=True, fault=False), loop_name)

    assert "Fault" not in caplog.text
    assert "without" not in caplog.text


@pytest.mark.parametrize("body", [b"abcd", b"ab"])
def test_a_body_of_another_length_than_announced_is_not_passed_off_as_whole(
    body: bytes, loop_name: str
) -> None:
    reply = asked(answering(body, headers=[(b"content-length", b"3")]), loop_name)

    assert reply.status == 500 or len(reply.body) < 3


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}] * 2,
        [{"type": "http.response.trailers"}],
    ],
)
def test_messages_out_of_order_are_a_fault(messages: list[dict[str, Any]], loop_name: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        for message in messages:
            await send(message)

    assert asked(app, loop_name).status in {0, 500}


def exchange(sock: socket.socket, raw: bytes) -> Reply:
    sock.sendall(raw)
    return Reply(sock.recv(65536))


def test_a_connection_serves_many_requests(loop_name: str) -> None:
    echo = Echo()
    with running(echo, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        for place in range(50):
            body = b"x" * place
            raw = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (place, place)
            assert exchange(sock, raw + body).json()["size"] == place


def test_requests_sent_ahead_in_pieces_are_answered_in_order(loop_name: str) -> None:
    echo = Echo()
    raw = b"".join(
        b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % place for place in range(30)
    )
    with running(echo, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        for start in range(0, len(raw), 70):
            sock.sendall(raw[start : start + 70])
        sock.sendall(CLOSE % b"GET")
        read_all(sock)
    assert [observed["path"] for observed in echo.asked] == [*(f"/{place}" for place in range(30)), "/"]


def test_a_client_that_waits_for_leave_to_send_gets_it(loop_name: str) -> None:
    with running(Echo(), LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert exchange(sock, b"abc").json()["size"] == 3


def test_a_client_whose_body_is_not_wanted_is_not_asked_for_it(loop_name: str) -> None:
    with running(Echo(), LOOPS[loop_name]) as gateway, gateway.connect() as sock:
        host = b"Host: 127.0.0.1:%d\r\n" % gateway.port
        sock.sendall(b"POST /v1/x HTTP/1.1\r\n" + host + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket"])
def test_an_offered_upgrade_is_passed_over_and_the_body_is_read(upgrade: bytes, loop_name: str) -> None:
    """Java's HTTP client offers h2c with each first request."""
    echo = Echo()
    with running(echo, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        offer = (
            b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %s\r\nHTTP2-Settings: AAEAAEAA\r\n" % upgrade
        )
        head = b"POST /v1/x?a=b HTTP/1.1\r\nHost: x\r\nX-Kept: 1\r\n" + offer + b"Content-Length: 6\r\n\r\n"
        sock.sendall(head + b"abc")
        text = exchange(sock, b"def").json()
        assert (text["path"], text["query"], text["size"]) == ("/v1/x", "a=b", 6)
        assert text["headers"] == [["host", "x"], ["x-kept", "1"], ["content-length", "6"]]
        assert exchange(sock, head + b"GET /he").json()["size"] == 6


def test_a_slow_application_does_not_read_more_than_it_takes(loop_name: str) -> None:
    taken = asyncio.Event()
    held = threading.Event()
    sizes: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        held.set()
        await taken.wait()
        more = True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    # The client waits longer than the limit for bodies: it must not run while the application reads nothing.
    limits = Limits(body_idle_s=0.3)
    body = b"x" * 30_000_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    with running(app, LOOPS[loop_name], guarded=False, limits=limits) as gateway, gateway.connect() as sock:
        sock.settimeout(0.7)
        try:
            with pytest.raises(TimeoutError):
                sock.sendall(head + body)
            assert held.is_set()
            assert sizes == []
        finally:
            gateway.loop.call_soon_threadsafe(taken.set)


def test_a_writer_waits_for_a_slow_reader(loop_name: str) -> None:
    sent: list[int] = []
    gone = threading.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        await send({"type": "http.response.start", "status": 200, "headers": []})
        scope["extensions"][DISCONNECT].add(gone.set)
        while not gone.is_set():
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
            sent.append(1)

    with running(app, LOOPS[loop_name], guarded=False) as gateway:
        with gateway.connect() as sock:
            sock.sendall(CLOSE % b"GET")
            assert sock.recv(10)
            assert not gone.wait(0.2)
            assert len(sent) < 500
        assert gone.wait(PATIENCE_S)


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"


class Reader:
    """Reads its request to the end, or to the point where the client is gone; may start its answer before."""

    def __init__(self, *, starts: bool) -> None:
        self.starts = starts
        self.reading = threading.Event()
        self.left = threading.Event()
        self.ends: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][DISCONNECT].add(self.left.set)
        if self.starts:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        message = await receive()
        self.reading.set()
        while message.get("more_body"):
            message = await receive()
        self.ends.append(message["type"])
        if not self.starts:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})


@pytest.mark.parametrize("starts", [True, False])
def test_a_body_that_turns_to_garbage_is_not_taken_for_whole(starts: bool, loop_name: str) -> None:
    reader = Reader(starts=starts)
    with running(reader, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        sock.sendall(CHUNKED)
        assert reader.reading.wait(PATIENCE_S)
        sock.sendall(b"garbage\r\n")
        reply = Reply(read_all(sock))
        assert reader.left.wait(PATIENCE_S)
    assert reply.status == (200 if starts else 400)
    assert reply.count == 1
    assert not reply.raw.endswith(b"0\r\n\r\n")
    assert reader.ends == ["http.disconnect"]


def test_a_request_sent_ahead_that_turns_to_garbage_takes_no_answer_from_the_one_before(
    loop_name: str,
) -> None:
    echo = Echo()
    with running(echo, LOOPS[loop_name], guarded=False) as gateway:
        reply = gateway.ask(b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n" + CHUNKED + b"garbage\r\n")
    assert (reply.status, reply.count) == (200, 1)
    assert [observed["path"] for observed in echo.asked] == ["/good"]


def test_an_old_client_sees_that_its_answer_is_cut_off(loop_name: str) -> None:
    app = breaking(started=True, sent=True, fault=False)
    with running(app, LOOPS[loop_name], guarded=False) as gateway, gateway.connect() as sock:
        sock.sendall(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n")
        assert ends_with_reset(sock)


def ends_with_reset(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False
