"""The command `meshlight selftest`: tries what an installation must be able to do, on whatever machine it is."""

import asyncio
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from pkgutil import walk_packages
from typing import Final, Literal

import click
import httpx

import meshlight
from meshlight.api_client.client import ApiClient
from meshlight.cli.demo import config, own_key
from meshlight.cli.doctor_checks import Finding, check_keyring, failed, passed, warning
from meshlight.cli.output.console import BAD, GOOD, WARN, TerminalStyle, new_console
from meshlight.cli.output.status import message_lines
from meshlight.cli.ports import free_port
from meshlight.cli.service_client import print_json
from meshlight.desktop.system.process import HOLDS_STDIN, environment, program
from meshlight.desktop.system.screen import has_screen
from meshlight.domain.config import HOST, Config
from meshlight.domain.errors import ServiceError
from meshlight.domain.text import sanitize
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.scenario import SimulatedBackend
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

Part = Literal["tray", "window", "keyring", "mdns"]
"""What a machine may lack: its absence is a warning, unless `--need` names it."""
START_S: Final = 30.0
STOP_S: Final = 15.0
POLL_S: Final = 0.05
ANSWER_S: Final = 20.0
OWN_SYSTEM: Final = {
    "meshlight.desktop.tray.pystray.macos_icon": "darwin",
    "meshlight.desktop.tray.dbus": "linux",
}
"""Modules that can be imported on one system only."""


@click.command(
    epilog="""\b
Examples:
  meshlight selftest
  meshlight selftest --need tray --need window

Exit code: 0 if everything works that this machine can do, 1 if not."""
)
@click.option(
    "--need",
    "needs",
    multiple=True,
    type=click.Choice(["tray", "window", "keyring", "mdns"]),
    help="Fail if this machine lacks it; otherwise that is a warning.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def selftest(ctx: click.Context, *, needs: Sequence[Part], as_json: bool) -> None:
    """Check that this installation works.

    Imports all of it, starts a service of its own in a temporary folder, and gets one answer from a simulated engine
    through it; then looks for the tray, the web view, the keyring and multicast DNS. Nothing of yours is read or
    changed, and nothing is sent to the network.
    """
    console = new_console()
    style = TerminalStyle.of(console)
    glyphs = {"ok": GOOD, "look": WARN, "wrong": BAD}
    findings = []
    for finding in _findings(needs):
        findings.append(finding)
        if not as_json:
            lines = message_lines(glyphs[finding.level], finding.message, finding.fix, style)
            console.print(*lines, sep="\n")
    is_good = all(finding.level != "wrong" for finding in findings)
    if as_json:
        print_json(findings)
    else:
        click.echo("\nThis installation works." if is_good else "\nThis installation does not work.")
    ctx.exit(0 if is_good else 1)


def _findings(needs: Sequence[Part]) -> Iterator[Finding]:
    yield passed(
        f"Meshlight {meshlight.__version__}, Python {sys.version.split()[0]}, {sys.platform}, {sys.prefix}."
    )
    yield check_imports()
    yield asyncio.run(check_answer())
    checks: dict[Part, Callable[[], Finding]] = {
        "tray": check_tray,
        "window": check_window,
        "keyring": _check_keyring,
        "mdns": check_mdns,
    }
    for part, check in checks.items():
        yield judged(part, check, needs)


def judged(part: Part, check: Callable[[], Finding], needs: Sequence[Part]) -> Finding:
    """Run a check; what is lacking is wrong if it is needed, and an exception is a finding too."""
    try:
        finding = check()
    except Exception as error:  # noqa: BLE001 -- each toolkit raises errors of its own
        finding = warning(f"{part}: {type(error).__name__}: {sanitize(str(error))[:200]}", "")
    if finding.level == "look" and part in needs:
        return failed(finding.message, finding.fix)
    return finding


def check_imports(names: Sequence[str] | None = None) -> Finding:
    """Import every module of Meshlight, with all that they import."""
    if names is None:
        modules = walk_packages(meshlight.__path__, "meshlight.", onerror=lambda _: None)
        names = [module.name for module in modules if not _is_left_out(module.name)]
    faults = []
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # noqa: BLE001 -- whatever a broken library raises
            faults.append(f"{name}: {type(error).__name__}: {sanitize(str(error))[:200]}")
    if faults:
        return failed(
            f"{len(faults)} modules can't be imported: {'; '.join(faults[:5])}", "Install Meshlight again."
        )
    return passed(f"All {len(names)} modules can be imported.")


def _is_left_out(name: str) -> bool:
    """Whether a module is a program, which importing would run, or one for another system."""
    return name.endswith("__main__") or any(
        f"{name}.".startswith(f"{start}.") and system != sys.platform for start, system in OWN_SYSTEM.items()
    )


async def check_answer(start: Callable[[dict[str, str]], Awaitable[Process]] | None = None) -> Finding:
    """Start a service in a temporary folder, with one simulated engine, and get an answer through it."""
    with tempfile.TemporaryDirectory(prefix="meshlight-selftest-", ignore_cleanup_errors=True) as folder:
        environ = environment({"MESHLIGHT_HOME": folder, **HOLDS_STDIN}) | own_key()
        paths = Paths.here(environ)
        async with SimulatedEngine("llamacpp") as engine:
            model = engine.facts.models[0]
            backend = SimulatedBackend(
                id="selftest",
                name="Selftest",
                kind="llamacpp",
                url=engine.url,
                ring="machine",
                models=(model,),
            )
            paths.config_file.write_text(config(free_port(), [backend]), "utf-8")
            process = await (start or _start)(environ)
            try:
                url = await _wait_until_ready(paths, process)
                key = LocalKey.open(paths.key_file).reveal()
                text = await asyncio.to_thread(_ask, url, key, model)
            except (ServiceError, httpx.HTTPError, ValueError, KeyError) as error:
                log = paths.log_file.read_text("utf-8", "replace")[-500:] if paths.log_file.exists() else ""
                return failed(f"The service gave no answer: {sanitize(str(error))}", sanitize(log))
            finally:
                await _stop(process)
    return passed(f"The service starts, and a simulated engine answers through it ({len(text)} characters).")


async def _start(environ: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *program("serve", "--quiet", "--no-discovery"),
        stdin=PIPE,
        stdout=DEVNULL,
        stderr=DEVNULL,
        env=environ,
        start_new_session=sys.platform != "win32",
    )


async def _stop(process: Process) -> None:
    """End the service: close its input, then kill it."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _wait_until_ready(paths: Paths, process: Process) -> str:
    """Return the URL of the service once its backend is healthy; raises ServiceError."""
    for _ in range(int(START_S / POLL_S)):
        if process.returncode is not None:
            raise ServiceError(f"The service ended by itself (exit code {process.returncode}).")
        await asyncio.sleep(POLL_S)
        try:
            with ApiClient.connect(paths.runtime_file) as client:
                if any(backend.health.state == "healthy" for backend in client.snapshot().backends):
                    return client.runtime.url
        except ServiceError:
            continue
    raise ServiceError(f"The service was not ready within {START_S:g} s.")


def _ask(url: str, key: str, model: str) -> str:
    """Return one answer of a model."""
    body = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Hello"}]}
    with httpx.Client(trust_env=False, timeout=ANSWER_S) as client:
        response = client.post(
            f"{url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
        )
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"])


def check_tray() -> Finding:
    """Find the kind of tray icon that this desktop shows; none is shown."""
    from meshlight.desktop.tray.select import NoTrayHost, choose_tray  # noqa: PLC0415 -- loads toolkits

    tray = choose_tray(lambda _: None)
    if isinstance(tray, NoTrayHost):
        return warning(f"No tray: {tray.reason}", "Meshlight then runs without an icon.")
    return passed(f"Tray: {type(tray).__name__}.")


def check_window() -> Finding:
    """Name the web view that the window would use; no window is opened."""
    name = web_view()
    if not name:
        return warning(
            "No web view: the page opens in the browser instead.",
            "On Debian and Ubuntu: sudo apt install meshlight-desktop; elsewhere: pip install 'meshlight[qt]'"
            if sys.platform == "linux"
            else "Install Meshlight again.",
        )
    return passed(f"Window: {name}{'' if has_screen() else ' (there is no screen here)'}.")


def web_view() -> str:
    """Return the name of the web view of this system and its version; "" if there is none."""
    import_module("webview")
    if sys.platform == "darwin":
        import_module("WebKit")
        return "WKWebView"
    if sys.platform == "win32":
        import_module("clr")
        return "WebView2"
    from meshlight.desktop.window.system_gtk import use_system_gtk  # noqa: PLC0415 -- Linux alone

    if use_system_gtk():
        gi = import_module("gi")
        for release in ("4.1", "4.0"):
            try:
                gi.require_version("Gtk", "3.0")
                gi.require_version("WebKit2", release)
            except ValueError:
                continue
            return f"GTK WebKit {release}"
    try:
        return f"Qt WebEngine, PySide6 {version('PySide6')}"
    except PackageNotFoundError:
        return ""


def _check_keyring() -> Finding:
    with tempfile.TemporaryDirectory(prefix="meshlight-selftest-") as folder:
        path = Path(folder)
        return check_keyring(Paths.under(config_dir=path, state_dir=path, log_dir=path), Config())[0]


def check_mdns() -> Finding:
    """Open the socket of multicast DNS as browsing does; nothing is sent."""
    from zeroconf import Zeroconf  # noqa: PLC0415 -- large

    try:
        Zeroconf(interfaces=[HOST]).close()
    except OSError as error:
        return warning(f"No multicast DNS: {error}.", "Other machines are then paired by their address.")
    return passed("The socket of multicast DNS opens.")
