"""Details are asked for seldom, and never at the health's expense."""

from types import MappingProxyType

from backends.playback import BREAK, HANG, NOT_FOUND, answer
from backends.recorded_backend import recorded_backend
from meshlight.backends.kinds import KINDS
from meshlight.backends.metadata import REPLY_LIMIT
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Answered, Failed

VLLM = KINDS["vllm"]
VERSION = answer({"version": "0.11.0"})


def models(*names: str, **fields: object) -> bytes:
    item = {"object": "model", "owned_by": "vllm", "max_model_len": 4096} | fields
    return answer({"object": "list", "data": [{"id": name, **item} for name in names]})


SERVER = MappingProxyType({"/v1/models": models("m"), "/version": VERSION})


async def test_it_asks_at_first_sight_and_then_every_minute() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        assert await engine.probe_requests() == ["/v1/models", "/version", "/metrics"]
        assert [await engine.probe_requests(5) for _ in range(11)] == [["/v1/models"]] * 11
        assert await engine.probe_requests(5) == ["/v1/models", "/version", "/metrics"]


async def test_it_asks_anew_when_the_list_of_models_has_changed() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        await engine.probe()
        engine.server.answers["/v1/models"] = models("m", "n")
        assert await engine.probe_requests() == ["/v1/models", "/version", "/metrics"]
        assert await engine.probe_requests() == ["/v1/models"]


async def test_it_asks_anew_after_an_outage_since_another_version_may_have_come_up() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        await engine.probe()
        engine.server.answers["/v1/models"] = BREAK
        assert isinstance((await engine.probe()).fact, Failed)
        engine.server.answers |= {"/v1/models": answer(b"", 500)}
        assert isinstance((await engine.probe()).fact, Failed)
        engine.server.answers |= {"/v1/models": models("m"), "/version": answer({"version": "0.12.0"})}
        assert (await engine.probe()).about == {"Version": "0.12.0"}


async def test_what_was_told_stays_told_with_every_good_probe_in_between() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        for _ in range(3):
            probe = await engine.probe()
            assert probe.details == {"m": ModelDetail(context=4096, loaded=True)}
            assert probe.about == {"Version": "0.11.0"}


async def test_an_engine_that_answers_no_further_question_is_healthy_all_the_same() -> None:
    for silence in (
        NOT_FOUND,
        HANG,
        BREAK,
        answer(b"<html>"),
        answer({"version": 7}),
        answer(b"\xff[{" * 99),
    ):
        async with recorded_backend(VLLM, {"/v1/models": models("m"), "/version": silence}) as engine:
            probe = await engine.probe()
            assert isinstance(probe.fact, Answered)
            assert probe.models == ("m",)
            assert probe.about == {}
            assert await engine.probe_requests() == ["/v1/models"], "and is not asked again at once"


async def test_an_answer_that_fails_to_come_once_takes_nothing_away() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        await engine.probe()
        engine.server.answers["/version"] = BREAK
        assert (await engine.probe(60)).about == {"Version": "0.11.0"}


async def test_a_key_goes_with_the_questions_too() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        await engine.probe(secret="sk-1")
        assert engine.server.asked == ["/v1/models", "/version", "/metrics"]
        assert all("authorization: Bearer sk-1" in head for head in engine.server.heads)


async def test_a_list_too_long_to_be_read_twice_tells_nothing_of_its_models() -> None:
    long = models("m", padding="x" * REPLY_LIMIT)
    async with recorded_backend(VLLM, {"/v1/models": long, "/version": VERSION}) as engine:
        probe = await engine.probe()
        assert probe.models == ("m",)
        assert probe.details == {"m": ModelDetail(loaded=True)}


async def test_requests_go_where_they_always_went() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        assert await engine.channel.route("m", None) is None
        assert not engine.channel.renew("m", 401, b"")


async def test_kinds_that_have_nothing_to_tell_have_no_channel() -> None:
    async with recorded_backend(VLLM, SERVER) as engine:
        deps = engine.deps
        assert KINDS["mlx"].open_channel(deps) is None
        assert KINDS["openai-compatible"].open_channel(deps) is None
