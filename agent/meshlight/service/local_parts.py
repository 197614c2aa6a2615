"""Builds what finds and runs this machine's own models; imported only where they are switched on.

The parts call each other by callbacks: the catalog tells the manager, which tells the owner of the engines; the owner
tells the manager; a download that is done has the catalog look again.
"""

# ruff: noqa: PLW0108 - the lambdas name parts that are built later

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from meshlight.backends.this_machine import this_machine
from meshlight.domain.backend import Backend
from meshlight.domain.clock import CallLater, Clock
from meshlight.domain.config import LocalSettings
from meshlight.domain.events import LocalEvent
from meshlight.domain.local_views import Fit
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.local_models.catalog.catalog import Catalog
from meshlight.local_models.catalog.stores import own_folder, places
from meshlight.local_models.downloads.lazy import LazyDownloads
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.engines.memory import SystemMemory
from meshlight.local_models.engines.owner import EngineDeps, EngineOwner
from meshlight.local_models.engines.starter import Starter
from meshlight.local_models.interfaces import Downloads
from meshlight.local_models.manager import LocalModelManager
from meshlight.local_models.runners.xllamacpp_wheels import wheel_here
from meshlight.storage.paths import Paths
from meshlight.storage.state_file import BackgroundStateFile, StateFile


def build_manager(  # noqa: PLR0913 - it joins many parts, most given by name
    paths: Paths,
    settings: LocalSettings,
    *,
    clock: Clock,
    later: CallLater,
    in_flight: Callable[[str], int],
    publish: Callable[[Callable[[int], LocalEvent]], None],
    is_watched: Callable[[], bool],
    on_known: Callable[[bool], None],
    probe_soon: Callable[[], None],
    upstream_for: Callable[[Address, Backend], Upstream],
) -> LocalModelManager:
    """Return the manager, with everything behind it; nothing runs yet.

    `in_flight` returns how many requests run under a name of a model; for the others see `LocalModelManager`.
    """
    home = Path.home()
    state = paths.state_dir

    def folder() -> Path:
        return own_folder(manager.settings, paths.models_dir, home)

    noted, queued = StateFile(state / "engines.json"), StateFile(state / "downloads.json")
    starter = Starter(
        settings,
        Leftovers(noted.read, noted.write_quickly),
        os.environ,
        asyncio.get_running_loop(),
        engines_dir=paths.engines_dir,
    )
    catalog = Catalog(
        settings,
        partial(places, own=paths.models_dir, environ=os.environ, home=home, platform=sys.platform),
        StateFile(state / "models.json"),
        clock,
        later,
        lambda: manager.catalog_changed(),
    )
    engines = EngineOwner(
        EngineDeps(
            catalog=catalog,
            starter=starter,
            memory=SystemMemory(),
            records=BackgroundStateFile(StateFile(state / "loads.json"), "What is known of loading models"),
            clock=clock,
            later=later,
            in_flight=lambda model: sum(map(in_flight, manager.names_of(model))),
            upstream_for=lambda address: upstream_for(address, this_machine()),
            on_change=lambda: manager.engines_changed(),
        ),
        settings,
    )
    downloads = LazyDownloads(
        lambda: _downloads(
            folder,
            queued,
            clock,
            engines_dir=paths.engines_dir,
            starter=starter,
            fits=engines.fit,
            is_here=lambda model: model in catalog.models and not catalog.models[model].is_missing,
            on_change=lambda: manager.downloads_changed(),
            on_done=lambda _: manager.download_done(),
        ),
        lambda: _holds_any(queued),
    )
    manager = LocalModelManager(
        catalog=catalog,
        engines=engines,
        starter=starter,
        downloads=downloads,
        own_folder=folder,
        settings=settings,
        clock=clock,
        later=later,
        publish=publish,
        is_watched=is_watched,
        on_known=on_known,
        probe_soon=probe_soon,
    )
    return manager


def _downloads(  # noqa: PLR0913 - the same
    folder: Callable[[], Path],
    state: StateFile,
    clock: Clock,
    *,
    engines_dir: Path,
    starter: Starter,
    fits: Callable[[int], tuple[Fit, int]],
    is_here: Callable[[str], bool],
    on_change: Callable[[], None],
    on_done: Callable[[str], None],
) -> Downloads:
    from meshlight.local_models.downloads.hub import Hub, HubSettings  # noqa: PLC0415 - see `LazyDownloads`
    from meshlight.local_models.downloads.queue import DownloadQueue, EnginePort, Ports  # noqa: PLC0415 - the same

    async def look() -> None:
        if not starter.runners:
            await starter.find()

    ports = Ports(
        folder=folder,
        state=state,
        fits=fits,
        is_here=is_here,
        on_change=on_change,
        on_done=on_done,
        engine=EnginePort(
            bytes=lambda: starter.engine_bytes, look=look, wheel=wheel_here, folder=engines_dir
        ),
    )
    return DownloadQueue(ports, Hub(HubSettings.here(os.environ, Path.home())), clock=clock)


def _holds_any(state: StateFile) -> bool:
    """Whether a file holds more than an empty list."""
    try:
        return len(state.read()) > len(b"[]")
    except OSError:
        return True  # whoever wants to use it tells why it can't be read
