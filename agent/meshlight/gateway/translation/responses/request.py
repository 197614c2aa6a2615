"""Translates the body of a Responses request to chat completions: the fields first, then the conversation.

`api` explains the translation of each field.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.anthropic.request import limit_name
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.responses.schema import (
    REFUSED,
    Item,
    ItemType,
    Part,
    ResponsesRequest,
    Text,
)
from meshlight.gateway.translation.responses.tools import (
    ELSEWHERE,
    LOCAL_SHELL,
    Tools,
    custom_arguments,
    function_name,
    shell_arguments,
    untranslatable,
)
from meshlight.gateway.translation.tool_calls import BackendTraits
from meshlight.gateway.translation.turns import PARAGRAPH, Piece, Turns
from meshlight.gateway.validation import malformed_json, validation_error

ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_EFFORT = {"minimal": "low", "xhigh": "high", "max": "high"}
_USER_MAX = 64
"""Characters that OpenAI accepts as `user`."""
_ITEM_PLACE = re.compile(r"`\$(\[\d+\])?")
_FIELDS = frozenset(ResponsesRequest.__struct_fields__)
_EMPTY = frozenset({b"", b"null"})

_decoder = msgspec.json.Decoder(ResponsesRequest)
_keys = msgspec.json.Decoder(dict[str, Raw])
_raws = msgspec.json.Decoder(tuple[Raw, ...])
_types = msgspec.json.Decoder(tuple[ItemType, ...])
_items = msgspec.json.Decoder(tuple[Item, ...])


class Chat(Struct, frozen=True):
    """A translated request."""

    body: dict[str, Any]
    tools: Tools
    dropped: tuple[str, ...]
    """The names of what was left out."""


def read_request(body: bytes) -> tuple[ResponsesRequest, list[str]]:
    """Decode a body; return it with the names of its unknown fields; raises Untranslatable and BadRequest."""
    try:
        request = decode_repaired(body, _decoder)
        unknown = sorted(decode_repaired(body, _keys).keys() - _FIELDS)
    except msgspec.ValidationError as error:
        raise validation_error(error, ResponsesRequest) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    for name in REFUSED:
        if getattr(request, name):
            raise untranslatable(name)
    return request, unknown


def input_items(request: ResponsesRequest) -> tuple[Raw, ...]:
    """Return the items of `input`; a text is one message of the user. Raises BadRequest."""
    raw = bytes(request.input).strip()
    if raw in _EMPTY:
        return ()
    if raw.startswith(b'"'):
        return (Raw(b'{"type":"message","role":"user","content":%s}' % raw),)
    if not raw.startswith(b"["):
        raise BadRequest("input must be text or a list of items.", "", "input")
    return _raws.decode(raw)


def chat_request(
    request: ResponsesRequest,
    history: Sequence[Raw],
    model: str,
    unknown: Sequence[str],
    traits: BackendTraits,
) -> Chat:
    """Return the request for a model; `history` are the items of the responses that it continues.

    Raises Untranslatable and BadRequest.
    """
    extensions = traits.extensions
    dropped = list(unknown)
    tools = Tools(dropped)
    tools.add(request.tools or ())
    choice = tools.choose(request.tool_choice)
    messages = _messages(request, history, dropped, traits)
    chat: dict[str, Any] = {"model": model, "messages": messages}
    if tools.functions:
        chat["tools"] = tools.functions
        if request.parallel_tool_calls is False:
            chat["parallel_tool_calls"] = False
    chat |= choice
    chat |= _text(request.text, dropped, extensions=extensions)
    chat |= _reasoning(request, extensions=extensions)
    if request.max_output_tokens is not None:
        chat[limit_name(extensions=extensions)] = request.max_output_tokens
    for name in ("temperature", "top_p"):
        value: Raw = getattr(request, name)
        if bytes(value).strip() not in _EMPTY:
            chat[name] = value
    if request.user and (extensions or len(request.user) <= _USER_MAX):
        chat["user"] = request.user
    if request.stream:
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    if request.truncation not in {None, "disabled"}:
        dropped.append("truncation")
    if request.service_tier not in {None, "auto", "default"}:
        dropped.append("service_tier")
    if _LOGPROBS in (request.include or ()):
        raise untranslatable("include", _LOGPROBS)
    return Chat(chat, tools, tuple(dropped))


def _messages(
    request: ResponsesRequest, history: Sequence[Raw], dropped: list[str], traits: BackendTraits
) -> list[dict[str, Any]]:
    conversation = Conversation(traits)
    conversation.add_instructions(request.instructions)
    for item in _read(history, ""):
        conversation.add(item, "previous_response_id")
    for number, item in enumerate(_read(input_items(request), "input")):
        if item.type in LEFT_OUT:
            dropped.append(f"input[{number}] ({item.type})")
        conversation.add(item, f"input[{number}]")
    messages = conversation.messages()
    if not messages:
        raise BadRequest("input is empty.", "Send at least one message.", "input")
    return messages


def _read(raws: Sequence[Raw], name: str) -> tuple[Item, ...]:
    data = b"[%s]" % b",".join(map(bytes, raws))
    try:
        types: tuple[ItemType, ...] = decode_repaired(data, _types)
        for number, found in enumerate(types):
            if found.type is not None and found.type not in KNOWN:
                raise untranslatable(f"{name}[{number}].type", found.type)
        return decode_repaired(data, _items)
    except msgspec.ValidationError as error:
        place = _ITEM_PLACE.search(str(error))
        where = f"{name}{(place and place[1]) or ''}"
        problem = str(error).partition(" - at ")
        inner = problem[2].strip("`").partition("]")[2]
        raise BadRequest(
            f"{where}{sanitize_line(inner)}: {sanitize_line(problem[0])}.", "", where + sanitize_line(inner)
        ) from None


def _text(text: Text | None, dropped: list[str], *, extensions: bool) -> dict[str, Any]:
    if text is None:
        return {}
    chat: dict[str, Any] = {}
    if text.verbosity not in {None, "medium"}:
        if extensions:
            dropped.append("text.verbosity")
        else:
            chat["verbosity"] = text.verbosity
    form = text.format
    if form is None or form.type == "text":
        return chat
    if form.type == "json_object":
        return chat | {"response_format": {"type": "json_object"}}
    if form.type != "json_schema":
        raise untranslatable("text.format.type", form.type)
    if not bytes(form.schema).startswith(b"{"):
        raise BadRequest("text.format.schema must be an object.", "Send a JSON schema.", "text.format.schema")
    schema: dict[str, Any] = {"name": form.name, "schema": form.schema}
    if form.description:
        schema["description"] = form.description
    if form.strict is not None:
        schema["strict"] = form.strict
    return chat | {"response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning(request: ResponsesRequest, *, extensions: bool) -> dict[str, Any]:
    effort = request.reasoning.effort if request.reasoning is not None else None
    if effort is None:
        return {}
    if not extensions:
        return {"reasoning_effort": effort}
    if effort == "none":
        return {"chat_template_kwargs": {"enable_thinking": False}}
    return {"reasoning_effort": _EFFORT.get(effort, effort)}


_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_SEALED = "meshlight.1."
"""The prefix of thoughts that a client stores as `encrypted_content`."""
LEFT_OUT = frozenset({"web_search_call", "image_generation_call", "tool_search_call", "tool_search_output"})
"""Calls of OpenAI's own tools in earlier turns; the assistant's messages contain their outcome."""
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
KNOWN = (
    frozenset({"message", "reasoning", "function_call", "custom_tool_call", "local_shell_call"})
    | _RESULTS
    | LEFT_OUT
)
"""The types of items that have a counterpart, or are left out."""


def seal(thoughts: str) -> str:
    """Encode thoughts as an opaque text that a client stores and sends back; it is not encrypted."""
    return _SEALED + base64.urlsafe_b64encode(thoughts.encode()).decode()


def unseal(sealed: str) -> str | None:
    """Decode thoughts that were encoded here; None for what another service has encrypted."""
    if not sealed.startswith(_SEALED):
        return None
    try:
        return base64.urlsafe_b64decode(sealed[len(_SEALED) :]).decode()
    except (binascii.Error, ValueError):
        return None


def thoughts_of(item: Item) -> str:
    """Return the readable text of a reasoning item."""
    sealed = unseal(item.encrypted_content) if item.encrypted_content else None
    if sealed is not None:
        return sealed
    parts = item.content if isinstance(item.content, tuple) and item.content else item.summary or ()
    return PARAGRAPH.join(part.text for part in parts if part.text)


class Conversation:
    """Collects the messages; consecutive items of one role become one message, as many chat templates demand."""

    def __init__(self, traits: BackendTraits) -> None:
        self._turns = Turns(traits)

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages."""
        return self._turns.messages()

    def add_instructions(self, text: str | None) -> None:
        """Add the instructions, which precede the conversation."""
        if text:
            self._turns.system.append(text)

    def add(self, item: Item, place: str) -> None:
        """Add one item of a type in KNOWN; raises Untranslatable and BadRequest."""
        match item.type or "message":
            case "message":
                self._add_message(item, place)
            case "reasoning":
                self._turns.end_user()
                if self._turns.texts or self._turns.calls:
                    self._turns.end_assistant()  # thoughts begin a new turn
                if thoughts := thoughts_of(item):
                    self._turns.thoughts.append(thoughts)
            case "function_call":
                self._call(item, place, function_name(_needed(item.name, place, "name"), item.namespace))
            case "custom_tool_call":
                name = function_name(_needed(item.name, place, "name"), item.namespace)
                self._call(item, place, name, custom_arguments(item.input or ""))
            case "local_shell_call":
                self._call(item, place, LOCAL_SHELL, shell_arguments(item.action))
            case kind if kind in _RESULTS:
                self._result(item, place)
            case _:
                pass  # left out

    def _add_message(self, item: Item, place: str) -> None:
        content = item.content
        parts = (Part(text=content),) if isinstance(content, str) else content or ()
        match item.role:
            case "user":
                self._turns.end_assistant()
                self._turns.user += _pieces(parts, f"{place}.content")
            case "assistant":
                self._turns.end_user()
                if self._turns.calls:
                    self._turns.end_assistant()
                self._turns.texts += [text for part in parts if (text := part.text or part.refusal)]
            case "system" | "developer":
                self._add_system(parts, place)
            case _:
                raise BadRequest(
                    f"{place}.role must be user, assistant, system or developer.", "", f"{place}.role"
                )

    def _add_system(self, parts: Sequence[Part], place: str) -> None:
        pieces = _pieces(parts, f"{place}.content")
        texts = [piece for piece in pieces if isinstance(piece, str) and piece]
        if len(texts) < len([piece for piece in pieces if piece]):
            raise untranslatable(f"{place}.content", "an image in a system message")
        if texts:
            self._turns.add_reminder(PARAGRAPH.join(texts))

    def _call(self, item: Item, place: str, name: str, arguments: str | None = None) -> None:
        self._turns.end_user()
        call_id = _needed(item.call_id or item.id, place, "call_id")
        arguments = arguments or item.arguments or "{}"
        is_first = not self._turns.calls
        call = self._turns.tool_calls.call(call_id, name, arguments, is_first=is_first)
        self._turns.calls.append(call)

    def _result(self, item: Item, place: str) -> None:
        """Add the result of a tool; its images follow in the user's message."""
        self._turns.end_assistant()
        output = item.output
        parts = (Part(text=output),) if isinstance(output, str) else output or ()
        pieces = _pieces(parts, f"{place}.output")
        text = PARAGRAPH.join(piece for piece in pieces if isinstance(piece, str) and piece)
        client_id = _needed(item.call_id or item.id, place, "call_id")
        self._turns.user += self._turns.add_result(client_id, text, pieces)


def _needed(value: str | None, place: str, name: str) -> str:
    if not value:
        raise BadRequest(f"{place}.{name} is missing.", "", f"{place}.{name}")
    return value


def _pieces(parts: Sequence[Part], place: str) -> list[Piece]:
    found: list[Piece] = []
    for number, part in enumerate(parts):
        if part.type in _TEXTS:
            found.append(part.text or "")
        elif part.type == "refusal":
            found.append(part.refusal or "")
        elif part.type == "input_image" and part.image_url:
            image = {"url": part.image_url}
            if part.detail in {"low", "high"}:
                image["detail"] = part.detail
            found.append({"type": "image_url", "image_url": image})
        elif part.type == "input_image":
            raise Untranslatable(
                f"{place}[{number}] is a picture without image_url: files kept at OpenAI are not there for others.",
                "Send the picture itself as a data: URL, or " + ELSEWHERE[0].lower() + ELSEWHERE[1:],
                f"{place}[{number}].image_url",
            )
        else:
            raise untranslatable(f"{place}[{number}].type", part.type)
    return found
