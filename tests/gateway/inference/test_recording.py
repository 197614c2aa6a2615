"""An answer that is stored while it is passed on reaches the client unchanged."""

import pytest

from meshlight.gateway.inference.recording import RECORDED_MAX, RecordingSink
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.gateway.translation.responses.recording import RecordedRequest
from meshlight.http_client.client import Headers

FINAL = b'{"id":"r1","status":"completed","output":[]}'


class Client:
    """A sink that notes what it gets; it takes an offer as long as it has room."""

    def __init__(self, *, has_room: bool) -> None:
        self.has_room = has_room
        self.got: list[bytes] = []
        self.is_cut = False

    async def start(self, status: int, headers: Headers) -> None:
        self.got.append(b"%d %d;" % (status, len(headers)))

    async def write(self, data: bytes) -> None:
        self.got.append(data)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:  # noqa: ARG002 - a Sink's
        if self.has_room:
            self.got.append(data)
        return self.has_room

    async def end(self, last: bytes = b"") -> None:
        self.got.append(last)

    def abort(self) -> None:
        self.is_cut = True


async def send(sink: RecordingSink, *pieces: bytes) -> None:
    """Send pieces as the relay does: offered, and written where there is no room."""
    await sink.start(200, ())
    for piece in pieces:
        if not sink.offer(piece):
            await sink.write(piece)


@pytest.mark.parametrize("has_room", [True, False])
async def test_all_of_it_passes_and_is_kept_once(has_room: bool) -> None:
    client, stored = Client(has_room=has_room), StoredResponses()
    sink = RecordingSink(client, RecordedRequest(stored, None, ()))
    await send(sink, FINAL[:9], FINAL[9:20])
    assert len(stored) == 0
    await sink.end(FINAL[20:])
    assert b"".join(client.got) == b"200 0;" + FINAL
    assert stored.response("r1") == FINAL


async def test_an_answer_that_breaks_off_is_not_kept() -> None:
    client, stored = Client(has_room=True), StoredResponses()
    sink = RecordingSink(client, RecordedRequest(stored, None, ()))
    await send(sink, FINAL)
    sink.abort()
    assert client.is_cut
    assert len(stored) == 0


async def test_an_answer_that_is_too_long_passes_and_is_not_kept() -> None:
    client, stored = Client(has_room=True), StoredResponses()
    sink = RecordingSink(client, RecordedRequest(stored, None, ()))
    blanks = b" " * RECORDED_MAX
    await send(sink, blanks, FINAL)
    await sink.end()
    assert b"".join(client.got) == b"200 0;" + blanks + FINAL
    assert len(stored) == 0
