"""One attempt: what a refusal is about, what is sent to the same backend again, and which connections are closed."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, complete, responds
from meshlight.domain.backend import Kind
from meshlight.simulator.engine import SimulatedEngine
from node import Node
from servers.byte_server import Request

WAIT_S = 20.0
JSON = b"content-type: application/json"


class Cloud(RawBackend):
    """A provider whose words a test decides."""

    def __init__(self, kind: Kind, status: bytes, body: bytes) -> None:
        super().__init__("a", respond=responds(complete(body, JSON, status=status)))
        self.kind = kind


def ask(model: str = "m", **fields: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 30, "messages": [{"role": "user", "content": "hi"}], **fields}


async def test_a_cloud_that_does_not_know_the_model_is_asked_once_and_quoted(tmp_path: Path) -> None:
    text = b'{"type":"error","error":{"type":"not_found_error","message":"model: m"}}'
    async with Cloud("anthropic", b"404 Not Found", text) as raw, Node(tmp_path, [raw]) as node:
        answer = await node.http.post("/v1/messages", json=ask())
        assert (answer.status_code, answer.content) == (404, text)
        assert [request.target for request in raw.posts] == ["/v1/messages"]


async def test_a_used_up_account_is_found_out_by_a_translated_request_too(tmp_path: Path) -> None:
    text = b'{"error":{"message":"pay","code":"billing_not_active"}}'
    async with Cloud("openai", b"400 Bad Request", text) as raw, Node(tmp_path, [raw]) as node:
        answer = await node.http.post("/v1/messages", json=ask())
        assert answer.json()["error"]["message"] == "pay"
        assert (await node.backend("a"))["health"]["reason"] == "quota"


async def test_a_long_refusal_of_a_translated_request_is_told_in_full(tmp_path: Path) -> None:
    text = b'{"error":{"message":"%b end"}}' % (b"x" * 900)
    head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    raw = RawBackend("a", respond=responds(head % len(text) + text[:40], text[40:]))
    async with raw, Node(tmp_path, [raw]) as node:
        node.service._connections.get("a").record_missing_operation("messages", "m")  # type: ignore[union-attr]
        answer = await node.http.post("/v1/messages", json=ask())
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("xxx")


@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_backend_whose_answer_can_not_be_translated_is_hung_up_on(
    tmp_path: Path, *, is_stream: bool
) -> None:
    gone = asyncio.Event()

    async def respond(writer: asyncio.StreamWriter, request: Request) -> None:  # noqa: ARG001 - a Responder
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        piece = b"data: {not json}\n\n"
        try:
            while True:
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            gone.set()

    async with RawBackend("a", respond=respond) as raw, Node(tmp_path, [raw]) as node:
        node.service._connections.get("a").record_missing_operation("messages", "m")  # type: ignore[union-attr]
        answer = await node.http.post("/v1/messages", json=ask(stream=is_stream))
        assert answer.status_code == 502
        await asyncio.wait_for(gone.wait(), WAIT_S)


async def test_an_engine_that_was_away_is_asked_in_the_clients_own_protocol_again(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        link = node.service._connections.get("a")
        assert link is not None
        link.record_missing_operation("messages", "llama-3.2-3b")
        await engine.fault("status", status=500)
        await node.refresh()
        assert link.speaks("messages", "llama-3.2-3b")


async def test_the_slots_of_a_llama_server_are_looked_at_once_it_was_used(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        channel: Any = node.service._connections.get("a").channel  # type: ignore[union-attr]
        assert not channel.was_used
        await node.http.post("/v1/chat/completions", json=ask("llama-3.2-3b"))
        assert channel.was_used
