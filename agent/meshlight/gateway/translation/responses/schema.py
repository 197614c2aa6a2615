"""A request of OpenAI's Responses API, as far as it is read; names of fields are those of the API reference.

Items, parts and tools are each one struct with every field that any of them has: which of them count, `type` says.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw, Struct

Verbatim = Raw
"""JSON that is carried over as it stands, digit for digit; empty when it did not come."""
Passed = Any
"""A hint to OpenAI's own service (caching, billing, statistics): read, and passed over."""


class Part(Struct, frozen=True, kw_only=True):
    """One piece of a message, of a result of a tool, or of thoughts."""

    type: str = "input_text"
    text: str | None = None
    image_url: str | None = None
    detail: str | None = None
    refusal: str | None = None


class Action(Struct, frozen=True, kw_only=True):
    """What a `local_shell_call` runs."""

    command: Verbatim = Raw(b"[]")
    timeout_ms: int | None = None
    working_directory: str | None = None


class Item(Struct, frozen=True, kw_only=True):
    """One item of the conversation; without a type it is a message."""

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
    """What is looked at first: the other fields of a type that is not known may be anything."""

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
    """Which tools the model may or must call, where that is more than a word."""

    type: str
    name: str = ""
    namespace: str | None = None
    mode: str = "auto"
    tools: tuple["ToolChoice", ...] = ()


class Format(Struct, frozen=True, kw_only=True):
    """The form of the answer's text."""

    type: str
    name: str = "answer"
    description: str | None = None
    schema: Verbatim = Raw()
    strict: bool | None = None


class Text(Struct, frozen=True, kw_only=True):
    """How the answer's text shall be."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct, frozen=True, kw_only=True):
    """How much the model shall think, and what is told of it."""

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
"""Fields that mean something only OpenAI's own service can do, or that would change what the answer holds."""
