"""Loading and unloading by request, as strictly as the real engines: LM Studio's own API, llama.cpp as a router.

Ollama does it by a request without a prompt; see `protocols/ollama.py`. llama.cpp's answers are those of build 11434,
LM Studio's those of its documentation.
"""

from collections.abc import Callable, Mapping
from typing import Any

from meshlight.domain.backend import Kind
from meshlight.simulator.http.reply import Reply, json_reply
from meshlight.simulator.model_traits import traits
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, decode_body
from meshlight.simulator.request_log import LoggedRequest

LOAD_S = 0.25
_LM_STUDIO_OPTIONS = frozenset(
    {
        "model",
        "context_length",
        "eval_batch_size",
        "flash_attention",
        "num_experts",
        "offload_kv_cache_to_gpu",
        "echo_load_config",
    }
)


def lmstudio_list(facts: EngineFacts) -> Reply:
    """Answer `GET /api/v1/models`: every downloaded model with its loaded instances."""
    return json_reply({"models": [_lmstudio_entry(facts, model) for model in facts.models]})


def _lmstudio_entry(facts: EngineFacts, model: str) -> dict[str, Any]:
    instances = [{"id": model, "config": {"context_length": 8192}}] if model in facts.loaded else []
    return {
        "type": "embedding" if traits(model).embeds else "llm",
        "publisher": "demo",
        "key": model,
        "display_name": model,
        "loaded_instances": instances,
        "max_context_length": 131_072,
    }


def _lmstudio_load(facts: EngineFacts, body: dict[str, Any]) -> Reply:
    model = body.get("model")
    if set(body) - _LM_STUDIO_OPTIONS or not isinstance(model, str):
        return _lmstudio_error(400, "invalid_request", "Unrecognized key(s) in object")
    if model not in facts.models:
        return _lmstudio_error(404, "model_not_found", f"Model not found: {model}")
    facts.loaded.add(model)
    kind = "embedding" if traits(model).embeds else "llm"
    return json_reply({"type": kind, "instance_id": model, "load_time_seconds": LOAD_S, "status": "loaded"})


def _lmstudio_unload(facts: EngineFacts, body: dict[str, Any]) -> Reply:
    instance = body.get("instance_id")
    if set(body) != {"instance_id"} or not isinstance(instance, str):
        return _lmstudio_error(400, "missing_required_parameter", "'instance_id' is required")
    if instance not in facts.loaded:
        return _lmstudio_error(404, "model_not_found", f"No loaded instance: {instance}")
    facts.loaded.discard(instance)
    return json_reply({"instance_id": instance})


def _lmstudio_error(status: int, kind: str, message: str) -> Reply:
    return json_reply({"error": {"type": kind, "message": message, "code": kind}}, status)


def _router_load(facts: EngineFacts, body: dict[str, Any]) -> Reply:
    model = body.get("model")
    if not isinstance(model, str) or model not in facts.models or len(facts.models) < 2:
        return _router_error(404, "File Not Found")
    if model in facts.loaded:
        return _router_error(400, "model is already running")
    facts.loaded.add(model)
    return json_reply({"success": True})


def _router_unload(facts: EngineFacts, body: dict[str, Any]) -> Reply:
    model = body.get("model")
    if len(facts.models) < 2:
        return _router_error(404, "File Not Found")
    if not isinstance(model, str) or model not in facts.models:
        return _router_error(400, "model is not found")
    if model not in facts.loaded:
        return _router_error(400, "model is not running")
    facts.loaded.discard(model)
    return json_reply({"success": True})


def _router_error(status: int, message: str) -> Reply:
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    return json_reply({"error": {"code": status, "message": message, "type": kind}}, status)


_ACTIONS: Mapping[tuple[Kind, str], Callable[[EngineFacts, dict[str, Any]], Reply]] = {
    ("lmstudio", "/api/v1/models/load"): _lmstudio_load,
    ("lmstudio", "/api/v1/models/unload"): _lmstudio_unload,
    ("llamacpp", "/models/load"): _router_load,
    ("llamacpp", "/models/unload"): _router_unload,
}


def control(facts: EngineFacts, logged: LoggedRequest) -> Reply | None:
    """Answer a request to load or unload; None for another request."""
    action = _ACTIONS.get((facts.profile.kind, logged.path)) if logged.method == "POST" else None
    if action is None:
        return None
    try:
        return action(facts, decode_body(logged.body))
    except BadEngineRequest as error:
        return facts.profile.error(400, str(error), "bad_request")
