import asyncio
import socket
from typing import cast

import pytest

from meshlight.gateway.server.protocol import FlowControl, get_local_addr, get_remote_addr


class Wire:
    """A transport as far as it is paused, with a socket or without one."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.calls: list[str] = []
        self._socket = sock

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def get_extra_info(self, name: str) -> socket.socket | None:
        return self._socket if name == "socket" else None


def transport(wire: Wire) -> asyncio.Transport:
    return cast("asyncio.Transport", wire)


def test_reading_is_paused_and_resumed_once() -> None:
    wire = Wire()
    flow = FlowControl(transport(wire))
    for change in (flow.pause_reading, flow.pause_reading, flow.resume_reading, flow.resume_reading):
        change()
    assert wire.calls == ["pause", "resume"]


async def test_whoever_drains_waits_while_the_client_reads_too_slowly() -> None:
    flow = FlowControl(transport(Wire()))
    await flow.drain()
    for _ in range(2):
        flow.pause_writing()
        waiting = [asyncio.create_task(flow.drain()) for _ in range(2)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        flow.resume_writing()
        await asyncio.gather(*waiting)


def test_the_addresses_are_those_of_the_two_ends() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            assert get_local_addr(transport(Wire(accepted))) == server.getsockname()
            assert get_remote_addr(transport(Wire(accepted))) == client.getsockname()


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there are no Unix sockets")
def test_a_unix_socket_has_a_path_and_no_client() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert get_local_addr(transport(Wire(one))) == ("", None)
        assert get_remote_addr(transport(Wire(one))) is None
    assert get_local_addr(transport(Wire())) is get_remote_addr(transport(Wire())) is None


def test_a_client_that_has_left_has_no_address() -> None:
    with socket.socket() as never_connected:
        assert get_remote_addr(transport(Wire(never_connected))) is None
