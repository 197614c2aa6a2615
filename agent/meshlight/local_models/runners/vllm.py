"""vLLM, only where the user names it: it takes nearly all memory of the GPU, and minutes to start."""

import sys
from collections.abc import Mapping, Sequence
from typing import ClassVar

from meshlight.domain import engine_arguments
from meshlight.domain.backend import Reason
from meshlight.domain.config import HOST, LocalSettings
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.local_models.runners import reasons
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner
from meshlight.local_models.runners.python_package import VersionOf, find_package, installed_version


class Vllm(Runner):
    """`vllm serve` of models in safetensors format."""

    name: ClassVar[RunnerName] = "vllm"
    label: ClassVar[str] = "vLLM"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"safetensors"})
    is_opt_in: ClassVar[bool] = True
    has_children: ClassVar[bool] = True

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

    async def find(self, settings: LocalSettings) -> FoundRunner:
        """See `Runner`."""
        if settings.runner != self.name:
            return FoundRunner(
                why_not="vLLM is only used if it is chosen.", fix='Set `runner = "vllm"` under [local].'
            )
        found = find_package(
            "vllm",
            ("vllm",),
            ("vllm.entrypoints.cli.main",),
            python=self._python,
            environ=self._environ,
            folders=self._folders,
            version_of=self._version_of,
        )
        return found or FoundRunner(why_not="vLLM is not installed.", fix="Install it: pip install vllm")

    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        """See `Runner`."""
        engine_arguments.check_arguments(settings.args, engine_arguments.VLLM, self.label)
        argv = (*found.program, "serve", model.path, "--served-model-name", model.id)
        argv += ("--host", HOST, "--port", str(settings.port), "--max-model-len", str(settings.context))
        environ = {"VLLM_API_KEY": settings.key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        return Launch(argv=(*argv, *settings.args), environ=environ, model_name=model.id)

    def explain(self, ending: Ending, model: LocalModel) -> Reason:  # noqa: ARG002 - the lines say it all
        """See `Runner`."""
        return reasons.explain(ending, reasons.PYTHON_ENGINES, self.label)
