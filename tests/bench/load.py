"""The load: wrk for whole answers, a client of our own for paced streams."""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import msgspec
import uvloop
from msgspec import Struct

from bench.gauge import Used, used
from bench.subjects import LOAD_CORE, Subject
from bench.upstream import DELTA

SMALL = '{"model": "m", "messages": [{"role": "user", "content": "Say hello, and keep it short, please."}]}'
TRANSLATED = (
    '{"model": "m", "max_tokens": 20,'
    ' "messages": [{"role": "user", "content": "Say hello, and keep it short, please."}]}'
)
"""For `/v1/messages`, at a backend that has chat completions only."""
STREAM = '{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Sample(Struct, frozen=True):
    """One run: requests per second, latency in microseconds, CPU microseconds of the gateway per request."""

    rate: float
    p50_us: float
    p90_us: float
    p99_us: float
    p999_us: float
    cpu_us: float
    errors: int


class Paced(Struct, frozen=True):
    """One run of paced streams: chunks that arrived of those that were due, CPU microseconds per chunk.

    `first_p50_us` and `first_p99_us` are the times from a request to the first chunk of its answer.
    """

    arrived: int
    due: int
    cpu_us: float
    rss: int
    first_p50_us: float
    first_p99_us: float


_REPORT = """
done = function(summary, latency, requests)
  io.write(string.format("MEASURED %d %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency:percentile(99.9),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status
    + summary.errors.timeout))
end
"""
"""What wrk says at its end, in microseconds."""


def wrk(
    subject: Subject,
    connections: int,
    seconds: float,
    body: str,
    folder: Path,
    path: str = "/v1/chat/completions",
) -> Sample:
    """Keep `connections` busy for some seconds."""
    script = folder / "post.lua"
    headers = {"content-type": "application/json", **subject.headers}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(['wrk.method = "POST"', f"wrk.body = '{body}'", *lines, _REPORT]))
    url = f"{subject.scheme}://127.0.0.1:{subject.port}{path}"
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s"]
    before = used(*subject.pids) if subject.pids else None
    said = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, check=True
    ).stdout
    spent = used(*subject.pids).since(before) if before else Used(0.0, 0, 0)
    found = re.search(r"MEASURED ([\d ]+)", said)
    if found is None:
        raise SystemExit(f"wrk said something unexpected:\n{said}")
    requests, took_us, p50, p90, p99, p999, errors = map(int, found[1].split())
    return Sample(requests / took_us * 1e6, p50, p90, p99, p999, spent.cpu_s * 1e6 / max(requests, 1), errors)


def paced(subject: Subject, streams: int, chunks: int, pace_ms: int = 100) -> Paced:
    """Open that many streams, each with a chunk every `pace_ms`, and read them to their ends.

    That is done by a process of its own, on the load's core.
    """
    before = used(*subject.pids) if subject.pids else None
    wish = msgspec.json.encode([subject.port, streams, chunks, pace_ms, subject.headers]).decode()
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.load", wish]
    tests = Path(__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tests).stdout
    spent = used(*subject.pids).since(before) if before else Used(0.0, 0, 0)
    arrived, p50_us, p99_us = map(int, said.split())
    return Paced(arrived, streams * chunks, spent.cpu_s * 1e6 / max(arrived, 1), spent.rss, p50_us, p99_us)


class Reader(asyncio.Protocol):
    """Sends one request and counts the events of its answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.events = 0
        self.first_us = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(DELTA)
        if self.events and not self.first_us:
            self.first_us = round((time.perf_counter() - self._sent) * 1e6)
        if data.endswith(b"0\r\n\r\n"):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.done.done():
            self.done.set_result(None)


async def read_streams(
    port: int, streams: int, chunks: int, pace_ms: int, headers: dict[str, str]
) -> tuple[int, int, int]:
    """Return the chunks that arrived, and the median and the 99th percentile of the first one's time."""
    wish = f'"metadata": {{"paced": {pace_ms}, "count": {chunks}}}'  # a usual field, as real requests have
    body = f'{{"model": "m", "stream": true, {wish}, "messages": []}}'
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
    ]
    lines += [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    request = ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
    loop = asyncio.get_running_loop()
    readers = []
    for _ in range(streams):
        _, reader = await loop.create_connection(lambda: Reader(request), "127.0.0.1", port)
        readers.append(reader)
    await asyncio.wait([reader.done for reader in readers], timeout=chunks * pace_ms / 1000 + 30)
    firsts = sorted(reader.first_us for reader in readers)
    return sum(reader.events for reader in readers), firsts[len(firsts) // 2], firsts[len(firsts) * 99 // 100]


def idle(subject: Subject, seconds: float) -> Used:
    """Watch a process that nobody asks anything."""
    before = used(*subject.pids)
    time.sleep(seconds)
    spent = used(*subject.pids).since(before)
    return Used(spent.cpu_s / seconds, round(spent.wakeups / seconds), spent.rss)


if __name__ == "__main__":
    print(*uvloop.run(read_streams(*msgspec.json.decode(sys.argv[1]))))
