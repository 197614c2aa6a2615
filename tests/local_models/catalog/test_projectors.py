"""Which projector belongs to which model."""

import pytest

from meshlight.local_models.catalog.gguf_models import GgufModel
from meshlight.local_models.catalog.header import Header
from meshlight.local_models.catalog.projectors import family, is_projector, projector_for
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder


def file(stem: str, *, repo: str = "", role: str = "model", name: str = "", vocabulary: int = 5) -> GgufModel:
    folder = FoundFolder(path="/m", root="/m", repo=repo)
    found = FoundFile(f"/m/{stem}.gguf", f"{stem}.gguf", 1, 1, (1, 1))
    header = Header(role=role, name=name, vocabulary=vocabulary)  # type: ignore[arg-type]
    return GgufModel(folder, (found,), header, stem)


def projector(stem: str, name: str = "") -> GgufModel:
    return file(stem, role="projector", name=name, vocabulary=0)


def pairs(models: list[GgufModel], projectors: list[GgufModel]) -> list[str | None]:
    found = (projector_for(model, models, projectors) for model in models)
    return [one.stem if one else None for one in found]


@pytest.mark.parametrize(
    ("models", "projectors", "expected"),
    [
        (["Q-VL-Q4_0", "Q-VL-Q8_0"], ["mmproj-F16"], ["mmproj-F16"] * 2),
        (["Q-VL-Q4_0"], ["mmproj-F32", "mmproj-F16"], ["mmproj-F16"]),
        (["Q-VL-Q4_0"], ["mmproj-Q8_0", "mmproj-BF16"], ["mmproj-BF16"]),
        (["a-VL-7B-Q4_0", "b-VL-3B-Q4_0"], ["mmproj-b-VL-3B-f16"], [None, "mmproj-b-VL-3B-f16"]),
        (["a-VL-7B", "b-VL-3B"], ["mmproj-F16"], [None, None]),
        (["Llama"], ["mmproj-Qwen-VL-F16"], [None]),
        (["Llama"], [], [None]),
        (
            ["gemma-3-4b-it", "gemma-3-12b-it"],
            ["mmproj-gemma-3-4b-it-F16", "mmproj-gemma-3-12b-it-F16"],
            ["mmproj-gemma-3-4b-it-F16", "mmproj-gemma-3-12b-it-F16"],
        ),
    ],
)
def test_by_name(models: list[str], projectors: list[str], expected: list[str | None]) -> None:
    assert pairs([file(stem) for stem in models], [projector(stem) for stem in projectors]) == expected


def test_the_only_one_of_a_repository_needs_no_name() -> None:
    assert pairs([file("Llama", repo="o/r")], [projector("mmproj-Other-F16")]) == ["mmproj-Other-F16"]


def test_a_nameless_file_may_be_named_by_its_header() -> None:
    models = [file("a-VL-7B"), file("b-VL-3B")]
    assert pairs(models, [projector("mmproj-model-f16", name="b VL 3B")]) == [None, "mmproj-model-f16"]


def test_what_a_projector_is() -> None:
    assert is_projector(projector("anything"))
    assert is_projector(file("mmproj-x", vocabulary=0))
    assert not is_projector(file("mmproj-x"))
    assert not is_projector(file("mmproj-x", vocabulary=0, role="adapter"))
    assert family(projector("mmproj-F16")) == family(projector("mmproj-BF16"))
