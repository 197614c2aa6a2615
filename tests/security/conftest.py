from collections.abc import Iterator

import pytest

from security.wire import LOOPS, Echo, Gateway, running


@pytest.fixture(scope="module", params=LOOPS.keys())
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shared_echo() -> Echo:
    return Echo()


@pytest.fixture
def echo(shared_echo: Echo) -> Echo:
    shared_echo.asked.clear()
    return shared_echo


@pytest.fixture(scope="module")
def gateway(loop_name: str, shared_echo: Echo) -> Iterator[Gateway]:
    with running(shared_echo, LOOPS[loop_name]) as found:
        yield found
