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
        assert engine.server.asked == ["/v1/models", "/version", "/metrics"]
    assert probe.details == {
        "qwen3-8b": ModelDetail(context=40960, loaded=True),
        "sql-lora": ModelDetail(loaded=True),
    }
    assert probe.about == {"Version": "0.11.0"}


METRICS = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="qwen3-8b"} %d.0
vllm:num_requests_running{engine="1",model_name="qwen3-8b"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="}{"} %d.0
vllm:num_requests_waiting{engine="1",model_name="qwen3-8b"} NaN
vllm:num_requests_waiting_by_reason{reason="capacity"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="qwen3-8b"} 0.97
"""


async def test_what_waits_inside_it_is_told_of_all_engines_and_clients() -> None:
    listed = answer({"object": "list", "data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]})
    answers = {
        "/v1/models": listed,
        "/version": answer({"version": "0.11.0"}),
        "/metrics": answer(METRICS % (7, 0)),
    }
    async with recorded_backend(VLLM, answers) as engine:
        probe = await engine.probe()
        assert probe.details == {"m": ModelDetail(context=4096, loaded=True)}, "as long as nobody waits"
        assert await engine.probe_requests(after_s=11) == ["/v1/models", "/version", "/metrics"], (
            "it has work"
        )
        engine.server.answers["/metrics"] = answer(METRICS % (7, 5))
        probe = await engine.probe(after_s=11)
        assert probe.details == {"m": ModelDetail(context=4096, loaded=True, running=8, waiting=5)}
        assert probe.about == {"Version": "0.11.0", "Its queue": "5 wait, 8 run"}
        engine.server.answers["/metrics"] = answer(b"vllm:num_requests_running 0.0\n")
        probe = await engine.probe(after_s=11)
        assert probe.details == {"m": ModelDetail(context=4096, loaded=True)}
        assert await engine.probe_requests(after_s=11) == ["/v1/models"], "it is idle"
        engine.channel.was_used = True
        assert await engine.probe_requests(after_s=0) == ["/v1/models", "/version", "/metrics"], (
            "it is used again"
        )


async def test_a_metric_without_end_is_none_and_is_read_in_no_time() -> None:
    endless = b"".join(
        # In quadratic time this would take hours.
        b"vllm:num_requests_%b{} %b%bx\n" % (name, begin, part * 250_000)
        for name, begin, part in (
            (b"running", b"1.", b"0"),
            (b"waiting", b"1", b" "),
            (b"waiting", b"1 ", b"7"),
        )
    )
    listed = answer({"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]})
    async with recorded_backend(VLLM, {"/v1/models": listed, "/metrics": answer(endless)}) as engine:
        assert (await engine.probe()).details == {"m": ModelDetail(loaded=True)}


async def test_without_metrics_nothing_is_said_of_a_queue() -> None:
    listed = answer({"object": "list", "data": [{"id": "m", "owned_by": "vllm"}]})
    answers = {"/v1/models": listed, "/metrics": answer(b"vllm:num_requests_waiting many\n\xff{} 3")}
    async with recorded_backend(VLLM, answers) as engine:
        assert (await engine.probe()).details == {"m": ModelDetail(loaded=True)}
