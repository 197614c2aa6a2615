"""A translated answer is read like any other one, and each received piece is noticed, even an empty one."""

import asyncio
from collections.abc import Callable

import pytest

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.inference.translated_response import SLICE, TranslatedResponse
from meshlight.http_client.response import Response

HEADERS = [(b"content-type", b"text/event-stream"), (b"content-length", b"9"), (b"x-kept", b"1")]


class Line:
    """The connection of an answer, whose bytes come as `come` is told."""

    def __init__(self, status: int = 200) -> None:
        self.loop = asyncio.get_running_loop()
        self.response = Response(self, status, HEADERS, reused=False, sent_at=0.0, first_byte_at=0.0)

    def come(self, *pieces: bytes, ends: bool = False) -> None:
        for piece in pieces:
            self.response.feed(piece)
            if ends and piece is pieces[-1]:
                self.response.end()
            self.response.wake()

    def pause(self) -> None:
        """Nothing is held back."""

    def resume(self) -> None:
        """Nothing was held back."""

    def abort(self) -> None:
        self.response.end()


class Back:
    """Passes on what is written large, and hides the rest."""

    content_type = b"text/plain"
    waiting = 0

    def begin(self, content_type: bytes) -> None:
        assert content_type == b"text/event-stream"

    def feed(self, data: bytes) -> bytes:
        if data == b"!":
            raise TranslationFailed("It is wrong.")
        return data if data.isupper() else b""

    def end(self) -> bytes:
        return b"."

    def broken(self, why: str) -> bytes | None:
        del why
        return None

    def error(self, status: int, body: bytes) -> bytes:
        return b"%d %b" % (status, body)


async def test_a_thought_that_is_hidden_from_the_client_is_no_silence() -> None:
    received: list[None] = []
    line = Line()
    answer = TranslatedResponse(line.response, Back())
    reading = asyncio.create_task(answer.read(on_piece=lambda: received.append(None)))
    for piece in (b"a", b"b", b"C"):
        await asyncio.sleep(0)
        line.come(piece)
        await asyncio.sleep(0)
    assert await reading == b"C"
    assert len(received) == 3
    line.come(b"d", ends=True)
    assert await answer.read(on_piece=lambda: received.append(None)) == b"."
    assert await answer.read() == b""
    assert len(received) == 4
    assert dict(answer.headers) == {b"x-kept": b"1", b"content-type": b"text/plain"}


async def test_a_failing_answer_is_told_whole_with_what_was_read_of_it_before() -> None:
    line = Line(400)
    answer = TranslatedResponse(line.response, Back(), b"a")
    line.come(b"b", b"c", ends=True)
    assert (await answer.read(), await answer.read()) == (b"400 abc", b"")


async def pushed(takes: Callable[[bytes], bool], *pieces: bytes) -> tuple[list[bytes], list[bytes], int]:
    """Return what was pushed, what was read, and how many pieces were noticed of an answer that comes in pieces."""
    line, offered, read, noticed = Line(), list[bytes](), list[bytes](), list[None]()
    answer = TranslatedResponse(line.response, Back())

    def push(data: bytes, chunk: bytes) -> bool:
        assert not chunk
        if takes(data):
            offered.append(data)
            return True
        return False

    async def reader() -> None:
        while piece := await answer.read(push, on_piece=lambda: noticed.append(None)):
            read.append(piece)

    reading = asyncio.create_task(reader())
    for piece in pieces[:-1]:
        await asyncio.sleep(0)
        line.come(piece)
    line.come(pieces[-1], ends=True)  # at once after the one before
    await reading
    return offered, read, len(noticed)


async def test_a_piece_is_translated_as_it_comes_while_there_is_room() -> None:
    assert await pushed(lambda _: True, b"A", b"b", b"C", b"D") == ([b"A", b"C"], [b"D", b"."], 4)


async def test_what_there_is_no_room_for_is_read_once() -> None:
    assert await pushed(lambda data: data != b"B", b"A", b"B", b"C") == ([b"A"], [b"B", b"C", b"."], 3)


async def test_a_large_piece_is_left_to_the_reader() -> None:
    large = b"X" * (SLICE + 1)
    assert await pushed(lambda _: True, large, b"B") == ([], [large[:SLICE], b"XB", b"."], 1)


async def test_a_fault_comes_after_what_was_good() -> None:
    with pytest.raises(TranslationFailed):
        await pushed(lambda _: True, b"A", b"!", b"C")
