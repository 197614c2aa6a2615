"""What a client of the Responses API gets for an answer of chat completions."""

import json

import pytest

from gateway.translation.anthropic.requests import (
    JSON,
    Json,
    call,
    chunk,
    completion,
    events,
    output_of,
    stream,
)
from gateway.translation.responses.requests import NOW, ask, back, messages, output, types, user
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.responses.api import translate_responses

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 5,
    "prompt_tokens_details": {"cached_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTED = {
    "input_tokens": 12,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 17,
}
BEGIN = ["created", "in_progress"]
MESSAGE = [
    "output_item.added",
    "content_part.added",
    "output_text.delta",
    "output_text.done",
    "content_part.done",
    "output_item.done",
]
THOUGHTS = [word.replace("output_text", "reasoning_text") for word in MESSAGE]
SUMMARY = [
    "output_item.added",
    "reasoning_summary_part.added",
    "reasoning_summary_text.delta",
    "reasoning_summary_text.done",
    "reasoning_summary_part.done",
    "output_item.done",
]
CALLED = [
    "output_item.added",
    "function_call_arguments.delta",
    "function_call_arguments.done",
    "output_item.done",
]
TOOLS: list[Json] = [
    {"type": "function", "name": "f"},
    {"type": "custom", "name": "patch"},
    {"type": "local_shell"},
    {"type": "namespace", "name": "agents", "tools": [{"type": "function", "name": "close"}]},
]


def streamed(*chunks: Json, done: bool = True, **fields: object) -> list[Json]:
    return events(output_of(back(stream=True, **fields), stream(*chunks, done=done)))


def whole(message: Json, finish: str = "stop", **fields: object) -> Json:
    made = output_of(back(**fields), completion(message, finish, usage=USAGE), content_type=JSON)
    found: Json = json.loads(made)
    return found


def test_a_text_comes_in_the_order_of_the_documentation() -> None:
    found = streamed(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        {"choices": [], "usage": USAGE},
    )
    assert types(found) == [*BEGIN, *MESSAGE, "completed"]
    response = found[-1]["response"]
    assert response["output"] == output(found)
    assert response["output"][0]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ]
    assert (response["id"], response["status"], response["model"]) == ("resp_mesh_1", "completed", "gpt")
    assert (response["created_at"], response["completed_at"]) == (NOW, NOW)
    assert response["usage"] == COUNTED
    assert found[0]["response"]["usage"] is None
    assert found[0]["response"]["status"] == "in_progress"


def test_a_whole_answer_holds_the_same() -> None:
    response = whole({"content": "Hello", "reasoning": "Hm."}, metadata={"a": "b"}, temperature=0.25)
    assert [item["type"] for item in response["output"]] == ["reasoning", "message"]
    assert response["usage"] == COUNTED
    assert (response["metadata"], response["temperature"], response["top_p"]) == ({"a": "b"}, 0.25, 1.0)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thoughts_come_before_the_text_as_an_item_of_their_own(field: str) -> None:
    found = streamed(chunk({field: "Hm"}), chunk({field: "."}), chunk({"content": "A"}), chunk({}, "stop"))
    assert types(found) == [*BEGIN, *THOUGHTS, *MESSAGE, "completed"]
    thoughts = output(found)[0]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert "encrypted_content" not in thoughts


def test_who_asks_for_a_summary_finds_the_thoughts_there() -> None:
    found = streamed(
        chunk({"reasoning": "Hm."}), chunk({"content": "A"}), chunk({}, "stop"), reasoning={"summary": "auto"}
    )
    assert types(found) == [*BEGIN, *SUMMARY, *MESSAGE, "completed"]
    assert output(found)[0]["summary"] == [{"type": "summary_text", "text": "Hm."}]


def test_thoughts_that_the_client_keeps_for_us_come_back_as_what_they_were() -> None:
    response = whole(
        {"content": "A", "reasoning": "Hm."}, include=["reasoning.encrypted_content"], store=False
    )
    item = response["output"][0] | {"content": None}
    turns = messages(user("?"), item, response["output"][1], user("So?"))
    assert turns[1]["reasoning_content"] == "Hm."


def test_calls_of_tools_come_in_the_order_of_the_documentation() -> None:
    found = streamed(
        chunk(call(0, '{"a"', id="c1", name="f")),
        chunk(call(0, ":1}")),
        chunk(call(1, "", id="c2", name="f")),
        chunk({}, "tool_calls"),
        tools=TOOLS,
    )
    assert types(found) == [*BEGIN, *CALLED, *CALLED, "completed"]
    made = [(item["call_id"], item["name"], item["arguments"], item["status"]) for item in output(found)]
    assert made == [("c1", "f", '{"a":1}', "completed"), ("c2", "f", "{}", "completed")]


def test_calls_that_come_in_turns_each_get_their_own() -> None:
    found = streamed(
        chunk(call(0, '{"a"', id="c1", name="f")),
        chunk(call(1, '{"b"', id="c2", name="f")),
        chunk(call(0, ":1}")),
        chunk(call(1, ":2}")),
        chunk({}, "tool_calls"),
        tools=TOOLS,
    )
    assert [item["arguments"] for item in output(found)] == ['{"a":1}', '{"b":2}']


def test_calls_come_back_as_calls_of_what_the_functions_stand_for() -> None:
    found = streamed(
        chunk(call(0, '{"input": "*** Begin', id="c1", name="patch")),
        chunk(call(0, ' Patch\\n"}')),
        chunk(call(1, '{"command": ["ls"], "timeout_ms": 9}', id="c2", name="local_shell")),
        chunk(call(2, "{}", id="c3", name="agents__close")),
        chunk(call(3, "{}", id="c4", name="unheard_of")),
        chunk({}, "tool_calls"),
        tools=TOOLS,
    )
    patch, shell, close, unknown = output(found)
    assert (patch["type"], patch["name"], patch["input"]) == (
        "custom_tool_call",
        "patch",
        "*** Begin Patch\n",
    )
    assert shell["type"] == "local_shell_call"
    assert (shell["action"]["command"], shell["action"]["timeout_ms"]) == (["ls"], 9)
    assert (close["type"], close["namespace"], close["name"]) == ("function_call", "agents", "close")
    assert (unknown["type"], unknown["name"]) == ("function_call", "unheard_of")
    assert "response.custom_tool_call_input.done" in [event["type"] for event in found]


@pytest.mark.parametrize(
    ("finish", "why"),
    [
        ("length", "max_output_tokens"),
        ("max_tokens", "max_output_tokens"),
        ("content_filter", "content_filter"),
    ],
)
def test_an_answer_that_was_cut_is_incomplete_and_says_why(finish: str, why: str) -> None:
    found = streamed(chunk({"content": "Hel"}), chunk({}, finish))
    assert types(found)[-1] == "incomplete"
    response = found[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": why})
    assert output(found)[0]["status"] == "incomplete"
    assert whole({"content": "Hel"}, finish)["incomplete_details"] == {"reason": why}


def test_a_call_that_was_cut_is_told_as_it_is() -> None:
    found = streamed(chunk(call(0, '{"a', id="c1", name="f")), chunk({}, "length"))
    assert (output(found)[0]["arguments"], output(found)[0]["status"]) == ('{"a', "incomplete")


def test_a_refusal_is_a_part_of_its_own() -> None:
    found = streamed(chunk({"content": "Well: "}), chunk({"refusal": "no."}), chunk({}, "stop"))
    assert [part["type"] for part in output(found)[0]["content"]] == ["output_text", "refusal"]
    parts = [event["content_index"] for event in found if event["type"].endswith("content_part.added")]
    assert parts == [0, 1]


@pytest.mark.parametrize(
    ("rest", "code", "message"),
    [
        (b'data: {"error":{"message":"slot lost","code":500}}\n\n', "server_error", "slot lost"),
        (
            b'event: error\ndata: {"error":{"message":"slow down","code":429}}\n\n',
            "rate_limit_exceeded",
            "slow down",
        ),
        (
            b'data: {"error":{"message":"x","code":"context_length_exceeded"}}\n\n',
            "context_length_exceeded",
            "x",
        ),
        (b"data: ?\n\n", "server_error", "not JSON"),
        (b"", "server_error", "does not say why"),
    ],
)
def test_an_error_in_the_middle_fails_the_response(rest: bytes, code: str, message: str) -> None:
    data = stream(chunk({"content": "Hel"}), done=False) + rest
    found = events(output_of(back(stream=True), data))
    assert found[-1]["type"] == "response.failed"
    assert found[-1]["sequence_number"] == len(found) - 1
    assert found[-1]["response"]["status"] == "failed"
    assert found[-1]["response"]["error"]["code"] == code
    assert message in found[-1]["response"]["error"]["message"]


@pytest.mark.parametrize(
    "data", [b'data: {"error":{"message":"no slot"}}\n\n', b"data: [DONE]\n\n", b": ping\n\ndata: ?\n\n", b""]
)
def test_an_error_before_the_first_event_is_no_answer_so_that_another_backend_may_be_tried(
    data: bytes,
) -> None:
    way = back(stream=True)
    way.begin(b"text/event-stream")
    with pytest.raises(TranslationFailed):
        assert way.feed(data) + way.end() == b""


def test_a_call_whose_arguments_are_no_object_is_a_broken_answer() -> None:
    found = streamed(chunk(call(0, "[1", id="c1", name="f")), chunk({}, "tool_calls"))
    assert found[-1]["type"] == "response.failed"
    assert output_of(
        back(), completion({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[1"}}]})
    ) == (b"(cut)")


def test_signs_of_life_are_comments() -> None:
    data = stream(chunk({"content": "A"}), done=False) + b": ping\n\n" + stream(chunk({}, "stop"))
    assert b"\n\n: ping\n\nevent: response.output_text.done" in output_of(back(stream=True), data)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"error":{"message":"too long","type":"invalid_request_error","param":"messages","code":"too_long"}}',
            {"message": "too long", "type": "invalid_request_error", "param": "messages", "code": "too_long"},
        ),
        (b'{"detail":"No such model"}', {"message": "No such model", "type": "invalid_request_error"}),
        (b'{"error":"gone","code":7}', {"message": "gone", "type": "invalid_request_error"}),
    ],
)
def test_a_failing_answer_has_the_shape_of_openai(body: bytes, error: Json) -> None:
    made = json.loads(back().error(404, body))
    assert made == {"error": {"param": None, "code": None} | error}


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_signature_of_a_call_comes_back_to_the_backend_that_gave_it(is_stream: bool) -> None:
    signed = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}
    made = call(0, "{}", id="c1", name="f", **signed)
    if is_stream:
        found = output(streamed(chunk(made), chunk({}, "tool_calls"), tools=TOOLS))
    else:
        found = whole(made, "tool_calls", tools=TOOLS)["output"]
    result = {"type": "function_call_output", "call_id": found[0]["call_id"], "output": "3"}
    turns = messages(user("?"), found[0], result, user("So?"))
    assert turns[1]["tool_calls"][0] | signed == turns[1]["tool_calls"][0]
    assert turns[1]["tool_calls"][0]["id"] == turns[2]["tool_call_id"] == "c1"


def test_a_call_without_a_signature_gets_the_stand_in_that_gemini_documents() -> None:
    called = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    body = ask(input=[user("?"), called, {"type": "function_call_output", "call_id": "c1", "output": "3"}])
    turns = json.loads(translate_responses(body, "gemini", extensions=False, signs=True).body)["messages"]
    signature = turns[1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"]
    assert signature == "skip_thought_signature_validator"
