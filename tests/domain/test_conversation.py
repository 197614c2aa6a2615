"""Which conversation a request continues."""

import json
from typing import Any

import pytest

from meshlight.domain.conversation import conversation_of

SYSTEM = {"role": "system", "content": "You are kind."}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def mark(body: object, *headers: tuple[bytes, bytes], model: str = "m") -> bytes | None:
    return conversation_of(model, headers, json.dumps(body).encode())


def test_every_turn_of_a_conversation_has_the_same_mark() -> None:
    turns = [SYSTEM, user("Hello")]
    begun = mark({"messages": turns})
    turns += [{"role": "assistant", "content": "Hi!"}, user("And now?")]
    assert begun is not None
    assert mark({"messages": turns, "stream": True}) == begun


@pytest.mark.parametrize(
    "other",
    [
        {"messages": [SYSTEM, user("Good morning")]},
        {"messages": [{"role": "system", "content": "You are rude."}, user("Hello")]},
    ],
)
def test_another_beginning_is_another_conversation(other: object) -> None:
    assert mark(other) != mark({"messages": [SYSTEM, user("Hello")]})


def test_another_app_or_model_is_another_conversation() -> None:
    body = {"messages": [user("Hello")]}
    marks = {
        mark(body),
        mark(body, (b"user-agent", b"zed")),
        mark(body, model="n"),
        mark({**body, "user": "ann"}),
    }
    assert len(marks) == 4


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({"metadata": {"user_id": "user_1_session_7"}}, ()),
        ({"prompt_cache_key": "k"}, ()),
        ({"conversation": "conv_1"}, ()),
        ({"conversation": {"id": "conv_1"}}, ()),
        ({}, ((b"x-session-id", b"s"),)),
        ({}, ((b"conversation_id", b"s"),)),
    ],
)
def test_a_clients_own_id_counts_whatever_the_beginning_is(fields: dict[str, Any], headers: Any) -> None:
    found = {mark({"messages": [user(text)], **fields}, *headers) for text in ("one", "two")}
    assert len(found) == 1
    assert None not in found


@pytest.mark.parametrize(
    "body",
    [
        {"input": "Hello"},
        {"instructions": "Be kind.", "input": [user("Hello")]},
        {"system": "Be kind.", "messages": [user("Hello")]},
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
        {"prompt": "Once upon"},
    ],
)
def test_every_protocol_has_a_beginning(body: object) -> None:
    assert mark(body) is not None


@pytest.mark.parametrize(
    "body", [[], {}, {"messages": []}, {"messages": [SYSTEM]}, {"metadata": {"user_id": 7}}]
)
def test_what_shows_nothing_has_none(body: object) -> None:
    assert mark(body) is None


def test_the_mark_tells_nothing_of_the_prompt() -> None:
    found = mark({"messages": [user("a secret")]})
    assert found is not None
    assert len(found) == 16
