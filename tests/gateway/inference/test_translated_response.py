"""A translated answer is read like any other one, and each received piece is noticed, even an empty one."""

from typing import Any

from meshlight.gateway.inference.translated_response import TranslatedResponse


class Inner:
    """An answer in pieces."""

    reused = False
    headers = ((b"content-type", b"text/event-stream"), (b"content-length", b"9"), (b"x-kept", b"1"))

    def __init__(self, status: int, *pieces: bytes) -> None:
        self.status = status
        self._pieces = list(pieces)

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def abort(self) -> None:
        self._pieces.clear()


class Back:
    """Passes on what is written large, and hides the rest."""

    content_type = b"text/plain"
    waiting = 0

    def begin(self, content_type: bytes) -> None:
        assert content_type == b"text/event-stream"

    def feed(self, data: bytes) -> bytes:
        return data if data.isupper() else b""

    def end(self) -> bytes:
        return b"."

    def broken(self, why: str) -> bytes | None:
        del why
        return None

    def error(self, status: int, body: bytes) -> bytes:
        return b"%d %b" % (status, body)


def response(status: int, *pieces: bytes, first: bytes = b"") -> TranslatedResponse:
    inner: Any = Inner(status, *pieces)
    return TranslatedResponse(inner, Back(), first)


async def test_a_thought_that_is_hidden_from_the_client_is_no_silence() -> None:
    received: list[None] = []
    answer = response(200, b"a", b"b", b"C", b"d")

    async def read() -> bytes:
        return await answer.read(on_piece=lambda: received.append(None))

    assert await read() == b"C"
    assert len(received) == 3
    assert (await read(), await read()) == (b".", b"")
    assert len(received) == 4
    assert dict(answer.headers) == {b"x-kept": b"1", b"content-type": b"text/plain"}


async def test_a_failing_answer_is_told_whole_with_what_was_read_of_it_before() -> None:
    answer = response(400, b"b", b"c", first=b"a")
    assert (await answer.read(), await answer.read()) == (b"400 abc", b"")
