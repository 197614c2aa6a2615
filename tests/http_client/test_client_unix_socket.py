"""A backend behind a Unix socket of this machine: found by its path, and every mistake named."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from backends.playback import answer, backend
from event_loops import on_each_loop
from meshlight.backends.kinds import KINDS, ring_for
from meshlight.domain.errors import BadAddress, ConnectError
from meshlight.domain.health import Answered, Failed
from meshlight.http_client.address import Address, parse_address, ring_of, socket_path
from meshlight.http_client.client import Upstream
from meshlight.mesh.backend_admin import server_key
from meshlight.storage.config.backend_ids import EntryNames, host_of, name_backends, url_fault, url_identity
from meshlight.storage.config.parser import read_config

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no Unix sockets for us")
LIST = answer({"object": "list", "data": [{"id": "m", "object": "model"}]})
NOBODY = 65_534
CONTINUUM = KINDS["continuum"]


@asynccontextmanager
async def served(heads: list[str]) -> AsyncIterator[Path]:
    """Answer every request over a socket in a folder with a short path (pytest's own are too long for one)."""

    guests: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guests.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                writer.write(LIST)
        writer.close()

    with TemporaryDirectory() as folder:
        path = Path(folder, "router.sock")
        server = await asyncio.start_unix_server(serve, path)
        try:
            yield path
        finally:
            server.close()
            for guest in guests:
                guest.close()
                with suppress(ConnectionError):
                    await guest.wait_closed()


async def probe(url: str) -> Answered | Failed:
    upstream = Upstream(parse_address(url))
    try:
        fact = (await CONTINUUM.probe(upstream, backend(CONTINUUM, url), None)).fact
    finally:
        upstream.close()
    assert isinstance(fact, Answered | Failed)
    return fact


@on_each_loop
async def test_a_backend_is_spoken_to_through_its_socket() -> None:
    heads: list[str] = []
    async with served(heads) as path:
        upstream = Upstream(parse_address(f"unix://{path}"))
        replies = [await upstream.fetch("GET", "/v1/models") for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200]
        assert replies[1].reused
        assert heads[0].startswith("GET /v1/models HTTP/1.1\r\nhost: localhost\r\n")
        upstream.close()


@on_each_loop
async def test_where_no_socket_is_the_path_is_named() -> None:
    with pytest.raises(ConnectError, match=r"There is no socket at /nowhere/x\.sock\.") as failed:
        await Upstream(parse_address("unix:///nowhere/x.sock")).fetch("GET", "/v1/models")
    assert failed.value.cause == "refused"


@on_each_loop
async def test_a_socket_that_nobody_listens_on_refuses() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "stale.sock")  # what a crash leaves behind
        with socket.socket(socket.AF_UNIX) as once:
            once.bind(str(path))
        with pytest.raises(ConnectError, match="Connection refused at /") as failed:
            await Upstream(parse_address(f"unix://{path}")).fetch("GET", "/v1/models")
    assert failed.value.cause == "refused"


async def test_a_socket_of_somebody_else_is_told() -> None:
    async with served([]) as path:
        path.parent.chmod(0o711)
        path.chmod(0)
        with nobody():
            fact = await probe(f"unix://{path}")
        assert isinstance(fact, Failed)
        assert fact.reason.text == f"This user may not use the socket {path}."
        assert "read and write the socket" in fact.reason.fix


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights for a moment where the tests run as root, who may do everything."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(was)


async def test_what_is_wrong_is_said_with_what_to_do() -> None:
    fact = await probe("unix:///run/nowhere.sock")
    assert isinstance(fact, Failed)
    assert fact.reason.code == "refused"
    assert fact.reason.text == "There is no socket at /run/nowhere.sock — is Continuum Router running?"
    assert fact.reason.fix.startswith("Start it")


async def test_a_good_one_is_healthy() -> None:
    async with served([]) as path:
        assert isinstance(await probe(f"unix://{path}"), Answered)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("unix:///run/router.sock", "/run/router.sock"),
        ("UNIX:///run/router.sock", "/run/router.sock"),
        (
            "unix:///opt/My%20Router/r.sock",
            "/opt/My Router/r.sock",
        ),
    ],
)
def test_its_url_is_read_and_written_back(url: str, path: str) -> None:
    address = parse_address(url)
    assert (address.socket, address.host_port, address.authority) == (path, path, "localhost")
    assert address.target("/v1/models") == "/v1/models"
    assert ring_of(address) == "machine"
    assert parse_address(address.url) == address == server_key(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("unix://run/router.sock", "names no absolute path"),
        ("unix:////run/router.sock", "names no absolute path"),
        ("unix://", "names no absolute path"),
        ("unix:///", "is no plain path"),
        ("unix:///run/", "is no plain path"),
        ("unix:///run/../etc/x.sock", "is no plain path"),
        ("unix:///run/a%0ab.sock", "is no plain path"),
        ("unix:///run/a%00.sock", "is no plain path"),
        ("unix:///" + "a" * 100, "more than 100 bytes"),
        ("unix:///run/x.sock?a=1", "query"),
        ("unix:/run/x.sock", "does not begin with http"),
    ],
)
def test_what_is_no_socket_is_refused(url: str, words: str) -> None:
    with pytest.raises(BadAddress, match=words):
        parse_address(url)


def test_the_routers_own_way_to_write_it_is_corrected() -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address("unix:/run/x.sock")
    assert refused.value.hint == "Write unix:///run/x.sock."


def test_windows_has_none() -> None:
    with pytest.raises(BadAddress, match="Windows does not offer"):
        socket_path("unix:///run/x.sock", platform="win32")


def test_two_spellings_are_one_backend_and_two_sockets_are_two() -> None:
    assert server_key("unix:///run/a.sock") != server_key("unix:///run/b.sock")
    assert server_key("unix:///run/a.sock") != server_key("http://127.0.0.1:80")
    assert url_identity("unix:///run/a%2Esock") == url_identity("unix:///run/a.sock")
    assert url_identity("unix:///run/a.sock") != url_identity("unix:///run/b.sock")
    assert isinstance(server_key("unix:///run/a.sock"), Address)


def test_the_configuration_takes_it_and_names_it_after_its_file() -> None:
    assert url_fault("unix:///run/router.sock") is None
    assert url_fault("unix://run/router.sock") is not None
    assert url_fault("unix:///run/x.sock#a") == "must end before the ? or #"
    assert host_of("unix:///run/router.sock") == "router"
    assert name_backends([EntryNames("unix:///run/router.sock")]) == [("router", "router")]
    text = '[[backends]]\nkind = "continuum"\nurl = "unix:///run/router.sock"\n'
    (found,) = read_config(text, ring_for).backends
    assert (found.id, found.ring, found.url) == ("router", "machine", "unix:///run/router.sock")
