"""A peer loads and unloads what it may use, if its owner lets it: never by force, and nothing else by this way."""

from typing import Any

import pytest
from msgspec.structs import replace

from gateway.fake_local_models import QWEN, FakeLocalModels
from gateway.local_gateway import LocalGateway
from meshlight.backends.base import Probe
from meshlight.domain.backend import Backend, ModelDetail, Reason
from meshlight.domain.errors import BadRequest, Conflict, NotFound, OriginForbidden
from meshlight.domain.health import Answered
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.domain.peers import Peer
from meshlight.gateway.lan.peer_models import PeerModels, read_named

ID = QWEN.id
ANNA = Peer(id="a" * 64, name="Anna", url="", may_manage=True)
SECRET = "canary-secret-model"


class Machine:
    """A machine with a model of its own, asked by Anna."""

    def __init__(self, *more: Any) -> None:
        self.local = FakeLocalModels(QWEN, *more)
        self.gateway = LocalGateway(self.local)
        rig = self.gateway.rig
        self.registry, self.traffic = rig.registry, rig.traffic
        self.models = PeerModels(rig.registry, self.gateway.loading, rig.traffic)

    async def refused(self, verb: str, name: str = ID, peer: Peer = ANNA) -> Exception:
        with pytest.raises((OriginForbidden, NotFound, Conflict)) as caught:
            await getattr(self.models, verb)(peer, name)
        assert SECRET not in caught.value.title + caught.value.hint
        return caught.value


async def test_a_model_is_loaded_as_a_guests_and_unloaded_without_force() -> None:
    machine = Machine()
    await machine.models.load(ANNA, ID)
    assert machine.local.models[ID].state == "ready"
    await machine.models.load(ANNA, ID)  # it is loaded already
    await machine.models.unload(ANNA, ID)
    assert machine.local.calls == [("route", ID, Demand(is_guest=True)), ("unload", ID, False)]
    assert machine.local.models[ID].state == "on-disk"


async def test_without_the_term_nothing_is_done_and_nothing_is_told_of_the_model() -> None:
    machine = Machine()
    peer = replace(ANNA, may_manage=False)
    for verb in ("load", "unload"):
        for name in (ID, "nobody"):
            assert isinstance(await machine.refused(verb, name, peer), OriginForbidden)
    assert machine.local.calls == []


@pytest.mark.parametrize("verb", ["load", "unload"])
async def test_what_a_peer_may_not_use_is_not_there(verb: str) -> None:
    machine = Machine(replace(QWEN, id=SECRET, hidden=True), replace(QWEN, id=f"{SECRET}-2"))
    only = replace(ANNA, share_models=("something",))
    elsewhere = replace(ANNA, share_rings=("lan",))
    for peer, name in (
        (only, ID),
        (elsewhere, ID),
        (ANNA, SECRET),
        (replace(ANNA, share_models=(ID,)), f"{SECRET}-2"),
        (ANNA, f"{LOCAL_ID}/{ID}"),
        (ANNA, "/models/qwen.gguf"),
        (ANNA, ""),
    ):
        error = await machine.refused(verb, name, peer)
        assert isinstance(error, NotFound), name
    assert machine.local.calls == []


async def test_a_model_that_somebody_uses_is_not_unloaded() -> None:
    machine = Machine()
    await machine.models.load(ANNA, ID)
    ticket = machine.traffic.reserve(LOCAL_ID, ID)
    assert "Somebody uses it" in str(await machine.refused("unload"))
    ticket.close("ok")
    machine.local.busy.add(ID)
    assert isinstance(await machine.refused("unload"), Conflict)
    assert machine.local.models[ID].state == "ready"


async def test_a_model_that_its_owner_keeps_stays() -> None:
    machine = Machine()
    machine.local.models[ID] = replace(QWEN, state="ready", keep=True)
    machine.gateway.probe()
    assert "keeps it" in str(await machine.refused("unload"))
    assert machine.local.calls == []


async def test_why_there_is_no_room_is_for_the_owner_alone() -> None:
    machine = Machine()
    machine.local.unfit = Reason("no-memory", f"{SECRET} takes 9 GB.", f"Unload {SECRET}.")
    assert "there may be no room" in str(await machine.refused("load"))


async def test_an_engine_that_can_not_be_asked_says_so_without_its_name() -> None:
    machine = Machine()
    backend = Backend(id=SECRET, name=SECRET, kind="vllm", ring="machine", url="http://127.0.0.1:9")
    machine.registry.put(backend)
    probe = Probe(fact=Answered(0.0), models=("other",), details={"other": ModelDetail()})
    machine.registry.record_probe(SECRET, probe)
    assert "can't be asked" in str(await machine.refused("load", "other"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"model":5}',
        b'{"model":"m","force":true}',
        b'{"model":"m","path":"/etc/passwd"}',
        b'{"model":"m","args":["--host","0.0.0.0"]}',
        b'{"model":"m","name":"owner/repo"}',
        b'{"model":"m","wait":true}',
        b'{"model":"m"} x',
        b"\xff",
        b"[" * 4_000,
    ],
)
def test_a_body_names_a_model_and_nothing_else(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read_named(body)
    assert read_named(b'{"model":"m"}') == "m"
