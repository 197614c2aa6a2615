"""The backend of this machine's own models: nothing is sent anywhere to know about it."""

import pytest

from meshlight.backends.base import ChannelDeps, ModelRoute, OnDemand, Probe
from meshlight.backends.kinds import KINDS
from meshlight.backends.this_machine import URL, ThisMachine, this_machine
from meshlight.domain.backend import Reason
from meshlight.domain.health import Answered, Failed
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream

ENDED = Reason("engine-ended", "It ended.")


class Local:
    """This machine's models, as their owner would answer."""

    def __init__(self) -> None:
        self.upstream = Upstream(parse_address("http://127.0.0.1:1"))
        self.asked: list[tuple[str, Demand]] = []
        self.running: dict[tuple[str, Demand], ModelRoute] = {}

    def probe(self) -> Probe:
        return Probe(fact=Answered(), models=("m",))

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        self.asked.append((model, demand))
        return ModelRoute(self.upstream, (), model)

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        return self.running.get((model, demand))

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        return ENDED if (model, upstream) == ("m", self.upstream) else None


def deps(local: Local | None) -> ChannelDeps:
    upstream = Upstream(parse_address(URL))
    return ChannelDeps(this_machine(), upstream, Upstream, lambda: 0.0, lambda: 0.0, local=local)


async def test_probes_and_requests_go_to_the_owner_of_the_engines() -> None:
    local = Local()
    channel = ThisMachine().open_channel(deps(local))
    assert channel is not None
    assert isinstance(channel, OnDemand)
    assert (await channel.probe(this_machine(), None)).models == ("m",)
    guests = Demand(is_guest=True)
    route = await channel.route_for("m", guests)
    assert await channel.why_lost("m", route) == ENDED
    assert await channel.route("m", None) == route
    assert local.asked == [("m", guests), ("m", Demand())]
    local.running["m", guests] = route
    assert channel.route_now("m", guests) is route
    assert channel.route_now("m", Demand()) is None


async def test_without_models_it_is_off() -> None:
    kind = ThisMachine()
    assert kind.open_channel(deps(None)) is None
    probe = await kind.probe(Upstream(parse_address(URL)), this_machine(), None)
    assert isinstance(probe.fact, Failed)
    assert "switched off" in probe.fact.reason.text


async def test_it_is_found_nowhere_and_asks_for_nothing() -> None:
    kind = KINDS["local"]
    assert await kind.detect(Upstream(parse_address(URL))) is None
    assert kind.fields == ()
    assert not kind.usual_ports


def test_it_waits_as_long_as_a_model_may_load_and_has_no_address() -> None:
    backend = this_machine()
    assert (backend.id, backend.ring, backend.source) == (LOCAL_ID, "machine", "own")
    assert backend.first_byte_s == 1_800
    assert not backend.is_offer
    assert not backend.is_metered
    assert backend.proxy_setting == "none"
    assert parse_address(backend.url).host.endswith(".invalid")


@pytest.mark.parametrize("operation", ["chat/completions", "embeddings", "rerank", "messages"])
def test_it_speaks_what_llama_server_speaks(operation: str) -> None:
    assert KINDS["local"].speaks(operation)  # type: ignore[arg-type]


def test_it_can_be_asked_to_load_and_unload_by_a_peer_too() -> None:
    assert ThisMachine.can_load
