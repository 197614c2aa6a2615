"""The service's process, from start to exit.

Only one runs at a time (a lock). It binds the port first, then builds the service, writes the runtime file by which
clients find it, and serves until a signal comes or the parent process ends.
"""

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
from meshlight.domain.text import write_error
from meshlight.gateway.server.limits import limits_for
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
    """The options of the command line; None means that the configuration decides."""

    port: int | None = None
    config: Path | None = None
    insecure_storage: bool = False
    discovery: bool = True
    quiet: bool = False
    log_level: str = "info"


def serve(options: ServeOptions) -> int:
    """Run the service in this process until it is stopped; return the exit code."""
    paths = Paths.here()
    if options.config is not None:
        paths = paths.with_config_file(options.config)
    try:
        paths.prepare()
        lock = start_alone(paths.lock_file)
        if isinstance(lock, AlreadyRunning):
            running = RuntimeFile(paths.runtime_file).read()
            where = f" at {running.url} (pid {running.pid})" if running else ""
            _print(f"Meshlight is running already{where}. `meshlight status` shows it.")
            return ALREADY_RUNNING
        with lock:
            _configure_log(options.log_level, paths.log_file)
            return _serve_alone(options, paths)
    except MeshlightError as error:
        _print(f"{error.title} {error.hint}".strip())
    except OSError as error:
        _print(
            f"{write_error(error)} Make the folder writable for you, or set MESHLIGHT_HOME to one that is."
        )
    return FAILED


def _serve_alone(options: ServeOptions, paths: Paths) -> int:
    from meshlight.backends.kinds import ring_for  # noqa: PLC0415 loaded only once the lock is held
    from meshlight.storage.config.file import ConfigFile  # noqa: PLC0415 the same

    file = ConfigFile(paths.config_file, ring_for)
    config, error = file.load_or_last_good()
    if error is not None:
        _print(f"{file.path}: {error.title} {error.hint}".strip())
    loopbacks = bind_loopbacks(config.port if options.port is None else options.port)
    if loopbacks.problem:
        log.warning("%s", loopbacks.problem)
    limits = limits_for(raise_file_limit())
    key = LocalKey.open(paths.key_file)
    from meshlight.service.wiring import Service  # noqa: PLC0415 the slow import, after the port is bound

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:

        async def run() -> None:
            service = Service(
                paths,
                file,
                error,
                key,
                loopbacks.sockets,
                allows_discovery=options.discovery,
                insecure_storage=options.insecure_storage,
                notices={"ipv6": loopbacks.problem},
                limits=limits,
            )
            await _run(service, options, paths)

        runner.run(run())
    return 0


async def _run(service: "Service", options: ServeOptions, paths: Paths) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_on_unhandled)
    _stop_on_signals(loop, stop)
    _stop_with_parent(loop, stop, paths.log_file)
    watchdog = Watchdog(loop, paths.log_file)
    watchdog.start()
    runtime_file = RuntimeFile(paths.runtime_file)
    runtime = Runtime(
        url=service.url,
        pid=os.getpid(),
        instance=service.instance,
        key_file=str(paths.key_file),
        version=__version__,
    )

    def ready() -> None:
        runtime_file.write(runtime)
        if not options.quiet:
            _print(f"Meshlight {__version__} listens at {service.url}/v1")
            _print(f"Open the mesh (works once, within a minute): {service.link()}")
            _print("Ctrl-C stops it. `meshlight status` in another terminal shows the mesh.")

    try:
        await service.run(stop, ready)
    finally:
        watchdog.stop()
        runtime_file.remove(service.instance)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _configure_log(level: str, file: Path) -> None:
    """Log to stderr and to files of at most two megabytes together; never a prompt, an answer or a key."""
    from logging.handlers import RotatingFileHandler  # noqa: PLC0415 `--help` needs none of it

    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    to_file = RotatingFileHandler(file, maxBytes=1_000_000, backupCount=1, encoding="utf-8")
    to_screen = logging.StreamHandler()
    to_screen.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for handler in (to_file, to_screen):
        handler.setFormatter(form)
    # Only our own messages: a library's debug messages may contain headers, and with them keys.
    root = logging.getLogger("meshlight")
    root.setLevel(level.upper())
    root.handlers = [to_file, to_screen]
    root.propagate = False


def _on_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """Log an unhandled exception by its type only, since its text may quote a prompt."""
    del loop
    error = context.get("exception")
    log.error("Unhandled in the event loop: %s (%s)", context.get("message"), type(error).__name__)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 there is no uvloop for Windows
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
    """End when the parent process does, if MESHLIGHT_PARENT says that it keeps our stdin open for that.

    The thread that watches stdin asks the loop to stop, and ends the process if the loop hangs.
    """
    if os.environ.get("MESHLIGHT_PARENT") != "stdin":
        return

    def watch(stdin: int) -> None:
        # Not by sys.stdin: the interpreter aborts at exit when a thread is waiting in it.
        with suppress(OSError):
            while os.read(stdin, 4096):
                pass
        end_with(loop, stop.set, log_file)

    threading.Thread(target=watch, args=(sys.stdin.fileno(),), name="parent", daemon=True).start()
