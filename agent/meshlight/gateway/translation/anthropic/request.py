"""The body of a Messages request as a body of chat completions; `messages` says what becomes of each field."""

import re
from typing import Any

import msgspec
from msgspec import Raw

from meshlight.backends.quote import clean
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.mistakes import LONGEST, malformed, mistake, shown
from meshlight.gateway.translation.calls_sent import Asked
from meshlight.gateway.translation.messages_history import ELSEWHERE, History
from meshlight.gateway.translation.messages_shape import REFUSED, MessagesRequest, Thinking, ToolChoice
from meshlight.gateway.translation.pruned import Dropped, pruned
from meshlight.gateway.translation.well_formed import decode

_EFFORT = {"xhigh": "high", "max": "high"}
_CHOICE = {"auto": "auto", "any": "required", "none": "none"}
_CARRIED = frozenset({"name", "description", "input_schema", "strict"})
_PASSED = frozenset(
    {"type", "cache_control", "defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"}
)
_USER_MAX = 64
"""Characters that OpenAI takes as `user`."""
_UNKNOWN = "Object contains unknown field"
_BLOCK = re.compile(r"Invalid value '(?P<word>.*)' - at `\$\.?(?P<place>.*\.type)`$", re.DOTALL)

_decoder = msgspec.json.Decoder(MessagesRequest)


def read_request(body: bytes, dropped: Dropped) -> MessagesRequest:
    """Read a body of `messages` or `messages/count_tokens`; what nobody here knows is dropped.

    Raises Untranslatable and BadRequest.
    """
    try:
        request = _read(body, dropped)
    except msgspec.ValidationError as error:
        raise _misfit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    for name in REFUSED:
        if getattr(request, name):
            raise untranslatable(name)
    return request


def _read(body: bytes, dropped: Dropped) -> MessagesRequest:
    try:
        return decode(body, _decoder)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN):
            raise
    return decode(pruned(body, MessagesRequest, dropped), _decoder)


def chat_request(request: MessagesRequest, model: str, asked: Asked, dropped: Dropped) -> dict[str, Any]:
    """Return the fields that both faces share: messages, tools, format and thinking.

    Raises Untranslatable and BadRequest.
    """
    chat: dict[str, Any] = {"model": model, "messages": _messages(request, asked)}
    if request.tools:
        chat["tools"] = [
            _tool(tool, f"tools[{number}]", dropped) for number, tool in enumerate(request.tools)
        ]
    if request.tool_choice is not None:
        chat |= _tool_choice(request.tool_choice, has_tools=bool(request.tools))
    config = request.output_config
    form = (config.format if config is not None else None) or request.output_format
    if form is not None:
        named = {"name": "answer", "schema": form.schema, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": named}
    if config is not None and config.effort is not None:
        chat["reasoning_effort"] = _EFFORT.get(config.effort, config.effort)
    if request.thinking is not None and asked.extensions:
        chat |= _thinking(request.thinking)
    return chat


def sampling(request: MessagesRequest, dropped: Dropped, *, extensions: bool) -> dict[str, Any]:
    """Return the fields that say how the answer is drawn and sent; raises BadRequest."""
    if request.max_tokens is None:
        raise BadRequest("max_tokens is missing.", "Say how long the answer may become.", "max_tokens")
    chat: dict[str, Any] = {limit_name(extensions=extensions): request.max_tokens}
    for name in ("temperature", "top_p", "top_k"):
        value: Raw = getattr(request, name)
        if bytes(value).strip() in {b"", b"null"}:
            continue
        if name == "top_k" and not extensions:
            dropped.add(name)
            continue
        chat[name] = value
    if request.stop_sequences:
        chat["stop"] = request.stop_sequences
    user = request.metadata.user_id if request.metadata is not None else None
    if user and (extensions or len(user) <= _USER_MAX):
        chat["user"] = user
    if request.stream:
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    return chat


def limit_name(*, extensions: bool) -> str:
    """Return the field that bounds the answer: OpenAI has renamed it, engines know the old name."""
    return "max_tokens" if extensions else "max_completion_tokens"


def untranslatable(param: str, what: str = "") -> Untranslatable:
    """Return the error for a field that has no counterpart; `what` says which value of it."""
    param = clean(param, LONGEST)
    said = f"{param} ({clean(what)})" if what else param
    return Untranslatable(
        f"{said} can't be carried over to chat completions, which is all that this model's backend speaks.",
        ELSEWHERE,
        param,
    )


def _misfit(error: msgspec.ValidationError) -> BadRequest:
    text = shown(error)
    if block := _BLOCK.match(text):
        return untranslatable(block["place"], block["word"])
    return mistake(error, MessagesRequest)


def _messages(request: MessagesRequest, asked: Asked) -> list[dict[str, Any]]:
    turns = request.messages
    if not turns:
        raise BadRequest("messages is empty.", "Send at least one message.", "messages")
    last_user = max((number for number, turn in enumerate(turns) if turn.role == "user"), default=-1)
    history = History(asked)
    history.add_system(request.system)
    for number, turn in enumerate(turns):
        history.add(turn, f"messages[{number}]", is_last_word=number >= last_user)
    return history.messages()


def _tool(tool: dict[str, Raw], place: str, dropped: Dropped) -> dict[str, Any]:
    kind = bytes(tool.get("type", b"null"))
    if kind not in {b"null", b'"custom"'}:
        raise untranslatable(f"{place}.type", str(kind, "utf-8", "replace").strip('"'))
    for name in tool.keys() - _CARRIED - _PASSED:
        dropped.add(f"tools[].{name}")
    callers = bytes(tool.get("allowed_callers", b"null"))
    if callers != b"null" and b'"direct"' not in callers:
        raise untranslatable(f"{place}.allowed_callers")
    for name, first in (("name", b'"'), ("input_schema", b"{")):
        if name not in tool:
            raise BadRequest(f"{place}.{name} is missing.", "", f"{place}.{name}")
        if not bytes(tool[name]).startswith(first):
            wanted = "text" if first == b'"' else "an object"
            raise BadRequest(f"{place}.{name} must be {wanted}.", "", f"{place}.{name}")
    function: dict[str, Any] = {"name": tool["name"]}
    if "description" in tool:
        function["description"] = tool["description"]
    function["parameters"] = tool["input_schema"]
    if bytes(tool.get("strict", b"")) == b"true":
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice, *, has_tools: bool) -> dict[str, Any]:
    chat: dict[str, Any] = {}
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("tool_choice.name is missing.", "Name the tool.", "tool_choice.name")
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif has_tools or choice.type == "any":  # where there are no tools, the other words only upset OpenAI
        chat["tool_choice"] = _CHOICE[choice.type]
    if choice.disable_parallel_tool_use and has_tools:
        chat["parallel_tool_calls"] = False
    return chat


def _thinking(thinking: Thinking) -> dict[str, Any]:
    if thinking.type == "disabled":
        return {"chat_template_kwargs": {"enable_thinking": False}}
    if thinking.type != "enabled":
        return {}
    chat: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}}
    if thinking.budget_tokens is not None:
        chat["thinking_budget_tokens"] = thinking.budget_tokens
    return chat
