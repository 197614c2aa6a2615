"""Numbers where they stand."""

import pytest

from meshlight.http_client.digits import number_at


@pytest.mark.parametrize(
    ("data", "start", "found"),
    [
        (b"12", 0, (12, 2)),
        (b"a 12,", 2, (12, 4)),
        (b"a", 0, (0, 0)),
        (b"", 0, (0, 0)),
        (b"1", 5, (0, 5)),
        (b"0012", 0, (12, 4)),
        (b"123456", 0, (1234, 4)),
        (b"1-/:", 0, (1, 1)),
    ],
)
def test_a_number_is_read_up_to_its_end(data: bytes, start: int, found: tuple[int, int]) -> None:
    assert number_at(data, start, 4) == found
