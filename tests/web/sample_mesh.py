"""Seeded meshes of any size, built of the domain's own structs: the same numbers give the same mesh."""

import random

from msgspec.structs import replace

from meshlight.domain.api_types import BackendView, HealthView, Workload
from meshlight.domain.backend import Kind, Ring
from meshlight.domain.health import State

FAMILIES = [
    "llama-3.3-70b", "qwen3-32b", "gemma-3-27b", "llama-3.2-3b", "mistral-small-24b", "nomic-embed-v2", "bge-m3",
    "qwen3-coder-30b", "whisper-large-v3", "gpt-oss-20b", "phi-4-mini", "deepseek-r1-distill-qwen-32b",
    "mlx-community/Qwen3-4B-Instruct-2507-4bit", "gpt-oss-120b", "granite-4.0-h-small", "smollm3-3b",
]  # fmt: skip
NAMES: dict[Ring, list[tuple[str, Kind]]] = {
    "machine": [("llama.cpp", "llamacpp"), ("Ollama", "ollama"), ("LM Studio", "lmstudio"), ("MLX", "mlx")],
    "lan": [("studio-mac", "peer"), ("workstation-a6000", "peer"), ("reading-room-mini", "vllm")],
    "company": [("continuum-berlin", "continuum"), ("continuum-seoul", "continuum"), ("h100-cluster", "cluster"),
                ("a100-finetuning", "cluster")],
    "cloud": [("OpenAI", "openai"), ("Anthropic", "anthropic"), ("Gemini", "gemini")],
}  # fmt: skip
REASONS: dict[State, tuple[str, str, str]] = {
    "healthy": ("ok", "Answers as it should.", ""),
    "warming": ("loading", "Loading the model.", "Wait: it says itself when it is ready."),
    "unhealthy": (
        "refused",
        "Connection refused at {host}.",
        "Is the server running? Start it, then check again.",
    ),
    "unknown": ("not-checked", "Not checked yet.", "Wait a moment, or press Refresh."),
}


def health(state: State, url: str, since_s: float = 90.0) -> HealthView:
    """Return a health with the words the service would find for it."""
    code, text, fix = REASONS[state]
    return HealthView(
        state=state,
        reason=code,
        text=text.format(host=url.rsplit("//", maxsplit=1)[-1]),
        fix=fix,
        since_s=since_s,
    )


def mesh(backends: int, models: int, seed: int = 7) -> list[BackendView]:
    """Return a seeded mesh: the same numbers give the same mesh."""
    dice = random.Random(seed)  # noqa: S311 - for looks, not for secrets
    rings: list[Ring] = ["machine", "lan", "company", "cloud"]
    out: list[BackendView] = []
    quota = [max(1, round(models / backends * dice.uniform(0.45, 1.55))) for _ in range(backends)]
    while sum(quota) != models:
        at = dice.randrange(backends)
        quota[at] = max(1, quota[at] + (1 if sum(quota) < models else -1))
    for i in range(backends):
        ring = rings[i * 4 // backends]
        known = NAMES[ring]
        nth = i - next(j for j in range(backends) if rings[j * 4 // backends] == ring)
        name, kind = (
            known[nth % len(known)]
            if nth < len(known)
            else (f"{known[nth % len(known)][0]}-{nth}", known[nth % len(known)][1])
        )
        url = (
            f"http://10.0.{i // 250}.{i % 250}:8080"
            if ring != "cloud"
            else f"https://api.{name.lower()}.example"
        )
        if ring == "machine":
            url = f"http://127.0.0.1:{8080 + i}"
        roll = dice.random()
        state: State = "unhealthy" if roll > 0.94 else "warming" if roll > 0.91 else "healthy"
        many = (
            FAMILIES
            if quota[i] <= len(FAMILIES)
            else [f"{f}-v{v}" for v in range(1 + quota[i] // len(FAMILIES)) for f in FAMILIES]
        )
        out.append(
            BackendView(
                id=f"{kind}-{i}",
                name=name,
                kind=kind,
                ring=ring,
                url=url,
                enabled=dice.random() > 0.03,
                source="config",
                health=health(state, url),
                latency_ms=round(dice.uniform(4, 320), 1) if state == "healthy" else None,
                models=tuple(many[(i * 3 + j) % len(many)] for j in range(quota[i])),
                in_flight=0,
                requests=Workload(total=4_000 + i, successful=3_980 + i, failed=20),
            )
        )
    if backends == 10:
        out[4] = replace(out[4], health=health("unhealthy", out[4].url), latency_ms=None, enabled=True)
        out[7] = replace(out[7], health=health("warming", out[7].url), latency_ms=None, enabled=True)
    return out
