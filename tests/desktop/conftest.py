from collections.abc import Iterator
from pathlib import Path

import pytest

from api_client.local_api import LocalApi


@pytest.fixture
def api(tmp_path: Path) -> Iterator[LocalApi]:
    with LocalApi(tmp_path) as running:
        yield running
