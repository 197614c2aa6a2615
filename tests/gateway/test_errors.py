"""Errors as they leave the gateway."""

import json

import pytest

from meshlight.domain.errors import (
    AllBusy,
    ContextExceeded,
    EveryRouteDown,
    FirstByteTooLate,
    MeshlightError,
    ModelNotFound,
    OriginForbidden,
    Unauthorized,
)
from meshlight.gateway.errors import ErrorResponse, error_response, plain, unexpected


def header(made: ErrorResponse, name: bytes) -> bytes | None:
    return dict(made.headers).get(name)


def test_an_error_says_what_failed_and_what_to_do() -> None:
    made = error_response(ModelNotFound("No backend serves 'x'.", "Try 'y'."))
    error = json.loads(made.body)["error"]

    assert made.status == 404
    assert header(made, b"content-length") == b"%d" % len(made.body)
    assert error["message"] == "No backend serves 'x'. Try 'y'."
    assert error["code"] == "model_not_found"


@pytest.mark.parametrize(
    ("wait_s", "said", "retry"),
    [
        (0.2, b"1", b"true"),
        (5, b"5", b"true"),
        (5.1, b"6", b"true"),
        (61, b"61", b"false"),
        (None, None, b"false"),
    ],
)
def test_clients_come_back_when_it_may_help(wait_s: float | None, said: bytes | None, retry: bytes) -> None:
    made = error_response(EveryRouteDown("Down.", retry_after_s=wait_s))

    assert made.status == 503
    assert header(made, b"retry-after") == said
    assert header(made, b"x-should-retry") == retry


def test_clients_do_not_repeat_what_was_tried_on_every_route() -> None:
    assert header(error_response(FirstByteTooLate("Late.")), b"x-should-retry") == b"false"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unauthorized("No."), "authentication_error"),
        (OriginForbidden("No."), "permission_error"),
        (ModelNotFound("No."), "not_found_error"),
        (EveryRouteDown("No."), "overloaded_error"),
        (AllBusy("No."), "rate_limit_error"),
        (MeshlightError("No."), "api_error"),
    ],
)
def test_anthropic_clients_get_their_own_shape(error: MeshlightError, kind: str) -> None:
    said = json.loads(error_response(error, "/v1/messages").body)

    assert said == {"type": "error", "error": {"type": kind, "message": "No."}}
    assert "type" not in json.loads(error_response(error, "/v1/messagesx").body)


def test_each_protocol_is_told_that_all_slots_are_busy_and_when_to_come_back() -> None:
    error = AllBusy("Busy.", "Try again in 7 s.", 7.0)
    paths = ("/v1/chat/completions", "/v1/messages", "/api/chat", "/v1beta/models/m:generateContent")
    made = [error_response(error, path) for path in paths]
    assert {(m.status, header(m, b"retry-after"), header(m, b"x-should-retry")) for m in made} == {
        (429, b"7", b"true")
    }
    ours, _, ollama, gemini = (json.loads(m.body)["error"] for m in made)
    assert (ours["type"], ours["code"]) == ("rate_limit_error", "all_busy")
    assert (ollama, gemini["status"]) == ("Busy. Try again in 7 s.", "RESOURCE_EXHAUSTED")


def test_a_fault_of_our_own_tells_the_client_an_id_and_the_log_where(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(KeyError) as caught:
        dict[str, str]()["a prompt"]
    made = unexpected(caught.value)

    number = json.loads(made.body)["error"]["hint"].split()[3]
    assert made.status == 500
    assert number in caplog.text
    assert "test_errors.py" in caplog.text
    assert "KeyError" in caplog.text
    assert b"KeyError" not in made.body
    assert "a prompt" not in caplog.text.replace('dict[str, str]()["a prompt"]', "")


def test_an_answer_of_the_server_itself_ends_the_connection() -> None:
    head, _, body = plain(431, "headers_too_large", "Too large.").raw().partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert head.endswith(b"connection: close")
    assert json.loads(body)["error"]["message"] == "Too large."


@pytest.mark.parametrize(
    ("path", "words", "unknown", "with_answer"),
    [
        (
            "/v1/chat/completions",
            (
                "This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens. "
                "Please reduce the length of the messages."
            ),
            "Your input exceeds the context window of this model.",
            "However, you requested 5000 tokens (4000 in the messages, 1000 in the completion).",
        ),
        (
            "/v1/messages",
            "prompt is too long: 5000 tokens > 4096 maximum.",
            "prompt is too long.",
            "input length and `max_tokens` exceed context limit: 4000 + 1000 > 4096",
        ),
        (
            "/api/chat",
            "the input length exceeds the context length (5000 > 4096 tokens).",
            "the input length exceeds the context length.",
            "the input length exceeds the context length",
        ),
        (
            "/v1beta/models/m:generateContent",
            "The input token count (5000) exceeds the maximum number of tokens allowed (4096).",
            "The input token count exceeds the maximum number of tokens allowed.",
            "The input token count",
        ),
    ],
)
def test_a_prompt_that_is_too_long_is_told_in_the_words_of_each_api(
    path: str, words: str, unknown: str, with_answer: str
) -> None:
    def told(error: ContextExceeded) -> str:
        made = error_response(error, path)
        assert (made.status, header(made, b"x-should-retry")) == (400, b"false")
        found = json.loads(made.body)["error"]
        return str(found if isinstance(found, str) else found["message"])

    assert told(ContextExceeded(4096, 5000, "Shorten it.")) == f"{words} Shorten it."
    assert told(ContextExceeded(0, 5000)) == unknown
    assert with_answer in told(ContextExceeded(4096, 4000, answer_tokens=1000))
