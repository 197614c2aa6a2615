"""Continuum Router, by its documentation (no real one runs where the tests run)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backends.playback import Playback, answer, backend, detect, probe, probe_answer
from meshlight.backends.base import Channel, ChannelDeps, Probe
from meshlight.backends.engines.continuum import ADMIN_EVERY_S, ADMIN_REFUSED_S, admin_lines, read_backends
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed, Loading, Refused
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream

CONTINUUM = KINDS["continuum"]
LIST = answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]})
ADMIN = "/admin/backends"


def behind(*items: dict[str, Any]) -> bytes:
    return answer({"backends": items, "healthy_count": 1, "total_count": len(items)})


GPU1 = {"name": "gpu1", "url": "http://10.0.0.1:8000", "is_healthy": True, "last_error": None}
GPU2 = {"name": "gpu2", "url": "http://10.0.0.2:8000", "is_healthy": False, "last_error": "timed out"}


class RouterChannel:
    """A router's channel, and a clock that the test moves."""

    def __init__(self, server: Playback, upstream: Upstream) -> None:
        self.now = 0.0
        self._backend = backend(CONTINUUM, server.url)
        deps = ChannelDeps(self._backend, upstream, lambda _: upstream, lambda: self.now, lambda: 0.0)
        channel = CONTINUUM.open_channel(deps)
        assert channel is not None
        self.channel: Channel = channel

    async def probe(self) -> Probe:
        return await self.channel.probe(self._backend, "key")


@asynccontextmanager
async def router(answers: dict[str, bytes]) -> AsyncIterator[tuple[Playback, RouterChannel]]:
    async with Playback(answers) as server:
        upstream = Upstream(parse_address(server.url))
        try:
            yield server, RouterChannel(server, upstream)
        finally:
            upstream.close()


async def test_its_list_of_models_is_the_probe() -> None:
    probed = await probe_answer(CONTINUUM, "/v1/models", LIST)
    assert isinstance(probed.fact, Answered)
    assert probed.models == ("m",)


@pytest.mark.parametrize(
    "said", ["Service is warming up", "No backend is ready: warm-up in progress", "Router is starting"]
)
async def test_while_it_warms_up_it_is_waited_for(said: str) -> None:
    reply = answer({"error": {"message": said, "type": "service_unavailable", "code": 503}}, 503)
    probed = await probe_answer(CONTINUUM, "/v1/models", reply)
    assert isinstance(probed.fact, Loading)
    assert "is warming up" in probed.fact.reason.text


async def test_without_a_healthy_backend_it_is_down_and_says_so() -> None:
    reply = answer({"error": {"message": "No healthy backends available"}}, 503)
    probed = await probe_answer(CONTINUUM, "/v1/models", reply)
    assert isinstance(probed.fact, Failed)
    assert "No healthy backends available" in probed.fact.reason.text


async def test_in_blocking_mode_it_wants_a_key() -> None:
    probed = await probe_answer(CONTINUUM, "/v1/models", answer({"error": {"message": "Unauthorized"}}, 401))
    assert isinstance(probed.fact, Refused)


async def test_the_health_of_its_own_backends_is_shown_where_the_key_allows() -> None:
    async with router({"/v1/models": LIST, ADMIN: behind(GPU1, GPU2)}) as (server, channel):
        probed = await channel.probe()
        assert isinstance(probed.fact, Answered)
        assert probed.models == ("m",)
        assert probed.about == {"Backends": "1 of 2 healthy (gpu2: timed out)"}
        assert all("authorization: Bearer key" in head for head in server.heads)


async def test_it_is_not_asked_for_them_at_every_probe() -> None:
    async with router({"/v1/models": LIST, ADMIN: behind(GPU1)}) as (server, channel):
        await channel.probe()
        channel.now = ADMIN_EVERY_S - 1
        assert (await channel.probe()).about is None
        channel.now = ADMIN_EVERY_S
        assert (await channel.probe()).about == {"Backends": "1 of 1 healthy"}
        assert server.asked.count(ADMIN) == 2


@pytest.mark.parametrize("refusal", [answer({"error": "no"}, 403), answer({}, 404), answer({"backends": 1})])
async def test_where_the_key_may_not_look_nothing_is_shown_and_the_log_is_spared(refusal: bytes) -> None:
    async with router({"/v1/models": LIST, ADMIN: refusal}) as (server, channel):
        probed = await channel.probe()
        assert isinstance(probed.fact, Answered)
        assert probed.about == {}
        channel.now = ADMIN_REFUSED_S - 1
        await channel.probe()
        assert server.asked.count(ADMIN) == 1


async def test_a_router_that_is_down_is_not_asked_for_more() -> None:
    async with router({"*": answer({}, 500)}) as (server, channel):
        assert isinstance((await channel.probe()).fact, Failed)
        assert server.asked == ["/v1/models"]


async def test_requests_go_to_the_router_itself() -> None:
    async with router({"/v1/models": LIST}) as (_, channel):
        assert await channel.channel.route("m", None) is None
        assert not channel.channel.renew("m", 401, b"")
        channel.channel.close()


def test_many_sick_backends_are_counted_and_hostile_names_made_harmless() -> None:
    sick = [{"url": f"http://user:secret@gpu{n}:8000/v1", "is_healthy": False} for n in range(5)]
    line = admin_lines(read_backends(behind(GPU1, *sick).split(b"\r\n\r\n", 1)[1]) or [])
    assert line == "1 of 6 healthy (gpu0:8000, gpu1:8000, gpu2:8000, and 2 more)"
    odd = read_backends(
        b'{"backends": [{"name": "a\\u001b[31mb", "status": "down", "error": "x\\ny"}, 7, {}]}'
    )
    assert odd is not None
    assert admin_lines(odd) == "0 of 2 healthy (ab: x y, ?)"


def test_words_for_health_are_understood_too() -> None:
    said = read_backends(b'[{"id": "a", "status": "healthy"}, {"id": "b", "health": "degraded"}]')
    assert said is not None
    assert [(each.name, each.is_healthy) for each in said] == [("a", True), ("b", False)]


def test_anthropics_faces_are_below_a_path_of_their_own() -> None:
    assert CONTINUUM.path("messages", "/v1/messages") == "/anthropic/v1/messages"
    assert CONTINUUM.path("chat/completions", "/v1/chat/completions") == "/v1/chat/completions"
    assert CONTINUUM.speaks("rerank")


async def test_it_is_not_looked_for_because_no_mark_of_it_is_certain() -> None:
    async with Playback({"*": LIST}) as server:
        assert await detect(CONTINUUM, server.url) is None
        assert server.asked == []
    assert CONTINUUM.usual_ports == ()


async def test_a_key_that_anybody_on_the_way_could_read_is_warned_of() -> None:
    async with Playback({"/v1/models": LIST}) as server:
        assert (await probe(CONTINUUM, server.url, "key")).warnings == ()


def test_adding_it_takes_an_address_that_may_be_a_socket() -> None:
    fields = {field.name: field for field in CONTINUUM.fields}
    assert [name for name, field in fields.items() if field.required] == ["url"]
    assert "unix://" in fields["url"].hint
