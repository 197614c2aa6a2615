"""Who gets through a handshake, at real sockets: the server's word counts, not the client's."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import pytest

from meshlight.peers.tls import (
    PrivateIdentity,
    ServerTls,
    client_context,
    pairing_client_context,
    peer_id,
    server_context,
)
from peers.node_identities import as_impostor, impostor, node

HERE = node()
FRIEND = node()
STRANGER = node()


class Seen(asyncio.Protocol):
    """What the server's side learns of one connection after its handshake."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.taken.append(peer_id(transport.get_extra_info("ssl_object")))
        self._listener.sessions.append(transport.get_extra_info("ssl_object"))

    def data_received(self, data: bytes) -> None:
        self._listener.read += data
        if self._transport is not None:
            self._transport.write(b"yours, " + data)


class Listener:
    def __init__(self) -> None:
        self.port = 0
        self.taken: list[str | None] = []
        self.sessions: list[ssl.SSLObject] = []
        self.read = b""


@asynccontextmanager
async def listening(tls: ssl.SSLContext) -> AsyncIterator[Listener]:
    listener = Listener()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Seen(listener), "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await server.wait_closed()


async def say_hello(port: int, tls: ssl.SSLContext, name: str = "peer") -> bytes:
    """Send a line and return what comes back; empty when the server has hung up, in whichever way."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    except OSError:
        return b""
    try:
        writer.write(b"hello")
        return await reader.read(100)
    except OSError:
        return b""
    finally:
        writer.close()


def any_server(identity: PrivateIdentity | None) -> ssl.SSLContext:
    """Make a client that trusts everybody and shows what it likes."""
    if identity is None:
        return pairing_client_context()
    mine = client_context(identity, HERE.certificate_pem)
    mine.verify_mode = ssl.CERT_NONE
    return mine


async def test_two_nodes_that_have_pinned_each_other_talk() -> None:
    tls = server_context(HERE, [STRANGER.certificate_pem, FRIEND.certificate_pem])
    async with listening(tls) as listener:
        answer = await say_hello(listener.port, client_context(FRIEND, HERE.certificate_pem))
    assert answer == b"yours, hello"
    assert listener.taken == [FRIEND.node_id]
    assert listener.sessions[0].version() == "TLSv1.3"


def expired_friend() -> PrivateIdentity:
    return impostor(until=datetime(2020, 1, 1, tzinfo=UTC))


def minted_by_friend() -> PrivateIdentity:
    return impostor(signed_by=as_impostor(FRIEND))


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(lambda: STRANGER, id="another key under the same name"),
        pytest.param(lambda: None, id="no certificate"),
        pytest.param(minted_by_friend, id="a certificate that a peer has signed"),
        pytest.param(impostor, id="a certificate of no node"),
    ],
)
async def test_nobody_else_gets_through_the_handshake_and_nothing_is_read(
    who: Callable[[], PrivateIdentity | None],
) -> None:
    async with listening(server_context(HERE, [FRIEND.certificate_pem])) as listener:
        assert await say_hello(listener.port, any_server(who())) == b""
    assert listener.taken == []
    assert listener.read == b""


async def test_a_peer_whose_certificate_has_expired_does_not_get_through() -> None:
    old = expired_friend()
    async with listening(server_context(HERE, [old.certificate_pem])) as listener:
        assert await say_hello(listener.port, any_server(old)) == b""
    assert listener.taken == []


async def test_a_node_without_peers_lets_nobody_in() -> None:
    async with listening(server_context(HERE, [])) as listener:
        assert await say_hello(listener.port, any_server(FRIEND)) == b""
    assert listener.taken == []


async def test_older_tls_is_refused() -> None:
    old = any_server(FRIEND)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with listening(server_context(HERE, [FRIEND.certificate_pem])) as listener:
        assert await say_hello(listener.port, old) == b""
    assert listener.taken == []


@pytest.mark.parametrize(
    "server",
    [lambda: STRANGER, minted_by_friend, impostor],
    ids=["another key", "signed by the peer", "no node"],
)
async def test_a_client_sends_nothing_to_a_server_with_another_key(
    server: Callable[[], PrivateIdentity],
) -> None:
    tls = server_context(server(), [HERE.certificate_pem])
    async with listening(tls) as listener:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(
                "127.0.0.1", listener.port, ssl=client_context(HERE, FRIEND.certificate_pem)
            )
    assert listener.read == b""


@pytest.mark.parametrize("pem", [b"", b"garbage", impostor(is_authority=True).certificate_pem])
def test_what_is_no_nodes_certificate_can_not_be_pinned(pem: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        client_context(HERE, pem)
    with pytest.raises(ValueError, match=r"."):
        server_context(HERE, [pem])


async def test_a_listener_takes_a_peer_as_soon_as_it_is_paired_and_no_longer_than_that() -> None:
    tls = ServerTls(HERE, [])
    mine = client_context(FRIEND, HERE.certificate_pem)
    async with listening(tls.context) as listener:
        assert await say_hello(listener.port, mine) == b""

        tls.pin([FRIEND.certificate_pem])
        assert await say_hello(listener.port, mine) == b"yours, hello"
        assert tls.who(listener.sessions[0]) == FRIEND.node_id

        tls.pin([STRANGER.certificate_pem])
        assert await say_hello(listener.port, mine) == b""
        assert (
            await say_hello(listener.port, client_context(STRANGER, HERE.certificate_pem)) == b"yours, hello"
        )
        assert tls.who(listener.sessions[0]) is None
    assert listener.taken == [FRIEND.node_id, STRANGER.node_id]


async def test_a_client_without_a_server_name_is_judged_by_the_new_pins_too() -> None:
    tls = ServerTls(HERE, [])
    mine = client_context(FRIEND, HERE.certificate_pem)
    async with listening(tls.context) as listener:
        tls.pin([FRIEND.certificate_pem])
        assert await say_hello(listener.port, mine, name="") == b"yours, hello"
        tls.pin([])
        assert await say_hello(listener.port, mine, name="") == b""
    assert listener.taken == [FRIEND.node_id]


async def test_a_session_can_not_be_resumed_so_it_does_not_outlive_its_pairing() -> None:
    tls = ServerTls(HERE, [FRIEND.certificate_pem])
    mine = client_context(FRIEND, HERE.certificate_pem)

    def has_ticket(port: int) -> bool:
        plain = socket.create_connection(("127.0.0.1", port))
        with mine.wrap_socket(plain, server_hostname="peer") as connection:
            connection.sendall(b"hello")
            assert connection.recv(100) == b"yours, hello"
            session = connection.session
        return session is not None and session.has_ticket

    async with listening(tls.context) as listener:
        assert not await asyncio.to_thread(has_ticket, listener.port)


async def test_pins_change_under_the_loop_that_the_service_runs_on() -> None:
    uvloop = pytest.importorskip("uvloop")

    async def talk() -> list[bytes]:
        tls = ServerTls(HERE, [FRIEND.certificate_pem])
        mine = client_context(FRIEND, HERE.certificate_pem)
        async with listening(tls.context) as listener:
            answers = [await say_hello(listener.port, mine)]
            tls.pin([STRANGER.certificate_pem])
            answers.append(await say_hello(listener.port, mine))
        assert listener.taken == [FRIEND.node_id]
        return answers

    assert await asyncio.to_thread(uvloop.run, talk()) == [b"yours, hello", b""]


async def test_a_certificate_in_the_folder_that_is_no_nodes_keeps_nobody_else_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tls = ServerTls(HERE, [impostor(is_authority=True).certificate_pem, FRIEND.certificate_pem])
    assert "A peer is not accepted" in caplog.text
    async with listening(tls.context) as listener:
        answer = await say_hello(listener.port, client_context(FRIEND, HERE.certificate_pem))
    assert answer == b"yours, hello"
