"""This machine's own models as the service would show them, for the tests of what people get to see."""

from typing import Any

from meshlight.domain.backend import Reason
from meshlight.domain.local_models import RejectedFile
from meshlight.domain.local_views import (
    DownloadView,
    LocalModelView,
    LocalView,
    MemoryView,
    RepositoryFile,
    RepositoryView,
    RunnerView,
    StarterView,
    StoreView,
)

GB = 10**9
SMOL, QWEN, BGE = "smollm2-135m-instruct-q4_1", "Qwen/Qwen3-8B-GGUF:Q4_K_M", "bge-small-en-v1.5-q8_0"
REPOSITORY = "Qwen/Qwen3-4B-GGUF"
STARTER = StarterView(
    name="starter",
    label="SmolLM2 135M Instruct",
    size_bytes=98_000_000,
    licence="Apache-2.0",
    good_for="Seeing that everything works: it answers at once, and is often wrong.",
)
LLAMA_SERVER = RunnerView(name="llama-server", label="llama-server", version="b11434", is_usable=True)
NO_LLAMA_SERVER = RunnerView(
    name="llama-server",
    label="llama-server",
    why_not="llama-server is not installed.",
    fix="brew install llama.cpp",
)
STORES = (
    StoreView(store="own", label="Meshlight", models=1),
    StoreView(store="hub", label="Hugging Face", models=2),
)


def model(id_: str = QWEN, **changes: Any) -> LocalModelView:
    fields: dict[str, Any] = {
        "id": id_,
        "state": "on-disk",
        "size_bytes": 5 * GB,
        "need_bytes": 6_200_000_000,
        "runner": "llama-server",
        "store": "hub",
    }
    return LocalModelView(**(fields | changes))


def loaded(id_: str = QWEN, **changes: Any) -> LocalModelView:
    fields: dict[str, Any] = {
        "state": "ready", "context": 8192, "idle_s": 190.0, "expires_in_s": 710.0, "load_s": 4.2
    }  # fmt: skip
    return model(id_, **(fields | changes))


def failed(id_: str = QWEN, **changes: Any) -> LocalModelView:
    reason = Reason("incomplete", "The file is incomplete.", "Download it again.")
    return model(id_, state="failed", reason=reason, **changes)


def local(*models: LocalModelView, **changes: Any) -> LocalView:
    taken = sum(one.need_bytes for one in models if one.state == "ready")
    fields: dict[str, Any] = {
        "models": models,
        "runners": (LLAMA_SERVER,),
        "memory": MemoryView(
            total_bytes=32 * GB, available_bytes=20 * GB, models_bytes=taken, budget_bytes=20 * GB
        ),
        "stores": STORES,
        "starters": (STARTER,),
        "can_run": True,
        "can_start": True,
    }
    return LocalView(**(fields | changes))


def download(**changes: Any) -> DownloadView:
    fields: dict[str, Any] = {
        "id": "d1",
        "name": f"{REPOSITORY}:Q4_K_M",
        "state": "running",
        "done_bytes": 1_200_000_000,
        "total_bytes": 2_500_000_000,
        "bytes_per_s": 12_000_000.0,
    }
    return DownloadView(**(fields | changes))


def offered(quantization: str, size_bytes: int, **changes: Any) -> RepositoryFile:
    name = f"{REPOSITORY}:{quantization}"
    return RepositoryFile(name=name, quantization=quantization, size_bytes=size_bytes, **changes)


def repository(*files: RepositoryFile) -> RepositoryView:
    return RepositoryView(name=REPOSITORY, files=files)


def everything() -> LocalView:
    """Return a machine on which each state is to be seen."""
    return local(
        loaded(keep=True),
        loaded("tiny", store="own", can_delete=True, in_flight=2, idle_s=None, need_bytes=300_000_000),
        model("gemma-3-27b-it-q8_0", size_bytes=29 * GB, need_bytes=34 * GB, fits="never"),
        model(SMOL, size_bytes=98_000_000, need_bytes=245_000_000, store="own", can_delete=True),
        model("mistral-small", state="loading", progress=0.42),
        failed("llama-3.2-3b"),
        model(BGE, purpose="embedding", size_bytes=37_000_000, need_bytes=150_000_000),
        downloads=(download(),),
        rejected=(
            RejectedFile(name="model-00002-of-00003.gguf", store="hub", why="1 of 3 parts is missing."),
        ),
    )
