import pytest

from meshlight.backends.detection import usual_ports
from meshlight.backends.kinds import KINDS, kind_of, ring_for
from meshlight.domain.backend import KINDS as WORDS
from meshlight.domain.backend import Kind, Ring
from meshlight.domain.errors import BadAddress, BadRequest
from meshlight.domain.operations import GEMINI_OPERATIONS, OLLAMA_OPERATIONS, OPERATIONS


def test_each_kind_is_found_by_its_word() -> None:
    for word, kind in KINDS.items():
        assert kind_of(word) is kind
        assert kind.kind == word


def test_every_kind_that_a_configuration_may_name_is_spoken() -> None:
    assert set(KINDS) == set(WORDS)


@pytest.mark.parametrize(
    ("kind", "url", "ring"),
    [
        ("openai", "https://api.openai.com", "cloud"),
        ("anthropic", "http://127.0.0.1:9", "cloud"),
        ("gemini", "http://10.0.0.7", "cloud"),
        ("continuum", "https://llm.example.com", "company"),
        ("continuum", "http://127.0.0.1:9998", "machine"),
        ("continuum", "http://10.0.0.7", "lan"),
        ("cluster", "https://cluster.example.com", "company"),
        ("cluster", "http://127.0.0.1:8081", "company"),
        ("peer", "https://192.168.1.7:6376", "lan"),
        ("vllm", "http://127.0.0.1:8000", "machine"),
        ("vllm", "https://llm.example.com", "cloud"),
    ],
)
def test_how_far_a_prompt_travels_follows_from_kind_and_place(kind: Kind, url: str, ring: Ring) -> None:
    assert ring_for(kind, url) == ring


def test_a_url_that_can_be_no_backends_has_no_ring() -> None:
    with pytest.raises(BadAddress):
        ring_for("openai", "http://300.1.1.1")


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(BadRequest) as refused:
        kind_of("gpt")
    assert "ollama" in refused.value.hint
    assert refused.value.param == "kind"


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_each_kind_has_words_for_people_and_speaks_chat(kind) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert kind.label
    assert kind.start.startswith(("Start", "Check"))
    assert kind.busy_grace_s >= 0
    assert kind.default_ring is None or kind.group != "engine"
    assert kind.speaks("chat/completions")
    assert kind.speaks("completions") or kind.group == "cloud"
    assert set(kind.operations) <= {*OPERATIONS, *OLLAMA_OPERATIONS, *GEMINI_OPERATIONS}


def test_what_recognises_anything_comes_last() -> None:
    assert list(KINDS)[-1] == "openai-compatible"


def test_the_usual_ports_are_those_the_engines_name_as_their_defaults() -> None:
    assert usual_ports() == {
        8080: ("llamacpp", "mlx"),
        9931: ("llamacpp",),
        11434: ("ollama",),
        8000: ("vllm", "mlx"),
        1234: ("lmstudio",),
        **dict.fromkeys((1337, 4891, 5000, 5001, 13305, 30000), ()),
    }
