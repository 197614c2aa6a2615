"""How large a request may be, and that one over the limit is refused at once and understandably."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from faults.raw import Caller, chat
from meshlight.gateway.inference.request import BODY_LIMIT
from meshlight.simulator.engine import SimulatedEngine
from node import Node

MB = 1024 * 1024
CHAT = "/v1/chat/completions"


async def test_a_body_that_is_announced_too_large_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        caller = await Caller.connect(node)
        caller.send(node, CHAT, BODY_LIMIT + 1, b"")
        got = await caller.until(b'"too_large"')
        assert got.startswith(b"HTTP/1.1 413 ")
        assert b"over 64 MB" in got
        caller.hang_up()
        assert not engine.calls()


async def test_a_chunked_body_is_refused_where_it_passes_the_limit(tmp_path: Path) -> None:
    async def flood() -> AsyncIterator[bytes]:
        yield b'{"model": "llama-3.2-3b", "x": "'
        for _ in range(80):
            yield b"x" * MB

    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post(CHAT, content=flood(), headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
        assert not engine.calls()


async def test_a_chunked_body_reaches_the_backend_with_its_length(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (
            b'{"model": "llama-3.2-3b", ',
            b'"messages": [{"role": "user",',
            b' "content": "hi"}]}',
        ):
            yield piece

    async with SimulatedEngine("mlx", "a") as engine, Node(tmp_path, [engine]) as node:  # MLX takes no chunks
        answer = await node.http.post(CHAT, content=pieces(), headers={"content-type": "application/json"})
        assert answer.status_code == 200, answer.text
        assert engine.calls()[0].header("content-length") == str(26 + 29 + 19)


@pytest.mark.parametrize("value", ["br", "gzip, zstd", "compress", "x" * 200])
async def test_an_encoded_body_is_refused_with_the_reason(tmp_path: Path, value: str) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        answer = await node.http.post(CHAT, json=chat(), headers={"content-encoding": value})
        assert answer.status_code == 415
        assert "gzip or zstd" in answer.json()["error"]["message"]
        assert not engine.calls()


async def test_a_body_that_is_no_json_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        for body in (b"", b"hello", b'{"model": "m"', b"[" * 100_000):
            answer = await node.http.post(CHAT, content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400
            assert "not the JSON object" in answer.json()["error"]["message"]
