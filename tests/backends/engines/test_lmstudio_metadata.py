"""What LM Studio tells of its models, by its documentation (no real one runs where the tests run)."""

from typing import Any

from backends.playback import answer
from backends.recorded_backend import recorded_backend
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered

LMSTUDIO = KINDS["lmstudio"]


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", **fields}


NATIVE = [
    model("vl", type="vlm", quantization="4bit", state="not-loaded", max_context_length=32768),
    model(
        "chat",
        type="llm",
        quantization="Q4_K_M",
        state="loaded",
        max_context_length=131072,
        loaded_context_length=4096,
        capabilities=["tool_use"],
    ),
    model("embed", type="embeddings", quantization="Q4_0", state="not-loaded", max_context_length=2048),
    model("hidden", type="llm", state="loaded"),
]
LIST = answer(
    {
        "object": "list",
        "data": [model(name, owned_by="organization_owner") for name in ("vl", "chat", "embed")],
    }
)
UNEXPECTED = answer({"error": "Unexpected endpoint or method. (GET /api/v0/models)"})


async def test_it_tells_what_is_loaded_and_how_long_a_context_is() -> None:
    native = answer({"object": "list", "data": NATIVE})
    async with recorded_backend(LMSTUDIO, {"/v1/models": LIST, "/api/v0/models": native}) as engine:
        probe = await engine.probe()
        assert engine.server.asked == ["/v1/models", "/api/v0/models"]
    assert isinstance(probe.fact, Answered), "what is not loaded is loaded on demand"
    assert probe.details == {
        "vl": ModelDetail(
            context=32768, loaded=False, quantization="4bit", capabilities=("chat", "completion", "vision")
        ),
        "chat": ModelDetail(
            context=4096, loaded=True, quantization="Q4_K_M", capabilities=("chat", "completion", "tools")
        ),
        "embed": ModelDetail(context=2048, loaded=False, quantization="Q4_0", capabilities=("embeddings",)),
    }
    assert probe.about == {"Loaded": "1 of 3 models"}


async def test_an_older_one_without_that_list_tells_nothing() -> None:
    async with recorded_backend(LMSTUDIO, {"/v1/models": LIST, "*": UNEXPECTED}) as engine:
        probe = await engine.probe()
    assert isinstance(probe.fact, Answered)
    assert (probe.details, probe.about) == ({}, {})
