"""Answers of chat completions, as servers send them: the one protocol that every translation reads.

In the order of the story: a body arrives in pieces, as a stream of events or as one JSON object (`AnswerReader`);
each event is decoded (`read`) into a `Chunk`; the small functions read its fields, which many servers leave out, set
to null, or give another type; `check_ending` decides whether the answer is complete; and `error_message` reads what
a failing answer says.
"""

from typing import Any, Final, TypeVar

import msgspec

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import TranslationFailed
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.bounds import check_answer
from meshlight.gateway.translation.chat_schema import Choice
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.sse import Event, SseParser
from meshlight.http_client.error_text import is_html, message_of
from meshlight.http_client.reply import Reply

ANSWER_MAX = 64 << 20
"""Bytes of an answer in one piece."""
MESSAGE_MAX: Final = 2_000
"""Characters of an error message that are passed on."""
CUT: Final = frozenset({"length", "max_tokens"})
"""Values of `finish_reason` for an answer that a limit cut off."""
REFUSED: Final = frozenset({"content_filter", "refusal", "safety"})
"""Values of `finish_reason` for an answer that was refused."""
_FAILED: Final = frozenset({"error", "abort", "insufficient_system_resource"})
"""Values of `finish_reason` for an answer that was given up: OpenRouter's, vLLM's and DeepSeek's."""
_REASON_MAX: Final = 300
_SNIFFED: Final = 64
_EVENT: Final = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")
_DIGITS_MAX: Final = 9
_ERROR_BODY_MAX: Final = 1 << 16
_DETAILS_MAX: Final = 20

T = TypeVar("T")


# The body: a stream of events, or one JSON object.


class BodyBuffer:
    """Collects an answer in one piece, up to ANSWER_MAX."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        """Add a piece; raises TranslationFailed above the limit."""
        self.data += data
        if len(self.data) > ANSWER_MAX:
            raise TranslationFailed(f"It sent an answer of more than {ANSWER_MAX >> 20} MiB.")

    def take(self) -> bytes:
        """Return the collected bytes, and empty the buffer."""
        data = bytes(self.data)
        self.data = bytearray()
        return data


class AnswerReader:
    """Turns the pieces of a body, split anywhere, into events; with `comments`, comments (signs of life) too."""

    __slots__ = ("_body", "_comments", "_may_be_events", "_parser")

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments
        self._parser: SseParser | None = None
        self._body = BodyBuffer()
        """An answer in one piece, or the first bytes of one whose form is not known yet."""
        self._may_be_events = True

    def begin(self, content_type: bytes) -> None:
        """Set the content type; where it says neither events nor JSON, the first bytes decide."""
        kind = content_type.lower()
        if b"event-stream" in kind:
            self._parser = SseParser(comments=self._comments)
        self._may_be_events = b"json" not in kind

    @property
    def is_complete(self) -> bool:
        """Whether the answer is one JSON object instead of a stream of events."""
        return self._parser is None

    @property
    def waiting(self) -> int:
        """Return the number of buffered bytes."""
        return len(self._body.data) if self._parser is None else self._parser.waiting

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; raises TranslationFailed."""
        if self._parser is None:
            self._body.add(data)
            if not (self._may_be_events and _is_event(self._body.data)):
                return []
            self._parser = SseParser(comments=self._comments)
            data = self._body.take()
        return self._parser.feed(data)

    def end(self) -> list[Event]:
        """Return the events that the end of the body completes; a body in one piece is one event."""
        if self._parser is not None:
            return self._parser.end()
        data = self._body.take()
        return [Event(data)] if data and not data.isspace() else []


def _is_event(start: bytearray) -> bool:
    """Whether a body of unknown form begins as a stream of events."""
    return bytes(start[:_SNIFFED]).lstrip(b"\xef\xbb\xbf\r\n").startswith(_EVENT)


def read(data: bytes, decoder: msgspec.json.Decoder[T], *, counted: bool = True) -> T:
    """Decode one event or a complete body; raises TranslationFailed with the reason.

    `counted=False` skips the check of how many values it has, for a decoder that decodes only a part.
    """
    if counted:
        check_answer(data)
    try:
        return decode_repaired(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "it is nested too deeply." if isinstance(error, RecursionError) else "it is not JSON."
        if isinstance(error, msgspec.ValidationError):
            reason = sanitize_line(f"{error}.", _REASON_MAX)
        raise TranslationFailed(f"It sent something that is no answer: {reason}") from None


# Fields of the decoded answer. What only tells things apart (ids, indices) may be a number or text.


def number(value: Any) -> int | None:
    """Return an index, which some servers write as text; None if it is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def id_text(value: Any) -> str:
    """Return an id, which some servers write as a number; empty if there is none."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def count(usage: Any, name: str) -> int:
    """Return a number of tokens; 0 for anything else, since counting must never break an answer."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


# The end: complete, cut off, or failed.


def finish_reason_of(choice: Choice) -> str:
    """Return why an answer ended, in lower case; empty while it does not say."""
    reason = choice.finish_reason
    return reason.lower() if isinstance(reason, str) else ""


def check_ending(reason: str, *, has_begun: bool, has_end_mark: bool) -> None:
    """Raise TranslationFailed if an answer that ended with this `finish_reason` is not complete.

    `has_end_mark` says that something else has marked the end: `[DONE]`, or the end of one complete JSON object.
    Small servers leave the reason out, and need not give it then.
    """
    if not has_begun:
        raise TranslationFailed("It sent no answer.")
    if not reason and not has_end_mark:
        raise TranslationFailed("Its answer ends in the middle: it does not say why it stopped.")
    if reason in _FAILED:
        raise TranslationFailed(f"It gave the answer up in the middle ({reason}).")


# Errors: OpenAI's, FastAPI's or mlx_lm's JSON, a web page, or nothing.


def reported_error(data: bytes) -> TranslationFailed:
    """Return the fault for an error that the backend sent in place of an answer."""
    return TranslationFailed(
        f"It sent an error in place of an answer: {sanitize_line(error_message(data), _REASON_MAX)}"
    )


def own_error(body: bytes) -> dict[str, Any]:
    """Return the error object of a failing answer; empty if it has none."""
    found = decode_or_none(body)
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def error_message(body: bytes, status: int | None = None) -> str:
    """Return the message of a failing answer as one printable line; if it has none, a sentence that says so."""
    reply = Reply(
        status=status or 200, headers=(), body=body[: _ERROR_BODY_MAX + 1], elapsed_s=0.0, reused=False
    )
    text = sanitize_line(message_of(reply), MESSAGE_MAX) or sanitize_line(_details(reply.body), MESSAGE_MAX)
    if text:
        return text
    what = "a web page instead of an error message" if is_html(reply) else "no error message"
    return f"The backend answered with {f'status {status} and ' if status else ''}{what}."


def _details(body: bytes) -> str:
    """Return FastAPI's complaints about a request: `{"detail": [{"loc": ["body", "x"], "msg": "…"}]}`."""
    found = decode_or_none(body)
    details = found.get("detail") if isinstance(found, dict) else None
    lines: list[str] = []
    for detail in details[:_DETAILS_MAX] if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(message := detail.get("msg"), str):
            steps = detail.get("loc")
            path = ".".join(str(step) for step in steps) if isinstance(steps, list) else ""
            lines.append(f"{path}: {message}" if path else message)
    return "; ".join(lines)
