"""Two people pair two machines, over real connections: what each of them sees."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from fake_clock import Clock
from meshlight.domain.errors import PairingError
from meshlight.domain.pairing import Transcript
from meshlight.domain.peers import Peer
from meshlight.peers.pairing.messages import Confirmed, Done, Hello, Offer, Refusal, Reveal
from meshlight.peers.pairing.session import PairingSession, request_pairing, url_of
from meshlight.peers.tls import PrivateIdentity
from peers.node_identities import impostor
from peers.pairs import ANNA, BEN, MALLORY, WALL, Ben, Caller, ben, false_door, side


class Both:
    """A pairing as Anna and as Ben have it before them."""

    def __init__(self, asked: Ben, anna: PairingSession, his: PairingSession) -> None:
        self.node = asked
        self.anna = anna
        self.ben = his


@asynccontextmanager
async def comparing(clock: Clock) -> AsyncIterator[Both]:
    async with ben(clock) as asked:
        anna = await request_pairing(side(ANNA, "Anna's laptop", clock, port=7001), "127.0.0.1", asked.port)
        yield Both(asked, anna, await asked.requests.get())
        anna.stop("closed")


async def why_not(pairing: PairingSession) -> str:
    with pytest.raises(PairingError) as caught:
        await pairing.end()
    assert pairing.state == "over"
    assert pairing.why == f"{caught.value.title} {caught.value.hint}"
    return caught.value.cause


async def test_two_people_compare_six_digits_and_their_machines_are_paired() -> None:
    async with comparing(Clock()) as both:
        assert [both.anna.state, both.ben.state] == ["comparing", "comparing"]
        assert both.anna.digits == both.ben.digits
        assert (both.anna.role, both.anna.other_name, both.anna.other_id) == (
            "asking",
            "Ben's PC",
            BEN.node_id,
        )
        assert (both.ben.role, both.ben.other_name, both.ben.other_id) == (
            "asked",
            "Anna's laptop",
            ANNA.node_id,
        )
        await both.anna.confirm()
        assert [both.anna.state, both.ben.state] == ["confirmed", "comparing"]
        await both.ben.confirm()
        hers, his = await asyncio.gather(both.anna.end(), both.ben.end())
    assert [both.anna.state, both.ben.state] == ["paired", "paired"]
    assert both.anna.why == both.ben.why == ""
    assert hers.peer == Peer(id=BEN.node_id, name="Ben's PC", url="https://127.0.0.1:6375", paired_at=WALL)
    assert his.peer == Peer(
        id=ANNA.node_id, name="Anna's laptop", url="https://127.0.0.1:7001", paired_at=WALL
    )
    assert (hers.certificate_pem, his.certificate_pem) == (BEN.certificate_pem, ANNA.certificate_pem)


async def test_it_does_not_matter_who_confirms_first() -> None:
    async with comparing(Clock()) as both:
        await both.ben.confirm()
        await both.anna.confirm()
        await asyncio.gather(both.anna.end(), both.ben.end())


async def test_confirming_twice_is_confirming_once() -> None:
    async with comparing(Clock()) as both:
        for pairing in (both.anna, both.anna, both.ben):
            await pairing.confirm()
        await both.anna.end()
        await both.anna.confirm()
        assert both.anna.state == "paired"


async def test_each_step_is_told() -> None:
    async with comparing(Clock()) as both:
        steps: list[str] = []
        both.anna._on_change = lambda: steps.append(both.anna.state)
        await both.anna.confirm()
        await both.ben.confirm()
        await both.anna.end()
    assert [step for step, last in zip(steps, ["", *steps], strict=False) if step != last] == [
        "confirmed",
        "paired",
    ]


async def test_another_pairing_has_other_digits() -> None:
    clock = Clock()
    async with ben(clock) as asked:
        seen = set()
        for _ in range(3):
            anna = await request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", asked.port)
            seen.add(anna.digits)
            anna.stop("late")
            await (await asked.requests.get()).over()
            clock.pass_time(600)
    assert len(seen) > 1


async def test_a_no_of_the_asked_person_ends_it_for_both() -> None:
    async with comparing(Clock()) as both:
        await both.anna.confirm()
        await both.ben.refuse()
        assert await why_not(both.anna) == "refused-there"
        assert await why_not(both.ben) == "refused-here"


async def test_a_no_of_the_asking_person_ends_it_for_both_even_after_a_yes() -> None:
    async with comparing(Clock()) as both:
        await both.anna.confirm()
        await both.anna.refuse()
        assert await why_not(both.anna) == "refused-here"
        assert await why_not(both.ben) == "refused-there"
        with pytest.raises(PairingError, match="refused on Anna's laptop"):
            await both.ben.confirm()


async def test_after_a_minute_it_is_over_for_both() -> None:
    clock = Clock()
    async with comparing(clock) as both:
        await both.anna.confirm()
        clock.pass_time(59)
        assert both.anna.left_s == both.ben.left_s == 1
        assert both.ben.state == "comparing"
        clock.pass_time(1)
        assert await why_not(both.anna) == await why_not(both.ben) == "late"
        assert both.anna.left_s == 0
        with pytest.raises(PairingError, match="in time"):
            await both.ben.confirm()


async def test_a_confirmation_that_comes_too_late_counts_for_nothing() -> None:
    clock = Clock()
    async with comparing(clock) as both:
        clock.now += 61  # the timer is late, as after a sleep
        with pytest.raises(PairingError, match="in time"):
            await both.anna.confirm()
        await both.ben.over()
        assert both.ben.state == "over"


async def test_a_door_that_is_closed_ends_it_for_both() -> None:
    async with comparing(Clock()) as both:
        await both.node.server.close()
        assert await why_not(both.anna) == "closed"
        assert await why_not(both.ben) == "closed"
        with pytest.raises(PairingError, match="Nothing accepts pairing requests"):
            await request_pairing(side(ANNA, "Anna", both.node.clock), "127.0.0.1", both.node.port)


async def test_a_closed_connection_ends_it() -> None:
    clock = Clock()
    async with ben(clock) as asked, await Caller.at(asked.port, ANNA) as caller:
        await caller.meet()
        pairing = await asked.requests.get()
        await caller.__aexit__()
        assert await why_not(pairing) == "lost"


async def test_who_follows_a_link_still_compares_the_digits() -> None:
    clock = Clock()
    async with ben(clock) as asked:
        anna = await request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", asked.port, BEN.node_id)
        his = await asked.requests.get()
        assert (anna.state, his.state) == ("comparing", "comparing")
        assert anna.digits == his.digits
        await asyncio.gather(anna.confirm(), his.confirm())
        await asyncio.gather(anna.end(), his.end())


async def test_a_link_of_a_stranger_who_confirms_at_once_pairs_nobody() -> None:
    clock = Clock()
    async with ben(clock) as asked:
        anna = await request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", asked.port, BEN.node_id)
        await (await asked.requests.get()).confirm()
        clock.pass_time(60)
        assert await why_not(anna) == "late"


async def test_a_door_without_the_key_of_the_link_is_told_nothing() -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(MALLORY, calls) as port:
        with pytest.raises(PairingError) as caught:
            await request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port, BEN.node_id)
        assert await (await calls.get()).read() == {"t": "no", "why": "broken"}
    assert caught.value.cause == "other-key"


async def test_a_machine_does_not_pair_with_itself() -> None:
    clock = Clock()
    async with ben(clock) as asked:
        with pytest.raises(PairingError, match="the key of this machine"):
            await request_pairing(side(BEN, "Ben", clock), "127.0.0.1", asked.port)


@pytest.mark.parametrize("host", ["127.0.0.1", "nowhere.invalid", "x" * 200, "", "a b\x00"])
async def test_where_nobody_answers_the_error_says_where_and_what_to_do(host: str) -> None:
    with pytest.raises(PairingError, match="Nothing accepts pairing requests at") as caught:
        await request_pairing(side(ANNA, "Anna", Clock()), host, 1)
    assert "6376" in caught.value.hint


async def test_a_man_in_the_middle_gives_himself_away_by_the_digits() -> None:
    """He speaks to each side under his own key, with the best he has: what he hears from the other one."""
    clock = Clock()
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with ben(clock) as asked, false_door(MALLORY, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", port))
        to_anna = await calls.get()
        async with await Caller.at(asked.port, MALLORY) as to_ben:
            hello = msgspec.convert(await to_anna.read(), Hello)
            offer = await to_ben.greet(name=hello.name)
            to_anna.send(
                Offer(name=offer.name, certificate=MALLORY.certificate_der, nonce=offer.nonce, port=6375)
            )
            anna = await asking
            reveal = msgspec.convert(await to_anna.read(), Reveal)
            assert reveal.nonce != to_ben.nonce
            to_ben.send(Reveal(nonce=to_ben.nonce))
            his = await asked.requests.get()
            assert anna.digits != his.digits
            assert (anna.other_id, his.other_id) == (MALLORY.node_id, MALLORY.node_id)
            await his.refuse()
            await anna.refuse()


async def test_relaying_annas_own_frames_ends_at_the_commitment_or_at_the_certificate() -> None:
    clock = Clock()
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with ben(clock) as asked, false_door(MALLORY, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", clock), "127.0.0.1", port))
        to_anna = await calls.get()
        hello = msgspec.convert(await to_anna.read(), Hello)
        async with await Caller.at(asked.port, ANNA) as to_ben:
            to_ben.send(hello)
            offer = msgspec.convert(await to_ben.read(), Offer)
            to_anna.send(offer)
            with pytest.raises(PairingError, match="could not prove"):
                await asking


def test_a_thousand_nonces_after_the_commitment_bring_nobody_nearer() -> None:
    """What a man in the middle would need: a nonce that gives Ben the digits that Anna sees."""
    wanted = Transcript(
        asking_certificate=ANNA.certificate_der,
        asked_certificate=MALLORY.certificate_der,
        asking_nonce=b"a" * 32,
        asked_nonce=b"m" * 32,
    )
    tried = (number.to_bytes(32, "big") for number in range(1000))
    met = [
        Transcript(
            asking_certificate=MALLORY.certificate_der,
            asked_certificate=BEN.certificate_der,
            asking_nonce=nonce,
            asked_nonce=b"b" * 32,
        ).digits
        for nonce in tried
    ]
    assert len(set(met)) > 990  # each is a guess among a million
    assert met.count(wanted.digits) <= 1


class Reply:
    """What a false door says to Anna after her hello."""

    def __init__(self, identity: PrivateIdentity = BEN) -> None:
        self.identity = identity

    def offer(self, **fields: object) -> Offer:
        given = {
            "name": "Ben",
            "certificate": self.identity.certificate_der,
            "nonce": b"n" * 32,
            "port": 6375,
        } | fields
        return Offer(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"garbage\n", "garbage"),
        (b"x" * 20_000, "garbage"),
        (b'{"t":"offer","name":"x","certificate":"","nonce":"AAAA","port":1}\n', "garbage"),
        (b'{"t":"done"}\n', "garbage"),
        (b"[" * 15_000 + b"\n", "garbage"),
        (b"\xff\xfe\n", "garbage"),
        (b'{"t":"no","why":"busy"}\n', "busy"),
        (b'{"t":"no","why":"shut"}\n', "shut"),
        (b'{"t":"no","why":"version"}\n', "version"),
        (b'{"t":"no","why":"<b>pay me</b>"}\n', "garbage"),
        (None, "lost"),
    ],
)
async def test_whatever_a_false_door_answers_is_told_in_our_words(said: bytes | None, cause: str) -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(BEN, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port))
        async with await calls.get() as caller:
            await caller.read()
            if said is not None:
                caller.send_bytes(said)
            else:
                await caller.__aexit__()
            with pytest.raises(PairingError) as caught:
                await asking
    assert caught.value.cause == cause
    assert "pay me" not in f"{caught.value.title} {caught.value.hint}"


async def test_a_certificate_in_the_frame_that_is_not_that_of_the_connection_is_refused() -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(MALLORY, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port))
        async with await calls.get() as caller:
            await caller.read()
            caller.send(Reply(BEN).offer())
            with pytest.raises(PairingError, match="could not prove"):
                await asking


async def test_a_door_with_a_certificate_that_could_vouch_for_others_is_refused() -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(impostor(is_authority=True), calls) as port:
        with pytest.raises(PairingError, match="not one of Meshlight's"):
            await request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port)


@pytest.mark.parametrize(
    "trick", ["reflected", "another key", "another text", "no signature", "reveal again", "done"]
)
async def test_a_false_door_can_not_confirm(trick: str) -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(BEN, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port))
        async with await calls.get() as caller:
            hello = msgspec.convert(await caller.read(), Hello)
            caller.send(Reply().offer())
            anna = await asking
            reveal = msgspec.convert(await caller.read(), Reveal)
            seen = Transcript(
                asking_certificate=hello.certificate,
                asked_certificate=BEN.certificate_der,
                asking_nonce=reveal.nonce,
                asked_nonce=b"n" * 32,
            )
            await anna.confirm()
            own = msgspec.convert(await caller.read(), Confirmed)
            match trick:
                case "reflected":
                    caller.send(own)
                case "another key":
                    caller.confirm(seen, "asked", MALLORY)
                case "another text":
                    caller.confirm(seen, "asking")
                case "no signature":
                    caller.send(Confirmed(signature=b""))
                case "reveal again":
                    caller.send(reveal)
                case _:
                    caller.send(Done())
            expected = "garbage" if trick in {"reveal again", "done"} else "signature"
            assert await why_not(anna) == expected


async def test_a_strangers_name_is_cleaned_before_anybody_sees_it() -> None:
    calls: asyncio.Queue[Caller] = asyncio.Queue()
    async with false_door(BEN, calls) as port:
        asking = asyncio.create_task(request_pairing(side(ANNA, "Anna", Clock()), "127.0.0.1", port))
        async with await calls.get() as caller:
            await caller.read()
            caller.send(Reply().offer(name="Ben\x1b[2J\n" + "x" * 500))
            anna = await asking
            assert anna.other_name.isprintable()
            assert len(anna.other_name) == 80
            caller.send(Refusal(why="refused"))
            assert await why_not(anna) == "refused-there"


def test_the_address_of_a_peer_is_the_one_it_was_met_at() -> None:
    assert url_of("192.168.1.20", 6375) == "https://192.168.1.20:6375"
    assert url_of("::ffff:192.168.1.20", 6375) == "https://192.168.1.20:6375"
    assert url_of("2001:db8::1", 7000) == "https://[2001:db8::1]:7000"
    assert url_of("fe80::1%eth0", 6375) == ""
