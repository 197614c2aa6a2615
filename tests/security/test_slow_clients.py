"""No client keeps a connection open by being slow."""

import select
import time
from collections.abc import Iterator

import pytest

from meshlight.gateway.server.limits import Limits
from security.wire import KEY, LOOPS, Echo, Gateway, drip, read_all, running
from stopwatch import Stopwatch

SHORT = Limits(header_s=0.3, body_idle_s=1.0, keep_alive_s=1.0, linger_s=0.3)
"""A client that sends in time has a second at least, as it may get no processor for some tenths of one."""
SOON_S = 2.0


@pytest.fixture(scope="module")
def hasty(loop_name: str, shared_echo: Echo) -> Iterator[Gateway]:
    with running(shared_echo, LOOPS[loop_name], limits=SHORT) as found:
        yield found


def head(gateway: Gateway, length: int = 0) -> bytes:
    text = f"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
    return f"{text}Content-Length: {length}\r\n\r\n".encode()


def test_a_head_that_comes_byte_by_byte_is_cut_off(hasty: Gateway, echo: Echo) -> None:
    started, stopwatch = time.monotonic(), Stopwatch()
    with hasty.connect() as sock:
        text = drip(sock, head(hasty)[:-2] + b"X-A: " + b"a" * 1000, 0.02)

    assert text.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started > 0.25
    assert stopwatch.elapsed_s < SOON_S
    assert echo.asked == []


def test_line_ends_before_a_request_win_no_time(hasty: Gateway) -> None:
    stopwatch = Stopwatch()
    with hasty.connect() as sock:
        text = drip(sock, b"\r\n" * 1000, 0.02)

    assert text == b""
    assert stopwatch.elapsed_s < SOON_S


def test_a_connection_that_says_nothing_is_closed(hasty: Gateway) -> None:
    started, stopwatch = time.monotonic(), Stopwatch()
    with hasty.connect() as sock:
        assert read_all(sock) == b""
    assert time.monotonic() - started > 0.25
    assert stopwatch.elapsed_s < SOON_S


def test_the_deadline_holds_for_each_request_of_a_connection(hasty: Gateway) -> None:
    with hasty.connect() as sock:
        for _ in range(3):
            sock.sendall(head(hasty))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        text = drip(sock, head(hasty)[:-2] + b"X-A: " + b"a" * 1000, 0.02)

    assert text.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_without_a_word(hasty: Gateway) -> None:
    with hasty.connect() as sock:
        sock.sendall(head(hasty))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert read_all(sock) == b""


def test_a_body_that_stops_coming_is_cut_off(hasty: Gateway, echo: Echo) -> None:
    with hasty.connect() as sock:
        sock.sendall(head(hasty, 100) + b"some")
        assert read_all(sock).startswith(b"HTTP/1.1 408 ")
    assert echo.asked == []


def test_a_body_that_comes_slowly_but_comes_is_waited_for(hasty: Gateway, echo: Echo) -> None:
    started = time.monotonic()
    with hasty.connect() as sock:
        sock.sendall(head(hasty, 40))
        for _ in range(40):
            sock.sendall(b"x")
            select.select([sock], [], [], 0.03)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert time.monotonic() - started > SHORT.body_idle_s
    assert echo.asked[0]["size"] == 40


def test_a_refused_client_that_never_stops_sending_is_cut_off(hasty: Gateway) -> None:
    stopwatch = Stopwatch()
    with hasty.connect() as sock:
        sock.sendall(b"\x00")
        text = b""
        while stopwatch.elapsed_s < SOON_S:
            try:
                sock.sendall(b"x" * 1000)
                if select.select([sock], [], [], 0.01)[0]:
                    text += sock.recv(65536)
            except OSError:
                break
    assert text.startswith(b"HTTP/1.1 400 ")
    assert stopwatch.elapsed_s < SOON_S
