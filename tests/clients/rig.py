"""How a backend gets into a node here: as a person adds it."""

from typing import Any

import httpx

from node import Node


async def add(node: Node, kind: str, url: str, **fields: Any) -> httpx.Response:
    """Ask the node to add a backend that is called as its kind."""
    return await node.http.post("/mesh/backends", json={"kind": kind, "name": kind, "url": url, **fields})


async def added(node: Node, kind: str, url: str, **fields: Any) -> dict[str, Any]:
    """Add a backend, and return it as the node shows it."""
    answer = await add(node, kind, url, **fields)
    assert answer.is_success, answer.text
    return await node.backend(kind)
