"""State that a backend wants back reaches it, through clients whose protocol has no field for it."""

import json
import re
from typing import Any

import msgspec
import pytest

from gateway.translation.anthropic.requests import (
    EVENTS,
    JSON,
    Json,
    back,
    blocks,
    call,
    chat,
    chunk,
    completion,
    events,
    output_of,
    stream,
)
from gateway.translation.ollama.requests import back as ollama_back
from gateway.translation.ollama.requests import chat as ollama_chat
from gateway.translation.ollama.requests import output_lines
from meshlight.gateway.translation.anthropic.api import translate_messages
from meshlight.gateway.translation.carried_schema import MessageExtras
from meshlight.gateway.translation.carried_state import (
    SIGNATURE,
    STATE_MAX,
    UNPACKED_MAX,
    UNPACKED_VALUES_MAX,
    ExtrasCollector,
    StateReader,
    call_id,
    join_details,
    restore_call_ids,
    signature,
)
from meshlight.gateway.translation.chat_schema import MessageDelta
from meshlight.gateway.translation.ollama.generate import translate_chat
from meshlight.gateway.translation.tool_calls import PLACEHOLDER

SIGNED = {"google": {"thought_signature": "EpwCCpkC" + "Ab+/" * 300 + "=="}}
OTHERS = [SIGNED, {"any": {"thing": [1, None, "ü"]}}, {"cursor": "x"}]
ASK = {"role": "user", "content": "Hi"}
TOOL = {"name": "f", "input_schema": {"type": "object"}}
DETAILS = [
    {"type": "reasoning.text", "text": "First", "index": 0, "format": "anthropic-claude-v1"},
    {"type": "reasoning.text", "text": ", then.", "signature": "c2ln", "index": 0},
    {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 1},
]
WHOLE = [
    {
        "type": "reasoning.text",
        "text": "First, then.",
        "index": 0,
        "format": "anthropic-claude-v1",
        "signature": "c2ln",
    },
    {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "index": 1},
]


def anthropic_turn(data: bytes, *, is_stream: bool) -> list[Json]:
    """Return the content of the answer, as a client puts it together."""
    if is_stream:
        return blocks(events(output_of(back(stream=True), data)))
    content: list[Json] = json.loads(output_of(back(), data, content_type=JSON))["content"]
    return content


def anthropic_next(content: list[Json], *, signs: bool = False, extensions: bool = True) -> list[Json]:
    """Return the messages that the backend gets after that answer, with the results of its calls."""
    results = [
        {"type": "tool_result", "tool_use_id": b["id"], "content": "1"}
        for b in content
        if b["type"] == "tool_use"
    ]
    turns = [ASK, {"role": "assistant", "content": content}, {"role": "user", "content": results or "Go on"}]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": turns}).encode()
    made: list[Json] = json.loads(translate_messages(body, "m", signs=signs, extensions=extensions).body)[
        "messages"
    ]
    return made


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("extra", OTHERS, ids=["gemini", "anything", "flat"])
def test_a_call_keeps_what_its_backend_wants_back_at_anthropics_clients(extra: Json, is_stream: bool) -> None:
    piece = call(0, "{}", id="call_1", name="f", extra_content=extra)
    data = stream(chunk(piece), chunk({}, "tool_calls")) if is_stream else completion(piece, "tool_calls")
    (block,) = anthropic_turn(data, is_stream=is_stream)
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"])
    asked, result = anthropic_next([block])[1:]
    (sent,) = asked["tool_calls"]
    assert (sent["id"], sent["extra_content"]) == ("call_1", extra)
    assert result["tool_call_id"] == "call_1"


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("extra", OTHERS, ids=["gemini", "anything", "flat"])
def test_a_call_keeps_what_its_backend_wants_back_at_ollamas_clients(extra: Json, is_stream: bool) -> None:
    piece = call(0, "{}", id="call_1", name="f", extra_content=extra)
    if is_stream:
        message = output_lines(ollama_back(), stream(chunk(piece), chunk({}, "tool_calls")))[0]["message"]
    else:
        message = json.loads(
            output_of(ollama_back(stream=False), completion(piece, "tool_calls"), content_type=JSON)
        )["message"]
    made = ollama_chat(messages=[ASK, message, {"role": "tool", "content": "1", "tool_name": "f"}])[
        "messages"
    ]
    assert made[1]["tool_calls"][0]["extra_content"] == extra
    assert made[1]["tool_calls"][0]["id"] == made[2]["tool_call_id"] == "call_1"
    by_id = {"role": "tool", "content": "1", "tool_call_id": message["tool_calls"][0]["id"]}
    assert ollama_chat(messages=[ASK, message, by_id])["messages"] == made


@pytest.mark.parametrize("is_stream", [True, False])
def test_the_details_of_reasoning_come_back_whole(is_stream: bool) -> None:
    made = call(0, "{}", id="c", name="f")
    if is_stream:
        thoughts = [chunk({"reasoning": d.get("text"), "reasoning_details": [d]}) for d in DETAILS]
        data = stream(*thoughts, chunk(made), chunk({}, "tool_calls"))
    else:
        data = completion({"reasoning": "First, then.", "reasoning_details": DETAILS} | made, "tool_calls")
    content = anthropic_turn(data, is_stream=is_stream)
    assert [block["type"] for block in content] == ["thinking", "tool_use"]
    asked = anthropic_next(content)[1]
    assert asked["reasoning_details"] == WHOLE
    way = ollama_back() if is_stream else ollama_back(stream=False)
    lines = [
        json.loads(line)
        for line in output_of(way, data, content_type=EVENTS if is_stream else JSON).splitlines()
    ]
    message = next(line["message"] for line in lines if "tool_calls" in line["message"])
    assert ollama_chat(messages=[ASK, message])["messages"][1]["reasoning_details"] == WHOLE


@pytest.mark.parametrize("place", ["before", "with", "after"])
def test_details_without_words_come_back_too(place: str) -> None:
    secret = {"reasoning_details": [DETAILS[2]]}
    made = call(0, "{}", id="c", name="f")
    pieces = {"before": [secret, made], "with": [secret | made], "after": [made, secret]}[place]
    data = stream(*(chunk(piece) for piece in pieces), chunk({}, "tool_calls"))
    content = anthropic_turn(data, is_stream=True)
    assert anthropic_next(content)[1]["reasoning_details"] == [DETAILS[2]]


def test_an_answer_in_words_has_no_blocks_that_its_client_does_not_know() -> None:
    data = stream(chunk({"content": "Yes.", "extra_content": SIGNED}), chunk({}, "stop"))
    assert anthropic_turn(data, is_stream=True) == [{"type": "text", "text": "Yes."}]


@pytest.mark.parametrize("extra", [None, {"google": {}}, {"other": 1}])
def test_a_history_without_signatures_gets_the_documented_stand_in(extra: Any) -> None:
    pieces = [call(n, "{}", id=f"c{n}", name="f", extra_content=extra) for n in range(2)]
    content = anthropic_turn(stream(*map(chunk, pieces), chunk({}, "tool_calls")), is_stream=True)
    first, second = anthropic_next(content, signs=True, extensions=False)[1]["tool_calls"]
    assert first["extra_content"]["google"]["thought_signature"] == PLACEHOLDER
    assert second.get("extra_content") == extra
    plain = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    body = json.dumps({"model": "m", "messages": [ASK, plain]}).encode()
    asked = json.loads(translate_chat(body, "m", extensions=False, signs=True).body)
    assert (
        asked["messages"][1]["tool_calls"][0]["extra_content"]["google"]["thought_signature"] == PLACEHOLDER
    )


def test_a_service_that_knows_openais_fields_only_gets_nothing_of_it() -> None:
    piece = call(0, "{}", id="c" * 60, name="f", extra_content=SIGNED) | {"reasoning_details": DETAILS}
    content = anthropic_turn(stream(chunk(piece), chunk({}, "tool_calls")), is_stream=True)
    _, asked, result = anthropic_next(content, extensions=False)
    assert asked.keys() == {"role", "content", "tool_calls"}
    assert asked["tool_calls"][0].keys() == {"id", "type", "function"}
    assert asked["tool_calls"][0]["id"] == result["tool_call_id"]
    assert len(result["tool_call_id"]) <= 40


def test_what_is_too_large_to_be_kept_is_left_and_the_call_is_not() -> None:
    piece = call(0, "{}", id="c", name="f", extra_content={"x": "y" * STATE_MAX})
    (block,) = anthropic_turn(stream(chunk(piece), chunk({}, "tool_calls")), is_stream=True)
    assert block["id"] == "c"


@pytest.mark.parametrize(
    "client_id", ["toolu_meshlight_", "toolu_meshlight_AAAA", "toolu_meshlight_!", "x" * 50]
)
def test_an_id_that_is_none_of_ours_is_an_id(client_id: str) -> None:
    block = {"type": "tool_use", "id": client_id, "name": "f", "input": {}}
    assert anthropic_next([block])[1]["tool_calls"][0]["id"] == client_id


def test_a_signature_of_ours_says_nothing_to_the_backend() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
    turn = {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes."}]}
    assert chat(messages=[ASK, turn])["messages"][1] == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_content": "Hm.",
    }


def test_pieces_without_an_index_are_details_of_their_own() -> None:
    details = [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}]
    assert list(join_details(details)) == details


@pytest.mark.parametrize("grow", ["keys", "inner keys", "details", "one value"])
def test_a_backend_that_sends_ever_more_state_gets_no_more_than_the_limit_back(grow: str) -> None:
    collector = ExtrasCollector()
    for n in range(2_000):
        text = "x" * 100
        match grow:
            case "keys":
                delta = MessageDelta(extra_content={f"k{n}": text})
            case "inner keys":
                delta = MessageDelta(extra_content={"google": {f"k{n}": text}})
            case "details":
                delta = MessageDelta(reasoning_details=[{"index": n, "nested": [[text]]}])
            case _:
                delta = MessageDelta(extra_content={"google": {"k": text * n}})
        collector.add_delta(delta)
    size = len(msgspec.json.encode(collector.take()))
    assert STATE_MAX // 2 < size < 2 * STATE_MAX
    assert not collector.take()


def test_a_signature_after_ten_thousand_pieces_of_thought_is_still_kept() -> None:
    collector = ExtrasCollector()
    for _ in range(10_000):
        collector.add_delta(MessageDelta(extra_content={"google": {"thought": True, "cursor": "c" * 100}}))
    collector.add_delta(MessageDelta(extra_content=SIGNED))
    assert collector.take().extra_content == {"google": SIGNED["google"] | {"cursor": "c" * 100}}


def packed_ids(count: int) -> list[str]:
    """Return ids of calls that are short and unpack to nearly the limit."""
    return [call_id(f"call_{n}", {"x": "y" * (STATE_MAX - 200)}, MessageExtras()) for n in range(count)]


def test_a_request_unpacks_no_more_than_its_budget_however_many_ids_it_holds() -> None:
    reader = StateReader()
    ids = packed_ids(3 * UNPACKED_MAX // STATE_MAX)
    assert max(map(len, ids)) < 300
    states = [reader.read_call_id(client_id) for client_id in ids]
    read = [state for state in states if state.call]
    assert UNPACKED_MAX // STATE_MAX <= len(read) <= UNPACKED_MAX // STATE_MAX + 1
    assert states[0].id == "call_0"
    assert states[-1].id == ids[-1]
    # A result has the id of its call, on either side of the limit.
    assert [reader.own_id(client_id) for client_id in ids] == [state.id for state in states]


def test_one_id_again_and_again_is_unpacked_no_more_often_than_the_budget_allows() -> None:
    reader = StateReader()
    [client_id] = packed_ids(1)
    states = [reader.read_call_id(client_id) for _ in range(2 * UNPACKED_MAX // STATE_MAX)]
    assert {state.id for state in states} == {"call_0"}
    assert sum(bool(state.call) for state in states) <= UNPACKED_MAX // STATE_MAX + 1


def test_state_of_very_many_values_spends_the_budget_too() -> None:
    reader = StateReader()
    many = call_id("c", {"x": [[]] * 20_000}, MessageExtras())
    states = [reader.read_call_id(many) for _ in range(40)]
    assert sum(bool(state.call) for state in states) <= UNPACKED_VALUES_MAX // 40_000 + 1


@pytest.mark.parametrize(
    "broken", ["toolu_meshlight_!", "toolu_meshlight_AAAA", "toolu_meshlight_" + "_" * 99]
)
def test_broken_state_spends_the_budget_too(broken: str) -> None:
    reader = StateReader()
    for n in range(UNPACKED_MAX // STATE_MAX):
        assert reader.read_call_id(f"{broken}{n:04}").id == f"{broken}{n:04}"
    [client_id] = packed_ids(1)
    if broken.endswith(("!", "_")):
        assert reader.read_call_id(client_id).call is None


def test_signatures_share_the_budget_of_the_ids() -> None:
    reader = StateReader()
    signed = signature(MessageExtras(extra_content={"x": "y" * (STATE_MAX - 200)}))
    read = [reader.read_signature(signed) for _ in range(2 * UNPACKED_MAX // STATE_MAX)]
    assert sum(map(bool, read)) <= UNPACKED_MAX // STATE_MAX + 1
    assert reader.read_call_id(packed_ids(1)[0]).call is None


def test_a_body_that_is_passed_on_restores_ids_within_the_same_budget() -> None:
    ids = packed_ids(2 * UNPACKED_MAX // STATE_MAX)
    sent: list[str] = json.loads(restore_call_ids(json.dumps(ids).encode()))
    assert sent[0] == "call_0"
    assert sent[-1] == ids[-1]
