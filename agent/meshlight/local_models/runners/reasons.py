"""Why an engine ended, in plain words: by its exit code, and by the lines that engines are known to write.

The lines are another program's, and parts of them come from the model's file: what is quoted is short and sanitized.
"""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.text import sanitize, sanitize_line
from meshlight.local_models.runners.base import Ending

_QUOTED: Final = 60
_DLL_MISSING: Final = 0xC0000135
_ILLEGAL_ON_WINDOWS: Final = 0xC000001D
_ILLEGAL, _KILLED = -4, -9
_CANNOT_RUN: Final = frozenset({126, 127})
_ERROR_LINE: Final = re.compile(r"(^|[\s\]])E\s|error|failed|exception|cannot|fatal", re.IGNORECASE)
_NOTHING_SAID: Final = re.compile(
    r"exiting due to model loading error|exiting due to HTTP server error|Failed to init server|"
    r"failed to load model|common_fit_params",
    re.IGNORECASE,
)
BIND_FAILED: Final = re.compile(
    r"couldn't bind HTTP server socket|address already in use|Errno (?:48|98)\]", re.IGNORECASE
)


class KnownLine(Struct, frozen=True):
    """A line that an engine writes; `{0}` in text and fix is what its group matched."""

    pattern: re.Pattern[str]
    code: str
    text: str
    fix: str


def _line(pattern: str, code: str, text: str, fix: str) -> KnownLine:
    return KnownLine(re.compile(pattern, re.IGNORECASE), code, text, fix)


_MEMORY: Final = _line(
    r"out of memory|failed to allocate|unable to allocate|bad_alloc|cudaMalloc failed|Insufficient Memory|"
    r"cannot allocate memory|No available memory for the cache blocks",
    "memory",
    "There was not enough memory for this model and its context.",
    "Unload another model, or give this one a smaller context.",
)
_ABSENT: Final = _line(
    r"No such file or directory|FileNotFoundError",
    "file-missing",
    "The model's file is not there.",
    "Connect the drive it is on, or download it again.",
)
_LIBRARY: Final = _line(
    r"error while loading shared libraries: ([^\s:]+)|Library not loaded: (\S+)",
    "library-missing",
    "The engine can't start: its library {0} is missing.",
    "Install the engine again, or the driver of the GPU.",
)

LLAMA_CPP: Final = (
    _MEMORY,
    _line(
        r"not within the file bounds|failed to read (?:key-value pairs|tensor|header)|reached end of file",
        "incomplete",
        "The model's file is incomplete.",
        "Download it again.",
    ),
    _line(
        r"invalid magic",
        "not-gguf",
        "The file is not a GGUF model, whatever its name says.",
        "Delete it, or download the model again.",
    ),
    _line(
        r"unknown model architecture: '([^']*)'|unknown projector type: '?([\w.-]*)",
        "too-old",
        "This version of llama.cpp does not know {0}.",
        "Update llama.cpp, or xllamacpp.",
    ),
    _line(
        r"wrong number of tensors|missing tensor '|tensor '[^']*' has wrong shape|check_tensor_dims",
        "other-engine",
        "The model was made for another engine, often for Ollama's.",
        "Run it there, or download a GGUF made for llama.cpp.",
    ),
    _line(
        r"unknown pre-tokenizer type: '([^']*)'",
        "too-old",
        "This version of llama.cpp does not know the tokenizer {0}.",
        "Update llama.cpp, or xllamacpp.",
    ),
    _line(
        r"failed to load (?:multimodal|mmproj|CLIP)|clip_init: failed|mtmd_init.*fail",
        "projector",
        "Its projector, the file that lets it see, does not fit it.",
        "Download the projector of the same model again.",
    ),
    _line(
        r"(?:invalid|unknown) argument:? ?(\S*)",
        "argument",
        "This llama.cpp does not know the argument {0}.",
        "Update llama.cpp, or remove it from the model's `args`.",
    ),
    _line(
        r"error while handling argument \"?([^\s\":]*)",
        "argument",
        "The value of {0} can't be used.",
        "Correct it in the model's `args`.",
    ),
    _ABSENT,
    _line(r"Permission denied", "forbidden", "The model's file can't be read.", "Change its permissions."),
    _line(
        BIND_FAILED.pattern,
        "port-taken",
        "Other programs took each port that was tried.",
        "Try again.",
    ),
    _LIBRARY,
)
PYTHON_ENGINES: Final = (
    _MEMORY,
    _line(
        r"No module named '?([\w.]+)",
        "not-installed",
        "A part of the engine is not installed: {0}.",
        "Install the engine again.",
    ),
    _line(
        r"Model type ([\w.-]+) not supported|Model architectures? \[?'?([\w.-]+)",
        "too-old",
        "This version of the engine does not know {0}.",
        "Update the engine.",
    ),
    _line(
        r"SafetensorError|HeaderTooLarge|InvalidHeader|\[load_safetensors\]|Unable to read \d+ bytes",
        "incomplete",
        "A file of the model is incomplete.",
        "Download it again.",
    ),
    _line(
        r"unrecognized arguments: (\S+)|argument (\S+): (?:invalid|expected)",
        "argument",
        "The engine does not take the argument {0}.",
        "Update the engine, or correct the model's `args`.",
    ),
    _line(
        r"No CUDA GPUs|no NVIDIA driver|Failed to infer device type|requires a GPU",
        "no-gpu",
        "The engine found no GPU that it can use.",
        "Install the GPU's driver, or choose another runner.",
    ),
    _ABSENT,
    _line(BIND_FAILED.pattern, "port-taken", "Other programs took each port that was tried.", "Try again."),
    _LIBRARY,
)


def explain(ending: Ending, known: Sequence[KnownLine], engine: str) -> Reason:
    """Return why an engine ended, with what can be done about it."""
    code = ending.exit_code
    if code is not None and (by_code := _by_code(code, engine)):
        return by_code
    for entry in known:
        for line in ending.log:
            if match := entry.pattern.search(line):
                quoted = next((group for group in match.groups() if group), "")
                named = sanitize(quoted, _QUOTED) or "a part of it"
                return Reason(entry.code, entry.text.replace("{0}", named), entry.fix.replace("{0}", named))
    if code in _CANNOT_RUN:
        return Reason(
            "cannot-run", f"{engine} can't be run.", "Install it again, or correct its path in the settings."
        )
    return _unknown(ending, engine)


def _by_code(code: int, engine: str) -> Reason | None:
    if code == _KILLED:
        return Reason(
            "killed",
            f"The system ended {engine}, probably because memory ran out.",
            "Unload another model, or give this one a smaller context.",
        )
    if code == _ILLEGAL or code & 0xFFFFFFFF == _ILLEGAL_ON_WINDOWS:
        return Reason(
            "processor",
            f"This build of {engine} needs a newer processor (AVX2).",
            "Install a llama.cpp that was built for this machine.",
        )
    if code & 0xFFFFFFFF == _DLL_MISSING:
        return Reason(
            "library-missing",
            f"{engine} can't start: a DLL is missing.",
            "Install the GPU's driver and Microsoft's Visual C++ runtime.",
        )
    return None


def _unknown(ending: Ending, engine: str) -> Reason:
    telling = [line for line in ending.log if _ERROR_LINE.search(line) and not _NOTHING_SAID.search(line)]
    last = sanitize_line(telling[-1] if telling else ending.log[-1] if ending.log else "")
    how = "ended" if ending.exit_code is None else f"ended with exit code {ending.exit_code}"
    if ending.exit_code is not None and ending.exit_code < 0:
        how = f"crashed (signal {-ending.exit_code})"
    text = f"{engine} {how}, and said: {last}" if last else f"{engine} {how}, and said nothing."
    return Reason("ended", text, "Look at its log, or update it.")
