"""The guard in front of the real app, and what it costs; the rules are in tests/security."""

import time
from typing import Any

from litestar import Litestar, asgi, get, post
from litestar.params import JSONBody
from msgspec import Struct

from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.control.errors import HANDLERS
from meshlight.gateway.control.page import Page
from security.wire import KEY, LOOPS, running


class Form(Struct):
    text: str


def test_page_control_and_errors_work_together_behind_it(loop_name: str, tmp_path: Any) -> None:
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "main.js").write_text("export {};")
    sessions = Sessions(time.monotonic)
    page = Page(tmp_path, sessions)

    @get("/mesh/snapshot")
    async def snapshot() -> dict[str, int]:
        return {"seq": 1}

    @post("/mesh/backends")
    async def add(data: JSONBody[Form]) -> str:
        return data.text

    app = Litestar(
        [snapshot, add, asgi(sorted(page.paths), copy_scope=False)(page)],
        exception_handlers=HANDLERS,
        logging_config=None,
        openapi_config=None,
    )
    with running(app, LOOPS[loop_name], free=page.paths, sessions=sessions) as gateway:  # type: ignore[arg-type]
        assert gateway.request("GET", "/").body == b"<!doctype html>"
        assert gateway.request("GET", "/main.js").header("content-type") == "text/javascript; charset=utf-8"
        assert gateway.request("GET", "/mesh/snapshot").status == 401
        signed_in = gateway.request("GET", f"/?code={sessions.code()}")
        assert (signed_in.status, signed_in.header("location")) == (303, "/")
        cookie = ("Cookie", signed_in.headers("set-cookie")[0].split(";")[0])
        assert gateway.request("GET", "/mesh/snapshot", cookie).json() == {"seq": 1}
        key, json = ("X-Api-Key", KEY.decode()), ("Content-Type", "application/json")
        assert gateway.request("POST", "/mesh/backends", key, json, body=b'{"text": 1}').status == 400
        assert gateway.request("GET", "/mesh/nowhere", key).json()["error"]["code"] == "not_found"
        chunked = (
            b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n" + b"x" * 65535 + b"\r\n2\r\nxx\r\n0\r\n\r\n"
        )
        head = (
            f"POST /mesh/backends HTTP/1.1\r\nHost: localhost:{gateway.port}\r\nX-Api-Key: {KEY.decode()}\r\n"
        )
        reply = gateway.ask(
            f"{head}Content-Type: application/json\r\nConnection: close\r\n".encode() + chunked
        )
        assert (reply.status, reply.json()["error"]["code"]) == (413, "too_large")
