"""Bytes that two readers could read as different requests are refused by this one, and end the connection."""

import pytest

from security.wire import KEY, Echo, Gateway

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Api-Key: " + KEY + b"\r\n"
SECOND = b"GET /v1/smuggled HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Api-Key: " + KEY + b"\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"

REFUSED = {
    "content-length and transfer-encoding": b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "transfer-encoding and content-length": CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two equal content-lengths": b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "two content-lengths": b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "a list of content-lengths": b"Content-Length: 4, 4\r\n\r\nabcd",
    "a signed content-length": b"Content-Length: +4\r\n\r\nabcd",
    "a negative content-length": b"Content-Length: -4\r\n\r\nabcd",
    "a hexadecimal content-length": b"Content-Length: 0x4\r\n\r\nabcd",
    "an empty content-length": b"Content-Length: \r\n\r\n",
    "an enormous content-length": b"Content-Length: 99999999999999999999999\r\n\r\n",
    "a space before the colon": b"Content-Length : 4\r\n\r\nabcd",
    "a transfer coding that only ends like chunked": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "the identity coding": b"Transfer-Encoding: identity\r\n\r\nabc",
    "a gzip coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "chunked, then identity": CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "a folded transfer-encoding": b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"X-A: a\r\n b\r\n\r\n",
    "a header that ends in a line feed": b"X-A: b\nContent-Length: 4\r\n\r\nabcd",
    "a bare carriage return": b"X-A: b\rContent-Length: 4\r\n\r\nabcd",
    "a null byte": b"X-A: b\x00c\r\n\r\n",
    "a header without a name": b": a\r\n\r\n",
    "a chunk size that ends in a line feed": CHUNKED + b"\r\n4\nabcd\n0\n\n",
    "a negative chunk size": CHUNKED + b"\r\n-4\r\nabcd\r\n0\r\n\r\n",
    "a chunk size with 0x": CHUNKED + b"\r\n0x4\r\nabcd\r\n0\r\n\r\n",
    "an enormous chunk size": CHUNKED + b"\r\nfffffffffffffffff\r\nabcd\r\n0\r\n\r\n",
    "a chunk without its end": CHUNKED + b"\r\n4\r\nabcdXX0\r\n\r\n",
}

REFUSED_WHOLE = {
    "line feeds alone": b"GET /v1/x HTTP/1.1\nHost: 127.0.0.1:%d\n\n",
    "HTTP/0.9": b"GET /v1/x\r\n\r\n",
    "a space missing": b"GET /v1/xHTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "HTTP/1.2": b"GET /v1/x HTTP/1.2\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: 127.0.0.1:%d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a proxy's request": b"GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a fragment": b"GET /v1/x#y HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a header before the first": b"GET /v1/x HTTP/1.1\r\n Host: 127.0.0.1:%d\r\n\r\n",
    "an unknown method": b"STEAL /v1/x HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a control character in the path": b"GET /v1/\x01 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
    "a letter that is not ASCII in the path": b"GET /v1/\xc3\xa4 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_of_unclear_length_is_refused_and_what_follows_is_not_answered(
    name: str, gateway: Gateway, echo: Echo
) -> None:
    reply = gateway.ask(HEAD % gateway.port + REFUSED[name] + SECOND % gateway.port)

    assert reply.status in {400, 501}
    assert reply.count == 1
    assert reply.header("connection") == "close"
    assert echo.asked == []


@pytest.mark.parametrize("name", REFUSED_WHOLE)
def test_what_is_not_a_plain_request_is_refused(name: str, gateway: Gateway, echo: Echo) -> None:
    raw = REFUSED_WHOLE[name]
    reply = gateway.ask((raw % gateway.port if b"%d" in raw else raw) + SECOND % gateway.port)

    assert reply.status == 400
    assert reply.count == 1
    assert echo.asked == []


def test_trailers_never_become_headers(gateway: Gateway, echo: Echo) -> None:
    trailers = b"0\r\nHost: evil.example\r\nX-Meshlight-Via: a\r\n\r\n"
    reply = gateway.ask(HEAD % gateway.port + CHUNKED + b"Connection: close\r\n\r\n3\r\nabc\r\n" + trailers)

    assert reply.status == 200
    names = [name for name, _ in echo.asked[0]["headers"]]
    assert names == ["host", "x-api-key", "transfer-encoding", "connection"]
    assert echo.asked[0]["size"] == 3


def test_what_follows_a_request_that_closes_is_not_answered(gateway: Gateway, echo: Echo) -> None:
    reply = gateway.ask(HEAD % gateway.port + b"Connection: close\r\n\r\n" + SECOND % gateway.port)

    assert reply.status == 200
    assert reply.count == 1
    assert len(echo.asked) == 1


def test_a_good_request_before_a_bad_one_is_answered_and_then_the_connection_ends(
    gateway: Gateway, echo: Echo
) -> None:
    reply = gateway.ask(SECOND % gateway.port + b"\x00garbage\r\n\r\n")

    assert reply.count == 1
    assert reply.status == 200
    assert len(echo.asked) == 1


def test_pipelined_requests_are_answered_in_order_and_each_passes_the_guard(
    gateway: Gateway, echo: Echo
) -> None:
    good = b"GET /v1/%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Api-Key: " + KEY + b"\r\n\r\n"
    foreign = b"GET /v1/evil HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    reply = gateway.ask(b"".join(good % (place, gateway.port) for place in range(10)) + foreign)

    assert [request["path"] for request in echo.asked] == [f"/v1/{place}" for place in range(10)]
    assert reply.count == 11
    assert reply.raw.rpartition(b"HTTP/1.1 ")[2].startswith(b"403 ")


def test_a_flood_of_pipelined_requests_ends_the_connection(gateway: Gateway, echo: Echo) -> None:
    reply = gateway.ask((SECOND % gateway.port) * 200)

    assert reply.count == len(echo.asked) < 100
