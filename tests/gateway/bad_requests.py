"""Sending requests that are wrong, and reading what they are told."""

from typing import Any

from node import Node

JSON = {"content-type": "application/json"}


async def error_of(node: Node, method: str, path: str, status: int, **kwargs: Any) -> dict[str, Any]:
    """Send a request that is wrong, and return what the envelope says."""
    answer = await node.http.request(method, path, **kwargs)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param", "hint"}
    assert error["message"].endswith((".", "?"))
    return error
