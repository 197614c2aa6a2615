"""Answers of the engines' GET paths: health, properties, metrics, lists of models."""

from collections.abc import Callable
from typing import Any

from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.model_traits import traits
from meshlight.simulator.profile import EngineFacts

SLOTS = 4
CONTEXT_TOKENS = 8192
BUILD = "b11434-demo"
VLLM_VERSION = "0.14.1"


def fixed(reply: Reply) -> Callable[[EngineFacts], Reply]:
    """Return a handler with always the same answer."""
    return lambda _facts: reply


def health_ok(facts: EngineFacts) -> Reply:  # noqa: ARG001  # an entry in the table of paths
    """Answer that the server is healthy."""
    return json_reply({"status": "ok"})


def llamacpp_models(facts: EngineFacts) -> Reply:
    """List the models as llama-server does: its own list and OpenAI's in one; as a router, with their states."""
    if _is_router(facts):
        return json_reply(
            {"data": [_llamacpp_routed(facts, model) for model in facts.models], "object": "list"}
        )
    return json_reply(
        {
            "models": [_llamacpp_own(model) for model in facts.models],
            "object": "list",
            "data": [_llamacpp_entry(facts, model) for model in facts.models],
        }
    )


def llamacpp_props(facts: EngineFacts) -> Reply:
    """Answer with the few of llama-server's properties that matter."""
    if _is_router(facts):
        return json_reply(
            {
                "role": "router",
                "max_instances": SLOTS,
                "models_autoload": True,
                "model_alias": "llama-server",
                "model_path": "none",
                "default_generation_settings": {"params": None, "n_ctx": 0},
                "build_info": BUILD,
            }
        )
    first = facts.models[0] if facts.models else ""
    return json_reply(
        {
            "default_generation_settings": {
                "params": {"temperature": 0.8},
                "n_ctx": facts.context or CONTEXT_TOKENS,
            },
            "total_slots": SLOTS,
            "model_alias": first,
            "model_ftype": "Q4_K - Medium",
            "model_path": f"{first}.gguf",
            "modalities": {"vision": False, "audio": False},
            "endpoint_slots": True,
            "endpoint_props": False,
            "endpoint_metrics": True,
            "chat_template": "",
            "chat_template_caps": {"supports_tools": True, "supports_system_role": True},
            "build_info": BUILD,
            "is_sleeping": False,
        }
    )


def llamacpp_slots(facts: EngineFacts) -> Reply:
    """Answer with llama-server's slots; the request for them occupies none."""
    busy = facts.request_log.in_flight - 1
    return json_reply(
        [
            {
                "id": slot,
                "n_ctx": facts.context or CONTEXT_TOKENS,
                "speculative": False,
                "is_processing": slot < busy,
            }
            for slot in range(SLOTS)
        ]
    )


def llamacpp_metrics(facts: EngineFacts) -> Reply:
    """Answer with llama-server's Prometheus metrics."""
    name = "llamacpp:requests_processing"
    lines = (f"# HELP {name} Number of requests processing", f"# TYPE {name} gauge")
    return text_reply("\n".join((*lines, f"{name} {facts.request_log.in_flight - 1}", "")))


def ollama_models(facts: EngineFacts) -> Reply:
    """List the models as Ollama's OpenAI-compatible API does."""
    return _plain_list(facts, owned_by="library")


def vllm_models(facts: EngineFacts) -> Reply:
    """List the models as vLLM does."""
    return json_reply(
        {
            "object": "list",
            "data": [
                _entry(facts, model)
                | {
                    "owned_by": "vllm",
                    "root": model,
                    "parent": None,
                    "max_model_len": facts.context or CONTEXT_TOKENS,
                    "permission": [],
                }
                for model in facts.models
            ],
        }
    )


def vllm_metrics(facts: EngineFacts) -> Reply:
    """Answer with vLLM's Prometheus metrics."""
    model = facts.models[0] if facts.models else ""
    name = "vllm:num_requests_running"
    lines = (f"# HELP {name} Number of requests in model execution batches.", f"# TYPE {name} gauge")
    value = f'{name}{{engine="0",model_name="{model}"}} {float(facts.request_log.in_flight - 1)}'
    return text_reply("\n".join((*lines, value, "")))


def mlx_models(facts: EngineFacts) -> Reply:
    """List the models as mlx_lm.server does: without `owned_by`."""
    return json_reply({"object": "list", "data": [_entry(facts, model) for model in facts.models]})


def lmstudio_models(facts: EngineFacts) -> Reply:
    """List the models as LM Studio's OpenAI-compatible API does."""
    return _plain_list(facts, owned_by="organization_owner")


def lmstudio_own_models(facts: EngineFacts) -> Reply:
    """List the models as LM Studio's own API does: with whether each is loaded."""
    return json_reply(
        {
            "object": "list",
            "data": [_lmstudio_entry(facts, model) for model in facts.models],
        }
    )


def openai_models(facts: EngineFacts) -> Reply:
    """List the models as any OpenAI-compatible server does."""
    return _plain_list(facts, owned_by="demo")


def _plain_list(facts: EngineFacts, owned_by: str) -> Reply:
    data = [_entry(facts, model) | {"owned_by": owned_by} for model in facts.models]
    return json_reply({"object": "list", "data": data})


def _entry(facts: EngineFacts, model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": facts.created}


def _llamacpp_own(model: str) -> dict[str, Any]:
    return {
        "name": model,
        "model": model,
        "modified_at": "",
        "size": "",
        "digest": "",
        "type": "model",
        "description": "",
        "tags": [""],
        "capabilities": ["completion"],
        "parameters": "",
        "details": {
            "parent_model": "",
            "format": "gguf",
            "family": "",
            "families": [""],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def _llamacpp_entry(facts: EngineFacts, model: str) -> dict[str, Any]:
    return _entry(facts, model) | {
        "aliases": [model],
        "tags": [],
        "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
        "owned_by": "llamacpp",
        "meta": {
            "vocab_type": 1,
            "n_vocab": 128_256,
            "n_ctx": facts.context or CONTEXT_TOKENS,
            "n_ctx_train": 131_072,
            "n_embd": 3072,
            "n_params": traits(model).parameters,
            "size": traits(model).size,
            "ftype": "Q4_K - Medium",
        },
    }


def _llamacpp_routed(facts: EngineFacts, model: str) -> dict[str, Any]:
    entry = _llamacpp_entry(facts, model) | {"aliases": [], "source": "models_dir", "can_remove": False}
    if model not in facts.loaded:
        del entry["meta"]
    status = "loaded" if model in facts.loaded else "unloaded"
    args = ["/opt/llama-server", "--alias", model, "--model", f"models/{model}.gguf"]
    preset = f"[{model}]\nmodel = models/{model}.gguf\n"
    return entry | {"status": {"value": status, "args": args, "preset": preset}}


def _is_router(facts: EngineFacts) -> bool:
    """A llama-server with several models is a router with one server per model."""
    return len(facts.models) > 1


def _lmstudio_entry(facts: EngineFacts, model: str) -> dict[str, Any]:
    like = traits(model)
    entry: dict[str, Any] = {
        "id": model,
        "object": "model",
        "type": "embeddings" if like.embeds else "vlm" if like.sees else "llm",
        "publisher": "demo",
        "arch": "llama",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "loaded" if model in facts.loaded else "not-loaded",
        "max_context_length": 131_072,
    }
    if "tools" in like.capabilities:
        entry["capabilities"] = ["tool_use"]
    return entry | (
        {"loaded_context_length": facts.context or CONTEXT_TOKENS} if model in facts.loaded else {}
    )
