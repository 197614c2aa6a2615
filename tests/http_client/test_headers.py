import pytest

from meshlight.http_client.headers import LONGEST_S, header_value, retry_after_s

DATE = (b"date", b"Tue, 24 Nov 2026 11:41:51 GMT")


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ([], None),
        ([(b"retry-after", b"7")], 7.0),
        ([(b"Retry-After", b" 0 ")], 0.0),
        ([(b"retry-after", b"1.5")], 1.5),
        ([(b"retry-after-ms", b"250"), (b"retry-after", b"9")], 0.25),
        ([DATE, (b"retry-after", b"Tue, 24 Nov 2026 11:42:21 GMT")], 30.0),
        ([DATE, (b"retry-after", b"Tue, 24 Nov 2026 11:40:00 GMT")], 0.0),
        ([(b"retry-after", b"Tue, 24 Nov 2020 11:40:00 GMT")], 0.0),
        ([(b"retry-after", b"99999999999")], LONGEST_S),
        ([DATE, (b"retry-after", b"Tue, 24 Nov 9999 11:40:00 GMT")], LONGEST_S),
        ([(b"retry-after", b"soon")], None),
        ([(b"retry-after", b"-5")], None),
        ([(b"retry-after", "²".encode("latin-1"))], None),
        ([(b"retry-after", b"nan")], None),
        ([(b"retry-after", b".")], None),
    ],
)
def test_the_wait_is_what_the_server_says_within_reason(
    headers: list[tuple[bytes, bytes]], wait_s: float | None
) -> None:
    assert retry_after_s(headers) == wait_s


def test_a_header_is_found_whatever_its_case() -> None:
    assert header_value([(b"Server", b" llama.cpp ")], b"server") == "llama.cpp"
    assert header_value([], b"server") == ""
