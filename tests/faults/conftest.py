"""What goes wrong between client and backend is tried on both roads that a request may take."""

from collections.abc import Iterator

import pytest

import node

BOTH_ROADS = frozenset(
    f"test_{name}"
    for name in (
        "cancellation",
        "counts",
        "failover",
        "fidelity",
        "first_event",
        "metered",
        "silence",
        "slots",
        "stream_break",
        "unbuffered",
    )
)
"""The files whose tests run with the lane on and off; the others run with it on."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__.rpartition(".")[2] in BOTH_ROADS:
        metafunc.fixturenames.append("lane")
        metafunc.parametrize("lane", [True, False], ids=["lane", "no-lane"], indirect=True)


@pytest.fixture
def lane(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the nodes of a test answer ordinary requests in the lane, or not."""
    before, node.LANE = node.LANE, request.param
    yield
    node.LANE = before
