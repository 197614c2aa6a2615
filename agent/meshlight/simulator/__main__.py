"""`python -m meshlight.simulator`: run the demo backends until Ctrl-C or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from contextlib import suppress

from meshlight.simulator.scenario import BASE_PORT, Scenario


async def run(base_port: int) -> None:
    """Run the scenario, print its addresses, and wait for the signal to stop."""
    stopped = asyncio.Event()
    with suppress(NotImplementedError):
        # Windows has no signal handlers on its loop; Ctrl-C comes as KeyboardInterrupt there.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Scenario(base_port) as scenario:
        sys.stdout.write(f"{scenario.describe()}\n\nCtrl-C stops them.\n")
        sys.stdout.flush()
        await stopped.wait()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m meshlight.simulator", description=__doc__)
    parser.add_argument(
        "--base-port",
        type=int,
        default=BASE_PORT,
        help="first port (default: %(default)s); 0 takes free ones",
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(run(parser.parse_args().base_port))


if __name__ == "__main__":
    main()
