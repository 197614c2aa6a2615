"""What `/mesh/models` and the `local` events say of this machine's own models; see `domain.api_types` for the rules.

Never a path: a model is named by its id, a file by its last name.
"""

from typing import Literal

from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.local_models import EngineState, Purpose, RejectedFile, RunnerName, StoreName
from meshlight.domain.text import size_text

Fit = Literal["now", "after-unloading", "never"]
"""Whether a model fits into memory: now, when idle ones have gone, or not on this machine."""
DownloadState = Literal["queued", "running", "paused", "checking", "done", "failed"]


class LocalModelView(Struct, frozen=True, kw_only=True):
    """One of this machine's models with its engine."""

    id: str
    names: tuple[str, ...] = ()
    """Further names by which it may be requested."""
    state: EngineState
    progress: float | None = None
    """0 to 1 while loading; None if nothing is known."""
    reason: Reason | None = None
    """Why it failed, waits or is missing."""
    purpose: Purpose = "chat"
    size_bytes: int = 0
    need_bytes: int = 0
    """Memory that it needs with its context, at most; as measured once it was loaded."""
    fits: Fit = "now"
    context: int = 0
    """Tokens of the running engine, or that it would get now."""
    context_max: int = 0
    quantization: str = ""
    parameters: str = ""
    architecture: str = ""
    sees_images: bool = False
    runner: str = ""
    """The label of the runner that runs it, or would; empty if none can."""
    store: StoreName = "own"
    load_s: float | None = None
    """How long its last load took."""
    idle_s: float | None = None
    """Since the last request ended; None while it is not loaded, or busy."""
    expires_in_s: float | None = None
    """Until it is unloaded; None if it stays."""
    keep: bool = False
    in_flight: int = 0
    waiting: int = 0
    """Requests that wait for its load."""
    can_delete: bool = False
    """Whether it lies in our own folder."""
    hidden: bool = False


class RunnerView(Struct, frozen=True, kw_only=True):
    """One way to run models here."""

    name: RunnerName
    label: str
    version: str = ""
    is_usable: bool = False
    why_not: str = ""
    fix: str = ""
    download_bytes: int = 0
    """What `models pull engine` would download for it; 0 if it is here, or can't be got that way."""


class DeviceView(Struct, frozen=True, kw_only=True):
    """A processor with memory of its own."""

    name: str
    total_bytes: int
    free_bytes: int


class MemoryView(Struct, frozen=True, kw_only=True):
    """This machine's memory, as far as models are concerned."""

    total_bytes: int = 0
    available_bytes: int = 0
    models_bytes: int = 0
    """What the loaded models take."""
    budget_bytes: int = 0
    """What models may take in all now, loaded ones included."""


class StoreView(Struct, frozen=True, kw_only=True):
    """A place where models were looked for; `note` says what is wrong with it, such as a drive that is not there."""

    store: StoreName
    label: str
    models: int = 0
    note: str = ""


class DownloadView(Struct, frozen=True, kw_only=True):
    """A model on its way here."""

    id: str
    name: str
    """What was asked for, `owner/repo:QUANT` or `starter`."""
    state: DownloadState
    done_bytes: int = 0
    total_bytes: int = 0
    bytes_per_s: float | None = None
    reason: Reason | None = None
    """Why it failed, or waits for the network."""
    model: str = ""
    """The model's id once it is here."""


class StarterView(Struct, frozen=True, kw_only=True):
    """A model that is offered to those who have none."""

    name: str
    """What `pull` takes."""
    label: str
    size_bytes: int
    licence: str
    good_for: str
    engine_bytes: int = 0
    """What is downloaded besides, for an engine that runs it; 0 if one is here, or none can be got."""
    fits: Fit = "now"
    is_here: bool = False

    @property
    def sizes(self) -> str:
        """What it downloads: `98 MB`, `98 MB and 34 MB for the engine`."""
        engine = f" and {size_text(self.engine_bytes)} for the engine" if self.engine_bytes else ""
        return f"{size_text(self.size_bytes)}{engine}"


class RepositoryFile(Struct, frozen=True, kw_only=True):
    """A model that a repository offers (all its parts together), and whether it fits here."""

    name: str
    """What `pull` takes: `owner/repo:QUANT`."""
    quantization: str
    size_bytes: int
    """With the projector, if there is one."""
    parts: int = 1
    fits: Fit = "now"
    short_bytes: int = 0
    """By how much it is too big; 0 if it fits."""
    sees_images: bool = False
    is_here: bool = False


class RepositoryView(Struct, frozen=True, kw_only=True):
    """What a repository of the hub offers."""

    name: str
    files: tuple[RepositoryFile, ...]
    note: str = ""


class LocalView(Struct, frozen=True, kw_only=True):
    """Everything about this machine's own models."""

    enabled: bool = True
    models: tuple[LocalModelView, ...] = ()
    runners: tuple[RunnerView, ...] = ()
    devices: tuple[DeviceView, ...] = ()
    memory: MemoryView = MemoryView()
    stores: tuple[StoreView, ...] = ()
    rejected: tuple[RejectedFile, ...] = ()
    downloads: tuple[DownloadView, ...] = ()
    starters: tuple[StarterView, ...] = ()
    can_run: bool = False
    """Whether any runner is usable."""
    can_start: bool = False
    """Whether one is, or comes along with a starter."""
    revision: int = 0
    """Another one whenever runners, stores, the list of models or that of unusable files have changed."""


class EngineLog(Struct, frozen=True, kw_only=True):
    """The last lines that a model's engine wrote."""

    model: str
    lines: tuple[str, ...] = ()


class ModelNamed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of the requests that load or unload a model."""

    model: str
    force: bool = False
    """Unload although requests are being answered."""
    wait: bool = False
    """Answer when it is loaded (or the load has failed) instead of at once."""


class PullRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of the request that downloads a model."""

    name: str


class LocalModelPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of the request that changes a model's settings; what is None stays."""

    model: str
    keep: bool | None = None
    idle_s: float | None = None
    context: int | None = None
    hidden: bool | None = None
