"""What an engine says."""

from meshlight.simulator.protocols.text import CONTEXT, COUNT_TO, prompt_of, write_script

WHO = ("Rosa", "vLLM", "qwen3-8b")


def test_the_text_names_the_engine_and_says_that_it_is_a_demo() -> None:
    text = "".join(write_script(WHO, "hello", None, None))
    assert all(word in text for word in ("demo", "Rosa", "vLLM", "qwen3-8b", "한국어", "🚀"))


def test_counting_ends_somewhere_even_if_nobody_says_where() -> None:
    assert list(write_script(WHO, "COUNT", None, None))[-1] == f" {COUNT_TO - 1}"


def test_a_long_answer_goes_on_with_the_same_words() -> None:
    assert len(list(write_script(WHO, "hello", None, 500))) == 500


def test_numbers_are_never_lost_or_doubled() -> None:
    assert "".join(write_script(WHO, "COUNT", None, 4)) == "0 1 2 3"


def test_even_a_loop_ends_with_the_context() -> None:
    text = write_script(WHO, "LOOP", None, 48)
    assert (text.total, text.finish) == (CONTEXT, "length")
    assert "".join(write_script(WHO, "LOOP", 3, 48)) == " tick tock tick"


def test_a_prompt_is_read_in_every_shape() -> None:
    assert prompt_of("x") == "x"
    assert (
        prompt_of({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, "b"]})
        == "a b"
    )
    assert prompt_of(None) == ""
