"""One line of pairing at a time: whatever comes, it is a message or an ending in a word."""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.peers.pairing.messages import (
    MESSAGE_LIMIT,
    Done,
    Hello,
    Message,
    Offer,
    PairingAborted,
    PairingConnection,
    Refusal,
    Reveal,
)


class Paper(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_cut = False
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self.is_cut = self._is_closing = True


MADE: list[asyncio.StreamWriter] = []


@pytest.fixture(autouse=True)
def _tidy() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def wire(said: bytes, *, is_over: bool = True) -> tuple[PairingConnection, Paper]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MESSAGE_LIMIT, loop=loop)
    reader.feed_data(said)
    if is_over:
        reader.feed_eof()
    paper = Paper()
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    MADE.append(asyncio.StreamWriter(paper, protocol, reader, loop))
    return PairingConnection(reader, MADE[-1]), paper


MESSAGES: list[Message] = [
    Hello(v=1, name="Büro", certificate=b"c", commitment=b"d" * 32, port=6375),
    Offer(name="Ben", certificate=b"c", nonce=b"n" * 32, port=6375),
    Reveal(nonce=b"n" * 32),
    Done(),
    Refusal(why="busy"),
]


@pytest.mark.parametrize("message", MESSAGES)
async def test_what_is_sent_is_read(message: Message) -> None:
    sender, paper = wire(b"")
    sender.send(message)
    receiver, _ = wire(paper.written)
    assert await receiver.read() == message


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_frame_or_an_ending(said: bytes) -> None:
    async def read() -> None:
        receiver, _ = wire(said)
        with pytest.raises(PairingAborted) as caught:
            await receiver.read()
        assert caught.value.ending in {"garbage", "lost"}

    asyncio.run(read())


async def test_who_says_nothing_in_time_is_lost() -> None:
    receiver, _ = wire(b'{"t":"done"', is_over=False)
    with pytest.raises(PairingAborted, match="lost"):
        await receiver.expect(Offer, 0.0)


async def test_another_frame_than_the_expected_one_is_garbage() -> None:
    receiver, _ = wire(msgspec.json.encode(Done()) + b"\n")
    with pytest.raises(PairingAborted, match="garbage"):
        await receiver.expect(Offer)


@pytest.mark.parametrize(
    "said",
    [
        Hello(v=1, name="x" * 1025, certificate=b"c", commitment=b"d" * 32, port=6375),
        Hello(v=1, name="x", certificate=b"c" * 4097, commitment=b"d" * 32, port=6375),
        Hello(v=1, name="x", certificate=b"c", commitment=b"d" * 31, port=6375),
        Hello(v=1, name="x", certificate=b"c", commitment=b"d" * 32, port=65_536),
        Reveal(nonce=b"n" * 33),
    ],
)
async def test_fields_out_of_their_bounds_are_garbage(said: Message) -> None:
    receiver, _ = wire(msgspec.json.encode(said) + b"\n")
    with pytest.raises(PairingAborted, match="garbage"):
        await receiver.read()


async def test_a_line_may_have_16_kilobytes_and_no_more() -> None:
    receiver, _ = wire(b'{"t":"done"' + b" " * (MESSAGE_LIMIT - 20) + b"}\n")
    assert await receiver.read() == Done()
    receiver, _ = wire(b'{"t":"done"' + b" " * MESSAGE_LIMIT + b"}\n", is_over=False)
    with pytest.raises(PairingAborted, match="garbage"):
        await receiver.read()


async def test_the_other_side_is_told_in_a_word_why_it_is_over() -> None:
    sender, paper = wire(b"")
    sender.close("signature")
    assert paper.written == b'{"t":"no","why":"broken"}\n'
    sender.send(Done())
    sender.abort()
    assert paper.written.count(b"\n") == 1
    assert not paper.is_cut


async def test_who_has_gone_is_told_nothing() -> None:
    sender, paper = wire(b"")
    sender.close("lost")
    assert paper.written == b""
