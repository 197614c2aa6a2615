"""What the name of a model's file says: its quantization, its place among several parts, what else it may be."""

import re

_QUANTIZATION = re.compile(
    r"(?:^|[-_. ])("
    r"(?:UD[-_])?(?:"
    r"I?Q[1-8]_K(?:_(?:XXL|XL|L|M|S|XS))?"
    r"|IQ[1-4]_(?:XXS|XS|S|M|NL)"
    r"|T?Q[1-8]_[01](?:_(?:4_4|4_8|8_8))?"
    r"|Q[1-8]_(?:XL|L|M|S)"
    r"|MXFP4(?:_MOE)?|NVFP4"
    r")|BF16|FP?16|FP?32)(?=$|[-_. ])",
    re.IGNORECASE,
)
_PART = re.compile(r"-(\d{5})-of-(\d{5})$")
_DRAFT = re.compile(r"(?:^|[-_. ])(?:draft|dflash|mtp|eagle\d?)(?=$|[-_. ])", re.IGNORECASE)
_PROJECTOR = re.compile(r"(?:^|[-_. ])mmproj(?=$|[-_. ])", re.IGNORECASE)
_PARTIAL = (
    ".incomplete",
    ".part",
    ".partial",
    ".download",
    ".crdownload",
    ".downloadinprogress",
    ".tmp",
    ".aria2",
)
_WEIGHTS = (".gguf", ".safetensors")
_SEPARATORS = re.compile(r"[-_. ]+")


def stem_of(name: str) -> str:
    """Return a file's name without `.gguf` and without its number among several parts."""
    stem = name[: -len(".gguf")] if name.lower().endswith(".gguf") else name
    return _PART.sub("", stem)


def quantization_in(stem: str) -> str:
    """Return the quantization in a name, such as `Q4_K_M` or `UD-Q4_K_XL`; empty without one."""
    found = ""
    position = 0
    while match := _QUANTIZATION.search(stem, position):
        found, position = match[1], match.end()
    text = found.upper()
    if text.startswith("UD_"):
        text = "UD-" + text[3:]
    return {"FP16": "F16", "FP32": "F32"}.get(text, text)


def without_quantization(stem: str) -> str:
    """Return a name without its quantization: what all quantizations of a model have in common."""
    return _QUANTIZATION.sub("", stem).strip("-_. ")


def part_of(name: str) -> tuple[int, int] | None:
    """Return the number and the count of `NAME-00002-of-00003.gguf`; None for a file that stands alone."""
    match = _PART.search(name[: -len(".gguf")]) if name.lower().endswith(".gguf") else None
    return (int(match[1]), int(match[2])) if match else None


def is_draft(stem: str) -> bool:
    """Whether a name says that it only drafts for another model."""
    return bool(_DRAFT.search(stem))


def is_projector_name(stem: str) -> bool:
    """Whether a name says that it lets another model see."""
    return bool(_PROJECTOR.search(stem))


def is_partial(name: str) -> bool:
    """Whether a name is that of a model that has not arrived yet."""
    lower = name.lower()
    return lower.endswith(_PARTIAL) and lower.rpartition(".")[0].endswith(_WEIGHTS)


def words(stem: str) -> frozenset[str]:
    """Return the words of a name that tell models apart, in lower case."""
    plain = _PROJECTOR.sub("", without_quantization(stem)).lower()
    return frozenset(_SEPARATORS.split(plain)) - {"", "model", "ggml", "gguf"}
