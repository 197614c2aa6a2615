"""Adds backends to a node as a person does, by the local API; and OpenAI's client of a node."""

from typing import Any

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from node import WAIT_S, Node


async def add(node: Node, kind: str, url: str, **fields: Any) -> httpx.Response:
    """Request the node to add a backend, named after its kind."""
    return await node.http.post("/mesh/backends", json={"kind": kind, "name": kind, "url": url, **fields})


async def added(node: Node, kind: str, url: str, **fields: Any) -> dict[str, Any]:
    """Add a backend; return it as the snapshot shows it."""
    answer = await add(node, kind, url, **fields)
    assert answer.is_success, answer.text
    return await node.backend(kind)


def openai_at(node: Node, key: str = "") -> AsyncOpenAI:
    """Return OpenAI's client of a node, which tries nothing twice."""
    return AsyncOpenAI(
        base_url=f"{node.url}/v1",
        api_key=key or node.key,
        max_retries=0,
        timeout=WAIT_S,
        http_client=DefaultAsyncHttpxClient(trust_env=False),
    )
