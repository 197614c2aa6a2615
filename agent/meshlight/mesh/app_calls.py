"""Notices which client apps send requests, while somebody waits for the first one of an app.

At other times a request costs no more than the look at `is_watching`. Only the names in our own table are kept.
"""

from collections.abc import Mapping

from meshlight.domain.clock import Clock

WATCH_S = 1_800.0
"""How long after it was asked for the last time."""


class AppCalls:
    """When each app's last request came; `is_watching` says whether anybody wants to know."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until = 0.0
        self._called: dict[str, float] = {}
        self._fresh: dict[str, None] = {}
        self.is_watching = False

    def watch(self) -> None:
        """Notice requests for a while from now on."""
        self._until = self._clock() + WATCH_S
        self.is_watching = True

    def notice(self, user_agent: bytes) -> None:
        """Note a request of the app that calls itself so, if it is in the table."""
        now = self._clock()
        if now > self._until:
            self.is_watching = False
            return
        from meshlight.domain.client_apps import apps_of  # noqa: PLC0415 - seldom watched

        for app in apps_of(user_agent):
            self._called[app] = now
            self._fresh[app] = None

    def ages_s(self) -> Mapping[str, float]:
        """Return how long ago the last noticed request of each app was."""
        now = self._clock()
        return {app: round(now - at, 1) for app, at in self._called.items()}

    def drain(self) -> tuple[str, ...]:
        """Return the apps of which requests were noticed since the last call."""
        fresh, self._fresh = self._fresh, {}
        return tuple(fresh)
