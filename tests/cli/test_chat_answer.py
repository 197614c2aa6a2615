"""An answer as it is printed, on a clock of the test's own."""

from collections.abc import Iterable, Iterator

import httpx
import pytest

from meshlight.api_client.chat import ChatAnswer, Piece
from meshlight.cli.chat_answer import AnswerPrinter


class Clock:
    """Seconds that pass only between pieces."""

    def __init__(self) -> None:
        self.now_s = 10.0

    def __call__(self) -> float:
        return self.now_s

    def spread(self, pieces: Iterable[Piece], step_s: float) -> Iterator[Piece]:
        for piece in pieces:
            self.now_s += step_s
            yield piece


def answer(**headers: str) -> ChatAnswer:
    told = {f"x-meshlight-{name}": text for name, text in headers.items()}
    return ChatAnswer(httpx.Response(200, headers=told))


def printed(clock: Clock, *texts: str, step_s: float = 0.5) -> AnswerPrinter:
    printer = AnswerPrinter(clock, shows_thoughts=False)
    printer.print(clock.spread(map(Piece, texts), step_s))
    return printer


def test_the_line_says_who_answered_how_soon_and_how_fast(capsys: pytest.CaptureFixture[str]) -> None:
    printer = printed(Clock(), "a", "b", "c")
    assert capsys.readouterr().out == "abc\n"
    one = answer(backend="a", attempts="2", model="big", fallback="qwen3 is down", why="a slot is free there")
    one.tokens, one.finish = 41, "length"
    assert printer.line(one, {"a": "Ann"}, "small") == (
        "Ann answered · with big · qwen3 is down · after 2 attempts · a slot is free there · "
        "first token after 500 ms · 41 tokens · 40 tokens/s · cut off at the most tokens allowed"
    )


def test_tokens_that_nobody_counted_are_estimated_and_what_came_at_once_has_no_pace() -> None:
    assert (
        printed(Clock(), "a", "b")
        .line(answer(model="m"), {}, "a/m")
        .endswith("about 2 tokens · about 2 tokens/s · estimated")
    )
    at_once = printed(Clock(), "a", "b", step_s=0.001)
    assert (
        at_once.line(answer(backend="x"), {}, "m")
        == "x answered · first token after 1.0 ms · about 2 tokens · estimated"
    )


def test_what_was_printed_ends_its_line_even_when_it_is_interrupted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def pieces() -> Iterator[Piece]:
        yield Piece("Once")
        raise KeyboardInterrupt

    printer = AnswerPrinter(Clock(), shows_thoughts=False)
    with pytest.raises(KeyboardInterrupt):
        printer.print(pieces())
    assert capsys.readouterr().out == "Once\n"
    assert printer.text == "Once"
