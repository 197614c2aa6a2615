"""An answer in the terminal: printed as it comes, and what there is to say of it."""

import sys
from collections.abc import Callable, Iterable, Mapping

import click

from meshlight.api_client.chat import ChatAnswer, Piece
from meshlight.domain.text import StreamSanitizer, count, milliseconds, sanitize

_SHORT_S = 0.02
"""What came at once says nothing of the pace."""


class AnswerPrinter:
    """Prints an answer as it comes, made safe for a terminal; thoughts go to stderr, if they are wanted at all."""

    def __init__(self, clock: Callable[[], float], *, shows_thoughts: bool) -> None:
        self._clock = clock
        self._started_s = clock()
        self._first_s: float | None = None
        self._last_s = 0.0
        self._count = 0
        self._shows_thoughts = shows_thoughts
        self._is_thought = False
        self.text = ""
        """The answer until now, as the model gave it."""

    def print(self, pieces: Iterable[Piece]) -> None:
        """Print all pieces; what was printed ends with its line, also when this is interrupted."""
        clean = {True: StreamSanitizer(), False: StreamSanitizer()}
        last = "\n"
        try:
            for piece in pieces:
                self._last_s = self._clock()
                self._first_s = self._last_s if self._first_s is None else self._first_s
                self._count += 1
                if not piece.is_thought:
                    self.text += piece.text
                elif not self._shows_thoughts:
                    continue
                shown = clean[piece.is_thought].feed(piece.text)
                if self._is_thought and not piece.is_thought:
                    click.echo("\n", err=True)
                self._is_thought = piece.is_thought
                click.echo(
                    click.style(shown, dim=True) if piece.is_thought else shown,
                    nl=False,
                    err=piece.is_thought,
                )
                last = shown or last
        finally:
            if not last.endswith("\n"):
                click.echo(err=self._is_thought)
            sys.stdout.flush()

    def line(self, answer: ChatAnswer, names: Mapping[str, str], asked: str) -> str:
        """Return what there is to say of the answer of the `asked` model: by whom, and how fast."""
        backend = sanitize(names.get(answer.backend, answer.backend), 60)
        tokens = answer.tokens or self._count
        about = "" if answer.tokens else "about "
        is_other = bool(answer.model) and not f"/{asked}".endswith(f"/{answer.model}")
        said = [
            f"{backend} answered" if backend else "answered",
            # Asked for as BACKEND/MODEL, it is no other one.
            f"with {sanitize(answer.model, 100)}" if is_other else "",
            sanitize(answer.fallback, 200),
            f"after {answer.attempts} attempts" if answer.attempts > 1 else "",
            sanitize(answer.why, 200),
        ]
        if self._first_s is not None:
            said.append(f"first token after {milliseconds(1000 * (self._first_s - self._started_s))}")
            spread_s = self._last_s - self._first_s
            said.append(about + count(tokens, "token"))
            if tokens > 1 and spread_s > _SHORT_S:
                said.append(f"{about}{(tokens - 1) / spread_s:.0f} tokens/s")
            if about:
                said.append("estimated")
        if answer.finish == "length":
            said.append("cut off at the most tokens allowed")
        return " · ".join(filter(None, said))
