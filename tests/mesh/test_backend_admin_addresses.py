"""One server is one place, however its URL is spelt."""

import pytest

from meshlight.mesh.backend_admin import server_key


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://127.0.0.1:8080/",
        "HTTP://LOCALHOST:8080/v1",
        "http://127.0.0.1:8080/v1/",
    ],
)
def test_spellings_of_one_place(url: str) -> None:
    assert server_key(url) == server_key("http://127.0.0.1:8080")


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:8080", "http://127.0.0.1:8081", "http://[::1]:8080", "http://127.0.0.1:8080/api"],
)
def test_other_places(url: str) -> None:
    assert server_key(url) not in {server_key("http://127.0.0.1:8080"), None}


@pytest.mark.parametrize("url", ["", "junk", "ftp://h", "http://", "http://u:p@h"])
def test_no_place_at_all(url: str) -> None:
    assert server_key(url) is None
