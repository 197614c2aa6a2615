"""The oddities: wrong paths, unknown models, framing, keep-alive."""

from collections.abc import AsyncIterator

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from simulator.clients import Json, LineTo

ASK = {"model": "llama-3.2-3b", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("dialect", "status", "body"),
    [
        ("llamacpp", 404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}),
        ("vllm", 404, {"detail": "Not Found"}),
        ("openai", 404, {"detail": "Not Found"}),
        ("lmstudio", 200, {"error": "Unexpected endpoint or method. (GET /nowhere)"}),
    ],
)
async def test_a_wrong_path_is_answered_in_the_engines_own_way(
    http: httpx.AsyncClient, dialect: Dialect, status: int, body: Json
) -> None:
    async with SimulatedEngine(dialect) as engine:
        reply = await http.get(engine.url + "/nowhere")
        assert (reply.status_code, reply.json()) == (status, body)
        assert (await http.put(engine.url + CHAT)).status_code == status


async def test_ollama_and_mlx_answer_a_wrong_path_in_plain_words(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("ollama") as ollama, SimulatedEngine("mlx") as mlx:
        lost = await http.get(ollama.url + "/nowhere")
        assert (lost.status_code, lost.text) == (404, "404 page not found")
        lost = await http.get(mlx.url + "/nowhere")
        assert (lost.status_code, lost.text) == (404, "Not Found")


async def test_llamacpp_ignores_a_models_name_and_says_its_own(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("llamacpp") as engine:
        reply = await http.post(engine.url + CHAT, json=ASK | {"model": "whatever"})
    assert reply.json()["model"] == "llama-3.2-3b"


@pytest.mark.parametrize("dialect", ["ollama", "vllm", "mlx", "lmstudio", "openai"])
async def test_the_others_know_no_model_they_do_not_serve(http: httpx.AsyncClient, dialect: Dialect) -> None:
    async with SimulatedEngine(dialect) as engine:
        reply = await http.post(engine.url + CHAT, json=ASK | {"model": "whatever"})
        error = reply.json()["error"]
        assert reply.status_code == 404
        assert "whatever" in (error if dialect == "mlx" else error["message"])


async def test_llamacpp_ends_the_connection_after_a_stream_though_it_promised_to_keep_it(
    http: httpx.AsyncClient,
) -> None:
    async with SimulatedEngine("llamacpp") as engine:
        reply = await http.post(engine.url + CHAT, json=ASK | {"stream": True})
        assert reply.headers["transfer-encoding"] == "chunked"
        assert "keep-alive" in reply.headers
        assert "connection" not in reply.headers
        await engine.connected(0)
        await http.post(engine.url + CHAT, json=ASK)
        assert engine.connections == 1
        refused = await http.post(engine.url + CHAT, json={})
        assert refused.headers["connection"] == "close"
        await engine.connected(0)


async def test_mlx_speaks_http_1_0_and_says_no_lengths_but_for_answers(
    http: httpx.AsyncClient, line_to: LineTo
) -> None:
    async with SimulatedEngine("mlx") as engine:
        async with line_to(engine) as line:
            await line.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            head, _, body = (await line.answer()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"length" not in head.lower()
        assert body == b'{"status":"ok"}'
        whole = await http.post(engine.url + CHAT, json=ASK)
        assert int(whole.headers["content-length"]) == len(whole.content)
        stream = await http.post(engine.url + CHAT, json=ASK | {"stream": True})
        assert "transfer-encoding" not in stream.headers
        assert stream.text.startswith(": keepalive")
        assert stream.text.endswith("data: [DONE]\n\n")


async def test_mlx_refuses_an_upload_without_length(http: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"model":'
        yield b'"llama-3.2-3b"}'

    async with SimulatedEngine("mlx") as mlx, SimulatedEngine("vllm") as vllm:
        assert (await http.post(mlx.url + CHAT, content=pieces())).status_code == 411
        assert (await http.post(vllm.url + CHAT, content=pieces())).status_code == 400
        assert vllm.requests[0].body == b'{"model":"llama-3.2-3b"}'


async def test_lm_studio_has_anthropics_messages_too() -> None:
    async with (
        SimulatedEngine("lmstudio", models=["m"], key="k") as engine,
        httpx.AsyncClient(timeout=30.0) as http,
    ):
        body = {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": "hello"}]}
        answer = await http.post(
            f"{engine.url}/v1/messages", json=body, headers={"authorization": "Bearer k"}
        )
        refused = await http.post(f"{engine.url}/v1/messages", json=body)
    assert (answer.status_code, answer.json()["stop_reason"]) == (200, "max_tokens")
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")
