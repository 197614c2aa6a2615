"""The requests that the demo sends to itself: what a round shows, and to whom the key is shown."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from meshlight.cli.demo_traffic import ONE_SLOT, ROUND, ROUND_S, messages, send_requests
from meshlight.domain.config import Runtime
from meshlight.domain.prompt_size import estimate
from meshlight.domain.proof import prove
from meshlight.simulator.model_lists import CONTEXT_TOKENS
from meshlight.simulator.scenario import LONG_CONTEXT, VLLM_SLOTS, Scenario

KEY = "the-local-key"


def test_a_round_shows_everything_within_a_minute() -> None:
    assert ROUND_S <= 60
    assert [wish.at_s for wish in ROUND] == sorted(wish.at_s for wish in ROUND)
    assert len({wish.app for wish in ROUND if wish.model == ONE_SLOT}) > 1
    sizes = [estimate(msgspec.json.encode(messages(wish, 1))) for wish in ROUND]
    assert [CONTEXT_TOKENS < size < LONG_CONTEXT for size in sizes].count(True) == 1
    turns = [wish for wish in ROUND if wish.model == "llama-3.2-3b"]
    [first, *later] = [messages(wish, 1) for wish in turns]
    assert all(turn[: len(first)] == first for turn in later)
    assert messages(turns[0], 2) != first, "a new conversation in each round"


def test_each_request_of_a_round_has_a_backend() -> None:
    scenario = Scenario(base_port=0)
    known = {model for engine in (*scenario.engines, *scenario.clouds) for model in engine.models}
    known |= {*scenario.continuum.models, "demo-llama-cpp/qwen3-8b"}
    assert {wish.model for wish in ROUND} <= known


def test_a_machine_is_full_when_what_it_has_in_memory_is_asked_for_and_one_other_has_it() -> None:
    engines = Scenario(base_port=0).engines
    cold, warm = [engine for engine in engines if "qwen3-8b" in engine.models]
    assert "qwen3-8b" in warm.facts.loaded - cold.facts.loaded
    models = [wish.model for wish in ROUND]
    at = models.index("qwen3-8b", models.index("mistral-small-24b"))
    assert models[at - VLLM_SLOTS : at] == ["mistral-small-24b"] * VLLM_SLOTS
    assert "mistral-small-24b" in warm.models
    assert models.index("demo-llama-cpp/qwen3-8b") < at - VLLM_SLOTS, "the other one has it in memory by then"


class Service:
    """Answers the challenge, right or wrong, and keeps the heads of the requests that follow."""

    def __init__(self, runtime_file: Path, *, is_right: bool) -> None:
        self.runtime_file = runtime_file
        self.is_right = is_right
        self.heads: list[str] = []
        self.left = asyncio.Event()
        self.asked = asyncio.Event()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                if "challenge=" in head:
                    challenge = head.split("challenge=")[1].split(" ")[0]
                    proof = prove(KEY if self.is_right else "another", challenge, "i")
                    body = msgspec.json.encode({"version": "1", "proof": proof})
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
                else:
                    self.heads.append(head)
                    self.asked.set()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            self.left.set()


@pytest.mark.parametrize("is_right", [True, False])
async def test_the_key_is_shown_only_to_a_service_that_has_it(tmp_path: Path, *, is_right: bool) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    service = Service(tmp_path / "runtime.json", is_right=is_right)
    server = await asyncio.start_server(service.answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    runtime = Runtime(
        url=f"http://127.0.0.1:{port}", pid=1, instance="i", key_file=str(key_file), version="1"
    )
    service.runtime_file.write_bytes(msgspec.json.encode(runtime))
    sending = asyncio.create_task(send_requests(service.runtime_file, lambda: None))
    try:
        async with asyncio.timeout(10):
            await (service.asked if is_right else service.left).wait()
    finally:
        sending.cancel()
        await asyncio.wait({sending})
        server.close()
        await server.wait_closed()
    if is_right:
        assert f"authorization: Bearer {KEY}" in service.heads[0]
        assert f"user-agent: {ROUND[0].app}" in service.heads[0]
    assert is_right or not service.heads
