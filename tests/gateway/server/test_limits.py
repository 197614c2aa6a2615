"""How many connections a process may have, by the number of files that it may open."""

import pytest

from meshlight.gateway.server.limits import limits_for


@pytest.mark.parametrize(
    ("files", "connections"), [(65_536, 16_384), (20_000, 9_872), (1_024, 384), (256, 64), (0, 64)]
)
def test_each_connection_may_need_one_more_to_a_backend(files: int, connections: int) -> None:
    limits = limits_for(files)
    assert limits.connections == connections
    assert 0 < limits.without_key < connections
