import pytest

from meshlight.domain.text import QUOTE_MAX
from meshlight.http_client.error_text import is_html, message_of, quoted_error
from meshlight.http_client.reply import Reply


def reply(body: bytes, kind: bytes = b"application/json") -> Reply:
    return Reply(status=500, headers=[(b"content-type", kind)], body=body, elapsed_s=0.0, reused=False)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}', "Loading model"),
        (b'{"error": "Request did not contain messages"}', "Request did not contain messages"),
        (b'{"detail":"Not Found"}', "Not Found"),
        (b'{"message":"no"}', "no"),
        (b"plain words", "plain words"),
        (b'{"error":{"code":5}}', ""),
        (b"[1,2]", ""),
        (b"", ""),
        (b"[" * 60_000, ""),
        (b"x" * 100_000, ""),
    ],
)
def test_the_message_is_found_in_every_engines_shape_of_error(body: bytes, text: str) -> None:
    found = message_of(reply(body))
    assert found == text or (text == "" and len(quoted_error(reply(body), None)) <= QUOTE_MAX + 20)


def test_a_web_page_is_never_quoted() -> None:
    page = reply(b"  <!DOCTYPE html><h1>Hi</h1>", b"text/plain")
    assert is_html(page)
    assert message_of(page) == ""
    assert is_html(reply(b"x", b"text/html; charset=utf-8"))
    assert not is_html(reply(b"{}"))


def test_the_secret_is_taken_out_of_what_is_quoted_even_where_the_quote_is_cut() -> None:
    secret = "sk-very-secret"
    body = b"x" * (QUOTE_MAX - 6) + b" " + secret.encode()
    assert "sk-" not in quoted_error(reply(body), f"{secret}\n")
    assert (
        quoted_error(reply(b'{"error": "key sk-very-secret is wrong"}'), secret)
        == " It says: key *** is wrong"
    )
