"""What a runner is: it knows one kind of engine, whether it can be used here, and how one is started."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.domain.local_views import DeviceView


class FoundRunner(Struct, frozen=True, kw_only=True):
    """Whether a runner can be used here, and by which program."""

    program: tuple[str, ...] = ()
    """The command that starts it, without arguments; empty if it can't be used."""
    version: str = ""
    why_not: str = ""
    fix: str = ""
    download_bytes: int = 0
    """See `RunnerView`."""


class LaunchSettings(Struct, frozen=True, kw_only=True):
    """What one start of an engine is given."""

    port: int
    key: str
    """A random key of this start; handed over by environment, never by argument."""
    context: int
    args: tuple[str, ...] = ()
    """The user's own arguments for this model."""


class Launch(Struct, frozen=True, kw_only=True):
    """The command of one engine."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    """Added to the service's own environment (which is stripped of secrets)."""
    ready_path: str = "/health"
    """Answers 200 when the model is loaded."""
    warm_up: str = ""
    """JSON for `/v1/completions`, whose answer tells that the model is loaded where `ready_path` does not."""
    model_name: str
    """The model's name at that engine."""

    def __repr__(self) -> str:
        return f"Launch({self.argv!r}, ***)"


class Ending(Struct, frozen=True, kw_only=True):
    """How an engine ended."""

    exit_code: int | None
    """Negative for a signal; None while it runs."""
    log: tuple[str, ...]


class Runner(ABC):
    """One kind of engine. Holds no state of a running one."""

    name: ClassVar[RunnerName]
    label: ClassVar[str]
    formats: ClassVar[frozenset[ModelFormat]]
    is_opt_in: ClassVar[bool] = False
    """Whether it is used only where the user names it."""
    has_children: ClassVar[bool] = False
    """Whether its engine consists of several processes."""

    @abstractmethod
    async def find(self, settings: LocalSettings) -> FoundRunner:
        """Look whether it can be used here; cheap the second time. Never raises."""

    async def devices(self, found: FoundRunner) -> Sequence[DeviceView]:  # noqa: ARG002 - for those that can tell
        """Return the devices with memory of their own that it would use."""
        return ()

    @abstractmethod
    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        """Return the command that runs a model; raises BadRequest for arguments that are not allowed."""

    @abstractmethod
    def explain(self, ending: Ending, model: LocalModel) -> Reason:
        """Say in plain words why an engine ended, by its exit code and its last lines."""

    def slots(self, args: Sequence[str]) -> int | None:  # noqa: ARG002 - for those with a known number
        """Return how many requests an engine with these arguments of the user answers at the same time.

        None where it has no fixed number, or nobody knows it.
        """
        return None

    def progress(self, line: str) -> float | None:  # noqa: ARG002 - for those that tell
        """Return how far a load is (0 to 1), if this line of the log says so."""
        return None
