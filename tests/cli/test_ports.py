import os
import socket
import sys

from meshlight.cli.ports import free_port, how_to_find, is_port_free, port_owner


def test_a_port_is_free_or_somebody_has_it() -> None:
    port = free_port()
    assert is_port_free(port)
    assert port_owner(port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert not is_port_free(port)
        if sys.platform == "linux":
            found = port_owner(port)
            assert found is not None
            assert found.pid == os.getpid()


def test_the_way_to_find_out_names_the_port() -> None:
    assert "6374" in how_to_find(6374)
