"""What is kept of responses, for whom, and for how long."""

import json
from typing import Any

import pytest

from gateway.translation.anthropic.requests import JSON, completion, output_of
from gateway.translation.responses.requests import ask, messages, translated, user
from meshlight.domain.errors import PreviousResponseUnknown
from meshlight.domain.peers import Peer
from meshlight.gateway.translation.responses.api import translate_responses
from meshlight.gateway.translation.responses.memory import GUESTS_MAX, ResponseMemory, StoredResponses
from meshlight.gateway.translation.responses.native import asked_to_keep, for_native
from meshlight.gateway.translation.responses.recording import final_response


def peer(name: str) -> Peer:
    return Peer(id=name, name=name, url="")


def answered(stored: StoredResponses, number: str, **fields: Any) -> str:
    """Ask for a response that says its own number, and return its id."""
    made = translate_responses(ask(**fields), "tiny", stored=stored, number=number)
    message = {"content": f"said {number}", "reasoning": f"thought {number}"}
    response = json.loads(output_of(made.back, completion(message), content_type=JSON))
    found: str = response["id"]
    return found


def test_a_conversation_goes_on_from_the_response_before() -> None:
    stored = StoredResponses()
    first = answered(stored, "1", input="one", instructions="only once")
    second = answered(stored, "2", input=[user("two")], previous_response_id=first)
    made = translated(stored=stored, input="three", previous_response_id=second)
    turns = json.loads(made.body)["messages"]
    assert [(turn["role"], turn["content"]) for turn in turns] == [
        ("user", "one"),
        ("assistant", "said 1"),
        ("user", "two"),
        ("assistant", "said 2"),
        ("user", "three"),
    ]
    assert turns[1]["reasoning_content"] == "thought 1"


def test_what_is_not_to_be_stored_or_came_to_no_end_is_not_kept() -> None:
    stored = StoredResponses()
    answered(stored, "1", store=False)
    way = translate_responses(ask(), "tiny", stored=stored).back
    assert output_of(way, b"{}", content_type=JSON) == b"(cut)"
    assert len(stored) == 0


def test_an_id_that_nobody_knows_is_said_so() -> None:
    with pytest.raises(PreviousResponseUnknown) as unknown:
        translated(stored=StoredResponses(), previous_response_id="resp_x")
    assert unknown.value.param == "previous_response_id"
    assert unknown.value.code == "previous_response_not_found"


@pytest.mark.parametrize("limits", [{"entries_max": 2}, {"bytes_max": 3_000}])
def test_the_oldest_go_when_there_are_too_many(limits: dict[str, int]) -> None:
    stored = StoredResponses(**limits)
    ids = [answered(stored, str(number)) for number in range(9)]
    assert not stored.knows(ids[0])
    assert stored.knows(ids[-1])
    assert len(stored) == 2


def test_one_that_is_larger_than_the_shelf_pushes_nothing_out() -> None:
    stored = StoredResponses(bytes_max=3_000)
    small = answered(stored, "1")
    large = answered(stored, "2", input="x" * 4_000)
    assert (stored.knows(small), stored.knows(large)) == (True, False)


def test_a_conversation_whose_beginning_is_gone_is_not_told_in_part() -> None:
    stored = StoredResponses()
    first = answered(stored, "1")
    second = answered(stored, "2", previous_response_id=first)
    stored.forget(first)
    with pytest.raises(PreviousResponseUnknown):
        stored.history(second)


def test_a_conversation_that_goes_on_stays_whole() -> None:
    stored = StoredResponses(entries_max=3)
    first = answered(stored, "1")
    second = answered(stored, "2", previous_response_id=first)
    answered(stored, "other")
    third = answered(stored, "3", previous_response_id=second)  # pushes out the other one
    assert len(stored.history(third)) > len(stored.history(second))


def test_nobody_reads_what_another_has_asked() -> None:
    memory = ResponseMemory()
    own, guest = memory.of(None), memory.of(peer("a"))
    mine, theirs = answered(own, "1"), answered(guest, "2")
    assert (own.knows(theirs), guest.knows(mine), memory.of(peer("b")).knows(theirs)) == (False, False, False)
    assert memory.of(peer("a")).knows(theirs)
    assert memory.of(None).knows(mine)


def test_guests_push_out_guests_alone() -> None:
    memory = ResponseMemory()
    mine, theirs = answered(memory.of(None), "1"), answered(memory.of(peer("a")), "2")
    for number in range(GUESTS_MAX):
        memory.of(peer(f"p{number}"))
    assert memory.of(None).knows(mine)
    assert not memory.of(peer("a")).knows(theirs)


def test_a_backend_with_the_api_itself_gets_the_conversation_in_its_own_words() -> None:
    stored = StoredResponses()
    first = answered(stored, "1", input="one")
    body = ask(input="two", previous_response_id=first, brand_new=1)
    for takes_text, kinds in ((True, ["reasoning"]), (False, [])):
        made = json.loads(for_native(body, stored, takes_text=takes_text))
        assert "previous_response_id" not in made
        assert made["brand_new"] == 1
        assert [item["type"] for item in made["input"]] == ["message", *kinds, "message", "message"]
    thoughts = json.loads(for_native(body, stored, takes_text=True))["input"][1]
    assert thoughts["content"] == [{"type": "reasoning_text", "text": "thought 1"}]


@pytest.mark.parametrize(
    "body",
    [
        ask(previous_response_id="resp_of_its_own"),
        ask(previous_response_id="resp_mesh_of_another_node", input=[{"type": "reasoning", "id": "rs_1"}]),
        b'{"resp_mesh_"',
    ],
)
def test_what_is_not_ours_goes_on_untouched(body: bytes) -> None:
    made = for_native(body, StoredResponses(), takes_text=False)
    assert made == body or json.loads(made) == json.loads(body)


def test_what_came_from_here_can_be_sent_back_as_it_is() -> None:
    stored = StoredResponses()
    first = answered(stored, "1", input="one")
    kept = json.loads(stored.response(first) or b"")
    turns = messages(user("one"), *kept["output"], user("two"))
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]


FINAL = b'{"id":"r1","object":"response","status":"completed","output":[]}'


@pytest.mark.parametrize(
    "answer",
    [
        FINAL,
        b'event: response.completed\ndata: {"type":"response.completed","response":%b}\n\n' % FINAL,
        b'data: {"type":"response.created","response":{}}\r\n\r\n'
        b'data: {"type":"response.completed","response":%b}\r\n\r\ndata: [DONE]\r\n\r\n' % FINAL,
    ],
)
def test_the_response_at_the_end_of_a_backend_s_own_answer_is_found(answer: bytes) -> None:
    assert final_response(answer) == ("r1", FINAL)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"[" * 5_000,
        b"{" + b'"a":{' * 5_000,
        FINAL.replace(b"completed", b"failed"),
        FINAL.replace(b"[]", b"7"),
        b'data: {"type":"response.created","response":%b}\n\n' % FINAL,
        b'data: {"type":"response.completed","response":7}\n\n',
        b'data: {"response.completed"\n\n',
    ],
)
def test_an_answer_without_an_end_brings_no_response(answer: bytes) -> None:
    assert final_response(answer) is None


def test_what_is_asked_not_to_be_stored_or_has_a_past_elsewhere_is_not_kept() -> None:
    stored = StoredResponses()
    assert asked_to_keep(ask(store=False), stored) is None
    assert asked_to_keep(ask(previous_response_id="elsewhere"), stored) is None
    assert asked_to_keep(b"{", stored) is None
    assert asked_to_keep(ask(input=7), stored) is None
    kept = asked_to_keep(ask(), stored)
    assert kept is not None
    kept.keep("r1", FINAL)
    assert asked_to_keep(ask(previous_response_id="r1"), stored) is not None


def test_what_an_engine_has_thought_goes_to_no_cloud() -> None:
    stored = StoredResponses()
    thought = (
        b'{"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"Hm."}]}'
    )
    stored.keep("r1", None, (), b'{"id":"r1","output":[%b]}' % thought)
    body = ask(previous_response_id="r1")
    assert [item["type"] for item in json.loads(for_native(body, stored, takes_text=False))["input"]] == [
        "message"
    ]
    output_of = json.loads(for_native(body, stored, takes_text=True))["input"]
    assert output_of[0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]


@pytest.mark.parametrize(("has_memory", "store"), [(True, True), (True, False), (False, True)])
def test_a_response_is_kept_where_there_is_a_memory_and_the_client_wants_it(
    *, has_memory: bool, store: bool
) -> None:
    request = translated(stored=StoredResponses() if has_memory else None, store=store)
    keep = request.back._builder._options.keep  # type: ignore[attr-defined]
    assert (keep is not None) is (has_memory and store)
