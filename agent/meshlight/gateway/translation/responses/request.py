"""The body of a Responses request as a body of chat completions; `responses_api` says what becomes of each field."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.backends.quote import clean
from meshlight.domain.errors import BadRequest
from meshlight.gateway.mistakes import malformed, mistake
from meshlight.gateway.translation.calls_sent import Asked
from meshlight.gateway.translation.messages_request import limit_name
from meshlight.gateway.translation.responses_history import KNOWN, LEFT_OUT, Conversation
from meshlight.gateway.translation.responses_schema import REFUSED, Item, ItemType, ResponsesRequest, Text
from meshlight.gateway.translation.responses_tools import Tools, untranslatable
from meshlight.gateway.translation.well_formed import decode

ENCRYPTED = "reasoning.encrypted_content"
_LOGPROBS = "message.output_text.logprobs"
_EFFORT = {"minimal": "low", "xhigh": "high", "max": "high"}
_USER_MAX = 64
"""Characters that OpenAI takes as `user`."""
_ITEM_PLACE = re.compile(r"`\$(\[\d+\])?")
_FIELDS = frozenset(ResponsesRequest.__struct_fields__)
_EMPTY = frozenset({b"", b"null"})

_decoder = msgspec.json.Decoder(ResponsesRequest)
_keys = msgspec.json.Decoder(dict[str, Raw])
_raws = msgspec.json.Decoder(tuple[Raw, ...])
_types = msgspec.json.Decoder(tuple[ItemType, ...])
_items = msgspec.json.Decoder(tuple[Item, ...])


class Chat(Struct, frozen=True):
    """What a request becomes."""

    body: dict[str, Any]
    tools: Tools
    dropped: tuple[str, ...]
    """What was left out, by name."""


def read_request(body: bytes) -> tuple[ResponsesRequest, list[str]]:
    """Read a body, and say which of its fields nobody here knows; raises Untranslatable and BadRequest."""
    try:
        request = decode(body, _decoder)
        unknown = sorted(decode(body, _keys).keys() - _FIELDS)
    except msgspec.ValidationError as error:
        raise mistake(error, ResponsesRequest) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    for name in REFUSED:
        if getattr(request, name):
            raise untranslatable(name)
    return request, unknown


def input_items(request: ResponsesRequest) -> tuple[Raw, ...]:
    """Return what `input` holds, one by one; a text is a message of the user's. Raises BadRequest."""
    raw = bytes(request.input).strip()
    if raw in _EMPTY:
        return ()
    if raw.startswith(b'"'):
        return (Raw(b'{"type":"message","role":"user","content":%s}' % raw),)
    if not raw.startswith(b"["):
        raise BadRequest("input must be text or a list of items.", "", "input")
    return _raws.decode(raw)


def chat_request(
    request: ResponsesRequest, history: Sequence[Raw], model: str, unknown: Sequence[str], asked: Asked
) -> Chat:
    """Return the request for a model; `history` are the items of the responses that it goes on from.

    Raises Untranslatable and BadRequest.
    """
    extensions = asked.extensions
    dropped = list(unknown)
    tools = Tools(dropped)
    tools.add(request.tools or ())
    choice = tools.choose(request.tool_choice)
    messages = _messages(request, history, dropped, asked)
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
    request: ResponsesRequest, history: Sequence[Raw], dropped: list[str], asked: Asked
) -> list[dict[str, Any]]:
    conversation = Conversation(asked)
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
        types: tuple[ItemType, ...] = decode(data, _types)
        for number, found in enumerate(types):
            if found.type is not None and found.type not in KNOWN:
                raise untranslatable(f"{name}[{number}].type", found.type)
        return decode(data, _items)
    except msgspec.ValidationError as error:
        place = _ITEM_PLACE.search(str(error))
        where = f"{name}{(place and place[1]) or ''}"
        said = str(error).partition(" - at ")
        inner = said[2].strip("`").partition("]")[2]
        raise BadRequest(f"{where}{clean(inner)}: {clean(said[0])}.", "", where + clean(inner)) from None


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
