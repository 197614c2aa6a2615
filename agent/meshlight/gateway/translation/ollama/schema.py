"""Requests of Ollama's API, as far as they can be translated to OpenAI's.

Fields are those of `api/types.go`. Unlisted fields are ignored, as by Ollama itself, whose clients send more than it
knows; a `Passed` field is known but has no counterpart.
"""

from typing import Any

from msgspec import Raw, Struct, field

Passed = Any
"""A setting of the engine itself: ignored."""
Verbatim = Raw
"""JSON that is copied unchanged, digit for digit; empty if it is missing."""
Number = int | float | None


class Options(Struct, frozen=True, kw_only=True):
    """The options of a Modelfile; `Passed` ones concern how Ollama loads a model, or are obsolete."""

    temperature: Number = None
    top_p: Number = None
    seed: Number = None
    stop: str | tuple[str, ...] | None = None
    num_predict: Number = None
    presence_penalty: Number = None
    frequency_penalty: Number = None
    top_k: Number = None
    min_p: Number = None
    typical_p: Number = None
    repeat_penalty: Number = None
    repeat_last_n: Number = None
    num_ctx: Passed = None
    num_keep: Passed = None
    num_batch: Passed = None
    num_gpu: Passed = None
    num_gqa: Passed = None
    num_thread: Passed = None
    main_gpu: Passed = None
    low_vram: Passed = None
    numa: Passed = None
    use_mmap: Passed = None
    use_mlock: Passed = None
    f16_kv: Passed = None
    logits_all: Passed = None
    vocab_only: Passed = None
    embedding_only: Passed = None
    rope_frequency_base: Passed = None
    rope_frequency_scale: Passed = None
    mirostat: Passed = None
    mirostat_eta: Passed = None
    mirostat_tau: Passed = None
    penalize_newline: Passed = None
    tfs_z: Passed = None


class CalledFunction(Struct, frozen=True, kw_only=True):
    """The function of a call; the arguments are an object."""

    name: str
    arguments: Verbatim = Raw()
    index: Passed = None
    description: Passed = None


class CalledTool(Struct, frozen=True, kw_only=True):
    """A tool call in an earlier turn; older clients send no id."""

    function: CalledFunction
    id: str | None = None
    type: Passed = None


class Message(Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: tuple[str, ...] | None = None
    """Images in base64."""
    tool_calls: tuple[CalledTool, ...] | None = None
    tool_name: str | None = None
    name: str | None = None
    """Older clients' name of `tool_name`."""
    tool_call_id: str | None = None


class _Request(Struct, frozen=True, kw_only=True):
    """The fields of all requests."""

    model: str
    options: Options | None = None
    keep_alive: int | float | str | None = None
    truncate: Passed = None


class _Asking(_Request, frozen=True, kw_only=True):
    """The fields of generate and chat."""

    stream: bool | None = None
    """The answer is a stream unless this is false."""
    format: Verbatim = Raw()
    think: bool | str | None = None
    shift: Passed = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    debug_render_only: bool | None = field(name="_debug_render_only", default=None)


class ChatRequest(_Asking, frozen=True, kw_only=True):
    """A body of `/api/chat`."""

    messages: tuple[Message, ...] | None = None
    tools: tuple[dict[str, Verbatim], ...] | None = None


class GenerateRequest(_Asking, frozen=True, kw_only=True):
    """A body of `/api/generate`."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    images: tuple[str, ...] | None = None
    raw: bool | None = None
    context: tuple[int, ...] | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None


class EmbedRequest(_Request, frozen=True, kw_only=True):
    """A body of `/api/embed`."""

    input: str | tuple[str, ...] | None = None
    dimensions: int | None = None


class EmbeddingsRequest(_Request, frozen=True, kw_only=True):
    """A body of `/api/embeddings`, the older API for one text."""

    prompt: str | None = None
