"""What a real llama-server (build 11434) was seen to tell of itself, alone and as a router."""

from typing import Any

import msgspec
import pytest

from backends.playback import HANG, answer
from backends.recorded_backend import recorded_backend
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered

LLAMACPP = KINDS["llamacpp"]
META = {
    "vocab_type": 1,
    "n_vocab": 368,
    "n_ctx": 2048,
    "n_ctx_train": 8192,
    "n_params": 689280,
    "ftype": "F16",
}
TEXT = {"input_modalities": ["text"], "output_modalities": ["text"]}
SIGHT = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
PROPS: dict[str, Any] = {
    "default_generation_settings": {"params": {"seed": 4294967295}, "n_ctx": 2048},
    "total_slots": 4,
    "model_alias": "tiny",
    "model_ftype": "F16",
    "model_path": "models/tiny-a.gguf",
    "modalities": {"vision": False, "video": False, "audio": False},
    "endpoint_slots": True,
    "chat_template": "{%- if tools %}",
    "chat_template_caps": {"supports_system_role": True, "supports_tools": True},
    "build_info": "b11434-c0ffee1",
    "is_sleeping": False,
}
OLD = {key: value for key, value in PROPS.items() if key != "is_sleeping"}
ROUTER_PROPS = {
    "role": "router",
    "max_instances": 4,
    "models_autoload": True,
    "model_alias": "llama-server",
    "model_path": "none",
    "default_generation_settings": {"params": None, "n_ctx": 0},
    "build_info": "b11434-c0ffee1",
}
NO_SLOTS = answer({"error": {"code": 501, "message": "This server does not support slots endpoint."}}, 501)


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": name,
        "aliases": [],
        "object": "model",
        "owned_by": "llamacpp",
        "architecture": TEXT,
        **fields,
    }


def alone(**fields: Any) -> bytes:
    own = [{"name": "tiny", "model": "tiny", "capabilities": ["completion"]}]
    return answer({"models": own, "object": "list", "data": [model("tiny", **({"meta": META} | fields))]})


def routed(name: str, status: str, **fields: Any) -> dict[str, Any]:
    args = ["/opt/llama-server", "--alias", name, "--model", f"models/{name}.gguf", "--ctx-size", "8192"]
    return model(name, status={"value": status, "args": args, "preset": f"[{name}]\n"}, **fields)


def slots(*busy: bool) -> bytes:
    return answer([{"id": i, "n_ctx": 2048, "is_processing": at_work} for i, at_work in enumerate(busy)])


FREE, ONE_BUSY = slots(False, False, False, False), slots(False, True, False, False)


async def test_one_model_is_told_with_context_size_and_skills() -> None:
    async with recorded_backend(LLAMACPP, {"/v1/models": alone(), "/props": answer(PROPS)}) as engine:
        probe = await engine.probe()
    assert probe.details == {
        "tiny": ModelDetail(
            context=2048,
            loaded=True,
            slots=4,
            quantization="F16",
            parameters="689K",
            capabilities=("chat", "completion", "tools"),
        )
    }
    assert probe.about == {"Version": "b11434-c0ffee1", "Slots": "4"}


async def test_the_context_is_that_of_one_slot_even_where_the_total_is_listed() -> None:
    smaller = answer([{"id": number, "n_ctx": 512, "is_processing": False} for number in range(4)])
    answers = {"/v1/models": alone(), "/props": answer(OLD), "/slots": smaller}
    async with recorded_backend(LLAMACPP, answers) as engine:

        async def context() -> int | None:
            return ((await engine.probe(after_s=61)).details or {})["tiny"].context

        assert await context() == 512
        engine.server.answers["/slots"] = NO_SLOTS
        assert await context() == 512, "as it was read"
        engine.server.answers["/props"] = answer(OLD | {"total_slots": 1})
        assert await context() == 2048, "it was started anew"


async def test_an_older_build_tells_less_in_its_list_and_the_rest_in_its_properties() -> None:
    meta = {"n_ctx_train": 131072, "n_params": 8_030_261_312}
    props = OLD | {"model_ftype": "Q4_K - Medium", "modalities": {"vision": True, "audio": True}}
    async with recorded_backend(
        LLAMACPP, {"/v1/models": alone(meta=meta), "/props": answer(props), "/slots": FREE}
    ) as engine:
        probe = await engine.probe()
    assert probe.details == {
        "tiny": ModelDetail(
            context=2048,
            loaded=True,
            slots=4,
            quantization="Q4_K_M",
            parameters="8B",
            capabilities=("chat", "completion", "vision", "audio", "tools"),
        )
    }


async def test_a_model_that_sees_says_so_in_the_list_too() -> None:
    async with recorded_backend(LLAMACPP, {"/v1/models": alone(architecture=SIGHT)}) as engine:
        details = (await engine.probe()).details
    assert details is not None
    assert "vision" in details["tiny"].capabilities


async def test_busy_slots_are_counted_and_looked_at_again_until_they_are_free() -> None:
    server_answers = {"/v1/models": alone(), "/props": answer(OLD), "/slots": ONE_BUSY}
    async with recorded_backend(LLAMACPP, server_answers) as engine:
        probe = await engine.probe()
        assert probe.about == {"Version": "b11434-c0ffee1", "Slots": "1 of 4 busy"}
        engine.server.answers["/slots"] = FREE
        probe = await engine.probe()
        assert probe.about == {"Version": "b11434-c0ffee1", "Slots": "0 of 4 busy"}
        assert await engine.probe_requests() == ["/v1/models"], "what is free is looked at again in a minute"


async def test_a_server_that_may_fall_asleep_is_not_kept_awake_by_looking_at_its_slots() -> None:
    answers = {"/v1/models": alone(), "/props": answer(PROPS), "/slots": FREE}
    async with recorded_backend(LLAMACPP, answers) as engine:
        assert await engine.probe_requests() == ["/v1/models", "/props"]
        engine.channel.was_used = True  # a request of ours: it is awake anyway
        assert await engine.probe_requests(60) == ["/v1/models", "/props", "/slots"]
        assert await engine.probe_requests(60) == ["/v1/models", "/props"]


async def test_a_sleeping_server_is_not_woken_and_its_model_is_said_to_be_unloaded() -> None:
    answers = {"/v1/models": alone(), "/props": answer(PROPS | {"is_sleeping": True}), "/slots": FREE}
    async with recorded_backend(LLAMACPP, answers) as engine:
        engine.channel.was_used = True
        probe = await engine.probe()
        assert isinstance(probe.fact, Answered), "it wakes when it is asked: it is well"
        assert probe.details is not None
        assert probe.details["tiny"].loaded is False
        assert engine.server.asked == ["/v1/models", "/props"]


@pytest.mark.parametrize(
    "silence", [NO_SLOTS, HANG, answer([]), answer([7]), answer({"slots": []}), answer(b"[")]
)
async def test_a_server_that_does_not_show_its_slots_tells_how_many_there_are(silence: bytes) -> None:
    answers = {"/v1/models": alone(), "/props": answer(OLD), "/slots": silence}
    async with recorded_backend(LLAMACPP, answers) as engine:
        probe = await engine.probe()
        assert isinstance(probe.fact, Answered)
        assert probe.about == {"Version": "b11434-c0ffee1", "Slots": "4"}


async def test_a_router_tells_which_models_are_loaded_and_none_is_loaded_by_the_question() -> None:
    data = [routed("tiny-a", "loaded", meta=META), routed("tiny-b", "unloaded"), routed("tiny-c", "loading")]
    listed = answer({"data": data, "object": "list"})
    async with recorded_backend(LLAMACPP, {"/v1/models": listed, "/props": answer(ROUTER_PROPS)}) as engine:
        probe = await engine.probe()
    assert isinstance(probe.fact, Answered), "what is not loaded is loaded on demand"
    assert probe.details == {
        "tiny-a": ModelDetail(context=2048, loaded=True, quantization="F16", parameters="689K"),
        "tiny-b": ModelDetail(loaded=False),
        "tiny-c": ModelDetail(loaded=False),
    }
    assert probe.about == {"Version": "b11434-c0ffee1", "Loaded": "1 of 3 models, at most 4 at a time"}
    assert engine.server.asked == ["/v1/models", "/props"]


async def test_a_router_of_one_model_says_of_it_no_more_than_of_any_other() -> None:
    listed = answer({"data": [routed("tiny-a", "unloaded")], "object": "list"})
    async with recorded_backend(LLAMACPP, {"/v1/models": listed, "/props": answer(ROUTER_PROPS)}) as engine:
        assert (await engine.probe()).details == {"tiny-a": ModelDetail(loaded=False)}


async def test_neither_paths_nor_arguments_are_passed_on() -> None:
    listed = answer(
        {"data": [routed("tiny-a", "loaded", meta=META, path="/home/me/a.gguf")], "object": "list"}
    )
    async with recorded_backend(
        LLAMACPP, {"/v1/models": listed, "/props": answer(PROPS), "/slots": FREE}
    ) as engine:
        probe = await engine.probe()
    told = msgspec.json.encode((probe.details, probe.about, probe.warnings))
    assert not [word for word in (b"gguf", b"/opt", b"/home", b"--", b"template", b"{%") if word in told]


async def test_numbers_that_cannot_be_are_dropped() -> None:
    meta = {"n_ctx": -1, "n_params": 10**30, "ftype": "F16\u202e" + "x" * 500}
    props = {"total_slots": "many", "build_info": ["b1"], "default_generation_settings": {"n_ctx": True}}
    async with recorded_backend(
        LLAMACPP, {"/v1/models": alone(meta=meta), "/props": answer(props)}
    ) as engine:
        probe = await engine.probe()
    assert probe.details is not None
    detail = probe.details["tiny"]
    assert (detail.context, detail.parameters) == (None, "")
    assert len(detail.quantization) == 40
    assert detail.quantization.isprintable()
    assert probe.about == {}


async def test_a_model_that_a_router_failed_to_load_is_shown_with_that() -> None:
    statuses = {
        "good": {"value": "loaded"},
        "broken": {"value": "unloaded", "failed": True, "exit_code": 1},
        "lost": {"value": "failed"},
        "odd": {"value": "unloaded", "failed": "yes", "exit_code": -1},
    }
    items = [{"id": name, "owned_by": "llamacpp", "status": status} for name, status in statuses.items()]
    listed = answer({"object": "list", "data": items})
    async with recorded_backend(LLAMACPP, {"/v1/models": listed, "/props": answer(ROUTER_PROPS)}) as engine:
        about = (await engine.probe()).about
    assert about is not None
    assert {label: line for label, line in about.items() if label.startswith("Model")} == {
        "Model broken": "failed to load when last requested (exit code 1): its log says why",
        "Model lost": "failed to load when last requested: its log says why",
    }
