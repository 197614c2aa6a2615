"""The answer of a model, read as it comes: OpenAI's stream of chat completions."""

from collections.abc import Iterator
from contextlib import suppress

import httpx
import msgspec
from msgspec import Struct

from meshlight.domain.errors import BackendFailed
from meshlight.domain.text import sanitize_line

LINE_MAX = 4_000_000
"""Bytes of one line of a stream, or of an answer that is none."""
_THINK, _THOUGHT = "<think>", "</think>"


class Piece(Struct, frozen=True):
    """Some of an answer, or of what the model thinks before it."""

    text: str
    is_thought: bool = False


class _Delta(Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(Struct):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Usage(Struct):
    completion_tokens: int | None = None


class _Error(Struct):
    message: str = ""


class _Chunk(Struct):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | str | None = None


_chunk = msgspec.json.Decoder(_Chunk)


class ThoughtSplitter:
    """Tells the thoughts that some models write between `<think>` and `</think>` apart from the answer after them."""

    def __init__(self) -> None:
        self._held = ""
        self._is_begun = False
        self._is_thinking = False

    def feed(self, text: str) -> Iterator[Piece]:
        """Yield the pieces of a text; what may be part of a mark is held back."""
        text, self._held = self._held + text, ""
        if not self._is_begun:
            begun = text.lstrip()
            if len(begun) < len(_THINK) and _THINK.startswith(begun):
                self._held = text
                return
            self._is_begun = True
            if begun.startswith(_THINK):
                self._is_thinking, text = True, begun[len(_THINK) :]
        if self._is_thinking:
            thought, mark, text = text.partition(_THOUGHT)
            if not mark:
                cut = next((n for n in range(len(_THOUGHT) - 1, 0, -1) if thought.endswith(_THOUGHT[:n])), 0)
                thought, self._held = thought[: len(thought) - cut], thought[len(thought) - cut :]
            else:
                self._is_thinking, text = False, text.lstrip()
            if thought:
                yield Piece(thought, is_thought=True)
        if text:
            yield Piece(text)

    def end(self) -> Iterator[Piece]:
        """Yield what was held back."""
        if self._held:
            yield Piece(self._held, is_thought=self._is_thinking)
        self._held = ""


class ChatAnswer:
    """An answer that has begun: who gives it, and its pieces; the rest is known after the last of them."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        headers = response.headers
        self.backend = headers.get("x-meshlight-backend", "")
        self.model = headers.get("x-meshlight-model", "")
        """The model that answers, if it is another than the one asked for."""
        self.fallback = headers.get("x-meshlight-fallback", "")
        self.why = headers.get("x-meshlight-why", "")
        attempts = headers.get("x-meshlight-attempts", "")
        self.attempts = int(attempts) if attempts.isascii() and attempts.isdigit() else 1
        self.tokens = 0
        """As the server counts them; 0 if it does not."""
        self.finish = ""
        """Why the answer ended: `stop`, `length`; empty if it broke off."""

    def pieces(self) -> Iterator[Piece]:
        """Yield the answer as it comes; raises BackendFailed when it breaks off."""
        splitter = ThoughtSplitter()
        for line in self._lines():
            with suppress(msgspec.MsgspecError):  # what is no chunk of a chat says nothing
                yield from self._read(_chunk.decode(line), splitter)
        yield from splitter.end()
        if not self.finish:
            raise BackendFailed("The answer broke off before its end.", "Ask again.")

    def _read(self, chunk: _Chunk, splitter: ThoughtSplitter) -> Iterator[Piece]:
        if chunk.error is not None:
            message = chunk.error if isinstance(chunk.error, str) else chunk.error.message
            raise BackendFailed(sanitize_line(message) or "The answer broke off.")
        if chunk.usage is not None:
            self.tokens = chunk.usage.completion_tokens or self.tokens
        for choice in chunk.choices[:1]:
            self.finish = choice.finish_reason or self.finish
            delta = choice.delta or choice.message or _Delta()
            if thought := delta.reasoning_content or delta.reasoning:
                yield Piece(thought, is_thought=True)
            if delta.content:
                yield from splitter.feed(delta.content)

    def _lines(self) -> Iterator[bytes]:
        """Yield the data of each event; an answer that is no stream is the only one."""
        is_stream = self._response.headers.get("content-type", "").startswith("text/event-stream")
        held = b""
        for data in self._response.iter_bytes():
            held += data
            if is_stream and b"\n" in data:
                *lines, held = held.split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        yield line[5:].strip()
            if len(held) > LINE_MAX:
                raise BackendFailed("The answer has a line that is too long to be read.")
        if not is_stream:
            yield held


def refusal_text(body: bytes) -> str:
    """Return the words of a refusal that is not Meshlight's own; empty if it has none."""
    with suppress(msgspec.MsgspecError):
        error = _chunk.decode(body[:LINE_MAX]).error
        return sanitize_line(error if isinstance(error, str) else error.message) if error else ""
    return ""
