"""The way back from chat completions and completions to Ollama's chat and generate.

Errors in Ollama's shape: `{"error": "what went wrong"}`, as a body or as a line of a stream.
"""

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.chat import error_message
from meshlight.gateway.translation.ollama.stream_builder import Reader, StreamBuilder, TextChunk
from meshlight.gateway.translation.ollama.writer import AnswerOptions, Clock, LineWriter, Piece, nanoseconds

HELD_MAX = 64 << 20
"""Characters of an answer that are held until it is whole."""
PIECE_COST = 128
"""What each piece costs beside its characters, and what each token with its chances does."""


class OllamaTranslator:
    """Translates one answer; whether it comes as a stream or whole is the backend's choice, not the request's."""

    __slots__ = (
        "_ask",
        "_assembly",
        "_clock",
        "_fault",
        "_first",
        "_held",
        "_held_size",
        "_is_finished",
        "_last",
        "_out",
        "_reader",
        "_started",
        "_teller",
    )

    def __init__(self, ask: AnswerOptions, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._started = self._first = self._last = clock.steady()
        self._reader = Reader()
        self._assembly = StreamBuilder(ask, f"{clock.wall()}")
        self._teller = LineWriter(ask, clock)
        self._out: list[bytes] = []
        """Lines that are ready to be sent."""
        self._held: list[Piece] = []
        """The pieces so far, where the answer is to be one object."""
        self._held_size = 0
        self._fault: TranslationFailed | None = None
        self._is_finished = False

    @property
    def content_type(self) -> bytes:
        """Return the media type of a stream of Ollama's, or of one object."""
        return b"application/x-ndjson" if self._ask.is_stream else b"application/json"

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return self._reader.waiting

    def begin(self, content_type: bytes) -> None:
        """Learn whether events come."""
        self._reader.begin(content_type)

    def feed(self, data: bytes) -> bytes:
        """Return the lines that `data` completes; raises Untranslated once they are returned."""
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
        """Return the rest; raises Untranslated when the answer is not whole."""
        self._raise_fault()
        self._take(self._reader.end())
        if not self._is_finished:
            self._finish(has_end_mark=self._reader.is_complete)
        return self._taken()

    def broken(self, why: str) -> bytes | None:
        """Return a line with the error; nothing where the answer is complete; None where it is one object."""
        if not self._ask.is_stream:
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
            for piece in self._assembly.take(chunk):
                self._tell(piece)

    def _tell(self, piece: Piece) -> None:
        self._last = self._clock.steady()
        if self._first == self._started:
            self._first = self._last
        if self._ask.is_stream:
            self._out.append(self._teller.line(piece))
            return
        self._held.append(piece)
        self._held_size += len(piece.text) + len(piece.thinking) + PIECE_COST * (1 + len(piece.logprobs))
        if self._held_size > HELD_MAX:
            raise TranslationFailed(f"It sent an answer of more than {HELD_MAX >> 20} million characters.")

    def _finish(self, *, has_end_mark: bool) -> None:
        last, end = self._assembly.finish(has_end_mark=has_end_mark)
        end = replace(
            end,
            total_duration=nanoseconds(self._clock.steady() - self._started),
            eval_duration=end.eval_duration or nanoseconds(self._last - self._first),
        )
        if self._ask.is_stream:
            if last.calls:
                self._out.append(self._teller.line(last))
            self._out.append(self._teller.end(Piece(), end) + b"\n")
        else:
            whole = Piece(
                text="".join(piece.text for piece in self._held),
                thinking="".join(piece.thinking for piece in self._held),
                calls=last.calls,
                logprobs=tuple(chance for piece in self._held for chance in piece.logprobs),
            )
            self._out.append(self._teller.end(whole, end))
        self._is_finished = True


_encode = msgspec.json.Encoder().encode


def error_body(message: str) -> bytes:
    """Return the body of a failing answer."""
    return _encode({"error": message})


def error_line(message: str) -> bytes:
    """Return the line that ends a stream which can't be finished (`docs/api/errors.mdx` of Ollama)."""
    return error_body(message) + b"\n"
