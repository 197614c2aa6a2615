"""This machine's own models as the fake service plays them, and the answers at `/mesh/models`."""

from typing import Any

from msgspec.structs import replace

from meshlight.domain.api_types import BackendView, Workload
from meshlight.domain.backend import Reason
from meshlight.domain.local_models import LOCAL_ID, EngineState, RejectedFile
from meshlight.domain.local_views import (
    DeviceView,
    DownloadView,
    EngineLog,
    LocalModelView,
    LocalView,
    MemoryView,
    RepositoryFile,
    RepositoryView,
    RunnerView,
    StarterView,
    StoreView,
)
from web.live_mesh import LiveMesh
from web.sample_mesh import health

GB = 10**9
NO_FIT = "It needs 21 GB; 8.4 GB are free."
CRASH = Reason(
    code="incomplete",
    text="The file is incomplete: its last 2.1 GB are missing.",
    fix="Download it again.",
)
STARTERS = (
    StarterView(
        name="starter",
        label="SmolLM2 135M",
        size_bytes=98_000_000,
        licence="Apache-2.0",
        good_for="It shows that all works.",
    ),
    StarterView(
        name="Qwen/Qwen3-0.6B-GGUF:Q8_0",
        label="Qwen3 0.6B",
        size_bytes=639_000_000,
        licence="Apache-2.0",
        good_for="Short answers, quick on any machine.",
    ),
    StarterView(
        name="Qwen/Qwen3-4B-GGUF:Q4_K_M",
        label="Qwen3 4B",
        size_bytes=2_500_000_000,
        licence="Apache-2.0",
        good_for="Everyday chat, summaries, tools.",
        fits="after-unloading",
    ),
    StarterView(
        name="big/Big-70B-GGUF:Q4_K_M",
        label="Big 70B",
        size_bytes=42 * GB,
        licence="MIT",
        good_for="Hard questions.",
        fits="never",
    ),
)


def model(ident: str, state: EngineState = "on-disk", **changed: Any) -> LocalModelView:
    """Return one of this machine's models, on disk unless told otherwise."""
    usual = LocalModelView(
        id=ident,
        state=state,
        size_bytes=1_900_000_000,
        need_bytes=2_400_000_000,
        context=8_192,
        context_max=32_768,
        quantization="Q4_K_M",
        parameters="3B",
        architecture="llama",
        runner="llama.cpp",
        store="hub",
    )
    return replace(usual, **changed)


HOUSE = (
    model(
        "Qwen/Qwen3-8B-GGUF:Q4_K_M",
        "ready",
        size_bytes=5_030_000_000,
        need_bytes=6_200_000_000,
        parameters="8.2B",
        architecture="qwen3",
        idle_s=184.0,
        expires_in_s=716.0,
        load_s=7.0,
    ),
    model(
        "SmolLM2-135M-Instruct:Q4_1",
        "ready",
        size_bytes=98_000_000,
        need_bytes=245_000_000,
        parameters="135M",
        quantization="Q4_1",
        keep=True,
        idle_s=12.0,
        load_s=0.8,
        store="own",
        can_delete=True,
        runner="llama.cpp (embedded)",
    ),
    model("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", "loading", progress=0.42, sees_images=True, waiting=2),
    model("unsloth/Llama-3.3-70B-GGUF:Q4_K_M", "failed", reason=CRASH, fits="never", need_bytes=44 * GB),
    *(
        model(name, size_bytes=int((1 + i) * 0.7 * GB), fits="after-unloading" if i == 5 else "now")
        for i, name in enumerate(
            (
                "bge-m3:F16", "Devstral-Small-2507:Q4_K_M", "gpt-oss-20b:MXFP4", "granite-4.0-h-tiny:Q4_K_M",
                "Llama-3.2-3B-Instruct:Q4_K_M", "Mistral-Small-24B:Q4_K_M", "nomic-embed-text-v1.5:F16",
                "Phi-4-mini:Q4_K_M", "Qwen2.5-Coder-7B:Q4_K_M", "Qwen3-0.6B:Q8_0", "Qwen3-4B:Q4_K_M",
                "SmolLM3-3B:Q4_K_M",
            )
        )
    ),
)  # fmt: skip


def house(**changed: Any) -> LocalView:
    """Return a machine with loaded, loading, failed and resting models, unless told otherwise."""
    usual = LocalView(
        models=HOUSE,
        runners=(
            RunnerView(name="llama-server", label="llama.cpp", version="b11434", is_usable=True),
            RunnerView(name="xllamacpp", label="llama.cpp (embedded)", version="2026.10", is_usable=True),
            RunnerView(
                name="mlx",
                label="MLX",
                why_not="It runs on Apple silicon alone.",
            ),
            RunnerView(
                name="vllm",
                label="vLLM",
                why_not="It is not installed.",
                fix="Install it: `pip install vllm`",
            ),
        ),
        devices=(DeviceView(name="NVIDIA RTX A2000", total_bytes=12 * GB, free_bytes=5 * GB),),
        memory=MemoryView(
            total_bytes=34 * GB,
            available_bytes=17 * GB,
            models_bytes=8_900_000_000,
            budget_bytes=18 * GB,
        ),
        stores=(
            StoreView(store="own", label="Meshlight's own folder", models=1),
            StoreView(store="hub", label="Hugging Face cache", models=13),
            StoreView(
                store="folder", label="A folder of yours", models=0, note="Its drive is not there: “models”."
            ),
        ),
        rejected=(
            RejectedFile(name="notes.gguf", store="hub", why="It is not a GGUF file."),
            RejectedFile(name="<img src=x onerror=alert(1)>.gguf", store="folder", why="It ends too early."),
        ),
        starters=STARTERS,
        can_run=True,
        can_start=True,
    )
    return replace(usual, **changed)


def download(state: str = "running", **changed: Any) -> DownloadView:
    """Return a model on its way here."""
    usual: dict[str, Any] = {
        "id": "d1",
        "name": "Qwen/Qwen3-4B-GGUF:Q4_K_M",
        "done_bytes": 1_050_000_000,
        "total_bytes": 2_500_000_000,
        "bytes_per_s": 31_000_000.0 if state == "running" else None,
    }
    return DownloadView(**{**usual, "state": state, **changed})


def this_machine(local: LocalView) -> BackendView:
    """Return the backend that runs these models."""
    url = "http://127.0.0.1"
    return BackendView(
        id=LOCAL_ID,
        name="This machine",
        kind="local",
        ring="machine",
        url="",
        enabled=True,
        source="found",
        health=health("healthy", url),
        latency_ms=None,
        models=tuple(m.id for m in local.models),
        in_flight=0,
        requests=Workload(total=212, successful=210, failed=2),
    )


def change(mesh: LiveMesh, ident: str, **changed: Any) -> None:
    """Change one of the models, and tell it."""
    mesh.own(
        replace(
            mesh.local,
            models=tuple(replace(m, **changed) if m.id == ident else m for m in mesh.local.models),
        )
    )


def change_download(mesh: LiveMesh, ident: str, **changed: Any) -> None:
    """Change one of the downloads, and tell it."""
    mesh.own(
        replace(
            mesh.local,
            downloads=tuple(replace(d, **changed) if d.id == ident else d for d in mesh.local.downloads),
        )
    )


def _repository(name: str) -> tuple[int, object]:
    """Answer what a repository offers; nobody has one that is called `nobody/…`."""
    if name.startswith("nobody/"):
        hint = "Is its name right?"
        return 404, {
            "error": {"message": f"The hub has no {name}. {hint}", "code": "unknown_model", "hint": hint}
        }
    file = RepositoryFile(name=f"{name}:Q4_K_M", quantization="Q4_K_M", size_bytes=4_700_000_000)
    return 200, RepositoryView(
        name=name,
        files=(
            file,
            replace(file, name=f"{name}:Q6_K", quantization="Q6_K", size_bytes=6_600_000_000, is_here=True),
            replace(
                file,
                name=f"{name}:Q8_0",
                quantization="Q8_0",
                size_bytes=8_700_000_000,
                fits="after-unloading",
            ),
            replace(
                file,
                name=f"{name}:BF16",
                quantization="BF16",
                size_bytes=21 * GB,
                parts=2,
                fits="never",
                short_bytes=3 * GB,
                sees_images=True,
            ),
        ),
        note="Its licence asks for an agreement on the hub first.",
    )


def local_answer(mesh: LiveMesh, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
    """Answer as the service does, and tell every page."""
    ident = sent.get("model", "")
    if parts[:1] == ["downloads"]:
        if method == "DELETE":
            rest = tuple(d for d in mesh.local.downloads if d.id != parts[1])
            mesh.own(replace(mesh.local, downloads=rest))
        else:
            change_download(mesh, parts[1], state="paused" if parts[2] == "pause" else "running", reason=None)
    elif parts == ["repository"]:
        return _repository(sent["name"])
    elif parts == ["log"]:
        return 200, EngineLog(model=ident, lines=("load_tensors: <b>CPU</b>", "error loading model: \u202e"))
    elif parts == ["pull"]:
        made = download("queued", id=f"d{len(mesh.local.downloads) + 1}", name=sent["name"], done_bytes=0)
        mesh.own(replace(mesh.local, downloads=(*mesh.local.downloads, made)))
    elif parts == ["load"]:
        change(mesh, ident, state="loading", progress=None, reason=None)
    elif parts == ["unload"]:
        change(mesh, ident, state="on-disk", progress=None, idle_s=None, expires_in_s=None)
    elif method == "PATCH":
        change(mesh, ident, **{name: value for name, value in sent.items() if name != "model"})
    elif method == "DELETE":
        mesh.own(replace(mesh.local, models=tuple(m for m in mesh.local.models if m.id != ident)))
    return (200, mesh.local) if method == "GET" else (202, {})
