"""GGUF files put together to whole models."""

import sys

import pytest

from meshlight.local_models.catalog.gguf_models import BadGguf, GgufModel, gguf_models
from meshlight.local_models.catalog.header import BadFile, Facts, Header
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder

OTHER_ORDER = sys.byteorder == "little"


def put_together(facts: dict[str, Facts], size: int = 100) -> list[GgufModel | BadGguf]:
    files = [FoundFile(f"/m/{name}", name, size, 1, (1, at)) for at, name in enumerate(facts, 1)]
    folder = FoundFolder(path="/m", root="/m", files=tuple(files))
    return list(gguf_models(folder, files, lambda file: facts[file.name]))


def part(number: int, count: int = 2, parameters: int = 10) -> Header:
    return Header(
        part=number - 1, parts=count, parameters=parameters, tensors=1, is_big_endian=not OTHER_ORDER
    )


def why(facts: dict[str, Facts]) -> str:
    (bad,) = put_together(facts)
    assert isinstance(bad, BadGguf)
    return bad.why


def test_files_are_models_of_their_own_or_parts_of_one() -> None:
    found = put_together(
        {"b-00002-of-00002.gguf": part(2), "a.gguf": part(1, 0), "b-00001-of-00002.gguf": part(1)}
    )
    assert [(model.stem, len(model.files)) for model in found if isinstance(model, GgufModel)] == [
        ("a", 1),
        ("b", 2),
    ]
    whole = found[1]
    assert isinstance(whole, GgufModel)
    assert (whole.header.parameters, whole.header.tensors, whole.size) == (20, 2, 200)
    assert whole.files[0].name == "b-00001-of-00002.gguf"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"a.gguf": BadFile("No.")}, "No."),
        ({"a-00001-of-00003.gguf": part(1, 3)}, "Part 2 of 3 is missing, and 1 more"),
        ({"a-00002-of-00002.gguf": part(2)}, "Part 1 of 2 is missing:"),
        ({"a-00001-of-00002.gguf": part(1), "a-00002-of-00002.gguf": BadFile("No.")}, "Part 2 of 2: No."),
        ({"a-00001-of-00002.gguf": part(1), "a-00002-of-00002.gguf": part(1)}, "do not belong together"),
        ({"a-00001-of-00002.gguf": part(1, 3), "a-00002-of-00002.gguf": part(2, 3)}, "not belong together"),
        ({"a-00001-of-99999.gguf": part(1)}, "more than any model has"),
        ({"renamed.gguf": part(2, 4)}, "Part 2 of 4 under another name"),
        (
            {"a.gguf": Header(data_end=2_500_000, is_big_endian=not OTHER_ORDER)},
            "100 bytes of 2.5 MB are here",
        ),
        ({"a.gguf": Header(is_big_endian=OTHER_ORDER)}, "another kind of processor"),
    ],
)
def test_what_is_no_whole_model(facts: dict[str, Facts], words: str) -> None:
    assert words in why(facts)


def test_a_part_that_is_there_twice() -> None:
    found = put_together(
        {"a-00001-of-00002.gguf": part(1), "a-00001-of-00002.GGUF": part(1), "a-00002-of-00002.gguf": part(2)}
    )
    assert "more files than its 2 parts" in getattr(found[0], "why", "")
