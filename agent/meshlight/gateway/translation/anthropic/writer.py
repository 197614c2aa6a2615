"""Writers of an answer in Anthropic's protocol: as the events of a stream, and as one JSON object."""

from typing import Any, Literal, Protocol

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import TranslationFailed

HELD_MAX = 64 << 20
"""Characters of an answer that are buffered."""
PIECE_COST = 64
"""Counted for each piece besides its characters."""

Kind = Literal["text", "thinking"]
_encode = msgspec.json.Encoder().encode


class Usage(Struct, frozen=True):
    """Token counts as Anthropic defines them: `input_tokens` excludes cached tokens."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0


class Head(Struct, frozen=True):
    """The fields of a message at its start."""

    id: str
    model: str
    usage: Usage
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    content: tuple[()] = ()
    stop_reason: None = None
    stop_sequence: None = None


class Writer(Protocol):
    """Receives an answer in the order in which it grows; blocks are identified by their index, from 0."""

    def start(self, head: Head) -> None:
        """The message begins."""

    def open(self, index: int, kind: Kind) -> None:
        """A block of text or of thoughts begins."""

    def open_call(self, index: int, call_id: str, name: str) -> None:
        """A call of a tool begins."""

    def add(self, index: int, kind: Kind, piece: str) -> None:
        """The block grows."""

    def add_arguments(self, index: int, piece: str) -> None:
        """The JSON text of a call's input grows."""

    def sign(self, index: int, signature: str) -> None:
        """The thoughts get their signature, after their last piece."""

    def redacted(self, index: int, data: str) -> None:
        """A complete block with state that only this gateway can read."""

    def close(self, index: int, *, is_complete: bool = True) -> None:
        """The block ends; a call that was cut off is incomplete."""

    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """The message ends."""

    def ping(self) -> None:
        """The connection is alive, without new content."""

    def take(self) -> bytes:
        """Return the bytes to send now; each is returned once."""


class EventWriter:
    """Writes a stream: `message_start`, blocks in `content_block_*`, `message_delta`, `message_stop`."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out: list[bytes] = []

    def start(self, head: Head) -> None:
        """Write `message_start`."""
        self._write(b"message_start", b'{"type":"message_start","message":%s}' % _encode(head))

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
            self._delta(index, b'"text_delta","text":%s' % _encode(piece))
        else:
            self._delta(index, b'"thinking_delta","thinking":%s' % _encode(piece))

    def add_arguments(self, index: int, piece: str) -> None:
        """Write an `input_json_delta`."""
        self._delta(index, b'"input_json_delta","partial_json":%s' % _encode(piece))

    def sign(self, index: int, signature: str) -> None:
        """Write a `signature_delta`."""
        self._delta(index, b'"signature_delta","signature":%s' % _encode(signature))

    def redacted(self, index: int, data: str) -> None:
        """Write a block of `redacted_thinking`."""
        self._open(index, _encode({"type": "redacted_thinking", "data": data}))
        self.close(index)

    def close(self, index: int, *, is_complete: bool = True) -> None:  # noqa: ARG002 - the stop reason says it
        """Write `content_block_stop`."""
        self._write(b"content_block_stop", b'{"type":"content_block_stop","index":%d}' % index)

    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """Write `message_delta` and `message_stop`."""
        delta = _encode({"stop_reason": reason, "stop_sequence": stop_sequence})
        ended = b'{"type":"message_delta","delta":%s,"usage":%s}' % (delta, _encode(usage))
        self._write(b"message_delta", ended)
        self._write(b"message_stop", b'{"type":"message_stop"}')

    def ping(self) -> None:
        """Write `ping`."""
        self._write(b"ping", b'{"type":"ping"}')

    def take(self) -> bytes:
        """Return the events since the last call."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _open(self, index: int, block: bytes) -> None:
        data = b'{"type":"content_block_start","index":%d,"content_block":%s}' % (index, block)
        self._write(b"content_block_start", data)

    def _delta(self, index: int, delta: bytes) -> None:
        data = b'{"type":"content_block_delta","index":%d,"delta":{"type":%s}}' % (index, delta)
        self._write(b"content_block_delta", data)

    def _write(self, name: bytes, data: bytes) -> None:
        self._out.append(b"event: %s\ndata: %s\n\n" % (name, data))


class MessageWriter:
    """Writes one message, once it is complete."""

    __slots__ = ("_blocks", "_body", "_head", "_pieces", "_size")

    def __init__(self) -> None:
        self._head: Head | None = None
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[int, list[str]] = {}
        self._size = 0
        self._body = b""

    def start(self, head: Head) -> None:
        """Store the head."""
        self._head = head

    def open(self, index: int, kind: Kind) -> None:
        """Begin a block."""
        self._blocks[index] = {"type": kind, kind: ""} | ({} if kind == "text" else {"signature": ""})
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
        if block["type"] != "tool_use":
            block[block["type"]] = text
        elif is_complete:
            block["input"] = Raw((text.strip() or "{}").encode())
        else:
            del self._blocks[index]

    def finish(self, reason: str, stop_sequence: str | None, usage: Usage) -> None:
        """Write the message."""
        if self._head is None:
            raise TranslationFailed("It sent no answer.")
        message = msgspec.to_builtins(self._head) | {
            "content": [self._blocks[index] for index in sorted(self._blocks)],
            "stop_reason": reason,
            "stop_sequence": stop_sequence,
            "usage": usage,
        }
        self._body = _encode(message)

    def ping(self) -> None:
        """Do nothing: a JSON object has no place for it."""

    def take(self) -> bytes:
        """Return the message once it is written."""
        body, self._body = self._body, b""
        return body
