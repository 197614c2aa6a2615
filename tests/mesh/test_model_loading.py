"""Loading and unloading by backend: what is refused before anybody is asked, and this machine's own models."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from gateway.fake_local_models import QWEN, FakeLocalModels
from gateway.rig import Rig
from meshlight.backends.base import Probe
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import Conflict, NotFound
from meshlight.domain.health import Answered
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.mesh.model_loading import ModelLoading
from meshlight.simulator.engine import SimulatedEngine

ID = QWEN.id
BACKEND = Backend(id=LOCAL_ID, name="This machine", kind="local", ring="machine", url="http://127.0.0.1:9")


class Mesh:
    """This machine with a model, and an engine `a` that serves `alpha` and, as `quick`, `beta`."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self.rig = Rig()
        self.local = FakeLocalModels(QWEN)
        self.loading = self.with_local(self.local)
        self.rig.registry.put(BACKEND)
        self.rig.registry.record_probe(LOCAL_ID, self.local.probe())
        self.rig.registry.put(Backend(id="a", name="Attic", kind="ollama", ring="machine", url=engine.url))
        self.say(models=("alpha", "beta"), names={"quick": "beta"}, can_load=True)

    def with_local(self, local: FakeLocalModels | None) -> ModelLoading:
        return ModelLoading(self.rig.registry, self.rig.links, self.rig.prober, self.rig.traffic, local)

    def say(self, **fields: object) -> None:
        probe = replace(Probe(fact=Answered(0.01)), **fields)
        self.rig.registry.record_probe("a", probe)


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("ollama", "a", ("first", "alpha", "beta")) as engine:
        yield engine


@pytest.fixture
async def mesh(engine: SimulatedEngine) -> AsyncIterator[Mesh]:
    mesh = Mesh(engine)
    yield mesh
    mesh.rig.links.close()


async def test_an_engine_is_asked_by_its_own_name_of_the_model_and_probed_soon(
    mesh: Mesh, engine: SimulatedEngine
) -> None:
    await mesh.loading.load("a", "quick")
    assert engine.facts.loaded == {"first", "beta"}
    await mesh.loading.unload("a", "beta")
    assert engine.facts.loaded == {"first"}
    assert mesh.rig.prober.probed_soon == ["a", "a"]
    assert [call.body for call in engine.calls("/api/")] == [
        b'{"model":"beta","keep_alive":-1}',
        b'{"model":"beta","keep_alive":0}',
    ]


async def test_a_model_that_can_not_be_used_now_may_be_loaded(mesh: Mesh, engine: SimulatedEngine) -> None:
    mesh.say(models=("beta",), unusable={"alpha": Reason("failed", "It has failed.")})
    await mesh.loading.load("a", "alpha")
    assert "alpha" in engine.facts.loaded


async def test_nobody_is_asked_for_what_is_not_there(mesh: Mesh, engine: SimulatedEngine) -> None:
    for backend, model in (("nobody", "alpha"), ("a", "gamma"), ("a", ""), (LOCAL_ID, "gamma")):
        with pytest.raises(NotFound):
            await mesh.loading.load(backend, model)
    mesh.say(can_load=False)
    with pytest.raises(Conflict, match="Attic can't be asked to load or unload models"):
        await mesh.loading.load("a", "alpha")
    mesh.rig.registry.put(replace(mesh.rig.registry.node("a").backend, enabled=False))
    with pytest.raises(Conflict, match="switched off"):
        await mesh.loading.unload("a", "alpha")
    assert engine.calls("/api/") == []


async def test_what_answers_is_not_unloaded(mesh: Mesh, engine: SimulatedEngine) -> None:
    tickets = [mesh.rig.traffic.reserve("a", "beta") for _ in range(2)]
    with pytest.raises(Conflict, match="beta answers 2 requests now"):
        await mesh.loading.unload("a", "quick")
    for ticket in tickets:
        ticket.close("ok")
    await mesh.loading.unload("a", "quick")
    assert len(engine.calls("/api/")) == 1


async def test_this_machines_own_models_are_loaded_without_a_request(mesh: Mesh) -> None:
    await mesh.loading.load(LOCAL_ID, ID)
    await mesh.loading.unload(LOCAL_ID, ID)
    assert mesh.local.calls == [("load", ID, False), ("unload", ID, False)]


async def test_for_a_guest_they_are_loaded_as_its_requests_load_them(mesh: Mesh) -> None:
    await mesh.loading.load(LOCAL_ID, ID, is_guest=True)
    assert mesh.local.calls == [("route", ID, Demand(is_guest=True))]
    mesh.local.models[ID] = replace(QWEN, state="ready", keep=True)
    with pytest.raises(Conflict, match="keeps"):
        await mesh.loading.unload(LOCAL_ID, ID, is_guest=True)
    await mesh.loading.unload(LOCAL_ID, ID)
    mesh.local.unfit = Reason("no-memory", "It needs 5 GB.", "Unload another.")
    with pytest.raises(Conflict, match="It needs 5 GB"):
        await mesh.loading.load(LOCAL_ID, ID, is_guest=True)


async def test_switched_off_they_are_refused_in_words(mesh: Mesh) -> None:
    with pytest.raises(Conflict, match="own models are switched off"):
        await mesh.with_local(None).load(LOCAL_ID, ID)
