"""Builds every part of the service and connects them: the only module that knows them all.

Who calls whom at run time, so that each walk can be read in order:

A tick. `Prober` has one timer per backend. When it fires, the prober reads the secret (`SettingsStore`), probes
through the backend's `BackendConnection` (and its kind in `backends/`), and records the result in the `Registry`. The
registry publishes a new snapshot and calls its listeners: `EventPublisher` (events for page and tray), `History`,
`BackendSync` (starts and stops connections and probes), `Relay` (frees requests that wait for a backend that has
failed), `PeerManager` and `CatalogFeed` (tell peers what changed).

A refresh. `POST /mesh/refresh` (`gateway/control/mesh.py`) calls `Refresher`, which has the `Prober` check every
enabled backend and `Discovery` scan for new engines, and reports progress through `EventPublisher`.

A pairing. See `peers/manager.py`.

A request for one of this machine's own models. `backends/this_machine.py` asks `local_models/manager.py` for a route;
the owner of the engines starts one if need be (`local_models/engines`). `Traffic` says which models are busy.

A change of settings. Control handlers write through `FileSettingsStore`, `ConfigWatch` notices edits by hand; both
end in `Service._follow`, which brings backends, peers and discovery to the new configuration.

Parts get their callbacks as constructor arguments. Where two parts need each other, one of them gets a lambda that
looks the other up when it is called.
"""

# ruff: noqa: PLW0108 - the lambdas name parts that are built later

import asyncio
import ctypes
import gc
import logging
import os
import random
import secrets as tokens
import socket
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from meshlight import __version__
from meshlight.backends.detection import Detector
from meshlight.backends.engine_clients import EngineClients
from meshlight.backends.model_disks import ModelDisks
from meshlight.backends.this_machine import this_machine
from meshlight.domain.api_types import Identity, RouterView
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.clock import CallLater, Clock
from meshlight.domain.config import HOST, HOST_V6, Config, LocalSettings
from meshlight.domain.errors import ConfigError
from meshlight.domain.events import PeersEvent, SettingsEvent, SignInRequestEvent
from meshlight.domain.health import PERIOD_S
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.domain.proxy import Proxy, UnusableProxy, choose_proxy
from meshlight.domain.shared_timers import SharedTimers
from meshlight.gateway.access.let_in import LetIn
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.access.sign_in import SignIn
from meshlight.gateway.app import build_app
from meshlight.gateway.control.app_text_source import AppTexts
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.page import Page, web_folder
from meshlight.gateway.control.test_request import ModelTester
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.queue import BEAT_S, ModelQueue, told_slots
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.lan.app import Guests, LanApp
from meshlight.gateway.lan.catalog_events import CatalogFeed
from meshlight.gateway.lan.lane import GuestLanes
from meshlight.gateway.lan.peer_models import PeerModels
from meshlight.gateway.lan.server import LanServer, everywhere
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.ollama_local import OllamaLocal
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.parts import GatewayParts
from meshlight.gateway.server.limits import DEFAULT_LIMITS, PING_S, Limits
from meshlight.gateway.server.server import serve
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.connector import context_for
from meshlight.mesh.app_calls import AppCalls
from meshlight.mesh.backend_admin import BackendAdmin
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.discovery import Discovery
from meshlight.mesh.event_hub import EventHub
from meshlight.mesh.event_publisher import EventPublisher
from meshlight.mesh.findings import Findings, MachineLook
from meshlight.mesh.history import History
from meshlight.mesh.model_loading import ModelLoading
from meshlight.mesh.prober import SLOTS, BackendSync, Prober
from meshlight.mesh.refresh import Refresher
from meshlight.mesh.registry import Registry
from meshlight.mesh.route_memory import RouteMemory
from meshlight.mesh.slow_routes import slow_lines
from meshlight.mesh.traffic import Traffic
from meshlight.peers.manager import PeerManager
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.trust import Trust
from meshlight.service.access_keys import ServiceKeys
from meshlight.service.demo import Demo
from meshlight.service.local_models import SwitchedLocalModels
from meshlight.service.machine import Machine
from meshlight.service.settings_store import FileSettingsStore
from meshlight.service.updates import UpdateCheck
from meshlight.service.welcome import FirstRun
from meshlight.storage.app_keys import AppKeys
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.config.watcher import ConfigWatch
from meshlight.storage.local_key import LocalKey
from meshlight.storage.node_id import read_node_id
from meshlight.storage.node_identity import NodeIdentityStore
from meshlight.storage.open_files import OpenFiles
from meshlight.storage.paths import Paths
from meshlight.storage.peer_certificates import PeerCertificates
from meshlight.storage.secrets.store import Secrets
from meshlight.storage.speed_file import SpeedFile
from meshlight.storage.token_files import TokenFiles
from meshlight.storage.welcome_file import WelcomeFile

if TYPE_CHECKING:
    from meshlight.desktop.system.login import LoginHere
    from meshlight.local_models.manager import LocalModelManager

log = logging.getLogger(__name__)

FIRST_PROBES_S = 0.2
"""For the first answers of backends, all else of the start waits so long at most."""
QUIET_AFTER_S = 2.0
"""How long after the start what it has built is put aside, which blocks all else for some hundredths of a second."""
COLLECT_AFTER = 20_000
"""New objects between two runs of the garbage collector; requests leave no cycles behind, so it finds little."""
PROBE_CONNECTION_IDLE_S = 30.0
"""How long a connection for probes may stay idle: longer than the time between probes, so that most reuse it."""


class Service:
    """The whole service on bound sockets; built and run inside the event loop.

    `file` was read already, `error` says what was wrong with it. The first of `sockets` is bound to 127.0.0.1, the
    others to the same port. `notices` are shown to the user from the start, by topic. `environ` is where secrets may
    be. Engines are searched for on `ports` (the usual ones if None); the event streams ping every `ping_s` seconds,
    and streams that wait for a slot every `beat_s` seconds; `limits` are those of local connections. `login` is how
    Meshlight starts at login, if not as here.
    """

    def __init__(  # noqa: PLR0913 - it joins many parts, most given by name
        self,
        paths: Paths,
        file: ConfigFile,
        error: ConfigError | None,
        key: LocalKey,
        sockets: Sequence[socket.socket],
        *,
        allows_discovery: bool = True,
        insecure_storage: bool = False,
        environ: Mapping[str, str] = OWN_VARIABLES,
        notices: Mapping[str, str] | None = None,
        ports: Mapping[int, Sequence[Kind]] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        ping_s: float = PING_S,
        beat_s: float = BEAT_S,
        login: "Callable[[], LoginHere] | None" = None,
    ) -> None:
        _use_one_arena()
        clock = time.monotonic
        later = asyncio.get_running_loop().call_later
        timers, first_slot = _shared_timers(clock, later)
        self._sockets = list(sockets)
        self._limits = limits
        self._started, self._clock = clock(), clock
        self._port: int = sockets[0].getsockname()[1]
        self.url = f"http://{HOST}:{self._port}"
        self.instance = tokens.token_hex(16)
        self._node_id = read_node_id(paths.state_dir)
        self._own = frozenset({(HOST, self._port), (HOST_V6, self._port)})

        # What outlives the process.
        secrets = Secrets(
            file=paths.secrets_file,
            insecure=insecure_storage,
            chosen_file=file.last_good.key_storage == "file",
            environ=environ,
            on_unlocked=lambda: self._sync.retry_secrets(),
            on_no_keyring=lambda: self._settings.lacks_keyring(),
        )
        self._settings = FileSettingsStore(
            file,
            secrets,
            error,
            on_change=self._follow,
            on_status=lambda: self._hub.restart(),
            on_asking=self._tell_settings,
            allows_discovery=allows_discovery,
            notices={**(notices or {}), "key": " ".join(key.notices)},
        )
        self._trust = Trust(NodeIdentityStore(secrets), PeerCertificates(paths.state_dir))
        self._sessions = Sessions(clock)
        self._let_in = LetIn(self._sessions, clock, later, self._tell_sign_in)
        self._open_files = OpenFiles(paths.state_dir / "open", later)
        self._watch = ConfigWatch(file, timers.regular, self._settings.reload)

        # The mesh: backends, their health, the events about them.
        self._registry = Registry(clock)
        # The first number is later than all of an earlier start, so that no reader of that one is mistaken for one
        # of this.
        self._hub = EventHub(lambda: self._publisher.view(), first=int(time.time() * 1000))
        self._traffic = Traffic(
            lambda: self._publisher.schedule_traffic(),
            {LOCAL_ID: lambda model: self._local.request_ended(model)},
            clock,
        )
        self._route_memory = RouteMemory(
            self._traffic,
            clock,
            SpeedFile(paths.state_dir / "speeds.json"),
            later,
            on_slow=lambda slow: self._registry.record_slow(slow_lines(slow, clock(), time.time())),
        )
        self._app_calls = AppCalls(clock)
        self._publisher = EventPublisher(
            self._registry,
            self._traffic,
            self._hub,
            clock,
            later,
            self._router_view,
            self._settings.notices,
            lambda: (len(self._findings.found), self._findings.suffering),
            queue=lambda model: self._queue.look(model),
            apps=self._app_calls.drain,
        )
        self._findings = Findings(
            self._registry,
            self._traffic,
            clock,
            time.time,
            timers.regular,
            slow=self._route_memory.slow,
            machine=MachineLook(
                clients=EngineClients().look,
                disks=ModelDisks(own_folders=partial(self._own_folders, paths)).look,
            ),
            on_change=self._publisher.relight,
        )
        self._history = History(self._registry, clock)
        self._updates = UpdateCheck(_read_feed, later, self._tell_settings)
        self._local = SwitchedLocalModels(partial(self._build_local, paths, clock, later), self._list_own)
        self._connections = BackendConnections(
            self._settings,
            self._upstream,
            self._probe_upstream,
            probe_soon=lambda backend_id: self._prober.probe_soon(backend_id),
            on_part_fact=self._registry.record_part_fact,
            token_store=TokenFiles(paths.state_dir / "tokens"),
            local=self._local,
        )
        self._prober = Prober(
            self._registry,
            self._connections,
            clock,
            timers.exact,
            lambda i: self._traffic.load.get(i, 0) > 0,
            first_slot=first_slot,
        )
        self._sync = BackendSync(
            self._registry,
            self._connections,
            self._prober,
            self._traffic,
            is_ready=lambda backend: backend.kind != "peer" or not self._trust.is_new(backend.node_id),
        )
        self._backend_admin = BackendAdmin(self._registry, self._connections, self._prober, self._settings)
        self._discovery = Discovery(
            self._registry,
            Detector(self._upstream, ports, clock=clock),
            clock,
            timers.regular,
            lambda: self._settings.config.discovery.ignored,
        )
        self._refresher = Refresher(
            self._registry, self._prober, self._publisher, self._discovery.scan, self._local.refresh
        )
        self._demo = Demo(self._registry, self._prober.check)
        first_run = FirstRun(
            WelcomeFile(
                paths.state_dir / "welcome.json",
                is_known=bool(self._settings.config.backends or self._settings.config.peers),
            ),
            self._demo,
        )
        self._model_loading = ModelLoading(
            self._registry, self._connections, self._prober, self._traffic, self._local
        )

        # What answers requests.
        started = int(time.time())
        self._events = Events(self._hub, ping_s)
        self._catalog = ModelCatalog(self._registry, started)
        self._queue = ModelQueue(told_slots(self._registry), self._traffic, clock, later, beat_s=beat_s)
        relay = Relay(
            self._registry,
            self._connections,
            self._prober,
            self._traffic,
            clock,
            self._node_id,
            is_paused=self._settings.live.is_paused,
            memory=self._route_memory,
            queue=self._queue,
            calls=self._app_calls,
        )
        self._ollama_local = OllamaLocal(self._local)
        inference = Inference(
            relay,
            self._catalog,
            Ollama(self._registry, started, __version__, self._connections, self._ollama_local),
        )
        self._peers = self._build_peers(inference, relay, clock, later, timers, ping_s)
        app_keys = AppKeys(paths.app_keys_file)
        self._app = build_app(
            GatewayParts(
                inference=inference,
                relay=relay,
                events=self._events,
                page=Page(web_folder(), self._sessions, self._open_files.used),
                view=self._publisher.view,
                local_view=self._local.view,
                sessions=self._sessions,
                identity=Identity(version=__version__),
                url=self.url,
                port=self._port,
                is_key=key.matches,
                is_app_key=app_keys.matches,
                prove=partial(key.prove, self.instance),
                settings=self._settings.live.read,
                write_link=self._open_files.write,
                dependencies={
                    "publisher": self._publisher,
                    "history": self._history,
                    "findings": self._findings,
                    "registry": self._registry,
                    "traffic": self._traffic,
                    "route_memory": self._route_memory,
                    "prober": self._prober,
                    "refresher": self._refresher,
                    "backend_admin": self._backend_admin,
                    "model_tester": ModelTester(relay, self._registry, clock),
                    "settings": self._settings,
                    "app_texts": AppTexts(
                        lambda: self._registry.snapshot, self._app_calls, self.url, key.reveal
                    ),
                    "model_loading": self._model_loading,
                    "peers": self._peers,
                    "local_models": self._local,
                    "welcome": first_run,
                    "machine": Machine(self._updates, self._tell_settings, login),
                    "access_keys": ServiceKeys(key, app_keys, self._on_keys, self._hub.end_streams),
                    "sessions": self._sessions,
                    "sign_in": SignIn(self._let_in, self._port, lambda: self._events.has_programs),
                },
            )
        )
        self._followed: Config | None = None
        self._follow(self._settings.config)

    def link(self) -> str:
        """Return a one-time link to the page."""
        return f"{self.url}/?code={self._sessions.code()}"

    def retry_secrets(self) -> None:
        """Probe the backends whose secret could not be read, because the keyring is unlocked now."""
        self._sync.retry_secrets()

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Serve until `stop` is set; `ready` is called once connections are accepted."""
        starting: list[asyncio.Task[None]] = []
        ending: list[asyncio.Task[None]] = []

        def start() -> None:
            self._open_files.start()
            ready()
            self._watch.start()
            self._findings.start()
            starting.append(asyncio.create_task(self._start_rest()))

        async def end() -> None:
            for task in starting:
                task.cancel()
            # The requests of peers end at the same time as those of the local apps, so they add no waiting.
            ending.append(asyncio.create_task(self._peers.close()))
            self._ollama_local.close()
            await self._events.close()

        try:
            await serve(
                self._app,
                self._sockets,
                stop=stop,
                ready=start,
                ending=end,
                limits=self._limits,
            )
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            self._watch.stop()
            self._discovery.stop()
            await self._demo.stop()
            await (ending[0] if ending else self._peers.close())
            await self._findings.close()
            await self._refresher.close()
            await self._prober.close()
            await self._local.close()
            self._connections.close()
            self._route_memory.close()
            self._settings.close()
            self._open_files.close()
            self._let_in.close()
            self._updates.close()

    async def _start_rest(self) -> None:
        """Start what the first answers need not wait for, once the backends have been asked for the first time."""
        try:
            await self._prober.settle(FIRST_PROBES_S)
            if self._settings.config.local.enabled:
                with suppress(ImportError, OSError):  # `start` meets it again, and says so
                    await asyncio.to_thread(_import_local)
            self._peers.start()
            self._local.start()
            await asyncio.sleep(QUIET_AFTER_S)
        except Exception as error:  # noqa: BLE001 - what is up already serves on
            log.error("A part of the service did not start: %s", type(error).__name__)  # noqa: TRY400
        finally:
            _freeze_startup_objects()

    def _upstream(self, address: Address, backend: Backend | None = None) -> Upstream:
        return Upstream(address, own=self._own, tls=self._tls(backend), proxy=_proxy(address, backend))

    def _probe_upstream(self, address: Address, backend: Backend | None = None) -> Upstream:
        return Upstream(
            address,
            own=self._own,
            idle_expiry_s=PROBE_CONNECTION_IDLE_S,
            tls=self._tls(backend),
            proxy=_proxy(address, backend),
        )

    def _tls(self, backend: Backend | None) -> Callable[[], ssl.SSLContext] | None:
        """Return what makes the TLS context for a backend; an error of it is raised when a connection is opened."""
        if backend is not None and backend.kind == "peer":
            return partial(self._trust.client, backend.node_id)
        return partial(context_for, backend.ca_file) if backend is not None and backend.ca_file else None

    def _build_peers(
        self,
        inference: Inference,
        relay: Relay,
        clock: Clock,
        later: CallLater,
        timers: SharedTimers,
        ping_s: float,
    ) -> PeerManager:
        """Build what deals with other Meshlights, and the listener on which paired ones may send requests."""
        guests = Guests(lambda: {peer.id: peer for peer in self._settings.config.peers})
        feed = CatalogFeed(self._registry, lambda peer_id: manager.catalog_hash(peer_id), ping_s)
        app = LanApp(
            guests,
            lambda peer: manager.catalog(peer),
            feed,
            inference,
            lambda peer_id: manager.unpaired(peer_id),
            PeerModels(self._registry, self._model_loading, self._traffic),
        )
        discovered = DiscoveredPeers(
            clock,
            later,
            is_known=lambda peer_id: peer_id in guests.peers,
            wall=time.time,
            on_change=lambda: manager.follow_discovered(),
            regular=timers.regular,
        )

        def on_change() -> None:
            feed.notify()
            self._hub.publish(lambda seq: PeersEvent(seq=seq, peers=manager.view()))

        manager = PeerManager(
            registry=self._registry,
            store=self._settings,
            trust=self._trust,
            discovered=discovered,
            listener=LanServer(
                app,
                feed.close,
                lane_of=GuestLanes(guests, inference, relay, self._settings.live.read).of,
            ),
            running=guests.running,
            probe_soon=self._prober.probe_soon,
            clock=clock,
            wall=time.time,
            later=later,
            bind=everywhere,
            on_change=on_change,
        )
        return manager

    def _build_local(
        self, paths: Paths, clock: Clock, later: CallLater, settings: LocalSettings
    ) -> "LocalModelManager":
        """Build what finds and runs this machine's own models."""
        from meshlight.service.local_parts import build_manager  # noqa: PLC0415 costs nothing where it is off

        return build_manager(
            paths,
            settings,
            clock=clock,
            later=later,
            in_flight=partial(self._traffic.in_flight, LOCAL_ID, ""),
            publish=self._hub.publish,
            is_watched=lambda: self._events.has_pages,
            on_known=self._list_own,
            probe_soon=partial(self._prober.probe_soon, LOCAL_ID),
            upstream_for=self._upstream,
        )

    def _own_folders(self, paths: Paths) -> list[Path]:
        """Return the folders of this machine's own models; called in a thread, while it has any."""
        from meshlight.local_models.catalog.stores import named_folders  # noqa: PLC0415 costs nothing where it is off

        return named_folders(self._settings.config.local, paths.models_dir, Path.home())

    def _list_own(self, is_known: bool) -> None:
        """List this machine as a backend while it has a model of its own."""
        if is_known:
            self._registry.put(this_machine())
        else:
            self._registry.remove(LOCAL_ID)

    def _follow(self, config: Config) -> None:
        """Bring backends, this machine's models, peers and discovery to the configuration."""
        before, self._followed = self._followed, config
        self._history.keep(on=config.keep_history)
        self._updates.switch(on=config.check_updates)
        self._backend_admin.follow(config)
        self._local.follow(config.local)
        self._catalog.invalidate()
        self._peers.follow()
        if self._settings.is_discovery_on:
            self._discovery.start()
        else:
            self._discovery.stop()
        if before is None:
            return
        if before.key_storage != config.key_storage:
            self._sync.retry_secrets()
        if replace(before, backends=(), peers=()) != replace(config, backends=(), peers=()):
            self._tell_settings()

    def _on_keys(self) -> None:
        if self._app.lane is not None:
            self._app.lane.forget_heads()
        self._tell_settings()

    def _tell_settings(self) -> None:
        """Tell every page and the tray that the settings have changed."""
        self._hub.publish(lambda seq: SettingsEvent(seq=seq))

    def _tell_sign_in(self) -> None:
        """Tell the tray which browser asks to be let in, or that none does."""
        pending = self._let_in.pending
        self._hub.publish(lambda seq: SignInRequestEvent(seq=seq, code=pending.code, left_s=pending.left_s))

    def _router_view(self) -> RouterView:
        return RouterView(
            node_id=self._node_id,
            name=self._settings.name,
            version=__version__,
            status="paused" if self._settings.config.paused else "running",
            uptime_s=round(self._clock() - self._started, 1),
            requests=self._traffic.router.requests(),
        )


async def _read_feed(url: str, limit: int) -> bytes:
    from meshlight.local_models.downloads.web import Web  # noqa: PLC0415 costs nothing where it is off

    web = Web()
    try:
        async with web.get(url, what="The release feed") as answer:
            return await answer.read(limit)
    finally:
        await web.close()


def _proxy(address: Address, backend: Backend | None) -> Proxy | UnusableProxy | None:
    """Return the proxy through which an address of a backend is reached; None for a direct connection."""
    if backend is None or address.socket:
        return None
    return choose_proxy(backend.proxy_setting, address.scheme, address.host, os.environ)


def _shared_timers(clock: Clock, later: CallLater) -> tuple[SharedTimers, int]:
    """Return the timers of what is done again and again, and the first slot for probes, which is their phase."""
    # By chance: machines that start together don't ask a server of all of them at the same moment.
    first_slot = random.randrange(SLOTS)  # noqa: S311 - no secret
    return SharedTimers(clock, later, first_slot * PERIOD_S / SLOTS), first_slot


def _use_one_arena() -> None:
    """Let all threads allocate in one place: the interpreter runs one at a time, and each arena keeps up to a MiB."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # glibc's alone (mallopt(3), M_ARENA_MAX)
            ctypes.CDLL(None).mallopt(-8, 1)


def _import_local() -> None:
    """Load the modules for this machine's own models; in a thread, so that answers need not wait."""
    import meshlight.service.local_parts  # noqa: F401, PLC0415 costs nothing where it is off


def _freeze_startup_objects() -> None:
    """Exclude what was built at the start from garbage collection, which would scan it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
    gc.enable()  # see `cli/entry.py`
    if sys.platform == "linux":
        with suppress(AttributeError):  # only glibc keeps what was freed, a megabyte by now, and has this
            ctypes.CDLL(None).malloc_trim(0)
