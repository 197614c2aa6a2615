"""What of this machine belongs to the settings, behind the port that `/mesh/settings` needs."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshlight.domain.settings_views import AboutView, LoginView, UpdateView
from meshlight.service.updates import UpdateCheck

if TYPE_CHECKING:
    from meshlight.desktop.system.login import LoginHere


class Machine:
    """Implements `MachineSettings`; see there. `on_change` is called when start at login was switched."""

    def __init__(
        self,
        updates: UpdateCheck,
        on_change: Callable[[], None],
        login: "Callable[[], LoginHere] | None" = None,
    ) -> None:
        self._updates = updates
        self._on_change = on_change
        self._login = login or _login_here
        self._about: AboutView | None = None

    @property
    def update(self) -> UpdateView | None:
        """The newer version that the release feed has."""
        return self._updates.update

    @property
    def can_check_updates(self) -> bool:
        """Whether this build names a release feed."""
        return bool(self._updates.feed)

    async def login(self) -> LoginView:
        """Return whether Meshlight starts at login."""
        return await asyncio.to_thread(lambda: self._login().view())

    async def set_login(self, *, on: bool) -> LoginView:
        """Start at login, or no longer."""

        def switch() -> LoginView:
            here = self._login()
            here.switch(on=on)
            return here.view()

        view = await asyncio.to_thread(switch)
        self._on_change()
        return view

    async def about(self) -> AboutView:
        """Return this version, and what it is built on."""
        if self._about is None:
            from meshlight.service.about import about  # noqa: PLC0415 - rarely needed

            self._about = await asyncio.to_thread(about)
        return self._about


def _login_here() -> "LoginHere":
    from meshlight.desktop.system.login import login_here  # noqa: PLC0415 - rarely needed

    return login_here()
