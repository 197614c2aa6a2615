"""The fault switch over HTTP."""

from collections.abc import AsyncIterator

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.faults import FaultKind


@pytest.fixture
async def engine() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("vllm", "Rosa") as engine:
        yield engine


async def test_a_fault_is_switched_on_looked_at_and_switched_off(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    switch = engine.control_url + "/fault"
    on = await http.post(
        switch, content=b'{"kind": "status", "status": 429, "retry_after_s": 3, "count": null}'
    )
    assert on.json()["fault"]["status"] == 429
    assert (await http.get(engine.url + "/health")).status_code == 429
    state = (await http.get(switch)).json()
    assert state["hits"] == 1
    assert (state["engine"], state["dialect"], state["url"]) == ("Rosa", "vllm", engine.url)
    assert (await http.delete(switch)).json()["fault"] is None
    assert (await http.get(engine.url + "/health")).status_code == 200


@pytest.mark.parametrize("kind", ["refuse", "hang-headers", "reset-headers", "garbage"])
async def test_no_fault_touches_the_switch(
    engine: SimulatedEngine, http: httpx.AsyncClient, kind: FaultKind
) -> None:
    switch = engine.control_url + "/fault"
    assert (await http.post(switch, json={"kind": kind})).status_code == 200
    assert (await http.get(switch)).json()["fault"]["kind"] == kind
    await http.delete(switch)
    assert (await http.get(engine.url + "/health")).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"kind":"nope"}', b'{"kind":"html","x":1}', b'{"kind":"refuse","count":1}']
)
async def test_a_fault_there_is_not_is_refused_with_the_reason(
    engine: SimulatedEngine, http: httpx.AsyncClient, body: bytes
) -> None:
    reply = await http.post(engine.control_url + "/fault", content=body)
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("no such fault: ")


async def test_web_pages_wrong_paths_and_wrong_methods_are_refused(
    engine: SimulatedEngine, http: httpx.AsyncClient
) -> None:
    switch = engine.control_url + "/fault"
    page = {"origin": "https://evil.example"}
    assert (await http.post(switch, json={"kind": "refuse"}, headers=page)).status_code == 403
    assert (await http.get(engine.control_url + "/")).status_code == 404
    assert (await http.put(switch)).status_code == 405
    assert engine.switch.fault is None


async def test_an_engine_may_have_no_switch() -> None:
    async with SimulatedEngine("vllm", control_port=None) as engine:
        with pytest.raises(RuntimeError, match="without a fault switch"):
            assert engine.control_url
