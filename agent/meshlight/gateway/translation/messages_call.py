"""One call of a tool while its pieces come."""

import re
from typing import Any

import msgspec

from meshlight.backends.quote import clean
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import ToolCall, name_of, number
from meshlight.gateway.translation.well_formed import decode

ARGUMENTS_MAX = 16 << 20
"""Characters of the arguments of one call."""
CALLS_MAX = 1_000
"""Calls of one answer."""
_NOT_YET = frozenset({"", "{", "{}", "{}{"})
"""Arguments, without their blanks, that may yet become a `{}` and then the real ones."""
_SHORT = 64
"""Characters within which a `{}` with blanks is looked for."""
_BRACKET = re.compile(r'["{}\[\]]')
_IN_TEXT = re.compile(r'"|\\.?', re.DOTALL)
_text = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Call:
    """A call of a tool: who is called, and the text of the arguments so far."""

    __slots__ = (
        "_is_broken",
        "_is_plain",
        "_nesting",
        "_pieces",
        "_size",
        "_told",
        "block",
        "extra",
        "given_id",
        "id",
        "index",
        "is_open",
        "name",
    )

    def __init__(self, index: int | None, own_id: str) -> None:
        self.index = index
        self.id = own_id
        """The server's id, or ours where it gave none."""
        self.given_id = ""
        self.name = ""
        self.extra: Any = None
        """What the server wants back with it."""
        self.block = -1
        """The index of its block; -1 before it has one."""
        self.is_open = False
        self._pieces: list[str] = []
        self._size = 0
        self._told = 0
        """How many of the pieces the client has been told."""
        self._is_plain = False
        """Whether the arguments can't be the `{}` any more that some servers send before the real ones."""
        self._nesting = _Nesting()
        self._is_broken = False
        """Whether the arguments ended and are no JSON object: what follows can't make them one."""

    def add(self, piece: ToolCall) -> None:
        """Take a piece; raises Untranslated."""
        given = name_of(piece.id)
        if given and not self.given_id and self.block < 0:
            self.id = self.given_id = given
        if piece.extra_content is not None and self.block < 0:
            self.extra = piece.extra_content
        if piece.function is None:
            return
        if piece.function.name and self.block < 0:
            self.name = piece.function.name
        raw = bytes(piece.function.arguments).strip()
        if not raw or raw == b"null":
            return
        text = decode(raw, _text) if raw[:1] == b'"' else str(raw, "utf-8", "replace")
        self._size += len(text)
        if self._size > ARGUMENTS_MAX:
            raise Untranslated(f"It sent arguments of a tool of more than {ARGUMENTS_MAX >> 20} MiB.")
        self._pieces.append(text)
        self._nesting.add(text)
        if not self._is_plain:
            self._look()

    def _look(self) -> None:
        """Leave out a `{}` that stands before the real arguments."""
        text = "".join(self._pieces)
        self._pieces = [text]
        bare = "".join(text.split()) if len(text) <= _SHORT else text
        if bare in _NOT_YET:
            return
        self._is_plain = True
        if bare.startswith('{}{"'):
            self._pieces = [text.lstrip()[2:].lstrip()]

    def news(self, *, is_last: bool = False) -> str:
        """Return what of the arguments is to be told now, once; what may be a mere `{}` only when nothing follows."""
        if not (self._is_plain or is_last):
            return ""
        found = "".join(self._pieces[self._told :])
        self._told = len(self._pieces)
        return found

    def text(self) -> str:
        """Return the arguments so far."""
        if self._told == len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
            self._told = 1
        return "".join(self._pieces)

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
        """Whether its arguments are there and whole; they are read once, when their outer bracket has closed."""
        if not (self.name and self._nesting.is_closed) or self._is_broken:
            return False
        self._is_broken = not self.is_whole()
        return not self._is_broken

    def is_filled(self) -> bool:
        """Whether its arguments have come, and are no mere `{}`."""
        return self._is_plain and self.has_come()

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


class _Nesting:
    """How deep the end of a JSON text that comes in pieces is inside its brackets; each character is read once."""

    __slots__ = ("_depth", "_has_begun", "_is_escaped", "_is_text")

    def __init__(self) -> None:
        self._depth = 0
        self._has_begun = False
        self._is_text = False
        self._is_escaped = False
        """Whether the last piece ended with a backslash."""

    @property
    def is_closed(self) -> bool:
        """Whether there were brackets, and each is closed."""
        return self._has_begun and not self._depth and not self._is_text

    def add(self, text: str) -> None:
        """Take a piece."""
        place = 1 if self._is_escaped and text else 0
        self._is_escaped = self._is_escaped and not text
        while found := (_IN_TEXT if self._is_text else _BRACKET).search(text, place):
            place, mark = found.end(), found[0]
            if mark == '"':
                self._is_text = not self._is_text
            elif self._is_text:
                self._is_escaped = mark == "\\"
            else:
                self._depth += 1 if mark in "{[" else -1
                self._has_begun = True


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

    Pieces of one index belong together, whatever their ids are: some servers make a new id for each piece. Some
    number no calls, or call each one 0: there a piece with a name begins another call, once the one before is whole.
    """
    call = calls.newest(number(piece.index))
    if call is None or _begins_another(call, piece, has_index=number(piece.index) is not None):
        return None
    return call


def _begins_another(call: Call, piece: ToolCall, *, has_index: bool) -> bool:
    name = piece.function.name if piece.function is not None else None
    if not name or not call.name:
        return False
    given = name_of(piece.id)
    if not given:
        return not has_index
    if not call.given_id or given == call.given_id:
        return False
    return name != call.name or call.is_filled() or _is_empty(piece)


def _is_empty(piece: ToolCall) -> bool:
    """Whether it is all of a call without arguments."""
    return piece.function is not None and bytes(piece.function.arguments).strip(b'" ') == b"{}"
