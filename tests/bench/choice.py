"""What the choice of a route costs: among few routes and many, where an early step decides and where the last."""

import time
import timeit
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from meshlight.domain.backend import OK, Backend, ModelDetail
from meshlight.domain.choice import Prompt
from meshlight.domain.health import Health
from meshlight.domain.routing import rank
from meshlight.domain.rules import Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.mesh.route_memory import Plan, RouteMemory
from meshlight.mesh.traffic import Traffic

COUNTS = (2, 3, 50)
ROUNDS = 200
CALLS = 100


def routes(count: int, memory: RouteMemory) -> tuple[Snapshot, Plan]:
    """Warm backends that are alike but for their speed."""
    nodes = {}
    for number in range(count):
        backend = Backend(
            id=f"b{number}", name=f"b{number}", kind="ollama", ring="lan", url=f"http://10.0.0.{number}"
        )
        nodes[backend.id] = Node(
            backend=backend,
            health=Health(state="healthy", reason=OK, latencies=(0.01,)),
            models=("m",),
            details={"m": ModelDetail(loaded=True, context=131_072)},
        )
    snapshot = Snapshot(nodes=nodes, routes=index(nodes), routing=Routing())
    plan = memory.plan(snapshot, "local-first", rank(snapshot, "m", {}, 0.0).scores)
    for number, route in enumerate(plan.routes):
        for _ in range(9):
            route.speeds.learn(time.monotonic(), 0.1 + number / 1000, 1.0, 300, 50)
    return snapshot, plan


def cost_us(call: Callable[[], object]) -> float:
    """The cheapest of many short rounds: what else runs on the machine only adds."""
    return min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def choice(console: Console) -> None:
    table = Table(title="The choice of a route", title_justify="left")
    for column in ("routes", "same conversation µs", "expected time decides µs", "ranked anew µs"):
        table.add_column(column, justify="right")
    for count in COUNTS:
        traffic = Traffic()
        memory = RouteMemory(traffic, time.monotonic)
        snapshot, plan = routes(count, memory)
        at_home, new = Prompt(tokens=900, home=("b1", "")), Prompt(tokens=900)
        table.add_row(
            str(count),
            f"{cost_us(lambda: memory.choose(plan, at_home, 1)):.1f}",  # noqa: B023 - called at once
            f"{cost_us(lambda: memory.choose(plan, new, 1)):.1f}",  # noqa: B023 - called at once
            f"{cost_us(lambda: rank(snapshot, 'm', traffic.load, 0.0, knowledge=memory)):.0f}",  # noqa: B023
        )
    console.print(table)
