"""What the names of files say."""

import pytest

from meshlight.local_models.catalog.file_names import (
    is_draft,
    is_partial,
    is_projector_name,
    part_of,
    quantization_in,
    stem_of,
    without_quantization,
    words,
)


@pytest.mark.parametrize(
    ("stem", "quantization", "rest"),
    [
        ("Qwen3-8B-Q4_K_M", "Q4_K_M", "Qwen3-8B"),
        ("qwen2.5-7b-instruct-q4_k_m", "Q4_K_M", "qwen2.5-7b-instruct"),
        ("SmolLM2-135M-Instruct.Q4_1", "Q4_1", "SmolLM2-135M-Instruct"),
        ("Qwen3-8B-UD-Q4_K_XL", "UD-Q4_K_XL", "Qwen3-8B"),
        ("gemma-3-4b-it-IQ4_XS", "IQ4_XS", "gemma-3-4b-it"),
        ("gpt-oss-20b-mxfp4", "MXFP4", "gpt-oss-20b"),
        ("BitNet-TQ2_0", "TQ2_0", "BitNet"),
        ("phi-Q4_0_4_8", "Q4_0_4_8", "phi"),
        ("llama-3-BF16", "BF16", "llama-3"),
        ("llama-3-fp16", "F16", "llama-3"),
        ("Q8_0", "Q8_0", ""),
        ("Mistral-7B", "", "Mistral-7B"),
        ("model_Q42-x", "", "model_Q42-x"),
        ("a-f16-b-Q6_K", "Q6_K", "a-b"),
    ],
)
def test_quantizations(stem: str, quantization: str, rest: str) -> None:
    assert quantization_in(stem) == quantization
    assert without_quantization(stem) == rest


def test_parts() -> None:
    assert part_of("big-00002-of-00003.gguf") == (2, 3)
    assert part_of("big.gguf") is None
    assert part_of("big-00002-of-00003.safetensors") is None
    assert stem_of("big-Q4_0-00002-of-00003.GGUF") == "big-Q4_0"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a.gguf.incomplete", True),
        ("a.gguf.part", True),
        ("A.GGUF.downloadInProgress", True),
        ("a.safetensors.crdownload", True),
        ("a.gguf", False),
        ("a.zip.part", False),
        ("part", False),
    ],
)
def test_half_downloaded_models(name: str, is_one: bool) -> None:
    assert is_partial(name) == is_one


def test_drafts_and_projectors_by_name() -> None:
    assert [is_draft(name) for name in ("Qwen-draft-Q4_0", "x-MTP", "x.eagle3", "Draftsman-7B")] == [
        True
    ] * 3 + [False]
    assert [is_projector_name(name) for name in ("mmproj-F16", "a-mmproj", "mmprojector")] == [
        True,
        True,
        False,
    ]


def test_words_that_tell_models_apart() -> None:
    assert words("mmproj-Qwen2.5-VL-7B-f16") == words("Qwen2.5-VL-7B-Q4_K_M") == {"qwen2", "5", "vl", "7b"}
    assert words("mmproj-model-f16") == frozenset()
