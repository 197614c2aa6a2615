"""The life of the service's process: one at a time, port first, runtime file, until a signal or the parent's end."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from meshlight import __version__
from meshlight.domain.config import Runtime
from meshlight.domain.errors import MeshlightError
from meshlight.gateway.server.listener import bind_loopbacks, raise_file_limit
from meshlight.service.watchdog import Watchdog, end_with
from meshlight.storage.instance import AlreadyRunning, RuntimeFile, start_alone
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

if TYPE_CHECKING:
    from meshlight.service.wiring import Service

log = logging.getLogger("meshlight")

FAILED = 1
ALREADY_RUNNING = 3


class ServeOptions(Struct, frozen=True, kw_only=True):
    """What the command line says; None leaves the word to the configuration."""

    port: int | None = None
    config: Path | None = None
    insecure_storage: bool = False
    discovery: bool = True
    quiet: bool = False
    log_level: str = "info"


def serve(options: ServeOptions) -> int:
    """Run the service in this process until it is told to stop; return the exit code."""
    places = Paths.here()
    if options.config is not None:
        places = places.with_config_file(options.config)
    try:
        places.prepare()
        lock = start_alone(places.lock_file)
        if isinstance(lock, AlreadyRunning):
            running = RuntimeFile(places.runtime_file).read()
            where = f" at {running.url} (pid {running.pid})" if running else ""
            _say(f"Meshlight is running already{where}. `meshlight status` shows it.")
            return ALREADY_RUNNING
        with lock:
            _start_log(options.log_level, places.log_file)
            return _serve_alone(options, places)
    except MeshlightError as error:
        _say(f"{error.title} {error.hint}".strip())
    except OSError as error:
        _say(f"{error}. Make the folder writable for you, or set MESHLIGHT_HOME to one that is.")
    return FAILED


def _serve_alone(options: ServeOptions, places: Paths) -> int:
    from meshlight.backends.kinds import ring_for  # noqa: PLC0415 not before the lock is ours
    from meshlight.storage.config.file import ConfigFile  # noqa: PLC0415 the same

    file = ConfigFile(places.config_file, ring_for)
    config, fault = file.load_or_last_good()
    if fault is not None:
        _say(f"{file.path}: {fault.title} {fault.hint}".strip())
    loopbacks = bind_loopbacks(config.port if options.port is None else options.port)
    if loopbacks.problem:
        log.warning("%s", loopbacks.problem)
    raise_file_limit()
    key = LocalKey.open(places.key_file)
    from meshlight.peers.trust import Trust  # noqa: PLC0415 the same
    from meshlight.service.settings_store import SettingsStore  # noqa: PLC0415 the port is bound: the heavy part may come now
    from meshlight.service.wiring import Service  # noqa: PLC0415 the same
    from meshlight.storage.node_identity import NodeIdentityStore  # noqa: PLC0415 the same
    from meshlight.storage.peer_certificates import PeerCertificates  # noqa: PLC0415 the same
    from meshlight.storage.secrets.store import Secrets  # noqa: PLC0415 the same

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:

        async def live() -> None:
            def retry_secrets() -> None:
                service.retry_secrets()  # made below: the service needs the secrets first

            secrets = Secrets(
                file=places.secrets_file, insecure=options.insecure_storage, on_unlocked=retry_secrets
            )
            keeper = SettingsStore(file, secrets, config, fault, allows_discovery=options.discovery)
            trust = Trust(NodeIdentityStore(secrets), PeerCertificates(places.state_dir))
            keeper.notice("ipv6", loopbacks.problem)
            service = Service(
                keeper,
                file,
                key,
                loopbacks.sockets[0],
                trust,
                also=loopbacks.sockets[1:],
                state_dir=places.state_dir,
            )
            await _live(service, options, places)

        runner.run(live())
    return 0


async def _live(service: "Service", options: ServeOptions, places: Paths) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_fault)
    _stop_on_signals(loop, stop)
    _stop_with_parent(loop, stop, places.log_file)
    watchdog = Watchdog(loop, places.log_file)
    watchdog.start()
    runtime_file = RuntimeFile(places.runtime_file)
    runtime = Runtime(
        url=service.url,
        pid=os.getpid(),
        instance=service.instance,
        key_file=str(places.key_file),
        version=__version__,
    )

    def ready() -> None:
        runtime_file.write(runtime)
        if not options.quiet:
            _say(f"Meshlight {__version__} listens at {service.url}/v1")
            _say(f"Open the mesh (works once, within a minute): {service.link()}")
            _say("Ctrl-C stops it. `meshlight status` in another terminal shows the mesh.")

    try:
        await service.run(stop, ready)
    finally:
        watchdog.stop()
        runtime_file.remove(service.instance)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _start_log(level: str, file: Path) -> None:
    """Log to stderr and to a file of at most two megabytes; never a prompt, an answer or a key."""
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415 not for those who only ask for help

    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    to_file = RotatingFileHandler(file, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    to_screen = logging.StreamHandler()
    to_screen.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for handler in (to_file, to_screen):
        handler.setFormatter(form)
    # Only our own words: a library at its most talkative may log headers, and with them keys.
    root = logging.getLogger("meshlight")
    root.setLevel(level.upper())
    root.handlers = [to_file, to_screen]
    root.propagate = False


def _on_fault(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log what nobody caught by its kind only: its text may quote a prompt."""
    del loop
    fault = context.get("exception")
    log.error("Unhandled in the event loop: %s (%s)", context.get("message"), type(fault).__name__)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 there is none for Windows
    except ImportError:
        return None
    return uvloop.new_event_loop


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))


def _stop_with_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, log_file: Path) -> None:
    """End when the parent does, if it says by MESHLIGHT_PARENT that it holds our stdin open for that.

    The loop is asked to stop; if it hangs, the thread that watches the parent ends the process.
    """
    if os.environ.get("MESHLIGHT_PARENT") != "stdin":
        return

    def watch(stdin: int) -> None:
        # Not by sys.stdin: a thread that waits in it when the interpreter ends brings that down with an abort.
        with suppress(OSError):
            while os.read(stdin, 4096):
                pass
        end_with(loop, stop.set, log_file)

    threading.Thread(target=watch, args=(sys.stdin.fileno(),), name="parent", daemon=True).start()
