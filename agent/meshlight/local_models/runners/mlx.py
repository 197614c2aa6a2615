"""`mlx_lm.server`, for models in Apple's MLX format. It knows no key: it is protected by loopback alone."""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

import msgspec

from meshlight.domain import engine_arguments
from meshlight.domain.backend import Reason
from meshlight.domain.config import HOST, LocalSettings
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.local_models.runners import reasons
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner
from meshlight.local_models.runners.python_package import VersionOf, find_package, installed_version

_NAME: Final = "default_model"


class Mlx(Runner):
    """Its model is named as that server names the one it was started with, not by its path."""

    name: ClassVar[RunnerName] = "mlx"
    label: ClassVar[str] = "mlx_lm"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"mlx"})

    def __init__(
        self,
        environ: Mapping[str, str],
        folders: Sequence[str] = (),
        python: str = sys.executable,
        version_of: VersionOf = installed_version,
    ) -> None:
        self._environ = environ
        self._folders = folders
        self._python = python
        self._version_of = version_of

    async def find(self, settings: LocalSettings) -> FoundRunner:  # noqa: ARG002 - has none
        """See `Runner`."""
        found = find_package(
            "mlx-lm",
            ("mlx_lm.server",),
            ("mlx_lm", "server"),
            python=self._python,
            environ=self._environ,
            folders=self._folders,
            version_of=self._version_of,
        )
        return found or FoundRunner(why_not="mlx-lm is not installed.", fix="Install it: pip install mlx-lm")

    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        """See `Runner`."""
        engine_arguments.check_arguments(settings.args, engine_arguments.MLX, self.label)
        argv = (*found.program, "--model", model.path, "--host", HOST, "--port", str(settings.port))
        origins = ("--allowed-origins", "null.invalid")  # no page of a browser may read its answers
        # /health says ok before the model is loaded.
        warm_up = msgspec.json.encode({"model": _NAME, "prompt": "a", "max_tokens": 1}).decode()
        return Launch(argv=(*argv, *origins, *settings.args), environ={}, model_name=_NAME, warm_up=warm_up)

    def explain(self, ending: Ending, model: LocalModel) -> Reason:  # noqa: ARG002 - the lines say it all
        """See `Runner`."""
        return reasons.explain(ending, reasons.PYTHON_ENGINES, self.label)
