"""The port is bound, or the error says which program has it."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshlight.domain.errors import ServiceError
from meshlight.gateway.server.asgi import Receive, Scope, Send
from meshlight.gateway.server.listener import (
    ListenerInfo,
    bind,
    bind_loopbacks,
    identify_listener,
    raise_file_limit,
)
from security.wire import running


def test_port_zero_takes_a_free_port_that_takes_connections_at_once() -> None:
    with bind("127.0.0.1", 0) as sock, socket.create_connection(sock.getsockname(), timeout=5):
        assert sock.getsockname()[1] > 0


def test_a_port_is_free_again_as_soon_as_it_is_closed() -> None:
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    sock.close()
    client.close()
    bind("127.0.0.1", port).close()


def test_a_port_of_a_silent_program_is_named() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(ServiceError) as caught:
            bind("127.0.0.1", port)
    assert f"Port {port} is taken by another program" in caught.value.title
    assert "--port" in caught.value.hint


@contextmanager
def answering(raw: bytes) -> Iterator[int]:
    """A foreign program that says `raw` to whoever connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.recv(65536)
                sock.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize(
    "raw",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"status":"ok"}',
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"220 mail.example ESMTP\r\n",
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_a_port_of_another_program_is_not_taken_for_ours(raw: bytes) -> None:
    with answering(raw) as port, pytest.raises(ServiceError, match="another program"):
        bind("127.0.0.1", port)


def test_a_running_meshlight_is_recognised() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        body = b'{"status":"ok","service":"meshlight","version":"1"}'
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    with running(app) as gateway:
        assert identify_listener("127.0.0.1", gateway.port) == ListenerInfo("meshlight", "1")
        with pytest.raises(ServiceError, match=f"already running at 127.0.0.1:{gateway.port}"):
            bind("127.0.0.1", gateway.port)


def test_nobody_listens_on_a_closed_port() -> None:
    with bind("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
    assert identify_listener("127.0.0.1", port) is None


def test_an_address_of_another_machine_can_not_be_had() -> None:
    with pytest.raises(ServiceError, match=r"no address 192\.0\.2\.1"):
        bind("192.0.2.1", 0)


def test_ipv6_loopback_is_an_address_like_any_other() -> None:
    try:
        first = bind("::1", 0)
    except ServiceError:
        pytest.skip("this machine has no IPv6 loopback")
    with first, pytest.raises(ServiceError, match=r"\[::1\]"):
        bind("::1", first.getsockname()[1])


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_the_file_limit_is_raised_to_what_the_system_allows() -> None:
    import resource  # noqa: PLC0415 - does not exist on Windows

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[0]), before[1]))
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_both_loopback_addresses_answer_at_one_port() -> None:
    found = bind_loopbacks(0)
    first, second = found.sockets
    with first, second:
        assert first.getsockname()[:2] == ("127.0.0.1", second.getsockname()[1])
        assert second.getsockname()[0] == "::1"
        assert second.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        assert found.problem == ""


def test_where_another_program_has_the_port_of_ipv6_it_goes_on_and_says_so() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as squatter:
        port = squatter.getsockname()[1]
        found = bind_loopbacks(port)
        [only] = found.sockets
        only.close()
    assert f"Port {port} of [::1] is taken by another program" in found.problem
    assert f"http://127.0.0.1:{port}" in found.problem


def test_where_another_program_has_the_port_of_ipv4_it_can_not_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port} is taken by another program"):
            bind_loopbacks(port)
