"""Requests of OpenAI's Responses API, as far as they are read; fields have the names of the API reference.

Items, parts and tools are one struct each, with the fields of all their types; `type` says which of them count.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct

Verbatim = Raw
"""JSON that is copied unchanged, digit for digit; empty if it is missing."""
Passed = Any
"""A hint to OpenAI's own service (caching, billing, statistics): ignored."""


class Part(Struct, frozen=True, kw_only=True):
    """One part of a message, a tool result or thoughts."""

    type: str = "input_text"
    text: str | None = None
    image_url: str | None = None
    detail: str | None = None
    refusal: str | None = None


class Action(Struct, frozen=True, kw_only=True):
    """The command of a `local_shell_call`."""

    command: Verbatim = Raw(b"[]")
    timeout_ms: int | None = None
    working_directory: str | None = None


class Item(Struct, frozen=True, kw_only=True):
    """One item of the conversation; an item without a type is a message."""

    type: str | None = None
    role: str | None = None
    content: str | tuple[Part, ...] | None = None
    id: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | tuple[Part, ...] | None = None
    action: Action | None = None
    summary: tuple[Part, ...] | None = None
    encrypted_content: str | None = None


class ItemType(Struct, frozen=True):
    """Decoded first, since an unknown type may have any other fields."""

    type: str | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A tool, or a namespace of tools."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Verbatim = Raw()
    strict: bool | None = None
    format: Mapping[str, Any] | None = None
    tools: tuple[Raw, ...] = ()
    defer_loading: Passed = None
    allowed_callers: Passed = None
    output_schema: Passed = None
    external_web_access: Passed = None
    cache_control: Passed = None


class ToolChoice(Struct, frozen=True, kw_only=True):
    """Which tools the model may or must call, if it is more than a word."""

    type: str
    name: str = ""
    namespace: str | None = None
    mode: str = "auto"
    tools: tuple["ToolChoice", ...] = ()


class Format(Struct, frozen=True, kw_only=True):
    """The format of the answer's text."""

    type: str
    name: str = "answer"
    description: str | None = None
    schema: Verbatim = Raw()
    strict: bool | None = None


class Text(Struct, frozen=True, kw_only=True):
    """Options of the answer's text."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct, frozen=True, kw_only=True):
    """How much the model should think, and what is shown of it."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponsesRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /v1/responses`."""

    model: str
    input: Verbatim = Raw()
    include: tuple[str, ...] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    metadata: Verbatim = Raw(b"{}")
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    reasoning: Reasoning | None = None
    store: bool | None = None
    stream: bool | None = None
    temperature: Verbatim = Raw()
    text: Text | None = None
    tool_choice: str | ToolChoice | None = None
    tools: tuple[Raw, ...] | None = None
    top_p: Verbatim = Raw()
    truncation: str | None = None
    user: str | None = None
    service_tier: str | None = None
    client_metadata: Passed = None
    prompt_cache_key: Passed = None
    prompt_cache_options: Passed = None
    prompt_cache_retention: Passed = None
    safety_identifier: Passed = None
    stream_options: Passed = None
    background: Any = None
    conversation: Any = None
    moderation: Any = None
    prompt: Any = None
    top_logprobs: Any = None


REFUSED = ("background", "conversation", "moderation", "prompt", "top_logprobs")
"""Fields that only OpenAI's own service can fulfil, or that would change the answer: they are refused."""
