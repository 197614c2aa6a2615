"""Adds backends to a node as a person does, by the local API."""

from typing import Any

import httpx

from node import Node


async def add(node: Node, kind: str, url: str, **fields: Any) -> httpx.Response:
    """Request the node to add a backend, named after its kind."""
    return await node.http.post("/mesh/backends", json={"kind": kind, "name": kind, "url": url, **fields})


async def added(node: Node, kind: str, url: str, **fields: Any) -> dict[str, Any]:
    """Add a backend; return it as the snapshot shows it."""
    answer = await add(node, kind, url, **fields)
    assert answer.is_success, answer.text
    return await node.backend(kind)
