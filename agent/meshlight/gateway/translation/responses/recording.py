"""What is kept of a Responses request and its answer, so that a later request can continue from them."""

import msgspec
from msgspec import Raw, Struct

from meshlight.gateway.translation.responses.memory import StoredResponses

_ENDS = (b'"response.completed"', b'"response.incomplete"')
_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)


class _Last(Struct):
    """The last event of a stream."""

    response: Raw


class _Final(Struct):
    """The fields that a response needs to be continued."""

    id: str
    output: tuple[Raw, ...]
    status: str = ""


_last = msgspec.json.Decoder(_Last)
_final = msgspec.json.Decoder(_Final)


class RecordedRequest(Struct, frozen=True):
    """A request whose answer is to be stored."""

    stored: StoredResponses
    previous: str | None
    items: tuple[Raw, ...]

    def keep(self, response_id: str, response: bytes) -> None:
        """Store the answer."""
        self.stored.keep(response_id, self.previous, self.items, response)


def final_response(answer: bytes) -> tuple[str, bytes] | None:
    """Return the id and JSON of the response at the end of an answer, an object or events; None if there is none."""
    found = answer.strip()
    if not found.startswith(b"{"):
        lines = (line for line in reversed(found.splitlines()) if line.startswith(b"data:"))
        found = next((line[5:].strip() for line in lines if any(end in line for end in _ENDS)), b"")
        if not found:
            return None
        try:
            found = bytes(_last.decode(found).response)
        except _UNREADABLE:
            return None
    try:
        final = _final.decode(found)
    except _UNREADABLE:
        return None
    return (final.id, found) if final.id and final.status in {"completed", "incomplete"} else None
