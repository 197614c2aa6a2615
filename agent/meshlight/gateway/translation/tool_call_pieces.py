"""Puts the pieces of tool calls together, as they arrive in the chunks of chat completions."""

import re
from typing import Any, Final

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.chat import id_text, number
from meshlight.gateway.translation.chat_schema import ToolCall
from meshlight.gateway.translation.json_repair import decode_repaired

ARGUMENTS_MAX = 16 << 20
"""Characters of the arguments of one call."""
CALLS_MAX = 1_000
"""Calls of one answer."""
_NOT_YET: Final = frozenset({"", "{", "{}", "{}{"})
"""Arguments without blanks that may still turn out to be a `{}` before the real ones."""
_SHORT: Final = 64
"""Characters in which a `{}` with blanks is expected."""
_BRACKET: Final = re.compile(r'["{}\[\]]')
_IN_TEXT: Final = re.compile(r'"|\\.?', re.DOTALL)
_text: Final = msgspec.json.Decoder(str)
_any = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ToolCallBuilder:
    """One tool call while its pieces arrive: its name, its id and its arguments so far."""

    __slots__ = (
        "_is_broken",
        "_is_plain",
        "_nesting",
        "_pieces",
        "_sent",
        "_size",
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
        """The server's id, or one of ours if it sent none."""
        self.given_id = ""
        self.name = ""
        self.extra: Any = None
        """State that the server wants back with the call."""
        self.block = -1
        """The index of its block; -1 before it has one."""
        self.is_open = False
        self._pieces: list[str] = []
        self._size = 0
        self._sent = 0
        """How many of the pieces were returned by `take_new`."""
        self._is_plain = False
        """Whether the arguments are more than the `{}` that some servers send before the real ones."""
        self._nesting = _Nesting()
        self._is_broken = False
        """Whether the arguments ended without being a JSON object; no later piece can change that."""

    def add(self, piece: ToolCall) -> None:
        """Add a piece; raises TranslationFailed."""
        given = id_text(piece.id)
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
        text = decode_repaired(raw, _text) if raw[:1] == b'"' else str(raw, "utf-8", "replace")
        self._size += len(text)
        if self._size > ARGUMENTS_MAX:
            raise TranslationFailed(f"It sent arguments of a tool of more than {ARGUMENTS_MAX >> 20} MiB.")
        self._pieces.append(text)
        self._nesting.add(text)
        if not self._is_plain:
            self._strip_placeholder()

    def _strip_placeholder(self) -> None:
        """Remove a `{}` before the real arguments."""
        text = "".join(self._pieces)
        self._pieces = [text]
        bare = "".join(text.split()) if len(text) <= _SHORT else text
        if bare in _NOT_YET:
            return
        self._is_plain = True
        if bare.startswith('{}{"'):
            self._pieces = [text.lstrip()[2:].lstrip()]

    def take_new(self, *, is_last: bool = False) -> str:
        """Return the new part of the arguments; a possible placeholder `{}` only with `is_last`."""
        if not (self._is_plain or is_last):
            return ""
        found = "".join(self._pieces[self._sent :])
        self._sent = len(self._pieces)
        return found

    def text(self) -> str:
        """Return the arguments so far."""
        if self._sent == len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
            self._sent = 1
        return "".join(self._pieces)

    def is_complete(self) -> bool:
        """Whether it has a name, and its arguments are a JSON object or empty."""
        text = self.text()
        if not self.name:
            return False
        if not text.strip():
            return True
        try:
            decode_repaired(text.encode(), _any)
        except (ValueError, RecursionError):
            return False
        return True

    def has_arguments(self) -> bool:
        """Whether its arguments are complete; they are decoded once, when their outer bracket has closed."""
        if not (self.name and self._nesting.is_closed) or self._is_broken:
            return False
        self._is_broken = not self.is_complete()
        return not self._is_broken

    def is_filled(self) -> bool:
        """Whether its arguments are complete, and more than a placeholder `{}`."""
        return self._is_plain and self.has_arguments()

    def check(self) -> None:
        """Raise TranslationFailed if it is incomplete."""
        if not self.name:
            raise TranslationFailed("It called a tool without saying which.")
        if not self.is_complete():
            raise TranslationFailed(
                f"It called the tool {self.shown} with arguments that are not a JSON object."
            )

    @property
    def shown(self) -> str:
        """The name for error messages."""
        return sanitize_line(self.name, 100)


class _Nesting:
    """Counts the open brackets of a JSON text that comes in pieces; reads each character once."""

    __slots__ = ("_depth", "_has_begun", "_is_escaped", "_is_text")

    def __init__(self) -> None:
        self._depth = 0
        self._has_begun = False
        self._is_text = False
        self._is_escaped = False
        """Whether the last piece ended with a backslash."""

    @property
    def is_closed(self) -> bool:
        """Whether there were brackets, and all are closed."""
        return self._has_begun and not self._depth and not self._is_text

    def add(self, text: str) -> None:
        """Add a piece."""
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
        self.calls: list[ToolCallBuilder] = []
        self._newest: dict[int | None, ToolCallBuilder] = {}

    def newest(self, index: int | None) -> ToolCallBuilder | None:
        """Return the last call with this index; for None, the last call."""
        if index is None:
            return self.calls[-1] if self.calls else None
        return self._newest.get(index)

    def begin(self, index: int | None, own_id: str) -> ToolCallBuilder:
        """Add a call; raises TranslationFailed if there are too many."""
        if len(self.calls) >= CALLS_MAX:
            raise TranslationFailed(f"It called more than {CALLS_MAX} tools at once.")
        call = self._newest[index] = ToolCallBuilder(index, own_id)
        self.calls.append(call)
        return call


def find_call(calls: CallList, piece: ToolCall) -> ToolCallBuilder | None:
    """Return the call that a piece belongs to; None if it begins another.

    Pieces of one index belong together, whatever their ids are: some servers send a new id with each piece. Some
    send no index, or always 0: then a piece with a name begins another call once the previous one is complete.
    """
    call = calls.newest(number(piece.index))
    if call is None or _begins_another(call, piece, has_index=number(piece.index) is not None):
        return None
    return call


def _begins_another(call: ToolCallBuilder, piece: ToolCall, *, has_index: bool) -> bool:
    name = piece.function.name if piece.function is not None else None
    if not name or not call.name:
        return False
    given = id_text(piece.id)
    if not given:
        return not has_index
    if not call.given_id or given == call.given_id:
        return False
    return name != call.name or call.is_filled() or _is_empty(piece)


def _is_empty(piece: ToolCall) -> bool:
    """Whether the piece is a complete call without arguments."""
    return piece.function is not None and bytes(piece.function.arguments).strip(b'" ') == b"{}"
