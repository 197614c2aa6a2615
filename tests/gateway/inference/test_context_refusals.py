"""What engines and clouds say when a request is longer than their context."""

import json

import pytest

from meshlight.gateway.inference.context_refusals import is_in_own_words, too_long
from meshlight.http_client.client import Reply

LLAMA = {
    "code": 400,
    "message": "request (5012 tokens) exceeds the available context size (4096 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 5012,
    "n_ctx": 4096,
}
OPENAI = (
    "This model's maximum context length is 4096 tokens. However, your messages resulted in 5012 tokens. "
    "Please reduce the length of the messages."
)


def reply(status: int, body: object) -> Reply:
    raw = json.dumps(body).encode()
    return Reply(status, ((b"content-type", b"application/json"),), raw, elapsed_s=0.0, reused=False)


def error(message: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


@pytest.mark.parametrize(
    ("status", "body", "limit", "tokens"),
    [
        (400, {"error": LLAMA}, 4096, 5012),
        (
            400,
            error(
                "the request exceeds the available context size. try increasing the context size or enable "
                "context shift"
            ),
            0,
            0,
        ),
        (400, error(OPENAI, code="context_length_exceeded"), 4096, 5012),
        (
            400,
            {
                "object": "error",
                "message": "This model's maximum context length is 4096 tokens. However, you requested 5100 "
                "tokens (5000 in the messages, 100 in the completion). Please reduce the length of the messages or "
                "completion.",
            },
            4096,
            5000,
        ),
        (
            400,
            error(
                "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length "
                "is 4096 tokens and your request has 2104 input tokens (2000 > 4096 - 2104)."
            ),
            4096,
            2104,
        ),
        (
            400,
            error("Your input exceeds the context window of this model.", code="context_length_exceeded"),
            0,
            0,
        ),
        (400, error("prompt is too long: 210000 tokens > 200000 maximum"), 200000, 210000),
        (
            400,
            error("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
            200000,
            190000,
        ),
        (
            400,
            error("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
            1048576,
            1200000,
        ),
        (400, {"error": "the input length exceeds the context length"}, 0, 0),
        (500, {"error": "the input length exceeds the context length"}, 0, 0),
        (
            400,
            error(
                "Trying to keep the first 5012 tokens when context the overflows. However, the model is loaded "
                "with context length of only 4096 tokens, which is not enough."
            ),
            4096,
            5012,
        ),
        (
            400,
            error("The input (5012 tokens) is longer than the model's context length (4096 tokens)."),
            4096,
            5012,
        ),
        (
            400,
            error(
                "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context "
                "length"
            ),
            32768,
            40000,
        ),
        (422, {"error": "`inputs` must have less than 4096 tokens. Given: 5012"}, 4096, 5012),
    ],
)
def test_each_engines_words_are_understood(status: int, body: object, limit: int, tokens: int) -> None:
    found = too_long(reply(status, body))
    assert found is not None
    assert (found.limit, found.tokens) == (limit, tokens)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("max_tokens is too large: 100000. This model supports at most 16384 completion tokens.")),
        (400, error("Invalid value for 'context'")),
        (400, error("The model does not support images.")),
        (429, error(OPENAI, code="context_length_exceeded")),
        (500, error("CUDA out of memory")),
        (400, "no object"),
        (404, error("no such context length")),
    ],
)
def test_what_is_about_something_else_is_not_taken_for_it(status: int, body: object) -> None:
    assert too_long(reply(status, body)) is None


def test_a_page_is_none_and_nonsense_harms_nothing() -> None:
    page = Reply(
        400, ((b"content-type", b"text/html"),), b"maximum context length", elapsed_s=0.0, reused=False
    )
    assert too_long(page) is None
    hostile = b'{"error":"maximum context length ' + b"9" * 3_000 + b'"}'
    found = too_long(Reply(400, (), hostile, elapsed_s=0.0, reused=False))
    assert found is not None
    assert found.limit < 10**14


@pytest.mark.parametrize(
    ("path", "message", "fields", "expected"),
    [
        ("/v1/chat/completions", OPENAI, {"code": "context_length_exceeded"}, True),
        ("/v1/chat/completions", OPENAI, {}, False),
        ("/v1/messages", "prompt is too long: 2 tokens > 1 maximum", {}, True),
        ("/v1/messages", OPENAI, {"code": "context_length_exceeded"}, False),
        ("/api/chat", "the input length exceeds the context length", {}, True),
        ("/v1beta/models/m:generateContent", OPENAI, {}, False),
    ],
)
def test_words_of_the_clients_own_protocol_need_no_change(
    path: str, message: str, fields: dict[str, object], *, expected: bool
) -> None:
    assert is_in_own_words(json.dumps(error(message, **fields)).encode(), path) is expected
