"""The Host matrix: only a loopback name with our own port is us (DNS rebinding)."""

import pytest

from security.wire import KEY, Echo, Gateway

OURS = [
    "127.0.0.1:{port}",
    "localhost:{port}",
    "LocalHost:{port}",
    "[::1]:{port}",
    "127.0.0.2:{port}",
    "127.255.255.254:{port}",
]
NOT_OURS = [
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:1",
    "127.0.0.1:{port}0",
    "127.0.0.1:0{port}",
    "127.0.0.1:{port}@evil.example",
    "evil.example#127.0.0.1:{port}",
    "127.0.0.1.evil.example:{port}",
    "127.0.0.1.nip.io:{port}",
    "localhost.evil.example:{port}",
    "evil-localhost:{port}",
    "localhost.:{port}",
    "127.0.0.256:{port}",
    "127.1:{port}",
    "127.0.0.01:{port}",
    "2130706433:{port}",
    "0x7f.0.0.1:{port}",
    "0.0.0.0:{port}",
    "[::]:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "::1:{port}",
    "192.168.1.1:{port}",
    "169.254.169.254:{port}",
    "user@127.0.0.1:{port}",
    "127.0.0.1:{port},evil.example",
    "",
]


@pytest.mark.parametrize("host", OURS)
def test_a_loopback_name_with_our_port_is_answered(host: str, gateway: Gateway) -> None:
    reply = gateway.request(
        "GET", "/v1/models", ("X-Api-Key", KEY.decode()), host=host.format(port=gateway.port)
    )

    assert reply.status == 200


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/mesh/snapshot"])
@pytest.mark.parametrize("host", NOT_OURS)
def test_any_other_host_is_refused_even_with_the_key(
    host: str, path: str, gateway: Gateway, echo: Echo
) -> None:
    named = host.format(port=gateway.port)
    raw = f"GET {path} HTTP/1.1\r\nHost: {named}\r\nX-Api-Key: {KEY.decode()}\r\nConnection: close\r\n\r\n"
    reply = gateway.ask(raw.encode())

    assert reply.status == 403
    assert reply.json()["error"]["code"] == "boundary"
    assert echo.asked == []


@pytest.mark.parametrize("count", [0, 2])
def test_a_request_names_exactly_one_host(count: int, gateway: Gateway, echo: Echo) -> None:
    hosts = f"Host: 127.0.0.1:{gateway.port}\r\n" * count
    reply = gateway.ask(f"GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())

    assert reply.status == 400
    assert echo.asked == []


def test_forwarding_headers_change_nothing(gateway: Gateway, echo: Echo) -> None:
    reply = gateway.request(
        "GET",
        "/healthz",
        ("X-Forwarded-Host", "127.0.0.1"),
        ("Forwarded", "host=localhost"),
        host="evil.example",
    )

    assert reply.status == 403
    assert echo.asked == []
