"""Ollama's generate by way of chat completions or completions, for backends that do not speak Ollama's API.

A prompt becomes a message of the user, `system` one before it: Ollama makes the same of them. With `raw` or
`suffix` the prompt goes to completions as it stands, where whether a text can be filled in is the engine's affair.
`template` would replace the template of the model, and `context` holds tokens of another engine: both are refused
unless they are empty. The rest is as with the chat.
"""

from typing import Any

import msgspec

from meshlight.backends.kind import Face
from meshlight.domain.errors import BadRequest
from meshlight.gateway.translation.back import Translated
from meshlight.gateway.translation.messages_request import limit_name
from meshlight.gateway.translation.ollama_back import OllamaBack
from meshlight.gateway.translation.ollama_clock import SYSTEM, Clock
from meshlight.gateway.translation.ollama_history import picture_parts
from meshlight.gateway.translation.ollama_immediate import Immediate, loaded
from meshlight.gateway.translation.ollama_lines import Ask
from meshlight.gateway.translation.ollama_request import (
    answer_format,
    chances,
    is_unload,
    read,
    refuse_unload,
    sampling,
    streaming,
    thinking,
    untranslatable,
)
from meshlight.gateway.translation.ollama_shape import GenerateRequest
from meshlight.gateway.translation.pruned import Dropped

_decoder = msgspec.json.Decoder(GenerateRequest)
_encode = msgspec.json.Encoder().encode
_CHAT: Face = "chat/completions"
_COMPLETIONS: Face = "completions"
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
) -> Translated | Immediate:
    """Translate a body of `/api/generate`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend takes fields which are not OpenAI's. Raises Untranslatable and BadRequest.
    """
    request = read(body, _decoder, GenerateRequest)
    _refuse(request, _REFUSED)
    ask = Ask(
        request.model,
        face="generate",
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
    return Translated(to, _encode(asked), OllamaBack(ask, clock), dropped.names())


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
