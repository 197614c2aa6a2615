"""What the tests of the clouds share: where aimock is, what it has seen, and how a cloud is added to a node."""

from pathlib import Path
from typing import Any

import httpx

from meshlight.domain.backend import Kind
from node import PLAIN, Node

AIMOCK = Path(__file__).parents[2] / "packaging/node_modules/@copilotkit/aimock"
KEY = "demo-key-of-nobody"
ASK = [{"role": "user", "content": "hello"}]


class Mock:
    """A running aimock."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def request_log(self, path: str) -> list[dict[str, Any]]:
        """Return what it received at a path, the oldest first."""
        async with httpx.AsyncClient(verify=PLAIN, trust_env=False, timeout=30.0) as http:
            answer = await http.get(
                f"{self.url}/__aimock/journal", params={"path": path}, headers={"x-api-key": KEY}
            )
        found: list[dict[str, Any]] = answer.json()
        return found


async def add(node: Node, kind: Kind, url: str, key: str = KEY, **fields: Any) -> dict[str, Any]:
    """Add a cloud as a person does, under the name of its kind; return it as the node shows it."""
    body = {"kind": kind, "name": kind, "url": url, "api_key": key, **fields}
    answer = await node.http.post("/mesh/backends", json=body)
    assert answer.is_success, answer.text
    return await node.backend(kind)
