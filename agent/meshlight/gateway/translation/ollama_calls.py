"""Calls of tools, gathered from their pieces: Ollama's clients get each whole, with its arguments as an object."""

import hashlib

import msgspec
from msgspec import Raw

from meshlight.gateway.translation.chat_shape import ToolCall as CallPiece
from meshlight.gateway.translation.chat_shape import number
from meshlight.gateway.translation.keepsake import Collected, Extras, call_id
from meshlight.gateway.translation.messages_call import Call, CallList, find_call
from meshlight.gateway.translation.ollama_lines import CallFunction, ToolCall
from meshlight.gateway.translation.well_formed import decode

_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class Calls:
    """The calls of one answer; `seed` makes their ids differ from those of other answers."""

    __slots__ = ("_calls", "_seed", "kept")

    def __init__(self, seed: str) -> None:
        self._calls = CallList()
        self._seed = seed
        self.kept = Collected()
        """What belongs to the message as a whole: the first call takes it along."""

    def add(self, piece: CallPiece, *, is_whole: bool) -> None:
        """Take a piece, or a whole call; raises Untranslated when they are too many or too large."""
        call = None if is_whole else find_call(self._calls, piece)
        if call is None:
            call = self._calls.begin(number(piece.index), self._own_id())
        call.add(piece)

    def whole(self, *, is_cut: bool) -> tuple[ToolCall, ...]:
        """Return the calls; where the limit cut the answer off, without those that are not whole.

        Raises Untranslated for half a call.
        """
        kept = [call for call in self._calls.calls if call.is_whole()] if is_cut else self._calls.calls
        for call in kept:
            call.check()
        extras = self.kept.take()
        return tuple(
            ToolCall(
                _told_id(call, Extras() if index else extras),
                CallFunction(index, call.name, _arguments(call.text())),
            )
            for index, call in enumerate(kept)
        )

    def _own_id(self) -> str:
        """Return an id of nine letters and digits: Mistral's models take no others."""
        digest = hashlib.blake2b(
            f"{self._seed}/{len(self._calls.calls)}".encode("utf-8", "replace"), digest_size=5
        )
        return digest.hexdigest()[:9]


def _told_id(call: Call, extras: Extras) -> str:
    return call_id(call.id, call.extra, extras)


def _arguments(text: str) -> Raw:
    """Return a JSON object in one line; its numbers stay as they are."""
    if not text.strip():
        return Raw(b"{}")
    fields = decode(text.encode("utf-8", "replace"), _fields)
    return Raw(msgspec.json.format(_encode(fields), indent=-1))
