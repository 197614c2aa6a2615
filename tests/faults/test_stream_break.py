"""Once the first byte is out nothing is sent twice: a broken answer ends so that the client sees it is broken."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import openai
import pytest

from faults.raw import RawBackend, Responder, chat, chunked, responds, router, tune
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

Item = TypeVar("Item")


async def drain(stream: AsyncIterator[Item], into: list[Item] | None = None) -> None:
    """Read a stream to its end, and keep what came before an error."""
    async for item in stream:
        if into is not None:
            into.append(item)


BREAKS = ["reset-body", "close-body", "hang-body"]


def numbers(stream: str) -> tuple[str, list[Any]]:
    """Return the text that a stream brought, and its events that are no pieces of text."""
    text, rest = "", []
    for line in stream.split("\n"):
        if not line.startswith("data: "):
            continue
        event = line[6:] if line == "data: [DONE]" else json.loads(line[6:])
        if isinstance(event, dict) and event.get("choices"):
            text += event["choices"][0]["delta"].get("content") or ""
        else:
            rest.append(event)
    return text, rest


@pytest.mark.parametrize("kind", BREAKS)
async def test_a_stream_that_breaks_ends_with_an_error_and_without_done(tmp_path: Path, kind: Any) -> None:
    async with (
        SimulatedEngine("vllm", "a", speed=200) as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await tune(node, "a", idle_s=0.3)
        whole = (await node.http.post("/v1/chat/completions", json=chat(said="COUNT", stream=True))).content
        cut_at = whole[: whole.index(b'" 7"')].rindex(b"\n\n") + 2
        await first.fault(kind, scope="inference", after_bytes=cut_at)
        answer = await node.http.post("/v1/chat/completions", json=chat(said="COUNT", stream=True))
        text, rest = numbers(answer.text)
        count = len(text.split())  # what was still on its way when the reset came is lost
        assert text == " ".join(map(str, range(count)))
        assert 1 <= count <= 7
        assert [event["error"]["code"] for event in rest] == ["backend_broke"]
        assert answer.headers["x-meshlight-backend"] == "a"
        assert (len(first.calls()), len(second.calls())) == (2, 0)
        assert (await router(node))["failed"] == 1


@pytest.mark.parametrize("kind", BREAKS)
async def test_the_openai_client_raises_its_own_error_for_a_broken_stream(tmp_path: Path, kind: Any) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await tune(node, "a", idle_s=0.3)
        await engine.fault(kind, scope="inference")
        async with openai.DefaultAsyncHttpxClient(trust_env=False) as web:
            client = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=node.key, http_client=web)
            answer = await client.chat.completions.create(
                model="llama-3.2-3b", messages=[{"role": "user", "content": "COUNT"}], stream=True
            )
            with pytest.raises(openai.APIError, match="broke off"):
                await drain(answer)


async def test_the_clients_of_named_events_get_a_named_error(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a", speed=200) as engine, Node(tmp_path, [engine]) as node:
        whole = await node.http.post(
            "/v1/responses", json={"model": "llama-3.2-3b", "input": "hi", "stream": True}
        )
        cut_at = whole.content.index(b"event: response.output_text.delta")
        await engine.fault("reset-body", scope="inference", after_bytes=cut_at)
        answer = await node.http.post(
            "/v1/responses", json={"model": "llama-3.2-3b", "input": "hi", "stream": True}
        )
        *_, last = answer.text.strip().split("\n\n")
        name, data = last.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == "event: error"
        assert (event["type"], event["code"], event["sequence_number"]) == ("error", "backend_broke", 4)
        assert "broke off" in event["error"]["message"]


@pytest.mark.parametrize("kind", [*BREAKS, "wrong-length"])
async def test_a_whole_answer_that_breaks_is_cut_off(tmp_path: Path, kind: Any) -> None:
    async with (
        SimulatedEngine("vllm", "a") as first,
        SimulatedEngine("vllm", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await tune(node, "a", idle_s=0.3)
        await first.fault(kind, scope="inference")
        with pytest.raises(httpx.RemoteProtocolError):
            await node.chat()
        assert (len(first.calls()), len(second.calls())) == (1, 0)


EVENT = b'data: {"choices":[{"delta":{"content":"hi"}}]}'
GZIP = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n\r\n"


def breaking(*pieces: bytes) -> Responder:
    async def respond(writer: Any, request: Any) -> None:
        await responds(*pieces)(writer, request)
        writer.close()

    return respond


@pytest.mark.parametrize(
    ("pieces", "gap"),
    [
        (chunked(EVENT + b"\n\n")[:-1], b""),
        (chunked(EVENT + b"\n")[:-1], b"\n"),
        (chunked(EVENT, b"\n", b"\n")[:-1], b""),
        (chunked(EVENT + b"\r\n", b"\r\n")[:-1], b""),
    ],
)
async def test_the_error_is_an_event_of_its_own(tmp_path: Path, pieces: list[bytes], gap: bytes) -> None:
    async with RawBackend("a", respond=breaking(*pieces)) as backend, Node(tmp_path, [backend]) as node:
        answer = await node.chat("m", stream=True)
        head, _, error = answer.content.partition(b'data: {"error"')
        assert error.endswith(b"}\n\n")
        assert head == b"".join(p.split(b"\r\n", 1)[1][:-2] for p in pieces[1:]) + gap


@pytest.mark.parametrize(
    "pieces",
    [
        chunked(EVENT + b"\n\n", EVENT[:20])[:-1],
        chunked(b'{"model":"m",\n', content_type=b"application/json")[:-1],
        [GZIP.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"), b"3\r\nab\n\r\n"],
    ],
)
async def test_what_can_bear_no_event_is_cut_off(tmp_path: Path, pieces: list[bytes]) -> None:
    async with (
        RawBackend("a", respond=breaking(*pieces)) as backend,
        Node(tmp_path, [backend]) as node,
        node.http.stream("POST", "/v1/chat/completions", json=chat("m", stream=True)) as answer,
    ):
        got: list[bytes] = []
        with pytest.raises(httpx.RemoteProtocolError):
            await drain(answer.aiter_raw(), got)
        assert got
        assert b"error" not in b"".join(got)
