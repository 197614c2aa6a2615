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
STREAM = '{"model": "m", "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Sample(Struct, frozen=True):
    """One run: requests per second, latency in microseconds, CPU microseconds of the gateway per request."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float
    errors: int


class Paced(Struct, frozen=True):
    """One run of paced streams: chunks that arrived of those that were due, CPU microseconds per chunk."""

    arrived: int
    due: int
    cpu_us: float
    rss: int


def wrk(subject: Subject, connections: int, seconds: float, body: str, folder: Path) -> Sample:
    """Keep `connections` busy for some seconds."""
    script = folder / "post.lua"
    headers = {"content-type": "application/json", **subject.headers}
    lines = [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
    script.write_text("\n".join(['wrk.method = "POST"', f"wrk.body = '{body}'", *lines]))
    url = f"{subject.scheme}://127.0.0.1:{subject.port}/v1/chat/completions"
    command = [
        "taskset",
        "-c",
        str(LOAD_CORE),
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
    ]
    before = used(*subject.pids) if subject.pids else None
    said = subprocess.run(
        [*command, "-s", str(script), url], capture_output=True, text=True, check=True
    ).stdout
    spent = used(*subject.pids).since(before) if before else Used(0.0, 0, 0)
    count = int(_found(r"(\d+) requests in", said))
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    sockets = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    errors = int(failed[1]) if failed else 0
    errors += sum(int(number) for number in sockets.groups()) if sockets else 0
    return Sample(
        float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        _time(r"(?m)^ +50%\s+(\S+)", said),
        _time(r"(?m)^ +99%\s+(\S+)", said),
        spent.cpu_s * 1e6 / max(count, 1),
        errors,
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"wrk said something unexpected:\n{text}")
    return match[1]


def _time(pattern: str, text: str) -> float:
    value = _found(pattern, text)
    unit = "us" if value.endswith("us") else "ms" if value.endswith("ms") else "s"
    return float(value.removesuffix(unit)) * _UNITS[unit]


def paced(subject: Subject, streams: int, chunks: int) -> Paced:
    """Open that many streams and read them to their ends; run in a process of its own, on the load's core."""
    before = used(*subject.pids) if subject.pids else None
    wish = msgspec.json.encode([subject.port, streams, chunks, subject.headers]).decode()
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, "-m", "bench.load", wish]
    tests = Path(__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tests).stdout
    spent = used(*subject.pids).since(before) if before else Used(0.0, 0, 0)
    arrived = int(said)
    return Paced(arrived, streams * chunks, spent.cpu_s * 1e6 / max(arrived, 1), spent.rss)


class Reader(asyncio.Protocol):
    """Sends one request and counts the events of its answer."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.events = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.events += data.count(DELTA)
        if data.endswith(b"0\r\n\r\n"):
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.done.done():
            self.done.set_result(None)


async def read_streams(port: int, streams: int, chunks: int, headers: dict[str, str]) -> int:
    body = f'{{"model": "m", "stream": true, "paced": 1, "count": {chunks}, "messages": []}}'
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
    await asyncio.wait([reader.done for reader in readers], timeout=chunks * 0.1 + 30)
    return sum(reader.events for reader in readers)


def idle(subject: Subject, seconds: float) -> Used:
    """Watch a process that nobody asks anything."""
    before = used(*subject.pids)
    time.sleep(seconds)
    spent = used(*subject.pids).since(before)
    return Used(spent.cpu_s / seconds, round(spent.wakeups / seconds), spent.rss)


if __name__ == "__main__":
    print(uvloop.run(read_streams(*msgspec.json.decode(sys.argv[1]))))
