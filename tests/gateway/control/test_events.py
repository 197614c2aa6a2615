"""The event stream over real HTTP: first the whole mesh, then every change, numbered; nobody can hold it up."""

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Self

import httpx
import pytest

from fake_clock import backend
from gateway.stream import Stream, Told, opened
from meshlight.domain.health import Answered
from meshlight.gateway.control.events import READERS_MAX
from meshlight.mesh.event_hub import KEPT_BYTES, Subscription
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from stopwatch import Stopwatch


def numbers(reply: list[Told]) -> list[int]:
    return [event.id for event in reply]


async def test_first_comes_the_whole_mesh_and_then_every_change_without_a_gap(
    node: Node, engine: SimulatedEngine
) -> None:
    async with opened(node) as stream, SimulatedEngine("vllm", models=["qwen"]) as other:
        assert stream.answer.headers["content-type"] == "text/event-stream"
        first = await stream.next()
        assert first is not None
        assert (first.name, first.data["seq"]) == ("snapshot", first.id)
        assert [b["id"] for b in first.data["backends"]] == ["study"]

        await node.chat()
        await node.http.post("/mesh/backends", json={"kind": "vllm", "url": other.url, "name": "box"})
        await node.http.patch("/mesh/backends/box", json={"name": "Attic"})
        await engine.fault("refuse")
        await node.refresh()
        await node.refresh()
        await node.http.delete("/mesh/backends/box")
        reply = await stream.until(lambda event: "box" in event.data.get("removed", ()))

        assert numbers(reply) == list(range(first.id + 1, first.id + 1 + len(reply)))
        assert all(event.data["seq"] == event.id for event in reply)
        received = {event.name for event in reply}
        assert received - {"peers"} == {"traffic", "topology", "health", "incident", "refresh"}
        [fell] = [
            event.data for event in reply if event.name == "incident" and event.data["backend"] == "study"
        ]
        assert (fell["from"], fell["to"], fell["reason"]) == ("healthy", "unhealthy", "refused")
        names = [b["name"] for event in reply if event.name == "topology" for b in event.data["backends"]]
        assert names[-1] == "Attic"
        refreshes = [event.data for event in reply if event.name == "refresh"]
        steps = [r["done"] for r in refreshes if r["id"] == refreshes[-1]["id"]]
        assert (steps[0], steps[-1]) == (0, 2)


async def test_traffic_is_told_per_route_and_adds_up(node: Node) -> None:
    async with opened(node) as stream:
        await stream.next()
        await asyncio.gather(*(node.chat() for _ in range(5)))
        total = await stream.until(
            lambda event: event.name == "traffic" and event.data["router"]["successful"] == 5
        )
        routes = [r for event in total if event.name == "traffic" for r in event.data["routes"]]
        assert {(r["backend"], r["model"]) for r in routes} == {("study", "llama-3.2-3b")}
        assert (sum(r["started"] for r in routes), sum(r["ok"] for r in routes)) == (5, 5)
        assert routes[-1]["in_flight"] == 0


async def test_a_reader_that_comes_back_gets_what_it_missed_and_nothing_twice(node: Node) -> None:
    async with opened(node) as other:
        await other.next()
        async with opened(node) as stream:
            first = await stream.next()
            assert first is not None
        for number in range(5):
            await node.http.patch("/mesh/backends/study", json={"priority": number})
        expected = numbers(await other.until(lambda event: event.id == node.service._hub.seq))
        async with opened(node, last=first.id) as again:
            got = [await again.next() for _ in expected]
            assert [event and event.id for event in got] == list(range(first.id + 1, first.id + 1 + len(got)))
            assert all(event is not None and event.name != "snapshot" for event in got)


@pytest.mark.parametrize("last", ["0", "1", "99999999999999999", "nonsense", "-1", "9" * 400])
async def test_a_number_that_does_not_follow_gets_the_whole_mesh(node: Node, last: str) -> None:
    async with opened(node) as other, opened(node, last=last) as stream:
        await other.next()
        first = await stream.next()
        assert first is not None
        assert first.name == "snapshot"


async def test_what_nobody_heard_is_a_gap(node: Node) -> None:
    async with opened(node) as stream:
        first = await stream.next()
    assert first is not None
    await until_alone(node)
    await node.http.patch("/mesh/backends/study", json={"priority": 4})
    async with opened(node, last=first.id) as stream:
        again = await stream.next()
        assert again is not None
        assert (again.name, again.id > first.id) == ("snapshot", True)


async def test_after_a_restart_a_reader_of_the_last_life_is_not_taken_for_one_of_this(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine]) as node, opened(node) as stream:
        first = await stream.next()
        assert first is not None
    async with Node(tmp_path, [engine]) as node, opened(node) as other:
        await other.next()
        for number in range(1, 6):
            await node.http.patch("/mesh/backends/study", json={"priority": number})
        for last in range(first.id, first.id + 5):
            async with opened(node, last=last) as stream:
                again = await stream.next()
                assert again is not None
                assert again.name == "snapshot"
                assert again.id > first.id + 5, "numbers only ever grow, so that a page drops none as old"


async def test_what_no_event_tells_of_brings_a_new_snapshot_with_the_next_number(node: Node) -> None:
    async with opened(node) as stream:
        await stream.next()
        await node.http.patch("/mesh/settings", json={"name": "Lab"})
        reply = await stream.until(lambda event: event.name == "snapshot")
        assert reply[-1].data["router"]["name"] == "Lab"
        await node.http.patch("/mesh/backends/study", json={"priority": 4})
        following = await stream.next()
        assert following is not None
        assert following.id == reply[-1].id + 1


class Sleeper:
    """A reader that asks for the events and then reads nothing."""

    def __init__(self, node: Node) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._node = node

    async def __aenter__(self) -> Self:
        host, port = self._node.url.removeprefix("http://").split(":")
        self._sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._sock, (host, int(port)))
        head = f"GET /mesh/events HTTP/1.1\r\nhost: {host}:{port}\r\nauthorization: Bearer {self._node.key}\r\n\r\n"
        await loop.sock_sendall(self._sock, head.encode())
        await until_readers(self._node, 1)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sock.close()

    async def wake_until(self, mark: bytes) -> bytes:
        """Read on until `mark` has come."""
        got = b""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(10):
            while mark not in got:
                got += await loop.sock_recv(self._sock, 1 << 20)
        return got


async def until_readers(node: Node, count: int) -> None:
    async with asyncio.timeout(5):
        while len(node.service._hub._subscriptions) != count:
            await node.http.get("/healthz")  # another turn of the loop, and the service gets one too


async def until_alone(node: Node) -> None:
    await until_readers(node, 0)


async def flood(node: Node, stuck: Subscription) -> str:
    """Change a backend with many models, in events of 100 kB, until a reader is dropped; return the last model."""
    registry = node.service._registry
    registry.put(backend("big"))
    newest = ""
    for number in count():
        was_dropped = stuck._needs_snapshot
        newest = f"model-{number}"
        registry.record_fact("big", Answered(), (newest, *(f"{newest}-{n:04}" for n in range(5_000))))
        await asyncio.sleep(0)
        if was_dropped:
            break
    return newest


async def test_a_reader_that_reads_nothing_holds_up_nobody_and_costs_little_memory(node: Node) -> None:
    async with Sleeper(node) as sleeper:
        [stuck] = node.service._hub._subscriptions
        async with opened(node) as awake:
            first = await awake.next()
            assert first is not None
            flooding = asyncio.create_task(flood(node, stuck))
            reply = await awake.until(lambda event: flooding.done() and event.id == node.service._hub.seq)
            assert numbers(reply) == list(range(first.id + 1, first.id + 1 + len(reply)))
        assert stuck._frames == []
        assert node.service._hub._kept_size <= KEPT_BYTES
        newest = f'"{flooding.result()}"'.encode()
        missed = await sleeper.wake_until(newest)
        last = missed[: missed.index(newest)].rindex(b"event: ")
        assert missed[last:].startswith(b"event: snapshot"), "it goes on from the whole mesh"


async def test_an_idle_line_is_shown_to_be_alive(tmp_path: Path) -> None:
    async with Node(tmp_path, ping_s=0.02) as node, opened(node) as stream:
        await stream.next()
        async with asyncio.timeout(5):
            async for line in stream._lines:
                if line == ": ping":
                    break


async def test_a_page_that_follows_is_told_from_a_program(node: Node) -> None:
    events = node.service._events
    async with opened(node) as program:
        await program.next()
        assert not events.has_pages
        headers = {"cookie": "s=1"}
        async with node.http.stream("GET", "/mesh/events", headers=headers) as page:
            await anext(page.aiter_lines())
            assert events.has_pages


async def test_one_reader_too_many_is_told_so_and_a_place_that_is_left_is_free_again(node: Node) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(node)) for _ in range(READERS_MAX - 1)]
        async with opened(node) as last:
            assert last.answer.status_code == 200
            refused = await node.http.get("/mesh/events")
            assert refused.status_code == 429
            assert refused.json()["error"]["code"] == "too_many"
            assert "Close a window" in refused.json()["error"]["hint"]
        await until_readers(node, len(streams))
        async with opened(node) as again:
            assert again.answer.status_code == 200


async def test_the_end_of_the_service_ends_every_stream_at_once(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine]) as node:
        streams = AsyncExitStack()
        readers: list[Stream] = [await streams.enter_async_context(opened(node)) for _ in range(3)]
        for reader in readers:
            await reader.next()
        stopwatch = Stopwatch()
        node._stop.set()
        assert [await reader.next() for reader in readers] == [None] * 3
        await streams.aclose()
        assert node._running is not None
        await node._running
        assert stopwatch.elapsed_s < 1


async def test_a_reader_that_reads_nothing_does_not_hold_the_end_up(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine]) as node, Sleeper(node):
        [stuck] = node.service._hub._subscriptions
        await flood(node, stuck)
        stopwatch = Stopwatch()
        node._stop.set()
        assert node._running is not None
        await node._running
        assert stopwatch.elapsed_s < 3


async def test_no_prompt_no_answer_and_no_key_is_ever_in_an_event(tmp_path: Path) -> None:
    prompt, secret = "canary-prompt-7c1", "sk-canary-key-7c1"
    async with (
        SimulatedEngine("vllm", "locked", key=secret) as locked,
        Node(tmp_path, [], IN_ORDER) as node,
        opened(node) as stream,
    ):
        await stream.next()
        body = {"kind": "vllm", "url": locked.url, "name": "locked", "api_key": secret}
        assert (await node.http.post("/mesh/backends", json=body)).status_code == 201
        await node.until("locked", "healthy")
        for fault in (None, "status", "garbage", "close-body", "html"):
            if fault is not None:
                await locked.fault(fault, scope="inference")
            with suppress(httpx.RemoteProtocolError):  # the answer that breaks off
                await node.chat(messages=[{"role": "user", "content": f"Say {prompt}"}])
        await locked.fault("status", status=401)
        await node.refresh()
        await node.http.delete("/mesh/backends/locked")
        await stream.until(lambda event: "locked" in event.data.get("removed", ()))
        assert '"incident"' in stream.raw or "event: incident" in stream.raw
        for canary in (prompt, secret, node.key):
            assert canary not in stream.raw
