"""A conversation in Anthropic's words reaches the backend whole and in order."""

import base64

import pytest

from gateway.translation.anthropic.requests import Json, ask, chat, history
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.anthropic.api import translate_messages

PIXEL = base64.b64encode(b"pixel").decode()
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
URL = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}


def text(words: str, **fields: object) -> Json:
    return {"type": "text", "text": words} | fields


def user(*content: Json | str) -> Json:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else content}


def assistant(*content: Json | str) -> Json:
    return {"role": "assistant", "content": content[0] if isinstance(content[0], str) else content}


def result(content: object = "3", **fields: object) -> Json:
    return {"type": "tool_result", "tool_use_id": "toolu_1", "content": content} | fields


def refusal(*turns: Json) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        translate_messages(ask(messages=turns), "tiny")
    return caught.value


def test_words_and_roles_stay() -> None:
    assert history(user("Hi"), assistant("Hello"), user(text("How"), text("are you?"))) == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "How\n\nare you?"},
    ]


def test_a_system_prompt_comes_first_with_its_blocks_as_paragraphs() -> None:
    blocks = [text("Be kind.", cache_control={"type": "ephemeral"}), text("Be short.")]
    assert history(user("Hi"), system=blocks)[0] == {"role": "system", "content": "Be kind.\n\nBe short."}
    assert history(user("Hi"), system="Be kind.")[0] == {"role": "system", "content": "Be kind."}
    assert history(user("Hi"), system="")[0]["role"] == "user"


def test_the_line_with_which_claude_code_names_its_build_is_no_prompt() -> None:
    blocks = [text("x-anthropic-billing-header: cc_version=2.1; cch=a5145;"), text("You are Claude Code.")]
    assert history(user("Hi"), system=blocks)[0]["content"] == "You are Claude Code."


def test_images_become_urls() -> None:
    assert history(user(text("Look:"), IMAGE, URL))[0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]


def test_calls_and_their_results_come_in_the_order_that_chat_templates_want() -> None:
    turns = (
        user("1 + 2?"),
        assistant(text("I'll add."), CALL, CALL | {"id": "toolu_2"}),
        user(result(), result("4") | {"tool_use_id": "toolu_2"}, text("Go on.")),
    )
    function = {"name": "add", "arguments": '{"a": 1}'}
    assert history(*turns)[1:] == [
        {
            "role": "assistant",
            "content": "I'll add.",
            "tool_calls": [
                {"id": "toolu_1", "type": "function", "function": function},
                {"id": "toolu_2", "type": "function", "function": function},
            ],
        },
        {"role": "tool", "tool_call_id": "toolu_1", "content": "3"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "4"},
        {"role": "user", "content": "Go on."},
    ]


def test_the_input_of_a_call_stays_digit_for_digit() -> None:
    body = ask(messages=[assistant(CALL)]).replace(
        b'{"a": 1}', b'{"big":123456789012345678901234567890,"f":1.10,"e":1e400}'
    )
    sent = translate_messages(body, "tiny").body
    assert rb"{\"big\":123456789012345678901234567890,\"f\":1.10,\"e\":1e400}" in sent


@pytest.mark.parametrize(
    ("content", "fields", "expected"),
    [
        (None, {}, ""),
        ([], {}, ""),
        ([text("a"), text("b")], {}, "a\n\nb"),
        ("no such file", {"is_error": True}, "Error: no such file"),
        ("Error: no", {"is_error": True}, "Error: no"),
        ("<tool_use_error>no</tool_use_error>", {"is_error": True}, "<tool_use_error>no</tool_use_error>"),
        (None, {"is_error": True}, "Error"),
        ("3", {"is_error": False, "cache_control": {"type": "ephemeral"}}, "3"),
        ([{"type": "tool_reference", "tool_name": "mul"}], {}, "The tool mul can be called."),
    ],
)
def test_results_of_tools_become_text(content: object, fields: Json, expected: str) -> None:
    assert history(assistant(CALL), user(result(content, **fields)))[1]["content"] == expected


def test_an_image_that_a_tool_brought_follows_in_the_users_message() -> None:
    messages = history(assistant(CALL), user(result([text("Here:"), IMAGE]), text("What is it?")))
    assert messages[1] == {"role": "tool", "tool_call_id": "toolu_1", "content": "Here:"}
    assert [part["type"] for part in messages[2]["content"]] == ["text", "image_url", "text"]
    assert "toolu_1" in messages[2]["content"][0]["text"]
    assert messages[2]["content"][2]["text"] == "What is it?"


def test_thoughts_go_on_and_what_only_anthropic_can_read_stays_behind() -> None:
    turn = assistant(
        {"type": "thinking", "thinking": "Hm.", "signature": "EqQ="},
        {"type": "redacted_thinking", "data": "EmQ="},
        text("Yes."),
    )
    assert history(user("?"), turn, user("!"))[1] == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "Hm.",
    }


def test_documents_of_text_and_search_results_become_text() -> None:
    document = {"type": "document", "title": "Notes", "source": {"type": "text", "data": "Milk."}}
    pieces = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    found = {"type": "search_result", "source": "https://e.org", "title": "E", "content": [text("c")]}
    message = history(user(document, pieces, found, text("So?")))[0]["content"]
    assert message == "Notes\nMilk.\n\na\n\nb\n\nE\nhttps://e.org\n\nc\n\nSo?"


def test_neighbours_of_one_role_become_one_message() -> None:
    messages = history(user("a"), user("b"), assistant("c"), assistant(CALL), user(result()))
    assert [m["role"] for m in messages] == ["user", "assistant", "tool"]
    assert messages[0]["content"] == "a\n\nb"
    assert messages[1]["content"] == "c"


def test_a_system_message_in_mid_conversation_stands_where_it_was() -> None:
    reminder = {"role": "system", "content": [text("Skills: none.")], "output_config": {"effort": "low"}}
    messages = history({"role": "system", "content": "First."}, user("Hi"), reminder, system="Be kind.")
    assert messages == [
        {"role": "system", "content": "Be kind.\n\nFirst."},
        {"role": "user", "content": "Hi\n\n<system-reminder>\nSkills: none.\n</system-reminder>"},
    ]


def test_a_reminder_between_a_call_and_its_result_parts_them_not() -> None:
    reminder = {"role": "system", "content": "Hurry."}
    messages = history(user("Hi"), assistant(CALL), reminder, user(result(), text("Go.")))
    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "user"]
    assert messages[3]["content"] == "<system-reminder>\nHurry.\n</system-reminder>\n\nGo."


def test_a_reminder_for_one_turn_is_gone_in_the_next() -> None:
    reminder = {"role": "system", "content": "Now!", "clear_at": "next_user_message"}
    assert "Now!" in history(user("a"), reminder)[0]["content"]
    assert "Now!" not in str(history(user("a"), reminder, assistant("b"), user("c")))


def test_a_directive_without_words_says_nothing() -> None:
    directive = {"role": "system", "content": [], "output_config": {"effort": "low"}}
    assert history(user("Hi"), directive) == [{"role": "user", "content": "Hi"}]


def test_the_start_of_the_answer_is_handed_on() -> None:
    assert history(user("?"), assistant("The answer is ("))[-1]["content"] == "The answer is ("


def test_openais_own_service_gets_nothing_that_it_refuses() -> None:
    turn = assistant({"type": "thinking", "thinking": "Hm.", "signature": ""}, CALL)
    body = ask(messages=[user("?"), turn, user(result())])
    sent = translate_messages(body, "tiny", extensions=False).body
    assert b"reasoning_content" not in sent
    assert b'"role":"assistant","content":null,' in sent


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (
            {"type": "document", "source": {"type": "base64", "data": ""}},
            "messages[1].content[0].source.type",
        ),
        ({"type": "image", "source": {"type": "file", "file_id": "f"}}, "messages[1].content[0].source.type"),
        ({"type": "server_tool_use", "id": "s"}, "messages[1].content[0].type"),
        (
            {"type": "document", "source": {"type": "text", "data": ""}, "citations": {"enabled": True}},
            "messages[1].content[0].citations",
        ),
    ],
)
def test_what_chat_completions_have_no_word_for_is_refused_by_name(block: Json, param: str) -> None:
    error = refusal(user("Hi"), user(block))
    assert isinstance(error, Untranslatable)
    assert error.param == param
    assert param in error.title
    assert error.hint


@pytest.mark.parametrize(
    "turn",
    [
        user(CALL),
        assistant(result()),
        assistant(IMAGE),
        {"role": "system", "content": [IMAGE]},
        assistant(CALL | {"input": [1]}),
        {"role": "judge", "content": "x"},
        user(text("a") | {"text": 5}),
        {"role": "user", "content": 5},
    ],
)
def test_a_block_in_the_wrong_place_is_told_with_its_place(turn: Json) -> None:
    error = refusal(user("Hi"), turn)
    assert not isinstance(error, Untranslatable)
    assert "messages[1]" in error.title


def test_no_messages_at_all_is_told() -> None:
    assert refusal().param == "messages"


def test_half_an_emoji_in_a_prompt_stops_nobody() -> None:
    body = ask(messages=[user("cut \ud83d")])
    assert rb"\ud83d" in body
    assert "cut \ufffd" in translate_messages(body, "tiny").body.decode()


def test_the_route_names_the_model() -> None:
    assert chat()["model"] == "tiny"
