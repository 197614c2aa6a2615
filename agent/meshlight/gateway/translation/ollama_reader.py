"""An answer of chat completions or completions as it comes: chunks out of a stream, or one out of a whole body."""

from collections.abc import Iterator
from typing import Any

import msgspec

from meshlight.gateway.translation.answer_events import AnswerEvents, read, told_error
from meshlight.gateway.translation.chat_shape import Choice, Chunk
from meshlight.gateway.translation.sse import Event


class TextChoice(Choice, frozen=True):
    """A choice of chat completions or of completions."""

    text: str | None = None
    """Of completions."""
    logprobs: Any = None


class TextChunk(Chunk, frozen=True):
    """A chunk of either, or a whole answer."""

    choices: tuple[TextChoice, ...] | None = None
    timings: Any = None
    """llama.cpp: how long it took, in milliseconds (`prompt_ms`, `predicted_ms`)."""


_decoder = msgspec.json.Decoder(TextChunk)


class Reader:
    """Takes the pieces of a body, split anywhere; None among the chunks is the end of the answer."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events = AnswerEvents()

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return self._events.waiting

    def begin(self, content_type: bytes) -> None:
        """Learn whether events come; where the server does not say, the first byte will."""
        self._events.begin(content_type)

    @property
    def is_whole(self) -> bool:
        """Whether the answer is one JSON object."""
        return self._events.is_whole

    def feed(self, data: bytes) -> Iterator[TextChunk | None]:
        """Give the chunks that `data` completes; raises Untranslated after those that came before the fault."""
        yield from map(_chunk, _useful(self._events.feed(data)))

    def end(self) -> Iterator[TextChunk | None]:
        """Give what the end of the body completes; raises Untranslated."""
        yield from map(_chunk, _useful(self._events.end()))


def _useful(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event.data.strip() or event.name == b"error")


def _chunk(event: Event) -> TextChunk | None:
    if event.data.strip() == b"[DONE]":
        return None
    if event.name == b"error":
        raise told_error(event.data)
    chunk = read(event.data, _decoder)
    if chunk.error or chunk.object == "error":
        raise told_error(event.data)
    return chunk
