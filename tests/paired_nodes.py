"""Pairing two whole nodes by their API, and waiting for what one of them learns of the other."""

import asyncio
from typing import Any

from node import Node
from security.paired_node import free_port


def lan(name: str, **fields: int) -> str:
    ports = {"port": free_port(), "door": free_port()} | fields
    return f'name = "{name}"\n[lan]\nbrowse = false\nport = {ports["port"]}\ndoor = {ports["door"]}\n'


async def peers(node: Node) -> dict[str, Any]:
    view: dict[str, Any] = (await node.http.get("/mesh/peers")).json()
    return view


async def until(node: Node, is_so: Any) -> dict[str, Any]:
    """Wait, by the event stream, until something is so of what apps see of the peers."""
    async with asyncio.timeout(15), node.http.stream("GET", "/mesh/events", timeout=15) as events:
        if is_so(view := await peers(node)):
            return view
        async for _ in events.aiter_lines():
            if is_so(view := await peers(node)):
                return view
    raise AssertionError("the stream ended")


async def pair(anna: Node, ben: Node) -> str:
    """Pair them, and return Ben's id."""
    door = (await peers(ben))["door"]
    asked = await anna.http.post("/mesh/peers/pairing", json={"host": "127.0.0.1", "port": door})
    assert asked.status_code == 202, asked.text
    there = await until(ben, lambda view: view["pairing"])
    assert asked.json()["pairing"]["digits"] == there["pairing"]["digits"]
    for node in (anna, ben):
        assert (await node.http.post("/mesh/peers/pairing/confirm")).status_code == 200
    await until(ben, lambda view: view["peers"])
    return str((await until(anna, lambda view: view["peers"]))["peers"][0]["id"])


async def sees(node: Node, model: str, *, is_there: bool = True) -> None:
    async with asyncio.timeout(15), node.http.stream("GET", "/mesh/events", timeout=15) as events:
        async for _ in events.aiter_lines():
            listed = [card["id"] for card in (await node.http.get("/v1/models")).json()["data"]]
            if (model in listed) is is_there:
                return
