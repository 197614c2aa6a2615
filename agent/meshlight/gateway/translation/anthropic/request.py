"""Translates the body of a Messages request to chat completions: the fields first, then the conversation.

`api` explains the translation of each field.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.anthropic.schema import (
    REFUSED,
    Base64Source,
    Block,
    BlocksSource,
    DocumentBlock,
    FallbackBlock,
    ImageBlock,
    MessagesRequest,
    RedactedBlock,
    ResultBlock,
    SearchResultBlock,
    TextBlock,
    Thinking,
    ThinkingBlock,
    ToolChoice,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    UrlSource,
)
from meshlight.gateway.translation.json_repair import decode_repaired
from meshlight.gateway.translation.tool_calls import BackendTraits
from meshlight.gateway.translation.turns import PARAGRAPH, Piece, Turns
from meshlight.gateway.translation.unknown_fields import Dropped, prune
from meshlight.gateway.validation import LONGEST, malformed_json, message_of, validation_error

_EFFORT: Final = {"xhigh": "high", "max": "high"}
_CHOICE: Final = {"auto": "auto", "any": "required", "none": "none"}
_KNOWN: Final = frozenset(
    {
        *("name", "description", "input_schema", "strict", "type", "cache_control"),
        *("defer_loading", "eager_input_streaming", "input_examples", "allowed_callers"),
    }
)
"""The fields of a tool that are carried over, or may be left out."""
_NULL: Final = Raw(b"null")
_USER_MAX: Final = 64
"""Characters that OpenAI accepts as `user`."""
_UNKNOWN: Final = "Object contains unknown field"
_BLOCK: Final = re.compile(r"Invalid value '(?P<word>.*)' - at `\$\.?(?P<place>.*\.type)`$", re.DOTALL)

_decoder: Final = msgspec.json.Decoder(MessagesRequest)


def read_request(body: bytes, dropped: Dropped) -> MessagesRequest:
    """Read a body of `messages` or `messages/count_tokens`; unknown fields are dropped.

    Raises Untranslatable and BadRequest.
    """
    try:
        request = _read(body, dropped)
    except msgspec.ValidationError as error:
        raise _misfit(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(error) from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    for name in REFUSED:
        if getattr(request, name):
            raise untranslatable(name)
    return request


def _read(body: bytes, dropped: Dropped) -> MessagesRequest:
    try:
        return decode_repaired(body, _decoder)
    except msgspec.ValidationError as error:
        if not str(error).startswith(_UNKNOWN):
            raise
    return decode_repaired(prune(body, MessagesRequest, dropped), _decoder)


def chat_request(
    request: MessagesRequest, model: str, traits: BackendTraits, dropped: Dropped
) -> dict[str, Any]:
    """Return the fields that `messages` and `count_tokens` share: messages, tools, format and thinking.

    Raises Untranslatable and BadRequest.
    """
    chat: dict[str, Any] = {"model": model, "messages": _messages(request, traits)}
    tools, choice, thinking = request.tools, request.tool_choice, request.thinking
    if tools:
        chat["tools"] = [_tool(tool, number, dropped) for number, tool in enumerate(tools)]
    if choice is not None:
        chat |= _tool_choice(choice, has_tools=bool(tools))
    config = request.output_config
    form = (config.format if config is not None else None) or request.output_format
    if form is not None:
        named = {"name": "answer", "schema": form.schema, "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": named}
    if config is not None and config.effort is not None:
        chat["reasoning_effort"] = _EFFORT.get(config.effort, config.effort)
    if thinking is not None and traits.extensions:
        chat |= _thinking(thinking)
    return chat


def add_sampling(
    chat: dict[str, Any], request: MessagesRequest, dropped: Dropped, *, extensions: bool
) -> None:
    """Add the fields for sampling, length and streaming of the answer; raises BadRequest."""
    if request.max_tokens is None:
        raise BadRequest("max_tokens is missing.", "Say how long the answer may become.", "max_tokens")
    chat[limit_name(extensions=extensions)] = request.max_tokens
    if _is_given(request.temperature):
        chat["temperature"] = request.temperature
    if _is_given(request.top_p):
        chat["top_p"] = request.top_p
    if _is_given(request.top_k):
        if extensions:
            chat["top_k"] = request.top_k
        else:
            dropped.add("top_k")
    if request.stop_sequences:
        chat["stop"] = request.stop_sequences
    metadata = request.metadata
    user = metadata.user_id if metadata is not None else None
    if user and (extensions or len(user) <= _USER_MAX):
        chat["user"] = user
    if request.stream:
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}


def _is_given(value: Raw) -> bool:
    return bool(text := bytes(value)) and text.strip() != b"null"


def limit_name(*, extensions: bool) -> str:
    """Return the name of the limit of the answer: OpenAI has renamed it, engines know the old name."""
    return "max_tokens" if extensions else "max_completion_tokens"


def untranslatable(param: str, what: str = "") -> Untranslatable:
    """Return the error for a field without a counterpart; `what` is its value."""
    param = sanitize_line(param, LONGEST)
    text_of = f"{param} ({sanitize_line(what)})" if what else param
    return Untranslatable(
        f"{text_of} can't be carried over to chat completions, which is all that this model's backend speaks.",
        ELSEWHERE,
        param,
    )


def _misfit(error: msgspec.ValidationError) -> BadRequest:
    text = message_of(error)
    if block := _BLOCK.match(text):
        return untranslatable(block["place"], block["word"])
    return validation_error(error, MessagesRequest)


def _messages(request: MessagesRequest, traits: BackendTraits) -> list[dict[str, Any]]:
    turns = request.messages
    if not turns:
        raise BadRequest("messages is empty.", "Send at least one message.", "messages")
    last_user = len(turns) - 1
    while last_user >= 0 and turns[last_user].role != "user":
        last_user -= 1
    history = History(traits)
    if request.system:
        history.add_system(request.system)
    for number, turn in enumerate(turns):
        history.add(turn, number, is_last_word=number >= last_user)
    return history.messages()


def _tool(tool: dict[str, Raw], number: int, dropped: Dropped) -> dict[str, Any]:
    kind = bytes(tool.get("type", _NULL))
    if kind not in {b"null", b'"custom"'}:
        raise untranslatable(f"tools[{number}].type", str(kind, "utf-8", "replace").strip('"'))
    for name in tool.keys() - _KNOWN:
        dropped.add(f"tools[].{name}")
    callers = bytes(tool.get("allowed_callers", _NULL))
    if callers != b"null" and b'"direct"' not in callers:
        raise untranslatable(f"tools[{number}].allowed_callers")
    called = _checked(tool, "name", b'"', number)
    schema = _checked(tool, "input_schema", b"{", number)
    function: dict[str, Any] = {"name": called}
    if "description" in tool:
        function["description"] = tool["description"]
    function["parameters"] = schema
    if bytes(tool.get("strict", _NULL)) == b"true":
        function["strict"] = True
    return {"type": "function", "function": function}


def _checked(tool: dict[str, Raw], name: str, first: bytes, number: int) -> Raw:
    """Return a field that a tool must have, and that begins with `first`; raises BadRequest."""
    value = tool.get(name)
    if value is not None and bytes(value).startswith(first):
        return value
    wanted = "text" if first == b'"' else "an object"
    place = f"tools[{number}].{name}"
    raise BadRequest(f"{place} {'is missing' if value is None else f'must be {wanted}'}.", "", place)


def _tool_choice(choice: ToolChoice, *, has_tools: bool) -> dict[str, Any]:
    chat: dict[str, Any] = {}
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("tool_choice.name is missing.", "Name the tool.", "tool_choice.name")
        chat["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif has_tools or choice.type == "any":  # without tools, OpenAI refuses the other values
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


ELSEWHERE: Final = "Leave it out, or use a model of a backend that speaks Anthropic's protocol itself."
_BILLING: Final = "x-anthropic-billing-header:"


class History:
    """Collects the messages; consecutive turns of one role become one message, as in Anthropic's API."""

    __slots__ = ("_turns",)

    def __init__(self, traits: BackendTraits) -> None:
        self._turns = Turns(traits)

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages."""
        return self._turns.messages()

    def add_system(self, system: str | Sequence[TextBlock]) -> None:
        """Add the system prompt.

        Claude Code's block with its build is left out: it changes with each request, so that no engine could reuse
        its prompt cache.
        """
        texts = [system] if isinstance(system, str) else [block.text for block in system]
        self._turns.system += [
            t for t in texts if t and not (t.startswith(_BILLING) and "\n" not in t.strip())
        ]

    def add(self, turn: Turn, number: int, *, is_last_word: bool) -> None:
        """Add a turn by its number; `is_last_word` says that no user turn follows.

        Raises Untranslatable and BadRequest.
        """
        content, role = turn.content, turn.role
        if role == "user":
            self._turns.end_assistant()
            if isinstance(content, str):
                self._turns.user.append(content)
            elif content:
                self._add_user(content, number)
        elif role == "assistant":
            self._turns.end_user()
            if isinstance(content, str):
                if content:
                    self._turns.texts.append(content)
            elif content:
                self._add_assistant(content, number)
        elif content and (turn.clear_at != "next_user_message" or is_last_word):
            self._add_reminder((TextBlock(text=content),) if isinstance(content, str) else content, number)

    def _add_reminder(self, blocks: Sequence[Block], turn: int) -> None:
        texts: list[str] = []
        for number, block in enumerate(blocks):
            if not isinstance(block, TextBlock):
                raise _foreign(block, _place(turn, number))
            texts.append(block.text)
        if text := PARAGRAPH.join(filter(None, texts)):
            self._turns.add_reminder(text)

    def _add_user(self, blocks: Sequence[Block], turn: int) -> None:
        shown: list[Piece] = []
        text_of: list[Piece] = []
        for number, block in enumerate(blocks):
            if isinstance(block, TextBlock):
                text_of.append(block.text)
            elif isinstance(block, ToolResultBlock):
                shown += self._add_result(block, _place(turn, number))
            elif isinstance(block, ImageBlock | DocumentBlock | SearchResultBlock):
                text_of += _parts(block, _place(turn, number))
            elif not isinstance(block, RedactedBlock | FallbackBlock):
                raise _foreign(block, _place(turn, number))
        self._turns.user += shown
        self._turns.user += text_of

    def _add_result(self, block: ToolResultBlock, place: str) -> list[Piece]:
        """Add the result of a tool and return its images."""
        content = block.content
        parts: list[Piece] = [content] if isinstance(content, str) else []
        if content is not None and not isinstance(content, str):
            for number, inner in enumerate(content):
                parts += _parts(inner, f"{place}.content[{number}]")
        text = PARAGRAPH.join([part for part in parts if isinstance(part, str) and part])
        if block.is_error and not text.lstrip("<").lower().startswith(("error", "tool_use_error")):
            text = f"Error: {text}" if text else "Error"
        return self._turns.add_result(block.tool_use_id, text, parts)

    def _add_assistant(self, blocks: Sequence[Block], turn: int) -> None:
        for number, block in enumerate(blocks):
            if isinstance(block, TextBlock):
                if block.text:
                    self._turns.texts.append(block.text)
            elif isinstance(block, ThinkingBlock):
                if block.thinking:
                    self._turns.thoughts.append(block.thinking)
                self._turns.tool_calls.add_signature(block.signature)
            elif isinstance(block, RedactedBlock):
                self._turns.tool_calls.add_signature(block.data)
            elif isinstance(block, ToolUseBlock):
                arguments = _object(block.input, turn, number)
                self._turns.calls.append(
                    self._turns.tool_calls.call(
                        block.id, block.name, arguments, is_first=not self._turns.calls
                    )
                )
            elif not isinstance(block, FallbackBlock):
                raise _foreign(block, _place(turn, number))


def _place(turn: int, block: int) -> str:
    return f"messages[{turn}].content[{block}]"


def _parts(block: ResultBlock, place: str) -> list[Piece]:
    """Return the content of a block as texts and images."""
    if isinstance(block, TextBlock):
        return [block.text]
    if isinstance(block, ImageBlock):
        return [{"type": "image_url", "image_url": {"url": _url(block.source)}}]
    if isinstance(block, ToolReferenceBlock):
        return [f"The tool {block.tool_name} can be called."]
    if block.citations is not None and block.citations.enabled:
        raise Untranslatable(
            f"{place}.citations asks for citations, which chat completions can't give.",
            ELSEWHERE,
            f"{place}.citations",
        )
    if isinstance(block, SearchResultBlock):
        return ["\n".join((block.title, block.source, "", *(text.text for text in block.content)))]
    head = [line for line in (block.title, block.context) if line]
    if not isinstance(block.source, BlocksSource):
        return ["\n".join((*head, block.source.data))]
    content = block.source.content
    inner = [content] if isinstance(content, str) else [p for b in content for p in _parts(b, place)]
    return [*head, *inner]


def _url(source: Base64Source | UrlSource) -> str:
    if isinstance(source, UrlSource):
        return source.url
    return f"data:{source.media_type};base64,{source.data}"


def _object(value: Raw, turn: int, block: int) -> str:
    """Return a call's input, which is a JSON object, as its unchanged text."""
    text = str(value, "utf-8", "replace").strip()
    if not text.startswith("{"):
        place = f"{_place(turn, block)}.input"
        raise BadRequest(f"{place} must be an object.", "", place)
    return text


def _foreign(block: Block, place: str) -> BadRequest:
    word = block.__struct_config__.tag
    return BadRequest(f"{place}: a block of type {word} has no place in a message of this role.", "", place)
