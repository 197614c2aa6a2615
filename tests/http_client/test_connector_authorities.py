"""A backend's own authority: with its PEM file the certificate is good, and every mistake names the file."""

from pathlib import Path

import pytest

from backends.certificates import server_context
from meshlight.domain.errors import ConnectError
from meshlight.http_client.client import Upstream
from meshlight.http_client.connector import SIZE_MAX, context_for
from servers.byte_server import OK, ByteServer, answering


async def fetch(server: ByteServer, ca_file: str) -> int:
    upstream = Upstream(server.address, tls=lambda: context_for(ca_file))
    try:
        return (await upstream.fetch("GET", "/")).status
    finally:
        upstream.close()


async def test_a_server_signed_by_the_file_is_spoken_to(tmp_path: Path) -> None:
    server_tls, authority = server_context("good")
    file = tmp_path / "ours.pem"
    file.write_bytes(authority)
    async with ByteServer(answering(OK), tls=server_tls) as server:
        assert await fetch(server, str(file)) == 200


async def test_another_authority_in_the_file_is_refused(tmp_path: Path) -> None:
    server_tls, _ = server_context("good")
    _, other = server_context("good")
    file = tmp_path / "other.pem"
    file.write_bytes(other)
    async with ByteServer(answering(OK), tls=server_tls) as server:
        with pytest.raises(ConnectError, match="authority that this machine does not know") as failed:
            await fetch(server, str(file))
    assert failed.value.cause == "tls"


async def test_a_file_that_is_replaced_counts_at_the_next_connection(tmp_path: Path) -> None:
    server_tls, authority = server_context("good")
    _, other = server_context("good")
    file = tmp_path / "ca.pem"
    file.write_bytes(other)
    async with ByteServer(answering(OK), tls=server_tls) as server:
        with pytest.raises(ConnectError):
            await fetch(server, str(file))
        file.write_bytes(other + authority)
        assert await fetch(server, str(file)) == 200


def test_the_same_file_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(server_context("good")[1])
    assert context_for(str(file)) is context_for(str(file))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "can't be read: No such file"),
        (b"", "contains no certificate"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "contains no certificate"),
        (b"\x30\x82" * 50, "contains no certificate"),
        (b" " * (SIZE_MAX + 1), "is not a file of certificates"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConnectError) as failed:
        context_for(str(file))
    assert str(file) in failed.value.title
    assert words in failed.value.title
    assert failed.value.cause == "tls"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="is not a file of certificates"):
        context_for(str(tmp_path))
