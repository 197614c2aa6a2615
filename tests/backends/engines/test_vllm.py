"""vLLM's dialect, by its source and documentation (no real one runs where the tests run)."""

import pytest

from backends.playback import Playback, answer, detect, probe_answer
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed, Refused

VLLM = KINDS["vllm"]


def models(owner: str) -> bytes:
    card = {
        "id": "org/m",
        "object": "model",
        "created": 1,
        "owned_by": owner,
        "root": "org/m",
        "parent": None,
    }
    return answer({"object": "list", "data": [card]}, Server="uvicorn")


VERSION = answer({"version": "0.11.0"}, Server="uvicorn")
KEY_WANTED = answer({"error": "Unauthorized"}, 401, Server="uvicorn")


async def test_it_is_recognised_by_its_models_and_its_version() -> None:
    async with Playback({"/v1/models": models("vllm"), "/version": VERSION}) as server:
        found = await detect(VLLM, server.url)
        assert (found.kind, found.name, found.models) == ("vllm", f"vLLM :{server.port}", ("org/m",))
        assert server.asked == ["/v1/models", "/version"]


async def test_it_is_recognised_when_it_wants_a_key() -> None:
    async with Playback({"/v1/models": KEY_WANTED, "/version": VERSION}) as server:
        assert (await detect(VLLM, server.url)).models == ()


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        ({"/v1/models": models("sglang"), "/version": VERSION}, ["/v1/models"]),
        ({"/v1/models": models("vllm")}, ["/v1/models", "/version"]),  # a wrapper that borrowed the word
        ({"/v1/models": answer({"error": "Log in first"}, 401), "/version": VERSION}, ["/v1/models"]),
        ({"/v1/models": answer({"detail": "Not Found"}, 404), "/version": VERSION}, ["/v1/models"]),
    ],
)
async def test_others_are_not_taken_for_it(answers: dict[str, bytes], asked: list[str]) -> None:
    async with Playback(answers) as server:
        assert await detect(VLLM, server.url) is None
        assert server.asked == asked


async def test_a_probe_reads_the_models() -> None:
    probed = await probe_answer(VLLM, "/v1/models", models("vllm"))
    assert isinstance(probed.fact, Answered)
    assert probed.models == ("org/m",)
    assert isinstance((await probe_answer(VLLM, "/v1/models", KEY_WANTED)).fact, Refused)


async def test_another_engine_on_its_port_is_told() -> None:
    probed = await probe_answer(VLLM, "/v1/models", models("llamacpp"))
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.code == "not-this-kind"


def test_it_speaks_no_images() -> None:
    assert VLLM.speaks("rerank")
    assert not VLLM.speaks("images/generations")
