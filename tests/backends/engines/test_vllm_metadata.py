"""What vLLM tells of itself, by its source and documentation (no real one runs where the tests run)."""

from backends.playback import answer
from backends.recorded_backend import recorded_backend
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail

VLLM = KINDS["vllm"]


async def test_it_tells_the_context_of_each_model_and_its_version() -> None:
    item = {
        "object": "model",
        "owned_by": "vllm",
        "root": "/models/qwen",
        "parent": None,
        "max_model_len": 40960,
    }
    adapter = item | {"id": "sql-lora", "parent": "qwen3-8b", "max_model_len": None}
    listed = answer({"object": "list", "data": [item | {"id": "qwen3-8b"}, adapter]})
    answers = {"/v1/models": listed, "/version": answer({"version": "0.11.0"})}
    async with recorded_backend(VLLM, answers) as engine:
        probe = await engine.probe()
        assert engine.server.asked == ["/v1/models", "/version"]
    assert probe.details == {
        "qwen3-8b": ModelDetail(context=40960, loaded=True),
        "sql-lora": ModelDetail(loaded=True),
    }
    assert probe.about == {"Version": "0.11.0"}
