"""Pages of other sites may not use this machine's service."""

import pytest

from meshlight.gateway.access.guard import PAGE_CHAT
from security.wire import KEY, Echo, Gateway

PATHS = [
    "/v1/chat/completions",
    "/api/chat",
    "/v1beta/models/x:generateContent",
    "/mesh/backends",
    "/mesh/session",
    PAGE_CHAT,
    "/mesh/session/request",
    "/mesh/session/request/answer",
    "/mesh/keys/local",
]
FOREIGN = [
    "null",
    "http://evil.example",
    "https://127.0.0.1:{port}",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "http://127.0.0.1:{port}.evil.example",
    "http://localhost:3000",
    "http://127.0.0.1:{port}/",
    "file://",
    "",
]
JSON = ("Content-Type", "application/json")
HEADER = ("X-Api-Key", KEY.decode())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_origin_is_refused_even_with_the_key(
    origin: str, path: str, gateway: Gateway, echo: Echo
) -> None:
    named = origin.format(port=gateway.port)
    reply = gateway.request("POST", path, ("Origin", named), HEADER, JSON, body=b"{}")

    assert reply.status == 403
    assert echo.asked == []


@pytest.mark.parametrize("require_key", [True, False])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_that_needs_no_preflight_is_refused(
    kind: str, require_key: bool, gateway: Gateway, echo: Echo
) -> None:
    gateway.settings["require_key"] = require_key
    try:
        for path in ("/v1/chat/completions", "/mesh/backends"):
            foreign = ("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")
            for header in foreign:
                reply = gateway.request("POST", path, header, ("Content-Type", kind), body=b'{"model": "x"}')
                assert reply.status == 403
    finally:
        gateway.settings["require_key"] = True
    assert echo.asked == []


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:{port}", "http://localhost:{port}", "http://[::1]:{port}"]
)
def test_our_own_page_may_ask(origin: str, gateway: Gateway) -> None:
    named = origin.format(port=gateway.port)
    reply = gateway.request(
        "POST",
        "/mesh/backends",
        ("Origin", named),
        ("Sec-Fetch-Site", "same-origin"),
        HEADER,
        JSON,
        body=b"{}",
    )

    assert reply.status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "SAME-ORIGIN", "none, cross-site"])
@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/mesh/snapshot", "/"])
def test_a_fetch_by_another_site_is_refused(site: str, path: str, gateway: Gateway, echo: Echo) -> None:
    reply = gateway.request("GET", path, ("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "cors"), HEADER)

    assert reply.status == 403
    assert echo.asked == []


NAVIGATE = (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "same-origin"])
def test_a_link_to_the_page_opens_it_from_anywhere(site: str, gateway: Gateway) -> None:
    assert gateway.request("GET", "/?code=x", ("Sec-Fetch-Site", site), *NAVIGATE).status == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/", "/mesh/snapshot", "/v1/models", "/healthz"])
@pytest.mark.parametrize("dest", ["document", "iframe", "image", "script"])
def test_a_link_to_anything_else_and_an_embedded_page_are_refused(
    method: str, path: str, dest: str, gateway: Gateway, echo: Echo
) -> None:
    if (method, path, dest) == ("GET", "/", "document"):
        return
    headers = ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", dest)
    reply = gateway.request(method, path, *headers, HEADER)

    assert reply.status == 403
    assert echo.asked == []


def test_a_link_with_an_origin_is_no_plain_link(gateway: Gateway) -> None:
    headers = ("Sec-Fetch-Site", "cross-site"), *NAVIGATE, ("Origin", "http://evil.example")

    assert gateway.request("GET", "/", *headers).status == 403


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/models", "/mesh/snapshot"])
def test_a_preflight_gets_no_permission(path: str, gateway: Gateway, echo: Echo) -> None:
    preflight = ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "authorization")
    foreign = gateway.request("OPTIONS", path, ("Origin", "http://evil.example"), *preflight)
    bare = gateway.request("OPTIONS", path, *preflight)

    assert (foreign.status, bare.status) == (403, 405)
    assert b"access-control" not in foreign.raw + bare.raw
    assert echo.asked == []


def test_a_header_that_decides_may_not_come_twice(gateway: Gateway, echo: Echo) -> None:
    own = f"http://127.0.0.1:{gateway.port}"
    for twice in (
        [("Origin", own), ("Origin", "http://evil.example")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
        [("Authorization", "Bearer x"), ("Authorization", f"Bearer {KEY.decode()}")],
    ):
        assert gateway.request("GET", "/mesh/snapshot", *twice, HEADER).status == 400
    assert echo.asked == []
