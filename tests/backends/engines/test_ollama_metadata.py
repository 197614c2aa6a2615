"""What Ollama tells of itself, by its API documentation (no real one runs where the tests run)."""

from typing import Any

import msgspec
import pytest

from backends.playback import NOT_FOUND, answer
from backends.recorded_backend import recorded_backend
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered

OLLAMA = KINDS["ollama"]
VERSION = answer({"version": "0.12.6"})


def tag(name: str, digest: str = "", **fields: Any) -> dict[str, Any]:
    details = {"format": "gguf", "family": "llama", "parameter_size": "3.2B", "quantization_level": "Q4_K_M"}
    given = {"name": name, "model": name, "size": 2019393189, "digest": digest or f"sha-{name}"}
    return given | {"details": details} | fields


def listed(*models: dict[str, Any]) -> bytes:
    return answer({"models": list(models)})


def running(name: str, **fields: Any) -> dict[str, Any]:
    memory = {"expires_at": "2026-01-01T00:00:00Z", "size_vram": 2019393189, "context_length": 4096}
    return tag(name) | memory | fields


def shown(*capabilities: str, parameters: str = "") -> bytes:
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    return answer({"parameters": parameters, "model_info": info, "capabilities": list(capabilities)})


def server_of(
    *models: dict[str, Any], loaded: tuple[dict[str, Any], ...] = (), **more: bytes
) -> dict[str, bytes]:
    return {
        "/api/tags": listed(*models),
        "/api/ps": listed(*loaded),
        "/api/version": VERSION,
        "/api/show": shown("completion", "tools"),
    } | more


async def test_what_is_in_memory_has_the_context_it_was_loaded_with() -> None:
    answers = server_of(tag("llama3.2:latest"), tag("gemma3:4b"), loaded=(running("llama3.2:latest"),))
    async with recorded_backend(OLLAMA, answers) as engine:
        probe = await engine.probe()
    assert isinstance(probe.fact, Answered), "what is not in memory is loaded on demand"
    known = ModelDetail(
        quantization="Q4_K_M", parameters="3.2B", capabilities=("chat", "completion", "tools")
    )
    assert probe.details == {
        "llama3.2:latest": msgspec.structs.replace(known, context=4096, loaded=True),
        "gemma3:4b": msgspec.structs.replace(known, loaded=False),
    }
    assert probe.about == {"Version": "0.12.6", "Loaded": "1 of 2 models, 2.0 GB"}


async def test_a_model_that_does_not_fit_on_the_gpu_is_seen() -> None:
    loaded = running("m", size=8_000_000_000, size_vram=3_000_000_000)
    async with recorded_backend(OLLAMA, server_of(tag("m"), loaded=(loaded,))) as engine:
        about = (await engine.probe()).about
    assert about is not None
    assert about["Loaded"] == "1 of 1 models, 8.0 GB, 37% of it on the GPU"


async def test_a_context_set_in_the_modelfile_is_known_before_the_model_is_loaded() -> None:
    show = shown("completion", parameters='stop "x"\nnum_ctx                        16384\ntemperature 1')
    answers = server_of(tag("m")) | {"/api/show": show}
    async with recorded_backend(OLLAMA, answers) as engine:
        details = (await engine.probe()).details
    assert details is not None
    assert details["m"].context == 16384


async def test_each_model_is_asked_about_once_two_in_a_round() -> None:
    names = [f"m{n}" for n in range(5)]
    async with recorded_backend(OLLAMA, server_of(*map(tag, names))) as engine:
        rounds = [await engine.probe_requests() for _ in range(4)]
        assert [asked.count("/api/show") for asked in rounds] == [2, 2, 1, 0]
        asked = [msgspec.json.decode(body)["model"] for body in engine.server.bodies if body]
        assert asked == names
        for _ in range(3):
            assert await engine.probe_requests(10) == ["/api/tags", "/api/ps"], "and never again"
        assert await engine.probe_requests(10) == ["/api/tags", "/api/ps", "/api/version"], (
            "perhaps an update"
        )


async def test_a_model_that_was_pulled_anew_is_asked_about_anew() -> None:
    async with recorded_backend(OLLAMA, server_of(tag("m", "one"))) as engine:
        await engine.probe()
        engine.server.answers |= {
            "/api/tags": listed(tag("m", "two")),
            "/api/show": shown("completion", "vision"),
        }
        details = (await engine.probe(60)).details
        assert details is not None
        assert details["m"].capabilities == ("chat", "completion", "vision")


async def test_two_names_of_one_model_are_asked_about_together() -> None:
    async with recorded_backend(OLLAMA, server_of(tag("a", "one"), tag("b", "one"))) as engine:
        details = (await engine.probe()).details
        assert details is not None
        assert details["a"].capabilities == details["b"].capabilities == ("chat", "completion", "tools")
        assert engine.server.asked.count("/api/show") == 1


async def test_models_about_which_nothing_is_said_do_not_keep_others_from_being_asked_about() -> None:
    answers = server_of(*(tag(f"m{n}") for n in range(3))) | {"/api/show": NOT_FOUND}
    async with recorded_backend(OLLAMA, answers) as engine:
        for wait in (5, 5, 60, 60):
            await engine.probe(wait)
        asked = [msgspec.json.decode(body)["model"] for body in engine.server.bodies if body]
        assert asked == ["m0", "m1", "m2", "m0", "m1", "m2", "m0", "m1"][: len(asked)]
        assert set(asked) == {"m0", "m1", "m2"}


async def test_an_ollama_that_lists_the_capabilities_is_not_asked_for_them() -> None:
    tags = tag("e", capabilities=["embedding"]), tag("t", capabilities=["completion", "thinking", "insert"])
    async with recorded_backend(OLLAMA, server_of(*tags)) as engine:
        details = (await engine.probe()).details
        assert details is not None
        assert details["e"].capabilities == ("embeddings",)
        assert details["t"].capabilities == ("chat", "completion", "thinking")
        assert "/api/show" not in engine.server.asked


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["big-cloud"], "big-cloud runs in Ollama's cloud"),
        (["a", "b", "c", "d", "e"], "a, b, c and 2 more run in Ollama's cloud"),
    ],
)
async def test_models_that_ollama_only_passes_on_are_warned_of(names: list[str], said: str) -> None:
    away = [tag(name, remote_host="https://ollama.com:443", remote_model=name) for name in names]
    async with recorded_backend(OLLAMA, server_of(tag("here"), *away)) as engine:
        probe = await engine.probe()
    assert probe.warnings is not None
    assert [line.startswith(said) for line in probe.warnings] == [True]
    assert probe.details is not None
    assert (probe.details["here"].loaded, probe.details[names[0]].loaded) == (False, None)


async def test_an_ollama_that_does_not_say_what_is_in_memory_is_not_said_to_have_nothing_there() -> None:
    answers = server_of(tag("m")) | {"/api/ps": NOT_FOUND}
    async with recorded_backend(OLLAMA, answers) as engine:
        probe = await engine.probe()
    assert probe.details is not None
    assert probe.details["m"].loaded is None
    assert probe.about == {"Version": "0.12.6"}


async def test_before_its_first_model_is_pulled_there_is_its_version() -> None:
    async with recorded_backend(OLLAMA, server_of()) as engine:
        probe = await engine.probe()
    assert (probe.details, probe.about) == ({}, {"Version": "0.12.6"})
