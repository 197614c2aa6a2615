"""`meshlight chat`: ask a model from the terminal, once or in a conversation."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress

import click

from meshlight.api_client.client import ApiClient
from meshlight.cli.chat_answer import AnswerPrinter
from meshlight.cli.output.chat import LISTED, chat_models, model_choices, print_dim
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.api_types import ModelView, SnapshotView
from meshlight.domain.errors import BadRequest, MeshlightError, ModelNotFound, NotFound
from meshlight.domain.text import count, sanitize

INPUT_MAX = 8_000_000
"""Bytes that are read of the standard input."""
INTERRUPTED = 130
_HELP = """\
/model [NAME]   ask another model; without a name, choose one
/system [TEXT]  set the system prompt; without a text, have none
/new            forget this conversation
/help           show this
/quit           end (as Ctrl-D does)
Ctrl-C stops an answer; where none is coming, it ends."""

Message = dict[str, str]


@click.command(
    epilog="""\b
Examples:
  meshlight chat
  meshlight chat qwen3:4b
  meshlight chat qwen3:4b "Why is the sky blue?"
  git diff | meshlight chat qwen3:4b "Review this." > review.md

Only answers go to the standard output, all else to the standard error. Other users
of this machine can read the words of a command: private ones come better by a pipe,
or in the conversation. Nothing of it is stored.

Exit code: 0 if the question was answered, 1 if not."""
)
@click.argument("model", required=False)
@click.argument("question", nargs=-1)
@click.option("--system", default="", help="The system prompt.")
@click.option("--temperature", type=click.FloatRange(0, 2), help="How freely the model chooses its words.")
@click.option("--max-tokens", type=click.IntRange(1), help="How long an answer may be.")
@click.option("--reasoning", is_flag=True, help="Show what the model thinks before it answers.")
@start_option
@click.pass_context
def chat(
    ctx: click.Context,
    model: str | None,
    question: tuple[str, ...],
    *,
    system: str,
    temperature: float | None,
    max_tokens: int | None,
    reasoning: bool,
) -> None:
    """Ask a model from the terminal: one QUESTION, or a conversation.

    Without MODEL, you choose one of a list. It is asked wherever it is best, as by your apps; BACKEND/MODEL names the
    place. A part of a name does where one model alone has it. A question also comes from a pipe.
    """
    is_piped = not sys.stdin.isatty()
    given = [" ".join(question).strip(), _read_input() if is_piped else ""]
    text = "\n\n".join(filter(None, given))
    if is_piped and not text:
        raise BadRequest(
            "There is no question: the standard input is empty.",
            'Give one: meshlight chat MODEL "Why is the sky blue?"',
        )
    options = {"temperature": temperature, "max_tokens": max_tokens}
    with connect_or_start(asks=False) as client:
        talk = Conversation(client, system, options, shows_thoughts=reasoning)
        try:
            talk.choose(model, asks=not text)
            if text:
                talk.ask(text)
            else:
                talk.run()
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)


class Conversation:
    """What was said, and with which model it goes on."""

    def __init__(
        self,
        client: ApiClient,
        system: str,
        options: dict[str, float | None],
        *,
        shows_thoughts: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._system = system
        self._options = {name: value for name, value in options.items() if value is not None}
        self._shows_thoughts = shows_thoughts
        self._clock = clock
        self._console = new_console(stderr=True)
        self._view = client.snapshot()
        self._model = ""
        self._messages: list[Message] = []

    def choose(self, model: str | None, *, asks: bool) -> None:
        """Take a model by its name; without one, let the user choose, or take what is best."""
        models = chat_models(self._view)
        if model:
            self._model = self._named(model, models)
            return
        if not models:
            raise NotFound(
                "There is no model to ask yet.",
                "`meshlight setup` gets a first one; `meshlight models pull starter` a small one at once.",
            )
        chosen = _pick(models, self._view) if asks and len(models) > 1 else models[0]
        self._model = chosen.id
        if not asks:
            print_dim(self._console, f"Asking {sanitize(self._model)}.")

    def _named(self, name: str, models: list[ModelView]) -> str:
        """Return the model that a name means: its id, an alias, or a part that one id alone has."""
        if any(name == model.id for model in models):
            return name
        try:
            self._client.route(name)  # an unknown name is refused here, not after the first question
        except ModelNotFound:
            matching = _matching(name, models)
            if len(matching) != 1:
                raise
            print_dim(self._console, f"Asking {sanitize(matching[0].id)}.")
            return matching[0].id
        return name

    def run(self) -> None:
        """Ask what is typed, until the end."""
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415 -- where it is, typed lines can be edited and called back
        print_dim(self._console, f"You ask {sanitize(self._model)}. /help lists what else you can type.")
        while True:
            try:
                line = _type("> ").strip()
            except EOFError:
                click.echo(err=True)
                return
            if line.startswith("/") and not self._command(*line[1:].split(None, 1)):
                return
            if line and not line.startswith("/"):
                self._try(lambda line=line: self.ask(line))  # type: ignore[misc]

    def ask(self, question: str) -> None:
        """Ask one question and print the answer; raises the error of the service or of the answer."""
        turn = {"role": "user", "content": question}
        system = [{"role": "system", "content": self._system}] if self._system else []
        body = {
            "model": self._model,
            "messages": [*system, *self._messages, turn],
            **self._options,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        printer = AnswerPrinter(self._clock, shows_thoughts=self._shows_thoughts)
        try:
            with self._client.chat(body) as answer:
                printer.print(answer.pieces())
        finally:
            if printer.text:
                self._messages += [turn, {"role": "assistant", "content": printer.text}]
        names = {backend.id: backend.name for backend in self._view.backends}
        print_dim(self._console, printer.line(answer, names, self._model))

    def _command(self, name: str = "", rest: str = "") -> bool:
        """Do what a line that begins with a slash says; return whether the conversation goes on."""
        match name.lower():
            case "quit" | "exit" | "bye":
                return False
            case "new" | "clear":
                self._messages = []
                print_dim(self._console, "Forgotten.")
            case "system":
                self._system = rest
                print_dim(self._console, "This is the system prompt now." if rest else "No system prompt.")
            case "model":
                self._try(lambda: self._change_model(rest))
            case _:
                click.echo(_HELP, err=True)
        return True

    def _change_model(self, name: str) -> None:
        self._view = self._client.snapshot()
        self.choose(name or None, asks=True)
        print_dim(self._console, f"You ask {sanitize(self._model)} now.")

    def _try(self, act: Callable[[], None]) -> None:
        """Do something, and say what failed; Ctrl-C ends it alone."""
        try:
            act()
        except KeyboardInterrupt:
            print_dim(self._console, "Stopped. Ctrl-C again ends.")
        except MeshlightError as error:
            click.echo(f"Error: {sanitize(error.title)}", err=True)
            if error.hint:
                click.echo(sanitize(error.hint), err=True)


def _pick(models: list[ModelView], view: SnapshotView) -> ModelView:
    """Let the user choose a model by its number, or by a part of its name that narrows the list."""
    console = new_console(stderr=True)
    found = models
    while True:
        console.print(*model_choices(found, view, TerminalStyle.of(console)), sep="\n")
        if len(found) > LISTED:
            print_dim(console, f"and {count(len(found) - LISTED, 'more model')}")
        try:
            typed = _type("Number, or part of a name [1]: ").strip().casefold() or "1"
        except EOFError:
            raise BadRequest("No model was chosen.", "Name one: meshlight chat MODEL") from None
        if typed.isascii() and typed.isdigit() and 0 < int(typed[:9]) <= min(LISTED, len(found)):
            return found[int(typed[:9]) - 1]
        matching = _matching(typed, models)
        if len(matching) == 1:
            return matching[0]
        if not matching:
            print_dim(console, "No model is called that.")
        found = matching or models


def _matching(typed: str, models: list[ModelView]) -> list[ModelView]:
    """Return the models whose ids have all these words in them."""
    words = typed.casefold().split()
    return [model for model in models if all(word in model.id.casefold() for word in words)]


def _type(prompt: str) -> str:
    """Return a line that the user types."""
    if sys.stdout.isatty():
        return input(prompt)  # knows the prompt, so that an edited line is drawn right
    click.echo(prompt, nl=False, err=True)
    return input()


def _read_input() -> str:
    data = sys.stdin.buffer.read(INPUT_MAX + 1)
    if len(data) > INPUT_MAX:
        raise BadRequest(
            f"The standard input is over {INPUT_MAX // 1_000_000} MB.", "Send less, or split the question."
        )
    return data.decode("utf-8", "replace").strip()
