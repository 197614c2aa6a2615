"""The first run: how far the user has come, and what is offered to begin with."""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Step = Literal["question", "apps", "login"]
"""What follows once a model can be reached: a question with an answer, an app that uses it, the start at login."""


class Progress(Struct, frozen=True, kw_only=True):
    """What is kept of the first run, over restarts and for page and terminal alike."""

    done: tuple[Step, ...] = ()
    is_over: bool = False
    """Whether it was finished or skipped: nothing of it is shown by itself any more."""
    login_asked: bool = False
    """Whether the start at login was answered; then it is never asked again, by no version."""

    def with_done(self, step: Step) -> "Progress":
        """Return the progress with one more step done; the last one, the start at login, ends it."""
        done = self.done if step in self.done else (*self.done, step)
        return replace(
            self,
            done=done,
            login_asked=self.login_asked or step == "login",
            is_over=self.is_over or step == "login",
        )


class KeyProvider(Struct, frozen=True, kw_only=True):
    """A cloud as the page offers it: `prefixes` tell its keys, `host` is where one is sent."""

    label: str
    kind: str
    url: str
    host: str
    key_page: str
    prefixes: tuple[str, ...]


class WelcomeView(Struct, frozen=True, kw_only=True):
    """The first run as page and terminal show it."""

    done: tuple[Step, ...]
    is_over: bool
    login_asked: bool
    has_demo: bool
    """Whether the demo runs."""
    providers: tuple[KeyProvider, ...]
