"""A conversation that goes on at Anthropic takes along what Anthropic signed, and nothing that we made up."""

import json
from typing import Any

import pytest

from gateway.translation.anthropic.requests import Json, call, chunk, stream
from gateway.translation.test_carried_state import SIGNED, anthropic_turn
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.carried_state import SIGNATURE
from meshlight.gateway.translation.passthrough import without_own_state

REAL = "EqQBCkYIARgCKkD+/" + "a" * 200 + "=="
ASK = {"role": "user", "content": 'Why do you think? "thinking"'}
TEXT = {"type": "text", "text": "Yes: redacted_thinking."}
UNSIGNED: list[Json] = [
    {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
    {"type": "thinking", "thinking": "Hm.", "signature": f"{SIGNATURE}q1ZKSSxJVLKqBQA"},
    {"type": "thinking", "thinking": "Hm.", "signature": ""},
    {"type": "thinking", "thinking": "Hm."},
    {"type": "thinking", "thinking": "Hm.", "signature": "0123456789abcdef0123456789abcdef"},
    {"type": "redacted_thinking", "data": f"{SIGNATURE}q1ZKSSxJVLKqBQA"},
]
SIGNED_BLOCKS: list[Json] = [
    {"type": "thinking", "thinking": "Hm.", "signature": REAL},
    {"type": "redacted_thinking", "data": REAL},
]


def passed(*turns: Json, kind: Any = "anthropic", operation: Operation = "messages", **fields: Any) -> Json:
    body = json.dumps({"model": "m", "messages": turns, "temperature": 0.10} | fields).encode()
    found: Json = json.loads(without_own_state(operation, body, kind))
    return found


@pytest.mark.parametrize("block", UNSIGNED)
def test_thoughts_that_anthropic_has_not_signed_stay_behind(block: Json) -> None:
    turn = {"role": "assistant", "content": [block, *SIGNED_BLOCKS, TEXT]}
    assert passed(ASK, turn)["messages"] == [ASK, turn | {"content": [*SIGNED_BLOCKS, TEXT]}]
    assert passed(ASK, {"role": "assistant", "content": [block]}, ASK)["messages"] == [ASK, ASK]


@pytest.mark.parametrize("block", [*SIGNED_BLOCKS, TEXT])
@pytest.mark.parametrize("spaces", [(",", ":"), (" ,\n", " : ")])
def test_what_is_signed_goes_byte_for_byte(block: Json, spaces: tuple[str, str]) -> None:
    turns = [ASK, {"role": "assistant", "content": [block, TEXT]}]
    body = json.dumps({"messages": turns, "n": 1.50}, separators=spaces).encode()
    assert without_own_state("messages", body, "anthropic") is body
    with_ours = [*turns, {"role": "assistant", "content": [UNSIGNED[0], TEXT]}]
    kept = json.dumps(turns[1], separators=spaces).encode()
    assert kept in without_own_state(
        "messages", json.dumps({"messages": with_ours}, separators=spaces).encode(), "anthropic"
    )


@pytest.mark.parametrize("kind", ["llamacpp", "ollama", "vllm"])
def test_others_get_the_thoughts_as_they_are(kind: str) -> None:
    turn = {"role": "assistant", "content": [*UNSIGNED, TEXT]}
    assert passed(ASK, turn, kind=kind)["messages"] == [ASK, turn]


@pytest.mark.parametrize(
    ("operation", "kind"), [("messages", "anthropic"), ("messages", "llamacpp"), ("api/chat", "ollama")]
)
def test_a_call_has_its_own_id_again_wherever_the_conversation_goes(operation: Operation, kind: str) -> None:
    piece = call(0, "{}", id="call.1", name="f", extra_content=SIGNED)
    (block,) = anthropic_turn(stream(chunk(piece), chunk({}, "tool_calls")), is_stream=True)
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": f'"{block["id"]}"'}
    found = passed(
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": [result]},
        kind=kind,
        operation=operation,
    )
    asked, answered = found["messages"]
    assert asked["content"][0]["id"] == answered["content"][0]["tool_use_id"] == "call_1"
    assert answered["content"][0]["content"] == f'"{block["id"]}"'


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"messages":"thinking"}', b'{"messages":[["thinking"]]}', b'["thinking"]']
)
def test_what_is_no_conversation_is_for_the_backend_to_refuse(body: bytes) -> None:
    assert without_own_state("messages", body, "anthropic") == body
