"""Ollama's dialect, by its API documentation (no real one runs where the tests run)."""

import pytest

from backends.playback import NOT_FOUND, PAGE, Playback, answer, detect, probe, probe_answer
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed

OLLAMA = KINDS["ollama"]
FRONT = answer(b"Ollama is running", Content_Type="text/plain; charset=utf-8")
VERSION = answer({"version": "0.12.6"})
TAGS = answer({"models": [{"name": "llama3.2:latest", "model": "llama3.2:latest", "size": 1}]})


async def test_it_is_recognised_by_its_front_page_its_version_and_its_tags() -> None:
    async with Playback({"/": FRONT, "/api/version": VERSION, "/api/tags": TAGS}) as server:
        found = await detect(OLLAMA, server.url)
        assert (found.kind, found.models) == ("ollama", ("llama3.2:latest",))
        assert found.name == f"Ollama :{server.port}"
        assert server.asked == ["/", "/api/version", "/api/tags"]


async def test_it_is_recognised_before_its_first_model_is_pulled() -> None:
    tags = answer({"models": None})
    async with Playback({"/": FRONT, "/api/version": VERSION, "/api/tags": tags}) as server:
        assert (await detect(OLLAMA, server.url)).models == ()


@pytest.mark.parametrize("front", [PAGE, NOT_FOUND, answer(b"Ollama is running", 500)])
async def test_a_stranger_is_asked_for_its_front_page_only(front: bytes) -> None:
    async with Playback({"/": front, "/api/version": VERSION, "/api/tags": TAGS}) as server:
        assert await detect(OLLAMA, server.url) is None
        assert server.asked == ["/"]


async def test_the_words_alone_are_not_enough() -> None:
    async with Playback({"/": FRONT}) as server:
        assert await detect(OLLAMA, server.url) is None


async def test_a_probe_reads_the_tags() -> None:
    async with Playback({"/api/tags": TAGS}) as server:
        probed = await probe(OLLAMA, server.url)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("llama3.2:latest",)
        assert server.asked == ["/api/tags"]


@pytest.mark.parametrize(
    "reply",
    [
        NOT_FOUND,
        answer({"error": "Unexpected endpoint or method. (GET /api/tags)"}),
        answer({"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}, 404),
    ],
)
async def test_another_engine_on_its_port_is_told(reply: bytes) -> None:
    probed = await probe_answer(OLLAMA, "/api/tags", reply)
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.code == "not-this-kind"


def test_it_speaks_no_rerank() -> None:
    assert OLLAMA.speaks("chat/completions")
    assert OLLAMA.speaks("responses")
    assert not OLLAMA.speaks("rerank")
