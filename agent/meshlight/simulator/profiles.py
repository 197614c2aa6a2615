"""The profiles of all engines: errors, unknown paths, headers, connections and oddities of each."""

from collections.abc import Mapping

from meshlight.simulator import model_lists as lists
from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.model_control import lmstudio_list
from meshlight.simulator.profile import Dialect, EngineProfile, ErrorCode
from meshlight.simulator.protocols import ollama as ollama_api
from meshlight.simulator.request_log import LoggedRequest

_TYPES: dict[ErrorCode, str] = {
    "bad_request": "invalid_request_error",
    "unauthorized": "authentication_error",
    "no_model": "not_found_error",
    "not_found": "not_found_error",
}
_VLLM_TYPES: dict[ErrorCode, str] = {
    "bad_request": "BadRequestError",
    "unauthorized": "Unauthorized",
    "no_model": "NotFoundError",
    "not_found": "NotFoundError",
}
_OPENAI_CODES: dict[ErrorCode, str | None] = {
    "bad_request": None,
    "unauthorized": "invalid_api_key",
    "no_model": "model_not_found",
    "not_found": None,
}


def _llamacpp_error(status: int, message: str, code: ErrorCode) -> Reply:
    text = "Invalid API Key" if code == "unauthorized" else message
    return json_reply({"error": {"message": text, "type": _TYPES[code], "code": status}}, status)


def _ollama_error(status: int, message: str, code: ErrorCode) -> Reply:
    error = {"message": message, "type": _TYPES[code], "param": None, "code": None}
    return json_reply({"error": error}, status)


def _vllm_error(status: int, message: str, code: ErrorCode) -> Reply:
    if code == "unauthorized":
        return json_reply({"error": "Unauthorized"}, status)
    error = {"message": message, "type": _VLLM_TYPES[code], "param": None, "code": status}
    return json_reply({"error": error}, status)


def _mlx_error(status: int, message: str, code: ErrorCode) -> Reply:  # noqa: ARG001  # one shape for all
    return json_reply({"error": message}, status)


def _openai_error(status: int, message: str, code: ErrorCode) -> Reply:
    kind = "authentication_error" if code == "unauthorized" else "invalid_request_error"
    error = {"message": message, "type": kind, "param": None, "code": _OPENAI_CODES[code]}
    return json_reply({"error": error}, status)


def _llamacpp_unknown_path(logged: LoggedRequest) -> Reply:  # noqa: ARG001  # an entry in the table
    return _llamacpp_error(404, "File Not Found", "not_found")


def _ollama_unknown_path(logged: LoggedRequest) -> Reply:  # noqa: ARG001  # an entry in the table
    return text_reply("404 page not found", 404, "text/plain")


def _fastapi_unknown_path(logged: LoggedRequest) -> Reply:  # noqa: ARG001  # an entry in the table
    return json_reply({"detail": "Not Found"}, 404)


def _mlx_unknown_path(logged: LoggedRequest) -> Reply:  # noqa: ARG001  # an entry in the table
    # The content type says JSON and the body is none, as with the real server.
    return Reply(status=404, body=b"Not Found")


def _lmstudio_unknown_path(logged: LoggedRequest) -> Reply:
    # LM Studio answers 200 to unknown paths: a status alone does not identify an engine.
    return json_reply({"error": f"Unexpected endpoint or method. ({logged.method} {logged.path})"})


def loading() -> Reply:
    """Answer as llama-server does while it loads its model."""
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    return json_reply({"error": error}, 503)


PROFILES: Mapping[Dialect, EngineProfile] = {
    "llamacpp": EngineProfile(
        label="llama.cpp",
        kind="llamacpp",
        get={
            "/health": lists.health_ok,
            "/v1/health": lists.health_ok,
            "/props": lists.llamacpp_props,
            "/slots": lists.llamacpp_slots,
            "/metrics": lists.llamacpp_metrics,
            "/models": lists.llamacpp_models,
            "/v1/models": lists.llamacpp_models,
        },
        error=_llamacpp_error,
        no_such_path=_llamacpp_unknown_path,
        headers=(("Server", "llama.cpp"), ("Access-Control-Allow-Origin", "")),
        keep_alive="timeout=5, max=100",
        idle_s=5.0,
        open_paths=("/health", "/v1/health"),
        no_model_status=None,
        closes_after_stream=True,
        closes_after_error=True,
        head_waits=True,
        first_delta={"role": "assistant", "content": None},
        extra={"system_fingerprint": "b0-demo"},
    ),
    "ollama": EngineProfile(
        label="Ollama",
        kind="ollama",
        get={
            "/": ollama_api.root,
            "/api/version": ollama_api.version,
            "/api/tags": ollama_api.tags,
            "/api/ps": ollama_api.running,
            "/v1/models": lists.ollama_models,
        },
        error=_ollama_error,
        no_such_path=_ollama_unknown_path,
        delta={"role": "assistant"},
        extra={"system_fingerprint": "fp_ollama"},
    ),
    "vllm": EngineProfile(
        label="vLLM",
        kind="vllm",
        get={
            "/health": lists.fixed(Reply(content_type="")),
            "/ping": lists.fixed(Reply(content_type="")),
            "/version": lists.fixed(json_reply({"version": lists.VLLM_VERSION})),
            "/metrics": lists.vllm_metrics,
            "/v1/models": lists.vllm_models,
        },
        error=_vllm_error,
        no_such_path=_fastapi_unknown_path,
        headers=(("server", "uvicorn"),),
        idle_s=5.0,
        open_paths=("/health", "/ping", "/version", "/metrics"),
        first_delta={"role": "assistant", "content": ""},
    ),
    "mlx": EngineProfile(
        label="MLX",
        kind="mlx",
        get={"/health": lists.health_ok, "/v1/models": lists.mlx_models},
        error=_mlx_error,
        no_such_path=_mlx_unknown_path,
        http="1.0",
        headers=(("Server", "BaseHTTP/0.6 Python/3.12.8"), ("Access-Control-Allow-Origin", "*")),
        refuses_chunked=True,
        has_sizes=False,
        delta={"role": "assistant", "content": "", "reasoning": "", "tool_calls": []},
        extra={"system_fingerprint": "0.28.3-0.29.3-demo"},
        comment=b": keepalive 0/1\n\n",
    ),
    "lmstudio": EngineProfile(
        label="LM Studio",
        kind="lmstudio",
        get={
            "/api/v0/models": lists.lmstudio_own_models,
            "/api/v1/models": lmstudio_list,
            "/v1/models": lists.lmstudio_models,
        },
        error=_openai_error,
        no_such_path=_lmstudio_unknown_path,
        has_messages=True,
        headers=(("X-Powered-By", "Express"),),
        keep_alive="timeout=5",
        idle_s=5.0,
        delta={"role": "assistant"},
        extra={"stats": {}},
    ),
    "openai": EngineProfile(
        label="OpenAI-compatible",
        kind="openai-compatible",
        get={"/v1/models": lists.openai_models},
        error=_openai_error,
        no_such_path=_fastapi_unknown_path,
        headers=(("server", "uvicorn"),),
        idle_s=5.0,
        first_delta={"role": "assistant", "content": ""},
    ),
}
