"""A chat of Ollama's API is asked of an engine that speaks OpenAI's: all of it, or it is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ollama import Options

from gateway.translation.ollama.requests import MADE_AT, PNG, STILL, answered, chat, chat_body, sent
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.ollama.generate import translate_chat, translate_generate
from meshlight.gateway.translation.ollama.schema import Options as Read

CALL = {"function": {"name": "add", "arguments": {"n": 1.50}}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def test_a_stream_is_asked_for_unless_the_caller_says_no() -> None:
    assert chat() == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert "stream" not in chat(stream=False)


def test_options_get_the_names_that_engines_know() -> None:
    found = chat(
        options={
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["x"],
            "num_predict": 9.0,
            "top_k": 40.0,
        }
        | {
            "presence_penalty": 1,
            "frequency_penalty": 2,
            "min_p": 0.1,
            "typical_p": 0.7,
            "repeat_penalty": 1.1,
        }
        | {"repeat_last_n": 64}
    )
    wanted = {"temperature": 0.5, "top_p": 0.9, "seed": 4, "stop": ["x"], "max_tokens": 9, "top_k": 40}
    wanted |= {"presence_penalty": 1, "frequency_penalty": 2, "min_p": 0.1, "typical_p": 0.7}
    wanted |= {"repeat_penalty": 1.1, "repetition_penalty": 1.1, "repeat_last_n": 64}
    assert wanted.items() <= found.items()


@pytest.mark.parametrize("limit", [-1, -2, 0])
def test_no_limit_is_no_limit(limit: int) -> None:
    assert "max_tokens" not in chat(options={"num_predict": limit})


def test_wishes_about_how_ollama_loads_are_passed_over() -> None:
    wishes = {"num_ctx": 8192, "num_gpu": 99, "num_thread": 8, "use_mmap": True, "mirostat": 0, "num_keep": 4}
    assert chat(options=wishes, keep_alive="5m", truncate=True, shift=False) == chat()


def test_every_option_of_ollamas_own_client_is_known() -> None:
    assert set(Options.model_fields) <= set(Read.__struct_fields__)


@pytest.mark.parametrize(
    "fields",
    [
        {"options": {"num_wings": 2, "keep_alive": "5m", "max_tokens": 7}},
        {"user": "me", "metadata": {"a": [1]}},
        {"messages": [{"role": "user", "content": "Hi", "id": "m1", "annotations": []}]},
    ],
    ids=["options", "top", "messages"],
)
def test_what_ollama_does_not_know_either_is_not_heard(fields: dict[str, Any]) -> None:
    assert chat(**fields) == chat()


def test_what_would_change_the_answer_is_refused_by_name() -> None:
    with pytest.raises(Untranslatable, match="_debug_render_only"):
        chat(_debug_render_only=True)


def test_a_service_that_knows_openais_fields_only_gets_no_others() -> None:
    found = chat(
        extensions=False,
        options={"num_predict": 9, "top_k": 0, "repeat_penalty": 1.0, "repeat_last_n": 64, "min_p": 0},
        think="max",
        messages=[{"role": "user", "content": "?"}, {"role": "assistant", "content": "!", "thinking": "Hm."}],
    )
    assert found["max_completion_tokens"] == 9
    assert found["reasoning_effort"] == "high"
    assert found.keys() == {"model", "messages", "max_completion_tokens", "reasoning_effort"} | {
        "stream",
        "stream_options",
    }
    assert found["messages"][1] == {"role": "assistant", "content": "!"}
    made = sent(translate_chat(chat_body(options={"top_k": 40, "min_p": 0}), "gpt", extensions=False))
    assert (b"top_k" in made.body, made.dropped) == (False, ("options.top_k",))


@pytest.mark.parametrize(
    ("think", "asked"),
    [
        (True, {"chat_template_kwargs": {"enable_thinking": True}}),
        (False, {"chat_template_kwargs": {"enable_thinking": False}}),
        ("low", {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": True}}),
        (None, {}),
    ],
)
def test_the_wish_to_think_goes_on(think: object, asked: dict[str, Any]) -> None:
    assert chat(think=think) == chat() | asked


def test_formats_become_response_formats() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert chat(format="json")["response_format"] == {"type": "json_object"}
    assert chat(format=schema)["response_format"]["json_schema"]["schema"] == schema
    assert "response_format" not in chat(format="")
    with pytest.raises(BadRequest, match="format must be"):
        chat(format="xml")


def test_tools_and_chances_go_on() -> None:
    found = chat(tools=[TOOL], logprobs=True, top_logprobs=3)
    assert found["tools"] == [TOOL]
    assert (found["logprobs"], found["top_logprobs"]) == (True, 3)
    with pytest.raises(BadRequest, match=r"tools\[0\].function"):
        chat(tools=[{"type": "function"}])


def test_pictures_become_data_urls_of_their_own_type() -> None:
    jpeg, gif, webp = "/9j/4AAQ", "R0lGODlh", "UklGRgAAAABXRUJQ"
    [message] = chat(messages=[{"role": "user", "content": "?", "images": [PNG, jpeg, gif, webp]}])[
        "messages"
    ]
    assert message["content"][0] == {"type": "text", "text": "?"}
    urls = [part["image_url"]["url"] for part in message["content"][1:]]
    assert [url.split(";")[0] for url in urls] == [
        f"data:image/{kind}" for kind in ("png", "jpeg", "gif", "webp")
    ]
    assert urls[0] == f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize(("image", "why"), [("?!", "not base64"), ("aGVsbG8=", "neither PNG")])
def test_what_is_no_picture_is_refused(image: str, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        chat(messages=[{"role": "user", "content": "?", "images": [image]}])


@pytest.mark.parametrize(
    ("role", "whence"),
    [("tool", "the result of tool call x"), ("system", "the system"), ("assistant", "the assistant")],
)
def test_a_picture_in_another_message_goes_into_the_users(role: str, whence: str) -> None:
    ask = {"role": "user", "content": "?"}
    call = {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {}}}]}
    shown = {"role": role, "content": "Seen.", "images": [PNG]}
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    message = [{"type": "text", "text": f"From {whence}:"}, url]
    first = [ask, call, shown]
    *others, last = chat(messages=[*first, {"role": "tool", "content": "More."}, ask])["messages"]
    assert [message["role"] for message in others] == ["user", "assistant", role, "tool"]
    assert (others[2]["content"], last["content"]) == ("Seen.", [*message, {"type": "text", "text": "?"}])
    assert chat(messages=first)["messages"][-1] == {"role": "user", "content": message}


def test_results_find_their_calls_by_id_by_name_or_by_order() -> None:
    other = {"id": "given", "function": {"name": "sub", "arguments": {}}}
    found = chat(
        messages=[
            {"role": "User", "content": "?"},
            {"role": "assistant", "content": "", "thinking": "Hm.", "tool_calls": [CALL, CALL, other]},
            {"role": "tool", "tool_name": "sub", "content": "3"},
            {"role": "tool", "content": "1"},
            {"role": "tool", "name": "add", "content": "2"},
            {"role": "tool", "tool_call_id": "abc", "content": "4"},
            {"role": "tool", "content": "5"},
        ]
    )["messages"]
    first, second, third = found[1]["tool_calls"]
    assert first["function"] == {"name": "add", "arguments": '{"n": 1.5}'}
    assert len({first["id"], second["id"], "given"}) == 3
    assert found[1]["content"] is None
    assert found[1]["reasoning_content"] == "Hm."
    wanted = [third["id"], first["id"], second["id"], "abc"]
    assert [message["tool_call_id"] for message in found[2:6]] == wanted
    assert found[6]["tool_call_id"] not in wanted


def test_no_messages_mean_load_and_are_answered_at_once() -> None:
    for body in (chat_body(messages=[]), b'{"model": "llama3:latest"}'):
        assert answered(translate_chat(body, "tiny", clock=STILL)) == {
            "model": "llama3:latest",
            "created_at": MADE_AT,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "load",
        }


@pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s", "0m"])
def test_a_model_of_another_engine_can_not_be_unloaded(keep_alive: object) -> None:
    with pytest.raises(Untranslatable, match="keep_alive"):
        chat(messages=[], keep_alive=keep_alive)
    assert chat(keep_alive=keep_alive) == chat()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"messages": [{"role": "wizard", "content": ""}]}, "wizard"),
        ({"think": "deep"}, "Use one of low|think must be"),
        ({"options": {"seed": 1.5}}, "options.seed must be a whole number"),
        ({"options": {"temperature": "hot"}}, "options.temperature must be"),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}
                ]
            },
            "arguments must be an object",
        ),
        ({"model": 3}, "model must be text"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        chat(**fields)


def test_what_is_no_json_is_refused() -> None:
    for body, why in (
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"truncate":' + b"[" * 100_000, "too deeply"),
    ):
        with pytest.raises(BadRequest, match=why):
            translate_chat(body, "tiny")


def test_half_a_character_is_made_readable() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"a\\ud83d"}]}'
    assert json.loads(sent(translate_chat(body, "tiny")).body)["messages"][0]["content"] == "a\ufffd"


def test_a_call_without_arguments_has_none_and_a_name_goes_on() -> None:
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": None}}]}
    found = chat(messages=[{"role": "user", "name": "Ada", "content": "?"}, called])["messages"]
    assert found[0]["name"] == "Ada"
    assert found[1]["tool_calls"][0]["function"]["arguments"] == "{}"


_WORDS = [
    "model",
    "messages",
    "role",
    "content",
    "images",
    "tool_calls",
    "function",
    "name",
    "arguments",
    "options",
]
_WORDS += [
    "stop",
    "seed",
    "format",
    "think",
    "stream",
    "keep_alive",
    "prompt",
    "suffix",
    "raw",
    "tools",
    "top_k",
]

HOSTILE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(_WORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def _near(name: str) -> st.SearchStrategy[dict[str, object]]:
    """Return fields of which some may be right."""
    roles = st.sampled_from(["system", "user", "assistant", "tool", "?"])
    called = st.fixed_dictionaries(
        {"function": st.fixed_dictionaries({"name": st.text(max_size=3), "arguments": HOSTILE})}
    )
    message = st.fixed_dictionaries(
        {"role": roles},
        optional={
            "content": st.text(max_size=5),
            "images": st.lists(st.sampled_from([PNG, "AAAA", "?"]), max_size=2),
            "tool_calls": st.lists(called, max_size=2),
            "tool_name": st.text(max_size=3),
            "tool_call_id": st.text(max_size=3),
            name: HOSTILE,
        },
    )
    return st.fixed_dictionaries(
        {"model": st.text(max_size=5)},
        optional={
            "messages": st.lists(message, max_size=4),
            "prompt": st.text(max_size=5),
            "options": HOSTILE,
            "think": HOSTILE,
            "format": HOSTILE,
            "tools": HOSTILE,
            name: HOSTILE,
        },
    )


BODIES = (
    (HOSTILE | st.sampled_from(sorted(set(_WORDS) - {"model", "role"})).flatmap(_near))
    .map(json.dumps)
    .map(str.encode)
)


@given(BODIES | st.binary(max_size=40), st.booleans())
def test_a_hostile_body_is_a_bad_request_and_nothing_worse(body: bytes, extensions: bool) -> None:
    for translate in (translate_chat, translate_generate):
        try:
            translate(body, "tiny", extensions=extensions, clock=STILL)
        except BadRequest:
            continue
