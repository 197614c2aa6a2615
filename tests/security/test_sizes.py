"""Nothing that a client without the key sends is read without a limit."""

from contextlib import ExitStack

import pytest

from meshlight.gateway.access.guard import CONTROL_BYTES, INFERENCE_BYTES, PAGE_CHAT
from meshlight.gateway.server.limits import Limits
from security.wire import KEY, LOOPS, Echo, Gateway, read_all, running

HEADER = ("X-Api-Key", KEY.decode())
JSON = ("Content-Type", "application/json")


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/x", INFERENCE_BYTES),
        ("/api/x", INFERENCE_BYTES),
        ("/v1beta/x", INFERENCE_BYTES),
        ("/mesh/x", CONTROL_BYTES),
        (PAGE_CHAT, INFERENCE_BYTES),
        (f"{PAGE_CHAT}/x", CONTROL_BYTES),
    ],
)
def test_a_body_that_is_announced_too_large_is_refused_before_it_is_read(
    path: str, limit: int, gateway: Gateway, echo: Echo
) -> None:
    reply = gateway.request("POST", path, HEADER, JSON, ("Content-Length", str(limit + 1)))

    assert reply.status == 413
    assert b"The request body is over" in reply.body
    assert echo.asked == []


def test_a_client_that_sends_on_still_reads_its_refusal(gateway: Gateway, echo: Echo) -> None:
    piece = b"x" * 1_000_000
    head = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    with gateway.connect() as sock:
        sock.sendall(f"{head}Content-Length: {INFERENCE_BYTES + 1}\r\n\r\n".encode())
        for _ in range(INFERENCE_BYTES // len(piece)):
            sock.sendall(piece)
        assert read_all(sock).startswith(b"HTTP/1.1 413 ")
    assert echo.asked == []


def test_the_largest_body_is_taken_whole(gateway: Gateway, echo: Echo) -> None:
    reply = gateway.request("POST", "/v1/x", HEADER, body=b"x" * INFERENCE_BYTES)

    assert reply.status == 200
    assert echo.asked[0]["size"] == INFERENCE_BYTES


@pytest.mark.parametrize("size", [CONTROL_BYTES, CONTROL_BYTES + 1])
def test_a_chunked_body_is_counted(size: int, gateway: Gateway, echo: Echo) -> None:
    head = f"POST /mesh/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    head += "Content-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    rest = size % 4096
    body = (
        chunks * (size // 4096) + (b"%x\r\n" % rest + b"x" * rest + b"\r\n" if rest else b"") + b"0\r\n\r\n"
    )
    reply = gateway.ask(head.encode() + body)

    assert reply.status == (200 if size <= CONTROL_BYTES else 413)
    assert [request["size"] for request in echo.asked] == ([size] if size <= CONTROL_BYTES else [])


def test_a_chunked_flood_is_refused_while_it_comes(gateway: Gateway, echo: Echo) -> None:
    head = f"POST /mesh/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    with gateway.connect() as sock:
        sock.sendall(head.encode() + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.sendall((b"10000\r\n" + b"x" * 65536 + b"\r\n") * 4)
        assert read_all(sock).startswith(b"HTTP/1.1 413 ")
    assert echo.asked == []


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonx", "text/json", "", None])
def test_control_takes_a_body_only_as_json(kind: str | None, gateway: Gateway, echo: Echo) -> None:
    text = [] if kind is None else [("Content-Type", kind)]
    reply = gateway.request("POST", "/mesh/x", HEADER, *text, body=b"{}")

    assert reply.status == 415
    assert echo.asked == []
    assert gateway.request("POST", "/v1/x", HEADER, *text, body=b"{}").status == 200


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8"])
def test_control_takes_json_and_a_post_without_a_body(kind: str, gateway: Gateway) -> None:
    assert gateway.request("POST", "/mesh/x", HEADER, ("Content-Type", kind), body=b"{}").status == 200
    assert gateway.request("POST", "/mesh/x", HEADER).status == 200
    assert gateway.request("POST", "/mesh/x", HEADER, ("Content-Length", "0")).status == 200


HEADS = {
    "one long header": b"X-A: " + b"a" * 70_000 + b"\r\n",
    "many headers": b"X-A: b\r\n" * 12_000,
    "an endless header": b"X-A: " + b"a" * 3_000_000,
    "an endless name": b"a" * 3_000_000,
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_has_an_end(name: str, gateway: Gateway, echo: Echo) -> None:
    with gateway.connect() as sock:
        sock.sendall(f"GET /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n".encode())
        sock.sendall(HEADS[name])
        if not name.startswith("an endless"):
            sock.sendall(b"\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 431 ")
    assert echo.asked == []


def test_a_head_of_ordinary_size_is_taken(gateway: Gateway) -> None:
    assert gateway.request("GET", "/v1/x", HEADER, ("X-A", "a" * 30_000), ("X-B", "b" * 30_000)).status == 200


@pytest.mark.parametrize("size", [16_000, 17_000, 2_000_000])
def test_a_request_target_has_an_end(size: int, gateway: Gateway, echo: Echo) -> None:
    reply = gateway.request("GET", "/v1/" + "a" * size, HEADER)

    assert reply.status == (200 if size == 16_000 else 414)
    assert len(echo.asked) == (size == 16_000)


@pytest.mark.parametrize("flood", [b"X-T: " + b"a" * 300_000, b"X-T: a\r\n" * 40_000, b"1;" + b"e" * 300_000])
def test_trailers_and_chunk_extensions_have_an_end(flood: bytes, gateway: Gateway, echo: Echo) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    start = b"" if flood.startswith(b"1;") else b"0\r\n"
    with gateway.connect() as sock:
        sock.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + start)
        sock.sendall(flood)
        assert read_all(sock)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 431"}
    assert echo.asked == []


def test_one_byte_chunks_are_no_flood(gateway: Gateway, echo: Echo) -> None:
    head = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    raw = head.encode() + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    reply = gateway.ask(raw + b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")

    assert reply.status == 200
    assert echo.asked[0]["size"] == 50_000


def head(gateway: Gateway, path: str = "/healthz", *, key: bool = False) -> bytes:
    line = f"X-Api-Key: {KEY.decode()}\r\n" if key else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\n{line}\r\n".encode()


@pytest.mark.parametrize(
    "profile", ["silent", "slow head", "answered", "refused", "reads nothing", "one more request"]
)
def test_strangers_that_hold_every_connection_do_not_lock_the_owner_out(loop_name: str, profile: str) -> None:
    with running(Echo(), LOOPS[loop_name], limits=Limits(connections=8)) as gateway, ExitStack() as held:
        owner = held.enter_context(gateway.connect())
        owner.sendall(head(gateway, "/v1/x", key=True))
        assert owner.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(40):
            stranger = held.enter_context(gateway.connect())
            if profile == "slow head":
                stranger.sendall(head(gateway)[:20])
            elif profile == "refused":
                stranger.sendall(head(gateway, "/v1/x"))
                assert stranger.recv(65536).startswith(b"HTTP/1.1 401 ")
            elif profile == "reads nothing":
                stranger.sendall(head(gateway) * 30)
            elif profile != "silent":
                stranger.sendall(head(gateway))
                assert stranger.recv(65536).startswith(b"HTTP/1.1 200 ")
                if profile == "one more request":
                    stranger.sendall(head(gateway)[:1])
        for _ in range(3):
            new = held.enter_context(gateway.connect())
            new.sendall(head(gateway, "/v1/x", key=True))
            assert new.recv(65536).startswith(b"HTTP/1.1 200 ")
        owner.sendall(head(gateway, "/v1/x", key=True))
        assert owner.recv(65536).startswith(b"HTTP/1.1 200 "), "its connection was never in anybody's way"


def test_the_stranger_that_rests_longest_makes_room(loop_name: str) -> None:
    with running(Echo(), LOOPS[loop_name], limits=Limits(connections=3)) as gateway, ExitStack() as held:
        first, second, third = (held.enter_context(gateway.connect()) for _ in range(3))
        for sock in (first, second, third, first):
            sock.sendall(head(gateway))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        fourth = held.enter_context(gateway.connect())
        fourth.sendall(head(gateway))
        assert fourth.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert read_all(second) == b""
        for sock in (first, third):
            sock.sendall(head(gateway))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_where_everybody_has_the_key_more_connections_than_allowed_get_a_503(loop_name: str) -> None:
    with running(Echo(), LOOPS[loop_name], limits=Limits(connections=3)) as gateway, ExitStack() as stack:
        held = [stack.enter_context(gateway.connect()) for _ in range(3)]
        for sock in held:
            sock.sendall(head(gateway, "/v1/x", key=True))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        with gateway.connect() as extra:
            assert read_all(extra).startswith(b"HTTP/1.1 503 ")
        held[0].sendall(head(gateway, "/v1/x", key=True)[:-2] + b"Connection: close\r\n\r\n")
        assert read_all(held[0]).startswith(b"HTTP/1.1 200 ")
        assert gateway.request("GET", "/healthz").status == 200
