"""llama.cpp's own server, as the user has installed it: `llama-server`, or the newer `llama serve`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from meshlight.domain import engine_arguments
from meshlight.domain.backend import Reason
from meshlight.domain.config import HOST, LocalSettings
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.domain.local_views import DeviceView
from meshlight.domain.text import sanitize
from meshlight.local_models.runners import reasons
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner
from meshlight.local_models.runners.llama_cpp import CACHE_RAM_MIB, api_name, devices_in, slots_in
from meshlight.local_models.runners.programs import Answer, Ask, file_mark, find_program

_VERSION: Final = re.compile(r"version:\s*(\S.*)")
_VERSION_MAX: Final = 60
_ENVIRON: Final = {
    # By environment, because options that a version does not know would end it. The page's own switch has had
    # three names.
    "LLAMA_ARG_UI": "0",
    "LLAMA_ARG_WEBUI": "0",
    "LLAMA_ARG_NO_WEBUI": "1",
    "LLAMA_ARG_OFFLINE": "1",
    "LLAMA_ARG_JINJA": "1",
    "LLAMA_ARG_CACHE_RAM": str(CACHE_RAM_MIB),
}
_INSTALL: Final = "Install it: brew install llama.cpp, winget install llama.cpp, or see llama.app."


class LlamaServer(Runner):
    """`environ` is the one that programs are asked with, `folders` are looked at after its PATH."""

    name: ClassVar[RunnerName] = "llama-server"
    label: ClassVar[str] = "llama-server"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"gguf"})

    def __init__(self, environ: Mapping[str, str], ask: Ask, folders: Sequence[str] = ()) -> None:
        self._environ = environ
        self._ask = ask
        self._folders = folders
        self._versions: dict[tuple[str, int], FoundRunner] = {}

    async def find(self, settings: LocalSettings) -> FoundRunner:
        """See `Runner`."""
        if settings.llama_server:
            return await self._at_setting(settings.llama_server)
        # What is first on the PATH may be broken, or another program of that name.
        not_usable = FoundRunner(why_not="llama-server is not installed.", fix=_INSTALL)
        for program, words in (("llama-server", ()), ("llama", ("serve",))):
            path = find_program(program, self._environ, self._folders)
            if path is None:
                continue
            found = await self._asked(path, words)
            if found.program:
                return found
            if not words:
                not_usable = found
        return not_usable

    async def _at_setting(self, setting: str) -> FoundRunner:
        path = _expanded(setting)
        if not path.is_absolute() or file_mark(str(path))[1] < 0:
            name = sanitize(path.name, _VERSION_MAX)
            return FoundRunner(
                why_not=f"The program of the setting `llama_server`, {name}, is not there.",
                fix="Correct the setting, with the whole path, or remove it.",
            )
        is_llama = path.stem.lower() == "llama"
        return await self._asked(str(path), ("serve",) if is_llama else ())

    async def _asked(self, path: str, words: Sequence[str]) -> FoundRunner:
        mark = file_mark(path)
        if mark not in self._versions:
            answer = await self._ask((path, *words, "--version"), self._environ)
            found = _found((path, *words), answer)
            if answer.exit_code is None:
                return found  # perhaps only slow this time
            self._versions = {mark: found} | dict(list(self._versions.items())[:7])
        return self._versions[mark]

    async def devices(self, found: FoundRunner) -> Sequence[DeviceView]:
        """See `Runner`."""
        if not found.program:
            return ()
        answer = await self._ask((*found.program, "--list-devices"), self._environ)
        return devices_in(answer.text) if answer.exit_code == 0 else ()

    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        """See `Runner`."""
        engine_arguments.check_arguments(settings.args, engine_arguments.LLAMA_CPP, self.label)
        name = api_name(model)
        argv = [
            *found.program,
            "-m",
            model.path,
            "--alias",
            name,
            "--host",
            HOST,
            "--port",
            str(settings.port),
        ]
        # Always a context: without one, as much is taken as fits into all memory. And no number of slots: then four
        # share the whole context.
        argv += ["-c", str(settings.context)]
        if model.purpose == "embedding":
            argv += ["--embeddings", "-b", str(settings.context), "-ub", str(settings.context)]
        elif model.purpose == "rerank":
            argv += ["--reranking", "-b", str(settings.context), "-ub", str(settings.context)]
        if model.projector:
            argv += ["--mmproj", model.projector]
        return Launch(
            argv=(*argv, *engine_arguments.in_two(settings.args)),
            environ=_ENVIRON | {"LLAMA_API_KEY": settings.key},
            model_name=name,
        )

    def slots(self, args: Sequence[str]) -> int | None:
        """See `Runner`."""
        return slots_in(args)

    def explain(self, ending: Ending, model: LocalModel) -> Reason:  # noqa: ARG002 - the lines say it all
        """See `Runner`."""
        return reasons.explain(ending, reasons.LLAMA_CPP, self.label)


def _expanded(setting: str) -> Path:
    try:
        return Path(setting).expanduser()
    except RuntimeError:  # no home
        return Path(setting)


def _found(program: tuple[str, ...], answer: Answer) -> FoundRunner:
    version = _VERSION.search(answer.text)
    if answer.exit_code == 0 and version:
        return FoundRunner(program=program, version=sanitize(version[1], _VERSION_MAX))
    if answer.exit_code == 0:
        return FoundRunner(
            why_not="What is called llama-server here is another program.",
            fix="Set `llama_server`, or " + _INSTALL,
        )
    reason = reasons.explain(
        Ending(exit_code=answer.exit_code, log=tuple(answer.text.splitlines()[-20:])),
        reasons.LLAMA_CPP,
        "llama-server",
    )
    return FoundRunner(why_not=reason.text, fix=reason.fix)
