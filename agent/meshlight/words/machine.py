"""What the doctor looks at around Meshlight: Python, clock, limits, proxies. Each function gets its facts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from meshlight.words.finding import Finding, fine, look, wrong

OLDEST_PYTHON = (3, 11)
FEW_FILES = 1024
DAY_S = 86_400
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
LOCAL_NAMES = ("127.0.0.1", "localhost")


def python(version: Sequence[int]) -> Finding:
    """Judge the version of Python."""
    said = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < OLDEST_PYTHON:
        return wrong(f"Python {said} is too old.", "Install Python 3.11 or newer, and Meshlight with it.")
    return fine(f"Python {said}.")


def clock(now: float, made: float) -> Finding:
    """Judge the clock (seconds since 1970) by a file that was `made` before."""
    said = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < made - DAY_S:
        return wrong(
            f"The clock says {said}, which is before this program was installed.",
            "Set the clock (on Linux: timedatectl set-ntp true), or TLS and signed requests will fail.",
        )
    return fine(f"The clock says {said}; compare it with a watch if a cluster refuses your signature.")


def open_files(most: int | None) -> Finding:
    """Judge how many files and connections a process may have open; None where there is no such limit."""
    if most is None:
        return fine("No limit on open files.")
    if most < FEW_FILES:
        return look(
            f"A process may open {most} files, enough for about {max(most - 64, 0) // 2} requests at once.",
            "Raise the limit before you start the service: ulimit -n 4096",
        )
    return fine(f"A process may open {most:,} files.")


def proxies(environ: Mapping[str, str]) -> Finding:
    """Judge whether the proxies of the environment take away what apps send to this machine."""
    given = [name for name in _PROXIES if environ.get(name) or environ.get(name.lower())]
    if not given:
        return fine("No proxy is set in this terminal.")
    spared = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    caught = [name for name in LOCAL_NAMES if not _spares(spared, name)]
    if not caught:
        return fine(f"{', '.join(given)} set; NO_PROXY spares this machine.")
    return look(
        f"{', '.join(given)} set, and NO_PROXY doesn't spare {' and '.join(caught)}: apps may send to the proxy "
        "what is for Meshlight. (Meshlight's own connections to this machine never use one.)",
        f"export NO_PROXY={','.join(filter(None, (spared.strip(), *caught)))}",
    )


def _spares(no_proxy: str, host: str) -> bool:
    """Whether a NO_PROXY names this host, as most HTTP clients read it."""
    entries = [entry.strip().lower().lstrip(".") for entry in no_proxy.split(",")]
    return "*" in entries or host in entries
