"""Ollama's own API: lists, NDJSON answers that stream unless `stream` is false, embeddings."""

import time
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from meshlight.simulator.http.reply import NDJSON, Reply, json_line, json_reply, text_reply
from meshlight.simulator.model_traits import ollama_details, traits
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, EngineRequest
from meshlight.simulator.protocols.text import Call, Script, call_for, count_tokens, prompt_of, write_script
from meshlight.simulator.protocols.vectors import inputs, vector_of

VERSION = "0.17.1"
NANOSECONDS = 1_000_000_000
LOADED_FOR_S = 300
CONTEXT_TOKENS = 4096


def root(facts: EngineFacts) -> Reply:  # noqa: ARG001  # an entry in the table of paths
    """Answer `GET /`."""
    return text_reply("Ollama is running")


def version(facts: EngineFacts) -> Reply:  # noqa: ARG001  # an entry in the table of paths
    """Answer `GET /api/version`."""
    return json_reply({"version": VERSION})


def tags(facts: EngineFacts) -> Reply:
    """Answer `GET /api/tags`: every model on disk."""
    return json_reply({"models": [_entry(facts, model) for model in facts.models]})


def running(facts: EngineFacts) -> Reply:
    """Answer `GET /api/ps`: the models in memory."""
    until = _time(time.time() + LOADED_FOR_S)
    memory = {"expires_at": until, "context_length": facts.context or CONTEXT_TOKENS}
    loaded = [model for model in facts.models if model in facts.loaded]
    return json_reply({"models": [_entry(facts, m) | memory | {"size_vram": traits(m).size} for m in loaded]})


async def show(request: EngineRequest) -> Reply:
    """Answer `POST /api/show`."""
    return json_reply(
        {
            "modelfile": f"# demo\nFROM {request.model}",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": ollama_details(request.model),
            "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
            "capabilities": traits(request.model).capabilities,
            "modified_at": _time(request.facts.created),
        }
    )


async def chat(request: EngineRequest) -> Reply:
    """Answer `POST /api/chat`; raises BadEngineRequest."""
    messages = request.body.get("messages")
    if not isinstance(messages, list):
        raise BadEngineRequest("messages is required")
    if not messages:
        return _without_prompt(request, {"message": {"role": "assistant", "content": ""}})
    prompt = prompt_of(messages[-1:])
    return await _answer(request, prompt, call_for(request.body, prompt), is_chat=True)


async def generate(request: EngineRequest) -> Reply:
    """Answer `POST /api/generate`; raises BadEngineRequest."""
    if not request.body.get("prompt"):
        return _without_prompt(request, {"response": ""})
    return await _answer(request, prompt_of(request.body.get("prompt")), None, is_chat=False)


async def embed(request: EngineRequest) -> Reply:
    """Answer `POST /api/embed`; raises BadEngineRequest."""
    if request.body.get("input") is None:  # only loads the model, whatever it is asked to stay
        _keep(request)
        return json_reply({"model": request.model, "embeddings": []})
    texts = inputs(request.body.get("input"))
    await request.facts.speech.beat(0)
    return json_reply(
        {
            "model": request.model,
            "embeddings": [vector_of(text) for text in texts],
            "total_duration": 14_143_917,
            "load_duration": 1_019_500,
            "prompt_eval_count": sum(map(count_tokens, texts)),
        }
    )


async def embeddings(request: EngineRequest) -> Reply:
    """Answer `POST /api/embeddings`, the older API for one text; raises BadEngineRequest."""
    await request.facts.speech.beat(0)
    return json_reply({"embedding": vector_of(prompt_of(request.body.get("prompt")))})


def _without_prompt(request: EngineRequest, empty: dict[str, Any]) -> Reply:
    """Load the model, or unload it with a `keep_alive` of zero; raises BadEngineRequest."""
    if _keep(request):
        if "completion" not in traits(request.model).capabilities:
            request.facts.loaded.discard(request.model)
            raise BadEngineRequest(f'"{request.model}" does not support generate')
        reason = "load"
    else:
        reason = "unload"
    stamp = {"model": request.model, "created_at": _time(time.time())}
    return json_reply(stamp | empty | {"done": True, "done_reason": reason})


def _keep(request: EngineRequest) -> bool:
    """Do what `keep_alive` says with the model, which was loaded by now; return whether it stays."""
    keep_alive = request.body.get("keep_alive", LOADED_FOR_S)
    if isinstance(keep_alive, bool) or not isinstance(keep_alive, int | float | str):
        raise BadEngineRequest(f"Unsupported type: '{type(keep_alive).__name__}'")
    if keep_alive in (0, "0", "0s"):
        request.facts.loaded.discard(request.model)
        return False
    return True


async def _answer(request: EngineRequest, prompt: str, call: Call | None, *, is_chat: bool) -> Reply:
    script = write_script(
        request.facts.speaker(request.model), prompt, request.limit, request.facts.speech.length
    )
    if request.body.get("stream") is not False:
        return Reply(content_type=NDJSON, stream=_stream(request, script, call, is_chat=is_chat))
    started = time.monotonic()
    words = []
    for index, word in enumerate(script if call is None else ("",)):
        await request.facts.speech.beat(index)
        words.append(word)
    return json_reply(_piece(request, "".join(words), call, is_chat=is_chat) | _end(script, call, started))


async def _stream(
    request: EngineRequest, script: Script, call: Call | None, *, is_chat: bool
) -> AsyncGenerator[bytes, None]:
    started = time.monotonic()
    for index, word in enumerate(script if call is None else ("",)):
        await request.facts.speech.beat(index)
        yield json_line(_piece(request, word, call, is_chat=is_chat) | {"done": False})
    yield json_line(_piece(request, "", None, is_chat=is_chat) | _end(script, call, started))


def _piece(request: EngineRequest, text: str, call: Call | None, *, is_chat: bool) -> dict[str, Any]:
    stamp = {"model": request.model, "created_at": _time(time.time())}
    if not is_chat:
        return stamp | {"response": text}
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if call is not None:
        message["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}}]
    return stamp | {"message": message}


def _end(script: Script, call: Call | None, started: float) -> dict[str, Any]:
    spent = int((time.monotonic() - started) * NANOSECONDS) + 1
    return {
        "done": True,
        "done_reason": "stop" if call else script.finish,
        "total_duration": spent,
        "load_duration": 1,
        "prompt_eval_count": script.prompt_tokens,
        "prompt_eval_duration": spent // 10 + 1,
        "eval_count": script.total,
        "eval_duration": spent,
    }


def _entry(facts: EngineFacts, model: str) -> dict[str, Any]:
    return {
        "name": model,
        "model": model,
        "modified_at": _time(facts.created),
        "size": traits(model).size,
        "digest": sha256(model.encode()).hexdigest(),
        "details": ollama_details(model),
    }


def _time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")
