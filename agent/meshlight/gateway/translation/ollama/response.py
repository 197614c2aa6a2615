"""Translates answers of chat completions and completions to Ollama's chat and generate.

Errors have Ollama's format: `{"error": "what went wrong"}`, as a body or as a line of a stream.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.chat import error_message
from meshlight.gateway.translation.ollama.stream_builder import Reader, StreamBuilder, TextChunk
from meshlight.gateway.translation.ollama.writer import (
    AnswerOptions,
    Clock,
    LineWriter,
    Piece,
    error_body,
    error_line,
    nanoseconds,
)

HELD_MAX = 64 << 20
"""Characters of an answer that are buffered until it is complete."""
PIECE_COST = 128
"""Counted for each piece besides its characters, and for each token with log probabilities."""


class OllamaTranslator:
    """Translates one answer. The backend may send a stream or one object, whatever was requested."""

    __slots__ = (
        "_builder",
        "_clock",
        "_fault",
        "_first",
        "_held",
        "_held_size",
        "_is_finished",
        "_last",
        "_options",
        "_out",
        "_reader",
        "_started",
        "_writer",
    )

    def __init__(self, options: AnswerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._started = self._first = self._last = clock.steady()
        self._reader = Reader()
        self._builder = StreamBuilder(options, f"{clock.wall()}")
        self._writer = LineWriter(options, clock)
        self._out: list[bytes] = []
        """Lines to be sent."""
        self._held: list[Piece] = []
        """The pieces so far, if the answer is to be one object."""
        self._held_size = 0
        self._fault: TranslationFailed | None = None
        self._is_finished = False

    @property
    def content_type(self) -> bytes:
        """Return the media type of a stream of Ollama's, or of one object."""
        return b"application/x-ndjson" if self._options.is_stream else b"application/json"

    @property
    def waiting(self) -> int:
        """Return the number of buffered bytes."""
        return self._reader.waiting

    def begin(self, content_type: bytes) -> None:
        """Set the content type, which says whether events come."""
        self._reader.begin(content_type)

    def feed(self, data: bytes) -> bytes:
        """Return the lines that `data` completes; the next call raises TranslationFailed for a fault in them."""
        self._raise_fault()
        try:
            self._take(self._reader.feed(data))
        except TranslationFailed as fault:
            self._fault = fault
        out = self._taken()
        if not out:
            self._raise_fault()
        return out

    def end(self) -> bytes:
        """Return the rest; raises TranslationFailed when the answer is incomplete."""
        self._raise_fault()
        self._take(self._reader.end())
        if not self._is_finished:
            self._finish(has_end_mark=self._reader.is_complete)
        return self._taken()

    def broken(self, why: str) -> bytes | None:
        """Return a line with the error; empty if the answer is complete, None if it is one object."""
        if not self._options.is_stream:
            return None
        rest = self._taken()
        return rest if self._is_finished else rest + error_line(why)

    def error(self, status: int, body: bytes) -> bytes:
        """Return Ollama's error object with the backend's own message."""
        return error_body(error_message(body, status))

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _taken(self) -> bytes:
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _take(self, chunks: Iterable[TextChunk | None]) -> None:
        if self._is_finished:
            return
        for chunk in chunks:
            if chunk is None:
                self._finish(has_end_mark=True)
                return
            for piece in self._builder.take(chunk):
                self._tell(piece)

    def _tell(self, piece: Piece) -> None:
        self._last = self._clock.steady()
        if self._first == self._started:
            self._first = self._last
        if self._options.is_stream:
            self._out.append(self._writer.line(piece))
            return
        self._held.append(piece)
        self._held_size += len(piece.text) + len(piece.thinking) + PIECE_COST * (1 + len(piece.logprobs))
        if self._held_size > HELD_MAX:
            raise TranslationFailed(f"It sent an answer of more than {HELD_MAX >> 20} million characters.")

    def _finish(self, *, has_end_mark: bool) -> None:
        last, end = self._builder.finish(has_end_mark=has_end_mark)
        end = replace(
            end,
            total_duration=nanoseconds(self._clock.steady() - self._started),
            eval_duration=end.eval_duration or nanoseconds(self._last - self._first),
        )
        if self._options.is_stream:
            if last.calls:
                self._out.append(self._writer.line(last))
            self._out.append(self._writer.end(Piece(), end) + b"\n")
        else:
            answer = Piece(
                text="".join(piece.text for piece in self._held),
                thinking="".join(piece.thinking for piece in self._held),
                calls=last.calls,
                logprobs=tuple(chance for piece in self._held for chance in piece.logprobs),
            )
            self._out.append(self._writer.end(answer, end))
        self._is_finished = True
