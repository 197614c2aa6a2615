"""Runs in the clean Debian: the service as the tray runs it, and one stream after the other through it.

Arguments: the service's port, and a file to which it writes after each stream how many came whole, how many were cut
off, and how many found nobody. It runs until it is killed.
"""

import asyncio
import sys
import threading
from pathlib import Path

import httpx

from meshlight.cli.demo import config
from meshlight.desktop.supervisor import Supervisor
from meshlight.desktop.system.process import program
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.scenario import SimulatedBackend
from meshlight.storage.paths import Paths

WORDS = 40
WORDS_PER_S = 20.0
"""A stream takes two seconds: less than the ten that the service gives it at its end."""


async def main(port: int, report: Path) -> None:
    """Start an engine and the service, and count streams."""
    paths = Paths.here()
    async with SimulatedEngine("llamacpp", speed=WORDS_PER_S, length=WORDS) as engine:
        model = engine.facts.models[0]
        backend = SimulatedBackend(
            id="engine", name="Engine", kind="llamacpp", url=engine.url, ring="machine", models=(model,)
        )
        paths.prepare()
        if not paths.config_file.exists():
            paths.config_file.write_text(f"# mine\n{config(port, [backend])}", "utf-8")
        Supervisor(program("serve", "--quiet"), paths.runtime_file, print).start()
        await asyncio.to_thread(_count, paths, port, model, report)


def _count(paths: Paths, port: int, model: str, report: Path) -> None:
    whole = cut = nobody = 0
    pause = threading.Event()
    while True:
        body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        received = ""
        try:
            key = paths.key_file.read_text("ascii").strip()
            with httpx.stream(
                "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body, trust_env=False,
                headers={"authorization": f"Bearer {key}"},
            ) as response:  # fmt: skip
                for line in response.iter_lines():
                    received += line
        except (OSError, httpx.HTTPError):
            pass
        if "data: [DONE]" in received:
            whole += 1
        elif "data: " in received:
            cut += 1
        else:
            nobody += 1
            pause.wait(0.1)
        report.write_text(f"whole={whole} cut={cut} nobody={nobody}\n", "ascii")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
