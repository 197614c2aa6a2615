"""Backends that are reached in another way than by a URL, a `/v1` and a list of models."""

import json
from pathlib import Path
from typing import Any

import pytest

from backends.playback import Playback, answer
from http_client.connect_proxy import ConnectProxy
from http_client.test_connector import free_port
from node import Node

CHAT = answer(
    {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
LIST = answer({"object": "list", "data": [{"id": "gpt", "object": "model", "owned_by": "x"}]})


async def add(node: Node, url: str, **fields: Any) -> dict[str, Any]:
    body = {"kind": "openai-compatible", "name": "there", "url": url, **fields}
    found = await node.http.post("/mesh/backends", json=body)
    assert found.status_code == 201, found.text
    backend: dict[str, Any] = found.json()
    return backend


def headers_of(server: Playback, path: str) -> str:
    return next(head for head in server.heads if head.split(" ")[1] == path).lower()


@pytest.mark.parametrize(
    ("end", "base", "query"),
    [
        ("/inference", "/inference", ""),
        ("/v1/ACCOUNT/GATEWAY/compat", "/v1/ACCOUNT/GATEWAY/compat", ""),
        (
            "/openai/deployments/gpt?api-version=2024-10-21",
            "/openai/deployments/gpt",
            "?api-version=2024-10-21",
        ),
        ("/odd/chat/completions", "/odd", ""),
    ],
)
async def test_a_base_that_no_v1_follows_is_asked_where_it_is(
    tmp_path: Path, end: str, base: str, query: str
) -> None:
    answers = {f"{base}/models{query}": LIST, f"{base}/chat/completions{query}": CHAT}
    async with Playback(answers) as server, Node(tmp_path) as node:
        added = await add(node, server.url + end)
        assert (added["models"], added["url"]) == (["gpt"], server.url + end)
        assert (await node.chat("gpt")).json()["choices"][0]["message"]["content"] == "hello"
        assert "url" in node.config_file.read_text()
        await node.refresh()
        assert (await node.backend(added["id"]))["health"]["state"] == "healthy"


async def test_azures_key_goes_in_its_own_header_with_the_version_of_its_api(tmp_path: Path) -> None:
    path = "/openai/deployments/gpt/chat/completions?api-version=2024-10-21"
    async with Playback({path: CHAT}) as server, Node(tmp_path) as node:
        url = f"{server.url}/openai/deployments/gpt?api-version=2024-10-21"
        await add(node, url, api_key="k-123", models=["gpt"])
        answered = await node.http.post(
            "/v1/chat/completions?api-version=1", json={"model": "gpt", "messages": []}
        )
        assert answered.status_code == 200, answered.text
        head = headers_of(server, path)
    assert "api-key: k-123" in head
    assert "authorization" not in head


@pytest.mark.parametrize("models", [["gpt", "large", "gpt"], "gpt, large"])
@pytest.mark.parametrize("status", [200, 404, 405, 403, 302, 501])
async def test_a_server_without_a_list_serves_the_models_that_the_user_names(
    tmp_path: Path, models: object, status: int
) -> None:
    answers = {"/v1/models": answer(b"<html>no list</html>", status), "/v1/chat/completions": CHAT}
    async with Playback(answers) as server, Node(tmp_path) as node:
        added = await add(node, server.url, models=models)
        assert added["models"] == ["gpt", "large"]
        assert added["given_models"] == ["gpt", "large"]
        assert added["health"]["state"] == "healthy"
        assert added["about"] == {"Models": "named by hand"}
        assert 'models = ["gpt", "large"]' in node.config_file.read_text()
        listed = (await node.http.get("/v1/models")).json()["data"]
        assert [model["id"] for model in listed] == ["gpt", "large"]
        assert (await node.chat("large")).status_code == 200


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "unauthorized"), (429, "rate-limited"), (500, "server-error"), (502, "server-error")],
)
async def test_a_server_without_a_list_that_refuses_or_fails_is_not_healthy(
    tmp_path: Path, status: int, code: str
) -> None:
    async with Playback({"*": answer(b"no", status)}) as server, Node(tmp_path) as node:
        added = await add(node, server.url, models=["gpt"], save_anyway=True)
        await node.refresh()
        shown = await node.backend(added["id"])
        assert shown["health"]["reason"] == code
        refused = await node.http.post(
            "/mesh/backends", json={"kind": "vllm", "url": f"{server.url}/x", "models": ["gpt"]}
        )
        assert refused.status_code >= 400


async def test_a_server_without_a_list_that_is_gone_is_down(tmp_path: Path) -> None:
    body = {"kind": "openai-compatible", "url": f"http://127.0.0.1:{free_port()}", "models": ["gpt"]}
    async with Node(tmp_path) as node:
        refused = await node.http.post("/mesh/backends", json=body)
    assert "Connection refused" in refused.json()["error"]["message"]


async def test_naming_models_can_be_begun_and_ended_later(tmp_path: Path) -> None:
    async with Playback({"/v1/models": LIST}) as server, Node(tmp_path) as node:
        added = await add(node, server.url)
        path = f"/mesh/backends/{added['id']}"
        changed = await node.http.patch(path, json={"models": ["other"]})
        assert changed.json()["models"] == ["other"]
        changed = await node.http.patch(path, json={"models": ""})
        assert changed.json()["models"] == ["gpt"]
        assert changed.json()["given_models"] == []
        refused = await node.http.patch(path, json={"models": ["a\x07b"]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "models")


async def test_a_backend_is_asked_through_the_proxy_that_is_set_for_it(tmp_path: Path) -> None:
    async with (
        Playback({"/v1/models": LIST, "/v1/chat/completions": CHAT}) as server,
        ConnectProxy(server.port) as proxy,
        Node(tmp_path) as node,
    ):
        added = await add(node, "http://llm.cloud.test:8000", proxy=proxy.url)
        assert added["proxy"] == proxy.url
        assert (await node.chat("gpt")).status_code == 200
        assert f'proxy = "{proxy.url}"' in node.config_file.read_text()
        assert set(proxy.lines) == {"CONNECT llm.cloud.test:8000 HTTP/1.1"}


@pytest.mark.parametrize("kind", ["openai", "openai-compatible"])
async def test_a_cloud_is_asked_through_the_environments_proxy_and_this_machine_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with (
        Playback({"/v1/models": LIST, "/v1/chat/completions": CHAT}) as server,
        ConnectProxy(server.port) as proxy,
        Node(tmp_path) as node,
    ):
        monkeypatch.setenv("http_proxy", f"http://ann:hunter2@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("NO_PROXY", "")
        added = await add(node, "http://api.cloud.test", kind=kind, api_key="sk-1")
        assert (added["ring"], added["proxy"]) == ("cloud", "")
        assert (await node.chat("gpt")).status_code == 200
        asked = len(proxy.heads)
        assert asked
        local = await add(node, server.url, name="near")
        assert local["ring"] == "machine"
        assert len(proxy.heads) == asked
        everything = json.dumps((await node.http.get("/mesh/snapshot")).json()) + node.config_file.read_text()
    assert "hunter2" not in everything
    assert all("Proxy-Authorization: Basic" in head for head in proxy.heads)
    assert all("proxy-authorization" not in head.lower() for head in server.heads)


async def test_a_proxy_that_refuses_is_the_reason_and_the_field_is_named(tmp_path: Path) -> None:
    async with ConnectProxy(answer=b"HTTP/1.1 407 Who?\r\n\r\n") as proxy, Node(tmp_path) as node:
        body = {"kind": "openai-compatible", "url": "http://llm.cloud.test", "proxy": proxy.url}
        refused = (await node.http.post("/mesh/backends", json=body)).json()["error"]
        assert refused["param"] == "proxy"
        assert "wants a user name and password (407)" in refused["message"]
        assert "HTTPS_PROXY" in refused["hint"]
        wrong = (await node.http.post("/mesh/backends", json={**body, "proxy": "socks5://p:1"})).json()[
            "error"
        ]
        assert wrong["param"] == "proxy"
        secret = (await node.http.post("/mesh/backends", json={**body, "proxy": "http://a:pw@p:1"})).json()[
            "error"
        ]
        assert "pw@" not in json.dumps(secret)


@pytest.mark.parametrize("field", [{"models": ["x"]}])
async def test_what_a_cluster_serves_is_not_named_by_hand(tmp_path: Path, field: dict[str, Any]) -> None:
    body = {"kind": "cluster", "url": "http://127.0.0.1:1", "access_key": "AK", "api_key": "s", **field}
    async with Node(tmp_path) as node:
        refused = (await node.http.post("/mesh/backends", json=body)).json()["error"]
    assert refused["param"] == "models"


async def test_the_tokens_of_a_stream_without_usage_are_estimated_and_counted_apart(tmp_path: Path) -> None:
    token = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    events = [token] * 30 + ['data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n']
    stream = answer("".join([*events, "data: [DONE]\n\n"]).encode(), Content_Type="text/event-stream")
    async with (
        Playback({"/v1/models": LIST, "/v1/chat/completions": stream}) as server,
        Node(tmp_path) as node,
    ):
        added = await add(node, server.url)
        assert (await node.chat("gpt", stream=True)).status_code == 200
        counts = (await node.backend(added["id"]))["requests"]
    assert counts["tokens_out"] == 0
    assert 28 <= counts["tokens_out_estimated"] <= 31
