"""The benchmark: Meshlight beside nginx and HAProxy (and LiteLLM) in one run, interleaved, as ratios.

The gateway under test is pinned to one core, load and upstream to the other. Absolute numbers belong to the
machine of the day; what counts is the ratio of two rows of the same run. A round during which something else used
more than a tenth of a core is repeated, and marked if that did not help.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec.structs import asdict
from rich.console import Console
from rich.table import Table

from bench.choice import choice
from bench.load import SMALL, STREAM, TRANSLATED, idle, paced, wrk
from bench.neighbours import neighbours
from bench.quiet import BUSY_CORES, Result, quietly
from bench.record import RATIOS, compare, load, new_run, save
from bench.subjects import LOAD_CORE, Subject, haproxy, litellm, meshlight, nginx, upstream

CONNECTIONS = (1, 16, 64, 256)
PACED = ((64, 20), (1000, 100), (5000, 500))
"""Numbers of streams, and milliseconds between the chunks of each."""
PARTS = ("rest", "json", "stream", "paced", "tls", "peers", "growth", "translated", "choice")
"""At rest first: later, the tables of the system are full of ended connections, which the service looks through."""
HOSTS = tuple(f"127.0.{number // 250}.{number % 250 + 1}" for number in range(500))
console = Console()
if not console.is_terminal:
    console = Console(width=140)


class Turn:
    """One gateway's turn in a round."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def __call__(self, measure: Callable[[Subject], Result]) -> tuple[Result, bool]:
        """Measure it; returns the result, and whether the machine was quiet."""
        return quietly(lambda: measure(self.subject))


class Bench:
    """The parts of a run; each measures its rounds, keeps them in `run`, and prints its table."""

    def __init__(
        self, folder: Path, *, is_quick: bool, with_litellm: bool, seconds: float | None = None
    ) -> None:
        self.folder = folder
        self.run = new_run()
        self._with_litellm = with_litellm
        self._rounds, self._seconds, self._rest = (1, 2.0, 10.0) if is_quick else (5, 5.0, 30.0)
        self._seconds = self._seconds if seconds is None else seconds
        self._paced = ((64, 20), (200, 100)) if is_quick else PACED

    def whole_answers(self, part: str, body: str) -> None:
        """Small JSON answers, or streams of 64 chunks, at several numbers of connections."""
        with self._gateways() as subjects:
            for connections in CONNECTIONS:
                title = f"{part}, {connections} connections"
                self._load(title, subjects, connections, body)
                self._print(title, ("rate", "cpu_us", "p50_us", "p90_us", "p99_us", "p999_us", "errors"))

    def paced_streams(self) -> None:
        """Many streams with a chunk now and then: none may be lost."""
        with self._gateways() as subjects:
            for streams, pace_ms in self._paced:
                title = f"{streams} streams, a chunk every {pace_ms} ms"
                chunks = max(20, 5000 // pace_ms)
                for turn in self._turns(subjects):
                    if turn.subject.name in {"direct", "LiteLLM"}:
                        continue
                    sample, is_quiet = turn(lambda s: paced(s, streams, chunks, pace_ms))  # noqa: B023 - called at once
                    self.run.add(
                        title,
                        turn.subject.name,
                        {
                            "cpu_us": sample.cpu_us,
                            "first_p50_us": sample.first_p50_us,
                            "first_p99_us": sample.first_p99_us,
                            "lost": sample.due - sample.arrived,
                            "rss_mib": sample.rss / 2**20,
                        },
                        is_quiet=is_quiet,
                    )
                self._print(title, ("lost", "cpu_us", "first_p50_us", "first_p99_us", "rss_mib"))

    def tls_upstream(self) -> None:
        """An upstream that is asked over TLS."""
        with ExitStack() as stack:
            port = stack.enter_context(upstream(self.folder))
            secure = stack.enter_context(nginx(self.folder, port, tls=True, core=LOAD_CORE)).port
            ca_file = self.folder / "nginx.pem"
            subjects = [
                stack.enter_context(nginx(self.folder, secure, to_tls=True)),
                stack.enter_context(meshlight(self.folder, [secure], scheme="https", ca_file=ca_file)),
            ]
            for connections in (1, 64):
                title = f"JSON, upstream over TLS, {connections} connections"
                self._load(title, subjects, connections, SMALL)
                self._print(title, ("rate", "cpu_us", "p50_us", "p99_us", "errors"))

    def one_hop(self) -> None:
        """The way over a peer, beside the plain way over TLS: both end at the same upstream."""
        with ExitStack() as stack:
            port = stack.enter_context(upstream(self.folder))
            subjects = [
                stack.enter_context(nginx(self.folder, port, tls=True)),
                *stack.enter_context(neighbours(self.folder, port)),
            ]
            for connections in (1, 16, 64):
                title = f"One hop over a peer, {connections} connections"
                self._load(title, subjects, connections, SMALL)
                self._print(title, ("rate", "cpu_us", "p50_us", "p99_us", "errors"))

    def growth(self) -> None:
        """The cost of a request must not depend on how many models or backends there are."""
        with ExitStack() as stack:
            one = stack.enter_context(upstream(self.folder))
            crowd = [stack.enter_context(upstream(self.folder)) for _ in range(50)]
            subjects = [stack.enter_context(meshlight(self.folder, [one], name="1 backend, 1 model"))]
            for models in (10, 10_000):
                port = stack.enter_context(upstream(self.folder, models))
                subjects.append(
                    stack.enter_context(
                        meshlight(self.folder, [port], models, name=f"1 backend, {models:,} models")
                    )
                )
            subjects.append(
                stack.enter_context(
                    meshlight(self.folder, [one], name="500 backends, 500 models", hosts=HOSTS)
                )
            )
            for count in (2, 50):  # with a choice
                some = meshlight(self.folder, crowd[:count], name=f"{count} backends, 1 model")
                subjects.append(stack.enter_context(some))
            self._load("Growth", subjects, 16, SMALL)
            self._print("Growth", ("cpu_us", "rate", "errors"), base="1 backend, 1 model")

    def translated(self) -> None:
        """A request of Anthropic's API at a backend that has OpenAI's, beside one that is passed on."""
        with ExitStack() as stack:
            port = stack.enter_context(upstream(self.folder))
            subject = stack.enter_context(meshlight(self.folder, [port], name="passed on"))
            slow = stack.enter_context(
                meshlight(self.folder, [port], name="passed on, without uvloop", has_uvloop=False)
            )
            title = "Translated, 16 connections"
            other = stack.enter_context(meshlight(self.folder, [port], name="translated", kind="mlx"))
            for turn in self._turns([subject, other, slow]):
                is_translated = turn.subject.name == "translated"
                body, path = (
                    (TRANSLATED, "/v1/messages") if is_translated else (SMALL, "/v1/chat/completions")
                )
                sample, is_quiet = turn(
                    lambda s: wrk(s, 16, self._seconds, body, self.folder, path)  # noqa: B023 - called at once
                )
                self.run.add(title, turn.subject.name, asdict(sample), is_quiet=is_quiet)
            self._print(title, ("cpu_us", "rate", "p50_us", "errors"), base="passed on")

    def at_rest(self) -> None:
        """Start, and what the service uses while nobody asks: with backends that are probed every 5 s."""
        for count in (1, 10, 100):
            title = f"At rest, {count} backends"
            with ExitStack() as stack:
                ports = [stack.enter_context(upstream(self.folder)) for _ in range(count)]
                subject = stack.enter_context(meshlight(self.folder, ports))
                idle(subject, 6.0)  # the start settles first
                spent, is_quiet = quietly(lambda: idle(subject, self._rest))  # noqa: B023 - called at once
                self.run.add(
                    title,
                    subject.name,
                    {
                        "cpu_percent": spent.cpu_s * 100,
                        "wakeups_per_s": spent.wakeups,
                        "rss_mib": spent.rss / 2**20,
                        "listening_s": subject.listening_s,
                        "first_answer_s": subject.started_s,
                    },
                    is_quiet=is_quiet,
                )
            self._print(
                title, ("cpu_percent", "wakeups_per_s", "rss_mib", "listening_s", "first_answer_s"), base=""
            )

    @contextmanager
    def _gateways(self) -> Iterator[Sequence[Subject]]:
        with ExitStack() as stack:
            port = stack.enter_context(upstream(self.folder))
            subjects = [
                Subject("direct", port, ()),
                stack.enter_context(nginx(self.folder, port)),
                stack.enter_context(haproxy(self.folder, port)),
                stack.enter_context(meshlight(self.folder, [port])),
                stack.enter_context(
                    meshlight(self.folder, [port], name="without lane", settings="lane = false")
                ),
                stack.enter_context(meshlight(self.folder, [port], name="not compiled", is_compiled=False)),
            ]
            if self._with_litellm:
                subjects.append(stack.enter_context(litellm(self.folder, port)))
            yield subjects

    def _turns(self, subjects: Sequence[Subject]) -> Iterator[Turn]:
        """Yield each gateway once a round, another one first each time."""
        for number in range(self._rounds):
            first = number % len(subjects)
            for subject in (*subjects[first:], *subjects[:first]):
                yield Turn(subject)

    def _load(self, title: str, subjects: Sequence[Subject], connections: int, body: str) -> None:
        for turn in self._turns(subjects):
            sample, is_quiet = turn(lambda s: wrk(s, connections, self._seconds, body, self.folder))
            values = asdict(sample)
            if not turn.subject.pids:
                del values["cpu_us"]
            self.run.add(title, turn.subject.name, values, is_quiet=is_quiet)

    def _print(self, part: str, names: Sequence[str], base: str = "nginx") -> None:
        """Print the medians, and the ratio of the CPU and of the time to the one that is compared to."""
        run = self.run
        table = Table(title=part, title_justify="left")
        table.add_column("")
        shown = [
            (name, ratio)
            for name in names
            for ratio in ((False, True) if name in RATIOS and base else (False,))
        ]
        for name, is_ratio in shown:
            table.add_column(f"÷ {base}" if is_ratio else _WORDS.get(name, name), justify="right")
        for subject in run.subjects(part):
            cells = []
            for name, is_ratio in shown:
                value = run.ratio(part, subject, name, base) if is_ratio else run.middle(part, subject, name)
                cells.append(
                    "" if value is None else f"{value:.2f}" if is_ratio or value < 10 else f"{value:,.0f}"
                )
            table.add_row(subject, *cells)
        console.print(table)
        noisy = run.busy(part)
        if noisy:
            console.print(
                f"  Not to be quoted: in {noisy} rounds other programs used more than {BUSY_CORES} of a core."
            )


_WORDS = {
    "rate": "requests/s",
    "cpu_us": "CPU µs",
    "p50_us": "p50 µs",
    "p90_us": "p90",
    "p99_us": "p99",
    "p999_us": "p99.9",
    "first_p50_us": "first chunk p50 µs",
    "first_p99_us": "p99",
    "lost": "chunks lost",
    "rss_mib": "RSS MiB",
    "cpu_percent": "CPU % of a core",
    "wakeups_per_s": "wake-ups/s",
    "listening_s": "start to listening s",
    "first_answer_s": "to first answer s",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--litellm", action="store_true", help="also LiteLLM's proxy, in a venv of its own")
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--seconds", type=float, help="how long each measurement takes (default: 5)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every round in a file")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar="FILE", help="measure nothing, and compare two such files"
    )
    arguments = parser.parse_args()
    if arguments.compare:
        compare(console, *map(load, arguments.compare))
        return
    parts: Sequence[str] = arguments.only or [part for part in PARTS if part != "choice"]
    if parts != ["choice"]:
        _need("nginx", "haproxy", "wrk", "taskset", "openssl")
    with tempfile.TemporaryDirectory(prefix="meshlight-bench-") as folder:
        bench = Bench(
            Path(folder), is_quick=arguments.quick, with_litellm=arguments.litellm, seconds=arguments.seconds
        )
        try:
            for part in parts:
                _measure(bench, part)
        finally:
            if arguments.json:
                save(bench.run, arguments.json)
                console.print(f"Every round is in {arguments.json}.")


def _measure(bench: Bench, part: str) -> None:
    match part:
        case "json":
            bench.whole_answers("JSON", SMALL)
        case "stream":
            bench.whole_answers("Streams of 64 chunks", STREAM)
        case "paced":
            bench.paced_streams()
        case "tls":
            bench.tls_upstream()
        case "peers":
            bench.one_hop()
        case "growth":
            bench.growth()
        case "translated":
            bench.translated()
        case "rest":
            bench.at_rest()
        case _:
            choice(console)


def _need(*programs: str) -> None:
    missing = [one for one in programs if not (shutil.which(one) or Path(f"/usr/sbin/{one}").exists())]
    if missing:
        raise SystemExit(
            f"{', '.join(missing)} is missing: apt-get install nginx-light haproxy wrk util-linux openssl"
        )


if __name__ == "__main__":
    main()
