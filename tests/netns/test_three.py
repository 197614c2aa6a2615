"""Three machines, all paired with each other: what each sees and gets, and what happens when one is in trouble."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio

from netns.engines import Engines, Wanted
from netns.namespaces import Lan
from netns.node_process import HELLO, Home, State
from stopwatch import Stopwatch

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.one_process,
    pytest.mark.timeout(240),  # each wait has a limit, and an interrupted test would leave its cable out
]
LAN_PORT = 6375
CROWD = 100
AT_ONCE_S = 2.0
"""What is told takes less; what has to be asked for takes up to five seconds."""


class Town:
    """Anna, Bo and Cleo, each with a model of her own and one that Bo and Cleo both have; Bo has a cloud, too."""

    def __init__(self, lan: Lan) -> None:
        self.anna, self.bo, self.cleo = (Home(machine) for machine in lan)
        self.engines: dict[str, Engines] = {}

    async def start(self) -> None:
        for home in self.homes:
            own = Wanted(name=f"{home.name}-own", models=(f"model-of-{home.name}",))
            wanted = [own]
            if home is not self.anna:
                slow = Wanted(name=f"{home.name}-slow", models=("shared",), kind="vllm", speed=15, length=60)
                wanted.append(slow)
            if home is self.bo:
                wanted.append(Wanted(name="cloud", models=("cloud-model",), cloud="openai"))
            self.engines[home.name] = await Engines.on(home.machine, *wanted)
        await asyncio.gather(*(home.start(self.engines[home.name].wanted) for home in self.homes))
        for one, other in ((self.anna, self.bo), (self.anna, self.cleo), (self.bo, self.cleo)):
            await one.pair(other)
        await self.settled()

    @property
    def homes(self) -> tuple[Home, Home, Home]:
        return self.anna, self.bo, self.cleo

    async def within(self, limit_s: float, home: Home, is_so: Callable[[State], object]) -> float:
        """Wait until this holds, and check that it took no longer; returns the seconds it took."""
        stopwatch = Stopwatch(*(each.process.pid for each in self.homes))
        await home.until(is_so)
        took_s = stopwatch.elapsed_s
        assert took_s < limit_s
        return took_s

    async def settled(self) -> None:
        """Wait until everybody sees the two others well."""
        for home in self.homes:
            others = [other.name for other in self.homes if other is not home]
            await home.until(
                lambda state, others=others: all(  # type: ignore[misc]
                    (found := state.backend(name)) and found["health"]["state"] == "healthy"
                    for name in others
                )
            )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scenario() -> AsyncIterator[Town]:
    async with Lan(["anna", "bo", "cleo"]) as lan:
        found = Town(lan)
        await found.start()
        yield found
        await asyncio.gather(*(home.stop() for home in found.homes))


async def test_each_model_is_listed_once_for_each_place_where_it_is(scenario: Town) -> None:
    state = await scenario.anna.state()
    places = {b["name"]: sorted(b["models"]) for b in state.mesh["backends"]}
    assert places == {
        "anna-own": ["model-of-anna"],
        "bo": ["model-of-bo", "shared"],
        "cleo": ["model-of-cleo", "shared"],
    }


async def test_a_request_takes_one_hop_and_no_circle(scenario: Town) -> None:
    answer = await scenario.anna.chat("model-of-cleo")
    assert answer.status_code == 200, answer.text
    (call,) = await scenario.engines["cleo"].calls()
    assert len(call.via.split(",")) == 2, "Anna's node and Cleo's"
    nodes = call.via.split(",")
    for home, via in ((scenario.anna, nodes[0]), (scenario.cleo, nodes[1]), (scenario.cleo, call.via)):
        answer = await home.http.post(
            "/v1/chat/completions",
            json={"model": "model-of-cleo", "messages": HELLO},
            headers={"x-meshlight-via": via},
        )
        assert answer.status_code == 508, answer.text
    assert len(await scenario.engines["cleo"].calls()) == 1


async def test_a_model_that_comes_or_goes_there_is_known_here_at_once(scenario: Town) -> None:
    gaps = []
    for models in (("model-of-bo", "fresh"), ("model-of-bo",)):
        await scenario.engines["bo"].serve(*models)
        is_fresh = "fresh" in models
        elsewhere = asyncio.create_task(scenario.anna.until(lambda s, f=is_fresh: ("fresh" in s.models) == f))  # type: ignore[misc]
        await scenario.bo.change("POST", "/refresh")
        await scenario.bo.until(lambda s, f=is_fresh: ("fresh" in s.models) == f)  # type: ignore[misc]
        stopwatch = Stopwatch(*(home.process.pid for home in scenario.homes))
        await elsewhere
        gaps.append(stopwatch.elapsed_s)
        assert (await scenario.anna.chat("fresh")).status_code == (200 if is_fresh else 404)
    print(f"\nknown there, then here after {[round(gap, 2) for gap in gaps]} s")
    assert max(gaps) < AT_ONCE_S


async def test_only_what_is_shared_is_there_for_others(scenario: Town) -> None:
    anna, bo = scenario.anna, scenario.bo
    for state in (await anna.state(), await scenario.cleo.state()):
        assert "cloud-model" not in state.models
    assert (await anna.chat("cloud-model")).status_code == 404
    await bo.until(lambda state: "cloud-model" in state.models)
    await bo.change("PATCH", f"/peers/{anna.id}", share_rings=["machine", "cloud"])
    await scenario.within(AT_ONCE_S, anna, lambda state: "cloud-model" in state.models)
    answer = await anna.chat("cloud-model")
    assert answer.status_code == 200, answer.text
    assert "cloud-model" not in (await scenario.cleo.state()).models
    assert (await scenario.cleo.chat("cloud-model")).status_code == 404
    await bo.change("PATCH", f"/peers/{anna.id}", share_rings=["machine"], share_models=["shared"])
    await scenario.within(
        AT_ONCE_S, anna, lambda state: {"cloud-model", "model-of-bo"}.isdisjoint(state.models)
    )
    assert (await anna.chat("model-of-bo")).status_code == 404
    assert (await anna.chat("shared", max_tokens=1)).status_code == 200
    await bo.change("PATCH", f"/peers/{anna.id}", share_models=None)
    await scenario.within(AT_ONCE_S, anna, lambda state: "model-of-bo" in state.models)


async def test_a_peer_has_no_more_requests_at_once_than_it_may(scenario: Town) -> None:
    anna, bo = scenario.anna, scenario.bo
    await bo.change("PATCH", f"/peers/{anna.id}", max_in_flight=1)
    async with anna.http.stream("POST", "/v1/chat/completions", json=_slow("bo/shared")) as running:
        assert running.status_code == 200
        await bo.until(lambda state: (state.peer(anna.id) or {}).get("in_flight") == 1)
        refused = await anna.chat("bo/shared")
        assert refused.status_code == 429, refused.text
        assert "no more may run at once" in refused.text
    await bo.change("PATCH", f"/peers/{anna.id}", max_in_flight=CROWD)
    await scenario.settled()
    assert (await anna.chat("model-of-bo")).status_code == 200


async def test_a_peer_whose_owner_pauses_it_is_told_so_and_others_are_not(scenario: Town) -> None:
    anna, bo = scenario.anna, scenario.bo
    await bo.change("PATCH", f"/peers/{anna.id}", paused=True)
    await scenario.within(AT_ONCE_S, anna, lambda state: "model-of-bo" not in state.models)
    shown = (await anna.state()).backend("bo")
    assert shown is not None
    assert any("paused" in warning for warning in shown["warnings"])
    assert (await scenario.cleo.chat("model-of-bo")).status_code == 200
    await bo.change("PATCH", f"/peers/{anna.id}", paused=False)
    await scenario.within(AT_ONCE_S, anna, lambda state: "model-of-bo" in state.models)


async def test_a_peer_that_calls_itself_otherwise_is_the_same_peer(scenario: Town) -> None:
    await scenario.bo.change("PATCH", "/settings", name="Bo's Büro")
    await scenario.anna.until(lambda state: (state.saw(scenario.bo.id) or {}).get("name") == "Bo's Büro")
    state = await scenario.anna.state()
    assert (state.peer(scenario.bo.id) or {}).get("name") == "bo", "what Anna calls him is hers to change"
    assert (await scenario.anna.chat("model-of-bo")).status_code == 200
    await scenario.bo.change("PATCH", "/settings", name="bo")


async def test_who_is_reached_but_does_not_reach_back_is_warned_of(scenario: Town) -> None:
    anna, bo = scenario.anna, scenario.bo
    rule = ("to", anna.machine.address, "ipproto", "tcp", "dport", str(LAN_PORT), "blackhole")
    rule6 = ("to", anna.machine.address6, *rule[2:])
    bo.machine.ip("rule", "add", *rule)
    bo.machine.ip("-6", "rule", "add", *rule6)
    # Connections that are open already would outlive a firewall's new rule.
    await anna.kill()
    await anna.start()
    took = await anna.until(lambda state: _warns(state.backend("bo"), "can't reach this machine"))
    assert (await anna.chat("model-of-bo")).status_code == 200
    bo.machine.ip("rule", "del", *rule)
    bo.machine.ip("-6", "rule", "del", *rule6)
    await scenario.settled()
    healed = await anna.until(lambda state: not _warns(state.backend("bo"), "can't reach"))
    print(f"\nwarned of one-way reach after {took:.1f} s, no more after {healed:.1f} s")


async def test_a_cable_that_is_out_is_noticed_and_another_address_afterwards_is_followed(
    scenario: Town,
) -> None:
    anna, bo = scenario.anna, scenario.bo
    await bo.machine.link(up=False)
    took = await scenario.within(20, anna, lambda state: _is_down(state.backend("bo")))
    shown = (await anna.state()).backend("bo")
    assert shown is not None
    assert bo.machine.address in shown["health"]["text"]
    assert shown["health"]["fix"]
    assert (await anna.chat("shared", max_tokens=1)).status_code == 200, "Cleo answers"
    await bo.machine.readdress(77)
    began = time.monotonic()
    for home in (anna, scenario.cleo):
        await home.until(lambda state: bo.machine.address in state.backend("bo")["url"])  # type: ignore[index]
    await scenario.settled()
    print(
        f"\ncable out: down after {took:.1f} s ({shown['health']['text']}); "
        f"followed to another address {time.monotonic() - began:.1f} s after it was in again"
    )
    assert (await anna.chat("model-of-bo")).status_code == 200


async def test_when_one_of_two_dies_in_the_middle_of_a_hundred_streams_nothing_hangs(scenario: Town) -> None:
    anna, bo, cleo = scenario.homes
    for home in (bo, cleo):
        await home.change("PATCH", f"/peers/{anna.id}", max_in_flight=CROWD)
    begun = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(_follow(anna, begun)) for _ in range(CROWD // 2)]
        for _ in range(CROWD // 2):
            await begun.acquire()
        late = [group.create_task(_follow(anna, begun)) for _ in range(CROWD // 2)]
        await bo.kill()
    took = await scenario.within(10, anna, lambda state: _is_down(state.backend("bo")))
    endings = Counter(task.result() for task in (*streams, *late))
    print(f"\n{dict(endings)}; seen as down {took:.1f} s later")
    of_bo, of_cleo = f"peer-{bo.id[:8]}", f"peer-{cleo.id[:8]}"
    assert set(endings) <= {
        (of_bo, "error"),
        (of_cleo, "done"),
        (of_bo, "done"),
    }  # some may end before he dies
    assert endings[of_bo, "error"] >= 10
    assert endings[of_cleo, "done"] >= CROWD // 2
    shown = (await anna.state()).backend("bo")
    assert shown is not None
    assert shown["health"]["text"]
    assert shown["health"]["fix"]
    assert (await anna.chat("shared", max_tokens=1)).headers["x-meshlight-backend"] == of_cleo


async def test_a_peer_that_starts_again_is_used_again_without_a_word(scenario: Town) -> None:
    await scenario.bo.start()
    began = time.monotonic()
    await scenario.settled()
    print(f"\nback {time.monotonic() - began:.1f} s after its start")
    assert (await scenario.anna.chat("model-of-bo")).status_code == 200
    assert (await scenario.bo.chat("model-of-anna")).status_code == 200


def _slow(model: str) -> dict[str, object]:
    return {"model": model, "stream": True, "messages": HELLO}


def _is_down(backend: dict[str, object] | None) -> bool:
    return backend is not None and backend["health"]["state"] == "unhealthy"  # type: ignore[index]


def _warns(backend: dict[str, object] | None, words: str) -> bool:
    return backend is not None and any(words in warning for warning in backend["warnings"])  # type: ignore[attr-defined]


async def _follow(home: Home, begun: asyncio.Semaphore) -> tuple[str, str]:
    """Read one stream to its end; returns whose it was, and how it ended."""
    async with home.http.stream("POST", "/v1/chat/completions", json=_slow("shared"), timeout=60) as answer:
        if answer.status_code != 200:
            return str(answer.status_code), (await answer.aread()).decode()
        whose = answer.headers["x-meshlight-backend"]
        last = ""
        try:
            async for line in answer.aiter_lines():
                if line:
                    if not last:
                        begun.release()
                    last = line
        except httpx.HTTPError as error:
            return whose, type(error).__name__
    return whose, "done" if last == "data: [DONE]" else "error" if '"error"' in last else last
