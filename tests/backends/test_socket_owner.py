"""Whose a server is, as Linux tells it."""

import os
import socket
import sys
from pathlib import Path

import pytest

from meshlight.backends.socket_owner import (
    Listeners,
    is_own,
    is_trusted,
    read_connection_owner,
    read_listeners,
)
from meshlight.http_client.address import parse_address

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


def line(at: str, uid: int, state: str = "0A") -> str:
    return f"   0: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:5} 0 1 1 0 100 0 0 10 0\n"


def owner(tmp_path: Path, url: str, v4: str = "", v6: str = "") -> int | None:
    (tmp_path / "tcp").write_text(HEAD + v4)
    (tmp_path / "tcp6").write_text(HEAD + v6)
    return read_listeners(tmp_path).owner_at(parse_address(url))


LOOPBACK, ANY4, V6, ANY6 = "0100007F", "0" * 8, "0" * 24 + "01000000", "0" * 32
MAPPED = "0000000000000000FFFF00000100007F"
URL, URL6 = "http://127.0.0.1:11434", "http://[::1]:11434"
PORT = ":2CAA"


def test_a_real_server_of_this_user_is_this_user_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = parse_address(f"http://127.0.0.1:{server.getsockname()[1]}")
        assert read_listeners().owner_at(address) == os.geteuid()
    assert read_listeners().owner_at(address) is None


@pytest.mark.skipif(sys.byteorder != "little", reason="the lines are those of a little-endian machine")
@pytest.mark.parametrize(
    ("url", "v4", "v6", "uid"),
    [
        (URL, line(LOOPBACK + PORT, 1001), "", 1001),
        (URL, line(ANY4 + PORT, 1001), "", 1001),
        (URL, "", line(ANY6 + PORT, 1001), 1001),
        (URL, "", line(MAPPED + PORT, 1001), 1001),
        ("http://localhost:11434", line(LOOPBACK + PORT, 1001), "", 1001),
        (URL6, "", line(V6 + PORT, 1001), 1001),
        (URL6, "", line(ANY6 + PORT, 1001), 1001),
        # The kernel hands a connection to the most exact socket.
        (URL, line(ANY4 + PORT, 1001) + line(LOOPBACK + PORT, 0), line(ANY6 + PORT, 1002), 0),
        (URL, line(ANY4 + PORT, 0) + line(LOOPBACK + PORT, 1001), "", 1001),
        (URL6, line(LOOPBACK + PORT, 1001), line(ANY6 + PORT, 0), 0),
        # Of several that it may hand it to, the one that is not trusted counts.
        (URL, line(LOOPBACK + PORT, 0) + line(LOOPBACK + PORT, 1001), "", 1001),
        # Neither another port, nor another state, nor a line that is none.
        (URL, line(LOOPBACK + ":2CAB", 1001), "", None),
        (URL, line(LOOPBACK + PORT, 1001, "01"), "", None),
        (URL, "rubbish 0A\n" + line("XYZ" + PORT, 1), "\x00\n", None),
        (URL6, line(LOOPBACK + PORT, 1001) + line(ANY4 + PORT, 1001), "", None),
    ],
)
def test_the_tables_of_the_kernel_are_read(
    tmp_path: Path, url: str, v4: str, v6: str, uid: int | None
) -> None:
    assert owner(tmp_path, url, v4, v6) == uid


def test_where_the_tables_can_t_be_read_nothing_is_told(tmp_path: Path) -> None:
    assert read_listeners(tmp_path / "no") == Listeners()


@pytest.mark.parametrize(
    ("uid", "is_good"),
    [
        (0, True),
        (999, True),
        (None, True),
        (61_184, True),
        (1000 if os.geteuid() != 1000 else 1001, False),
        (65_534, False),
        (4_000_000, False),
    ],
)
def test_root_services_and_this_user_are_trusted(uid: int | None, is_good: bool) -> None:
    assert is_trusted(uid) is is_good
    assert is_trusted(os.geteuid())


def test_a_real_client_of_this_user_is_this_user_s() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        (host, port), to = client.getsockname(), server.getsockname()[1]
        assert read_connection_owner(host, port, to) == os.geteuid()
        assert read_connection_owner(host, port, to - 1) is None
        assert read_connection_owner("127.0.0.2", port, to) is None
        assert read_connection_owner("nowhere", port, to) is None


@pytest.mark.skipif(sys.byteorder != "little", reason="the lines are those of a little-endian machine")
def test_a_client_of_another_user_is_told_apart(tmp_path: Path) -> None:
    client = (
        f"   0: {LOOPBACK}:9C40 {LOOPBACK}{PORT} 01 00000000:00000000 00:00000000 00000000  1001 0 1 1 0\n"
    )
    (tmp_path / "tcp").write_text(HEAD + "rubbish\n" + line(LOOPBACK + PORT, 0) + client)
    assert read_connection_owner("127.0.0.1", 40_000, 11_434, tmp_path) == 1001
    assert not is_own(1001)
    assert is_own(None)
    assert is_own(0)
    assert is_own(os.geteuid())
