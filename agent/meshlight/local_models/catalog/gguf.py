"""Reads the header of a GGUF file (version 2 and 3): the facts, and nothing of the weights.

Files come from strangers, so everything is bounded: keys, tensors, strings, arrays, and the bytes that are walked
over. Vocabularies are skipped, not read. Whatever is in a file, the only error is `BadHeader`, apart from the
`OSError` of a disk that can't be read.
"""

import os
import re
import struct
from math import prod
from typing import Any, BinaryIO

from meshlight.local_models.catalog.gguf_types import BLOCKS, FILE_TYPES, GUESSED, SCALARS
from meshlight.local_models.catalog.header import (
    NUMBER_MAX,
    TOOLS_WORD,
    BadHeader,
    Header,
    Role,
    clean,
    number,
)

KEYS_MAX = 4_096
TENSORS_MAX = 100_000
KEY_MAX = 1_024
"""Bytes of a key, or of a tensor's name."""
STRING_MAX = 1 << 20
ARRAY_MAX = 64 << 20
"""Items of an array."""
STRINGS_MAX = 4 << 20
"""Strings in all arrays of a file together: each is a step of its own."""
HEADER_MAX = 128 << 20
"""Bytes of a whole header; those of the largest vocabularies have 20 million."""
KEPT_ITEMS = 1_024
"""A longer array is only counted: no setting that matters here has more values, one for each layer."""
DIMENSIONS_MAX = 8
_FIRST_READ = 16 << 10
_READ = 256 << 10
_TEXT_BYTES = 4_096
"""Bytes that are kept of a string."""
_COMPARED = 4_096
"""First bytes by which an array of strings is recognised."""
_VOCABULARIES_MAX = 1_000
_POOLING_MAX = 4

_MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_TOKENS = "tokenizer.ggml.tokens"
_TEMPLATE = "tokenizer.chat_template"
_WANTED = frozenset(
    {
        "general.architecture",
        "general.type",
        "general.name",
        "general.basename",
        "general.size_label",
        "general.file_type",
        "general.alignment",
        "split.no",
        "split.count",
    }
)
_WANTED_OF_ARCHITECTURE = frozenset(
    {
        "context_length",
        "block_count",
        "embedding_length",
        "pooling_type",
        "vocab_size",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
    }
)
"""Keys behind the architecture's name."""
_ROLES: dict[str, Role] = {
    "adapter": "adapter",
    "mmproj": "projector",
    "imatrix": "imatrix",
    "vocab": "vocabulary",
}
"""By `general.type`, as far as it is not a model."""
_NO_GGUF = {
    b"vers": "Only a pointer of Git LFS, not the model itself. Get it with `git lfs pull`.",
    b"<!DO": "A web page, not a model. Download the file itself.",
    b"<htm": "A web page, not a model. Download the file itself.",
    b"tjgg": "Made for a llama.cpp of 2023. Download a newer one.",
    b"fmgg": "Made for a llama.cpp of 2023. Download a newer one.",
    b"lmgg": "Made for a llama.cpp of 2023. Download a newer one.",
    b"\0\0\0\0": "Empty inside: its download has not got far. Download it again.",
}
"""What files with other first bytes are, as far as it is known."""
_KEY = re.compile(rb"[a-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)+")
_KEY_PLAIN_MAX = 120

Vocabularies = dict[tuple[str, int, bytes], int]
"""How many bytes an array of strings took, by its key, its length and its first bytes; see `_Reader.skip_strings`."""


def read_gguf(path: str, vocabularies: Vocabularies | None = None) -> Header:
    """Read the header of a file. Raises BadHeader, and OSError if the file can't be read.

    `vocabularies` is kept between files: the quantizations of a model have the same one, and walking over 300,000
    strings takes 20 ms.
    """
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - thousands of files: a Path costs as much as the read
        size = os.fstat(file.fileno()).st_size
        return read_header(file, size, {} if vocabularies is None else vocabularies)


def read_header(file: BinaryIO, size: int, vocabularies: Vocabularies) -> Header:
    """Read the header of an open file of `size` bytes; see `read_gguf`."""
    reader = _Reader(file, size)
    is_big_endian = _check_start(reader)
    tensors, keys = reader.u64(), reader.u64()
    if keys > KEYS_MAX or tensors > TENSORS_MAX:
        raise BadHeader("Broken: its header promises more than any model has. Download it again.")
    values: dict[str, Any] = {}
    counts: dict[str, int] = {}
    for _ in range(keys):
        _read_entry(reader, values, counts, vocabularies)
    parameters, data_bytes = _read_tensors(reader, tensors)
    alignment = number(values.get("general.alignment")) or 32
    data_start = -(-reader.position // alignment) * alignment
    facts = _Metadata(values)
    file_type = values.get("general.file_type")
    pooling = facts.number("pooling_type")
    template = values.get(_TEMPLATE) or b""
    return Header(
        role=_role(values, tensors),
        architecture=facts.architecture,
        name=clean(values.get("general.basename")) or clean(values.get("general.name")),
        size_label=clean(values.get("general.size_label")),
        parameters=min(parameters, NUMBER_MAX),
        quantization=FILE_TYPES.get(file_type & ~GUESSED, "") if isinstance(file_type, int) else "",
        context_max=facts.number("context_length"),
        kv_bytes_per_token=facts.kv_bytes_per_token(),
        vocabulary=facts.number("vocab_size") or counts.get(_TOKENS, 0),
        pooling=pooling if pooling <= _POOLING_MAX else 0,
        has_chat_template=bool(template),
        takes_tools=TOOLS_WORD in template,
        tensors=tensors,
        data_end=min(data_start + data_bytes, NUMBER_MAX) if tensors else 0,
        part=number(values.get("split.no")),
        parts=number(values.get("split.count")),
        is_big_endian=is_big_endian,
    )


class _Reader:
    """Reads numbers and strings at the front of a file through a window, of 1 MB at most."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._limit = min(size, HEADER_MAX)
        self._window = b""
        self._start = 0
        """Where in the file the window begins."""
        self._at = 0
        """Where in the window the next byte is; at its end at most."""
        self._strings_left = STRINGS_MAX
        self.use("<")

    def use(self, order: str) -> None:
        """Read numbers in this order of bytes from now on."""
        self._u32 = struct.Struct(order + "I")
        self._u64 = struct.Struct(order + "Q")
        self._tensors = [struct.Struct(f"{order}{length}QIQ") for length in range(DIMENSIONS_MAX + 1)]
        self._scalars = {kind: struct.Struct(order + code) for kind, code in SCALARS.items()}

    @property
    def position(self) -> int:
        """Where in the file the next byte is."""
        return self._start + self._at

    def take(self, length: int) -> bytes:
        """Return the next bytes."""
        at = self._advance(length)
        return self._window[at : at + length]

    def u32(self) -> int:
        """Return the next number of 4 bytes."""
        at = self._advance(4)
        value: int = self._u32.unpack_from(self._window, at)[0]
        return value

    def u64(self) -> int:
        """Return the next number of 8 bytes."""
        at = self._advance(8)
        value: int = self._u64.unpack_from(self._window, at)[0]
        return value

    def scalar(self, kind: int) -> int | float:
        """Return the next number of a GGUF kind."""
        code = self._scalars.get(kind)
        if code is None:
            raise BadHeader("Broken: its header has values of an unknown kind. Download it again.")
        at = self._advance(code.size)
        value: int | float = code.unpack_from(self._window, at)[0]
        return value

    def string(self, most: int) -> bytes:
        """Return the next string, of at most so many bytes."""
        return self.take(self._length(most))

    def tensor(self) -> tuple[tuple[int, ...], int, int]:
        """Return shape, type and place of the next tensor."""
        self.skip_string(KEY_MAX)
        dimensions = self.u32()
        if dimensions > DIMENSIONS_MAX:
            raise BadHeader("Broken: its header has a tensor of no possible shape. Download it again.")
        code = self._tensors[dimensions]
        at = self._advance(code.size)
        values: tuple[int, ...] = code.unpack_from(self._window, at)
        return values[:-2], values[-2], values[-1]

    def skip_string(self, most: int) -> int:
        """Go on behind the next string, of at most so many bytes, and return its length."""
        length = self._length(most)
        self._move(self._at + length)
        return length

    def skip_scalars(self, kind: int, count: int) -> None:
        """Go on behind so many numbers of a GGUF kind."""
        code = self._scalars.get(kind)
        if code is None:
            raise BadHeader("Broken: its header has lists of an unknown kind. Download it again.")
        self._move(self._at + code.size * count)

    def skip_strings(self, key: str, count: int, vocabularies: Vocabularies) -> None:
        """Go on behind an array of strings.

        Each has its length in front, which takes a step for each. Where another file had the same array by its first
        bytes, its end is tried first: another key follows there, or it was another array after all.
        """
        if count > self._strings_left:
            raise BadHeader("Broken: its header lists more words than any model has. Download it again.")
        self._strings_left -= count
        begin = self.position
        known = (key, count, self._peek(_COMPARED))
        length = vocabularies.get(known, 0)
        if length and self._is_key_at(begin + length):
            self._move(self._at + length)
            return
        self._walk_strings(count)
        if count > KEPT_ITEMS and len(vocabularies) < _VOCABULARIES_MAX:
            vocabularies[known] = self.position - begin

    def _length(self, most: int) -> int:
        length = self.u64()
        if length > most:
            raise BadHeader("Broken: a text in its header is longer than any can be. Download it again.")
        return length

    def _walk_strings(self, count: int) -> None:
        unpack = self._u64.unpack_from
        while count:
            at = self._advance(8)
            window, last = self._window, len(self._window) - 8
            done = 0
            for done in range(1, count + 1):  # noqa: B007 - used behind the loop
                at += 8 + unpack(window, at)[0]
                if at > last:
                    break
            count -= done
            self._move(at)

    def _is_key_at(self, position: int) -> bool:
        """Whether a key with a value of a known kind begins there."""
        if position + 8 > self._limit:
            return False
        self._file.seek(position)
        data = self._file.read(8 + _KEY_PLAIN_MAX + 4) or b""
        length = self._u64.unpack_from(data)[0] if len(data) >= 8 else 0
        behind = 8 + length
        if not 0 < length <= _KEY_PLAIN_MAX or len(data) < behind + 4:
            return False
        kind = self._u32.unpack_from(data, behind)[0]
        return bool(_KEY.fullmatch(data[8:behind])) and (kind in SCALARS or kind in {_STRING, _ARRAY})

    def _peek(self, length: int) -> bytes:
        length = min(length, self._limit - self.position)
        at = self._advance(length)
        self._at = at
        return self._window[at : at + length]

    def _advance(self, length: int) -> int:
        """Have the next bytes in the window; return where they begin in there, and count them as read."""
        at = self._at
        if at + length > len(self._window):
            self._fill(length)
            at = 0
        self._at = at + length
        return at

    def _fill(self, length: int) -> None:
        position = self.position
        if position + length > self._limit:
            raise self._too_long(position + length)
        wanted = max(length, _READ if position else _FIRST_READ)
        self._file.seek(position)
        self._window = self._file.read(min(wanted, self._size - position)) or b""
        self._start, self._at = position, 0
        if len(self._window) < length:  # the file was cut meanwhile
            raise self._too_long(self._size + 1)

    def _move(self, at: int) -> None:
        """Go on at this place of the window, or behind it."""
        if self._start + at > self._limit:
            raise self._too_long(self._start + at)
        if at <= len(self._window):
            self._at = at
        else:
            self._start, self._at, self._window = self._start + at, 0, b""

    def _too_long(self, end: int) -> BadHeader:
        if end > self._size:
            return BadHeader("Incomplete: it ends within its header. Download it again.")
        return BadHeader("Broken: its header is longer than that of any model. Download it again.")


def _check_start(reader: _Reader) -> bool:
    """Check magic and version; return whether its numbers are big-endian, and have them read so."""
    try:
        start = reader.take(4)
    except BadHeader:
        raise BadHeader("Empty: nothing of it has arrived. Download it again.") from None
    if start != _MAGIC:
        raise BadHeader(_NO_GGUF.get(start, "Not a GGUF file, whatever its name says."))
    version = reader.u32()
    is_big_endian = version > 0xFFFF
    if is_big_endian:
        reader.use(">")
        version = int.from_bytes(version.to_bytes(4, "little"), "big")
    if version == 1:
        raise BadHeader("GGUF version 1, which engines no longer read. Download a newer one.")
    if version not in {2, 3}:
        raise BadHeader(
            f"GGUF version {version}, which is not known here. Update Meshlight, or download it again."
        )
    return is_big_endian


def _read_entry(
    reader: _Reader, values: dict[str, Any], counts: dict[str, int], vocabularies: Vocabularies
) -> None:
    key = reader.string(KEY_MAX).decode("utf-8", "replace")
    kind = reader.u32()
    is_wanted = key in _WANTED or key.partition(".")[2] in _WANTED_OF_ARCHITECTURE
    if kind == _STRING:
        if is_wanted:
            values[key] = reader.string(STRING_MAX)[:_TEXT_BYTES].decode("utf-8", "replace")
        elif key == _TEMPLATE:
            values[key] = reader.string(STRING_MAX)
        else:
            reader.skip_string(STRING_MAX)
    elif kind != _ARRAY:
        values_of_key = reader.scalar(kind)
        if is_wanted:
            values[key] = values_of_key
    else:
        inner, count = reader.u32(), reader.u64()
        if count > ARRAY_MAX:
            raise BadHeader("Broken: a list in its header is longer than any can be. Download it again.")
        counts[key] = count
        if inner == _STRING:
            reader.skip_strings(key, count, vocabularies)
        elif is_wanted and count <= KEPT_ITEMS:
            values[key] = tuple(reader.scalar(inner) for _ in range(count))
        else:
            reader.skip_scalars(inner, count)


def _read_tensors(reader: _Reader, count: int) -> tuple[int, int]:
    """Return the numbers in all tensors, and how many bytes of data they need at least."""
    parameters = end = 0
    for _ in range(count):
        shape, kind, offset = reader.tensor()
        numbers = prod(shape)
        block, size = BLOCKS.get(kind, (1, 0))
        parameters += numbers
        end = max(end, offset + -(-numbers // block) * size)
    return parameters, end


class _Metadata:
    """The wanted values, as far as they are what they should be."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values
        self.architecture = clean(values.get("general.architecture"))

    def number(self, key: str) -> int:
        """Return a whole number of the architecture's, 0 without."""
        return number(self._values.get(f"{self.architecture}.{key}"))

    def kv_bytes_per_token(self) -> int:
        """Return the size of the cache for each token of context, in half precision: an upper bound."""
        heads = self._per_layer("attention.head_count")
        kv_heads = self._per_layer("attention.head_count_kv") or heads
        width = self.number("embedding_length") // max(heads, default=1) if any(heads) else 0
        both = (self.number("attention.key_length") or width) + (
            self.number("attention.value_length") or width
        )
        layers = self.number("block_count")
        total = sum(kv_heads) if len(kv_heads) > 1 else layers * sum(kv_heads)
        return min(2 * total * both, NUMBER_MAX)

    def _per_layer(self, key: str) -> tuple[int, ...]:
        """Return a number that may differ between layers: one for all of them, or one for each."""
        value = self._values.get(f"{self.architecture}.{key}")
        return tuple(map(number, value)) if isinstance(value, tuple) else (number(value),) if value else ()


def _role(values: dict[str, Any], tensors: int) -> Role:
    kind = values.get("general.type")
    architecture = values.get("general.architecture")
    if isinstance(kind, str) and kind in _ROLES:
        return _ROLES[kind]
    if architecture == "clip":
        return "projector"
    if architecture == "controlvector":
        return "control-vector"
    parts = number(values.get("split.count"))
    if parts > 1:
        return "part" if number(values.get("split.no")) else "model"
    return "model" if tensors else "vocabulary"
