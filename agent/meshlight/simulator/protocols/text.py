"""The words an engine says. They name the engine, say that it is a demo, and come token by token.

Two words in a prompt change them: LOOP asks for "tick tock" without end (a context's worth), COUNT for
numbers in a row, by which a lost or doubled piece shows.
"""

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

from msgspec import Struct

CONTEXT = 65_536
"""Where even a LOOP ends, as a real engine's context does."""

COUNT_TO = 48
"""How many numbers COUNT gives where nobody says how many."""

TEXT = (
    "This is a demo, no model is running here: {name} plays {label} and answers as {model}."
    " Its words are scripted, its pace is that of a small model on a desk, and every byte of héllo,"
    " 한국어 and 🚀 should arrive as it was sent. Ask for COUNT to see numbers, or for LOOP to see"
    " tick tock for as long as you listen."
)


class Script(Struct, frozen=True, kw_only=True):
    """The tokens of one answer; iterating it gives each in turn."""

    words: tuple[str, ...]
    """Said over and over until `total` is reached; empty for numbers in a row."""
    total: int
    is_cut: bool
    """Whether a limit ends it rather than the speaker."""
    prompt_tokens: int

    def __iter__(self) -> Iterator[str]:
        """Give one token after the other."""
        if not self.words:
            return (f" {number}" if number else "0" for number in range(self.total))
        return islice(cycle(self.words), self.total)

    @property
    def finish(self) -> str:
        """OpenAI's word for how it ended."""
        return "length" if self.is_cut else "stop"


def script(who: tuple[str, str, str], prompt: str, limit: int | None, length: int | None) -> Script:
    """Write the answer of `who` (name, label, model): of `length` tokens, or fewer where `limit` says so.

    A `length` of None says the text once.
    """
    words = _split(TEXT.format(name=who[0], label=who[1], model=who[2]))
    wanted = len(words) if length is None else length
    if "LOOP" in prompt:
        words, wanted = (" tick", " tock"), CONTEXT
    elif "COUNT" in prompt:
        words, wanted = (), COUNT_TO if length is None else length
    total = wanted if limit is None else min(wanted, limit)
    is_cut = total < wanted or total == CONTEXT
    return Script(words=words, total=total, is_cut=is_cut, prompt_tokens=count_tokens(prompt))


def count_tokens(text: str) -> int:
    """Count tokens as a rough tokenizer does: one a word, and four that a chat template adds."""
    return len(text.split()) + 4


def prompt_of(content: Any) -> str:
    """Return the text of a message, a prompt or an input, whatever of the allowed shapes it has."""
    match content:
        case str():
            return content
        case list():
            return " ".join(filter(None, map(prompt_of, content)))
        case {"text": text} | {"content": text}:
            return prompt_of(text)
        case _:
            return ""


def _split(text: str) -> tuple[str, ...]:
    first, *rest = text.split(" ")
    return (first, *(f" {word}" for word in rest))
