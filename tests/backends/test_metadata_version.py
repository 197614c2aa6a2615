import pytest

from meshlight.backends.metadata import version_of
from meshlight.http_client.reply import Reply


@pytest.mark.parametrize(
    ("status", "body", "version"),
    [
        (200, b'{"version":"0.12.6"}', "0.12.6"),
        (404, b'{"version":"0.12.6"}', None),
        (200, b'{"version":12}', None),
        (200, b'{"version":""}', None),
        (200, b"Ollama is running", None),
        (200, b'{"error":"Unexpected endpoint or method. (GET /version)"}', None),
    ],
)
def test_only_a_version_page_tells_a_version(status: int, body: bytes, version: str | None) -> None:
    assert version_of(Reply(status=status, headers=[], body=body, elapsed_s=0.0, reused=False)) == version
