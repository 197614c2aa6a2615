"""The package `xllamacpp`: llama.cpp's real server as a Python package, which comes with the extra `local`."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from meshlight.domain import engine_arguments
from meshlight.domain.backend import Reason
from meshlight.domain.config import HOST, LocalSettings
from meshlight.domain.errors import BadRequest
from meshlight.domain.local_models import LocalModel, ModelFormat, RunnerName
from meshlight.domain.local_views import DeviceView
from meshlight.domain.text import sanitize, size_text
from meshlight.local_models.runners import reasons
from meshlight.local_models.runners.base import Ending, FoundRunner, Launch, LaunchSettings, Runner
from meshlight.local_models.runners.llama_cpp import CACHE_RAM_MIB, api_name, slots_in
from meshlight.local_models.runners.processor import has_avx2
from meshlight.local_models.runners.programs import Ask
from meshlight.local_models.runners.xllamacpp_wheels import PinnedWheel, wheel_here

SCRIPT: Final = Path(__file__).with_name("xllamacpp_server.py")
_DEVICES_MAX: Final = 64
_NAME_MAX: Final = 80
_CHOICES: Final = {
    "--flash-attn": (
        "flash_attn_type",
        "llama_flash_attn_type",
        {
            "on": "LLAMA_FLASH_ATTN_TYPE_ENABLED",
            "off": "LLAMA_FLASH_ATTN_TYPE_DISABLED",
            "auto": "LLAMA_FLASH_ATTN_TYPE_AUTO",
        },
    ),
    "--pooling": (
        "pooling_type",
        "llama_pooling_type",
        {
            "none": "LLAMA_POOLING_TYPE_NONE",
            "mean": "LLAMA_POOLING_TYPE_MEAN",
            "cls": "LLAMA_POOLING_TYPE_CLS",
            "last": "LLAMA_POOLING_TYPE_LAST",
            "rank": "LLAMA_POOLING_TYPE_RANK",
        },
    ),
}
"""Options with a choice of words: where `CommonParams` has each, its enumeration, and the member for each word."""
_SAME: Final[Mapping[str, tuple[str, type]]] = {
    "--temp": ("sampling.temp", float),
    "--top-k": ("sampling.top_k", int),
    "--top-p": ("sampling.top_p", float),
    "--min-p": ("sampling.min_p", float),
    "--typical-p": ("sampling.typ_p", float),
    "--xtc-probability": ("sampling.xtc_probability", float),
    "--xtc-threshold": ("sampling.xtc_threshold", float),
    "--repeat-last-n": ("sampling.penalty_last_n", int),
    "--repeat-penalty": ("sampling.penalty_repeat", float),
    "--presence-penalty": ("sampling.penalty_present", float),
    "--frequency-penalty": ("sampling.penalty_freq", float),
    "--seed": ("sampling.seed", int),
    "--predict": ("n_predict", int),
    "--keep": ("n_keep", int),
    "--batch-size": ("n_batch", int),
    "--ubatch-size": ("n_ubatch", int),
    "--parallel": ("n_parallel", int),
    "--cache-ram": ("cache_ram_mib", int),
    "--cache-reuse": ("n_cache_reuse", int),
    "--threads": ("cpuparams.n_threads", int),
    "--threads-batch": ("cpuparams_batch.n_threads", int),
    "--threads-http": ("n_threads_http", int),
    "--gpu-layers": ("n_gpu_layers", int),
    "--main-gpu": ("main_gpu", int),
    "--rope-freq-base": ("rope_freq_base", float),
    "--rope-freq-scale": ("rope_freq_scale", float),
    "--chat-template": ("chat_template", str),
}
"""llama-server's options with a value, and where `CommonParams` has each."""
_SWITCHES: Final = {
    "--context-shift": ("ctx_shift", True),
    "--no-context-shift": ("ctx_shift", False),
    "--swa-full": ("swa_full", True),
    "--no-kv-offload": ("no_kv_offload", True),
    "--no-warmup": ("warmup", False),
    "--no-cache-prompt": ("cache_prompt", False),
    "--check-tensors": ("check_tensors", True),
}
_ALIASES: Final = {
    "--temperature": "--temp",
    "--typical": "--typical-p",
    "-s": "--seed",
    "-n": "--predict",
    "--n-predict": "--predict",
    "-b": "--batch-size",
    "-ub": "--ubatch-size",
    "-np": "--parallel",
    "-cram": "--cache-ram",
    "-t": "--threads",
    "-tb": "--threads-batch",
    "-ngl": "--gpu-layers",
    "--n-gpu-layers": "--gpu-layers",
    "-mg": "--main-gpu",
    "-fa": "--flash-attn",
    "-nkvo": "--no-kv-offload",
}

Locate = Callable[[], tuple[str, str] | None]
"""Returns the folder in which the package is installed, and its version; None if it is not."""


class _Device(msgspec.Struct, frozen=True):
    name: str
    total_bytes: int
    free_bytes: int


def locate() -> tuple[str, str] | None:
    """See `Locate`. Imports nothing of it."""
    try:
        spec = importlib.util.find_spec("xllamacpp")
        if spec is None or spec.origin is None:
            return None
        from importlib.metadata import version as version_of  # noqa: PLC0415 - it brings email and zipfile, and the package is seldom there

        version = version_of("xllamacpp")
    except (ImportError, ValueError):
        return None
    return str(Path(spec.origin).parent.parent), version


class Xllamacpp(Runner):
    """`python` runs it: the one that this service runs with."""

    name: ClassVar[RunnerName] = "xllamacpp"
    label: ClassVar[str] = "xllamacpp"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"gguf"})

    def __init__(
        self,
        environ: Mapping[str, str],
        ask: Ask,
        python: str = sys.executable,
        find_package: Locate = locate,
        avx2: Callable[[], bool | None] = has_avx2,
        wheel: Callable[[], PinnedWheel | None] = wheel_here,
    ) -> None:
        self._environ = environ
        self._ask = ask
        self._python = python
        self._locate = find_package
        self._avx2 = avx2
        self._wheel = wheel

    async def find(self, settings: LocalSettings) -> FoundRunner:  # noqa: ARG002 - has none
        """See `Runner`."""
        located = self._locate()
        if located is None:
            return self._lacking()
        folder, version = located
        if self._avx2() is False:
            return FoundRunner(
                version=version,
                why_not="xllamacpp needs a processor with AVX2, which this one has not.",
                fix="Install a llama.cpp that was built for this machine.",
            )
        # -S: no package of this Python but the one whose folder it is told.
        return FoundRunner(program=(self._python, "-I", "-S", str(SCRIPT), folder), version=version)

    def _lacking(self) -> FoundRunner:
        """Return that it is not here, and how it is got: as a wheel of ours if one fits."""
        wheel = None if self._avx2() is False else self._wheel()
        if wheel is None:
            return FoundRunner(
                why_not="xllamacpp is not installed, and none of its known wheels fits this system.",
                fix="Install it for this Python: pip install 'meshlight[local]'",
            )
        return FoundRunner(
            why_not="xllamacpp is not installed.",
            fix=f"Get it ({size_text(wheel.size)}): meshlight models pull engine",
            download_bytes=wheel.size,
        )

    async def devices(self, found: FoundRunner) -> Sequence[DeviceView]:
        """See `Runner`. In a process of its own: to ask a GPU takes hundreds of megabytes."""
        if not found.program:
            return ()
        answer = await self._ask(found.program, self._environ)
        try:
            # Libraries of GPUs say something first.
            listed = msgspec.json.decode(answer.text.strip().rpartition("\n")[2], type=list[_Device])
        except (msgspec.MsgspecError, UnicodeError):
            return ()
        return tuple(
            DeviceView(name=sanitize(d.name, _NAME_MAX), total_bytes=d.total_bytes, free_bytes=d.free_bytes)
            for d in listed[:_DEVICES_MAX]
        )

    def launch(self, found: FoundRunner, model: LocalModel, settings: LaunchSettings) -> Launch:
        """See `Runner`."""
        name = api_name(model)
        asked = {
            "model": model.path,
            "alias": name,
            "host": HOST,
            "port": settings.port,
            "context": settings.context,
            "purpose": model.purpose,
            "projector": model.projector,
            "cache_ram_mib": CACHE_RAM_MIB,
            "set": parameters(settings.args),
        }
        return Launch(
            argv=(*found.program, msgspec.json.encode(asked).decode()),
            environ={"LLAMA_API_KEY": settings.key},
            model_name=name,
        )

    def slots(self, args: Sequence[str]) -> int | None:
        """See `Runner`."""
        return slots_in(args)

    def explain(self, ending: Ending, model: LocalModel) -> Reason:  # noqa: ARG002 - the lines say it all
        """See `Runner`."""
        return reasons.explain(ending, reasons.LLAMA_CPP, self.label)


def parameters(args: Sequence[str]) -> dict[str, object]:
    """Return llama-server's arguments as `CommonParams` has them; raises BadRequest for those that it has not."""
    engine_arguments.check_arguments(args, engine_arguments.LLAMA_CPP, "xllamacpp")
    found: dict[str, object] = {}
    waiting = list(args)
    while waiting:
        flag, _, value = waiting.pop(0).partition("=")
        flag = _ALIASES.get(flag, flag)
        if flag in _SWITCHES and not value:
            where, state = _SWITCHES[flag]
            found[where] = state
            continue
        if not value:
            value = waiting.pop(0) if waiting else ""
        if flag in _CHOICES:
            where, enumeration, members = _CHOICES[flag]
            found[where] = [enumeration, _value(flag, value, members.__getitem__)]
        elif flag in _SAME:
            where, kind = _SAME[flag]
            found[where] = _value(flag, value, kind)
        else:
            raise BadRequest(
                f"args: {flag} can't be set with xllamacpp.",
                "Remove it, or install llama-server, which knows it.",
                param="args",
            )
    return found


def _value(flag: str, text: str, kind: Callable[[str], object]) -> object:
    try:
        return kind(text)
    except (ValueError, KeyError):
        raise BadRequest(
            f'args: "{sanitize(text, _NAME_MAX)}" is no value for {flag}.', "Correct it.", param="args"
        ) from None
