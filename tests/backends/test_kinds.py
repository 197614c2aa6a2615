import pytest

from meshlight.backends.detect import usual_ports
from meshlight.backends.kind import FACES, GEMINI_FACES, OLLAMA_FACES
from meshlight.backends.kinds import KINDS, kind_of
from meshlight.domain.errors import BadRequest


def test_each_kind_is_found_by_its_word() -> None:
    for word, kind in KINDS.items():
        assert kind_of(word) is kind
        assert kind.kind == word


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(BadRequest) as refused:
        kind_of("gpt")
    assert "ollama" in refused.value.hint
    assert refused.value.param == "kind"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_each_kind_has_words_for_people_and_speaks_chat(kind) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert kind.label
    assert kind.start.startswith(("Start", "Check"))
    assert kind.patience_s >= 0
    assert kind.default_ring is None or kind.group != "engine"
    assert kind.speaks("chat/completions")
    assert kind.speaks("completions") or kind.group == "cloud"
    assert set(kind.faces) <= {*FACES, *OLLAMA_FACES, *GEMINI_FACES}


def test_what_recognises_anything_comes_last() -> None:
    assert list(KINDS)[-1] == "openai-compatible"


def test_the_usual_ports_are_those_the_engines_name_as_their_defaults() -> None:
    assert usual_ports() == {
        8080: ("llamacpp", "mlx"),
        11434: ("ollama",),
        8000: ("vllm", "mlx"),
        1234: ("lmstudio",),
    }
