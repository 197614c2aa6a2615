"""A misspelt name is answered with the one that was meant."""

from meshlight.domain.text import similar_names


def test_a_slip_of_the_finger_is_understood() -> None:
    assert similar_names("llama3.2", ["llama-3.2-3b", "llama3.2:3b", "whisper"])[0].startswith("llama")


def test_nothing_alike_gives_nothing() -> None:
    assert similar_names("zzzz", ["llama"]) == ()


def test_a_part_brings_the_names_that_hold_it() -> None:
    names = ["Quant/SmolLM2-135M-Instruct-GGUF:Q4_1", "qwen3-8b", "smollm-x"]
    assert similar_names("smollm2", names) == ("smollm-x", "Quant/SmolLM2-135M-Instruct-GGUF:Q4_1")
    assert similar_names("gguf", names) == ("Quant/SmolLM2-135M-Instruct-GGUF:Q4_1",)
    assert similar_names("qw", names) == ()
    assert len(similar_names("abc", [f"of-abc-and-a-long-tail-{n}" for n in range(9)])) == 3
