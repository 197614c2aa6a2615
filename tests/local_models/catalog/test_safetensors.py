"""Folders of safetensors files."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_models.catalog.model_files import ONE, safetensors, write_safetensors
from meshlight.local_models.catalog.header import BadHeader, Header
from meshlight.local_models.catalog.safetensors import CONFIG_MAX, read_safetensors, weights_of


def read(folder: Path) -> Header:
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    return read_safetensors(str(folder), sizes)


def why_not(folder: Path) -> str:
    with pytest.raises(BadHeader) as error:
        read(folder)
    return error.value.why


def test_a_model_as_it_was_trained(tmp_path: Path) -> None:
    header = read(write_safetensors(tmp_path / "model"))
    assert (header.is_mlx, header.quantization, header.purpose) == (False, "BF16", "chat")
    assert (header.architecture, header.context_max, header.vocabulary) == ("qwen3", 2048, 128)
    assert header.kv_bytes_per_token == 2 * 2 * 2 * 2 * 16  # two halves, layers, heads, dimensions, bytes
    assert header.parameters == 32 * 4


def test_packed_numbers_are_counted_one_by_one(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "mlx", dtype="U32", quantization={"bits": 4, "group_size": 64})
    header = read(folder)
    assert (header.is_mlx, header.quantization) == (True, "4bit")
    assert header.parameters == 32 * 4 * 8


def test_mlx_without_quantization_says_so_in_the_weights(tmp_path: Path) -> None:
    assert read(write_safetensors(tmp_path / "mlx", made_for="mlx")).is_mlx


def test_a_model_that_sees_keeps_its_numbers_in_a_part(tmp_path: Path) -> None:
    text = {
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "hidden_size": 32,
        "max_position_embeddings": 99,
    }
    folder = write_safetensors(
        tmp_path / "vl", architectures=["Qwen3VLForConditionalGeneration"], vision_config={}, text_config=text
    )
    header = read(folder)
    assert header.context_max == 99
    assert header.kv_bytes_per_token == 2 * 3 * 4 * 8 * 2


@pytest.mark.parametrize(
    ("config", "purpose"),
    [
        ({"architectures": ["BertModel"], "model_type": "bert"}, "embedding"),
        ({"architectures": ["XForSequenceClassification"], "id2label": {"0": "LABEL_0"}}, "rerank"),
    ],
)
def test_what_a_model_is_for_is_its_architecture(tmp_path: Path, config: Any, purpose: str) -> None:
    assert read(write_safetensors(tmp_path / "model", **config)).purpose == purpose


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["ViTForImageClassification"]},
        {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"},
        {"architectures": ["CLIPModel"], "vision_config": {}},
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "good", "1": "bad"}},
        {"architectures": []},
        {"architectures": None},
        {"architectures": [["LlamaForCausalLM"]], "model_type": ["llama"]},
    ],
)
def test_what_answers_no_text_is_no_model_here(tmp_path: Path, config: Any) -> None:
    assert "Not a language model" in why_not(write_safetensors(tmp_path / "model", **config))


def test_configurations_with_infinity_are_read(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("{", '{"limit": [0.0, -Infinity, NaN],', 1))
    assert read(folder).context_max == 2048


def test_a_template_may_lie_beside_or_in_the_tokenizer(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    assert not read(folder).has_chat_template
    (folder / "tokenizer_config.json").write_text('{"chat_template": "x"}')
    assert read(folder).has_chat_template
    assert not read(folder).takes_tools
    (folder / "tokenizer_config.json").unlink()
    (folder / "chat_template.jinja").write_text("{% if tools %}x{% endif %}")
    assert read(folder).has_chat_template
    assert read(folder).takes_tools


def test_all_files_of_the_index_have_to_be_there(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    names = {"a": "model.safetensors", "b": "other.safetensors", "c": "../../secret.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    assert "other.safetensors is missing" in why_not(folder)
    (folder / "other.safetensors").write_bytes(safetensors())
    assert read(folder).parameters == 2 * 32 * 4


def test_parts_are_missed_without_an_index_too(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model-00002-of-00003.safetensors")
    assert "model-00001-of-00003.safetensors and 1 more is missing" in why_not(folder)


def test_a_second_copy_for_another_library_does_not_count() -> None:
    assert weights_of(["consolidated.safetensors", "model.safetensors", "a.bin"]) == {"model.safetensors"}
    assert weights_of(["consolidated.safetensors"]) == {"consolidated.safetensors"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends within its header"),
        (struct.pack("<Q", 1 << 60), "ends within its header"),
        (struct.pack("<Q", 4) + b"nope", "no header"),
        (safetensors()[:-1], "shorter than its header"),
        (struct.pack("<Q", 100_002) + b"[" * 50_001 + b"]" * 50_001, "no header"),
        (safetensors([("x", (0,) * 9)]), "no possible shape"),
    ],
)
def test_broken_weights_are_told_in_words(tmp_path: Path, data: bytes, why: str) -> None:
    folder = write_safetensors(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(data)
    assert why in why_not(folder)


def test_a_header_that_is_too_long_is_left_unread(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", CONFIG_MAX + 1))
        file.truncate(CONFIG_MAX + 100)
    assert read(folder).parameters == 0


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"{" * 100_000])
def test_a_configuration_that_is_none_is_told(tmp_path: Path, data: bytes) -> None:
    folder = write_safetensors(tmp_path / "model")
    (folder / "config.json").write_bytes(data)
    assert "no JSON" in why_not(folder)


def test_a_huge_configuration_is_not_read(tmp_path: Path) -> None:
    folder = write_safetensors(tmp_path / "model")
    (folder / "config.json").write_bytes(b" " * (CONFIG_MAX + 1))
    assert "longer than that of any model" in why_not(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = (
    "num_hidden_layers",
    "head_dim",
    "quantization",
    "text_config",
    "architectures",
    "id2label",
    "quantization_config",
)


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_configuration_gives_a_header_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, config: dict[str, Any]
) -> None:
    folder = write_safetensors(tmp_path_factory.getbasetemp() / "any", **config)
    try:
        read(folder)
    except BadHeader as error:
        assert error.why  # noqa: PT017 - most are good


@given(st.binary(max_size=100))
def test_any_weights_give_a_header_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = write_safetensors(tmp_path_factory.getbasetemp() / "bytes")
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data + bytes(len(ONE)))
    try:
        read(folder)
    except BadHeader as error:
        assert error.why  # noqa: PT017 - most are not
