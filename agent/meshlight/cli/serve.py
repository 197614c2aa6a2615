"""The command `meshlight serve`. This module imports click only, as its imports stay in the service's memory."""

from pathlib import Path

import click

from meshlight.cli.entry import LEVELS
from meshlight.cli.service_options import service_options


@click.command(
    epilog="""\b
Examples:
  meshlight serve
  meshlight serve --port 6400 --no-discovery
  MESHLIGHT_HOME=/srv/meshlight meshlight serve --log-level warning

Ctrl-C ends it after running requests have finished (10 s at most)."""
)
@service_options
@click.option(
    "--log-level", type=click.Choice(LEVELS), default="info", show_default=True, help="How much to log."
)
@click.option("--quiet", is_flag=True, help="Don't print a link or a welcome.")
@click.pass_context
def serve(
    ctx: click.Context,
    *,
    port: int | None,
    config: Path | None,
    insecure_storage: bool,
    no_discovery: bool,
    log_level: str,
    quiet: bool,
) -> None:
    """Run the service in this terminal.

    It finds the engines on this machine, monitors every backend, and answers OpenAI requests at
    http://127.0.0.1:6374/v1. It prints a link that opens the mesh page once.
    """
    from meshlight.service.options import ServeOptions  # noqa: PLC0415 -- `serve --help` needn't load the whole service
    from meshlight.service.process import serve as run  # noqa: PLC0415 -- the same

    options = ServeOptions(
        port=port,
        config=config,
        insecure_storage=insecure_storage,
        discovery=not no_discovery,
        quiet=quiet,
        log_level=log_level,
    )
    ctx.exit(run(options))
