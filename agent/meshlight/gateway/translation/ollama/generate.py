"""Translates Ollama's generate and chat, for backends that do not have Ollama's API.

Generate becomes chat completions: the prompt is a user's message, with `system` before it, as in Ollama itself. With
`raw` or `suffix`, the unchanged prompt goes to completions; whether it supports a suffix depends on the engine.
`template` would replace the model's template, and `context` has tokens of another engine: both are refused unless
they are empty. The rest is as in chat.

Chat becomes chat completions, by Ollama's `docs/api.md`, `docs/openapi.yaml` and `api/types.go`:

- `messages` keep their order and roles. Images become data URLs, with the type that their first bytes show, in user's
  messages only: those of a tool's result or of others go into the following user's message. Arguments of calls become
  text. Calls without an id get one; a result goes to the call with its `tool_call_id`, or to the first open one of
  its `tool_name`, or to the first open one. `thinking` becomes `reasoning_content`. State that a backend wants back
  with a call is in the call's id (`carried_state`).
- `tools` are unchanged. `format` becomes a `response_format`. `logprobs` are passed on and come back.
- `think` is a request that an engine may not be able to follow: it becomes `chat_template_kwargs.enable_thinking`,
  and a level becomes `reasoning_effort`, at most "high". Thoughts that come despite `think: false` are left out.
- `options`: `temperature`, `top_p`, `seed`, `stop`, `presence_penalty`, `frequency_penalty` and `num_predict` have
  counterparts (a `num_predict` that is not positive means "no limit" to both sides). `top_k`, `min_p`, `typical_p`,
  `repeat_penalty` and `repeat_last_n` get the names that llama.cpp and vLLM know.
- Ignored: options about how Ollama loads a model (`num_ctx`, `num_gpu`, `num_thread`, `num_batch`, `num_keep`,
  `use_mmap`, …). They concern an engine that runs already. Nothing is lost silently: a prompt that is too long for
  the context is refused by the engine, with its own message. `keep_alive` is read elsewhere (`gateway/models`), and
  heeded for this machine's own models. Also ignored: `truncate` and `shift`, which allow Ollama to drop parts of a
  long conversation, and options that Ollama itself no longer reads (`mirostat…`, `penalize_newline`, `tfs_z`, …).
- Fields that Ollama does not know either are ignored; `_debug_render_only` is refused.
- The answer is a stream unless `stream` is false. A request without messages means "load the model" and is answered
  at once. Unloading a model (`keep_alive` 0) is refused: other engines can't do it.

With `extensions=False`, for services that refuse fields that are not OpenAI's: `thinking` and `think` (but not
its level) are left out, and `top_k` and the like too, which the answer's header names unless their value means "off";
the limit is called `max_completion_tokens`.

The translation of an answer: each chunk becomes a line; complete tool calls come before the last one. `done_reason`
is `stop`, `length`, or `content_filter`. Tokens are counted by the backend. `total_duration` is measured here, and
`eval_duration` too, from the first piece to the last, unless llama.cpp sends it; unknown numbers are left out.
"""

from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.anthropic.request import limit_name
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.ollama.request import (
    answer_format,
    chat_messages,
    is_unload,
    logprobs_fields,
    picture_parts,
    read_body,
    refuse_unload,
    sampling,
    streaming,
    thinking,
    untranslatable,
)
from meshlight.gateway.translation.ollama.response import OllamaTranslator
from meshlight.gateway.translation.ollama.schema import ChatRequest, GenerateRequest
from meshlight.gateway.translation.ollama.writer import SYSTEM, AnswerOptions, Clock, Immediate, loaded
from meshlight.gateway.translation.tool_calls import BackendTraits
from meshlight.gateway.translation.unknown_fields import Dropped

_generate_decoder = msgspec.json.Decoder(GenerateRequest)
_encode = msgspec.json.Encoder().encode
_CHAT: Operation = "chat/completions"
_COMPLETIONS: Operation = "completions"
_REFUSED = ("template", "context", "debug_render_only", "width", "height", "steps")
_REFUSED_WHEN_RAW = ("images", "think", "logprobs")
"""Completions have no images, no thoughts, and log probabilities in another format."""


def translate_generate(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,
    signs: bool = False,  # noqa: ARG001 — all translations have the same parameters
    clock: Clock = SYSTEM,
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/generate`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend accepts fields that are not OpenAI's. Raises Untranslatable and BadRequest.
    """
    request = read_body(body, _generate_decoder, GenerateRequest)
    _refuse(request, _REFUSED)
    options = AnswerOptions(
        request.model,
        operation="generate",
        is_stream=request.stream is not False,
        hides_thinking=request.think is False,
    )
    if not (request.prompt or request.images or request.suffix):
        if is_unload(request.keep_alive):
            raise refuse_unload()
        return loaded(options, clock)
    dropped = Dropped()
    make, to = (_raw, _COMPLETIONS) if request.raw or request.suffix else (_chat, _CHAT)
    fields = make(request, model, dropped, extensions=extensions)
    return TranslatedRequest(to, _encode(fields), OllamaTranslator(options, clock), dropped.names())


def _chat(request: GenerateRequest, model: str, dropped: Dropped, *, extensions: bool) -> dict[str, Any]:
    prompt = request.prompt or ""
    content = picture_parts(prompt, request.images, "images") if request.images else prompt
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    chat: dict[str, Any] = {"model": model, "messages": messages}
    chat |= answer_format(request.format)
    chat |= thinking(request.think, extensions=extensions)
    chat |= logprobs_fields(request)
    chat |= sampling(request.options, dropped, limit=limit_name(extensions=extensions), extensions=extensions)
    return chat | streaming(request)


def _raw(request: GenerateRequest, model: str, dropped: Dropped, *, extensions: bool) -> dict[str, Any]:
    if request.system:
        if request.raw:
            raise BadRequest("system has no place in a raw prompt.", "Write it into the prompt.", "system")
        raise untranslatable("system", "A text that is filled in has no system message there.")
    _refuse(request, _REFUSED_WHEN_RAW)
    form = answer_format(request.format)
    if form and not extensions:
        raise untranslatable("format")
    fields: dict[str, Any] = {"model": model, "prompt": request.prompt or ""}
    if request.suffix:
        fields["suffix"] = request.suffix
    fields |= form
    fields |= sampling(request.options, dropped, limit="max_tokens", extensions=extensions)
    return fields | streaming(request)


def _refuse(request: GenerateRequest, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(request, name):
            raise untranslatable("_debug_render_only" if name == "debug_render_only" else name)


_chat_decoder = msgspec.json.Decoder(ChatRequest)


def translate_chat(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False, clock: Clock = SYSTEM
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/chat`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend accepts fields that are not OpenAI's, `signs` that it is Gemini, which signs
    thoughts and demands the signatures back. Raises Untranslatable and BadRequest.
    """
    request = read_body(body, _chat_decoder, ChatRequest)
    if request.debug_render_only:
        raise untranslatable("_debug_render_only")
    options = AnswerOptions(
        request.model,
        operation="chat",
        is_stream=request.stream is not False,
        hides_thinking=request.think is False,
    )
    if not request.messages:
        if is_unload(request.keep_alive):
            raise refuse_unload()
        return loaded(options, clock)
    dropped = Dropped()
    chat: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(request.messages, BackendTraits(extensions, signs)),
    }
    if request.tools:
        chat["tools"] = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(request.tools)]
    chat |= answer_format(request.format)
    chat |= thinking(request.think, extensions=extensions)
    chat |= logprobs_fields(request)
    chat |= sampling(request.options, dropped, limit=limit_name(extensions=extensions), extensions=extensions)
    chat |= streaming(request)
    return TranslatedRequest(
        "chat/completions", _encode(chat), OllamaTranslator(options, clock), dropped.names()
    )


def _tool(tool: dict[str, Raw], place: str) -> dict[str, Any]:
    if not bytes(tool.get("function", b"")).startswith(b"{"):
        raise BadRequest(f"{place}.function must be an object.", "", f"{place}.function")
    return {"type": "function"} | tool
