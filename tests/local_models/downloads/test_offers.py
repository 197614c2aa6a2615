"""A repository's files, put together to models."""

import pytest

from meshlight.domain.errors import Conflict, NotFound
from meshlight.local_models.downloads.offers import HubFile, Offer, choose, offers_of, quantization_of


def files(*paths: str) -> list[HubFile]:
    return [HubFile(path, 100 + number, f"{number:064x}") for number, path in enumerate(paths)]


def offers(*paths: str) -> list[Offer]:
    return offers_of("o/r", files(*paths))[0]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("model-q8_0.gguf", "Q8_0"),
        ("x-UD-IQ2_XXS-00001-of-00002.gguf", "UD-IQ2_XXS"),
        ("UD-Q4_K_XL/x-UD-Q4_K_XL-00001-of-00002.gguf", "UD-Q4_K_XL"),
        ("x-MXFP4_MOE.gguf", "MXFP4_MOE"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("x-BF16.gguf", "BF16"),
        ("BF16/x-00001-of-00003.gguf", "BF16"),
        ("x.fp16.gguf", "F16"),
        ("x-TQ1_0.gguf", "TQ1_0"),
        ("Qwen3.gguf", ""),
        ("Q-model.gguf", ""),
    ],
)
def test_the_quantisation_is_read_from_the_name(path: str, expected: str) -> None:
    assert quantization_of(path) == expected


def test_parts_are_one_model_and_the_best_projector_comes_along() -> None:
    found = offers(
        "x-Q4_K_M-00002-of-00002.gguf", "x-Q4_K_M-00001-of-00002.gguf", "x-Q8_0.gguf",
        "mmproj-x-BF16.gguf", "mmproj-x-F16.gguf", "mmproj-x-F32.gguf", "imatrix.gguf", "x-draft-Q4_0.gguf",
        "README.md",
    )  # fmt: skip
    assert [offer.name for offer in found] == ["o/r:Q8_0", "o/r:Q4_K_M"]
    split = found[1]
    assert [file.path for file in split.files] == [
        "x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf", "mmproj-x-F16.gguf",
    ]  # fmt: skip
    assert split.parts == 2
    assert split.sees_images


def test_models_that_lack_a_part_are_counted() -> None:
    found, incomplete = offers_of("o/r", files("x-Q4_0-00001-of-00002.gguf", "x-Q8_0.gguf"))
    assert [offer.name for offer in found] == ["o/r:Q8_0"]
    assert incomplete == 1


@pytest.mark.parametrize(
    "paths",
    [
        ("x-00001-of-00002.gguf", "x-00002-of-00003.gguf"),
        ("x-00000-of-00001.gguf",),
        ("x-00001-of-00000.gguf",),
        ("x-00001-of-99999.gguf",),
        ("x-00001-of-00001.gguf", "x.gguf"),
    ],
)
def test_numbers_of_parts_that_make_no_sense_are_no_model(paths: tuple[str, ...]) -> None:
    assert offers(*paths) == []


def test_two_models_of_one_quantisation_are_named_by_their_files() -> None:
    found = offers("small-Q4_0.gguf", "large-Q4_0.gguf")
    assert [offer.name for offer in found] == ["o/r:small-Q4_0", "o/r:large-Q4_0"]
    assert choose("o/r", found, "large-q4_0").stem == "large-Q4_0"
    with pytest.raises(Conflict):
        choose("o/r", found, "Q4_0")


def test_the_choice_is_q4_k_m_or_the_only_one_or_asked_for() -> None:
    assert choose("o/r", offers("x-Q4_K_M.gguf", "x-Q8_0.gguf"), "").quantization == "Q4_K_M"
    assert choose("o/r", offers("x-Q8_0.gguf"), "").quantization == "Q8_0"
    assert choose("o/r", offers("anything.gguf"), "").name == "o/r"
    with pytest.raises(Conflict) as asked:
        choose("o/r", offers("x-Q5_0.gguf", "x-Q8_0.gguf"), "")
    assert "o/r:Q5_0, o/r:Q8_0" in asked.value.hint


def test_a_tag_is_found_in_any_case_and_a_wrong_one_is_told_with_what_is_similar() -> None:
    found = offers("x-Q4_K_M.gguf", "x-Q8_0.gguf")
    assert choose("o/r", found, "q8_0").quantization == "Q8_0"
    assert choose("o/r", found, "", "x-Q8_0.gguf").quantization == "Q8_0"
    with pytest.raises(NotFound) as refused:
        choose("o/r", found, "Q4_K_S")
    assert "Did you mean o/r:Q4_K_M" in refused.value.hint
