"""The local key can be replaced, and apps can have keys of their own, which open inference only."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.bad_requests import error_of
from meshlight.simulator.engine import SimulatedEngine
from node import Node


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with SimulatedEngine("llamacpp", "study", keep=10) as engine, Node(tmp_path, [engine]) as node:
        yield node


async def test_an_apps_key_opens_inference_and_nothing_else(node: Node) -> None:
    made = (await node.http.post("/mesh/keys", json={"name": "Zed"})).json()
    for header in (
        {"authorization": f"Bearer {made['key']}"},
        {"x-api-key": made["key"], "authorization": ""},
    ):
        assert (await node.http.get("/v1/models", headers=header)).status_code == 200
        for path in ("/mesh/snapshot", "/mesh/keys", "/mesh/settings", "/metrics"):
            assert (await node.http.get(path, headers=header)).status_code == 401
        assert (await node.http.post("/mesh/keys/local", headers=header)).status_code == 401
        assert (await node.http.delete("/api/delete", headers=header)).status_code == 401


async def test_it_is_stored_as_a_hash_for_this_user_alone_and_can_be_taken_back(
    node: Node, tmp_path: Path
) -> None:
    made = (await node.http.post("/mesh/keys", json={"name": "Zed"})).json()
    file = tmp_path / "keys.json"
    assert made["key"] not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    listed = (await node.http.get("/mesh/keys")).json()
    assert [key["name"] for key in listed["keys"]] == ["Zed"]
    assert made["key"] not in str(listed)
    assert (await node.http.delete(f"/mesh/keys/{made['id']}")).status_code == 204
    header = {"authorization": f"Bearer {made['key']}"}
    assert (await node.http.get("/v1/models", headers=header)).status_code == 401
    await error_of(node, "DELETE", f"/mesh/keys/{made['id']}", 404)


async def test_a_name_is_needed_and_is_there_once(node: Node) -> None:
    assert (await node.http.post("/mesh/keys", json={"name": "Zed"})).status_code == 201
    assert (
        "called 'zed'" in (await error_of(node, "POST", "/mesh/keys", 409, json={"name": "zed"}))["message"]
    )
    for name in ("", " ", "\u200b"):
        assert (await error_of(node, "POST", "/mesh/keys", 400, json={"name": name}))["param"] == "name"


async def test_after_a_replacement_nobody_goes_on_following_the_events_by_the_old_key(node: Node) -> None:
    async with node.http.stream("GET", "/mesh/events") as stream, asyncio.timeout(10):
        lines = stream.aiter_lines()
        await anext(lines)
        assert (await node.http.post("/mesh/keys/local/replace")).status_code == 200
        assert [line async for line in lines], "it ends by itself"
    assert (await node.http.get("/mesh/events")).status_code == 401


async def test_after_a_replacement_the_old_key_and_other_pages_are_refused(
    node: Node, tmp_path: Path
) -> None:
    async with (
        httpx.AsyncClient(
            base_url=node.url, headers={"origin": node.url}, trust_env=False, timeout=30.0
        ) as mine,
        httpx.AsyncClient(
            base_url=node.url, headers={"origin": node.url}, trust_env=False, timeout=30.0
        ) as other,
    ):
        for page in (mine, other):
            assert (await page.post("/mesh/session", json={"key": node.key})).status_code == 204
        assert (await mine.post("/mesh/keys/local")).json() == {"key": node.key}
        new = (await mine.post("/mesh/keys/local/replace")).json()["key"]
        assert new != node.key
        assert (tmp_path / "local.key").read_text().strip() == new
        assert (tmp_path / "local.key").stat().st_mode & 0o077 == 0
        assert (await mine.get("/mesh/snapshot")).status_code == 200
        assert (await other.get("/mesh/snapshot")).status_code == 401
    assert (await node.http.get("/v1/models")).status_code == 401
    header = {"authorization": f"Bearer {new}"}
    assert (await node.http.get("/v1/models", headers=header)).status_code == 200
