"""The entry point: `meshlight serve` with plain arguments runs without click, all else is the command line's.

The service runs for weeks. Click would be a twentieth of its memory, and a part of the time until it listens.
"""

import gc
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from meshlight.domain.private_variables import remove_private

_FLAGS: Final = frozenset({"--no-discovery", "--insecure-storage", "--quiet"})
_WITH_VALUE: Final = frozenset({"--port", "--config", "--log-level"})
LEVELS: Final = ("debug", "info", "warning", "error")
INTERRUPTED: Final = 1
_PORT_MAX, _PORT_DIGITS = 65_535, 5


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line (default: of this process), and exit."""
    prepare_process()
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = plain_serve(words)
    if given is None:
        from meshlight.cli.app import commands  # noqa: PLC0415 - see above

        commands.main(args=arguments, prog_name="meshlight")
        raise AssertionError("click exits")
    try:
        code = _serve(given)
    except KeyboardInterrupt:  # before the service has begun to listen for it
        print("Aborted!", file=sys.stderr)
        code = INTERRUPTED
    sys.exit(code)


def prepare_process() -> None:
    """Take secrets out of the environment, and make the streams take everything that is printed."""
    remove_private()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # a program without a console on Windows
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 -- kept open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe that can't encode a character gets "?" instead of an exception.
            stream.reconfigure(errors="replace")


def plain_serve(words: Sequence[str]) -> dict[str, str] | None:
    """Return the options of a plain `serve` by name, flags with an empty value; None for whatever click must read.

    Those are other commands, `--help`, abbreviations, and everything that is an error.
    """
    if not words or words[0] != "serve":
        return None
    given: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, has_value, value = word.partition("=")
        if name in _WITH_VALUE:
            given[name] = value if has_value else next(rest, "")
        elif word in _FLAGS:
            given[word] = ""
        else:
            return None
    return given if _are_valid(given) else None


def _are_valid(given: dict[str, str]) -> bool:
    port, config = given.get("--port", "0"), given.get("--config", "x")
    return (
        port.isascii()
        and port.isdecimal()
        and len(port) <= _PORT_DIGITS
        and int(port) <= _PORT_MAX
        and bool(config)
        and not config.startswith("-")
        and not Path(config).is_dir()
        and given.get("--log-level", "info") in LEVELS
    )


def _serve(given: dict[str, str]) -> int:
    # The start makes modules, which stay: a collector would look through them again and again. `Service` switches it
    # on once it runs.
    gc.disable()
    from meshlight.service.options import ServeOptions  # noqa: PLC0415 - only the service needs it
    from meshlight.service.process import serve  # noqa: PLC0415 - the same

    return serve(
        ServeOptions(
            port=int(given["--port"]) if "--port" in given else None,
            config=Path(given["--config"]) if "--config" in given else None,
            insecure_storage="--insecure-storage" in given,
            discovery="--no-discovery" not in given,
            quiet="--quiet" in given,
            log_level=given.get("--log-level", "info"),
        )
    )
