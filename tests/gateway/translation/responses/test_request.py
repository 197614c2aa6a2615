"""What a backend with chat completions only is asked for a request of the Responses API."""

import json
from typing import Any

import pytest

from gateway.translation.anthropic.requests import Json
from gateway.translation.responses.requests import chat, messages, translated, user
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.responses.request import seal, unseal

CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "3"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}


def test_a_text_is_a_message_of_the_user_s() -> None:
    assert chat() == {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def test_instructions_and_what_stands_above_the_user_are_one_system_message() -> None:
    items: list[Json] = [
        {"role": "developer", "content": [{"type": "input_text", "text": "B"}]},
        {"type": "message", "role": "system", "content": "C"},
        user("Hi"),
        {"role": "developer", "content": "Be short."},
    ]
    assert messages(*items, instructions="A") == [
        {"role": "system", "content": "A\n\nB\n\nC"},
        {"role": "user", "content": "Hi\n\n<system-reminder>\nBe short.\n</system-reminder>"},
    ]


def test_thoughts_text_and_calls_of_one_turn_are_one_message_and_results_follow() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    message = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I add."}]}
    second = CALL | {"call_id": "c2", "arguments": ""}
    turns = messages(
        user("?"), thought, message, CALL, second, RESULT, RESULT | {"call_id": "c2"}, user("So?")
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "user"]
    assert turns[1]["content"] == "I add."
    assert turns[1]["reasoning_content"] == "Hm."
    called = [(call["id"], call["function"]["arguments"]) for call in turns[1]["tool_calls"]]
    assert called == [("c1", '{"a":1}'), ("c2", "{}")]
    assert [turn.get("tool_call_id") for turn in turns[2:4]] == ["c1", "c2"]


def test_rounds_of_calls_stay_apart() -> None:
    again = CALL | {"call_id": "c2"}
    turns = messages(user("?"), CALL, RESULT, {"type": "reasoning", "summary": []}, again)
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "assistant"]


@pytest.mark.parametrize(
    ("item", "thoughts"),
    [
        ({"content": [{"type": "reasoning_text", "text": "raw"}], "summary": []}, "raw"),
        ({"summary": [{"type": "summary_text", "text": "short"}]}, "short"),
        ({"summary": [], "encrypted_content": seal("sealed")}, "sealed"),
        ({"summary": [], "encrypted_content": "gAAAAB-of-another-service"}, None),
        ({"summary": [], "encrypted_content": "meshlight.1.?"}, None),
    ],
)
def test_thoughts_come_back_in_each_form_that_can_be_read(item: Json, thoughts: str | None) -> None:
    turns = messages(user("?"), {"type": "reasoning", "id": "rs_1"} | item, CALL, RESULT)
    assert turns[1].get("reasoning_content") == thoughts
    plain = messages(user("?"), {"type": "reasoning", "id": "rs_1"} | item, CALL, RESULT, extensions=False)
    assert "reasoning_content" not in plain[1]


def test_what_was_sealed_is_read_again() -> None:
    assert unseal(seal("Hm 🚀")) == "Hm 🚀"


def test_pictures_stay_and_those_of_a_tool_follow_in_the_user_s_turn() -> None:
    seen = RESULT | {"output": [{"type": "input_text", "text": "here"}, PICTURE]}
    turns = messages(user("What is it?", PICTURE), CALL, seen)
    assert turns[0]["content"] == [{"type": "text", "text": "What is it?"}, SHOWN]
    assert turns[2] == {"role": "tool", "tool_call_id": "c1", "content": "here"}
    assert turns[3]["content"] == [{"type": "text", "text": "From the result of tool call c1:"}, SHOWN]


def test_tools_that_run_at_the_client_become_functions() -> None:
    inner = FUNCTION | {"name": "close", "description": "Close it."}
    tools: list[Json] = [
        FUNCTION,
        {
            "type": "custom",
            "name": "patch",
            "format": {"type": "grammar", "syntax": "lark", "definition": "start: X"},
        },
        {"type": "local_shell"},
        {"type": "namespace", "name": "agents", "description": "Agents.", "tools": [inner]},
    ]
    made = [tool["function"] for tool in chat(tools=tools)["tools"]]
    assert [function["name"] for function in made] == ["f", "patch", "local_shell", "agents__close"]
    assert "lark grammar:\nstart: X" in made[1]["description"]
    assert made[1]["parameters"]["required"] == ["input"]
    assert made[3]["description"] == "Agents.\n\nClose it."


def test_earlier_calls_of_them_are_calls_of_the_same_functions() -> None:
    calls: list[Json] = [
        {"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "x\n"},
        {
            "type": "local_shell_call",
            "call_id": "2",
            "action": {"type": "exec", "command": ["ls"], "env": {}},
        },
        CALL | {"call_id": "3", "namespace": "agents", "name": "close"},
    ]
    results = [
        {"type": "custom_tool_call_output", "call_id": "1", "output": "ok"},
        {"type": "local_shell_call_output", "id": "2", "output": "a.txt"},
        RESULT | {"call_id": "3"},
    ]
    turns = messages(user("?"), *calls, *results)
    made = [(call["function"]["name"], call["function"]["arguments"]) for call in turns[1]["tool_calls"]]
    assert made == [
        ("patch", '{"input":"x\\n"}'),
        ("local_shell", '{"command":["ls"]}'),
        ("agents__close", '{"a":1}'),
    ]
    assert [turn["tool_call_id"] for turn in turns[2:]] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            "required",
        ),
    ],
)
def test_the_choice_of_a_tool_has_a_counterpart(given: object, asked: object) -> None:
    tools = [FUNCTION, FUNCTION | {"name": "g"}]
    made = chat(tools=tools, tool_choice=given, parallel_tool_calls=False)
    assert made["tool_choice"] == asked
    assert made["parallel_tool_calls"] is False
    names = [tool["function"]["name"] for tool in made["tools"]]
    assert names == (["f"] if isinstance(given, dict) and "tools" in given else ["f", "g"])


def test_the_form_of_the_text_and_how_it_is_drawn_are_carried_over() -> None:
    schema = {"type": "object", "properties": {"z": {"type": "number"}, "a": {}}}
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    made = chat(
        text={"format": form}, temperature=0.5, top_p=0.25, max_output_tokens=7, user="u", stream=True
    )
    named = {"name": "n", "schema": schema, "strict": True}
    assert made["response_format"] == {"type": "json_schema", "json_schema": named}
    assert list(made["response_format"]["json_schema"]["schema"]["properties"]) == ["z", "a"]
    assert (made["temperature"], made["top_p"], made["max_tokens"], made["user"]) == (0.5, 0.25, 7, "u")
    assert (made["stream"], made["stream_options"]) == (True, {"include_usage": True})
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "max_completion_tokens" in chat(max_output_tokens=7, extensions=False)


@pytest.mark.parametrize(
    ("effort", "asked"),
    [
        ("minimal", {"reasoning_effort": "low"}),
        ("medium", {"reasoning_effort": "medium"}),
        ("xhigh", {"reasoning_effort": "high"}),
        ("none", {"chat_template_kwargs": {"enable_thinking": False}}),
    ],
)
def test_effort_is_named_as_engines_know_it(effort: str, asked: Json) -> None:
    made = chat(reasoning={"effort": effort, "summary": "auto"})
    assert {key: value for key, value in made.items() if key not in {"model", "messages"}} == asked
    assert chat(reasoning={"effort": effort}, extensions=False)["reasoning_effort"] == effort


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"truncation": "auto"}, "truncation"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"brand_new": 1}, "brand_new"),
        ({"tools": [{"type": "web_search", "external_web_access": False}]}, "tools[0] (web_search)"),
        ({"tools": [{"type": "web_search_preview_2025_03_11"}]}, "tools[0] (web_search_preview_2025_03_11)"),
        ({"tools": [{"type": "image_generation"}]}, "tools[0] (image_generation)"),
        ({"tools": [FUNCTION | {"brand_new": 1}]}, "tools[0].brand_new"),
        (
            {"input": [user("?"), {"type": "web_search_call", "id": "ws_1", "action": {}}]},
            "input[1] (web_search_call)",
        ),
    ],
)
def test_what_does_not_change_the_meaning_is_left_out_and_named(fields: Json, named: str) -> None:
    assert translated(**fields).dropped == (named,)


@pytest.mark.parametrize(
    "fields",
    [
        {
            "prompt_cache_key": "k",
            "client_metadata": {"a": "b"},
            "metadata": {"a": "b"},
            "safety_identifier": "s",
        },
        {"include": ["web_search_call.action.sources", "reasoning.encrypted_content"], "store": False},
        {"truncation": "disabled", "service_tier": "auto", "stream_options": {"include_obfuscation": False}},
        {"background": False, "temperature": None, "tools": [], "tool_choice": "auto", "top_logprobs": 0},
    ],
)
def test_what_means_nothing_here_is_passed_over(fields: Json) -> None:
    made = translated(**fields)
    assert made.dropped == ()
    assert json.loads(made.body) == chat()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}, "tools[0].type"),
        ({"tools": [{"type": "computer_use_preview"}]}, "tools[0].type"),
        ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [user("?"), {"type": "computer_call_output", "output": {"a": 1}}]}, "input[1].type"),
        ({"input": [user({"type": "input_file", "file_id": "f"})]}, "input[0].content[0].type"),
        ({"input": [user({"type": "input_image", "file_id": "f"})]}, "input[0].content[0].image_url"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
    ],
)
def test_what_would_change_the_meaning_is_refused_by_name(fields: Json, param: str) -> None:
    with pytest.raises(Untranslatable) as refused:
        translated(**fields)
    assert refused.value.param == param
    assert refused.value.hint


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        (
            {"input": [user("?"), {"role": "user", "content": [{"type": "input_text", "text": 7}]}]},
            "input[1]",
        ),
        ({"input": [CALL | {"name": None}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
        ({"text": {"format": {"type": "json_schema", "schema": 1}}}, "text.format.schema"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(body: Json, param: str) -> None:
    with pytest.raises(BadRequest) as refused:
        translated(**body)
    assert not isinstance(refused.value, Untranslatable)
    assert (refused.value.param or "").startswith(param)


@pytest.mark.parametrize(
    "junk", [b"", b"[]", b"{", b'{"model":"m","input":"\\ud83d"}', b"[" * 5_000, b"\xff"]
)
def test_junk_is_a_bad_request_or_read(junk: bytes) -> None:
    from meshlight.gateway.translation.responses.api import translate_responses  # noqa: PLC0415

    made: Any = None
    try:
        made = translate_responses(junk, "tiny")
    except BadRequest:
        return
    assert json.loads(made.body)["messages"][0]["content"] == "�"
