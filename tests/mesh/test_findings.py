"""What is gathered for the findings: it is bounded, forgets what is old, and costs nothing while all is well."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import Struct

from fake_clock import Clock, FakeMesh, backend, read
from meshlight.backends.base import Probe
from meshlight.backends.engine_clients import Clients
from meshlight.backends.this_machine import this_machine
from meshlight.domain.backend import Backend, ModelDetail
from meshlight.domain.findings import WINDOW_S, Disk, Finding
from meshlight.domain.health import Answered
from meshlight.mesh.findings import AT_REST, EVERY_S, LOADS_MAX, ROUTES_MAX, STEP_S, Findings, MachineLook

LONG = b'{"model": "qwen", "messages": "' + b"word " * 10_000 + b'"}'
"""About 12,500 tokens."""


class Seen(Struct):
    backend: str
    model: str
    since: float


class Watched:
    """A mesh with one Ollama, and its findings."""

    def __init__(self, machine: MachineLook | None = None) -> None:
        self.mesh = FakeMesh()
        self.slow: list[Seen] = []
        self.changes = 0
        self.findings = Findings(
            self.mesh.registry,
            self.mesh.traffic,
            self.clock,
            lambda: 0.0,
            self.clock.later,
            slow=lambda: self.slow,
            machine=machine,
            on_change=self._on_change,
        )
        self.mesh.registry.put(backend("study", kind="ollama"))
        self.memory(qwen=False, llama=False)

    @property
    def clock(self) -> Clock:
        return self.mesh.clock

    def memory(self, **loaded: bool) -> None:
        details = {model: ModelDetail(loaded=here, context=4_096) for model, here in loaded.items()}
        self.mesh.registry.record_probe(
            "study", Probe(fact=Answered(0.001), models=tuple(loaded), details=details)
        )

    def serve(self, times: int, model: str = "qwen") -> None:
        for _ in range(times):
            self.mesh.traffic.reserve("study", model).close("ok")

    async def found(self) -> tuple[Finding, ...]:
        return await self.findings.now()

    async def one(self) -> Finding:
        (finding,) = await self.found()
        return finding

    def _on_change(self) -> None:
        self.changes += 1


async def test_failures_are_a_share_of_the_requests_of_the_last_ten_minutes() -> None:
    watched = Watched()
    watched.serve(100)
    assert await watched.found() == ()
    watched.clock.pass_time(601)
    watched.serve(20)
    for _ in range(5):
        watched.findings.failed("study", "qwen")
    assert (await watched.one()).evidence.startswith("5 of 20 requests for qwen failed at study")
    watched.clock.pass_time(601)
    assert await watched.found() == ()
    assert watched.changes == 2


async def test_a_flood_of_failures_is_counted_in_full() -> None:
    watched = Watched()
    watched.serve(5_000)
    for _ in range(4_000):
        watched.findings.failed("study", "qwen")
    assert (await watched.one()).evidence.startswith("4,000 of 5,000 requests")


async def test_requests_are_counted_also_after_their_traffic_was_published() -> None:
    watched = Watched()
    watched.serve(7)
    watched.mesh.traffic.drain()
    watched.serve(3)
    for _ in range(5):
        watched.findings.failed("study", "qwen")
    assert (await watched.one()).evidence.startswith("5 of 10 requests")


async def test_clients_that_leave_soon_did_not_give_up() -> None:
    watched = Watched()
    for _ in range(9):
        watched.findings.left("study", "qwen", 4.9)
    assert await watched.found() == ()
    for _ in range(5):
        watched.findings.left("", "qwen", 5.0)
    assert (await watched.one()).kind == "giving-up"


async def test_a_prompt_that_was_counted_far_too_small_at_the_size_of_the_context_was_cut() -> None:
    watched = Watched()
    for counted in (3_900, 4_095):
        watched.findings.prompt("study", "qwen", LONG, counted)
    finding = await watched.one()
    assert finding.kind == "prompt-cut"
    assert "of about 12,508 tokens sent it read 4,095." in finding.evidence
    watched.clock.pass_time(601)
    assert await watched.found() == ()


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        (LONG, 12_000),
        (LONG, 2_000),  # far below its context: it counted something else
        (LONG, 4_097),
        (LONG, 0),
        (LONG[:4_000], 200),
        (LONG + b";base64,", 4_095),
    ],
)
async def test_other_counts_are_no_cut_prompts(body: bytes, counted: int) -> None:
    watched = Watched()
    for _ in range(5):
        watched.findings.prompt("study", "qwen", body, counted)
        watched.findings.prompt("gone", "qwen", body, counted)
        watched.findings.prompt("study", "unknown", body, counted)
    assert await watched.found() == ()


async def test_loads_are_learned_from_what_the_engine_tells_of_its_memory() -> None:
    watched = Watched()
    for _ in range(3):
        watched.clock.pass_time(60)
        watched.memory(qwen=True, llama=False)
        watched.clock.pass_time(60)
        watched.memory(qwen=False, llama=True)
    finding = await watched.one()
    assert finding.evidence == "study has loaded qwen 3 times in the last 15 min, in turn with llama."


async def test_what_is_in_memory_at_the_first_look_was_not_loaded_then() -> None:
    watched = Watched()
    for number in range(4):
        watched.mesh.registry.remove("study")
        watched.mesh.registry.put(backend("study", kind="ollama"))
        watched.memory(qwen=True)
        assert await watched.found() == (), number


async def test_a_model_in_memory_that_nobody_uses_is_found_while_another_one_waits() -> None:
    watched = Watched()
    watched.memory(qwen=True, llama=False)
    watched.clock.pass_time(601)
    ticket = watched.mesh.traffic.reserve("study", "llama")
    assert await watched.found() == ()
    watched.clock.pass_time(30)
    assert (await watched.one()).command == "ollama stop qwen"
    ticket.close("ok")
    assert await watched.found() == ()


async def test_demand_is_told_while_some_wait_at_each_look() -> None:
    watched = Watched()
    watched.mesh.traffic.wait("qwen", 3)
    assert await watched.found() == ()
    watched.clock.pass_time(120)
    assert (await watched.one()).kind == "demand"
    watched.mesh.traffic.wait("qwen", 0)
    assert await watched.found() == ()
    watched.mesh.traffic.wait("qwen", 3)
    assert await watched.found() == ()


async def test_requests_beyond_the_slots_of_an_engine_wait_too_where_there_is_no_queue() -> None:
    watched = Watched()
    watched.mesh.registry.put(backend("study", kind="ollama", slots=2))
    watched.memory(qwen=True)
    for _ in range(5):
        watched.mesh.traffic.reserve("study", "qwen")
    assert await watched.found() == ()
    watched.clock.pass_time(120)
    assert (await watched.one()).evidence.startswith("3 requests wait for qwen")


async def test_slow_routes_are_taken_from_whoever_learns_speeds() -> None:
    watched = Watched()
    watched.slow = [Seen("study", "qwen", watched.clock() - 300)]
    assert (await watched.one()).kind == "slow"


class Machine:
    """What this machine would show."""

    def __init__(self) -> None:
        self.asked: list[Mapping[str, int]] = []

    def clients(self, ports: Mapping[str, int]) -> Mapping[str, Clients]:
        self.asked.append(ports)
        return {"study": Clients(2, ("app",))}

    def disks(self, backends: list[Backend]) -> Sequence[Disk]:
        return [Disk(backend=one.id, path="/models", free=1, total=10**12) for one in backends]


async def test_this_machine_is_looked_at_for_its_own_engines_alone() -> None:
    machine = Machine()
    watched = Watched(MachineLook(clients=machine.clients, disks=machine.disks))
    watched.mesh.registry.put(backend("far", kind="ollama", ring="lan", url="http://192.168.1.9:11434"))
    watched.mesh.registry.put(backend("off", kind="ollama", enabled=False))
    kinds = [[finding.kind for finding in await watched.found()] for _ in range(3)]
    assert kinds == [["disk"], ["disk"], ["bypass", "disk"]]
    assert {frozenset(ports) for ports in machine.asked} == {frozenset({"study"})}


async def test_the_disk_of_this_machines_own_models_is_looked_at_without_an_engine() -> None:
    machine = Machine()
    watched = Watched(MachineLook(clients=machine.clients, disks=machine.disks))
    watched.mesh.registry.remove("study")
    assert await watched.found() == ()
    watched.mesh.registry.put(this_machine())
    assert [finding.kind for finding in await watched.found()] == ["disk"]
    assert machine.asked == [], "nobody else can be connected to it"


async def test_a_look_that_fails_leaves_the_rest() -> None:
    def broken(_: Any) -> Any:
        raise OSError("gone")

    watched = Watched(MachineLook(clients=broken, disks=broken))
    watched.slow = [Seen("study", "qwen", 0.0)]
    assert (await watched.one()).kind == "slow"


async def test_at_rest_this_machine_is_looked_at_seldom() -> None:
    machine = Machine()
    watched = Watched(MachineLook(clients=machine.clients, disks=machine.disks))

    async def looks(times: int) -> int:
        before = len(machine.asked)
        for _ in range(times):
            watched.clock.pass_time(EVERY_S)
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})
        return len(machine.asked) - before

    watched.findings.start()
    assert await looks(1) == 1, "there is a new backend"
    assert await looks(2 * AT_REST) == 2
    watched.mesh.traffic.start()
    assert await looks(3) == 3
    watched.mesh.traffic.end("ok")
    assert await looks(AT_REST - 1) == 0
    await watched.found()
    assert await looks(AT_REST - 1) == 0
    assert {finding.kind for finding in watched.findings.found} == {"bypass", "disk"}
    watched.mesh.registry.remove("study")
    await looks(1)
    assert watched.findings.found == (), "nothing is told of one that is removed"
    await watched.findings.close()


async def test_it_looks_every_half_minute_until_it_is_closed() -> None:
    watched = Watched()
    watched.findings.start()
    watched.slow = [Seen("study", "qwen", 0.0)]
    watched.clock.pass_time(EVERY_S)
    await asyncio.sleep(0)
    assert watched.findings.suffering.startswith("qwen on study")
    assert watched.clock.armed == [EVERY_S]
    await watched.findings.close()
    assert watched.clock.armed == []


async def test_what_is_kept_is_bounded_and_a_removed_backend_is_forgotten() -> None:
    watched = Watched()
    findings = watched.findings
    for number in range(ROUTES_MAX + 50):
        findings.failed("gone", f"m{number}")
    for _ in range(LOADS_MAX + 50):
        findings.loaded("study", "m")
    for _ in range(1_000):
        watched.clock.pass_time(1)
        findings.failed("study", "m")
    assert len(findings._routes) == ROUTES_MAX
    assert len(findings._routes["study", "m"].loads) == LOADS_MAX
    assert len(findings._routes["study", "m"].failed._steps) <= WINDOW_S / STEP_S + 1
    for turn in range(60):
        watched.clock.pass_time(1 if turn % 2 else EVERY_S)
        watched.serve(1)
        await watched.found()
    assert len(findings._routes["study", "qwen"].marks) < 50
    watched.mesh.registry.remove("study")
    assert {where for where, _ in findings._routes} == {"gone"}


async def test_the_light_turns_amber_with_the_reason_and_green_again() -> None:
    mesh = FakeMesh()
    slow: list[Seen] = []
    findings = Findings(
        mesh.registry,
        mesh.traffic,
        mesh.clock,
        lambda: 0.0,
        mesh.clock.later,
        slow=lambda: slow,
        on_change=mesh.publisher.relight,
    )
    mesh.publisher._findings = lambda: (len(findings.found), findings.suffering)
    mesh.registry.put(backend("study"))
    mesh.registry.record_fact("study", Answered(0.001))
    reader = mesh.hub.subscribe(None)
    await read(reader)
    slow.append(Seen("study", "qwen", 0.0))
    await findings.now()
    ((_, name, told),) = await read(reader)
    view = mesh.publisher.view()
    assert (name, told["light"], told["backends"], view.light, view.findings) == (
        "health",
        "amber",
        [],
        "amber",
        1,
    )
    assert told["light_reason"] == view.light_reason == findings.suffering
    slow.clear()
    await findings.now()
    ((_, _, told),) = await read(reader)
    assert (told["light"], mesh.publisher.view().findings) == ("green", 0)
