"""This machine's own models as the service has them: switched on and off by the configuration.

What finds files and runs engines is imported only where it is switched on.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from meshlight.backends.base import ModelRoute, Probe
from meshlight.domain.backend import Reason
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import Conflict, NotFound, RouteUnavailable
from meshlight.domain.health import Refused
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import (
    DownloadView,
    EngineLog,
    LocalModelView,
    LocalView,
    RepositoryView,
    StarterView,
)
from meshlight.http_client.client import Upstream
from meshlight.local_models.interfaces import Downloads, LocalModels

log = logging.getLogger(__name__)

OFF = Reason(
    "local-off",
    "This machine's own models are switched off.",
    "Set `enabled = true` under [local] in the configuration.",
)


class Manager(LocalModels, Protocol):
    """What is switched: `LocalModelManager`, or a test's."""

    def start(self) -> None:
        """Begin; returns at once."""

    def follow(self, settings: LocalSettings) -> None:
        """Use these settings from now on."""

    def request_ended(self, model: str) -> None:
        """Notice that an answer was sent, or its client has left."""

    async def close(self) -> None:
        """End everything."""


class SwitchedLocalModels:
    """Implements `LocalModels` for the whole life of the service.

    `build` makes what does the work, by settings with `enabled`; `on_known` is called with False when it is gone.
    Whoever wants something of it before `start` has it start at once.
    """

    def __init__(
        self, build: Callable[[LocalSettings], Manager], on_known: Callable[[bool], None] = lambda _: None
    ) -> None:
        self._build = build
        self._on_known = on_known
        self._manager: Manager | None = None
        self._settings = LocalSettings(enabled=False)
        self._is_started = False
        self._is_closed = False
        self._changing: asyncio.Task[None] | None = None
        self._off = _NoDownloads()

    def start(self) -> None:
        """Begin: look for models, and load those that are kept; does nothing when that was done."""
        if not self._is_started:
            self._is_started = True
            self.follow(self._settings)

    def follow(self, settings: LocalSettings) -> None:
        """Switch on or off, and use these settings from now on; before `start`, they are only remembered."""
        manager = self._manager
        self._settings = settings
        if self._is_closed or not self._is_started:
            return
        if not settings.enabled:
            if manager is not None:
                self._manager = None
                self._on_known(False)
                self._after(manager.close())
        elif manager is not None:
            manager.follow(settings)
        else:
            try:
                self._manager = manager = self._build(settings)
            except (ImportError, OSError) as error:  # all else of the service works without it
                log.error("This machine's own models can't be used: %s", error)  # noqa: TRY400 - it names the cause
                return
            self._after(self._begin(manager))

    async def close(self) -> None:
        """End all engines and downloads."""
        self._is_closed = True
        manager, self._manager = self._manager, None
        if self._changing is not None:
            await asyncio.gather(self._changing, return_exceptions=True)
        if manager is not None:
            await manager.close()

    @property
    def downloads(self) -> Downloads:
        """What is on its way here."""
        manager = self._current()
        return self._off if manager is None else manager.downloads

    def view(self) -> LocalView:
        """Return everything; `enabled` says whether it is switched on."""
        manager = self._current()
        return LocalView(enabled=False) if manager is None else manager.view()

    async def look(self) -> None:
        """Notice what is new on the disks sooner for a while."""
        if (manager := self._current()) is not None:
            await manager.look()

    def model(self, name: str) -> LocalModelView:
        """Return one model by id or further name; NotFound."""
        manager = self._current()
        if manager is None:
            raise NotFound(OFF.text, OFF.fix)
        return manager.model(name)

    def probe(self) -> Probe:
        """Return the health and models of this machine, from memory."""
        return Probe(fact=Refused(OFF)) if self._manager is None else self._manager.probe()

    async def route(self, model: str, demand: Demand) -> ModelRoute:
        """Return the route to a model's engine; raises RouteUnavailable with the reason."""
        if self._manager is None:
            raise RouteUnavailable(OFF)
        return await self._manager.route(model, demand)

    def route_now(self, model: str, demand: Demand) -> ModelRoute | None:
        """Return the route to a model's engine if it runs."""
        return None if self._manager is None else self._manager.route_now(model, demand)

    async def why_lost(self, model: str, upstream: Upstream) -> Reason | None:
        """Return why the engine behind a route has ended; None if it runs, or nobody knows."""
        return OFF if self._manager is None else await self._manager.why_lost(model, upstream)

    async def load(self, model: str, *, wait: bool = False) -> LocalModelView:
        """Load a model."""
        return await self._on().load(model, wait=wait)

    async def unload(self, model: str, *, force: bool = False) -> LocalModelView:
        """Unload a model."""
        return await self._on().unload(model, force=force)

    def log(self, model: str) -> EngineLog:
        """Return the last lines of a model's engine."""
        return self._on().log(model)

    def request_ended(self, model: str) -> None:
        """Notice that an answer was sent, or its client has left."""
        if self._manager is not None:
            self._manager.request_ended(model)

    async def delete(self, model: str) -> None:
        """Delete a model's files from our own folder."""
        await self._on().delete(model)

    async def refresh(self) -> None:
        """Look at runners and disks again now; does nothing when it is switched off."""
        if (manager := self._current()) is not None:
            await manager.refresh()

    def _current(self) -> Manager | None:
        if not self._is_started:
            self.start()
        return self._manager

    def _on(self) -> Manager:
        manager = self._current()
        if manager is None:
            raise Conflict(OFF.text, OFF.fix)
        return manager

    async def _begin(self, manager: Manager) -> None:
        if self._manager is manager:  # and it was not switched off again meanwhile
            manager.start()

    def _after(self, work: Coroutine[Any, Any, None]) -> None:
        """Do this once the last change is over: two managers never run at once."""
        before = self._changing

        async def change() -> None:
            if before is not None:
                await asyncio.gather(before, return_exceptions=True)
            await work

        self._changing = asyncio.get_running_loop().create_task(change())


class _NoDownloads:
    """Stands for the downloads while this machine's models are switched off."""

    def views(self) -> tuple[DownloadView, ...]:
        return ()

    def starters(self) -> tuple[StarterView, ...]:
        return ()

    async def repository(self, name: str) -> RepositoryView:
        del name
        raise Conflict(OFF.text, OFF.fix)

    async def pull(self, name: str) -> DownloadView:
        del name
        raise Conflict(OFF.text, OFF.fix)

    async def pause(self, download_id: str) -> DownloadView:
        del download_id
        raise Conflict(OFF.text, OFF.fix)

    async def resume(self, download_id: str) -> DownloadView:
        del download_id
        raise Conflict(OFF.text, OFF.fix)

    async def cancel(self, download_id: str) -> None:
        del download_id
        raise Conflict(OFF.text, OFF.fix)

    def start(self) -> None:
        pass

    async def close(self) -> None:
        pass
