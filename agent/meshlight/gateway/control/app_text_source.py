"""Where the texts for client apps come from: made when they are asked for, and their code loaded then."""

from collections.abc import Callable

from meshlight.domain.app_views import AppList
from meshlight.domain.snapshot import Snapshot
from meshlight.mesh.app_calls import AppCalls


class AppTexts:
    """Makes the texts for the service at `url`; `snapshot` returns the mesh now, `key` the local key."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], calls: AppCalls, url: str, key: Callable[[], str]
    ) -> None:
        self._snapshot = snapshot
        self._calls = calls
        self._url = url
        self._key = key

    def view(self, asked: str) -> AppList:
        """Return all apps, and notice their calls from now on; raises what `app_list` raises."""
        from meshlight.gateway.control.app_texts import app_list  # noqa: PLC0415 - seldom asked for

        found = app_list(self._snapshot(), asked, self._url, self._key(), self._calls.ages_s())
        self._calls.watch()
        return found
