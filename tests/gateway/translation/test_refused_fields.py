"""What a server says not to take is found in its own words, and left out where it was ours."""

import json
from typing import Any

import pytest

from meshlight.gateway.translation.refused_fields import EXTENSIONS, IDS, refused_fields, without_fields
from meshlight.http_client.reply import Reply

CALL = {
    "id": "toolu_01A09q90qw90lq917835lq9",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "user", "content": "user temperature", "name": "Ann"},
        {"role": "assistant", "content": "", "reasoning_content": "Hm.", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": CALL["id"], "content": "1"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "strict": True}}
    ],
    "chat_template_kwargs": {"enable_thinking": True},
    "thinking_budget_tokens": 1024,
    "top_k": 5,
    "temperature": 0.50,
    "user": "me",
    "max_tokens": 9,
    "stop": ["x"],
}
RAW = json.dumps(BODY).encode()
RENAMED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
GROQ = "property '{}' is unsupported"


def openai(message: str, param: str | None = None) -> bytes:
    return json.dumps(
        {"error": {"message": message, "type": "invalid_request_error", "param": param}}
    ).encode()


def pydantic(*loc: object) -> bytes:
    detail = {
        "type": "extra_forbidden",
        "loc": ["body", *loc],
        "msg": "Extra inputs are not permitted",
        "input": BODY,
    }
    return json.dumps({"detail": [detail]}).encode()


def found(body: bytes, status: int = 400) -> set[str]:
    return set(refused_fields(Reply(status, (), body, elapsed_s=0.0, reused=False), RAW))


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (openai(GROQ.format("chat_template_kwargs")), {"chat_template_kwargs"}),
        (openai("'messages.1' : for 'role:assistant' " + GROQ.format("reasoning_content")), {"reasoning_content"}),
        (pydantic("top_k"), {"top_k"}),
        (pydantic("messages", 1, "assistant", "reasoning_content"), {"reasoning_content"}),
        (json.dumps({"object": "error", "message": json.loads(pydantic("user"))}).encode(), {"user"}),
        (openai(RENAMED, "max_tokens"), {"max_tokens"}),
        (openai("Unsupported value: 'temperature' does not support 0.5 with this model."), {"temperature"}),
        (openai("Unrecognized request argument supplied: thinking_budget_tokens"), {"thinking_budget_tokens"}),
        (b'[{"error":{"code":400,"message":"Unknown name \\"top_k\\": Cannot find field."}}]', {"top_k"}),
        (b"Unknown field: top_k", {"top_k"}),
        (openai("Tool call id was toolu_01A but must be a-z, A-Z, 0-9, with a length of 9."), {IDS}),
        (openai("Invalid 'messages[1].tool_calls[0].id': string too long. Expected maximum length 40"), {IDS}),
    ],
)  # fmt: skip
def test_a_refusal_names_what_it_does_not_take(body: bytes, names: set[str]) -> None:
    assert found(body) == names


@pytest.mark.parametrize(
    "body",
    [
        openai("This model's maximum context length is 4096 tokens: lower max_tokens or the prompt."),
        openai("Unsupported content: the user said something unexpected about temperature and name."),
        openai("Unknown stop sequence", "stop"),
        openai("'min_p' is not supported"),
        openai("Unknown role: tools is not supported"),
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{}",
        b"[1]",
    ],
)
def test_a_refusal_of_something_else_names_nothing(body: bytes) -> None:
    assert found(body) == set()


@pytest.mark.parametrize(
    "name", ["chat_template_kwargs", "thinking_budget_tokens", "top_k", "temperature", "user"]
)
def test_a_field_is_left_out_and_the_rest_stays(name: str) -> None:
    body, gone = without_fields(RAW, frozenset({name}))
    assert json.loads(body) == {key: value for key, value in BODY.items() if key != name}
    assert gone == (name,)


@pytest.mark.parametrize("name", ["reasoning_content", "name", "strict"])
def test_a_field_inside_is_left_out_and_the_rest_stays(name: str) -> None:
    body, gone = without_fields(RAW, frozenset({name}))
    inner = {"reasoning_content": '"Hm."', "name": '"Ann"', "strict": "true"}[name]
    assert json.dumps(json.loads(body)) == RAW.decode().replace(f', "{name}": {inner}', "", 1)
    assert gone == (name,)


def test_the_limit_goes_by_its_other_name() -> None:
    body, gone = without_fields(RAW, frozenset({"max_tokens"}))
    assert (json.loads(body)["max_completion_tokens"], gone) == (9, ())
    back, _ = without_fields(body, frozenset({"max_completion_tokens"}))
    assert json.loads(back)["max_tokens"] == 9
    both, _ = without_fields(RAW, frozenset({"max_tokens", "max_completion_tokens"}))
    assert json.loads(both)["max_tokens"] == 9


def test_the_ids_of_calls_get_mistrals_form_and_stay_together() -> None:
    messages = json.loads(without_fields(RAW, frozenset({IDS}))[0])["messages"]
    given = messages[1]["tool_calls"][0]["id"]
    assert (len(given), given.isalnum(), messages[2]["tool_call_id"]) == (9, True, given)


def test_a_body_without_any_of_it_stays_as_it_is() -> None:
    plain = b'{"model":"m","input":"a","n":1.50}'
    assert without_fields(plain, EXTENSIONS | {IDS}) == (plain, ())
