"""Chooses a runner for a model, and starts engines."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meshlight.domain.backend import Reason
from meshlight.domain.clock import Loop
from meshlight.domain.config import LocalSettings
from meshlight.domain.local_models import LocalModel, RunnerName
from meshlight.domain.local_views import DeviceView, RunnerView
from meshlight.local_models.engines.child_environment import child_environment
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.interfaces import EngineFailed, RunningEngine
from meshlight.local_models.runners.base import FoundRunner, LaunchSettings, Runner
from meshlight.local_models.runners.table import all_runners

if TYPE_CHECKING:
    from meshlight.local_models.engines.process import System

_MEASURED_MAX: Final = 1_000
_NONE_FOR: Final = {
    "gguf": Reason(
        "no-runner",
        "There is nothing here that can run GGUF models.",
        "Get one: meshlight models pull engine, brew install llama.cpp, or winget install llama.cpp",
    ),
    "mlx": Reason(
        "no-runner", "There is nothing here that can run MLX models.", "Install it: pip install mlx-lm"
    ),
    "safetensors": Reason(
        "no-runner",
        "Models of this format (safetensors) are run by vLLM alone, and only if it is chosen.",
        'Set `runner = "vllm"` under [local], or download the model as GGUF.',
    ),
}


class Starter:
    """See `EngineStarter`. `environ` is the service's own; what an engine gets of it is chosen here."""

    def __init__(
        self,
        settings: LocalSettings,
        leftovers: Leftovers,
        environ: Mapping[str, str],
        loop: Loop,
        *,
        runners: Sequence[Runner] | None = None,
        engines_dir: Path | None = None,
        system: "System | None" = None,
    ) -> None:
        self._settings = settings
        self._leftovers = leftovers
        if runners is None:
            runners = all_runners(child_environment(environ, {}), engines_dir=engines_dir)
        self._runners = tuple(runners)
        self._found: dict[RunnerName, FoundRunner] = {}
        self._views: tuple[RunnerView, ...] = ()
        self._load_times: dict[str, float] = {}
        self._environ = environ
        self._loop = loop
        self._system = system

    @property
    def runners(self) -> Sequence[RunnerView]:
        """See `EngineStarter`."""
        return self._views

    def follow(self, settings: LocalSettings) -> None:
        """See `EngineStarter`. What was found is looked for again by `find`."""
        self._settings = settings

    async def find(self) -> Sequence[RunnerView]:
        """See `EngineStarter`."""
        settings = self._settings
        found = await asyncio.gather(*(runner.find(settings) for runner in self._runners))
        self._found = {runner.name: one for runner, one in zip(self._runners, found, strict=True)}
        self._views = tuple(
            RunnerView(
                name=runner.name,
                label=runner.label,
                version=one.version,
                is_usable=bool(one.program),
                why_not=one.why_not,
                fix=one.fix,
                download_bytes=one.download_bytes,
            )
            for runner, one in zip(self._runners, found, strict=True)
        )
        return self._views

    @property
    def engine_bytes(self) -> int:
        """What an engine for GGUF models takes to download; 0 if one is here, or none can be got."""
        if next(self._order("gguf"), None) is not None:
            return 0
        return sum(view.download_bytes for view in self._views)

    async def devices(self) -> Sequence[DeviceView]:
        """See `EngineStarter`. As the runner sees them that is preferred for GGUF models."""
        for runner in self._order("gguf"):
            return await runner.devices(self._found[runner.name])
        return ()

    def label_for(self, model: LocalModel) -> str:
        """See `EngineStarter`."""
        return next((runner.label for runner in self._order(model.format)), "")

    def slots_for(self, model: LocalModel) -> int | None:
        """See `EngineStarter`."""
        args = next((own.args for own in self._settings.models if own.id == model.id), ())
        return next((runner.slots(args) for runner in self._order(model.format)), None)

    async def start(
        self, model: LocalModel, context: int, args: Sequence[str], load_s: float
    ) -> RunningEngine:
        """See `EngineStarter`."""
        if not self._found:
            await self.find()
        runner = next(self._order(model.format), None)
        if runner is None:
            raise EngineFailed(self._why_none(model))
        # Whoever runs no model needs none of it, and it takes half a MiB.
        from meshlight.local_models.engines.process import EngineProcess, Means, System, new_key  # noqa: PLC0415

        system = self._system or System()
        means = Means(
            loop=self._loop,
            environ=self._environ,
            guard=system.guard,
            port=system.port,
            check_ready=system.check_ready,
            family=system.family,
            started=self._leftovers.add,
            ended=self._leftovers.remove,
        )
        engine = EngineProcess(
            means,
            runner,
            self._found[runner.name],
            model,
            LaunchSettings(port=means.port(), key=new_key(), context=context, args=tuple(args)),
            load_s=load_s,
            usual_s=self._load_times.get(model.id),
            on_ready=lambda seconds: self._remember(model.id, seconds),
        )
        await engine.start()
        return engine

    def _order(self, format_: str) -> Iterator[Runner]:
        """Yield the usable runners for a format, the preferred one first.

        The one that the user has named is the only one for what it can run; the rest is run as without a name.
        """
        able = [runner for runner in self._runners if format_ in runner.formats]
        named = [runner for runner in able if runner.name == self._settings.runner]
        for runner in named or [runner for runner in able if not runner.is_opt_in]:
            if (found := self._found.get(runner.name)) is not None and found.program:
                yield runner

    def _why_none(self, model: LocalModel) -> Reason:
        for runner in self._runners:
            found = self._found.get(runner.name)
            if runner.name == self._settings.runner and model.format in runner.formats and found is not None:
                return Reason("no-runner", found.why_not, found.fix)
        return _NONE_FOR[model.format]

    def _remember(self, model: str, seconds: float) -> None:
        if len(self._load_times) < _MEASURED_MAX:
            self._load_times[model] = seconds

    async def end_leftovers(self) -> None:
        """See `EngineStarter`."""
        await self._leftovers.end_all()
