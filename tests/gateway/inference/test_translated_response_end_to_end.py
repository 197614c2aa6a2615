"""Requests in one protocol are answered by backends that speak another, and break as that protocol breaks."""

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from faults.raw import RawBackend, chunked, complete, responds, tune
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

MODEL = "llama-3.2-3b"


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "max_tokens": 30, "messages": [{"role": "user", "content": "hi"}], **fields}


def posts(engine: SimulatedEngine) -> list[tuple[str, str]]:
    return [
        (observed.method, observed.path)
        for observed in engine.request_log.entries
        if observed.method == "POST"
    ]


async def test_an_engine_without_messages_is_asked_for_it_once_and_then_in_its_own_protocol(
    tmp_path: Path,
) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        first = await node.http.post("/v1/messages", json=ask())
        answer = await node.http.post("/v1/messages", json=ask())
        assert first.status_code == answer.status_code == 200, answer.text
        assert answer.json()["type"] == "message"
        assert answer.json()["content"][0]["text"]
        assert posts(engine) == [
            ("POST", "/v1/messages"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/chat/completions"),
        ]
        attempts = [each.headers["x-meshlight-attempts"] for each in (first, answer)]
        assert attempts == ["2", "1"]
        assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/messages", {"max_tokens": 30}),
        ("/v1/messages", {"max_tokens": 30, "stream": True}),
        ("/v1/messages/count_tokens", {}),
    ],
)
async def test_an_older_lm_studio_that_answers_200_to_a_path_that_it_lacks_is_asked_in_its_own_protocol(
    tmp_path: Path, path: str, fields: dict[str, Any]
) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], **fields}
    async with (
        SimulatedEngine("lmstudio", "a", has_messages=False) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        for attempts in ("2", "1"):
            answer = await node.http.post(path, json=body)
            assert answer.status_code == 200, answer.text
            assert "Unexpected endpoint" not in answer.text
            assert answer.headers["x-meshlight-attempts"] == attempts
        chat = ("POST", "/v1/chat/completions")
        assert posts(engine) == [("POST", path), chat, chat]
        assert (await node.backend("a"))["health"]["state"] == "healthy"


async def test_nothing_of_the_clients_headers_goes_along_with_a_translation(tmp_path: Path) -> None:
    body = b'{"id":"x","choices":[{"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}]}'
    say = responds(complete(body, b"content-type: application/json"))
    async with RawBackend("a", respond=say) as raw, Node(tmp_path, [raw]) as node:
        node.service._connections.get("a").record_missing_operation("messages", "m")  # type: ignore[union-attr]
        answer = await node.http.post(
            "/v1/messages", json=ask(model="m"), headers={"anthropic-beta": "x", "x-secret": "y"}
        )
        assert answer.json()["content"][0]["text"] == "yes"
        names = {name for name, _ in raw.posts[0].raw_headers}
        assert names == {
            b"host",
            b"content-type",
            b"content-length",
            b"accept-encoding",
            b"x-meshlight-via",
        }


async def test_the_anthropic_client_streams_from_an_engine_that_speaks_openais_protocol(
    tmp_path: Path,
) -> None:
    async with SimulatedEngine("vllm", "a", speed=500) as engine, Node(tmp_path, [engine]) as node:
        client = anthropic.AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0)
        async with client, client.messages.stream(**ask()) as stream:
            texts = [text async for text in stream.text_stream]
            final = await stream.get_final_message()
        assert len(texts) > 1
        assert final.content[0].text == "".join(texts)  # type: ignore[union-attr]
        assert final.usage.output_tokens > 0
        work = (await node.backend("a"))["requests"]
        assert work["successful"] == 1
        assert work["tokens_out"] == final.usage.output_tokens


@pytest.mark.parametrize("kind", ["reset-body", "close-body", "hang-body"])
async def test_a_translated_stream_that_breaks_ends_with_anthropics_error_event(
    tmp_path: Path, kind: Any
) -> None:
    async with SimulatedEngine("vllm", "a", speed=500) as engine, Node(tmp_path, [engine]) as node:
        await tune(node, "a", idle_s=0.3)
        await node.http.post("/v1/messages", json=ask())
        await engine.fault(kind, scope="inference", after_bytes=2_000)
        answer = await node.http.post("/v1/messages", json=ask(stream=True))
        last = answer.text.rstrip("\n").split("\n\n")[-1]
        assert last.startswith("event: error\ndata: ")
        assert json.loads(last.partition("data: ")[2])["error"]["type"] == "api_error"
        assert "message_stop" not in answer.text


async def test_a_failing_answer_comes_in_the_callers_protocol_with_the_engines_words(tmp_path: Path) -> None:
    text = b'{"error":{"message":"the temperature is too high by 7","type":"invalid_request_error"}}'
    refusal = complete(text, b"content-type: application/json", status=b"400 Bad Request")
    async with RawBackend("a", respond=responds(refusal)) as raw, Node(tmp_path, [raw]) as node:
        node.service._connections.get("a").record_missing_operation("messages", "m")  # type: ignore[union-attr]
        answer = await node.http.post("/v1/messages", json=ask(model="m"))
        assert answer.status_code == 400
        assert answer.json() == {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "the temperature is too high by 7"},
        } | {key: value for key, value in answer.json().items() if key == "request_id"}


async def test_a_translated_request_goes_elsewhere_before_its_first_byte(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=500, scope="inference")
        answer = await node.http.post("/v1/messages", json=ask())
        assert answer.status_code == 200
        assert answer.headers["x-meshlight-backend"] == "b"
        assert answer.headers["x-meshlight-attempts"] == "3"  # the second one lacks Anthropic's path


async def test_what_no_route_can_be_asked_for_is_refused_by_name(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post("/v1/messages", json=ask(inference_geo="eu"))
        assert answer.status_code == 400
        assert "inference_geo" in answer.json()["error"]["message"]
        assert (await node.backend("a"))["health"]["state"] == "healthy"


async def test_a_stream_of_garbage_is_an_error_not_an_empty_message(tmp_path: Path) -> None:
    pieces = chunked(b"data: {not json}\n\n", b"data: [DONE]\n\n")
    async with RawBackend("a", respond=responds(*pieces)) as raw, Node(tmp_path, [raw]) as node:
        node.service._connections.get("a").record_missing_operation("messages", "m")  # type: ignore[union-attr]
        answer = await node.http.post("/v1/messages", json=ask(model="m", stream=True))
        assert answer.status_code == 502
        assert answer.json()["type"] == "error"


async def test_counting_tokens_works_where_the_engine_cannot_count(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post(
            "/v1/messages/count_tokens", json={k: v for k, v in ask().items() if k != "max_tokens"}
        )
        assert answer.json()["input_tokens"] > 0


async def test_the_same_list_is_told_in_each_clients_own_shape(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        plain: httpx.Response = await node.http.get("/v1/models")
        assert plain.json()["object"] == "list"
        theirs = (await node.http.get("/v1/models", headers={"anthropic-version": "2023-06-01"})).json()
        assert [model["id"] for model in theirs["data"]] == [MODEL]
        assert theirs["has_more"] is False
        one = await node.http.get(f"/v1/models/{MODEL}", headers={"anthropic-version": "2023-06-01"})
        assert one.json()["type"] == "model"
        missing = await node.http.get("/v1/models/nope", headers={"anthropic-version": "2023-06-01"})
        assert missing.status_code == 404
