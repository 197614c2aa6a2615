"""Each field of a Messages request is carried over, passed over by a written rule, or refused by name."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.translation.anthropic.requests import Json, ask, chat
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.anthropic.api import translate_count, translate_messages

TOOL = {"name": "add", "description": "Adds.", "input_schema": {"type": "object", "properties": {}}}


def refusal(body: bytes, *, extensions: bool = True) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        translate_messages(body, "tiny", extensions=extensions)
    return caught.value


def test_a_plain_request_has_nothing_added() -> None:
    translated = translate_messages(ask(), "tiny")
    assert translated.operation == "chat/completions"
    assert json.loads(translated.body) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100,
    }


def test_a_stream_is_asked_to_count_its_tokens() -> None:
    asked = chat(stream=True)
    assert asked["stream"] is True
    assert asked["stream_options"] == {"include_usage": True}


def test_sampling_has_the_same_words_on_both_sides() -> None:
    asked = chat(temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["A", "B"], metadata={"user_id": "u"})
    assert (asked["temperature"], asked["top_p"], asked["top_k"]) == (0.5, 0.9, 40)
    assert asked["stop"] == ["A", "B"]
    assert asked["user"] == "u"


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\ude00", b"\xf0\x9f"])
def test_half_an_emoji_beside_an_unknown_field_is_replaced(half: bytes) -> None:
    body = ask(messages=[{"role": "user", "content": "HALF", "unheard_of": 1}]).replace(
        b"HALF", half + b" cut"
    )
    translated = translate_messages(body, "tiny")
    assert json.loads(translated.body)["messages"] == [{"role": "user", "content": "\ufffd cut"}]
    assert translated.dropped == ("messages[].unheard_of",)


def test_numbers_stay_digit_for_digit() -> None:
    body = ask(temperature=0, max_tokens=1).replace(b'"temperature": 0', b'"temperature": 1.00')
    body = body.replace(b'"max_tokens": 1', b'"max_tokens": 123456789012345678901234567890')
    sent = translate_messages(body, "tiny").body
    assert b'"temperature":1.00' in sent
    assert b'"max_tokens":123456789012345678901234567890' in sent


def test_null_means_absent() -> None:
    nothing = dict.fromkeys(
        (
            "temperature",
            "top_k",
            "stop_sequences",
            "system",
            "tools",
            "thinking",
            "metadata",
            "stream",
            "container",
        )
    )
    assert chat(**nothing) == chat()


def test_tools_become_functions_with_their_schemas_as_they_stand() -> None:
    schema = b'{"type": "object",  "properties": {"n": {"maximum": 1e400}}}'
    tool = TOOL | {"input_schema": "SCHEMA", "cache_control": {}, "type": "custom", "defer_loading": True}
    body = ask(tools=[tool | {"strict": True}, {"name": "b", "input_schema": {}}])
    sent = translate_messages(body.replace(b'"SCHEMA"', schema), "tiny").body
    assert b'"parameters":' + schema in sent
    tools = json.loads(sent)["tools"]
    assert [tool["type"] for tool in tools] == ["function", "function"]
    assert tools[0]["function"]["name"] == "add"
    assert tools[0]["function"]["description"] == "Adds."
    assert tools[0]["function"]["strict"] is True
    assert tools[1]["function"] == {"name": "b", "parameters": {}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "add", "disable_parallel_tool_use": True},
            {
                "tool_choice": {"type": "function", "function": {"name": "add"}},
                "parallel_tool_calls": False,
            },
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
    ],
)
def test_the_choice_of_a_tool_keeps_its_meaning(choice: Json, expected: Json) -> None:
    asked = chat(tools=[TOOL], tool_choice=choice)
    assert {key: asked[key] for key in asked if key in {"tool_choice", "parallel_tool_calls"}} == expected


def test_without_tools_there_is_nothing_to_choose() -> None:
    assert chat(tool_choice={"type": "auto", "disable_parallel_tool_use": True}) == chat()


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        (
            {"type": "enabled", "budget_tokens": 2000},
            {"chat_template_kwargs": {"enable_thinking": True}, "thinking_budget_tokens": 2000},
        ),
        ({"type": "disabled"}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"type": "adaptive", "display": "summarized"}, {}),
    ],
)
def test_the_wish_to_think_reaches_the_engine(thinking: Json, expected: Json) -> None:
    assert chat(thinking=thinking) == chat() | expected


def test_effort_and_format_have_words_of_their_own() -> None:
    form = {"type": "json_schema", "schema": {"type": "object"}}
    wanted = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    asked = chat(output_config={"effort": "max", "format": form})
    assert asked["reasoning_effort"] == "high"
    assert asked["response_format"] == {"type": "json_schema", "json_schema": wanted}
    assert chat(output_config={"effort": "low"})["reasoning_effort"] == "low"
    assert chat(output_format=form)["response_format"]["json_schema"] == wanted


def test_what_claude_code_sends_along_is_no_obstacle() -> None:
    user = "user_" + "0" * 64 + "_account__session_1"
    hints = {
        "betas": ["interleaved-thinking-2025-05-14"],
        "cache_control": {"type": "ephemeral"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "diagnostics": {"previous_message_id": "msg_1"},
        "metadata": {"user_id": user},
        "output_config": {"task_budget": {"type": "tokens", "total": 5}},
        "service_tier": "auto",
        "speed": "fast",
        "thinking": {"type": "adaptive"},
    }
    assert chat(**hints) == chat() | {"user": user}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"url": "u"}]}, "mcp_servers"),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"tools": [TOOL, {"type": "web_search_20250305", "name": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
        ({"tools": [TOOL | {"allowed_callers": ["code_execution_20250825"]}]}, "tools[0].allowed_callers"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(fields: Json, param: str) -> None:
    error = refusal(ask(**fields))
    assert isinstance(error, Untranslatable)
    assert error.status == 400
    assert error.code == "untranslatable"
    assert error.param == param
    assert param in error.title


TEXT = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    ("fields", "plain", "named"),
    [
        ({"brand_new": 1}, {}, ("brand_new",)),
        ({"brand_new": {"a": [1.50]}, "temperature": 0.10}, {"temperature": 0.1}, ("brand_new",)),
        ({"metadata": {"user_id": "u", "mood": "m"}}, {"metadata": {"user_id": "u"}}, ("metadata.mood",)),
        (
            {"output_config": {"tone": "soft", "effort": "low"}},
            {"output_config": {"effort": "low"}},
            ("output_config.tone",),
        ),
        (
            {"thinking": {"type": "disabled", "deep": True}},
            {"thinking": {"type": "disabled"}},
            ("thinking.deep",),
        ),
        ({"tools": [TOOL | {"sparkle": 1}, TOOL]}, {"tools": [TOOL, TOOL]}, ("tools[].sparkle",)),
        (
            {
                "messages": [
                    {"role": "user", "content": [TEXT | {"sparkle": 1}, TEXT | {"sparkle": 2}], "id": "m"}
                ]
            },
            {"messages": [{"role": "user", "content": [TEXT, TEXT]}]},
            ("messages[].content[].sparkle", "messages[].id"),
        ),
        ({"x: y\r\nset-cookie: a": 1, "\u00e4" * 999: 2}, {}, ("x??y??set-cookie??a", "?" * 80)),
        ({f"new_{n}": n for n in range(99)}, {}, tuple(f"new_{n}" for n in range(20))),
    ],
)
def test_a_field_that_nobody_knows_is_left_out_and_named(
    fields: Json, plain: Json, named: tuple[str, ...]
) -> None:
    made, wanted = translate_messages(ask(**fields), "tiny"), translate_messages(ask(**plain), "tiny")
    assert json.loads(made.body) == json.loads(wanted.body)
    assert (made.dropped, wanted.dropped) == (named, ())
    assert translate_count(ask(**fields), "tiny").dropped == named


@pytest.mark.parametrize("fields", [{"brand_new": 1}, {"metadata": {"mood": 1}}])
def test_beside_a_new_field_a_block_that_nobody_knows_is_still_refused(fields: Json) -> None:
    turn = {"role": "user", "content": [TEXT, {"type": "hologram", "data": "x", "sparkle": 1}]}
    error = refusal(ask(messages=[turn], **fields))
    assert isinstance(error, Untranslatable)
    assert error.param == "messages[0].content[1].type"


def test_what_is_carried_over_keeps_its_digits_beside_a_new_field() -> None:
    body = ask(brand_new=1).replace(b'"max_tokens": 100', b'"max_tokens": 100, "top_p": 0.90')
    assert b'"top_p":0.90' in translate_messages(body, "tiny").body


def test_a_refused_tool_is_named() -> None:
    assert "web_search_20250305" in refusal(ask(tools=[{"type": "web_search_20250305", "name": "w"}])).title


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"model": 5}, "model"),
        ({"stop_sequences": "A"}, "stop_sequences"),
        ({"thinking": {"type": "deep"}}, "thinking.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": 5, "input_schema": {}}]}, "tools[0].name"),
        ({"tools": [{"name": "a", "input_schema": []}]}, "tools[0].input_schema"),
    ],
)
def test_a_mistake_is_told_with_its_place(fields: Json, place: str) -> None:
    error = refusal(ask(**fields))
    assert not isinstance(error, Untranslatable)
    assert place in error.title


def test_openais_own_service_is_asked_in_its_own_words() -> None:
    body = ask(thinking={"type": "enabled", "budget_tokens": 2000}, metadata={"user_id": "u" * 65})
    assert json.loads(translate_messages(body, "gpt", extensions=False).body) == {
        "model": "gpt",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_completion_tokens": 100,
    }
    made = translate_messages(ask(top_k=5), "gpt", extensions=False)
    assert (b"top_k" in made.body, made.dropped) == (False, ("top_k",))


def test_counting_asks_for_one_token() -> None:
    body = b'{"model":"claude","messages":[{"role":"user","content":"Hi"}],"system":"Be kind.","tools":[]}'
    assert json.loads(translate_count(body, "tiny").body) == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
        "max_tokens": 1,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'"\xff"',
        b"[" * 100_000,
        b'{"model":"m","max_tokens":1,"messages":' + b"[" * 100_000,
        b'{"model":"m","max_tokens":1,"tools":[{"input_schema":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_003,
        b'{"model":"m","max_tokens":1,"betas":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"model":"m","max_tokens":1,"betas":1e400,"messages":[{"role":"user","content":""}]}',
    ],
)
def test_a_hostile_body_is_the_callers_mistake(body: bytes) -> None:
    for translate in (translate_messages, translate_count):
        with pytest.raises(BadRequest) as caught:
            translate(body, "tiny")
        assert len(caught.value.title) < 1_000


JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["user", "text", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "role", "content", "text", "name", "id", "input", "source", "data", "x"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from([*sorted(json.loads(ask())), "tools", "system", "thinking", "top_k"]), JSONS
    )
)
def test_any_json_is_translated_or_refused(fields: Json) -> None:
    with suppress(BadRequest):
        json.loads(translate_messages(ask(**fields), "tiny").body)
