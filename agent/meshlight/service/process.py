"""The service's process, from start to exit.

Only one runs at a time (a lock). It binds the port before anything slow, so that an app that starts at the same time
waits for its answer instead of being refused; `running.py` does the rest.
"""

from contextlib import suppress

from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.text import write_error
from meshlight.gateway.server.listener import Loopbacks, bind_loopbacks
from meshlight.service.options import ServeOptions, print_line
from meshlight.storage.config.port import written_port
from meshlight.storage.instance import AlreadyRunning, RuntimeFile, start_alone
from meshlight.storage.paths import Paths

FAILED = 1
ALREADY_RUNNING = 3


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
            print_line(f"Meshlight is running already{where}. `meshlight status` shows it.")
            return ALREADY_RUNNING
        with lock:
            bound = _bind_early(options, paths)
            from meshlight.service.running import run  # noqa: PLC0415 the slow import, after the port is bound

            return run(options, paths, bound)
    except MeshlightError as error:
        print_line(f"{error.title} {error.hint}".strip())
    except OSError as error:
        print_line(
            f"{write_error(error)} Make the folder writable for you, or set MESHLIGHT_HOME to one that is."
        )
    return FAILED


def _bind_early(options: ServeOptions, paths: Paths) -> Loopbacks | None:
    """Bind the port that is wanted as far as can be told yet; None if it can't be bound, or not be told."""
    port = written_port(paths.config_file) if options.port is None else options.port
    with suppress(ServiceError):  # `run` tries again, and says what is wrong
        return None if port is None else bind_loopbacks(port)
    return None
