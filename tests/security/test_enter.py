"""The file that a browser opens to sign in: its code is accepted from a file, and from no other site's page."""

from collections.abc import Iterator

import pytest

from meshlight.gateway.access.guard import ENTER
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.control.page import FORM_BYTES, Page
from security.wire import KEY, LOOPS, Gateway, Reply, running

FORM = ("Content-Type", "application/x-www-form-urlencoded")
NAVIGATE = (("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
FROM_FILE = (("Origin", "null"), ("Sec-Fetch-Site", "cross-site"), *NAVIGATE)
USED: list[str] = []


@pytest.fixture(scope="module")
def door(loop_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    web = tmp_path_factory.mktemp("web")
    (web / "index.html").write_text("<!doctype html>")
    sessions = Sessions(lambda: 0.0)
    page = Page(web, sessions, USED.append)
    with running(page, LOOPS[loop_name], free=page.paths, sessions=sessions) as found:
        yield found


def bring(door: Gateway, code: str, *headers: tuple[str, str], host: str | None = None) -> Reply:
    body = f"code={code}".encode()
    if host is None:
        return door.request("POST", ENTER, *headers, FORM, body=body)
    return door.request("POST", ENTER, *headers, FORM, body=body, host=host)


@pytest.mark.parametrize("headers", [FROM_FILE, FROM_FILE[:1], (), (("Sec-Fetch-Site", "none"), *NAVIGATE)])
def test_a_file_opens_the_page_with_its_code_once(
    headers: tuple[tuple[str, str], ...], door: Gateway
) -> None:
    code = door.sessions.code()
    reply = bring(door, code, *headers)
    assert (reply.status, reply.header("location")) == (303, "/")
    assert all("HttpOnly; SameSite=Strict" in cookie for cookie in reply.headers("set-cookie"))
    assert len(reply.headers("set-cookie")) == 2
    assert USED[-1] == code

    again = bring(door, code, *headers)
    assert (again.status, again.header("location")) == (303, "/?signin=refused")
    assert again.headers("set-cookie") == []


@pytest.mark.parametrize("body", [b"", b"code=", b"code=wrong", b"other=1", b"code=%ff%fe", b"\xff\x00"])
def test_what_brings_no_good_code_is_told_at_the_page(body: bytes, door: Gateway) -> None:
    reply = door.request("POST", ENTER, *FROM_FILE, FORM, body=body)
    assert (reply.status, reply.header("location")) == (303, "/?signin=refused")
    assert reply.headers("set-cookie") == []


@pytest.mark.parametrize(
    "headers",
    [
        (("Origin", "http://evil.example"),),
        (("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site"), *NAVIGATE),
        (("Origin", "file://"),),
        (("Origin", "null"), ("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")),
        (
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Mode", "navigate"),
            ("Sec-Fetch-Dest", "iframe"),
        ),
    ],
)
def test_no_page_of_another_site_brings_a_code(headers: tuple[tuple[str, str], ...], door: Gateway) -> None:
    code = door.sessions.code()
    assert bring(door, code, *headers).status == 403
    assert bring(door, code, *FROM_FILE).header("location") == "/", "the code was not spent"


@pytest.mark.parametrize("path", ["/mesh/session", "/mesh/session/code", "/mesh/backends", "/v1/models", "/"])
def test_a_file_is_let_in_there_and_nowhere_else(path: str, door: Gateway) -> None:
    key = ("X-Api-Key", KEY.decode())
    for kind in (FORM, ("Content-Type", "application/json")):
        assert door.request("POST", path, *FROM_FILE, key, kind, body=b"code=x").status == 403


def test_other_ways_of_asking_there_are_refused(door: Gateway) -> None:
    key = ("X-Api-Key", KEY.decode())
    assert door.request("GET", ENTER).status == 401
    assert door.request("GET", ENTER, key).status == 404
    assert door.request("POST", ENTER, ("Content-Type", "application/json"), body=b"{}").status == 415
    assert door.request("POST", ENTER, FORM, body=b"code=" + b"x" * FORM_BYTES).status == 400
    assert bring(door, door.sessions.code(), host="evil.example").status == 403


@pytest.mark.parametrize("name", ["localhost", "LocalHost", "[::1]"])
@pytest.mark.parametrize("query", ["", "?code=once", "?signin=refused"])
def test_the_page_by_another_name_of_this_machine_leads_to_the_one_its_cookie_belongs_to(
    name: str, query: str, door: Gateway
) -> None:
    reply = door.request("GET", f"/{query}", host=f"{name}:{door.port}")
    assert (reply.status, reply.header("location")) == (307, f"http://127.0.0.1:{door.port}/{query}")
    assert reply.headers("set-cookie") == []
    assert door.request("GET", "/", host=f"127.0.0.1:{door.port}").status == 200
