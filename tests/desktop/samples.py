"""A small mesh as the service would show it, for the tests of what people get to see."""

from typing import Any

from meshlight.domain.api_types import (
    BackendView,
    HealthView,
    ModelView,
    Requests,
    RouterView,
    SnapshotView,
    Workload,
)
from meshlight.domain.backend import Kind, ModelDetail, Ring
from meshlight.domain.health import State
from meshlight.domain.snapshot import Light

REASONS: dict[State, tuple[str, str, str]] = {
    "healthy": ("ok", "Answers as it should.", ""),
    "warming": ("loading", "Loading a model.", "Wait; large models take minutes."),
    "unhealthy": (
        "refused",
        "Connection refused at 127.0.0.1:8000 \u2014 is vLLM running?",
        "Start it with `vllm serve MODEL`, or check its port.",
    ),
    "unknown": ("not-checked", "Not checked yet.", "Wait a moment, or press Refresh."),
}


def backend(
    id_: str,
    *,
    name: str = "",
    kind: Kind = "ollama",
    ring: Ring = "machine",
    state: State = "healthy",
    enabled: bool = True,
    latency_ms: float | None = 12.3,
    models: tuple[str, ...] = ("qwen3:4b",),
    work: Workload | None = None,
    text: str | None = None,
    **extra: Any,
) -> BackendView:
    code, reason_text, fix = REASONS[state]
    return BackendView(
        id=id_,
        name=name or id_,
        kind=kind,
        ring=ring,
        url="http://127.0.0.1:11434",
        enabled=enabled,
        source="found",
        health=HealthView(state=state, reason=code, text=text or reason_text, fix=fix, since_s=200.4),
        latency_ms=latency_ms,
        models=models,
        in_flight=0,
        requests=work or Workload(),
        **extra,
    )


def mesh(
    *backends: BackendView,
    light: Light = "green",
    reason: str = "All backends are healthy.",
    seq: int = 7,
    notices: tuple[str, ...] = (),
) -> SnapshotView:
    routes: dict[str, tuple[str, ...]] = {}
    for one in backends:
        for model in one.models:
            routes[model] = (*routes.get(model, ()), one.id)
    return SnapshotView(
        seq=seq,
        router=RouterView(
            node_id="n1",
            name="desk",
            version="0.1.0",
            status="running",
            uptime_s=8044.0,
            requests=Requests(total=1284, successful=1281, failed=3, in_flight=1),
        ),
        light=light,
        light_reason=reason,
        backends=backends,
        models=tuple(ModelView(id=model, backends=ids) for model, ids in routes.items()),
        notices=notices,
    )


def scenario() -> SnapshotView:
    """Return a mesh in which each state is to be seen."""
    return mesh(
        backend(
            "llama-8080",
            name="llama.cpp",
            kind="llamacpp",
            latency_ms=0.84,
            models=("Qwen3-4B-Instruct-Q4_K_M.gguf",),
            work=Workload(total=128, successful=125, failed=3, in_flight=1),
        ),
        backend("ollama-11434", name="Ollama", models=("qwen3:4b", "llama3.2:3b", "nomic-embed-text:latest")),
        backend(
            "big-box", name="Big box", kind="vllm", ring="lan", state="unhealthy", latency_ms=None, models=()
        ),
        backend(
            "mlx", name="MLX", kind="mlx", state="warming", latency_ms=1430, models=("mlx-community/tiny",)
        ),
        backend(
            "company-llm",
            name="a-very-long-name-of-a-company-gateway.example.com",
            kind="openai-compatible",
            ring="company",
            state="unknown",
            latency_ms=None,
            models=tuple(f"model-{i}" for i in range(2000)),
        ),
        backend("lms", name="LM Studio", kind="lmstudio", enabled=False),
        light="amber",
        reason="1 of 5 down: Big box: Connection refused at 127.0.0.1:8000 \u2014 is vLLM running?",
        notices=("The configuration file can't be read (line 12): using the last good one.",),
    )


def hostile() -> SnapshotView:
    """Return a mesh whose names try to paint the terminal, hide, and reverse."""
    nasty = "\x1b[31mred\x1b[0m \x1b]0;title\x07[bold]bold[/bold] \u202egnp.exe\u2066 z\u200bw \x9b2J\r\nnext"
    return mesh(
        backend(
            "bad",
            name=nasty,
            models=(nasty, "\u202eabc", "e" + "\u0301" * 60),
            state="unhealthy",
            text=nasty,
            details={nasty: ModelDetail(context=1, quantization=nasty, parameters=nasty)},
            about={nasty: nasty},
            warnings=(nasty,),
        ),
        light="red",
        reason=nasty,
        notices=(nasty,),
    )
