"""Translates the common parts of Ollama's requests: decoding, options, and the messages of a chat."""

import binascii
import math
import re
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.ollama.schema import (
    CalledTool,
    ChatRequest,
    GenerateRequest,
    Message,
    Options,
)
from meshlight.gateway.translation.tool_calls import BackendTraits, ToolCallHistory
from meshlight.gateway.translation.unknown_fields import Dropped
from meshlight.gateway.validation import LONGEST, malformed_json, validation_error

T = TypeVar("T")

ELSEWHERE = "Leave it out, or use a model of a backend that is Ollama itself."
_CARRIED = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_OWN: dict[str, tuple[tuple[str, ...], float]] = {
    "top_k": (("top_k",), 0),
    "min_p": (("min_p",), 0),
    "typical_p": (("typical_p",), 1),
    "repeat_penalty": (("repeat_penalty", "repetition_penalty"), 1),
}
"""Options that are not OpenAI's: their names at engines (llama.cpp, then vLLM), and the value that means "off"."""
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "max": "high"}
_NOTHING = frozenset({b"", b"null", b'""'})


def read_body(body: bytes, decoder: msgspec.json.Decoder[T], shape: type[T]) -> T:
    """Decode a body as `shape`; raises BadRequest."""
    try:
        return decode_repaired(body, decoder)
    except msgspec.ValidationError as error:
        raise validation_error(error, shape) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None


def untranslatable(param: str, why: str = "") -> Untranslatable:
    """Return the error for a field that has no counterpart."""
    param = sanitize_line(param, LONGEST)
    title = f"{param} can't be carried over to OpenAI's API, which is all that this model's backend speaks."
    return Untranslatable(f"{title} {why}".rstrip(), ELSEWHERE, param)


def sampling(options: Options | None, dropped: Dropped, *, limit: str, extensions: bool) -> dict[str, Any]:
    """Return the options by the names of chat completions; `limit` is the name of the limit of the answer.

    Without `extensions`, those that are not OpenAI's are dropped. Raises BadRequest.
    """
    if options is None:
        return {}
    fields: dict[str, Any] = {
        name: value for name in _CARRIED if (value := getattr(options, name)) is not None
    }
    if options.seed is not None:
        fields["seed"] = _whole("seed", options.seed)
    if options.stop:
        fields["stop"] = options.stop
    if options.num_predict is not None and options.num_predict > 0:
        fields[limit] = _whole("num_predict", options.num_predict)
    for name, (names, off) in _OWN.items():
        value = getattr(options, name)
        if value is None:
            continue
        if not extensions:
            if value != off:
                dropped.add(f"options.{name}")
            continue
        sent = _whole(name, value) if name == "top_k" else value
        fields |= dict.fromkeys(names, sent)
    if options.repeat_last_n is not None and extensions:
        fields["repeat_last_n"] = _whole("repeat_last_n", options.repeat_last_n)
    return fields


def answer_format(form: Raw) -> dict[str, Any]:
    """Return the `response_format`; raises BadRequest."""
    text = bytes(form).strip()
    if text in _NOTHING:
        return {}
    if text == b'"json"':
        return {"response_format": {"type": "json_object"}}
    if not text.startswith(b"{"):
        raise BadRequest('format must be "json" or a JSON schema.', "", "format")
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": form}}}


def thinking(think: bool | str | None, *, extensions: bool) -> dict[str, Any]:
    """Return the fields for thinking; raises BadRequest for an unknown level."""
    if think is None or think == "":
        return {}
    fields: dict[str, Any] = {}
    if isinstance(think, str):
        if think not in _LEVELS:
            raise BadRequest(
                f"think must be true, false or a level, not {sanitize_line(think, 40)!r}.",
                f"Use one of {', '.join(_LEVELS)}.",
                "think",
            )
        fields["reasoning_effort"] = _LEVELS[think]
    if extensions:
        fields["chat_template_kwargs"] = {"enable_thinking": think is not False}
    return fields


def logprobs_fields(request: ChatRequest | GenerateRequest) -> dict[str, Any]:
    """Return the fields for log probabilities."""
    if not request.logprobs:
        return {}
    return {"logprobs": True} | ({"top_logprobs": request.top_logprobs} if request.top_logprobs else {})


def streaming(request: ChatRequest | GenerateRequest) -> dict[str, Any]:
    """Return the fields for a stream, which is Ollama's default."""
    if request.stream is False:
        return {}
    return {"stream": True, "stream_options": {"include_usage": True}}


def is_unload(keep_alive: float | str | None) -> bool:
    """Whether it is zero, in one of the formats in which Go reads a duration."""
    if isinstance(keep_alive, str):
        return re.fullmatch(r"[+-]?0+(\.0*)?(ns|us|µs|ms|s|m|h)?", keep_alive.strip()) is not None
    return keep_alive is not None and keep_alive == 0


def refuse_unload() -> Untranslatable:
    """Return the error for a request to unload a model."""
    return untranslatable("keep_alive", "Only Ollama can be asked to unload a model.")


def _whole(name: str, value: float) -> int:
    """Return a whole number, which clients may write as 40.0 (Go's JSON knows no other)."""
    if not math.isfinite(value) or value != int(value):
        raise BadRequest(f"options.{name} must be a whole number.", "", f"options.{name}")
    return int(value)


_ROLES = ("system", "user", "assistant", "tool")
_BLANKS = " \t\r\n"
_SNIFFED = 64
"""Characters of base64 that identify the type of an image."""


def chat_messages(messages: Sequence[Message], traits: BackendTraits) -> list[dict[str, Any]]:
    """Return the conversation; raises Untranslatable and BadRequest."""
    history = History(traits)
    for number, message in enumerate(messages):
        history.add(message, f"messages[{number}]")
    return history.finish()


def picture_parts(text: str, images: Iterable[str], place: str) -> list[dict[str, Any]]:
    """Return a text with its images as content parts; raises BadRequest."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for number, image in enumerate(images):
        data = image
        for blank in _BLANKS:
            data = data.replace(blank, "")
        url = f"data:{_media_type(data, f'{place}[{number}]')};base64,{data}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


class History:
    """Collects the messages, and tracks which tool calls have no result yet."""

    def __init__(self, traits: BackendTraits) -> None:
        self._messages: list[dict[str, Any]] = []
        self._traits = traits
        self._tool_calls = ToolCallHistory(traits)
        self._pictures: list[dict[str, Any]] = []
        """Images for the next user's message, the only one that may have images."""
        self._count = 0
        """The number of ids made here for calls and results."""
        self._waiting: dict[str, None] = {}
        """The ids of calls without a result."""
        self._by_age: deque[str] = deque()
        """All ids, oldest first; `_by_name` has the same by the tool's name."""
        self._by_name: dict[str | None, deque[str]] = {}

    def add(self, message: Message, place: str) -> None:
        """Add the next message; `place` names it in errors. Raises Untranslatable and BadRequest."""
        role = message.role.lower()
        if role not in _ROLES:
            raise BadRequest(
                f"{place}.role {sanitize_line(message.role, 40)!r} is not known.",
                f"Use one of {', '.join(_ROLES)}.",
                f"{place}.role",
            )
        text = message.content or ""
        sent_message: dict[str, Any] = {"role": role, "content": text}
        pictures = picture_parts("", message.images or (), f"{place}.images")
        if role == "user" and (pictures or self._pictures):
            sent_message["content"] = [
                *self._pictures,
                *([{"type": "text", "text": text}] if text else ()),
                *pictures,
            ]
            self._pictures = []
        elif role != "tool":
            self._flush_pictures()
        if role == "assistant":
            if message.thinking and self._traits.extensions:
                sent_message["reasoning_content"] = message.thinking
            if message.tool_calls:
                sent_message["content"] = text or None
                sent_message["tool_calls"] = self._calls(message.tool_calls, place)
                sent_message |= self._tool_calls.take_extras()
        elif role == "tool":
            sent_message["tool_call_id"] = self._result_id(message)
        elif message.name:
            sent_message["name"] = message.name
        self._messages.append(sent_message)
        if pictures and role != "user":
            origin = (
                f"the result of tool call {sent_message['tool_call_id']}" if role == "tool" else f"the {role}"
            )
            self._pictures += [{"type": "text", "text": f"From {origin}:"}, *pictures]

    def finish(self) -> list[dict[str, Any]]:
        """Return all messages."""
        self._flush_pictures()
        return self._messages

    def _flush_pictures(self) -> None:
        """Add a user's message with the images that wait for one."""
        if self._pictures:
            self._messages.append({"role": "user", "content": self._pictures})
            self._pictures = []

    def _calls(self, calls: Sequence[CalledTool], place: str) -> list[dict[str, Any]]:
        sent_message: list[dict[str, Any]] = []
        self._waiting.clear()
        self._by_age.clear()
        self._by_name.clear()
        for number, call in enumerate(calls):
            arguments = bytes(call.function.arguments).strip()
            if arguments in {b"", b"null"}:
                arguments = b"{}"
            if not arguments.startswith(b"{"):
                where = f"{place}.tool_calls[{number}].function.arguments"
                raise BadRequest(f"{where} must be an object.", "", where)
            given = call.id or self._own_id()
            self._waiting[given] = None
            self._by_age.append(given)
            self._by_name.setdefault(call.function.name, deque()).append(given)
            text = arguments.decode("utf-8", "replace")
            sent_message.append(self._tool_calls.call(given, call.function.name, text, is_first=number == 0))
        return sent_message

    def _result_id(self, message: Message) -> str:
        """Return the id of the call that a result belongs to: by id, by the tool's name, or the oldest."""
        name = message.tool_name or message.name
        if message.tool_call_id:
            self._waiting.pop(message.tool_call_id, None)
            return self._tool_calls.result_id(message.tool_call_id)
        found = self._oldest(self._by_name.get(name)) or self._oldest(self._by_age)
        return self._tool_calls.result_id(found) if found else self._own_id()

    def _oldest(self, ids: deque[str] | None) -> str:
        """Remove and return the first id without a result; empty if there is none."""
        while ids:
            found = ids.popleft()
            if found in self._waiting:
                del self._waiting[found]
                return found
        return ""

    def _own_id(self) -> str:
        """Return an id of nine letters and digits: Mistral's models accept no others."""
        self._count += 1
        return f"call{self._count:05d}"


def _media_type(image: str, place: str) -> str:
    try:
        start = binascii.a2b_base64(image[:_SNIFFED], strict_mode=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{place} is not base64.", "Send the picture's bytes in base64.", place) from None
    if start.startswith(b"\x89PNG"):
        return "image/png"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start.startswith(b"GIF8"):
        return "image/gif"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    raise BadRequest(f"{place} is neither PNG, JPEG, GIF nor WebP.", "Convert the picture first.", place)
