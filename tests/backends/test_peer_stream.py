"""A peer's word that its catalog is another one now has it probed, however the word comes."""

import asyncio

from backends.peer_rig import STREAM, answer, ben, catalog, connected, event
from meshlight.domain.health import Answered
from servers.byte_server import Peer


async def test_an_event_with_another_hash_has_the_peer_probed() -> None:
    async def tell(peer: Peer) -> None:
        await peer.send(STREAM, event("aaaa1111"), event("bbbb2222"))
        await peer.until_gone()

    async with connected(ben(catalog(), stream=tell)) as (connection, _):
        await connection.probe()
        await asyncio.wait_for(connection.probe_requested.wait(), 5)
        assert connection.probe_requests == 1


async def test_an_event_that_comes_in_pieces_or_with_others_is_heard_all_the_same() -> None:
    async def tell(peer: Peer) -> None:
        whole = event("aaaa1111") + event("bbbb2222")
        await peer.send(STREAM)
        for place in range(len(whole)):
            await peer.send(whole[place : place + 1])
            await asyncio.sleep(0)
        await peer.until_gone()

    async with connected(ben(catalog(), stream=tell)) as (connection, _):
        await connection.probe()
        await asyncio.wait_for(connection.probe_requested.wait(), 5)


async def test_two_events_in_one_piece_mean_the_last_one() -> None:
    async def tell(peer: Peer) -> None:
        await peer.send(STREAM + event("aaaa1111") + event("bbbb2222"))
        await peer.until_gone()

    async with connected(ben(catalog(), stream=tell)) as (connection, _):
        await connection.probe()
        await asyncio.wait_for(connection.probe_requested.wait(), 5)


async def test_the_known_hash_and_pings_have_nobody_probed() -> None:
    told = asyncio.Event()

    async def tell(peer: Peer) -> None:
        await peer.send(STREAM, event("aaaa1111"), b"8\r\n: ping\n\n\r\n")
        told.set()
        await peer.until_gone()

    async with connected(ben(catalog(), stream=tell)) as (connection, _):
        await connection.probe()
        await told.wait()
        await connection.probe()
        assert connection.probe_requests == 0


async def test_a_stream_that_ends_has_the_peer_probed_and_the_probe_begins_another() -> None:
    streams = 0
    again = asyncio.Event()

    async def tell(peer: Peer) -> None:
        nonlocal streams
        streams += 1
        if streams == 2:
            again.set()
            await peer.until_gone()
            return
        await peer.send(STREAM, event("aaaa1111"), b"0\r\n\r\n")

    async with connected(ben(catalog(), stream=tell)) as (connection, _):
        await connection.probe()
        await asyncio.wait_for(connection.probe_requested.wait(), 5)
        await asyncio.sleep(0)
        await connection.probe()
        await asyncio.wait_for(again.wait(), 5)


async def test_a_refused_stream_leaves_the_catalog_alone() -> None:
    async def refuse(peer: Peer) -> None:
        await peer.send(answer({}, 429))

    async with connected(ben(catalog(), stream=refuse)) as (connection, _):
        assert isinstance((await connection.probe()).fact, Answered)


async def test_close_leaves_no_task_and_no_connection() -> None:
    before = asyncio.all_tasks()
    asked = asyncio.Event()

    async def listen(peer: Peer) -> None:
        asked.set()
        await peer.until_gone()

    async with connected(ben(catalog(), stream=listen)) as (connection, server):
        await connection.probe()
        await asyncio.wait_for(asked.wait(), 5)
        connection.channel.close()
        connection.probes.close()
        await asyncio.wait_for(server.peers[1].gone.wait(), 5)
        await connection.probe()  # as one that was under way: it begins no stream any more
        assert len(server.peers) <= 3
    left = [task for task in asyncio.all_tasks() - before if not task.done()]
    assert left == []
