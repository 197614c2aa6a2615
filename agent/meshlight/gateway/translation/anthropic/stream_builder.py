"""Builds a message of Anthropic's protocol from the chunks of chat completions."""

import hashlib
import re
from typing import Any, Final

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.writer import Kind, Usage, Writer
from meshlight.gateway.translation.carried_state import ExtrasCollector, call_id, signature
from meshlight.gateway.translation.chat import (
    CUT,
    REFUSED,
    check_ending,
    count,
    finish_reason_of,
    id_text,
    number,
)
from meshlight.gateway.translation.chat_schema import Chunk, MessageDelta, ToolCall
from meshlight.gateway.translation.tool_call_pieces import CallList, ToolCallBuilder, find_call

_ID_MAX: Final = 64
BLOCKS_MAX: Final = 10_000
"""Blocks of one message."""
_NOT_OF_AN_ID: Final = re.compile(r"[^A-Za-z0-9_-]+")


class AnswerOptions:
    """What the translation of the answer needs from the request."""

    __slots__ = ("hides_thinking", "is_stream", "model", "stop_sequences")

    def __init__(
        self,
        model: str,
        *,
        is_stream: bool = False,
        stop_sequences: tuple[str, ...] = (),
        hides_thinking: bool = False,
    ) -> None:
        self.model = model
        """The model name in the request."""
        self.is_stream = is_stream
        self.stop_sequences = stop_sequences
        self.hides_thinking = hides_thinking


class StreamBuilder:
    """Writes blocks in the order in which they begin; `finish` ends the message."""

    __slots__ = (
        "_block",
        "_calls",
        "_count",
        "_extras",
        "_is_refused",
        "_kind",
        "_matched",
        "_message_id",
        "_open",
        "_options",
        "_reason",
        "_usage",
        "_writer",
        "is_finished",
    )

    def __init__(self, options: AnswerOptions, writer: Writer) -> None:
        self._options = options
        self._writer = writer
        self._message_id = ""
        self._usage = Usage()
        self._kind: Kind | None = None
        """The kind of the open block; None if none is open."""
        self._block = 0
        self._count = 0
        """Blocks that were begun."""
        self._calls = CallList()
        self._open: list[ToolCallBuilder] = []
        """The calls whose blocks are open."""
        self._extras = ExtrasCollector()
        self._reason = ""
        self._matched: str | None = None
        self._is_refused = False
        self.is_finished = False

    def take(self, chunk: Chunk, data: bytes) -> None:
        """Write what a chunk adds; `data` is its JSON, from which an id is made if it has none.

        Raises TranslationFailed.
        """
        usage, choices = chunk.usage, chunk.choices
        if isinstance(usage, dict):
            self._usage = _usage(usage)
        if not choices:
            return
        if not self._message_id:
            self._message_id = _message_id(chunk.id, data)
            self._writer.start(self._message_id, self._options.model, self._usage)
        for choice in choices:
            if number(choice.index):
                continue
            if (delta := choice.delta) is not None:
                self._add_delta(delta)
            elif (message := choice.message) is not None:
                self._add_delta(message, is_complete=True)
            if reason := finish_reason_of(choice):
                self._reason = reason
                for matched in (choice.stop_reason, choice.matched_stop):
                    if isinstance(matched, str) and matched in self._options.stop_sequences:
                        self._matched = matched

    def finish(self, *, has_end_mark: bool) -> None:
        """End the message; raises TranslationFailed if the answer is incomplete.

        `has_end_mark` says that the backend marked the end in another way than by a reason.
        """
        check_ending(self._reason, has_begun=bool(self._message_id), has_end_mark=has_end_mark)
        is_cut = self._reason in CUT
        for call in self._calls.calls:
            if not is_cut:
                call.check()
        self._close_block()
        for call in self._open:
            self._close_call(call, is_complete=call.is_complete())
        self._open.clear()
        if self._calls.calls and (extras := self._extras.take()):
            self._writer.redacted(self._next(), signature(extras))
        self._writer.finish(self._stop_reason(), self._matched, self._usage)
        self.is_finished = True

    def ping(self) -> None:
        """Write a sign of life, once there is a message."""
        if self._message_id and not self.is_finished:
            self._writer.ping()

    def _add_delta(self, delta: MessageDelta, *, is_complete: bool = False) -> None:
        self._extras.add_delta(delta)
        thought: Any = delta.reasoning_content or delta.reasoning
        if isinstance(thought, str) and thought:
            self._add("thinking", thought)
        content = delta.content
        if isinstance(content, str):
            if content:
                self._add("text", content)
        elif content:
            for part in content:
                self._add_part(part)
        if refusal := delta.refusal:
            self._is_refused = True
            self._add("text", refusal)
        for piece in delta.tool_calls or ():
            self._call(piece, None if is_complete else find_call(self._calls, piece))

    def _add_part(self, part: Any) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            self._add("text", part["text"])
        elif kind == "thinking" and isinstance(part.get("thinking"), list | tuple):
            for inner in part["thinking"]:
                if isinstance(inner, dict) and isinstance(inner.get("text"), str):
                    self._add("thinking", inner["text"])
        else:
            raise TranslationFailed("It sent a content part that is neither text nor thoughts.")

    def _add(self, kind: Kind, piece: str) -> None:
        if self._kind != kind:
            self._close_block()
            if self._open:
                self._close_complete_calls()
            self._kind = kind
            self._block = self._next()
            self._writer.open(self._block, kind)
        if kind == "thinking" and self._options.hides_thinking:
            self._writer.ping()
        else:
            self._writer.add(self._block, kind, piece)

    def _call(self, piece: ToolCall, call: ToolCallBuilder | None) -> None:
        if call is None:
            own_id = f"toolu_{self._message_id[4:28]}_{len(self._calls.calls)}"
            call = self._calls.begin(number(piece.index), own_id)
        call.add(piece)
        if call.block < 0:
            if not call.name:
                return  # a block needs the name
            self._close_block()
            self._close_complete_calls()
            call.block = self._next()
            call.is_open = True
            self._open.append(call)
            self._writer.open_call(call.block, call_id(call.id, call.extra, self._extras.take()), call.name)
        if take_new := call.take_new():
            if not call.is_open:
                raise TranslationFailed(f"It went on with a call of the tool {call.shown} after its end.")
            self._writer.add_arguments(call.block, take_new)

    def _close_block(self) -> None:
        if self._kind is not None:
            if self._kind == "thinking":
                self._writer.sign(self._block, signature(self._extras.take()))
            self._writer.close(self._block)
            self._kind = None

    def _close_complete_calls(self) -> None:
        """Close the complete calls; an incomplete one may continue after other content."""
        for call in self._open:
            if call.has_arguments():
                self._close_call(call)
        self._open = [call for call in self._open if call.is_open]

    def _close_call(self, call: ToolCallBuilder, *, is_complete: bool = True) -> None:
        if rest := call.take_new(is_last=True):
            self._writer.add_arguments(call.block, rest)
        call.is_open = False
        self._writer.close(call.block, is_complete=is_complete)

    def _next(self) -> int:
        self._count += 1
        if self._count > BLOCKS_MAX:
            raise TranslationFailed(
                f"Its answer changes more than {BLOCKS_MAX} times between texts, thoughts and calls."
            )
        return self._count - 1

    def _stop_reason(self) -> str:
        if self._is_refused or self._reason in REFUSED:
            return "refusal"
        if self._reason in CUT:
            return "max_tokens"
        if self._calls.calls:
            return "tool_use"
        return "end_turn" if self._matched is None else "stop_sequence"


def _message_id(given: Any, data: bytes) -> str:
    """Return an id in Anthropic's format, made from the upstream's id, else from the data."""
    own = _NOT_OF_AN_ID.sub("", id_text(given)[: 4 * _ID_MAX].removeprefix("chatcmpl-"))[:_ID_MAX]
    return f"msg_{own or hashlib.blake2b(data, digest_size=12).hexdigest()}"


def _usage(found: dict[str, Any]) -> Usage:
    """Read the counts; anything but a number counts as 0, since counting must never break an answer."""
    details = found.get("prompt_tokens_details")
    cached = count(details, "cached_tokens")
    prompt = count(found, "prompt_tokens")
    return Usage(max(0, prompt - cached), cached, count(found, "completion_tokens"))
