"""The pairing door and those who come to it: one at a time, and nobody holds up the others."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fake_clock import Clock
from meshlight.domain.errors import PairingError
from meshlight.domain.pairing import SHUT_S
from meshlight.peers.pairing.messages import Confirmed, Done, Refusal, Reveal
from meshlight.peers.pairing.server import CONNECTIONS_MAX
from meshlight.peers.pairing.session import PairingSession, request_pairing
from peers.node_identities import impostor
from peers.pairs import ANNA, BEN, Ben, Caller, ben, side


async def pair(asked: Ben) -> None:
    """Pair Anna with Ben as two honest people do."""
    anna = await request_pairing(side(ANNA, "Anna", asked.clock), "127.0.0.1", asked.port)
    his = await asked.requests.get()
    await anna.confirm()
    await his.confirm()
    await asyncio.gather(anna.end(), his.end())


async def refusal(caller: Caller) -> str:
    said = await caller.read()
    assert said["t"] == "no"
    assert await caller.read() == {}
    return str(said["why"])


async def test_one_pairing_at_a_time_and_others_are_told() -> None:
    async with ben(Clock()) as asked:
        anna = await request_pairing(side(ANNA, "Anna", asked.clock), "127.0.0.1", asked.port)
        his = await asked.requests.get()
        assert asked.server.pairing is his
        async with await Caller.at(asked.port) as caller:
            caller.send(caller.hello())
            assert await refusal(caller) == "busy"
        assert anna.state == "comparing"
        await anna.refuse()


async def test_the_door_is_free_again_when_a_pairing_is_over() -> None:
    async with ben(Clock()) as asked:
        await pair(asked)
        assert asked.server.pairing is None
        await pair(asked)


async def test_who_has_said_hello_and_nothing_more_makes_others_wait_only_so_long() -> None:
    async with ben(Clock(), hello_s=0.2) as asked, await Caller.at(asked.port) as caller:
        await caller.greet()
        assert await caller.read() == {}
        await pair(asked)


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\n",
        b"x" * 20_000,
        b"{" * 10_000 + b"\n",
        b'{"t":"hello"}\n',
        b'{"t":"confirmed","signature":""}\n',
        b"\xff\n",
    ],
)
async def test_garbage_is_answered_and_forgotten(said: bytes) -> None:
    async with ben(Clock()) as asked:
        for _ in range(4):  # more than there may be failed tries
            async with await Caller.at(asked.port) as caller:
                caller.send_bytes(said)
                assert await refusal(caller) == "broken"
        await pair(asked)


async def test_who_speaks_no_tls_holds_nothing_up() -> None:
    async with ben(Clock()) as asked:
        reader, writer = await asyncio.open_connection("127.0.0.1", asked.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()
        await pair(asked)


async def test_slow_clients_are_cut_and_keep_nobody_out() -> None:
    async with ben(Clock(), hello_s=0.3) as asked, await Caller.at(asked.port) as caller:
        caller.send_bytes(b'{"t":"hello"')
        assert await caller.read() == {}
        await pair(asked)


async def test_of_many_who_say_nothing_the_eldest_is_cut_for_who_comes_new() -> None:
    async with ben(Clock()) as asked:
        silent = [await Caller.at(asked.port) for _ in range(CONNECTIONS_MAX)]
        plain = [await asyncio.open_connection("127.0.0.1", asked.port) for _ in range(CONNECTIONS_MAX)]
        assert [await caller.read() for caller in silent] == [{}] * CONNECTIONS_MAX
        await pair(asked)
        for _, writer in plain:
            writer.close()


async def test_a_flood_of_strangers_does_not_end_a_pairing_under_way() -> None:
    async with ben(Clock()) as asked:
        anna = await request_pairing(side(ANNA, "Anna", asked.clock), "127.0.0.1", asked.port)
        his = await asked.requests.get()
        silent = [await asyncio.open_connection("127.0.0.1", asked.port) for _ in range(3 * CONNECTIONS_MAX)]
        await anna.confirm()
        await his.confirm()
        await asyncio.gather(anna.end(), his.end())
        for _, writer in silent:
            writer.close()


async def test_a_hello_of_another_version_is_told_so() -> None:
    async with ben(Clock()) as asked, await Caller.at(asked.port) as caller:
        caller.send(caller.hello(v=2))
        assert await refusal(caller) == "version"


async def test_a_certificate_that_could_vouch_for_others_is_refused() -> None:
    async with ben(Clock()) as asked, await Caller.at(asked.port, impostor(is_authority=True)) as caller:
        caller.send(caller.hello())
        assert await refusal(caller) == "broken"
        assert asked.requests.empty()


async def test_who_shows_bens_own_certificate_is_refused() -> None:
    async with ben(Clock()) as asked, await Caller.at(asked.port, BEN) as caller:
        caller.send(caller.hello())
        assert await refusal(caller) == "broken"
        assert asked.requests.empty()


async def test_a_nonce_that_was_not_promised_is_refused_before_anybody_sees_digits() -> None:
    async with ben(Clock()) as asked, await Caller.at(asked.port) as caller:
        await caller.greet()
        caller.send(Reveal(nonce=b"x" * 32))
        assert await refusal(caller) == "broken"
        assert asked.requests.empty()


async def broken_commitment(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        await caller.greet()
        caller.send(Reveal(nonce=b"x" * 32))
        assert await refusal(caller) == "broken"


async def gone_after_the_nonce(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        await caller.greet()


async def met(asked: Ben, caller: Caller) -> PairingSession:
    await caller.meet()
    return await asked.requests.get()


async def bad_signature(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        his = await met(asked, caller)
        caller.send(Confirmed(signature=b"no"))
        assert await refusal(caller) == "broken"
        assert his.ending == "signature"


async def stolen_certificate(asked: Ben) -> None:
    """Mallory shows Anna's certificate, but has not her key."""
    async with await Caller.at(asked.port, ANNA) as caller:
        seen = await caller.meet()
        his = await asked.requests.get()
        assert his.other_id == ANNA.node_id
        await his.confirm()
        assert (await caller.read())["t"] == "confirmed"
        caller.confirm(seen, by=impostor())
        assert await refusal(caller) == "broken"
        assert his.ending == "signature"


async def refused_here(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        his = await met(asked, caller)
        await his.refuse()
        assert await refusal(caller) == "refused"


async def refused_there_with_an_excuse(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        his = await met(asked, caller)
        caller.send(Refusal(why="late"))
        await his.over()
        assert his.ending == "refused-there"


async def done_without_a_yes(asked: Ben) -> None:
    async with await Caller.at(asked.port) as caller:
        his = await met(asked, caller)
        caller.send(Done())
        assert await refusal(caller) == "broken"
        assert his.ending == "garbage"


@pytest.mark.parametrize(
    "attempt",
    [
        broken_commitment,
        gone_after_the_nonce,
        bad_signature,
        stolen_certificate,
        refused_here,
        refused_there_with_an_excuse,
        done_without_a_yes,
    ],
)
async def test_three_failed_tries_shut_the_door_for_ten_minutes(
    attempt: Callable[[Ben], Awaitable[None]],
) -> None:
    clock = Clock()
    async with ben(clock) as asked:
        for _ in range(3):
            assert not asked.server.is_locked
            await attempt(asked)
            await asked.free()
        assert asked.server.is_locked
        with pytest.raises(PairingError, match="too many have failed"):
            await request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", asked.port)
        clock.pass_time(SHUT_S - 1)
        with pytest.raises(PairingError, match="too many have failed"):
            await request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", asked.port)
        clock.pass_time(1)
        await pair(asked)


async def test_pairings_that_took_too_long_do_not_shut_the_door() -> None:
    clock = Clock()
    async with ben(clock) as asked:
        for _ in range(4):
            async with await Caller.at(asked.port) as caller:
                his = await met(asked, caller)
                clock.pass_time(60)
                assert await refusal(caller) == "late"
                assert his.ending == "late"
                await asked.free()
        await pair(asked)


async def test_a_closed_door_takes_nobody_and_can_be_opened_again() -> None:
    async with ben(Clock()) as asked:
        silent = await Caller.at(asked.port)
        await asked.server.close()
        assert await silent.read() == {}
        with pytest.raises(OSError, match=r"."):
            await asyncio.open_connection("127.0.0.1", asked.port)
        await asked.open()
        await pair(asked)


async def test_the_door_works_under_the_loop_that_the_service_runs_on() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def scene() -> None:
        async with ben(Clock(), hello_s=0.5) as asked:
            await broken_commitment(asked)
            await pair(asked)
            silent = await Caller.at(asked.port)
            assert await silent.read() == {}

    await asyncio.to_thread(uvloop.run, scene())
