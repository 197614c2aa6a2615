"""What the doctor looks at of Meshlight itself: its files, its keyring, its port, its service."""

import stat
import sys
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from meshlight import __version__
from meshlight.backends.kinds import ring_for
from meshlight.desktop.client import LocalService
from meshlight.desktop.door import read_runtime
from meshlight.domain.config import HOST, HOST_V6, Config
from meshlight.domain.errors import ConfigError, ServiceError
from meshlight.domain.view import SnapshotView
from meshlight.store.config_reader import read_config
from meshlight.store.places import Places
from meshlight.words.finding import Finding, fine, look, wrong
from meshlight.words.port import holder, how_to_find, is_free


class Service(Struct, frozen=True):
    """What there is to say of the service, and how it sees the mesh if it runs."""

    findings: tuple[Finding, ...]
    view: SnapshotView | None = None


def config(places: Places) -> tuple[Finding, Config]:
    """Read the configuration; where it is broken, go on with what was last good, as the service does."""
    file = places.config_file
    if not file.exists():
        return fine(f"No configuration file yet at {file}; the defaults apply."), Config()
    try:
        return fine(f"The configuration {file} is valid."), _read(file)
    except ConfigError as error:
        hint = f"{error.hint} Until then the service runs on the last good one.".strip()
        found = wrong(f"The configuration {file} can't be used: {error.title}", hint)
    with suppress(ConfigError):
        return found, _read(file.with_name(f"{file.name}.bak"))
    return found, Config()


def folder(places: Places) -> list[Finding]:
    """Judge who may read what is kept."""
    if not places.state_dir.exists():
        return [fine(f"Nothing is kept yet in {places.state_dir}.")]
    if sys.platform == "win32":
        return [fine(f"What is kept lies in {places.state_dir}.")]
    open_ones = [
        path for path in (places.key_file, places.runtime_file, places.secrets_file) if _is_open(path)
    ]
    found = [
        wrong(f"Other users of this machine may read {path}.", f"chmod 600 '{path}', then make a new key.")
        for path in open_ones
    ]
    try:
        places.check()
    except ServiceError as error:
        found.append(wrong(error.title, error.hint))
    return found or [fine(f"What is kept in {places.state_dir} is for your eyes only.")]


def service(places: Places, port: int) -> Service:
    """Look for the service, and if it doesn't run for who has its port."""
    try:
        with LocalService.connect(places.runtime_file) as mesh:
            runtime = mesh.runtime
            said = fine(f"The service runs at {runtime.url} (pid {runtime.pid}, version {runtime.version}).")
            if runtime.version != __version__:
                said = look(
                    f"The service at {runtime.url} is version {runtime.version}, this program is {__version__}.",
                    "Restart the service.",
                )
            view = mesh.snapshot()
            notices = (
                look(notice, "The service says so; `meshlight status` shows it too.")
                for notice in view.notices
            )
            return Service((said, *notices), view)
    except ServiceError as error:
        return Service((_not_running(places, error), _port(port), *_port_v6(port)))


def _not_running(places: Places, error: ServiceError) -> Finding:
    if not places.runtime_file.exists():
        return look(error.title, error.hint)
    try:
        runtime = read_runtime(places.runtime_file)
    except ServiceError as broken:
        return wrong(broken.title, broken.hint)
    if is_free(int(runtime.url.rpartition(":")[2])):
        return look(
            f"The service isn't running; the last one (pid {runtime.pid}) was killed and left its runtime file.",
            f"{error.hint}; it clears that up by itself.",
        )
    return wrong(error.title, error.hint)


def _port(port: int) -> Finding:
    if is_free(port):
        return fine(f"Port {port} is free.")
    who = holder(port)
    said = f"Port {port} is taken by {'another program' if who is None else f'{who.name} (pid {who.pid})'}."
    find = f"See which with: {how_to_find(port)}. " if who is None else ""
    return wrong(
        said, f"{find}Stop it, or start Meshlight on another port: meshlight serve --port {port + 1}"
    )


def _port_v6(port: int) -> tuple[Finding, ...]:
    if is_free(port, HOST_V6):
        return ()
    return (
        look(
            f"Port {port} of [{HOST_V6}] is taken, which programs that ask for `localhost` may reach instead.",
            f"See by what with: {how_to_find(port)}. Stop it, or give programs http://{HOST}:{port}",
        ),
    )


def _is_open(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _read(file: Path) -> Config:
    """Read a configuration without leaving a trace (the service's own reader keeps a copy of what is good)."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"it can't be read ({error}).", "Make it a readable text file in UTF-8.") from error
    return read_config(text, ring_for)
