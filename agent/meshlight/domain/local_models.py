"""This machine's own models: what one is, what it needs of memory, and the state of the engine that runs it.

Everything here is a value or a pure rule; `meshlight.local_models` finds the files and runs the engines.
"""

from typing import Literal

from msgspec import Struct

LOCAL_ID = "this-machine"
"""The id of the backend that runs this machine's own models."""

ModelFormat = Literal["gguf", "mlx", "safetensors"]
Purpose = Literal["chat", "embedding", "rerank"]
RunnerName = Literal["llama-server", "xllamacpp", "mlx", "vllm"]
StoreName = Literal["own", "folder", "hub", "lmstudio", "llamacpp", "jan", "gpt4all"]
EngineState = Literal["on-disk", "waiting", "loading", "ready", "draining", "failed", "missing"]
"""`waiting` for memory, `draining`: its last answers end, `failed`: not tried again at once, `missing`: its file has
gone since it was found (a drive that is not there)."""


class LocalModel(Struct, frozen=True, kw_only=True):
    """One model on this machine's disk, as its headers describe it."""

    id: str
    """`owner/repo:QUANT` for what came from a hub, else the name of its file; never a path."""
    names: tuple[str, ...] = ()
    """Further names by which it may be requested here."""
    format: ModelFormat
    path: str
    """Its first file, or its folder; for the runner alone, never part of an answer."""
    files: tuple[str, ...]
    """All its files, with the projector's; never part of an answer."""
    size_bytes: int
    """Of its weights and projector."""
    changed_ns: int = 0
    """When one of its files was last changed, in ns since 1970: it tells another file in its place."""
    store: StoreName
    purpose: Purpose = "chat"
    architecture: str = ""
    parameters: str = ""
    """The size as text, such as `1.7B`."""
    quantization: str = ""
    context_max: int = 0
    """Tokens that it was made for; 0 if its headers do not say."""
    kv_bytes_per_token: int = 0
    """Bytes of cache for each token of context, at most (2 layers kv_heads head_dim, two bytes each)."""
    vocabulary: int = 0
    has_chat_template: bool = False
    takes_tools: bool = False
    """Whether its chat template has a place for tools; without, engines leave them out and say nothing."""
    projector: str = ""
    """The file that lets it see; empty without."""
    pooling: int = 0
    """llama.cpp's pooling type of an embedding model (1 to 3), 4 for reranking, 0 for none."""
    is_missing: bool = False
    """Its file has gone, perhaps with its drive."""


class RejectedFile(Struct, frozen=True, kw_only=True):
    """A file in a store that is no usable model, and why, in words."""

    name: str
    """The file's name, without its folder."""
    store: StoreName
    why: str


class Demand(Struct, frozen=True, kw_only=True):
    """What a request for a model brings with it that matters for loading it."""

    is_guest: bool = False
    """Whether a peer sent it: it never evicts one of the owner's models."""
    keep_alive_s: float | None = None
    """For how long the model shall stay after the answer; None for the setting, negative for "until unloaded"."""
