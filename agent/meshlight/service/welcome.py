"""The first run: what is kept of it, and the demo that it may start."""

import msgspec

from meshlight.domain.cloud_keys import PROVIDERS
from meshlight.domain.welcome import KeyProvider, Progress, Step, WelcomeView
from meshlight.service.demo import Demo
from meshlight.storage.welcome_file import WelcomeFile


class FirstRun:
    """Implements `gateway.control.welcome.Welcome`; see there."""

    def __init__(self, file: WelcomeFile, demo: Demo) -> None:
        self._file = file
        self._demo = demo

    def view(self) -> WelcomeView:
        """Return the first run as page and terminal show it."""
        progress = self._file.progress
        return WelcomeView(
            done=progress.done,
            is_over=progress.is_over,
            login_asked=progress.login_asked,
            has_demo=self._demo.is_running,
            providers=key_providers(),
        )

    def finish(self, step: Step) -> None:
        """Keep that a step was done."""
        self._file.write(self._file.progress.with_done(step))

    def show(self, *, on: bool) -> None:
        """Keep whether it is shown by itself; shown again, it begins at its first step."""
        old = self._file.progress
        done = () if on else old.done
        self._file.write(Progress(done=done, is_over=not on, login_asked=old.login_asked))

    async def start_demo(self) -> None:
        """Start the demo, if it does not run."""
        await self._demo.start()

    async def stop_demo(self) -> None:
        """End the demo, if it runs."""
        await self._demo.stop()


def key_providers() -> tuple[KeyProvider, ...]:
    """Return the clouds whose keys are recognised, as page and terminal show them."""
    return msgspec.convert(PROVIDERS, tuple[KeyProvider, ...], from_attributes=True)
