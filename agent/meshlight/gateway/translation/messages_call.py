"""One call of a tool while its pieces come."""

from collections.abc import Sequence
from typing import Any

import msgspec

from meshlight.backends.quote import clean
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import ToolCall, name_of, number
from meshlight.gateway.translation.well_formed import decode

ARGUMENTS_MAX = 16 << 20
"""Characters of the arguments of one call."""

_NOT_YET = frozenset({"", "{", "{}", "{}{"})
"""Arguments, without their blanks, that may yet become a `{}` and then the real ones."""
_SHORT = 64
"""Characters within which a `{}` with blanks is looked for."""
_text = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Call:
    """A call of a tool: who is called, and the text of the arguments so far."""

    __slots__ = (
        "_is_plain",
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

    def is_filled(self) -> bool:
        """Whether it is whole, and has arguments."""
        return self._is_plain and self.is_whole()

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


def find_call(calls: Sequence[Call], piece: ToolCall) -> Call | None:
    """Return the call that a piece goes on with; None when it begins one.

    Pieces of one index belong together, whatever their ids are: some servers make a new id for each piece. Some
    number no calls, or call each one 0: there a piece with a name begins another call, once the one before is whole.
    """
    index = number(piece.index)
    for call in reversed(calls):
        if index is None or call.index == index:
            return None if _begins_another(call, piece, has_index=index is not None) else call
    return None


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
