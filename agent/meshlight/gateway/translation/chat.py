"""An answer of chat completions, whole or in chunks, as far as it is read; what else is in it is skipped.

Servers differ in what they leave out or call null, so nearly everything may be missing; and what only tells things
apart (ids, indices) may be a number or text.

How an answer of chat completions ended, by the words that servers have for it.

The body of an answer as it comes, split anywhere: events out of a stream, or one out of a whole body.

What a failing answer of an OpenAI-like server says: OpenAI's, FastAPI's or mlx_lm's JSON, a page, or nothing.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import TranslationFailed
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.bounds import check_answer
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.sse import Event, SseParser
from meshlight.http_client.error_text import is_html, message_of
from meshlight.http_client.response import Reply

_DIGITS_MAX = 9


class Function(Struct, frozen=True, gc=False):
    """The function part of a tool call; some servers send arguments as an object instead of as text."""

    name: str | None = None
    arguments: Raw = Raw()


class ToolCall(Struct, frozen=True):
    """A tool call, or a piece of one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    extra_content: Any = None
    """What the server wants back with the call in the next turn; Gemini's signature of the thoughts before it."""


class MessageDelta(Struct, frozen=True):
    """A message, or what a chunk adds to it."""

    content: str | tuple[Any, ...] | None = None
    """Mistral's thinking models answer with parts: `{"type": "thinking", "thinking": [{"type": "text", …}]}`."""
    reasoning_content: str | None = None
    reasoning: Any = None
    """The same under the name that newer vLLM, mlx_lm and OpenRouter give it."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    reasoning_details: Any = None
    """OpenRouter: the thoughts in the form in which it wants them back."""
    extra_content: Any = None
    """As with a call of a tool, of the message as a whole."""


class Choice(Struct, frozen=True):
    """One of the answers; only the first is ever asked for."""

    index: Any = 0
    delta: MessageDelta | None = None
    message: MessageDelta | None = None
    finish_reason: Any = None
    stop_reason: Any = None
    """vLLM: the stop sequence that ended it, or the id of a token."""
    matched_stop: Any = None
    """The same of SGLang."""


class Chunk(Struct, frozen=True):
    """A chunk, or a whole answer."""

    id: Any = None
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    """"error" in the mid-stream errors of older vLLM, whose message stands beside it."""


def number(found: Any) -> int | None:
    """Read an index, which some servers write as text; None for what is none."""
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= _DIGITS_MAX:
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def name_of(found: Any) -> str:
    """Read an id, which some servers write as a number; empty where there is none."""
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else ""


def ending_of(choice: Choice) -> str:
    """Read why an answer ended; empty while it does not say."""
    return choice.finish_reason.lower() if isinstance(choice.finish_reason, str) else ""


def count(found: Any, name: str) -> int:
    """Read a number of tokens; what is no number counts as not known, for counting must never break an answer."""
    value = found.get(name) if isinstance(found, dict) else None
    return max(0, value) if isinstance(value, int) else 0


CUT = frozenset({"length", "max_tokens"})
REFUSED = frozenset({"content_filter", "refusal", "safety"})
_FAILED = frozenset({"error", "abort", "insufficient_system_resource"})
"""OpenRouter's, vLLM's and DeepSeek's words for an answer that was given up."""


def check_ending(reason: str, *, has_begun: bool, is_told: bool) -> None:
    """Raise Untranslated where an answer that ended for this `finish_reason` is not whole.

    `is_told` says that its end was told in another way: `[DONE]` came, or the answer is one whole JSON object. Small
    servers leave the reason out, and need not say it then.
    """
    if not has_begun:
        raise TranslationFailed("It sent no answer.")
    if not reason and not is_told:
        raise TranslationFailed("Its answer ends in the middle: it does not say why it stopped.")
    if reason in _FAILED:
        raise TranslationFailed(f"It gave the answer up in the middle ({reason}).")


WHOLE_MAX = 64 << 20
"""Bytes of an answer that comes in one piece."""
_TITLE_MAX = 300
_SNIFFED = 64
_EVENT = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")

T = TypeVar("T")


class BodyBuffer:
    """Gathers an answer that comes in one piece, up to a limit."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        """Keep a piece; raises Untranslated when there is too much."""
        self.data += data
        if len(self.data) > WHOLE_MAX:
            raise TranslationFailed(f"It sent an answer of more than {WHOLE_MAX >> 20} MiB.")

    def take(self) -> bytes:
        """Return all that came, and keep nothing of it."""
        data = bytes(self.data)
        self.data = bytearray()
        return data


class BufferedTranslator:
    """The first half of a way back for an answer that is one JSON object: it is gathered until its end."""

    __slots__ = ("_whole",)

    content_type = b"application/json"

    def __init__(self) -> None:
        self._whole = BodyBuffer()

    def begin(self, content_type: bytes) -> None:
        """Need not know: it is JSON or nothing."""

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return len(self._whole.data)

    def feed(self, data: bytes) -> bytes:
        """Keep the piece; raises Untranslated when there are too many."""
        self._whole.add(data)
        return b""


class AnswerEvents:
    """Takes the pieces of a body and gives what they complete; with `comments`, signs of life too."""

    __slots__ = ("_comments", "_may_be_events", "_parser", "_whole")

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments
        self._parser: SseParser | None = None
        self._whole = BodyBuffer()
        """An answer in one piece, or the first bytes of one that has not shown yet what it is."""
        self._may_be_events = True

    def begin(self, content_type: bytes) -> None:
        """Learn whether events come; where the server does not say, the first byte will."""
        kind = content_type.lower()
        if b"event-stream" in kind:
            self._parser = SseParser(comments=self._comments)
        self._may_be_events = b"json" not in kind

    @property
    def is_whole(self) -> bool:
        """Whether the answer is one JSON object and no stream of events."""
        return self._parser is None

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return len(self._whole.data) if self._parser is None else self._parser.waiting

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; raises Untranslated."""
        if self._parser is None:
            self._whole.add(data)
            if not (self._may_be_events and _is_event(self._whole.data)):
                return []
            self._parser = SseParser(comments=self._comments)
            data = self._whole.take()
        return self._parser.feed(data)

    def end(self) -> list[Event]:
        """Return what the end of the body completes: a whole body is one event."""
        if self._parser is not None:
            return self._parser.end()
        data = self._whole.take()
        return [Event(data)] if data and not data.isspace() else []


def read(data: bytes, decoder: msgspec.json.Decoder[T], *, counted: bool = True) -> T:
    """Decode one event or a whole body; raises Untranslated in words.

    Not `counted` are the values of what is decoded only in part.
    """
    if counted:
        check_answer(data)
    try:
        return decode_repaired(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "it is nested too deeply." if isinstance(error, RecursionError) else "it is not JSON."
        if isinstance(error, msgspec.ValidationError):
            said = sanitize_line(f"{error}.", _TITLE_MAX)
        raise TranslationFailed(f"It sent something that is no answer: {said}") from None


def error_in_answer(data: bytes) -> TranslationFailed:
    """Return the fault that the backend itself tells of."""
    return TranslationFailed(
        f"It sent an error in place of an answer: {sanitize_line(error_message(data), _TITLE_MAX)}"
    )


def _is_event(start: bytearray) -> bool:
    """Whether an answer that does not say what it is begins as events do."""
    return bytes(start[:_SNIFFED]).lstrip(b"\xef\xbb\xbf\r\n").startswith(_EVENT)


MESSAGE_MAX = 2_000
"""Characters of a message that are passed on."""
_BODY_MAX = 1 << 16
_LINES_MAX = 20


def error_message(body: bytes, status: int | None = None) -> str:
    """Return the message in one printable line; where there is none, a sentence that says what came instead."""
    reply = Reply(status=status or 200, headers=(), body=body[: _BODY_MAX + 1], elapsed_s=0.0, reused=False)
    text = sanitize_line(message_of(reply), MESSAGE_MAX) or sanitize_line(_details(reply.body), MESSAGE_MAX)
    if text:
        return text
    what = "a web page instead of an error message" if is_html(reply) else "no error message"
    return f"The backend answered with {f'status {status} and ' if status else ''}{what}."


def _details(body: bytes) -> str:
    """Return what FastAPI finds wrong with a request: `{"detail": [{"loc": ["body", "x"], "msg": "…"}]}`."""
    found = decode_or_none(body)
    details = found.get("detail") if isinstance(found, dict) else None
    lines: list[str] = []
    for detail in details[:_LINES_MAX] if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(said := detail.get("msg"), str):
            place = detail.get("loc")
            where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
            lines.append(f"{where}: {said}" if where else said)
    return "; ".join(lines)
