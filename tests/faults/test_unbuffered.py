"""Nothing is buffered: each token reaches the client before the next one is generated."""

import asyncio
import socket
from pathlib import Path

from faults.raw import Caller, chat
from meshlight.gateway.server.listener import bind
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import Node


async def test_each_token_arrives_before_the_next_is_released(tmp_path: Path) -> None:
    gate = StepGate()
    async with SimulatedEngine("vllm", "a", speed=1, pace=gate) as engine, Node(tmp_path, [engine]) as node:
        caller = await Caller.post(node, chat(said="COUNT", stream=True))
        await caller.until(b'"content":"0"')
        for number in range(1, 20):
            assert gate.waiting == 1
            assert b'"content":" %d"' % number not in caller.got
            gate.step()
            await caller.until(b'"content":" %d"' % number)
        caller.hang_up()


async def test_the_head_of_a_stream_comes_with_its_first_byte_and_not_before(tmp_path: Path) -> None:
    gate = StepGate()
    async with (
        SimulatedEngine("ollama", "a", first_token_s=1, pace=gate) as engine,
        Node(tmp_path, [engine]) as node,
    ):
        caller = await Caller.post(node, chat(stream=True))
        await engine.received(1, "/v1/chat")
        assert not caller.got
        gate.step()
        assert (await caller.until(b"data: ")).startswith(b"HTTP/1.1 200 OK\r\n")
        caller.hang_up()


async def test_no_small_piece_waits_for_the_last_ones_acknowledgement() -> None:
    taken = asyncio.get_running_loop().create_future()

    class Guest(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            sock = transport.get_extra_info("socket")
            taken.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    listener = bind("127.0.0.1", 0)
    async with await asyncio.get_running_loop().create_server(Guest, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(taken, 5)
        writer.close()
