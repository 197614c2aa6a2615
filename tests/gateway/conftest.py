import pytest

from security.wire import LOOPS


@pytest.fixture(params=LOOPS.keys())
def loop_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
