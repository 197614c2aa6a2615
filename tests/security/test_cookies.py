"""The page's session: what it gives access to, and what a change by it needs."""

import pytest

from security.wire import Echo, Gateway

JSON = ("Content-Type", "application/json")


@pytest.fixture
def cookie(gateway: Gateway) -> tuple[str, str]:
    return ("Cookie", f"theme=dark; meshlight_session={gateway.sessions.open()}; other=1")


@pytest.mark.parametrize("path", ["/mesh/snapshot", "/metrics"])
def test_the_session_reads_state(path: str, cookie: tuple[str, str], gateway: Gateway) -> None:
    assert gateway.request("GET", path, cookie).status == 200


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/v1beta/models"])
def test_the_session_opens_no_inference(
    path: str, cookie: tuple[str, str], gateway: Gateway, echo: Echo
) -> None:
    assert gateway.request("GET", path, cookie).status == 401
    assert echo.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_change_by_session_must_say_that_it_comes_from_the_page(
    method: str, cookie: tuple[str, str], gateway: Gateway, echo: Echo
) -> None:
    own = ("Origin", f"http://127.0.0.1:{gateway.port}")
    for text, status in (
        ([], 403),
        ([("Sec-Fetch-Site", "none")], 403),
        ([("Sec-Fetch-Site", "same-site")], 403),
        ([("Origin", "null")], 403),
        ([own], 200),
        ([("Sec-Fetch-Site", "same-origin")], 200),
        ([own, ("Sec-Fetch-Site", "same-origin")], 200),
        ([own, ("Sec-Fetch-Site", "cross-site")], 403),
    ):
        assert gateway.request(method, "/mesh/backends", cookie, JSON, *text, body=b"{}").status == status
    assert len(echo.asked) == 3


def test_a_closed_or_invented_session_opens_nothing(gateway: Gateway, echo: Echo) -> None:
    token = gateway.sessions.open()
    gateway.sessions.close(token)
    for value in (token, "", "x" * 43, "a\xff"):
        reply = gateway.request("GET", "/mesh/snapshot", ("Cookie", f"meshlight_session={value}"))
        assert reply.status == 401
    assert gateway.request("GET", "/mesh/snapshot", ("Cookie", f"xmeshlight_session={token}")).status == 401
    assert echo.asked == []
