"""The benchmark: Meshlight beside nginx (and LiteLLM) in one run, interleaved, as ratios.

The gateway under test is pinned to one core, load and upstream to the other. Absolute numbers belong to the
machine of the day; what counts is the ratio of two rows of the same run.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.choice import choice
from bench.load import SMALL, STREAM, Paced, Sample, idle, paced, wrk
from bench.neighbours import neighbours
from bench.subjects import Subject, litellm, meshlight, nginx, upstream

CONNECTIONS = (1, 16, 64)
console = Console()


def middle(samples: Sequence[Sample]) -> Sample:
    return Sample(
        median(s.rate for s in samples),
        median(s.p50_us for s in samples),
        median(s.p99_us for s in samples),
        median(s.cpu_us for s in samples),
        sum(s.errors for s in samples),
    )


def whole_answers(subjects: Sequence[Subject], body: str, title: str, arguments: argparse.Namespace) -> None:
    """Small JSON answers, or streams of 64 chunks, at several numbers of connections."""
    folder: Path = arguments.folder
    for connections in CONNECTIONS:
        runs: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
        for _ in range(arguments.rounds):
            for subject in subjects:
                runs[subject.name].append(wrk(subject, connections, arguments.seconds, body, folder))
        result = {name: middle(samples) for name, samples in runs.items()}
        direct, base = result["direct"], result["nginx"]
        table = Table(title=f"{title}, {connections} connections", title_justify="left")
        for column in (
            "",
            "requests/s",
            "CPU µs/request",
            "CPU ÷ nginx",
            "added p50 µs",
            "added p99 µs",
            "errors",
        ):
            table.add_column(column, justify="right")
        for name, sample in result.items():
            table.add_row(
                name,
                f"{sample.rate:,.0f}",
                f"{sample.cpu_us:.0f}" if name != "direct" else "",
                f"{sample.cpu_us / base.cpu_us:.2f}" if name != "direct" else "",
                f"{sample.p50_us - direct.p50_us:.0f}" if name != "direct" else "",
                f"{sample.p99_us - direct.p99_us:.0f}" if name != "direct" else "",
                str(sample.errors),
            )
        console.print(table)
        if "LiteLLM" in result:
            ratio = result["meshlight"].rate / result["LiteLLM"].rate
            console.print(f"  Meshlight serves {ratio:.0f} times LiteLLM's requests/s.")


def paced_streams(subjects: Sequence[Subject], arguments: argparse.Namespace) -> None:
    """A thousand streams with a chunk every 100 ms: none may be lost."""
    measured = [subject for subject in subjects if subject.name in {"nginx", "meshlight"}]
    runs: dict[str, list[Paced]] = {subject.name: [] for subject in measured}
    for _ in range(arguments.rounds):
        for subject in measured:
            runs[subject.name].append(paced(subject, arguments.streams, arguments.chunks))
    table = Table(title=f"{arguments.streams} paced streams, a chunk every 100 ms", title_justify="left")
    for column in ("", "chunks lost", "CPU µs/chunk", "÷ nginx", "RSS MiB after"):
        table.add_column(column, justify="right")
    base = median(run.cpu_us for run in runs["nginx"])
    for name, results in runs.items():
        cpu_us = median(run.cpu_us for run in results)
        lost = sum(run.due - run.arrived for run in results)
        table.add_row(
            name, str(lost), f"{cpu_us:.0f}", f"{cpu_us / base:.2f}", f"{results[-1].rss / 2**20:.0f}"
        )
    console.print(table)


def many_models(arguments: argparse.Namespace) -> None:
    """The cost of a request must not depend on how many models there are."""
    folder: Path = arguments.folder
    costs: dict[int, list[float]] = {10: [], 10_000: []}
    with ExitStack() as stack:
        subjects = {
            models: stack.enter_context(
                meshlight(folder, [stack.enter_context(upstream(folder, models))], models)
            )
            for models in costs
        }
        for _ in range(arguments.rounds):
            for models, subject in subjects.items():
                costs[models].append(wrk(subject, 16, arguments.seconds, SMALL, folder).cpu_us)
    few, many = (median(cost) for cost in costs.values())
    console.print(
        f"CPU per request with 10,000 models ÷ with 10: {many / few:.2f} ({few:.0f} → {many:.0f} µs)"
    )


def one_hop(arguments: argparse.Namespace) -> None:
    """The way over a peer, beside the plain way over TLS: both end at the same upstream."""
    folder: Path = arguments.folder
    with ExitStack() as stack:
        port = stack.enter_context(upstream(folder))
        subjects = [
            stack.enter_context(nginx(folder, port, tls=True)),
            *stack.enter_context(neighbours(folder, port)),
        ]
        table = Table(title="One hop over a peer", title_justify="left")
        for column in ("", "connections", "requests/s", "p50 µs", "÷ TLS", "CPU µs/request", "errors"):
            table.add_column(column, justify="right")
        for connections in CONNECTIONS:
            runs: dict[str, list[Sample]] = {subject.name: [] for subject in subjects}
            for _ in range(arguments.rounds):
                for subject in subjects:
                    runs[subject.name].append(wrk(subject, connections, arguments.seconds, SMALL, folder))
            base = middle(runs["nginx"]).p50_us
            for name, samples in runs.items():
                sample = middle(samples)
                table.add_row(
                    "TLS (nginx)" if name == "nginx" else name,
                    str(connections),
                    f"{sample.rate:,.0f}",
                    f"{sample.p50_us:.0f}",
                    f"{sample.p50_us / base:.2f}",
                    f"{sample.cpu_us:.0f}",
                    str(sample.errors),
                )
        console.print(table)


def at_rest(arguments: argparse.Namespace) -> None:
    """What the service uses while nobody asks: with 5 backends, and with 100 that are probed every 5 s."""
    folder: Path = arguments.folder
    table = Table(title="At rest", title_justify="left")
    for column in ("backends", "CPU % of a core", "wake-ups/s", "RSS MiB", "start to first answer s"):
        table.add_column(column, justify="right")
    for count in (5, 100):
        with ExitStack() as stack:
            ports = [stack.enter_context(upstream(folder)) for _ in range(min(count, 5))]
            targets = (
                [ports[n % len(ports)] for n in range(count)] if count <= 5 else many(stack, folder, count)
            )
            subject = stack.enter_context(meshlight(folder, targets))
            idle(subject, 6.0)  # the start settles first
            spent = idle(subject, arguments.rest)
            table.add_row(
                str(count),
                f"{spent.cpu_s * 100:.2f}",
                str(spent.wakeups),
                f"{spent.rss / 2**20:.0f}",
                f"{subject.started_s:.2f}",
            )
    console.print(table)


def many(stack: ExitStack, folder: Path, count: int) -> list[int]:
    return [stack.enter_context(upstream(folder)) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="also LiteLLM's proxy, in a venv of its own")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument(
        "--only",
        choices=("json", "stream", "paced", "models", "rest", "peers", "choice"),
        help="one part alone",
    )
    arguments = parser.parse_args()
    if arguments.only == "choice":
        choice(console)
        return
    for program in ("nginx", "wrk", "taskset"):
        if not (shutil.which(program) or Path(f"/usr/sbin/{program}").exists()):
            raise SystemExit(f"{program} is missing: apt-get install nginx-light wrk util-linux")
    arguments.rounds, arguments.seconds, arguments.rest = (
        (1, 2.0, 10.0) if arguments.quick else (3, 5.0, 30.0)
    )
    arguments.streams, arguments.chunks = (200, 20) if arguments.quick else (1000, 50)
    with tempfile.TemporaryDirectory(prefix="meshlight-bench-") as folder, ExitStack() as stack:
        arguments.folder = Path(folder)
        if arguments.only in {None, "json", "stream", "paced"}:
            port = stack.enter_context(upstream(arguments.folder))
            subjects = [
                Subject("direct", port, ()),
                stack.enter_context(nginx(arguments.folder, port)),
                stack.enter_context(meshlight(arguments.folder, [port])),
                stack.enter_context(meshlight(arguments.folder, [port], lane=False)),
            ]
            if arguments.peers:
                subjects.append(stack.enter_context(litellm(arguments.folder, port)))
            if arguments.only in {None, "json"}:
                whole_answers(subjects, SMALL, "Small JSON", arguments)
            if arguments.only in {None, "stream"}:
                whole_answers(subjects[:4], STREAM, "Streams of 64 chunks", arguments)
            if arguments.only in {None, "paced"}:
                paced_streams(subjects, arguments)
        stack.pop_all().close()
        if arguments.only in {None, "peers"}:
            one_hop(arguments)
        if arguments.only in {None, "models"}:
            many_models(arguments)
        if arguments.only in {None, "rest"}:
            at_rest(arguments)


if __name__ == "__main__":
    main()
