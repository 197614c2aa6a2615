"""The checks of `meshlight doctor`; each returns findings: a message that is ok, a warning or a problem, and a fix.

In order: Meshlight itself (configuration, files, port, service), the machine (Python, clock, limits, proxies; these
functions get their values as arguments), the engines (from the service, or by one scan of the default ports), this
machine's own models (from the service), and the keyring with the API keys of backends.
"""

import asyncio
import os
import shlex
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
from meshlight.cli.output.models import why_unusable
from meshlight.cli.ports import how_to_find, is_port_free, port_owner
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.config import HOST, HOST_V6, Config
from meshlight.domain.errors import ConfigError, MeshlightError, RequestError, SecretError, ServiceError
from meshlight.domain.findings import Finding as Symptom
from meshlight.domain.local_views import LocalView, RunnerView
from meshlight.domain.text import count, sanitize, size_text
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.storage.config.parser import read_config
from meshlight.storage.paths import Paths
from meshlight.storage.secrets.store import Secrets

Level = Literal["ok", "look", "wrong"]
"""`look` is a warning, `wrong` a problem; scripts read these values from the JSON."""


class Finding(Struct, frozen=True, rename={"message": "said"}):
    """The result of one check; the JSON of `meshlight doctor` calls its message `said`."""

    level: Level
    message: str
    fix: str = ""


def passed(message: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding("ok", message)


def warning(message: str, fix: str) -> Finding:
    """Return a finding that may be a problem for some."""
    return Finding("look", message, fix)


def failed(message: str, fix: str) -> Finding:
    """Return a finding that must be fixed."""
    return Finding("wrong", message, fix)


class ServiceReport(Struct, frozen=True):
    """The findings about the service, and what it says of backends, own models and requests if it runs."""

    findings: tuple[Finding, ...]
    view: SnapshotView | None = None
    local: LocalView | None = None
    """This machine's own models; None if the service has none."""
    hurts: tuple[Finding, ...] = ()
    """What hurts requests, as the service has seen it."""


def check_config(paths: Paths) -> tuple[Finding, Config]:
    """Check the configuration; if it is invalid, return the last valid one, as the service does."""
    file = paths.config_file
    if not file.exists():
        return passed(f"No configuration file yet at {file}; the defaults apply."), Config()
    try:
        return passed(f"The configuration {file} is valid."), _read_config(file)
    except ConfigError as error:
        hint = f"{error.hint} Until then the service uses the last valid one.".strip()
        found = failed(f"The configuration {file} can't be used: {error.title}", hint)
    with suppress(ConfigError):
        return found, _read_config(file.with_name(f"{file.name}.bak"))
    return found, Config()


def check_lane(config: Config) -> list[Finding]:
    """Say that the lane is off, if it is."""
    if config.lane:
        return []
    return [
        warning(
            "Every request costs about twice the time it has to: `lane = false` is in the configuration.",
            "Remove `lane`, unless an answer is another one with it: then please report that.",
        )
    ]


def check_folder(paths: Paths) -> list[Finding]:
    """Check that files can be stored, and that other users can't read them."""
    here = next(folder for folder in (paths.state_dir, *paths.state_dir.parents) if folder.exists())
    if not here.is_dir() or not os.access(here, os.W_OK):
        return [
            failed(
                f"Nothing can be stored in {paths.state_dir}: {here} is no folder that you may write to.",
                "Make it writable for you, or set MESHLIGHT_HOME to one that is.",
            )
        ]
    if not paths.state_dir.exists():
        return [passed(f"Nothing is stored yet in {paths.state_dir}.")]
    if sys.platform == "win32":
        return [passed(f"Files are stored in {paths.state_dir}.")]
    readable = [path for path in (paths.key_file, paths.runtime_file, paths.secrets_file) if _is_open(path)]
    found = [
        failed(f"Other users of this machine can read {path}.", f"chmod 600 '{path}', then make a new key.")
        for path in readable
    ]
    try:
        paths.check()
    except ServiceError as error:
        found.append(failed(error.title, error.hint))
    return found or [passed(f"Only you can read the files in {paths.state_dir}.")]


def check_service(paths: Paths, port: int) -> ServiceReport:
    """Check the service; if it doesn't run, check who uses its port."""
    try:
        with ApiClient.connect(paths.runtime_file) as client:
            runtime = client.runtime
            message = passed(
                f"The service runs at {runtime.url} (pid {runtime.pid}, version {runtime.version})."
            )
            if runtime.version != __version__:
                message = warning(
                    f"The service at {runtime.url} is version {runtime.version}, this program is {__version__}.",
                    "Restart the service.",
                )
            view = client.snapshot()
            notices = (
                warning(notice, "The service reports this; `meshlight status` shows it too.")
                for notice in view.notices
            )
            local: LocalView | None = None
            with suppress(RequestError):  # an older service has no models of its own
                local = client.local_models()
            found = (message, *notices, *check_settings(client))
            return ServiceReport(found, view, local, check_requests(client))
    except ServiceError as error:
        return ServiceReport((_not_running(paths, error), _port(port), *_port_v6(port)))


def check_settings(client: ApiClient) -> tuple[Finding, ...]:
    """Return what the settings have to tell: a newer version, if the user wants to know, and a choice to make."""
    try:
        settings = client.settings()
    except MeshlightError:
        return ()  # an older service
    found = []
    if settings.update is not None:
        version, url = sanitize(settings.update.version), sanitize(settings.update.url)
        found.append(warning(f"Version {version} of Meshlight is out; this is {__version__}.", url))
    if settings.asks_key_storage:
        found.append(
            warning(
                "A key could not be stored: this machine has no keyring, and you have not chosen a file.",
                "Choose in Settings, or: meshlight settings set key_storage file",
            )
        )
    return tuple(found)


def check_requests(client: ApiClient) -> tuple[Finding, ...]:
    """Return what the service found about requests and engines, each with one thing to do."""
    try:
        found = client.findings()
    except MeshlightError as error:
        return (warning(f"The service does not say what it found: {error.title}", error.hint),)
    return tuple(warning(f"{one.evidence} {one.why}", _cure(one)) for one in found) or (
        passed("Nothing hurts the requests that went through."),
    )


def _cure(one: Symptom) -> str:
    if one.command:
        return f"{one.fix} Command: {one.command}"
    verb = "disable" if one.button == "disable" else "check"
    return f"{one.fix} Command: meshlight backends {verb} {shlex.quote(one.backend)}"


def _not_running(paths: Paths, error: ServiceError) -> Finding:
    if not paths.runtime_file.exists():
        return warning(error.title, error.hint)
    try:
        runtime = read_runtime(paths.runtime_file)
    except ServiceError as unreadable:
        return failed(unreadable.title, unreadable.hint)
    if is_port_free(int(runtime.url.rpartition(":")[2])):
        return warning(
            f"The service isn't running; the last one (pid {runtime.pid}) was killed and left its runtime file.",
            f"{error.hint}; it clears that up by itself.",
        )
    return failed(error.title, error.hint)


def _port(port: int) -> Finding:
    if is_port_free(port):
        return passed(f"Port {port} is free.")
    owner = port_owner(port)
    message = f"Port {port} is taken by {'another program' if owner is None else f'{owner.name} (pid {owner.pid})'}."
    command_hint = f"See which with: {how_to_find(port)}. " if owner is None else ""
    return failed(
        message,
        f"{command_hint}Stop it, or start Meshlight on another port: meshlight serve --port {port + 1}",
    )


def _port_v6(port: int) -> tuple[Finding, ...]:
    if is_port_free(port, HOST_V6):
        return ()
    return (
        warning(
            f"Port {port} of [{HOST_V6}] is taken, and programs that connect to `localhost` may reach it instead.",
            f"See by what with: {how_to_find(port)}. Stop it, or give programs http://{HOST}:{port}",
        ),
    )


def _is_open(path: Path) -> bool:
    return path.exists() and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _read_config(file: Path) -> Config:
    """Read a configuration without writing anything (the service's own reader saves a copy of a valid one)."""
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
    """Check the version of Python."""
    message = ".".join(str(part) for part in version[:3])
    if tuple(version[:2]) < OLDEST_PYTHON:
        return failed(f"Python {message} is too old.", "Install Python 3.11 or newer, and Meshlight with it.")
    return passed(f"Python {message}.")


def check_clock(now: float, installed_at: float) -> Finding:
    """Judge the clock (seconds since 1970) by the time `installed_at` of this program."""
    message = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now < installed_at - DAY_S:
        return failed(
            f"The clock says {message}, which is before this program was installed.",
            "Set the clock (on Linux: timedatectl set-ntp true), or TLS and signed requests will fail.",
        )
    return passed(f"The clock says {message}; compare it with a watch if a cluster rejects your signature.")


def check_open_files(most: int | None) -> Finding:
    """Check how many files and connections a process may open; None if there is no limit."""
    if most is None:
        return passed("No limit on open files.")
    if most < FEW_FILES:
        return warning(
            f"A process may open {most} files, enough for about {max(most - 64, 0) // 2} requests at once.",
            "Raise the limit before you start the service: ulimit -n 4096",
        )
    return passed(f"A process may open {most:,} files.")


def check_proxies(environ: Mapping[str, str]) -> Finding:
    """Check whether a proxy of the environment would get what apps send to this machine."""
    proxies = [name for name in _PROXIES if environ.get(name) or environ.get(name.lower())]
    if not proxies:
        return passed("No proxy is set in this terminal.")
    no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    not_exempt = [name for name in LOCAL_NAMES if not _bypasses_proxy(no_proxy, name)]
    if not not_exempt:
        return passed(f"{', '.join(proxies)} set; NO_PROXY includes this machine.")
    return warning(
        f"{', '.join(proxies)} set, and NO_PROXY doesn't include {' and '.join(not_exempt)}: apps may send requests "
        "for Meshlight to the proxy. (Meshlight itself uses one for clouds, never for this machine.)",
        f"export NO_PROXY={','.join(filter(None, (no_proxy.strip(), *not_exempt)))}",
    )


def _bypasses_proxy(no_proxy: str, host: str) -> bool:
    """Whether NO_PROXY includes this host, as most HTTP clients read it."""
    entries = [entry.strip().lower().lstrip(".") for entry in no_proxy.split(",")]
    return "*" in entries or host in entries


def check_known_engines(view: SnapshotView) -> list[Finding]:
    """Check each enabled backend by the service's snapshot."""
    has_local = any(backend.kind == "local" and backend.models for backend in view.backends)
    others = [backend for backend in view.backends if backend.enabled and backend.kind != "local"]
    findings = [_check_backend(backend) for backend in others]
    return findings if findings or has_local else [_no_engine_finding()]


def check_usual_ports() -> list[Finding]:
    """Scan the default ports for engines, without the service."""
    found = asyncio.run(_scan())
    return [
        passed(f"{engine.name} answers at {engine.url} with {count(len(engine.models), 'model')}.")
        for engine in found
    ] or [_no_engine_finding()]


async def _scan() -> list[DetectedEngine]:
    upstreams: list[Upstream] = []

    def upstream(address: Address) -> Upstream:
        upstreams.append(Upstream(address))
        return upstreams[-1]

    try:
        return await Detector(upstream).scan(force=True)
    finally:
        for one in upstreams:
            one.close()


def _check_backend(backend: BackendView) -> Finding:
    health = backend.health
    if health.state == "healthy":
        return passed(f"{backend.name} answers at {backend.url} with {count(len(backend.models), 'model')}.")
    return warning(f"{backend.name} is {health.state}: {health.text}", health.fix)


def _no_engine_finding() -> Finding:
    ports = ", ".join(str(port) for port in sorted(usual_ports()))
    return warning(
        f"No engine answers on the default ports of this machine ({ports}).",
        "Start one (such as `ollama serve`), add one by its address (meshlight backends add), get a small model "
        "(meshlight models pull starter), or try the demo.",
    )


NAMED_MAX = 5
"""Models that are named where many have the same problem."""


def check_local_models(view: LocalView) -> list[Finding]:
    """Check what can run models on this machine, where they were looked for, and whether they fit."""
    if not view.enabled:
        return [passed("This machine's own models are switched off in the configuration.")]
    found = [*_check_runners(view)]
    looked = ", ".join(f"{sanitize(store.label)} ({store.models})" for store in view.stores)
    if looked:
        text = f"Looked for models in: {looked}."
        if view.rejected:
            text += f" {count(len(view.rejected), 'file')} can't be used; see why with: meshlight models list"
        found.append(passed(text))
    found += [
        warning(
            f"{sanitize(store.label)}: {sanitize(store.note)}", "Look there, or take it out of `[local]`."
        )
        for store in view.stores
        if store.note
    ]
    if not view.models and not view.downloads:
        text = "This machine has no models of its own."
        return [*found, warning(text, "Get a small one with: meshlight models pull starter")]
    too_big = [one for one in view.models if one.fits == "never"]
    if too_big:
        named = ", ".join(f"{sanitize(one.id)} ({size_text(one.need_bytes)})" for one in too_big[:NAMED_MAX])
        more = f" and {len(too_big) - NAMED_MAX} more" if len(too_big) > NAMED_MAX else ""
        text = f"Models can use {size_text(view.memory.budget_bytes)} of memory here, too little for: {named}{more}."
        found.append(warning(text, "Get a smaller quantisation of them, or set a smaller `context`."))
    elif view.models:
        found.append(passed(f"{count(len(view.models), 'model')} of this machine's own, and all fit."))
    for one in view.models:
        if one.state == "failed" and one.reason is not None:
            found.append(
                warning(f"{sanitize(one.id)}: {sanitize(one.reason.text)}", sanitize(one.reason.fix))
            )
    for download in view.downloads:
        if download.state == "failed" and download.reason is not None:
            text = f"The download of {sanitize(download.name)} failed: {sanitize(download.reason.text)}"
            found.append(warning(text, sanitize(download.reason.fix)))
    return found


def _check_runners(view: LocalView) -> list[Finding]:
    """Tell what can run models; the runners that can't are of interest only if none can."""
    usable = [runner for runner in view.runners if runner.is_usable]
    if usable:
        return [passed(f"Models can be run here by {', '.join(map(_runner_text, usable))}.")]
    text = "Nothing is installed here that can run models."
    if view.models:
        text = f"This machine has {count(len(view.models), 'model')} and nothing to run them."
    first = warning(text, "" if view.runners else "Get one: meshlight models pull engine")
    return [
        first,
        *(warning(sanitize(why_unusable(runner)), sanitize(runner.fix)) for runner in view.runners),
    ]


def _runner_text(runner: RunnerView) -> str:
    return f"{sanitize(runner.label)} {sanitize(runner.version)}".strip()


PROBE_ID = "doctor"
"""The id of a backend that has no secret: reading it shows whether the keyring answers, and changes nothing."""
KEYRING_FIXES = (
    "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC); or give each key in the environment as "
    "MESHLIGHT_SECRET_<ID>; or keep keys in a file that only you can read: "
    "meshlight settings set key_storage file"
)


def check_keyring(paths: Paths, config: Config) -> list[Finding]:
    """Check that API keys can be stored, and that those of these backends are there."""
    return asyncio.run(_check_secrets(paths, config))


async def _check_secrets(paths: Paths, config: Config) -> list[Finding]:
    backends_with_key = [backend for backend in config.backends if backend.has_secret]
    secrets = Secrets.without_service(paths.secrets_file, config.key_storage)
    found: list[Finding] = []
    try:
        await secrets.get(PROBE_ID)
    except SecretError as error:
        if not backends_with_key:
            return [warning(f"{error.title} API keys of backends can't be stored.", KEYRING_FIXES)]
        found.append(warning(error.title, KEYRING_FIXES))
    else:
        found.append(
            passed(f"API keys are kept in a file, as you chose: {paths.secrets_file}.")
            if config.key_storage == "file"
            else warning(f"API keys are stored in a plain file, {paths.secrets_file}.", "A keyring is safer.")
            if secrets.is_file
            else passed("The keyring answers.")
        )
    for backend in backends_with_key:
        fact = await secrets.check(backend.id)
        if fact.state != "present":
            found.append(failed(f"The API key of {backend.name} can't be read: {fact.text}", fact.fix))
    return found
