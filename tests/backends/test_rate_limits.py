"""What is left of an account's limits: numbers, durations and dates are read, and nothing else is shown."""

from collections.abc import Mapping

import pytest

from meshlight.backends.rate_limits import rate_limits
from meshlight.domain.account_limits import limit_lines


def headers(**named: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


def rate_limit_lines(told: list[tuple[bytes, bytes]]) -> Mapping[str, str]:
    return limit_lines(rate_limits(told))


def of_openai(left: str, limit: str, reset: str) -> list[tuple[bytes, bytes]]:
    return headers(
        x_ratelimit_remaining_requests=left,
        x_ratelimit_limit_requests=limit,
        x_ratelimit_reset_requests=reset,
    )


def test_openais_headers_are_told_in_words() -> None:
    told = rate_limit_lines(
        [
            *of_openai("498", "500", "12s"),
            *headers(
                x_ratelimit_remaining_tokens="149984",
                x_ratelimit_limit_tokens="150000",
                x_ratelimit_reset_tokens="6m0s",
            ),
        ]
    )
    assert told == {
        "Requests left": "498 of 500, back in 12 s",
        "Tokens left": "149,984 of 150,000, back in 6 min",
    }


def test_anthropics_dates_are_measured_against_its_own_clock() -> None:
    said = headers(
        date="Fri, 01 May 2026 12:00:00 GMT",
        anthropic_ratelimit_output_tokens_remaining="1000",
        anthropic_ratelimit_output_tokens_limit="16000",
        anthropic_ratelimit_output_tokens_reset="2026-05-01T12:00:40Z",
    )
    assert rate_limit_lines(said) == {"Output tokens left": "1,000 of 16,000, back in 40 s"}
    assert rate_limit_lines(said[1:]) == {"Output tokens left": "1,000 of 16,000"}


@pytest.mark.parametrize(
    ("reset", "words"),
    [
        ("12ms", ", back in less than 1 s"),
        ("1h2m3.5s", ", back in 62 min"),
        ("23h59m0s", ", back in 24 h"),
        ("7d", ", back in 7 d"),
        ("90", ", back in 90 s"),
        ("99999d", ""),
        ("9999d", ", back in 31 d"),
        ("soon", ""),
        ("", ""),
    ],
)
def test_when_it_is_whole_again_is_rounded(reset: str, words: str) -> None:
    assert rate_limit_lines(of_openai("1", "2", reset)) == {"Requests left": f"1 of 2{words}"}


def test_a_limit_that_is_whole_needs_no_time() -> None:
    assert rate_limit_lines(of_openai("500", "500", "0s")) == {"Requests left": "500 of 500"}


@pytest.mark.parametrize("left", ["-1", "", "many", "1e9", "9" * 16, "<b>1</b>", "٣"])
def test_what_is_no_number_is_not_shown(left: str) -> None:
    assert rate_limit_lines(of_openai(left, "500", "1s")) == {}


def test_a_limit_that_is_no_number_is_left_out() -> None:
    assert rate_limit_lines(of_openai("3", "x", "")) == {"Requests left": "3"}


def test_an_answer_without_such_headers_says_nothing() -> None:
    assert rate_limit_lines(headers(date="now", content_type="application/json")) == {}
    assert rate_limit_lines([(b"x-ratelimit-remaining-requests", b"\xff" * 65)]) == {}
