"""The page's session: what it gives access to, and what a change by it needs."""

import pytest

from meshlight.gateway.access.guard import PAGE_CHAT
from meshlight.gateway.access.sessions import set_cookies
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


def test_the_session_asks_a_model_at_an_address_of_the_page_by_a_change_from_it_alone(
    cookie: tuple[str, str], gateway: Gateway, echo: Echo
) -> None:
    own = ("Origin", f"http://127.0.0.1:{gateway.port}")
    for headers, status in (
        ((cookie, JSON), 403),
        ((own, JSON), 401),
        ((cookie, own, ("Content-Type", "text/plain")), 415),
        ((cookie, ("Origin", "http://127.0.0.1:1"), JSON), 403),
        ((cookie, own, ("Sec-Fetch-Site", "same-site"), JSON), 403),
        ((cookie, own, JSON), 200),
    ):
        assert gateway.request("POST", PAGE_CHAT, *headers, body=b"{}").status == status
    assert len(echo.asked) == 1


def test_no_other_path_is_opened_by_its_beginning_or_spelling(
    cookie: tuple[str, str], gateway: Gateway, echo: Echo
) -> None:
    own = ("Origin", f"http://127.0.0.1:{gateway.port}")
    for path in ("/v1/chat/completions", "/chat/completions", "/v1//chat/completions", "/v1/embeddings"):
        assert gateway.request("POST", path, cookie, own, JSON, body=b"{}").status == 401
    assert echo.asked == []


def test_browsers_send_the_cookie_to_no_path_that_engines_of_this_machine_have() -> None:
    # Cookies know no ports: at `/v1` the pages of other engines would send this one to them.
    assert [cookie.split("; ")[1] for cookie in set_cookies("t")] == ["Path=/mesh", "Path=/metrics"]


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
