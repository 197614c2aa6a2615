"""The page's files, and the way in by a one-time code."""

import os
from pathlib import Path
from typing import Any

import pytest

from meshlight.domain.errors import ServiceError
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.control import page as page_module
from meshlight.gateway.control.page import Page, web_folder


@pytest.fixture
def web(tmp_path: Path) -> Path:
    folder = tmp_path / "web"
    for name, text in {
        "index.html": "<!doctype html><title>Mesh</title>",
        "app/main.js": "export {};",
        "app/deep/graph.js": "export {};",
        "styles/page.css": "body {}",
        "icons/icon.svg": "<svg/>",
        "favicon.ico": "",
        "tsconfig.json": "{}",
        "app/main.js.map": "{}",
        ".secret.js": "x",
        ".git/hook.js": "x",
        "other.html": "x",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (tmp_path / "outside.js").write_text("outside")
    (folder / "app/link.js").symlink_to(tmp_path / "outside.js")
    return folder


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(lambda: 0.0)


@pytest.fixture
def page(web: Path, sessions: Sessions) -> Page:
    return Page(web, sessions)


class Got:
    def __init__(self, messages: list[Any]) -> None:
        start, *rest = messages
        self.status = start["status"]
        self.headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        self.body = b"".join(message.get("body", b"") for message in rest)

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


async def get(page: Page, path: str, query: str = "", *, method: str = "GET", known: str = "") -> Got:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"if-none-match", known.encode())] if known else [],
    }
    await page(scope, receive, send)
    return Got(sent)


async def test_the_page_and_its_files_are_served(page: Page) -> None:
    for path, kind in {
        "/": "text/html; charset=utf-8",
        "/app/main.js": "text/javascript; charset=utf-8",
        "/app/deep/graph.js": "text/javascript; charset=utf-8",
        "/styles/page.css": "text/css; charset=utf-8",
        "/icons/icon.svg": "image/svg+xml",
        "/favicon.ico": "image/x-icon",
    }.items():
        got = await get(page, path)
        assert (got.status, got.header("content-type")) == (200, kind)
        assert got.header("content-length") == str(len(got.body))
        assert path in page.paths


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/other.html",
        "/tsconfig.json",
        "/app/main.js.map",
        "/.secret.js",
        "/.git/hook.js",
        "/app/link.js",
        "/app/",
        "/app",
        "/../outside.js",
        "/app/../../outside.js",
        "/app/..%2f..%2foutside.js",
        "//outside.js",
        "/etc/passwd",
        "/app/main.js\x00",
        "\\..\\outside.js",
        "",
    ],
)
async def test_nothing_else_is_served(path: str, page: Page) -> None:
    assert (await get(page, path)).status == 404
    assert path not in page.paths


async def test_every_answer_forbids_what_the_page_does_not_need(page: Page, sessions: Sessions) -> None:
    for got in (
        await get(page, "/"),
        await get(page, "/app/main.js"),
        await get(page, "/", f"code={sessions.code()}"),
    ):
        policy = got.header("content-security-policy")
        assert policy is not None
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert got.header("x-content-type-options") == "nosniff"
        assert got.header("referrer-policy") == "no-referrer"
        assert got.header("cross-origin-opener-policy") == "same-origin"
        assert got.header("cross-origin-resource-policy") == "same-origin"


async def test_an_unchanged_file_is_not_sent_again(page: Page) -> None:
    first = await get(page, "/app/main.js")
    tag = first.header("etag") or ""

    assert first.header("cache-control") == "no-cache"
    for known in (tag, f"W/{tag}", f'"x", {tag}'):
        again = await get(page, "/app/main.js", known=known)
        assert (again.status, again.body, again.header("etag")) == (304, b"", tag)
    assert (await get(page, "/app/main.js", known='"x"')).status == 200


async def test_an_edited_file_is_served_as_it_is_now(page: Page, web: Path) -> None:
    first = await get(page, "/app/main.js")
    (web / "app/main.js").write_text("export { };")
    os.utime(web / "app/main.js", (1, 1))
    second = await get(page, "/app/main.js", known=first.header("etag") or "")

    assert (second.status, second.body) == (200, b"export { };")
    (web / "app/main.js").unlink()
    assert (await get(page, "/app/main.js")).status == 404


async def test_a_code_is_swapped_for_the_cookie_and_leaves_the_address(
    page: Page, sessions: Sessions
) -> None:
    got = await get(page, "/", f"code={sessions.code()}")
    cookies = [value for name, value in got.headers if name == "set-cookie"]

    assert (got.status, got.header("location"), got.header("cache-control")) == (303, "/", "no-store")
    assert sessions.accepts(cookies[0].split(";")[0].partition("=")[2])


async def test_a_used_or_wrong_code_leads_to_the_page_that_asks_for_the_key(
    page: Page, sessions: Sessions
) -> None:
    code = sessions.code()
    await get(page, "/", f"code={code}")
    for query in (f"code={code}", "code=x", "code=%ff%00", "code=a&code=b"):
        got = await get(page, "/", query)
        assert (got.status, got.header("location")) == (303, "/?signin=refused")
        assert got.header("set-cookie") is None
    assert (await get(page, "/", "signin=refused")).status == 200


async def test_a_look_ahead_does_not_use_the_code_up(page: Page, sessions: Sessions) -> None:
    code = sessions.code()

    assert (await get(page, "/", f"code={code}", method="HEAD")).status == 200
    assert (await get(page, "/", f"code={code}")).header("location") == "/"


async def test_a_head_has_no_body_and_other_methods_no_answer(page: Page) -> None:
    head = await get(page, "/", method="HEAD")

    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") != "0"
    assert (await get(page, "/", method="POST")).status == 405


def test_the_folder_is_found_in_a_checkout_and_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "agent/meshlight/gateway/control/page.py"
    monkeypatch.setattr(page_module, "__file__", str(module))
    with pytest.raises(ServiceError, match="missing"):
        web_folder()
    for folder in (tmp_path / "web", tmp_path / "agent/meshlight/_web"):
        folder.mkdir(parents=True)
        (folder / "index.html").write_text("")
        assert web_folder() == folder
