"""Requests of Anthropic's Messages API, as far as they can be translated to chat completions.

Fields and blocks are those of the API reference (`POST /v1/messages`, with its betas). A block that is not listed
here is refused; an unlisted field is left out and reported; a `Passed` field is known but has no counterpart.
"""

from typing import Any, Literal

from msgspec import Raw, Struct

Passed = Any
"""A hint to Anthropic's own service (caching, billing, signatures): ignored."""
Verbatim = Raw
"""JSON that is copied unchanged, digit for digit; empty if it is missing."""


class _Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of structs that refuse unknown fields."""


class _Block(_Strict, frozen=True, kw_only=True, tag_field="type"):
    """One piece of a message."""

    cache_control: Passed = None


class TextBlock(_Block, frozen=True, kw_only=True, tag="text"):
    """Text; its citations are not translated."""

    text: str
    citations: Passed = None


class Base64Source(_Strict, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    """An image in the request itself."""

    media_type: str
    data: str


class UrlSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="url"):
    """An image that the backend fetches."""

    url: str


class ImageBlock(_Block, frozen=True, kw_only=True, tag="image"):
    """An image."""

    source: Base64Source | UrlSource
    transformations: Passed = None


class Citations(_Strict, frozen=True, kw_only=True):
    """Whether the answer should cite the document."""

    enabled: bool | None = None


class TextSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A document that is plain text."""

    data: str
    media_type: str = "text/plain"


class BlocksSource(_Strict, frozen=True, kw_only=True, tag_field="type", tag="content"):
    """A document in pieces."""

    content: str | tuple[TextBlock | ImageBlock, ...]


class DocumentBlock(_Block, frozen=True, kw_only=True, tag="document"):
    """A document; PDFs have no counterpart in chat completions."""

    source: TextSource | BlocksSource
    title: str | None = None
    context: str | None = None
    citations: Citations | None = None


class SearchResultBlock(_Block, frozen=True, kw_only=True, tag="search_result"):
    """A search result of the caller."""

    source: str
    title: str
    content: tuple[TextBlock, ...]
    citations: Citations | None = None


class ThinkingBlock(_Block, frozen=True, kw_only=True, tag="thinking"):
    """The model's thoughts in an earlier turn."""

    thinking: str
    signature: Passed = None


class RedactedBlock(_Block, frozen=True, kw_only=True, tag="redacted_thinking"):
    """Thoughts that only Anthropic can read."""

    data: Passed = None


class FallbackBlock(_Block, frozen=True, kw_only=True, tag="fallback", rename={"origin": "from"}):
    """A mark that another of Anthropic's models took over; not sent to models."""

    origin: Passed = None
    to: Passed = None
    trigger: Passed = None


class ToolUseBlock(_Block, frozen=True, kw_only=True, tag="tool_use"):
    """A tool call by the model."""

    id: str
    name: str
    input: Verbatim
    caller: Passed = None
    toolset_name: Passed = None


class ToolReferenceBlock(_Block, frozen=True, kw_only=True, tag="tool_reference"):
    """A tool found by a tool search."""

    tool_name: str


ResultBlock = TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock


class ToolResultBlock(_Block, frozen=True, kw_only=True, tag="tool_result"):
    """The result of a tool call."""

    tool_use_id: str
    content: str | tuple[ResultBlock, ...] | None = None
    is_error: bool | None = None
    toolset_name: Passed = None


Block = (
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ThinkingBlock
    | RedactedBlock
    | FallbackBlock
    | ToolUseBlock
    | ToolResultBlock
)


class Turn(_Strict, frozen=True, kw_only=True):
    """One message of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[Block, ...] | None = None
    output_config: Passed = None
    clear_at: Literal["next_user_message", "never"] | None = None


class Metadata(_Strict, frozen=True, kw_only=True):
    """The user, for the server's statistics."""

    user_id: str | None = None


class Thinking(_Strict, frozen=True, kw_only=True):
    """Whether the model should think first, and how much."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: int | None = None
    display: Literal["summarized", "omitted"] | None = None


class ToolChoice(_Strict, frozen=True, kw_only=True):
    """Which tool the model may or must call."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class OutputFormat(_Strict, frozen=True, kw_only=True):
    """The JSON schema of the answer."""

    type: Literal["json_schema"]
    schema: Verbatim


class OutputConfig(_Strict, frozen=True, kw_only=True):
    """Options of the answer."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: OutputFormat | None = None
    task_budget: Passed = None


class MessagesRequest(_Strict, frozen=True, kw_only=True):
    """The body of `POST /v1/messages`, and of `/v1/messages/count_tokens`, which has fewer of the fields."""

    model: str
    messages: tuple[Turn, ...]
    max_tokens: int | None = None
    metadata: Metadata | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    stop_sequences: tuple[str, ...] | None = None
    stream: bool | None = None
    system: str | tuple[TextBlock, ...] | None = None
    temperature: Verbatim = Raw()
    thinking: Thinking | None = None
    tool_choice: ToolChoice | None = None
    tools: tuple[dict[str, Raw], ...] | None = None
    top_k: Verbatim = Raw()
    top_p: Verbatim = Raw()
    betas: Passed = None
    billing_policy: Passed = None
    cache_control: Passed = None
    compaction: Passed = None
    context_management: Passed = None
    diagnostics: Passed = None
    fallback_credit_token: Passed = None
    fallbacks: Passed = None
    service_tier: Passed = None
    speed: Passed = None
    user_profile_id: Passed = None
    workspace_id: Passed = None
    container: Any = None
    inference_geo: Any = None
    mcp_servers: Any = None
    thread: Any = None


REFUSED = ("container", "inference_geo", "mcp_servers", "thread")
"""Fields that only Anthropic's own service can fulfil; requests with them are refused."""
