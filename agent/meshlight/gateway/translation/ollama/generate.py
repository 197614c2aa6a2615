"""Ollama's generate by way of chat completions or completions, for backends that do not speak Ollama's API.

A prompt becomes a message of the user, `system` one before it: Ollama makes the same of them. With `raw` or
`suffix` the prompt goes to completions as it stands, where whether a text can be filled in is the engine's affair.
`template` would replace the template of the model, and `context` holds tokens of another engine: both are refused
unless they are empty. The rest is as with the chat.

Ollama's chat by way of chat completions, for backends that do not speak Ollama's API.

What becomes of a request, after Ollama's `docs/api.md`, `docs/openapi.yaml` and `api/types.go`:

- `messages` keep their order and roles. Pictures become data URLs of the type that their first bytes show, in
  messages of the user only: those of a tool's result or of others go into the user's message that follows.
  Arguments of calls become text. Calls without an id get one; a result goes to the call with its `tool_call_id`, or
  to the first open one of its `tool_name`, or to the first open one. `thinking` goes on as `reasoning_content`. What
  a backend wants back with a call is in the id that it gave it (`keepsake`).
- `tools` go on as they stand. `format` becomes a `response_format`. `logprobs` go on and come back.
- `think` is a wish that an engine may not be able to meet: it becomes `chat_template_kwargs.enable_thinking`, and a
  level `reasoning_effort`, at most "high". What a model thinks although it was told not to is left out.
- `options`: `temperature`, `top_p`, `seed`, `stop`, `presence_penalty`, `frequency_penalty` and `num_predict` have
  counterparts (a `num_predict` that is not positive means "no limit" to both sides). `top_k`, `min_p`, `typical_p`,
  `repeat_penalty` and `repeat_last_n` go on under the names that llama.cpp and vLLM know.
- Passed over: options about how Ollama loads a model (`num_ctx`, `num_gpu`, `num_thread`, `num_batch`, `num_keep`,
  `use_mmap`, …) and `keep_alive`. They are wishes about an engine that runs as it was started. Nothing is lost
  unheard by that: a prompt that is too long for the context is refused by the engine, in its own words. So too
  `truncate` and `shift`, which would let Ollama drop parts of a long conversation, and options that Ollama itself no
  longer reads (`mirostat…`, `penalize_newline`, `tfs_z`, …).
- What Ollama does not know either is not heard; `_debug_render_only` is refused.
- A stream comes unless `stream` is false. No messages at all mean "load the model": that is answered at once. To
  unload one (`keep_alive` 0) can't be asked of another engine, so it is refused.

With `extensions=False`, for services that refuse fields which are not OpenAI's own: `thinking` and the wish to think
(but not its level) stay behind, `top_k` and its like too, named in the answer's header unless their value means
"off", and the limit is called `max_completion_tokens`.

And of an answer: each chunk becomes a line, calls of tools come whole before the last one. `done_reason` is `stop`,
`length`, or `content_filter`. Tokens are counted by the backend. `total_duration` is measured here, `eval_duration`
too, from the first piece to the last, unless llama.cpp tells it; what is not known is left out.
"""

from typing import Any

import msgspec
from msgspec import Raw

from meshlight.domain.errors import BadRequest
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.anthropic.request import limit_name
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.calls_sent import BackendTraits
from meshlight.gateway.translation.ollama.request import (
    answer_format,
    chances,
    chat_messages,
    is_unload,
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
from meshlight.gateway.translation.pruned import Dropped

_generate_decoder = msgspec.json.Decoder(GenerateRequest)
_encode = msgspec.json.Encoder().encode
_CHAT: Operation = "chat/completions"
_COMPLETIONS: Operation = "completions"
_REFUSED = ("template", "context", "debug_render_only", "width", "height", "steps")
_REFUSED_WHEN_RAW = ("images", "think", "logprobs")
"""Completions have no pictures, no thoughts, and chances of another form."""


def translate_generate(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,
    signs: bool = False,  # noqa: ARG001 — one of the translations, which are called alike
    clock: Clock = SYSTEM,
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/generate`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend takes fields which are not OpenAI's. Raises Untranslatable and BadRequest.
    """
    request = read_body(body, _generate_decoder, GenerateRequest)
    _refuse(request, _REFUSED)
    ask = AnswerOptions(
        request.model,
        operation="generate",
        is_stream=request.stream is not False,
        hides_thinking=request.think is False,
    )
    if not (request.prompt or request.images or request.suffix):
        if is_unload(request.keep_alive):
            raise refuse_unload()
        return loaded(ask, clock)
    dropped = Dropped()
    make, to = (_raw, _COMPLETIONS) if request.raw or request.suffix else (_chat, _CHAT)
    asked = make(request, model, dropped, extensions=extensions)
    return TranslatedRequest(to, _encode(asked), OllamaTranslator(ask, clock), dropped.names())


def _chat(request: GenerateRequest, model: str, dropped: Dropped, *, extensions: bool) -> dict[str, Any]:
    prompt = request.prompt or ""
    content = picture_parts(prompt, request.images, "images") if request.images else prompt
    messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
    if request.system:
        messages.insert(0, {"role": "system", "content": request.system})
    chat: dict[str, Any] = {"model": model, "messages": messages}
    chat |= answer_format(request.format)
    chat |= thinking(request.think, extensions=extensions)
    chat |= chances(request)
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
    asked: dict[str, Any] = {"model": model, "prompt": request.prompt or ""}
    if request.suffix:
        asked["suffix"] = request.suffix
    asked |= form
    asked |= sampling(request.options, dropped, limit="max_tokens", extensions=extensions)
    return asked | streaming(request)


def _refuse(request: GenerateRequest, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(request, name):
            raise untranslatable("_debug_render_only" if name == "debug_render_only" else name)


_chat_decoder = msgspec.json.Decoder(ChatRequest)


def translate_chat(
    body: bytes, model: str, *, extensions: bool = True, signs: bool = False, clock: Clock = SYSTEM
) -> TranslatedRequest | Immediate:
    """Translate a body of `/api/chat`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend takes fields which are not OpenAI's, `signs` that it is Gemini, which signs
    thoughts and wants to see that again. Raises Untranslatable and BadRequest.
    """
    request = read_body(body, _chat_decoder, ChatRequest)
    if request.debug_render_only:
        raise untranslatable("_debug_render_only")
    ask = AnswerOptions(
        request.model,
        operation="chat",
        is_stream=request.stream is not False,
        hides_thinking=request.think is False,
    )
    if not request.messages:
        if is_unload(request.keep_alive):
            raise refuse_unload()
        return loaded(ask, clock)
    dropped = Dropped()
    chat: dict[str, Any] = {
        "model": model,
        "messages": chat_messages(request.messages, BackendTraits(extensions, signs)),
    }
    if request.tools:
        chat["tools"] = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(request.tools)]
    chat |= answer_format(request.format)
    chat |= thinking(request.think, extensions=extensions)
    chat |= chances(request)
    chat |= sampling(request.options, dropped, limit=limit_name(extensions=extensions), extensions=extensions)
    chat |= streaming(request)
    return TranslatedRequest("chat/completions", _encode(chat), OllamaTranslator(ask, clock), dropped.names())


def _tool(tool: dict[str, Raw], place: str) -> dict[str, Any]:
    if not bytes(tool.get("function", b"")).startswith(b"{"):
        raise BadRequest(f"{place}.function must be an object.", "", f"{place}.function")
    return {"type": "function"} | tool
