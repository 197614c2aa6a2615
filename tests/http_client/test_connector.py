import asyncio
import errno
import socket
import ssl
from itertools import pairwise
from threading import Event

import pytest

from backends.certificates import Flaw, client_trusting, server_context
from event_loops import on_each_loop
from meshlight.domain.errors import ConnectCause, ConnectError
from meshlight.http_client.address import Address
from meshlight.http_client.client import ConnectionPool
from meshlight.http_client.connection import Connection
from meshlight.http_client.connector import (
    Connector,
    Lookup,
    Resolver,
    explain,
    more_specific_error,
    tls_context,
)
from servers.byte_server import OK, ByteServer, Peer, answering


def no_lookup(host: str) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def dialer(
    address: Address,
    lookup: Lookup = no_lookup,
    *,
    own: frozenset[tuple[str, int]] = frozenset(),
    tls: ssl.SSLContext | None = None,
) -> Connector:
    return Connector(address, ConnectionPool(2.0), own=own, resolver=Resolver(lookup), tls=tls)


async def ask(connection: Connection) -> int:
    response = await connection.begin(b"GET / HTTP/1.1\r\n\r\n", b"")
    connection.close()
    return response.status


async def failure(dialing: Connector, timeout_s: float = 5.0) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await dialing.connect(timeout_s)
    return caught.value


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@on_each_loop
async def test_an_ip_address_is_dialled_without_a_name_server() -> None:
    async with ByteServer(answering(OK)) as server:
        assert await ask(await dialer(server.address).connect(5)) == 200


@on_each_loop
async def test_the_addresses_of_a_name_are_tried_in_order() -> None:
    async with ByteServer(answering(OK)) as server:
        address = Address("http", "gpu.test", server.port)
        assert await ask(await dialer(address, lambda _: ["::1", "127.0.0.1"]).connect(5)) == 200


@on_each_loop
async def test_a_refused_connection_says_so_and_where() -> None:
    port = free_port()
    error = await failure(dialer(Address("http", "127.0.0.1", port)))
    assert (error.cause, error.title) == ("refused", f"Connection refused at 127.0.0.1:{port}.")
    error = await failure(dialer(Address("http", "gpu.test", port), lambda _: ["127.0.0.1"]))
    assert error.title == f"Connection refused at gpu.test:{port} (127.0.0.1)."


@on_each_loop
async def test_a_name_that_is_not_there_says_so() -> None:
    def lookup(_: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    error = await failure(dialer(Address("http", "gone.test", 80), lookup))
    assert (error.cause, error.title) == ("name", "The name gone.test was not found.")


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "no name server answers"),
        (UnicodeError("label too long"), "label too long"),
        (OSError(errno.EIO, "broken"), "broken"),
        (None, "has no address"),
    ],
)
async def test_each_trouble_with_names_has_its_words(trouble: Exception | None, words: str) -> None:
    def lookup(_: str) -> list[str]:
        if trouble is not None:
            raise trouble
        return []

    error = await failure(dialer(Address("http", "odd.test", 80), lookup))
    assert error.cause == "name"
    assert words in error.title
    assert "odd.test" in error.title


async def test_a_name_server_that_is_silent_takes_no_longer_than_the_limit() -> None:
    over = Event()

    def lookup(_: str) -> list[str]:
        over.wait(10)
        return []

    error = await failure(dialer(Address("http", "slow.test", 80), lookup), timeout_s=0.05)
    over.set()
    assert error.cause == "name"
    assert "slow.test" in error.title
    assert "0.05 s" in error.title


@on_each_loop
async def test_a_server_that_never_gets_to_talk_is_given_up_in_time() -> None:
    async with ByteServer(Peer.until_gone) as server:
        error = await failure(dialer(Address("https", "127.0.0.1", server.port)), timeout_s=0.1)
        assert error.cause == "timeout"
        assert f"127.0.0.1:{server.port}" in error.title


@on_each_loop
async def test_a_dead_first_address_leaves_time_for_the_second() -> None:
    async with ByteServer(Peer.until_gone) as silent:
        address = Address("https", "gpu.test", silent.port)
        error = await failure(dialer(address, lambda _: ["127.0.0.1", "127.0.0.1"]), timeout_s=0.6)
        assert error.cause == "timeout"
        assert silent.accepted == 2


@pytest.mark.parametrize(
    ("error", "cause", "words"),
    [
        (TimeoutError(), "timeout", "No connection to h:1 within 0.5 s."),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "timeout", "within"),
        (OSError(errno.ECONNREFUSED, "Connection refused"), "refused", "Connection refused at h:1."),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable", "no route to that machine"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable", "no route to that network"),
        (OSError(errno.EACCES, "Permission denied"), "unreachable", "Permission denied"),
        (OSError("odd"), "unreachable", "odd"),
        (OSError(), "unreachable", "OSError"),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), "unreachable", "reset"),
        (ssl.SSLError(1, "[SSL: TLSV1_ALERT_ACCESS_DENIED] denied"), "tls", "denied"),
    ],
)
def test_each_failure_to_connect_has_its_cause_and_its_words(error: OSError, cause: str, words: str) -> None:
    failed = explain(error, "h:1", is_tls=False, limit_s=0.5)
    assert failed.cause == cause
    assert words in failed.title
    assert "h:1" in failed.title


def test_of_several_failures_the_one_that_tells_most_is_told() -> None:
    causes: list[ConnectCause] = ["forbidden", "unreachable", "timeout", "tls"]
    failures = [ConnectError(cause, cause) for cause in causes]
    for lighter, weightier in pairwise(failures):
        assert more_specific_error(lighter, weightier) is weightier
        assert more_specific_error(weightier, lighter) is weightier
    refused, again = ConnectError("refused", "a"), ConnectError("refused", "b")
    assert more_specific_error(refused, again) is again
    assert more_specific_error(refused, failures[1]) is refused


@pytest.mark.parametrize(
    ("host", "ips", "word"),
    [
        ("169.254.169.254", [], "link-local"),
        ("0.0.0.0", [], "unspecified"),
        ("rebound.test", ["169.254.169.254"], "link-local"),
        ("rebound.test", ["::ffff:169.254.169.254"], "link-local"),
        ("rebound.test", ["fd00:ec2::254"], "metadata"),
    ],
)
async def test_a_forbidden_address_is_never_dialled_whatever_name_it_hides_behind(
    host: str, ips: list[str], word: str
) -> None:
    error = await failure(dialer(Address("http", host, 80), lambda _: ips))
    assert error.cause == "forbidden"
    assert word in error.title
    assert f"{host}:80" in error.title


async def test_an_address_is_judged_anew_on_each_connect() -> None:
    async with ByteServer(answering(OK)) as server:
        answers = [["127.0.0.1"], ["169.254.169.254"]]
        resolver = Resolver(lambda _: answers.pop(0))
        address = Address("http", "moves.test", server.port)
        dialing = Connector(address, ConnectionPool(2.0), own=frozenset(), resolver=resolver, tls=None)
        assert await ask(await dialing.connect(5)) == 200
        resolver.forget("moves.test")
        assert (await failure(dialing)).cause == "forbidden"


@pytest.mark.parametrize("ip", ["127.0.0.1", "::ffff:127.0.0.1"])
async def test_the_gateway_never_becomes_its_own_backend(ip: str) -> None:
    async with ByteServer(answering(OK)) as server:
        own = frozenset({("127.0.0.1", server.port)})
        error = await failure(dialer(Address("http", "me.test", server.port), lambda _: [ip], own=own))
        assert error.cause == "forbidden"
        assert "own" in error.title
        assert server.accepted == 0


async def test_after_a_failure_the_name_is_looked_up_again() -> None:
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    dialing = dialer(Address("http", "moved.test", free_port()), lookup)
    await failure(dialing)
    await failure(dialing)
    assert len(asked) == 2


@pytest.mark.skipif(
    not hasattr(socket, "SO_REUSEADDR") or not hasattr(socket, "AF_UNIX"), reason="POSIX only"
)
async def test_a_connection_to_itself_counts_as_refused() -> None:
    """Linux lets a socket connect to its own port: here it is bound to it first, as chance does in real life."""
    port = free_port()

    class Loop:
        async def create_connection(self, factory: object, ip: str, port: int, **_: object) -> object:
            loop = asyncio.get_running_loop()
            return await loop.create_connection(factory, ip, port, local_addr=(ip, port))  # type: ignore[call-overload]

    dialing = dialer(Address("http", "127.0.0.1", port))
    with pytest.raises(ConnectError) as caught:
        await dialing._connect_ip(Loop(), "127.0.0.1", 5)  # type: ignore[arg-type]
    assert caught.value.cause == "refused"


@on_each_loop
async def test_a_trusted_certificate_is_accepted() -> None:
    server_tls, authority = server_context("good")
    async with ByteServer(answering(OK), tls=server_tls) as server:
        assert await ask(await dialer(server.address, tls=client_trusting(authority)).connect(5)) == 200


@on_each_loop
async def test_each_flaw_of_a_certificate_is_named() -> None:
    flaws: dict[Flaw, str] = {
        "self-signed": "self-signed",
        "unknown authority": "an authority that this machine does not know",
        "expired": "has expired",
        "not yet": "not valid yet",
        "other host": "for another IP address",
    }
    for flaw, words in flaws.items():
        server_tls, authority = server_context(flaw)
        async with ByteServer(answering(OK), tls=server_tls) as server:
            trusted = None if flaw in {"self-signed", "unknown authority"} else client_trusting(authority)
            error = await failure(dialer(server.address, tls=trusted))
            assert error.cause == "tls", flaw
            assert words in error.title
            assert f"127.0.0.1:{server.port}" in error.title


@on_each_loop
async def test_https_to_a_server_without_tls_asks_whether_http_was_meant() -> None:
    async def plain(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.until_gone()

    async with ByteServer(plain) as server:
        error = await failure(dialer(Address("https", "127.0.0.1", server.port)))
        assert error.cause == "tls"
        assert "http://" in error.title


@on_each_loop
async def test_a_server_that_hangs_up_during_the_handshake_is_a_matter_of_tls() -> None:
    async def hang_up(peer: Peer) -> None:
        await peer.reader.read(1)
        peer.reset()

    async with ByteServer(hang_up) as server:
        error = await failure(dialer(Address("https", "127.0.0.1", server.port)))
        assert error.cause == "tls"
        assert "handshake" in error.title


def test_the_context_that_verifies_is_made_once_and_verifies() -> None:
    context = tls_context()
    assert context is tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
