"""What the doctor says of the engines: as the service sees them, or as one look at the usual ports finds them."""

import asyncio

from meshlight.backends.address import Address
from meshlight.backends.detect import Detector, usual_ports
from meshlight.backends.kind import Found
from meshlight.backends.upstream import Upstream
from meshlight.desktop.text import count
from meshlight.domain.view import BackendView, SnapshotView
from meshlight.words.finding import Finding, fine, look


def as_seen(view: SnapshotView) -> list[Finding]:
    """Judge each backend that is on by what the service knows of it."""
    judged = [_judge(backend) for backend in view.backends if backend.enabled]
    return judged or [_nothing()]


def on_usual_ports() -> list[Finding]:
    """Look for engines without the service."""
    found = asyncio.run(_scan())
    return [
        fine(f"{engine.name} answers at {engine.url} with {count(len(engine.models), 'model')}.")
        for engine in found
    ] or [_nothing()]


async def _scan() -> list[Found]:
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
        return fine(f"{backend.name} answers at {backend.url} with {count(len(backend.models), 'model')}.")
    return look(f"{backend.name} is {health.state}: {health.text}", health.fix)


def _nothing() -> Finding:
    ports = ", ".join(str(port) for port in sorted(usual_ports()))
    return look(
        f"No engine answers on the usual ports of this machine ({ports}).",
        "Start one (such as `ollama serve`), add one by its address (meshlight backends add), or try the demo.",
    )
