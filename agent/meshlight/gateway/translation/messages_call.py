"""One call of a tool while its pieces come."""

import msgspec

from meshlight.backends.quote import clean
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import ToolCall
from meshlight.gateway.translation.well_formed import decode

ARGUMENTS_MAX = 16 << 20
"""Characters of the arguments of one call."""
CALLS_MAX = 1_000
"""Calls of one answer."""
_ONCE_MORE = 4
"""Arguments that were not whole are read once more when they have grown by a fourth: else each piece would cost a
reading of all that came before."""
_LIGHT = 4_096
"""Characters that are read at any time."""

_text = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Call:
    """A call of a tool: who is called, and the text of the arguments so far."""

    __slots__ = ("_pieces", "_read", "_size", "block", "given_id", "id", "index", "is_open", "name")

    def __init__(self, index: int | None, own_id: str) -> None:
        self.index = index
        self.id = own_id
        """The server's id, or ours where it gave none."""
        self.given_id = ""
        self.name = ""
        self.block = -1
        """The index of its block; -1 before it has one."""
        self.is_open = False
        self._pieces: list[str] = []
        self._size = 0
        self._read = 0
        """Characters of the arguments when they were last found not to be whole."""

    def add(self, piece: ToolCall) -> str:
        """Take a piece and return what it adds to the arguments; raises Untranslated."""
        if piece.id and not self.given_id and self.block < 0:
            self.id = self.given_id = piece.id
        if piece.function is None:
            return ""
        if piece.function.name and self.block < 0:
            self.name = piece.function.name
        raw = bytes(piece.function.arguments).strip()
        if not raw or raw == b"null":
            return ""
        text = decode(raw, _text) if raw[:1] == b'"' else str(raw, "utf-8", "replace")
        self._size += len(text)
        if self._size > ARGUMENTS_MAX:
            raise Untranslated(f"It sent arguments of a tool of more than {ARGUMENTS_MAX >> 20} MiB.")
        self._pieces.append(text)
        return text

    def text(self) -> str:
        """Return the arguments so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def is_whole(self) -> bool:
        """Whether it has a name, and its arguments are a JSON object, or nothing at all."""
        text = self.text()
        if not self.name:
            return False
        if not text.strip():
            return True
        try:
            decode(text.encode(), _any)
        except (ValueError, RecursionError):
            return False
        return True

    def has_come(self) -> bool:
        """Whether its arguments are there and whole; now and then a little late, for looking takes time."""
        grown = self._size - self._read
        if not grown or (self._size > _LIGHT and grown < self._read // _ONCE_MORE):
            return False
        if self.text().strip() and self.is_whole():
            return True
        self._read = self._size
        return False

    def check(self) -> None:
        """Raise Untranslated when it is not whole."""
        if not self.name:
            raise Untranslated("It called a tool without saying which.")
        if not self.is_whole():
            raise Untranslated(f"It called the tool {self.shown} with arguments that are not a JSON object.")

    @property
    def shown(self) -> str:
        """The name for people."""
        return clean(self.name, 100)


class CallList:
    """The calls of one answer, in the order in which they began."""

    __slots__ = ("_newest", "calls")

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._newest: dict[int | None, Call] = {}

    def newest(self, index: int | None) -> Call | None:
        """Return the last call of this index, or the last of all."""
        if index is None:
            return self.calls[-1] if self.calls else None
        return self._newest.get(index)

    def begin(self, index: int | None, own_id: str) -> Call:
        """Add a call; raises Untranslated when there are too many."""
        if len(self.calls) >= CALLS_MAX:
            raise Untranslated(f"It called more than {CALLS_MAX} tools at once.")
        call = self._newest[index] = Call(index, own_id)
        self.calls.append(call)
        return call


def find_call(calls: CallList, piece: ToolCall) -> Call | None:
    """Return the call that a piece goes on with; None when it begins one.

    Some servers number no calls, or call each one 0: then an id of its own makes it another.
    """
    name = piece.function.name if piece.function is not None else None
    call = calls.newest(piece.index)
    if call is None:
        return None
    is_other = bool(piece.id and call.given_id and piece.id != call.given_id)
    starts_anew = piece.index is None and not piece.id and call.name and name
    return None if is_other or starts_anew else call
