"""What the headers of a model's files say, whatever their format; small enough to be remembered for every file."""

from typing import Literal

from msgspec import Struct

from meshlight.domain.text import sanitize

TEXT_MAX = 120
"""Characters of a header's text that are kept."""
NUMBER_MAX = 2**53
"""No number of a header counts for more: JSON keeps it exactly, and sums of it stay harmless."""
TOOLS_WORD = b"tools"
"""The variable by which chat templates get tools."""

Role = Literal["model", "projector", "adapter", "imatrix", "vocabulary", "part", "control-vector"]
"""`part`: a further part of a model in several files, which has tensors and hardly any metadata."""


class BadHeader(Exception):
    """A file that is no model, or a broken one; `why` says it in words, with what to do next."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Header(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="header"):
    """The facts that count about one file, or about one folder of safetensors files."""

    role: Role = "model"
    architecture: str = ""
    name: str = ""
    """The model's own name for itself."""
    size_label: str = ""
    parameters: int = 0
    """Numbers in its tensors."""
    quantization: str = ""
    context_max: int = 0
    kv_bytes_per_token: int = 0
    vocabulary: int = 0
    pooling: int = 0
    has_chat_template: bool = False
    takes_tools: bool = False
    """Whether the chat template has a place for tools."""
    tensors: int = 0
    data_end: int = 0
    """The size that the file must have at least, in bytes."""
    part: int = 0
    """Its number among the parts, from 0."""
    parts: int = 0
    """How many parts there are; 0 where the header does not say."""
    is_big_endian: bool = False
    is_mlx: bool = False
    purpose: Literal["", "chat", "embedding", "rerank"] = ""
    """What a folder's configuration says it is for; empty where only `pooling` and `architecture` tell."""


class BadFile(Struct, frozen=True, array_like=True, tag="bad"):
    """What is remembered of a file whose header could not be read."""

    why: str


Facts = Header | BadFile


def clean(value: object) -> str:
    """Return a header's text in one safe, short line; empty for anything but text."""
    return sanitize(value, TEXT_MAX) if isinstance(value, str) else ""


def number(value: object) -> int:
    """Return a header's number if it is a sensible whole one, else 0."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= NUMBER_MAX:
        return value
    return 0
