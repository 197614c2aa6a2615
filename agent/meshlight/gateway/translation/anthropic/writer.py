"""Writers of an answer in Anthropic's protocol: as the events of a stream, and as one JSON object."""

from abc import ABC, abstractmethod
from typing import Any, Final, Literal

import msgspec
from msgspec import Raw

from meshlight.domain.errors import TranslationFailed

HELD_MAX = 64 << 20
"""Characters of an answer that are buffered."""
PIECE_COST: Final = 64
"""Counted for each piece besides its characters."""

Kind = Literal["text", "thinking"]
_encode: Final = msgspec.json.Encoder().encode


class Usage:
    """Token counts: those of the prompt that were not in the cache, those that were, and those of the answer."""

    __slots__ = ("cached", "output", "prompt")

    def __init__(self, prompt: int = 0, cached: int = 0, output: int = 0) -> None:
        self.prompt = prompt
        self.cached = cached
        self.output = output

    def encoded(self, output: int) -> bytes:
        """Return them as Anthropic's JSON, with this number of tokens of the answer."""
        return (
            f'{{"input_tokens":{self.prompt},"cache_creation_input_tokens":0,'
            f'"cache_read_input_tokens":{self.cached},"output_tokens":{output}}}'
        ).encode()


class Writer(ABC):
    """Receives an answer in the order in which it grows; blocks are identified by their index, from 0."""

    __slots__ = ()

    @abstractmethod
    def start(self, message_id: str, model: str, usage: Usage) -> None:
        """The message begins; its id has letters, digits, `_` and `-` only."""

    @abstractmethod
    def open(self, index: int, kind: Kind) -> None:
        """A block of text or of thoughts begins."""

    @abstractmethod
    def open_call(self, index: int, call_id: str, name: str) -> None:
        """A call of a tool begins."""

    @abstractmethod
    def add(self, index: int, kind: Kind, piece: str) -> None:
        """The block grows."""

    @abstractmethod
    def add_arguments(self, index: int, piece: str) -> None:
        """The JSON text of a call's input grows."""

    @abstractmethod
    def sign(self, index: int, signature: str) -> None:
        """The thoughts get their signature, after their last piece."""

    @abstractmethod
    def redacted(self, index: int, data: str) -> None:
        """A complete block with state that only this gateway can read."""

    @abstractmethod
    def close(self, index: int, *, is_complete: bool = True) -> None:
        """The block ends; a call that was cut off is incomplete."""

    @abstractmethod
    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """The message ends."""

    @abstractmethod
    def ping(self) -> None:
        """The connection is alive, without new content."""

    @abstractmethod
    def take(self) -> bytes:
        """Return the bytes to send now; each is returned once."""


class EventWriter(Writer):
    """Writes a stream: `message_start`, blocks in `content_block_*`, `message_delta`, `message_stop`."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out: list[bytes] = []

    def start(self, message_id: str, model: str, usage: Usage) -> None:
        """Write `message_start`."""
        self._out.append(
            b'event: message_start\ndata: {"type":"message_start","message":%s[],"stop_reason":null,'
            b'"stop_sequence":null,"usage":%s}}\n\n' % (_head(message_id, model), usage.encoded(0))
        )

    def open(self, index: int, kind: Kind) -> None:
        """Write `content_block_start`; the signature of thoughts follows at their end."""
        block = b'"text","text":""' if kind == "text" else b'"thinking","thinking":"","signature":""'
        self._open(index, b'{"type":%s}' % block)

    def open_call(self, index: int, call_id: str, name: str) -> None:
        """Write `content_block_start` of a `tool_use`."""
        self._open(index, _encode({"type": "tool_use", "id": call_id, "name": name, "input": {}}))

    def add(self, index: int, kind: Kind, piece: str) -> None:
        """Write a `text_delta` or `thinking_delta`."""
        if kind == "text":
            self._delta(index, b'"text_delta","text":', piece)
        else:
            self._delta(index, b'"thinking_delta","thinking":', piece)

    def add_arguments(self, index: int, piece: str) -> None:
        """Write an `input_json_delta`."""
        self._delta(index, b'"input_json_delta","partial_json":', piece)

    def sign(self, index: int, signature: str) -> None:
        """Write a `signature_delta`."""
        self._delta(index, b'"signature_delta","signature":', signature)

    def redacted(self, index: int, data: str) -> None:
        """Write a block of `redacted_thinking`."""
        self._open(index, _encode({"type": "redacted_thinking", "data": data}))
        self.close(index)

    def close(self, index: int, *, is_complete: bool = True) -> None:  # noqa: ARG002 - the stop reason says it
        """Write `content_block_stop`."""
        self._out.append(
            b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%s}\n\n' % _digits(index)
        )

    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """Write `message_delta` and `message_stop`."""
        self._out.append(
            b'event: message_delta\ndata: {"type":"message_delta","delta":%s,"usage":%s}\n\n'
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
            % (b"{%s}" % _ending(reason, stop_sequence), usage.encoded(usage.output))
        )

    def ping(self) -> None:
        """Write `ping`."""
        self._out.append(b'event: ping\ndata: {"type":"ping"}\n\n')

    def take(self) -> bytes:
        """Return the events since the last call."""
        if not self._out:
            return b""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _open(self, index: int, block: bytes) -> None:
        self._out.append(
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%s,"content_block":%s}\n\n'
            % (_digits(index), block)
        )

    def _delta(self, index: int, field: bytes, text: str) -> None:
        self._out.append(
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%s,"delta":{"type":%s%s}}\n\n'
            % (_digits(index), field, _encode(text))
        )


class MessageWriter(Writer):
    """Writes one message, once it is complete."""

    __slots__ = ("_blocks", "_body", "_id", "_model", "_pieces", "_size")

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._size = 0
        self._body = b""

    def start(self, message_id: str, model: str, usage: Usage) -> None:  # noqa: ARG002 - the counts come at the end
        """Store the head."""
        self._id, self._model = message_id, model

    def open(self, index: int, kind: Kind) -> None:
        """Begin a block."""
        block: dict[str, Any] = {"type": kind, kind: ""}
        if kind == "thinking":
            block["signature"] = ""
        self._blocks[index] = block
        self._pieces[index] = []

    def open_call(self, index: int, call_id: str, name: str) -> None:
        """Begin a call."""
        self._blocks[index] = {"type": "tool_use", "id": call_id, "name": name}
        self._pieces[index] = []

    def add(self, index: int, kind: Kind, piece: str) -> None:  # noqa: ARG002 - the block knows its kind
        """Store a piece; raises TranslationFailed when there are too many."""
        self._size += len(piece) + PIECE_COST
        if self._size > HELD_MAX:
            raise TranslationFailed(f"It sent an answer of more than {HELD_MAX >> 20} million characters.")
        self._pieces[index].append(piece)

    def add_arguments(self, index: int, piece: str) -> None:
        """Store a piece of the arguments."""
        self.add(index, "text", piece)

    def sign(self, index: int, signature: str) -> None:
        """Store the signature."""
        self._blocks[index]["signature"] = signature

    def redacted(self, index: int, data: str) -> None:
        """Store a complete block."""
        self._blocks[index] = {"type": "redacted_thinking", "data": data}

    def close(self, index: int, *, is_complete: bool = True) -> None:
        """End a block; an incomplete call is left out, since its `input` would not be JSON."""
        text = "".join(self._pieces.pop(index))
        block = self._blocks[index]
        kind: str = block["type"]
        if kind != "tool_use":
            block[kind] = text
        elif is_complete:
            block["input"] = Raw((text.strip() or "{}").encode())
        else:
            del self._blocks[index]

    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """Write the message."""
        if not self._id:
            raise TranslationFailed("It sent no answer.")
        blocks = self._blocks
        content = _encode([blocks[index] for index in sorted(blocks)])
        head, ending = _head(self._id, self._model), _ending(reason, stop_sequence)
        # The counts come last, as at Anthropic: an input may have a field `usage` too, and the last one is counted.
        self._body = b'%s%s,%s,"usage":%s}' % (head, content, ending, usage.encoded(usage.output))

    def ping(self) -> None:
        """Do nothing: a JSON object has no place for it."""

    def take(self) -> bytes:
        """Return the message once it is written."""
        body, self._body = self._body, b""
        return body


def _head(message_id: str, model: str) -> bytes:
    """Return the beginning of a message, up to its content."""
    return b'{"id":"%s","type":"message","role":"assistant","model":%s,"content":' % (
        message_id.encode(),
        _encode(model),
    )


def _ending(reason: str, stop_sequence: str | None) -> bytes:
    """Return why a message ended, as the fields of an object."""
    return b'"stop_reason":"%s","stop_sequence":%s' % (reason.encode(), _encode(stop_sequence))


def _digits(number: int) -> bytes:
    return str(number).encode()
