"""The service's process once it is alone and its port is bound: builds the service, and serves until it has to stop.

It writes the runtime file, by which clients find it. A signal stops it, or the end of the parent process.
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

from meshlight import __version__
from meshlight.backends.kinds import ring_for
from meshlight.domain.config import Config, Runtime
from meshlight.gateway.server.limits import limits_for
from meshlight.gateway.server.listener import Loopbacks, bind_loopbacks, raise_file_limit
from meshlight.service.log_file import LogFile
from meshlight.service.options import ServeOptions, print_line
from meshlight.service.watchdog import Watchdog, end_with
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.instance import RuntimeFile
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

if TYPE_CHECKING:
    from meshlight.service.wiring import Service

log = logging.getLogger("meshlight")


def run(options: ServeOptions, paths: Paths, bound: Loopbacks | None) -> int:
    """Serve until stopped, and return the exit code; on `bound`, if that is the port that the configuration wants.

    Raises MeshlightError, and OSError for files that can't be written.
    """
    _configure_log(options.log_level, paths.log_file)
    file = ConfigFile(paths.config_file, ring_for)
    config, error = file.load_or_last_good()
    if error is not None:
        print_line(f"{file.path}: {error.title} {error.hint}".strip())
    loopbacks = loopbacks_for(options, config, bound)
    if loopbacks.problem:
        log.warning("%s", loopbacks.problem)
    limits = limits_for(raise_file_limit())
    key = LocalKey.open(paths.key_file)
    from meshlight.service.wiring import Service  # noqa: PLC0415 the slowest import, once a taken port was reported

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:

        async def serve() -> None:
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

        runner.run(serve())
    return 0


def loopbacks_for(options: ServeOptions, config: Config, bound: Loopbacks | None) -> Loopbacks:
    """Return the sockets of the port that is wanted: those that are bound already, or else new ones."""
    port = config.port if options.port is None else options.port
    if bound is not None:
        if options.port is not None or bound.sockets[0].getsockname()[1] == port:
            return bound
        for sock in bound.sockets:
            sock.close()
    return bind_loopbacks(port)


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
            print_line(f"Meshlight {__version__} listens at {service.url}/v1")
            print_line(f"Open the mesh (works once, within a minute): {service.link()}")
            print_line("Ctrl-C stops it. `meshlight status` in another terminal shows the mesh.")

    try:
        await service.run(stop, ready)
    finally:
        watchdog.stop()
        runtime_file.remove(service.instance)


def _configure_log(level: str, file: Path) -> None:
    """Log to stderr and to files of at most two megabytes together; never a prompt, an answer or a key."""
    form = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")
    to_file = LogFile(file)
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
