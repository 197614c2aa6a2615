import os
import socket
import sys

from meshlight.words.port import free_port, holder, how_to_find, is_free


def test_a_port_is_free_or_somebody_has_it() -> None:
    port = free_port()
    assert is_free(port)
    assert holder(port) is None
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)
        if sys.platform == "linux":
            found = holder(port)
            assert found is not None
            assert found.pid == os.getpid()


def test_the_way_to_find_out_names_the_port() -> None:
    assert "6374" in how_to_find(6374)
