"""A mesh of 50 machines and 5,000 requests on a simulated clock: the product's choice beside the usual ones."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from simulation.demand import MODELS, Conversation, demand
from simulation.gateways import Gateway, Meshlight, Plain, Request
from simulation.machines import Machine, Timeline, machines

SLOW_SHARE = (0.35, 0.75)
"""The part of the time in which some machines are slower."""
SLOWNESS = 4.0
PER_S = 1.0
"""Conversations that begin in a second, for 50 machines."""

WIDTH = 100
"""Columns of the table, also where the terminal is not known."""

Make = Callable[[Timeline, Sequence[Machine]], Gateway]

GATEWAYS: Mapping[str, Make] = {
    "round-robin": lambda timeline, mesh: Plain(timeline, mesh, "round-robin"),
    "least busy": lambda timeline, mesh: Plain(timeline, mesh, "least-busy"),
    "Meshlight: local-first": lambda timeline, mesh: Meshlight(timeline, mesh, "local-first"),
    "Meshlight: least-busy": lambda timeline, mesh: Meshlight(timeline, mesh, "least-busy"),
    "Meshlight: fastest": lambda timeline, mesh: Meshlight(timeline, mesh, "fastest"),
}


class Outcome(Struct, frozen=True):
    """What became of all requests."""

    times: Sequence[float]
    """Seconds until each answer was complete, shortest first."""
    wait_s: float
    """Until a slot was free and the model in memory, on average."""
    continued: int
    """Requests that continue a conversation."""
    moved: int
    """Of these, those that went to another machine than the one before."""
    hits: int
    """Of these, those whose prompt was in the cache there."""
    loads: int
    """How often a model was loaded."""
    refused: int
    """Attempts at a machine whose context was too small."""
    queued: int
    """Requests that waited in the gateway."""

    @property
    def mean_s(self) -> float:
        """The average time."""
        return sum(self.times) / len(self.times)

    def percentile_s(self, share: float) -> float:
        """Return the time in which this share of the answers was complete."""
        return self.times[min(int(len(self.times) * share), len(self.times) - 1)]


class Run:
    """One gateway with its own machines, and the demand that all share."""

    def __init__(self, make: Make, seed: int = 1, number: int = 50, requests: int = 5_000) -> None:
        self.timeline = Timeline()
        self.machines = machines(self.timeline, seed, number, MODELS)
        self.gateway = make(self.timeline, self.machines)
        self.finished: list[Request] = []
        contexts: dict[str, int] = {}
        for machine in self.machines:
            contexts.update(
                (name, max(contexts.get(name, 0), machine.make.context)) for name in machine.hosted
            )
        conversations = demand(seed, requests, PER_S * number / 50, contexts)
        for conversation in conversations:
            self.timeline.at(conversation.start_s, partial(self._ask, conversation, 0))
        end_s = conversations[-1].start_s
        for machine in self.machines[::9]:
            self.timeline.at(end_s * SLOW_SHARE[0], partial(machine.slow_down, SLOWNESS))
            self.timeline.at(end_s * SLOW_SHARE[1], partial(machine.slow_down, 1.0))

    def outcome(self) -> Outcome:
        """Let it happen."""
        self.timeline.run()
        before: dict[int, str] = {}
        continued = moved = hits = 0
        for request in self.finished:
            number = request.conversation.number
            if number in before:
                continued += 1
                moved += before[number] != request.machine
                hits += request.job.is_hit
            before[number] = request.machine
        requests = self.finished
        return Outcome(
            times=sorted(request.ended_at - request.asked_at for request in requests),
            wait_s=sum(request.job.began_at - request.asked_at for request in requests) / len(requests),
            continued=continued,
            moved=moved,
            hits=hits,
            loads=sum(machine.loads for machine in self.machines),
            refused=sum(request.refused for request in requests),
            queued=sum(request.sent_at > request.asked_at for request in requests),
        )

    def _ask(self, conversation: Conversation, at: int) -> None:
        self.gateway.submit(
            Request(conversation, conversation.turns[at], self.timeline.now, partial(self._done, at))
        )

    def _done(self, at: int, request: Request) -> None:
        request.ended_at = self.timeline.now
        self.finished.append(request)
        turns = request.conversation.turns
        if at + 1 < len(turns):
            self.timeline.at(
                self.timeline.now + turns[at + 1].think_s, partial(self._ask, request.conversation, at + 1)
            )


def table(outcomes: Mapping[str, Outcome], title: str) -> Table:
    """Return the comparison for people."""
    shown = Table(title=title, title_justify="left")
    for column in ("", "mean s", "p95 s", "wait s", "moved", "cached", "loads", "too small", "queued"):
        shown.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, outcome in outcomes.items():
        shown.add_row(
            name,
            f"{outcome.mean_s:.1f}",
            f"{outcome.percentile_s(0.95):.1f}",
            f"{outcome.wait_s:.1f}",
            f"{outcome.moved / max(outcome.continued, 1):.0%}",
            f"{outcome.hits / max(outcome.continued, 1):.0%}",
            f"{outcome.loads:,}",
            f"{outcome.refused:,}",
            f"{outcome.queued:,}",
        )
    return shown


def main() -> None:
    """Compare all gateways; the numbers are the same for the same seed on every computer."""
    parser = argparse.ArgumentParser(prog="dev.py simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--machines", type=int, default=50)
    parser.add_argument("--requests", type=int, default=5_000)
    arguments = parser.parse_args()
    outcomes = {
        name: Run(make, arguments.seed, arguments.machines, arguments.requests).outcome()
        for name, make in GATEWAYS.items()
    }
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table(outcomes, f"{arguments.requests:,} requests at {arguments.machines} machines"))
    usual, best = outcomes["least busy"], outcomes["Meshlight: local-first"]
    less = 1 - best.percentile_s(0.95) / usual.percentile_s(0.95)
    console.print(f"p95 completion, Meshlight beside least busy: {less:.0%} less")


if __name__ == "__main__":
    main()
