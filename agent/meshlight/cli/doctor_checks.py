"""What the doctor looks at of Meshlight itself: its files, its keyring, its port, its service.

What the doctor finds: a sentence that is fine, worth a look, or wrong, with the way to mend it.

What the doctor looks at around Meshlight: Python, clock, limits, proxies. Each function gets its facts.

What the doctor says of the engines: as the service sees them, or as one look at the usual ports finds them.

What the doctor says of the keyring, where the keys of backends are kept.
"""

import asyncio
import stat
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from msgspec import Struct

from meshlight import __version__
from meshlight.api_client.client import ApiClient, read_runtime
from meshlight.backends.base import DetectedEngine
from meshlight.backends.detection import Detector, usual_ports
from meshlight.backends.kinds import ring_for
from meshlight.cli.ports import how_to_find, is_port_free, port_owner
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.backend import Backend
from meshlight.domain.config import HOST, HOST_V6, Config
from meshlight.domain.errors import ConfigError, SecretError, ServiceError
from meshlight.domain.text import count
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.storage.config.parser import read_config
from meshlight.storage.paths import Paths
from meshlight.storage.secrets.store import Secrets

Level = Literal["ok", "look", "wrong"]


class Finding(Struct, frozen=True):
    """One thing looked at."""

    level: Level
    said: str
    fix: str = ""


def passed(said: str) -> Finding:
    """Return a finding that needs nothing done."""
    return Finding("ok", said)


def warning(said: str, fix: str) -> Finding:
    """Return a finding that may trouble somebody."""
    return Finding("look", said, fix)


def failed(said: str, fix: str) -> Finding:
    """Return a finding that must be mended."""
    return Finding("wrong", said, fix)


class ServiceReport(Struct, frozen=True):
    """What there is to say of the service, and how it sees the mesh if it runs."""

    findings: tuple[Finding, ...]
    view: SnapshotView | None = None


def check_config(places: Paths) -> tuple[Finding, Config]:
    """Read the configuration; where it is broken, go on with what was last good, as the service does."""
    file = places.config_file
    if not file.exists():
        return passed(f"No configuration file yet at {file}; the defaults apply."), Config()
    try:
        return passed(f"The configuration {file} is valid."), _read_config(file)
    except ConfigError as error:
        hint = f"{error.hint} Until then the service runs on the last good one.".strip()
        found = failed(f"The configuration {file} can't be used: {error.title}", hint)
    with suppress(ConfigError):
        return found, _read_config(file.with_name(f"{file.name}.bak"))
    return found, Config()


def check_folder(places: Paths) -> list[Finding]:
    """Judge who may read what is kept."""
    if not places.state_dir.exists():
        return [passed(f"Nothing is kept yet in {places.state_dir}.")]
    if sys.platform == "win32":
        return [passed(f"What is kept lies in {places.state_dir}.")]
    open_ones = [
        path for path in (places.key_file, places.runtime_file, places.secrets_file) if _is_open(path)
    ]
    found = [
        failed(f"Other users of this machine may read {path}.", f"chmod 600 '{path}', then make a new key.")
        for path in open_ones
    ]
    try:
        places.check()
    except ServiceError as error:
        found.append(failed(error.title, error.hint))
    return found or [passed(f"What is kept in {places.state_dir} is for your eyes only.")]


def check_service(places: Paths, port: int) -> ServiceReport:
    """Look for the service, and if it doesn't run for who has its port."""
    try:
        with ApiClient.connect(places.runtime_file) as mesh:
            runtime = mesh.runtime
            said = passed(
                f"The service runs at {runtime.url} (pid {runtime.pid}, version {runtime.version})."
            )
            if runtime.version != __version__:
                said = warning(
                    f"The service at {runtime.url} is version {runtime.version}, this program is {__version__}.",
                    "Restart the service.",
                )
            view = mesh.snapshot()
            notices = (
                warning(notice, "The service says so; `meshlight status` shows it too.")
                for notice in view.notices
            )
            return ServiceReport((said, *notices), view)
    except ServiceError as error:
        return ServiceReport((_not_running(places, error), _port(port), *_port_v6(port)))


def _not_running(places: Paths, error: ServiceError) -> Finding:
    if not places.runtime_file.exists():
        return warning(error.title, error.hint)
    try:
        runtime = read_runtime(places.runtime_file)
    except ServiceError as broken:
        return failed(broken.title, broken.hint)
    if is_port_free(int(runtime.url.rpartition(":")[2])):
        return warning(
            f"The service isn't running; the last one (pid {runtime.pid}) was killed and left its runtime file.",
            f"{error.hint}; it clears that up by itself.",
        )
    return failed(error.title, error.hint)


def _port(port: int) -> Finding:
    if is_port_free(port):
        return passed(f"Port {port} is free.")
    who = port_owner(port)
    said = f"Port {port} is taken by {'another program' if who is None else f'{who.name} (pid {who.pid})'}."
    find = f"See which with: {how_to_find(port)}. " if who is None else ""
    return failed(
        said, f"{find}Stop it, or start Meshlight on another port: meshlight serve --port {port + 1}"
    )


def _port_v6(port: int) -> tuple[Finding, ...]:
    if is_port_free(port, HOST_V6):
        return ()
    return (
        warning(
            f"Port {port} of [{HOST_V6}] is taken, which programs that ask for `localhost` may reach instead.",
            f"See by what with: {how_to_find(port)}. Stop it, or give programs http://{HOST}:{port}",
        ),
    )


def _is_open(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _read_config(file: Path) -> Config:
    """Read a configuration without leaving a trace (the service's own reader keeps a copy of what is good)."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"it can't be read ({error}).", "Make it a readable text file in UTF-8.") from error
    return read_config(text, ring_for)


OLDEST_PYTHON = (3, 11)
FEW_FILES = 1024
DAY_S = 86_400
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
LOCAL_NAMES = ("127.0.0.1", "localhost")


def check_python(version: Sequence[int]) -> Finding:
    """Judge the version of Python."""
    said = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < OLDEST_PYTHON:
        return failed(f"Python {said} is too old.", "Install Python 3.11 or newer, and Meshlight with it.")
    return passed(f"Python {said}.")


def check_clock(now: float, made: float) -> Finding:
    """Judge the clock (seconds since 1970) by a file that was `made` before."""
    said = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < made - DAY_S:
        return failed(
            f"The clock says {said}, which is before this program was installed.",
            "Set the clock (on Linux: timedatectl set-ntp true), or TLS and signed requests will fail.",
        )
    return passed(f"The clock says {said}; compare it with a watch if a cluster refuses your signature.")


def check_open_files(most: int | None) -> Finding:
    """Judge how many files and connections a process may have open; None where there is no such limit."""
    if most is None:
        return passed("No limit on open files.")
    if most < FEW_FILES:
        return warning(
            f"A process may open {most} files, enough for about {max(most - 64, 0) // 2} requests at once.",
            "Raise the limit before you start the service: ulimit -n 4096",
        )
    return passed(f"A process may open {most:,} files.")


def check_proxies(environ: Mapping[str, str]) -> Finding:
    """Judge whether the proxies of the environment take away what apps send to this machine."""
    given = [name for name in _PROXIES if environ.get(name) or environ.get(name.lower())]
    if not given:
        return passed("No proxy is set in this terminal.")
    spared = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    caught = [name for name in LOCAL_NAMES if not _bypasses_proxy(spared, name)]
    if not caught:
        return passed(f"{', '.join(given)} set; NO_PROXY spares this machine.")
    return warning(
        f"{', '.join(given)} set, and NO_PROXY doesn't spare {' and '.join(caught)}: apps may send to the proxy "
        "what is for Meshlight. (Meshlight itself uses one for clouds, never for this machine.)",
        f"export NO_PROXY={','.join(filter(None, (spared.strip(), *caught)))}",
    )


def _bypasses_proxy(no_proxy: str, host: str) -> bool:
    """Whether a NO_PROXY names this host, as most HTTP clients read it."""
    entries = [entry.strip().lower().lstrip(".") for entry in no_proxy.split(",")]
    return "*" in entries or host in entries


def check_known_engines(view: SnapshotView) -> list[Finding]:
    """Judge each backend that is on by what the service knows of it."""
    judged = [_judge(backend) for backend in view.backends if backend.enabled]
    return judged or [_no_engine()]


def check_usual_ports() -> list[Finding]:
    """Look for engines without the service."""
    found = asyncio.run(_scan())
    return [
        passed(f"{engine.name} answers at {engine.url} with {count(len(engine.models), 'model')}.")
        for engine in found
    ] or [_no_engine()]


async def _scan() -> list[DetectedEngine]:
    opened: list[Upstream] = []

    def upstream(address: Address) -> Upstream:
        opened.append(Upstream(address))
        return opened[-1]

    try:
        return await Detector(upstream).scan(force=True)
    finally:
        for one in opened:
            one.close()


def _judge(backend: BackendView) -> Finding:
    health = backend.health
    if health.state == "healthy":
        return passed(f"{backend.name} answers at {backend.url} with {count(len(backend.models), 'model')}.")
    return warning(f"{backend.name} is {health.state}: {health.text}", health.fix)


def _no_engine() -> Finding:
    ports = ", ".join(str(port) for port in sorted(usual_ports()))
    return warning(
        f"No engine answers on the usual ports of this machine ({ports}).",
        "Start one (such as `ollama serve`), add one by its address (meshlight backends add), or try the demo.",
    )


CHECK_ID = "doctor"
"""A backend that has no secret: asking for its shows whether the keyring answers, and changes nothing."""
KEYRING_FIXES = (
    "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC); or give each key in the environment as "
    "MESHLIGHT_SECRET_<ID>; or start the service with --insecure-storage."
)


def check_keyring(places: Paths, backends: Sequence[Backend]) -> list[Finding]:
    """Judge whether the keys of backends can be kept, and whether those that should be there are."""
    keyed = [backend for backend in backends if backend.has_secret]
    return asyncio.run(_check_secrets(places, keyed))


async def _check_secrets(places: Paths, keyed: Sequence[Backend]) -> list[Finding]:
    is_plain = places.secrets_file.exists()
    secrets = Secrets(file=places.secrets_file, insecure=is_plain)
    found: list[Finding] = []
    try:
        await secrets.get(CHECK_ID)
    except SecretError as error:
        if not keyed:
            return [warning(f"{error.title} A backend that wants a key could not keep it.", KEYRING_FIXES)]
        found.append(warning(error.title, KEYRING_FIXES))
    else:
        found.append(
            warning(
                f"Keys of backends are kept in a plain file, {places.secrets_file}.", "A keyring is safer."
            )
            if is_plain
            else passed("The keyring answers.")
        )
    for backend in keyed:
        fact = await secrets.check(backend.id)
        if fact.state != "present":
            found.append(failed(f"The key of {backend.name} can't be had: {fact.text}", fact.fix))
    return found
