"""Headers of GGUF files: real ones, and whatever else a file may hold."""

import io
import struct
from pathlib import Path
from typing import Any

import gguf as ggufs_own
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_models.catalog.model_files import LLAMA, ONE, PROJECTOR, gguf, write_gguf
from meshlight.local_models.catalog import gguf as reader
from meshlight.local_models.catalog.gguf import read_gguf, read_header
from meshlight.local_models.catalog.gguf_types import BLOCKS, FILE_TYPES
from meshlight.local_models.catalog.header import NUMBER_MAX, BadHeader, Header
from real.tiny_gguf import write_gguf as write_tiny


class CountedFile(io.BytesIO):
    """Counts what is read."""

    bytes_read = 0
    reads = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        self.reads += 1
        return data


def header_of(data: bytes, size: int | None = None) -> Header:
    return read_header(io.BytesIO(data), len(data) if size is None else size, {})


def why_not(data: bytes) -> str:
    with pytest.raises(BadHeader) as error:
        header_of(data)
    return error.value.why


def of(**changes: Any) -> Header:
    return header_of(gguf({**LLAMA, **{key.replace("__", "."): value for key, value in changes.items()}}))


def test_a_model_that_an_engine_runs_is_described_by_its_header(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "tiny", context=4096)
    header = read_gguf(str(path))
    assert (header.role, header.architecture, header.name, header.quantization) == (
        "model",
        "llama",
        "tiny",
        "F16",
    )
    assert header.context_max == 4096
    assert header.has_chat_template
    assert header.data_end == path.stat().st_size
    theirs = ggufs_own.GGUFReader(path)
    tokens = theirs.fields["tokenizer.ggml.tokens"]
    assert header.vocabulary == len(tokens.data)
    assert header.tensors == len(theirs.tensors)
    assert header.parameters == sum(int(tensor.n_elements) for tensor in theirs.tensors)


def test_a_model_takes_tools_where_its_template_has_a_place_for_them() -> None:
    template = "tokenizer__chat_template"
    assert not of(**{template: "{{ messages }}"}).takes_tools
    assert of(**{template: "{% if tools %}{{ tools }}{% endif %}{{ messages }}"}).takes_tools
    assert not of(**{template: ""}).has_chat_template


def test_every_type_of_file_and_tensor_of_llama_cpp_is_known() -> None:
    guessed = ggufs_own.LlamaFileType.GUESSED
    types = {member.value for member in ggufs_own.LlamaFileType} - {guessed.value}
    assert types <= FILE_TYPES.keys()
    sizes = {kind.value: size for kind, size in ggufs_own.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in BLOCKS.keys() & sizes.keys()} == {
        kind: size for kind, size in BLOCKS.items() if kind in sizes
    }


def test_cache_for_each_token_counts_layers_heads_and_both_halves() -> None:
    assert of().kv_bytes_per_token == 2 * 2 * 2 * (8 + 8)  # bytes, layers, heads, two of 64 / 8
    longer = of(llama__attention__key_length=32, llama__attention__value_length=16)
    assert longer.kv_bytes_per_token == 2 * 2 * 2 * (32 + 16)


def test_layers_may_have_different_numbers_of_heads_and_none_at_all() -> None:
    assert of(llama__attention__head_count_kv=[2, 0, 4]).kv_bytes_per_token == 2 * 6 * 16


def test_a_model_without_heads_of_their_own_for_the_cache_uses_all() -> None:
    assert of(llama__attention__head_count_kv=0).kv_bytes_per_token == 2 * 2 * 8 * 16


def test_keys_may_come_before_the_architecture() -> None:
    late = dict(reversed(LLAMA.items()))
    assert header_of(gguf(late)) == header_of(gguf())


def test_both_orders_of_bytes_and_both_versions_are_read() -> None:
    expected = header_of(gguf())
    assert header_of(gguf(version=2)) == expected
    big = header_of(gguf(order=">"))
    assert big.is_big_endian
    assert (big.context_max, big.vocabulary) == (expected.context_max, expected.vocabulary)


@pytest.mark.parametrize(
    ("metadata", "tensors", "role"),
    [
        (LLAMA, ONE, "model"),
        (LLAMA, (), "vocabulary"),
        (PROJECTOR, ONE, "projector"),
        ({"general.architecture": "clip"}, ONE, "projector"),
        ({**LLAMA, "general.type": "adapter"}, ONE, "adapter"),
        ({"general.type": "imatrix"}, ONE, "imatrix"),
        ({"general.architecture": "controlvector"}, ONE, "control-vector"),
        ({**LLAMA, "split.no": 0, "split.count": 2}, (), "model"),
        ({"split.no": 1, "split.count": 2}, ONE, "part"),
    ],
)
def test_a_header_says_what_a_file_is(metadata: dict[str, Any], tensors: Any, role: str) -> None:
    assert header_of(gguf(metadata, tensors)).role == role


def test_a_long_vocabulary_is_counted_and_what_follows_is_read() -> None:
    words = [f"word{number * 7919}" for number in range(20_000)]
    metadata = {"tokenizer.ggml.tokens": words, "tokenizer.ggml.merges": words[::-1], **LLAMA}
    metadata["tokenizer.ggml.tokens"] = words
    header = header_of(gguf(metadata))
    assert header.vocabulary == 20_000
    assert header.architecture == "llama"


def test_the_vocabulary_of_another_quantization_is_passed_over_at_once() -> None:
    words = [f"word{number * 7919}" for number in range(100_000)]
    data = gguf({"tokenizer.ggml.tokens": words} | LLAMA | {"tokenizer.ggml.tokens": words})
    vocabularies: reader.Vocabularies = {}
    first, second = CountedFile(data), CountedFile(data)
    header = read_header(first, len(data), vocabularies)
    assert read_header(second, len(data), vocabularies) == header
    assert second.bytes_read < first.bytes_read / 3


def test_a_vocabulary_that_only_begins_alike_is_walked_through() -> None:
    words = [f"word{number}" for number in range(10_000)]
    vocabularies: reader.Vocabularies = {}
    for more in ([], ["longer"], ["xx"]):
        metadata = {
            **LLAMA,
            "tokenizer.ggml.tokens": words[: len(words) - len(more)] + more,
            "llama.block_count": 7,
        }
        data = gguf({"general.architecture": "llama", **metadata})
        assert read_header(io.BytesIO(data), len(data), vocabularies).vocabulary == 10_000


def test_the_last_array_before_the_tensors_may_be_known_too() -> None:
    words = [f"word{number}" for number in range(2_000)]
    data = gguf(
        {key: value for key, value in LLAMA.items() if "token" not in key} | {"tokenizer.ggml.tokens": words}
    )
    vocabularies: reader.Vocabularies = {}
    headers = [read_header(io.BytesIO(data), len(data), vocabularies) for _ in range(3)]
    assert headers[1:] == headers[:1] * 2
    assert headers[0].tensors == 1


def test_data_has_to_reach_as_far_as_the_last_tensor_does() -> None:
    data = gguf(LLAMA, (("a", (256, 64)), ("b", (256, 64))))
    assert header_of(data).data_end == len(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Empty"),
        (b"GG", "Empty"),
        (b"GGUF", "Incomplete"),
        (b"\0" * 100, "Empty inside"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\3\4" + bytes(100), "Not a GGUF file"),
        (b"tjgg" + bytes(100), "2023"),
        (gguf(version=1), "version 1"),
        (gguf(version=77), "version 77"),
        (gguf()[:100], "ends within its header"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1), "promises more"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1, 1 << 60), "promises more"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1 << 60), "longer than any"),
    ],
)
def test_what_is_no_model_is_told_in_words(data: bytes, why: str) -> None:
    assert why in why_not(data)


def entry(kind: int, value: bytes) -> bytes:
    """A file whose only entry has this kind and value."""
    return (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 3)
        + b"a.b"
        + struct.pack("<I", kind)
        + value
    )


@pytest.mark.parametrize(
    "data",
    [
        entry(99, b""),
        entry(9, struct.pack("<IQ", 99, 1)),
        entry(9, struct.pack("<IQ", 9, 1)),
        entry(9, struct.pack("<IQ", 4, 1 << 62)),
        entry(9, struct.pack("<IQ", 8, 60 << 20)),
        entry(9, struct.pack("<IQ", 8, 100) + struct.pack("<Q", (1 << 64) - 1)),
        entry(8, struct.pack("<Q", 2 << 20)),
        b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + struct.pack("<Q", 1) + b"t" + struct.pack("<I", 1 << 30),
    ],
)
def test_lengths_that_no_model_has_are_refused(data: bytes) -> None:
    assert why_not(data + bytes(1 << 16))


class Endless(io.RawIOBase):
    """A file of any size, mostly zeros; counts what is read."""

    def __init__(self, start: bytes, filling: bytes) -> None:
        self._start = start
        self._filling = filling
        self._at = 0
        self.bytes_read = 0

    def seek(self, position: int, whence: int = 0) -> int:
        assert whence == 0
        self._at = position
        return position

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size <= 1 << 20
        begin, self._at = self._at, self._at + size
        self.bytes_read += size
        whole = self._filling * (size // len(self._filling) + 2)
        shift = max(begin - len(self._start), 0) % len(self._filling)
        data = whole[shift : shift + size]
        return (self._start[begin:] + data)[:size] if begin < len(self._start) else data


def test_a_header_of_gigabytes_is_left_after_the_limit() -> None:
    strings = struct.pack("<Q", 200_000) + bytes(200_000)
    file = Endless(entry(9, struct.pack("<IQ", 8, 4 << 20)), strings)
    with pytest.raises(BadHeader, match="longer than that of any"):
        read_header(file, 1 << 45, {})  # type: ignore[arg-type]
    assert file.bytes_read <= reader.HEADER_MAX + (1 << 20)


def test_numbers_beyond_all_sense_stay_harmless() -> None:
    header = of(llama__block_count=2**32 - 1, llama__attention__head_count_kv=2**32 - 1)
    assert 0 < header.kv_bytes_per_token <= NUMBER_MAX
    assert of(llama__pooling_type=2**32 - 1).pooling == 0
    assert of(general__file_type=2**32 - 1).quantization == ""
    assert of(general__file_type=15 + 1024).quantization == "Q4_K_M"


def test_values_of_the_wrong_kind_count_as_none() -> None:
    header = of(
        llama__context_length="many", general__name=5, llama__block_count=[1, 2], general__file_type="x"
    )
    assert (header.context_max, header.name, header.kv_bytes_per_token, header.quantization) == (0, "", 0, "")


def test_text_from_strangers_is_one_short_safe_line() -> None:
    header = of(general__name="\x1b[31mred\n\u202e" + "x" * 5000, general__size_label="\0" * 50)
    assert header.name.startswith("red")
    assert len(header.name) <= 120
    assert header.size_label == ""


def test_a_file_that_is_cut_while_it_is_read_is_incomplete() -> None:
    data = gguf({**LLAMA, "tokenizer.ggml.tokens": [f"w{n}" for n in range(5_000)]})
    with pytest.raises(BadHeader, match="Incomplete"):
        header_of(data[:20_000], size=len(data))


REAL = gguf({**LLAMA, "tokenizer.ggml.tokens": [f"w{n}" for n in range(40)]}, [*ONE, *ONE])


def is_a_header_or_one_error(data: bytes, size: int) -> None:
    file = CountedFile(data)
    try:
        header = read_header(file, size, {})
    except BadHeader:
        pass
    else:
        assert header.tensors <= reader.TENSORS_MAX
        assert 0 <= header.kv_bytes_per_token <= NUMBER_MAX
    assert file.bytes_read <= 4 * len(data) + reader.STRING_MAX


@given(st.binary(max_size=300))
def test_any_bytes_give_one_kind_of_error(data: bytes) -> None:
    is_a_header_or_one_error(data, len(data))
    is_a_header_or_one_error(b"GGUF" + data, len(data) + 4)
    is_a_header_or_one_error(b"GGUF\3\0\0\0" + data, 1 << 40)


@given(st.integers(0, len(REAL)))
def test_any_beginning_of_a_file_gives_one_kind_of_error(length: int) -> None:
    is_a_header_or_one_error(REAL[:length], length)
    is_a_header_or_one_error(REAL[:length], len(REAL))


@given(st.integers(4, len(REAL) - 1), st.binary(min_size=1, max_size=9))
def test_any_change_of_a_file_gives_one_kind_of_error(position: int, change: bytes) -> None:
    changed = REAL[:position] + change + REAL[position + len(change) :]
    is_a_header_or_one_error(changed, len(changed))


def test_a_file_that_is_not_there_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        read_gguf(str(tmp_path / "none.gguf"))


def test_a_file_of_a_real_name_is_read(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "모델 with space 🚀.gguf")
    assert read_gguf(str(path)).architecture == "llama"
