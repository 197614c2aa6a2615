"""A misspelt name is answered with the one that was meant."""

from meshlight.domain.text import similar_names


def test_a_slip_of_the_finger_is_understood() -> None:
    assert similar_names("llama3.2", ["llama-3.2-3b", "llama3.2:3b", "whisper"])[0].startswith("llama")


def test_nothing_alike_gives_nothing() -> None:
    assert similar_names("zzzz", ["llama"]) == ()
