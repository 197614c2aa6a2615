"""The command `meshlight setup`: the first run in a terminal, with the steps of the page's Welcome.

How far the user has come is kept by the service, so that terminal and page go on where the other one stopped.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

import click
from rich.text import Text

from meshlight.api_client.client import ApiClient
from meshlight.cli.backend_form import add, models_of
from meshlight.cli.chat import Conversation
from meshlight.cli.login import login
from meshlight.cli.model_pull import pull
from meshlight.cli.output.chat import chat_models
from meshlight.cli.output.console import BAD, GOOD, TerminalStyle, new_console
from meshlight.cli.output.status import message_lines
from meshlight.cli.pairing import pair
from meshlight.cli.prompts import ask_text
from meshlight.cli.start import connect_or_start
from meshlight.desktop.system.login import NOTHING_STARTS, login_here
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.cloud_keys import PROVIDERS, Provider, provider_of
from meshlight.domain.errors import BadRequest, MeshlightError
from meshlight.domain.text import sanitize

QUESTION = "Say hello in one short sentence."
NAMED_MAX = 3
"""Backends that are named; more are counted."""
ENDED_HERE = "Ended here; what was done stays. Go on with: meshlight setup"


@click.command(
    epilog="""\b
Example:
  meshlight setup

Ctrl-C ends it at any point; typed again, it goes on there."""
)
@click.pass_context
def setup(ctx: click.Context) -> None:
    """Get to a first answer, step by step.

    Finds or adds a backend (a server or account that answers), asks it something, shows how your apps use it, and
    offers to start Meshlight at login. The page's Welcome has the same steps.
    """
    if not sys.stdin.isatty():
        raise BadRequest(
            "`setup` asks questions, and nobody can be asked here.",
            "Use the commands it uses: meshlight backends add, models pull starter, env, login on.",
        )
    with connect_or_start(asks=False) as client:
        try:
            _Setup(ctx, client).run()
        except (click.Abort, KeyboardInterrupt):
            click.echo(f"\n{ENDED_HERE}")
            ctx.exit(1)


class _Setup:
    """One run through the steps that are left."""

    def __init__(self, ctx: click.Context, client: ApiClient) -> None:
        self._ctx = ctx
        self._client = client
        self._console = new_console()
        self._style = TerminalStyle.of(self._console)

    def run(self) -> None:
        """Take all steps that are left; raises click.Abort when the user ends it."""
        welcome = self._client.welcome()
        if welcome.is_over:
            welcome = self._client.end_welcome(is_over=False)
        if not self._find_source():
            click.echo("Nothing answers yet. Go on with: meshlight setup")
            return
        if "question" not in welcome.done:
            self._ask()
        if "apps" not in welcome.done:
            self._show_apps()
        self._offer_login()
        click.echo("\nDone. See the mesh with: meshlight open")

    def _find_source(self) -> bool:
        """Have a backend with a model; False if the user wants none now."""
        self._title("1. A backend: a server or account that answers")
        while not (ready := _answering(view := self._client.snapshot())):
            if not self._choose_source(view):
                return False
            with new_console(stderr=True).status("Looking for what answers"):
                self._client.refresh_now()  # what has just come is in the mesh after a look
        named = [f"{sanitize(one.name)} ({models_of(one.models)})" for one in ready[:NAMED_MAX]]
        more = len(ready) - NAMED_MAX
        self._say(f"Here: {', '.join(named)}{f' and {more} more' if more > 0 else ''}.")
        if self._client.welcome().has_demo:
            click.echo("That is the demo: its answers are scripted.")
            if click.confirm("End the demo and choose something real?", default=False):
                self._client.run_demo(on=False)
                return self._find_source()
        return True

    def _choose_source(self, view: SnapshotView) -> bool:
        """Offer the ways to get a backend, and go one; False for none."""
        for one in view.backends:
            if one.enabled and one.health.state == "unhealthy":
                self._fail(f"{one.name}: {one.health.text}", one.health.fix)
        click.echo("Nothing answers here yet. What do you have?")
        options: list[tuple[str, Callable[[], None]]] = [
            ("I have a cloud key", self._add_key),
            ("A server elsewhere, by its address", lambda: self._run(add)),
            ("Another machine with Meshlight", lambda: self._run(pair)),
            ("Just show me: a demo, with scripted answers", self._demo),
        ]
        local = self._client.local_models()
        starter = next((one for one in local.starters if one.fits != "never"), None)
        if local.enabled and local.can_start and starter is not None:
            text = f"Get a starter model ({sanitize(starter.label)}, {starter.sizes})"
            options.insert(
                0, (text, lambda: self._run(pull, name=starter.name, no_wait=False, as_json=False))
            )
        chosen = _choose([text for text, _ in options], none="Not now")
        if chosen is None:
            return False
        try:
            options[chosen][1]()
        except MeshlightError as error:
            self._fail(error.title, error.hint)
        return True

    def _add_key(self) -> None:
        """Ask for a key, tell by it whose it is, and add that cloud after a check."""
        pages = ", ".join(f"{one.label}: {one.key_page}" for one in PROVIDERS[:NAMED_MAX])
        click.echo(f"Keys are made on the provider's page. {pages}")
        key = ask_text("Paste the key (it is not shown)", is_secret=True)
        provider = provider_of(key)
        if provider is None:
            click.echo("Its letters don't say whose it is. Whose is it?")
            chosen = _choose([one.label for one in PROVIDERS], none="None of these")
            if chosen is None:
                click.echo("Then add it with its address:")
                self._run(add)
                return
            provider = PROVIDERS[chosen]
        self._check(provider, key)

    def _check(self, provider: Provider, key: str) -> None:
        question = f"{provider.label}. Send the key to {provider.host}, and nowhere else, to check it?"
        if not click.confirm(question, default=True):
            return
        with new_console(stderr=True).status(f"Asking {provider.host} for its models"):
            added = self._client.add(
                {"kind": provider.kind, "url": provider.url, "name": provider.label, "api_key": key}
            )
        self._say(f"Added {sanitize(added.name)}: {models_of(added.models)}.")

    def _demo(self) -> None:
        with new_console(stderr=True).status("Starting the demo"):
            self._client.run_demo(on=True)
        self._say("The demo runs beside your own mesh, until you end it or restart Meshlight.")

    def _ask(self) -> None:
        """Send a question and print the answer, and who gave it."""
        self._title("2. A question")
        models = chat_models(self._client.snapshot())
        if not models:
            click.echo("None of these models takes a question by chat.")
            return
        talk = Conversation(self._client, "", {}, shows_thoughts=False)
        talk.choose(models[0].id, asks=False)
        question: str = click.prompt(f"Ask {sanitize(models[0].id)}", default=QUESTION)
        try:
            talk.ask(question)
        except MeshlightError as error:
            self._fail(error.title, error.hint)
            return
        click.echo("To go on with it: meshlight chat")
        self._client.finish_step("question")

    def _show_apps(self) -> None:
        self._title("3. Use it in your apps")
        click.echo(f"Base URL   {self._client.runtime.url}/v1")
        click.echo("API key    printed by: meshlight key")
        click.echo("For this shell, with all that apps read: meshlight env")
        click.echo("Claude Code, Codex, aider and others: meshlight launch claude, codex, aider, …")
        click.prompt("Enter goes on", default="", show_default=False, prompt_suffix=" ")
        self._client.finish_step("apps")

    def _offer_login(self) -> None:
        """Ask once, ever, whether to start at login."""
        now = login_here().view()
        if not now.can and not now.on:
            self._client.end_welcome(is_over=True)
            return
        self._title("4. At login")
        if now.on or self._client.welcome().login_asked:
            click.echo(now.text if now.on else NOTHING_STARTS)
            click.echo("Change that with: meshlight login on, or off.")
        elif click.confirm("Start Meshlight at login? This is asked only once", default=False):
            self._run(login, state="on", service=False)
        else:
            click.echo("Not now. Later: meshlight login on")
        self._client.finish_step("login")

    def _run(self, command: click.Command, **given: object) -> None:
        """Run another command with these arguments and its own defaults; its exit code does not end the setup."""
        with suppress(click.exceptions.Exit):
            self._ctx.invoke(command, **given)

    def _title(self, text: str) -> None:
        self._console.print("", Text(text, "bold"), sep="\n")

    def _say(self, text: str) -> None:
        self._console.print(*message_lines(GOOD, text, "", self._style), sep="\n")

    def _fail(self, text: str, fix: str) -> None:
        self._console.print(*message_lines(BAD, text, fix, self._style), sep="\n")


def _answering(view: SnapshotView) -> list[BackendView]:
    """Return the backends that answer and have a model."""
    return [one for one in view.backends if one.enabled and one.models and one.health.state == "healthy"]


def _choose(options: Sequence[str], *, none: str) -> int | None:
    """Ask for one of several; returns its index, None for `none`."""
    for number, text in enumerate(options, start=1):
        click.echo(f"{number:>3}  {text}")
    click.echo(f"  0  {none}")
    chosen: int = click.prompt("Which one", type=click.IntRange(0, len(options)), default=1)
    return chosen - 1 if chosen else None
