"""What the demo's models seem to be."""

import pytest

from meshlight.simulator.model_traits import ollama_details, traits


@pytest.mark.parametrize(
    ("model", "text", "can"),
    [
        ("llama-3.2-3b", "3.0B", ("completion", "tools")),
        ("gemma3:4b", "4.0B", ("completion", "vision")),
        ("mistral-small-24b", "24.0B", ("completion", "tools")),
        ("mlx-community/Qwen3-4B-4bit", "4.0B", ("completion", "tools")),
        ("nomic-embed-text", "137M", ("embedding",)),
        ("llama3.2:latest", "3.2B", ("completion", "tools")),
    ],
)
def test_a_name_tells_size_and_skills(model: str, text: str, can: tuple[str, ...]) -> None:
    assert traits(model).size_text == text
    assert traits(model).capabilities == can
    assert 0 < traits(model).size < traits(model).parameters


def test_the_family_is_the_first_word_of_the_name() -> None:
    assert ollama_details("gemma3:4b")["family"] == "gemma"
    assert ollama_details("mlx-community/Qwen3-4B")["family"] == "qwen"
    assert ollama_details("3-of-a-kind")["family"] == "llama"
