"""One file: fetched, gone on with, waited for, checked."""

import asyncio
import errno
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from local_models.downloads.rig import Fetching, entries, noise, part_sizes
from meshlight.local_models.downloads.fetch import MARGIN, MARGIN_MIN, Fetcher, Progress, Source, margin_for
from meshlight.local_models.downloads.part import Part
from meshlight.local_models.downloads.problems import DownloadFailed, TryLater
from meshlight.local_models.downloads.web import Web
from servers.byte_server import ByteServer, Peer
from servers.fake_hub import FakeHub, Fault, Repository

DATA = noise(300_000)
CHILD = """
import asyncio, itertools, sys
from pathlib import Path
from meshlight.local_models.downloads.fetch import Fetcher, Source
from meshlight.local_models.downloads.web import Web
url, size, sha256, folder = sys.argv[1:]
source = Source(url=url, name="a.gguf", size=int(size), sha256=sha256)
clock = itertools.count().__next__  # so that each byte is told and written at once
fetching = Fetcher(clock=clock).fetch(Web(), source, Path(folder), lambda seen: print(seen.done_bytes, flush=True))
asyncio.run(fetching)
"""


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub(me__tiny=Repository({"a.gguf": DATA})) as hub:
        yield hub


async def test_a_file_arrives_whole_and_no_part_of_it_stays_behind(hub: FakeHub, tmp_path: Path) -> None:
    fetching = Fetching(hub, tmp_path)
    whole = await fetching.fetch()
    assert whole.read_bytes() == DATA
    assert entries(tmp_path) == [whole]
    assert fetching.seen[0] == Progress("running", 0)
    assert fetching.seen[-1] == Progress("checking", len(DATA))


async def test_what_is_here_already_is_not_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    whole = await Fetching(hub, tmp_path).fetch()
    assert await Fetching(hub, tmp_path).fetch() == whole
    assert len(hub.file_requests) == 1


async def test_a_connection_that_breaks_is_gone_on_with_at_the_byte(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.extend([Fault(cut_after=100_000), Fault(cut_after=50_000)])
    fetching = Fetching(hub, tmp_path)
    assert (await fetching.fetch()).read_bytes() == DATA
    assert hub.ranges == ["", "bytes=100000-", "bytes=150000-"]
    assert fetching.pauses.seen == [1.0, 1.0], "it had progressed in between"
    assert all("if-range" in request.headers for request in hub.file_requests[1:])


async def test_an_absent_network_is_waited_out_with_growing_pauses(hub: FakeHub, tmp_path: Path) -> None:
    fetching = Fetching(hub, tmp_path)
    source = fetching.source()
    # Nobody listens there: this stands for minutes without a network, until the hub is back.
    away = Source(url="http://127.0.0.1:1/x", name=source.name, size=source.size, sha256=source.sha256)
    task = asyncio.create_task(fetching.fetch(away))
    while len(fetching.pauses.seen) < 9:
        fetching.pauses.happened.clear()
        await fetching.pauses.happened.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert fetching.pauses.seen[:9] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    waiting = fetching.seen[-1]
    assert waiting.state == "waiting"
    assert waiting.reason is not None
    assert waiting.reason.text == "Connection refused at 127.0.0.1:1."


async def test_a_server_without_ranges_sends_all_and_what_is_here_is_left_out(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults.extend([Fault(cut_after=100_000), Fault(ignores_range=True)])
    assert (await Fetching(hub, tmp_path).fetch()).read_bytes() == DATA
    assert hub.ranges == ["", "bytes=100000-"]


async def test_a_file_that_changed_meanwhile_is_begun_anew(hub: FakeHub, tmp_path: Path) -> None:
    other = noise(len(DATA), 1)
    hub.faults.append(Fault(cut_after=100_000, body=other))
    fetching = Fetching(hub, tmp_path)
    assert (await fetching.fetch()).read_bytes() == DATA
    assert hub.ranges == ["", "bytes=100000-", ""], "the ETag was another, so all came, and was begun anew"


async def test_a_file_that_the_hub_has_changed_is_told(hub: FakeHub, tmp_path: Path) -> None:
    fetching = Fetching(hub, tmp_path)
    source = fetching.source()
    hub.repositories["me/tiny"].files["a.gguf"] = noise(len(DATA), 2)
    with pytest.raises(DownloadFailed, match="was changed on the hub: it has another checksum") as failed:
        await fetching.fetch(source)
    assert failed.value.reason.code == "changed"


async def test_another_length_is_told_before_anything_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault(body=DATA + b"x"))
    with pytest.raises(DownloadFailed, match="has 300,001 bytes instead of 300,000"):
        await Fetching(hub, tmp_path).fetch()


async def test_a_wrong_hash_is_tried_once_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault(body=noise(len(DATA), 3)))
    assert (await Fetching(hub, tmp_path).fetch()).read_bytes() == DATA
    assert hub.ranges == ["", ""]


async def test_a_hash_that_is_wrong_twice_is_told_and_nothing_of_it_stays(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.faults.extend([Fault(body=noise(len(DATA), 3)), Fault(body=noise(len(DATA), 4))])
    with pytest.raises(DownloadFailed, match="wrong checksum, twice"):
        await Fetching(hub, tmp_path).fetch()
    assert part_sizes(tmp_path) == [0]


async def test_a_part_that_was_damaged_on_the_disk_is_begun_anew(hub: FakeHub, tmp_path: Path) -> None:
    fetching = Fetching(hub, tmp_path)
    (tmp_path / f"{fetching.source().sha256}.part").write_bytes(bytes(200_000))
    assert (await fetching.fetch()).read_bytes() == DATA
    assert hub.ranges == ["bytes=200000-", ""]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(status=404, at_hub=True), "not-found"),
        (Fault(status=403, at_hub=True, headers={"X-Error-Code": "GatedRepo"}), "gated"),
        (Fault(status=401, at_hub=True), "gated"),
        (Fault(status=418, at_hub=True), "hub-refused"),
        (Fault(status=302, at_hub=True, headers={"Location": "ftp://127.0.0.1/x"}), "redirects"),
        (Fault(status=302, at_hub=True), "redirects"),
    ],
)
async def test_what_a_retry_can_not_help_is_told_at_once(
    hub: FakeHub, tmp_path: Path, fault: Fault, code: str
) -> None:
    hub.faults.append(fault)
    fetching = Fetching(hub, tmp_path)
    with pytest.raises(DownloadFailed) as failed:
        await fetching.fetch()
    assert failed.value.reason.code == code
    assert not isinstance(failed.value, TryLater)
    assert fetching.pauses.seen == []


@pytest.mark.parametrize(("value", "pause"), [("7", 7.0), ("999999", 3600.0), ("soon", 1.0), ("0", 1.0)])
async def test_a_hub_that_asks_to_wait_is_obeyed(
    hub: FakeHub, tmp_path: Path, value: str, pause: float
) -> None:
    hub.faults.append(Fault(status=429, at_hub=True, headers={"Retry-After": value}))
    fetching = Fetching(hub, tmp_path)
    assert (await fetching.fetch()).read_bytes() == DATA
    assert fetching.pauses.seen == [pause]


async def test_a_link_that_has_expired_is_asked_for_anew(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault(status=403))
    fetching = Fetching(hub, tmp_path)
    assert (await fetching.fetch()).read_bytes() == DATA
    assert len(hub.hub_requests) == 2


async def test_errors_of_the_server_end_it_when_they_do_not_stop(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.extend(Fault(status=503) for _ in range(20))
    fetching = Fetching(hub, tmp_path)
    with pytest.raises(DownloadFailed, match="answered with the error 503"):
        await fetching.fetch()
    assert len(fetching.pauses.seen) == 19


async def test_a_cancelled_fetch_keeps_its_part(hub: FakeHub, tmp_path: Path) -> None:
    never = asyncio.Event()
    hub.faults.append(Fault(cut_after=100_000, waits=never))
    first = Fetching(hub, tmp_path)
    task = asyncio.create_task(first.fetch())
    await first.has_begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    kept = part_sizes(tmp_path)[0]
    assert kept
    never.set()
    assert (await Fetching(hub, tmp_path).fetch()).read_bytes() == DATA
    assert hub.ranges == ["", f"bytes={kept}-"]


async def test_a_killed_process_is_gone_on_with_at_the_byte(tmp_path: Path) -> None:
    data = noise(3_000_000)
    never = asyncio.Event()
    async with FakeHub(me__tiny=Repository({"a.gguf": data})) as hub:
        hub.faults.append(Fault(cut_after=2_500_000, waits=never))
        source = Fetching(hub, tmp_path).source()
        words = [source.url, str(source.size), source.sha256, str(tmp_path)]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, *words, stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        while int(await child.stdout.readline()) < 2_000_000:
            pass
        child.kill()
        await child.communicate()
        never.set()
        kept = part_sizes(tmp_path)[0]
        assert kept >= 2_000_000
        fetching = Fetching(hub, tmp_path)
        assert (await fetching.fetch()).read_bytes() == data
        assert hub.ranges == ["", f"bytes={kept}-"]
        assert fetching.seen[0].state == "checking", "what the other has left is hashed first"


async def test_two_fetches_of_one_file_do_not_write_into_each_other(hub: FakeHub, tmp_path: Path) -> None:
    gate = asyncio.Event()
    hub.faults.append(Fault(cut_after=1000, waits=gate))
    first, second = Fetching(hub, tmp_path), Fetching(hub, tmp_path)
    one = asyncio.create_task(first.fetch())
    await hub.arrived.wait()
    two = asyncio.create_task(second.fetch())
    await second.pauses.happened.wait()
    waiting = second.seen[-1].reason
    assert waiting is not None
    assert waiting.code == "locked"
    gate.set()
    assert await one == await two
    assert len(hub.file_requests) == 1


async def test_a_disk_without_room_is_told_before_anything_is_fetched(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DownloadFailed, match="The disk is full") as failed:
        await Fetching(hub, tmp_path, free=200_000).fetch()
    assert failed.value.reason.code == "disk-full"
    assert hub.hub_requests == []


async def test_a_disk_that_fills_up_is_told_and_the_part_stays(hub: FakeHub, tmp_path: Path) -> None:
    class FullPart(Part):
        def write(self, data: bytes) -> None:
            if self.size:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write(data)

    hub.faults.append(Fault(cut_after=100_000))
    fetching = Fetching(hub, tmp_path)
    fetcher = Fetcher(pause=fetching.pauses, clock=lambda: 0.0, free_bytes=lambda _: 1 << 50, part=FullPart)
    with pytest.raises(DownloadFailed, match="The disk is full"):
        await fetcher.fetch(fetching.web, fetching.source(), tmp_path, fetching.seen.append)
    await fetching.web.close()
    assert part_sizes(tmp_path) == [100_000]
    assert (await Fetching(hub, tmp_path).fetch()).read_bytes() == DATA
    assert hub.ranges[-1] == "bytes=100000-"


async def test_progress_is_told_four_times_a_second_at_most(tmp_path: Path) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 0.01
        return now[0]

    data = noise(8 << 20)
    seen: list[float] = []
    async with FakeHub(me__tiny=Repository({"a.gguf": data})) as hub:
        fetching = Fetching(hub, tmp_path)
        fetcher = Fetcher(pause=fetching.pauses, free_bytes=lambda _: 1 << 50, clock=clock)
        await fetcher.fetch(
            fetching.web,
            fetching.source(),
            tmp_path,
            lambda progress: seen.append(now[0]) if progress.state == "running" else None,
        )
        await fetching.web.close()
    assert all(later - sooner >= 0.25 for sooner, later in pairwise(seen))


async def test_a_body_that_is_longer_than_it_says_is_no_file(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n", b"x" * 100_000)

    async with ByteServer(script) as server:
        source = Source(url=server.url, name="a", size=10, sha256=hashlib.sha256(b"x" * 10).hexdigest())
        web = Web()
        with pytest.raises(DownloadFailed, match="wrong checksum"):
            await Fetcher(free_bytes=lambda _: 1 << 50).fetch(web, source, tmp_path, lambda _: None)
        await web.close()


def test_the_room_that_stays_free_is_as_large_as_the_file_within_bounds() -> None:
    assert margin_for(1) == MARGIN_MIN
    assert margin_for(500_000_000) == 500_000_000
    assert margin_for(40_000_000_000) == MARGIN
