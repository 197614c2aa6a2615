"""A browser at the bare address asks to be let in: only from the page itself, and only as this user."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from fake_clock import Clock
from gateway.bad_requests import error_of
from meshlight.domain.errors import OriginForbidden
from meshlight.gateway.access.let_in import LetIn
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.access.sign_in import SignIn
from node import Node

ASK, ANSWER = "/mesh/session/request", "/mesh/session/request/answer"


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with Node(tmp_path) as node:
        yield node


@pytest.fixture
async def browser(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    """The locked page in a browser: no key, its own origin, and cookies."""
    async with httpx.AsyncClient(
        base_url=node.url, headers={"origin": node.url}, trust_env=False, timeout=10
    ) as client:
        yield client


async def test_a_browser_is_let_in_by_the_code_that_it_shows(node: Node, browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/mesh/snapshot")).status_code == 401
    asked = (await browser.post(ASK)).json()
    assert asked == {"code": asked["code"], "left_s": asked["left_s"], "tray": False}
    assert (await browser.post(ANSWER)).json() == {"allowed": False}
    assert (await node.http.get(ASK)).json()["code"] == asked["code"]
    assert (await node.http.post(f"{ASK}/allow", json={"code": asked["code"]})).status_code == 204
    assert (await browser.post(ANSWER)).json() == {"allowed": True}
    assert (await browser.get("/mesh/snapshot")).status_code == 200


async def test_the_tray_is_told_at_once(node: Node, browser: httpx.AsyncClient) -> None:
    async with node.http.stream("GET", "/mesh/events") as stream, asyncio.timeout(10):
        lines = stream.aiter_lines()
        async for line in lines:
            if line == "event: snapshot":
                break
        asked = (await browser.post(ASK)).json()
        assert asked["tray"], "a program follows the events"
        async for line in lines:
            if line == "event: sign-in":
                break
        data = json.loads((await anext(lines)).removeprefix("data: "))
        assert data["code"] == asked["code"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
    ],
    ids=str,
)
async def test_no_other_page_or_program_can_ask_or_fetch_the_answer(
    node: Node, headers: dict[str, str]
) -> None:
    async with httpx.AsyncClient(base_url=node.url, trust_env=False, timeout=30.0) as stranger:
        for path in (ASK, ANSWER):
            assert (await stranger.post(path, headers=headers)).status_code == 403
    assert (await node.http.get(ASK)).json()["code"] == ""


async def test_whoever_knows_the_code_alone_gets_nothing(node: Node, browser: httpx.AsyncClient) -> None:
    code = (await browser.post(ASK)).json()["code"]
    async with httpx.AsyncClient(base_url=node.url, trust_env=False, timeout=30.0) as other:
        page = {"origin": node.url}
        assert (await other.post(f"{ASK}/allow", json={"code": code}, headers=page)).status_code == 401
        assert (await other.get(ASK)).status_code == 401
        assert (await other.post(ASK, headers=page)).status_code == 429
        await node.http.post(f"{ASK}/allow", json={"code": code})
        assert (await other.post(ANSWER, headers=page)).status_code == 404
    assert (await browser.post(ANSWER)).json() == {"allowed": True}


async def test_a_code_that_nobody_shows_is_refused_with_a_reason(node: Node) -> None:
    error = await error_of(node, "POST", f"{ASK}/allow", 409, json={"code": "0000"})
    assert "No browser asks" in error["message"]
    assert (await error_of(node, "POST", f"{ASK}/allow", 400, json={"code": "12"}))["param"] == "code"


@pytest.mark.parametrize(("owner", "may_ask"), [(None, True), (0, True), (54_321, False)])
async def test_a_program_of_another_user_of_this_machine_can_not_ask(
    owner: int | None, may_ask: bool
) -> None:
    clock = Clock()
    let_in = LetIn(Sessions(clock), clock, clock.later, lambda: None)
    sign_in = SignIn(let_in, 6374, lambda: True, lambda *_: owner)
    if may_ask:
        await sign_in.ask(("127.0.0.1", 40_000), "")
    else:
        with pytest.raises(OriginForbidden, match="another user"):
            await sign_in.ask(("127.0.0.1", 40_000), "")
    assert bool(let_in.pending.code) is may_ask
