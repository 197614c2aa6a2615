"""What a real mlx_lm.server (0.32) was seen to answer: HTTP/1.0, every body ended by closing."""

import pytest

from backends.playback import HANG, Playback, answer, detect, probe
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed

MLX = KINDS["mlx"]


def python(body: object, status: int = 200) -> bytes:
    return answer(
        body, status, http="1.0", Server="BaseHTTP/0.6 Python/3.11.7", Content_type="application/json"
    )


HEALTH = python({"status": "ok"})
DEAD = python({"status": "unavailable"}, 503)
MODELS = python(
    {"object": "list", "data": [{"id": "/models/tiny", "object": "model", "created": 1795520527}]}
)
CUT_OFF = python(b"")
"""Its list when the Hugging Face cache folder was never made: the head, then nothing."""


async def test_it_is_recognised_by_its_server_its_models_and_its_health() -> None:
    async with Playback({"/v1/models": MODELS, "/health": HEALTH}) as server:
        found = await detect(MLX, server.url)
        assert (found.kind, found.name, found.models) == ("mlx", f"MLX :{server.port}", ("/models/tiny",))
        assert server.asked == ["/v1/models", "/health"]


async def test_it_is_recognised_though_its_list_is_cut_off() -> None:
    async with Playback({"/v1/models": CUT_OFF, "/health": HEALTH}) as server:
        assert (await detect(MLX, server.url)).models == ()


@pytest.mark.parametrize(
    "answers",
    [
        {"/v1/models": MODELS, "/health": python(b"Not Found", 404)},
        {"/v1/models": python(b"<html>files</html>"), "/health": HEALTH},
        {"/v1/models": python({"data": [{"id": "x", "owned_by": "me"}]}), "/health": HEALTH},
        {"/v1/models": python(b"Not Found", 404), "/health": HEALTH},
        {
            "/v1/models": answer({"object": "list", "data": [{"id": "x"}]}, Server="uvicorn"),
            "/health": HEALTH,
        },
    ],
)
async def test_others_are_not_taken_for_it(answers: dict[str, bytes]) -> None:
    async with Playback(answers) as server:
        assert await detect(MLX, server.url) is None


async def test_a_probe_has_a_latency_although_it_closes_after_every_answer() -> None:
    async with Playback({"/v1/models": MODELS, "/health": HEALTH}) as server:
        probed = await probe(MLX, server.url)
        assert isinstance(probed.fact, Answered)
        assert probed.fact.latency_s is not None
        assert probed.models == ("/models/tiny",)
        assert server.asked == ["/health", "/v1/models"]


async def test_a_server_whose_generating_thread_died_is_down_although_it_lists_models() -> None:
    async with Playback({"/v1/models": MODELS, "/health": DEAD}) as server:
        fact = (await probe(MLX, server.url)).fact
        assert isinstance(fact, Failed)
        assert fact.reason.code == "server-error"
        assert "restart" in fact.reason.fix


async def test_a_missing_cache_folder_is_named_with_its_fix() -> None:
    async with Playback({"/v1/models": CUT_OFF, "/health": HEALTH}) as server:
        fact = (await probe(MLX, server.url)).fact
        assert isinstance(fact, Failed)
        assert "Hugging Face cache" in fact.reason.text
        assert "mkdir" in fact.reason.fix


async def test_an_old_version_without_a_health_page_is_judged_by_its_list() -> None:
    async with Playback({"/v1/models": MODELS}) as server:
        probed = await probe(MLX, server.url)
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("/models/tiny",)


async def test_another_engine_on_its_port_is_told() -> None:
    other = answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "llamacpp"}]})
    async with Playback({"/v1/models": other, "/health": answer({"status": "ok"})}) as server:
        fact = (await probe(MLX, server.url)).fact
        assert isinstance(fact, Failed)
        assert fact.reason.code == "not-this-kind"


async def test_a_prompt_that_keeps_it_silent_is_busy_for_a_minute() -> None:
    async with Playback({"/health": HANG}) as server:
        probed = await probe(MLX, server.url)
        assert probed.is_busy
        assert MLX.busy_grace_s == 60


def test_it_speaks_chat_and_completions_only() -> None:
    assert MLX.speaks("chat/completions")
    assert MLX.speaks("completions")
    assert not MLX.speaks("embeddings")
