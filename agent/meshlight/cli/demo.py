"""The command `meshlight demo`: simulated backends and a separate service for them, without any model."""

import asyncio
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import click
from rich.console import Console

from meshlight.api_client.client import ApiClient
from meshlight.cli.demo_traffic import send_requests
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.output.table import Column, lay_out
from meshlight.cli.ports import free_port, is_port_free
from meshlight.cli.service_client import print_json
from meshlight.desktop.system.opener import open_page
from meshlight.desktop.system.process import HOLDS_STDIN, end_with_parent, environment, program
from meshlight.domain.errors import ServiceError
from meshlight.domain.private_variables import KEY, OWN_VARIABLES
from meshlight.domain.text import cut, wrap
from meshlight.simulator.faults import FAULT_KINDS
from meshlight.simulator.scenario import Scenario, SimulatedBackend
from meshlight.simulator.tour import Tour
from meshlight.storage.files import write_atomic
from meshlight.storage.paths import Paths
from meshlight.storage.secrets.environment import variable

DEMO_PORT = 6385
"""Neither the default port (6374) nor that of the LAN listener (6375): the user's own service may run meanwhile."""
START_S = 20.0
STOP_S = 15.0
"""The service gives running requests 10 s to finish."""
POLL_S = 0.05


@click.command(
    epilog="""\b
Examples:
  meshlight demo
  meshlight demo --open

Ctrl-C ends the demo and removes all its files."""
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help=f"The service's port.  [{DEMO_PORT}, or any free one]",
)
@click.option("--open", "open_page", is_flag=True, help="Open the mesh page in the browser.")
@click.option(
    "--traffic/--no-traffic",
    default=True,
    help="Send requests to show how they are spread.  [on]",
)
@click.option("--tour", is_flag=True, hidden=True)
@click.pass_context
def demo(ctx: click.Context, *, port: int | None, open_page: bool, traffic: bool, tour: bool) -> None:
    """Try everything with simulated backends.

    Starts simulated llama.cpp, Ollama, vLLM, MLX and LM Studio engines, a Backend.AI cluster, a Continuum Router and
    three clouds on this machine, and a service that uses only them. No model runs: all answers are scripted. Some
    requests are sent all the time, so that the page shows where each one goes and why. One backend fails on purpose,
    and nearly all have a switch for faults. Your own settings, keys and backends are not changed, and nothing is sent
    to the network.
    """
    if tour:  # for the service, which shows these backends beside its own
        asyncio.run(_serve_tour())
        return
    if port is not None and not is_port_free(port):
        raise ServiceError(f"Port {port} is taken.", "Leave out --port to use a free one.")
    if port is None:
        port = DEMO_PORT if is_port_free(DEMO_PORT) else free_port()
    ctx.exit(asyncio.run(_run(port, open_page=open_page, traffic=traffic)))


async def _serve_tour() -> None:
    """Run the demo's backends for a service, name them on standard output, and end when the service does."""
    over, loop = asyncio.Event(), asyncio.get_running_loop()

    def end() -> None:
        loop.call_soon_threadsafe(over.set)

    end_with_parent(end)
    async with Tour() as tour:
        print_json(tour.backends, indent=None)
        await over.wait()


async def _run(port: int, *, open_page: bool, traffic: bool) -> int:
    """Run backends and service until a signal arrives or the service ends; return the exit code."""
    stopped = asyncio.Event()
    with suppress(NotImplementedError):  # Windows: Ctrl-C comes as KeyboardInterrupt there
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    with tempfile.TemporaryDirectory(prefix="meshlight-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        environ = environment({"MESHLIGHT_HOME": folder, **HOLDS_STDIN}) | own_key()
        paths = Paths.here(environ)
        async with Scenario() as scenario:
            backends = scenario.backends
            write_atomic(paths.config_file, config(port, backends).encode())
            process = await _start(environ | secrets(backends))
            try:
                ended = asyncio.create_task(process.wait())
                stop_requested = asyncio.create_task(stopped.wait())
                link = await _wait_for_link(paths.runtime_file, process, stop_requested)
                if link is not None:
                    _print_welcome(new_console(), home, link, scenario)
                    if open_page:
                        await asyncio.to_thread(_open_page, paths.runtime_file)
                    sending = (
                        asyncio.create_task(send_requests(paths.runtime_file, scenario.cool))
                        if traffic
                        else None
                    )
                    await asyncio.wait({ended, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
                    if sending is not None:
                        sending.cancel()
                        await asyncio.wait({sending})
                stop_requested.cancel()
            finally:
                code = await _stop(process)
    if not stopped.is_set() and code != 0:  # 0: Quit in the tray menu
        raise ServiceError(f"The demo's service ended by itself (exit code {code}).", "Its message is above.")
    click.echo("The demo has ended.")
    return 0


def config(port: int, backends: Iterable[SimulatedBackend]) -> str:
    """Return the configuration of a service with only these backends, and without discovery."""
    lines = [f"port = {port}", 'name = "Demo"', "", "[discovery]", "enabled = false"]
    lines += ["", "[lan]", "browse = false"]
    for backend in backends:
        lines += ["", "[[backends]]"]
        for key in ("id", "name", "kind", "url", "ring", "access_key"):
            if value := getattr(backend, key):
                lines.append(f'{key} = "{value}"')
        if backend.slots is not None:
            lines.append(f"slots = {backend.slots}")
    return "\n".join(lines) + "\n"


def secrets(backends: Iterable[SimulatedBackend]) -> dict[str, str]:
    """Return the environment variables with the API keys of these backends, so that no keyring is used."""
    return {variable(backend.id, "api_key"): backend.secret for backend in backends if backend.secret}


def own_key() -> dict[str, str]:
    """Return the local key from our environment, if it has one: the demo's service uses the same."""
    key = OWN_VARIABLES.get(KEY, "")
    return {KEY: key} if key else {}


async def _start(environ: dict[str, str]) -> Process:
    """Start tray and service (only the service where there is no tray).

    They end when their standard input closes, so even if we are killed.
    """
    # In a session of its own, so that the terminal's Ctrl-C reaches only us, and we end the child gracefully.
    return await asyncio.create_subprocess_exec(
        *program("tray", "--quiet", "--no-discovery"),
        stdin=PIPE,
        env=environ,
        start_new_session=sys.platform != "win32",
    )


async def _stop(process: Process) -> int:
    """End the service and return its exit code: close its input, then SIGTERM, then SIGKILL, each if needed."""
    if process.stdin is not None:
        process.stdin.close()
    for last_resort in (process.terminate, process.kill):
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                return await process.wait()
        with suppress(ProcessLookupError):
            last_resort()
    return await process.wait()


async def _wait_for_link(
    runtime_file: Path, process: Process, stop_requested: "asyncio.Task[bool]"
) -> str | None:
    """Wait for the service and return its one-time link; None if it ended or a signal arrived."""
    loop = asyncio.get_running_loop()
    until = loop.time() + START_S
    while process.returncode is None and not stop_requested.done():
        try:
            return await asyncio.to_thread(_fetch_link, runtime_file)
        except ServiceError:
            if loop.time() > until:
                raise
        await asyncio.sleep(POLL_S)
    return None


def _fetch_link(runtime_file: Path) -> str:
    with ApiClient.connect(runtime_file) as client:
        return client.one_time_link()


def _open_page(runtime_file: Path) -> None:
    with ApiClient.connect(runtime_file) as client:
        open_page(client)


def _print_welcome(console: Console, home: Path, link: str, scenario: Scenario) -> None:
    """Print what runs, how to open it, and how to break it."""
    columns = (
        Column(title="BACKEND", min_width=16),
        Column(title="ADDRESS"),
        Column(title="FAULT SWITCH"),
        Column(title="MODELS", min_width=10, drop=1, fit=cut),
    )
    rows = [[h.name, h.url, h.switch or "none", ", ".join(h.models)] for h in scenario.backends]
    width = TerminalStyle.of(console).width
    healthy, broken = scenario.llamacpp, scenario.broken
    click.echo("The demo backends run. They use no model: all their answers are scripted.")
    console.print("", *lay_out(columns, rows, width), sep="\n")
    lines = [
        "",
        "The mesh page (this link works once, within a minute):",
        f"  {link}",
        "Select the router there: its last requests say why each one went where it did. All kinds come within 40 s.",
        "Try it from another terminal:",
        _shell_line(home),
        "  meshlight status",
        f"  meshlight test {healthy.models[0]}",
        f"Break {healthy.name}, and repair {broken.name}:",
        f'  curl -d \'{{"kind": "refuse"}}\' {healthy.control_url}/fault',
        f"  curl -X DELETE {broken.control_url}/fault",
        "Other kinds of faults:",
        *(
            f"  {line}"
            for line in wrap(", ".join(kind for kind in FAULT_KINDS if kind != "refuse"), width - 2)
        ),
        "",
        "Ctrl-C ends the demo, as does Quit in the tray menu, and removes all its files.",
    ]
    for line in lines:
        click.echo(line)  # without line breaks, so that links and commands can be copied


def _shell_line(home: Path) -> str:
    if sys.platform == "win32":
        return f"  $env:MESHLIGHT_HOME = '{home}'"
    return f"  export MESHLIGHT_HOME='{home}'"
