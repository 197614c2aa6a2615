"""Errors of the clouds are told apart by their codes alone."""

import pytest

from backends.playback import backend
from meshlight.backends.clouds.diagnostics import cloud_reason, wait_s
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind, Reason
from meshlight.http_client.reply import Reply


def reply(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, headers, body, 0.1, reused=True)


def why(kind: Kind, status: int, body: bytes) -> Reason | None:
    place = backend(KINDS[kind], "https://api.example")
    return cloud_reason(reply(status, body), place, "It", "api.example:443", has_secret=True)


def test_a_message_that_quotes_a_prompt_changes_nothing() -> None:
    quoted = b'{"error":{"type":"x","message":"Bad value: your credit balance is too low"}}'
    assert why("anthropic", 400, quoted) is None


def test_geminis_openai_face_puts_its_error_into_a_list() -> None:
    body = b'[{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}]'
    found = why("gemini", 400, body)
    assert found is not None
    assert found.code == "unauthorized"


@pytest.mark.parametrize("kind", ["llamacpp", "openai-compatible", "vllm"])
def test_engines_have_no_accounts(kind: Kind) -> None:
    assert why(kind, 429, b'{"error":{"code":"insufficient_quota"}}') is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"[[]]", b'{"error":"text"}', b'{"error":{"details":[7]}}', b"<html>", b"7"]
)
def test_a_body_that_is_no_error_says_nothing(body: bytes) -> None:
    assert why("openai", 429, body) is None


def test_nothing_of_the_answer_is_repeated() -> None:
    body = b'{"error":{"code":"insufficient_quota","message":"sk-secret \\u001b[31m"}}'
    found = why("openai", 429, body)
    assert found is not None
    assert "sk-secret" not in str(found)


def test_the_wait_is_the_headers_or_else_that_of_geminis_body() -> None:
    body = b'{"error":{"details":[{"retryDelay":"3s"}]}}'
    assert wait_s(reply(429, body)) == 3.0
    assert wait_s(reply(429, body, (b"retry-after", b"9"))) == 9.0
    assert wait_s(reply(429, b'{"error":{"details":[{"retryDelay":"soon"}]}}')) is None
    assert wait_s(reply(429, b'{"error":{"details":[{"retryDelay":"999999s"}]}}')) == 3600.0


def test_money_of_somebody_whom_one_request_names_is_not_the_accounts() -> None:
    body = b'{"error":{"type":"billing_error","details":{"error_code":"linked_organization_spend_limit_reached"}}}'
    assert why("anthropic", 402, body) is None
