"""The error when no answer can be had: what is wrong, where, and what to do."""

from pathlib import Path
from typing import Any

import openai
import pytest

from faults.raw import RawBackend, chat, complete, responds, tune
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node


async def test_an_unknown_model_is_404_with_the_names_that_are_near(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a", ["qwen3-8b", "llama-3.2-3b"]) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        answer = await node.chat("qwen3:8b")
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (
            404,
            "model_not_found",
            "invalid_request_error",
        )
        assert "'qwen3:8b'" in error["message"]
        assert "Did you mean qwen3-8b" in error["message"]
        assert len(engine.calls()) == 0  # llama.cpp would have answered with whatever model it has


@pytest.mark.parametrize(
    ("name", "response"),
    [
        ("a\\u0000b", (404, "model_not_found")),
        ("%", (404, "model_not_found")),
        ("../../x", (404, "model_not_found")),
        ("x" * 600, (404, "model_not_found")),
        ("\\ud83d", (400, "invalid_request")),
        ("x" * 5_000, (400, "invalid_request")),
    ],
)
async def test_any_unknown_name_is_a_clean_404_and_what_is_none_a_clean_400(
    tmp_path: Path, name: str, response: tuple[int, str]
) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        body = b'{"model": "%b", "messages": []}' % name.encode()
        answer = await node.http.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == response


async def test_a_model_whose_backend_is_switched_off_is_said_to_be_there(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await tune(node, "a", enabled=False, name="Desk")
        answer = await node.chat()
        assert answer.status_code == 404
        assert "Desk has it, but is switched off" in answer.json()["error"]["message"]
        answer = await node.chat("a/llama-3.2-3b")
        assert answer.status_code == 503
        assert "Desk: Switched off." in answer.json()["error"]["message"]


async def test_backends_that_never_answered_are_named_and_it_is_503(tmp_path: Path) -> None:
    engine = SimulatedEngine("llamacpp", "a")
    async with engine:
        await engine.fault("refuse")
        async with Node(tmp_path, [engine]) as node:
            answer = await node.chat()
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (503, "every_route_down")
            assert "a: Connection refused at 127.0.0.1" in error["message"]
            assert "llama-server" in error["hint"]
            assert answer.headers["x-should-retry"] == "true"  # nothing was tried yet


async def test_every_route_down_is_503_with_each_routes_reason(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=401, scope="inference")
        await second.fault("refuse")
        answer = await node.chat()
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["type"]) == (503, "every_route_down", "api_error")
        assert "a: llama.cpp at 127.0.0.1" in error["message"]
        assert "wants an API key (401)" in error["message"]
        assert "b: Connection refused at 127.0.0.1" in error["message"]
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-meshlight-attempts"] == "2"
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize("kind", ["garbage", "big-head", "close-early", "reset-headers", "html"])
async def test_a_backend_that_makes_no_sense_is_502(tmp_path: Path, kind: Any) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault(kind, scope="inference")
        answer = await node.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_broke")
        assert "a: " in answer.json()["error"]["message"]
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("status", [400, 404, 408, 409, 422, 429, 500, 502, 503, 504, 529])
async def test_the_only_backends_own_error_comes_word_for_word(tmp_path: Path, status: int) -> None:
    body = b'{ "error" : {"message":"line 1\\nline \\ud83d","n":12345678901234567890} }'
    raw = complete(body, b"content-type: application/json; x=y", b"retry-after: 7", status=b"%d Odd" % status)
    async with RawBackend("a", respond=responds(raw)) as backend, Node(tmp_path, [backend]) as node:
        answer = await node.chat("m")
        assert (answer.status_code, answer.content) == (status, body)
        assert answer.headers["content-type"] == "application/json; x=y"
        assert answer.headers["retry-after"] == "7"
        is_final = status in {404, 408} or status >= 500
        assert answer.headers.get("x-should-retry") == ("false" if is_final else None)
        assert answer.headers["x-meshlight-backend"] == "a"


async def test_a_long_error_comes_whole(tmp_path: Path) -> None:
    body = b'{"error": "' + b"x" * 300_000 + b'"}'
    async with (
        RawBackend("a", respond=responds(complete(body, status=b"500 Odd"))) as backend,
        Node(tmp_path, [backend]) as node,
    ):
        assert (await node.chat("m")).content == body


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_of_our_key_is_not_told_as_one_of_the_clients(tmp_path: Path, status: int) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("status", status=status, scope="inference")
        answer = await node.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "every_route_down")
        assert str(status) in answer.json()["error"]["message"]
        assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("status", [b"301 Moved", b"307 Temporary Redirect", b"308 Permanent Redirect"])
async def test_a_redirect_takes_no_prompt_elsewhere(tmp_path: Path, status: bytes) -> None:
    async with RawBackend("b") as elsewhere:
        raw = complete(b"", b"location: %b/v1/chat/completions" % elsewhere.url.encode(), status=status)
        async with RawBackend("a", respond=responds(raw)) as backend, Node(tmp_path, [backend]) as node:
            answer = await node.http.post("/v1/chat/completions", json=chat("m"), follow_redirects=True)
            assert answer.status_code == 502
            assert "redirects to" in answer.json()["error"]["message"]
            assert not elsewhere.requests


async def test_the_openai_client_makes_no_second_try_of_its_own_once_we_have_tried(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("status", status=500, scope="inference")
        async with openai.DefaultAsyncHttpxClient(trust_env=False) as web:
            client = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=node.key, http_client=web)
            with pytest.raises(openai.InternalServerError):
                await client.chat.completions.create(**chat())
        assert len(engine.calls()) == 1


@pytest.mark.parametrize(
    ("path", "status"), [("/v1/nothing", 404), ("/v1/", 404), ("/v1/chat/completions/x", 404)]
)
async def test_an_unknown_path_is_404_with_those_there_are(tmp_path: Path, path: str, status: int) -> None:
    async with Node(tmp_path) as node:
        answer = await node.http.post(path, json={})
        assert answer.status_code == status
        assert "chat/completions" in answer.json()["error"]["message"]


async def test_the_wrong_method_is_405(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        assert (await node.http.get("/v1/chat/completions")).status_code == 405
        assert (await node.http.post("/v1/models")).status_code == 405


async def test_without_any_backend_the_error_says_so(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        answer = await node.chat()
        assert answer.status_code == 404
        assert "`meshlight setup` gets a first one" in answer.json()["error"]["message"]
