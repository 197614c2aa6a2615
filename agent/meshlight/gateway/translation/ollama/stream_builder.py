"""Builds the pieces of Ollama's answers from the chunks of chat completions or completions.

Tool calls are collected, since Ollama's clients get each one complete, with its arguments as an object.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.carried_schema import MessageExtras
from meshlight.gateway.translation.carried_state import ExtrasCollector, call_id
from meshlight.gateway.translation.chat import (
    CUT,
    REFUSED,
    AnswerReader,
    check_ending,
    count,
    finish_reason_of,
    number,
    read,
    reported_error,
)
from meshlight.gateway.translation.chat_schema import Choice, Chunk, MessageDelta
from meshlight.gateway.translation.chat_schema import ToolCall as CallPiece
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.ollama.writer import AnswerOptions, CallFunction, End, Piece, ToolCall
from meshlight.gateway.translation.sse import Event
from meshlight.gateway.translation.tool_call_pieces import CallList, ToolCallBuilder, find_call

_fields = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode


class ToolCallCollector:
    """Collects the tool calls of one answer; `seed` makes their ids differ from those of other answers."""

    __slots__ = ("_calls", "_seed", "extras")

    def __init__(self, seed: str) -> None:
        self._calls = CallList()
        self._seed = seed
        self.extras = ExtrasCollector()
        """State of the message as a whole; the id of the first call carries it."""

    def add(self, piece: CallPiece, *, is_complete: bool) -> None:
        """Add a piece, or a complete call; raises TranslationFailed for too many or too large ones."""
        call = None if is_complete else find_call(self._calls, piece)
        if call is None:
            call = self._calls.begin(number(piece.index), self._own_id())
        call.add(piece)

    def finished(self, *, is_cut: bool) -> tuple[ToolCall, ...]:
        """Return the calls; if the limit cut the answer off, only the complete ones.

        Raises TranslationFailed for an incomplete call.
        """
        complete = [call for call in self._calls.calls if call.is_complete()] if is_cut else self._calls.calls
        for call in complete:
            call.check()
        extras = self.extras.take()
        return tuple(
            ToolCall(
                _client_id(call, MessageExtras() if index else extras),
                CallFunction(index, call.name, _arguments(call.text())),
            )
            for index, call in enumerate(complete)
        )

    def _own_id(self) -> str:
        """Return an id of nine letters and digits: Mistral's models accept no others."""
        digest = hashlib.blake2b(
            f"{self._seed}/{len(self._calls.calls)}".encode("utf-8", "replace"), digest_size=5
        )
        return digest.hexdigest()[:9]


def _client_id(call: ToolCallBuilder, extras: MessageExtras) -> str:
    return call_id(call.id, call.extra, extras)


def _arguments(text: str) -> Raw:
    """Return a JSON object in one line, with its numbers unchanged."""
    if not text.strip():
        return Raw(b"{}")
    fields = decode_repaired(text.encode("utf-8", "replace"), _fields)
    return Raw(msgspec.json.format(_encode(fields), indent=-1))


class TextChoice(Choice, frozen=True):
    """A choice of chat completions or of completions."""

    text: str | None = None
    """The text of completions."""
    logprobs: Any = None


class TextChunk(Chunk, frozen=True):
    """A chunk of either, or a complete answer."""

    choices: tuple[TextChoice, ...] | None = None
    timings: Any = None
    """llama.cpp: how long it took, in milliseconds (`prompt_ms`, `predicted_ms`)."""


_decoder = msgspec.json.Decoder(TextChunk)


class Reader:
    """Decodes the pieces of a body, split anywhere, into chunks; None marks the end of the answer."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events = AnswerReader()

    @property
    def waiting(self) -> int:
        """Return how much is complete of what has not come to its end."""
        return self._events.waiting

    def begin(self, content_type: bytes) -> None:
        """Set the content type, which says whether events come; if it does not, the first bytes do."""
        self._events.begin(content_type)

    @property
    def is_complete(self) -> bool:
        """Whether the answer is one JSON object."""
        return self._events.is_complete

    def feed(self, data: bytes) -> Iterator[TextChunk | None]:
        """Yield the chunks that `data` completes; raises TranslationFailed after those before the fault."""
        yield from map(_chunk, _without_empty(self._events.feed(data)))

    def end(self) -> Iterator[TextChunk | None]:
        """Yield the chunks that the end of the body completes; raises TranslationFailed."""
        yield from map(_chunk, _without_empty(self._events.end()))


def _without_empty(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event.data.strip() or event.name == b"error")


def _chunk(event: Event) -> TextChunk | None:
    if event.data.strip() == b"[DONE]":
        return None
    if event.name == b"error":
        raise reported_error(event.data)
    chunk = read(event.data, _decoder)
    if chunk.error or chunk.object == "error":
        raise reported_error(event.data)
    return chunk


_LONGEST_MS = 1e9


class StreamBuilder:
    """Turns chunks into pieces; `finish` returns what is only known at the end."""

    __slots__ = ("_calls", "_options", "_reason", "_timings", "_usage", "has_begun")

    def __init__(self, options: AnswerOptions, seed: str) -> None:
        self._options = options
        self._calls = ToolCallCollector(seed)
        self._reason = ""
        self._usage: Any = None
        self._timings: Any = None
        self.has_begun = False
        """Whether there was a choice, even an empty one."""

    def take(self, chunk: TextChunk) -> Iterator[Piece]:
        """Yield what a chunk adds to text, thoughts and log probabilities; raises TranslationFailed."""
        if isinstance(chunk.usage, dict):
            self._usage = chunk.usage
        if isinstance(chunk.timings, dict):
            self._timings = chunk.timings
        for choice in chunk.choices or ():
            if number(choice.index):
                continue
            self.has_begun = True
            piece = self._piece(choice)
            if piece != Piece():
                yield piece
            if reason := finish_reason_of(choice):
                self._reason = reason

    def finish(self, *, has_end_mark: bool) -> tuple[Piece, End]:
        """Return the calls, and how it ended; raises TranslationFailed when the answer is not finished.

        `has_end_mark` says that the backend token_entry its end in another way than by a reason.
        """
        check_ending(self._reason, has_begun=self.has_begun, has_end_mark=has_end_mark)
        is_cut = self._reason in CUT
        reason = "length" if is_cut else "content_filter" if self._reason in REFUSED else "stop"
        end = End(
            reason,
            prompt_eval_count=count(self._usage, "prompt_tokens"),
            prompt_eval_duration=_spent(self._timings, "prompt_ms"),
            eval_count=count(self._usage, "completion_tokens"),
            eval_duration=_spent(self._timings, "predicted_ms"),
        )
        return Piece(calls=self._calls.finished(is_cut=is_cut)), end

    def _piece(self, choice: TextChoice) -> Piece:
        delta = choice.delta if choice.delta is not None else choice.message
        texts: list[str] = [choice.text] if choice.text else []
        thoughts: list[str] = []
        if delta is not None:
            _add_delta(delta, texts, thoughts)
            self._calls.extras.add_delta(delta)
            for call in delta.tool_calls or ():
                self._calls.add(call, is_complete=choice.delta is None)
        return Piece(
            text="".join(texts),
            thinking="" if self._options.hides_thinking else "".join(thoughts),
            logprobs=tuple(_logprobs(choice.logprobs, inner=False)),
        )


def _add_delta(delta: MessageDelta, texts: list[str], thoughts: list[str]) -> None:
    thought: Any = delta.reasoning_content or delta.reasoning
    if isinstance(thought, str):
        thoughts.append(thought)
    if isinstance(delta.content, str):
        texts.append(delta.content)
    else:
        for part in delta.content or ():
            _add_part(part, texts, thoughts)
    if delta.refusal:
        texts.append(delta.refusal)


def _add_part(part: Any, texts: list[str], thoughts: list[str]) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        texts.append(part["text"])
    elif kind == "thinking" and isinstance(part.get("thinking"), list | tuple):
        inner = (item.get("text") for item in part["thinking"] if isinstance(item, dict))
        thoughts.extend(text for text in inner if isinstance(text, str))
    else:
        raise TranslationFailed("It sent a content part that is neither text nor thoughts.")


def _logprobs(found: Any, *, inner: bool) -> Iterator[dict[str, Any]]:
    """Yield the tokens with their log probabilities; entries without both are left out."""
    listed = found if inner else found.get("content") if isinstance(found, dict) else None
    for entry in listed if isinstance(listed, list | tuple) else ():
        if not isinstance(entry, dict):
            continue
        token, chance, data = entry.get("token"), entry.get("logprob"), entry.get("bytes")
        if not isinstance(token, str) or not isinstance(chance, int | float):
            continue
        token_entry: dict[str, Any] = {"token": token, "logprob": chance}
        if isinstance(data, list):
            token_entry["bytes"] = data
        if not inner and (others := list(_logprobs(entry.get("top_logprobs"), inner=True))):
            token_entry["top_logprobs"] = others
        yield token_entry


def _spent(timings: Any, name: str) -> int:
    """Return milliseconds as nanoseconds."""
    value = timings.get(name) if isinstance(timings, dict) else None
    return int(value * 1_000_000) if isinstance(value, int | float) and 0 < value < _LONGEST_MS else 0
