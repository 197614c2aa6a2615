import socket
from collections.abc import Iterator

import pytest

from meshlight.domain.config import Config
from meshlight.domain.errors import ServiceError
from meshlight.gateway.server.listener import Loopbacks, bind_loopbacks
from meshlight.service.options import ServeOptions
from meshlight.service.running import loopbacks_for


@pytest.fixture
def bound() -> Iterator[Loopbacks]:
    found = bind_loopbacks(0)
    yield found
    for sock in found.sockets:
        sock.close()


def port_of(found: Loopbacks) -> int:
    port: int = found.sockets[0].getsockname()[1]
    return port


def test_the_port_that_is_bound_is_used_if_it_is_the_one_of_the_configuration(bound: Loopbacks) -> None:
    assert loopbacks_for(ServeOptions(), Config(port=port_of(bound)), bound) is bound


def test_the_port_of_an_option_is_used_whatever_the_configuration_says(bound: Loopbacks) -> None:
    assert loopbacks_for(ServeOptions(port=0), Config(port=1), bound) is bound


def test_another_port_is_let_go_where_the_last_good_configuration_has_its_own(bound: Loopbacks) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ServiceError):
        loopbacks_for(ServeOptions(), Config(port=taken.getsockname()[1]), bound)
    assert [sock.fileno() for sock in bound.sockets] == [-1] * len(bound.sockets)
