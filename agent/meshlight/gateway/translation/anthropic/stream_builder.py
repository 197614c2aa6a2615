"""An answer of chat completions, chunk by chunk, told as a message of Anthropic's protocol."""

import hashlib
import re
from typing import Any

import msgspec

from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import Chunk, Said, ToolCall, count, ending_of, name_of, number
from meshlight.gateway.translation.ending import CUT, REFUSED, check_ending
from meshlight.gateway.translation.keepsake import Collected, call_id, signature
from meshlight.gateway.translation.messages_call import Call, CallList, find_call
from meshlight.gateway.translation.messages_writer import Head, Kind, Usage, Writer

_ID_MAX = 64
BLOCKS_MAX = 10_000
"""Blocks of one message."""
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9_-]+")


class Ask(msgspec.Struct, frozen=True):
    """What of the request matters for its answer."""

    model: str
    """The name that the caller asked for."""
    is_stream: bool = False
    stop_sequences: tuple[str, ...] = ()
    hides_thinking: bool = False


class Assembly:
    """Writes blocks in the order in which they come; `finish` is the end of the message."""

    __slots__ = (
        "_ask",
        "_block",
        "_calls",
        "_count",
        "_is_refused",
        "_kept",
        "_kind",
        "_matched",
        "_message_id",
        "_open",
        "_reason",
        "_usage",
        "_writer",
        "is_finished",
    )

    def __init__(self, ask: Ask, writer: Writer) -> None:
        self._ask = ask
        self._writer = writer
        self._message_id = ""
        self._usage = Usage()
        self._kind: Kind | None = None
        """What the open block of text or thoughts holds; None when there is none."""
        self._block = 0
        self._count = 0
        """Blocks that have begun."""
        self._calls = CallList()
        self._open: list[Call] = []
        """Those whose blocks have begun and not ended."""
        self._kept = Collected()
        self._reason = ""
        self._matched: str | None = None
        self._is_refused = False
        self.is_finished = False

    def take(self, chunk: Chunk, data: bytes) -> None:
        """Tell what a chunk adds; `data` is the chunk itself, of which an id is made where it has none.

        Raises Untranslated.
        """
        if isinstance(chunk.usage, dict):
            self._usage = _usage(chunk.usage)
        if not self._message_id and chunk.choices:
            self._message_id = _message_id(chunk.id, data)
            head = Head(self._message_id, self._ask.model, _without_output(self._usage))
            self._writer.start(head)
        for choice in chunk.choices or ():
            if number(choice.index):
                continue
            if choice.delta is not None:
                self._say(choice.delta)
            elif choice.message is not None:
                self._say(choice.message, is_whole=True)
            if reason := ending_of(choice):
                self._reason = reason
                for matched in (choice.stop_reason, choice.matched_stop):
                    if isinstance(matched, str) and matched in self._ask.stop_sequences:
                        self._matched = matched

    def finish(self, *, is_told: bool) -> None:
        """End the message; raises Untranslated when the answer is not whole.

        `is_told` says that the backend told its end in another way than by a reason.
        """
        check_ending(self._reason, has_begun=bool(self._message_id), is_told=is_told)
        is_cut = self._reason in CUT
        for call in self._calls.calls:
            if not is_cut:
                call.check()
        self._close_block()
        for call in self._open:
            self._close_call(call, is_whole=call.is_whole())
        self._open.clear()
        if self._calls.calls and (extras := self._kept.take()):
            self._writer.redacted(self._next(), signature(extras))
        self._writer.finish(self._stop_reason(), self._matched, self._usage)
        self.is_finished = True

    def ping(self) -> None:
        """Tell that the backend lives, once there is a message."""
        if self._message_id and not self.is_finished:
            self._writer.ping()

    def _say(self, said: Said, *, is_whole: bool = False) -> None:
        self._kept.hear(said)
        thought: Any = said.reasoning_content or said.reasoning
        if isinstance(thought, str) and thought:
            self._add("thinking", thought)
        if isinstance(said.content, str):
            if said.content:
                self._add("text", said.content)
        elif said.content:
            for part in said.content:
                self._say_part(part)
        if said.refusal:
            self._is_refused = True
            self._add("text", said.refusal)
        for piece in said.tool_calls or ():
            self._call(piece, None if is_whole else find_call(self._calls, piece))

    def _say_part(self, part: Any) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            self._add("text", part["text"])
        elif kind == "thinking" and isinstance(part.get("thinking"), list | tuple):
            for inner in part["thinking"]:
                if isinstance(inner, dict) and isinstance(inner.get("text"), str):
                    self._add("thinking", inner["text"])
        else:
            raise Untranslated("It sent a content part that is neither text nor thoughts.")

    def _add(self, kind: Kind, piece: str) -> None:
        if self._kind != kind:
            self._close_block()
            self._close_whole_calls()
            self._kind = kind
            self._block = self._next()
            self._writer.open(self._block, kind)
        if kind == "thinking" and self._ask.hides_thinking:
            self._writer.ping()
        else:
            self._writer.add(self._block, kind, piece)

    def _call(self, piece: ToolCall, call: Call | None) -> None:
        if call is None:
            own_id = f"toolu_{self._message_id[4:28]}_{len(self._calls.calls)}"
            call = self._calls.begin(number(piece.index), own_id)
        call.add(piece)
        if call.block < 0:
            if not call.name:
                return  # it can't begin without its name
            self._close_block()
            self._close_whole_calls()
            call.block = self._next()
            call.is_open = True
            self._open.append(call)
            self._writer.open_call(call.block, call_id(call.id, call.extra, self._kept.take()), call.name)
        if news := call.news():
            if not call.is_open:
                raise Untranslated(f"It went on with a call of the tool {call.shown} after its end.")
            self._writer.add_arguments(call.block, news)

    def _close_block(self) -> None:
        if self._kind is not None:
            if self._kind == "thinking":
                self._writer.sign(self._block, signature(self._kept.take()))
            self._writer.close(self._block)
            self._kind = None

    def _close_whole_calls(self) -> None:
        """Close the calls that are complete; one that isn't may still go on between others."""
        for call in self._open:
            if call.has_come():
                self._close_call(call)
        self._open = [call for call in self._open if call.is_open]

    def _close_call(self, call: Call, *, is_whole: bool = True) -> None:
        if rest := call.news(is_last=True):
            self._writer.add_arguments(call.block, rest)
        call.is_open = False
        self._writer.close(call.block, is_whole=is_whole)

    def _next(self) -> int:
        self._count += 1
        if self._count > BLOCKS_MAX:
            raise Untranslated(
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
    """Return an id of Anthropic's form, made of the upstream's; of the data itself where that gives none."""
    own = _NOT_OF_AN_ID.sub("", name_of(given)[: 4 * _ID_MAX].removeprefix("chatcmpl-"))[:_ID_MAX]
    return f"msg_{own or hashlib.blake2b(data, digest_size=12).hexdigest()}"


def _usage(found: dict[str, Any]) -> Usage:
    """Read the counts; what is no number counts as nothing, for counting must never break an answer."""
    details = found.get("prompt_tokens_details")
    cached = count(details, "cached_tokens")
    prompt = count(found, "prompt_tokens")
    return Usage(
        input_tokens=max(0, prompt - cached),
        cache_read_input_tokens=cached,
        output_tokens=count(found, "completion_tokens"),
    )


def _without_output(usage: Usage) -> Usage:
    return msgspec.structs.replace(usage, output_tokens=0)
