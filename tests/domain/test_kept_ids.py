"""Ids that mean something to one backend alone are found by their fields, and only so many."""

from typing import Any

import msgspec
import pytest

from meshlight.domain.kept_ids import IDS_MAX, SCANNED_MAX, find_ids, ids_of_body


def ids(**fields: Any) -> list[tuple[str, str]]:
    return [(kept.field, kept.id.decode()) for kept in find_ids(msgspec.json.encode(fields))]


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, []),
        ({"conversation": "conv_1"}, [("conversation", "conv_1")]),
        ({"conversation": {"id": "conv_2"}}, [("conversation", "conv_2")]),
        ({"container": {"skills": [{"skill_id": "pptx"}], "id": "container_1"}}, [("container", "container_1")]),
        ({"container": {"type": "auto", "file_ids": ["file-1", "f2"]}}, [("file_ids", "file-1")]),
        ({"output": [{"type": "code_interpreter_call", "container_id": "cntr_1"}]}, [("container_id", "cntr_1")]),
        ({"content": [{"type": "input_file", "file_id": "file-1"}]}, [("file_id", "file-1")]),
        ({"file": {"file_id": "file-1"}}, [("file_id", "file-1")]),
        ({"previous_response_id": "resp_1"}, [("previous_response_id", "resp_1")]),
        ({"previous_response_id": None, "conversation": None, "container": 7, "file_id": "x" * 201}, []),
        ({"content": 'He wrote {"file_id": "file-1"} and "container":"cntr_1".'}, []),
        ({"file_ids": []}, []),
        ({"type": "tool_use", "input": {"container": "web", "container_id": "9f86d081", "file_id": "F01"}}, []),
        ({"conversation": "default"}, []),
        ({"conversation": {"id": 1}}, []),
    ],
)  # fmt: skip
def test_ids_are_found_by_their_fields(fields: dict[str, Any], found: list[tuple[str, str]]) -> None:
    assert ids(**fields) == found


def test_only_so_many_are_read_of_a_hostile_body() -> None:
    assert len(ids(file_ids=["file-1"] * 500)) == IDS_MAX
    assert len(list(find_ids(b'"file_id":' * 50_000))) == IDS_MAX
    assert list(find_ids(b'"container":{' * 50_000)) == []


def test_white_space_is_not_searched_again_from_each_name() -> None:
    space = b" " * 10_000
    assert [kept.id for kept in find_ids(b'"container" :\n {\n  "id" :  "cntr_1"}')] == [b"cntr_1"]
    assert list(find_ids(b'"container":{' * 40 + b'"id"' + space + b':"cntr_1"')) == []
    assert list(find_ids(b'"container"' + space + b':"cntr_1"')) == []


def test_of_a_huge_body_both_ends_are_read() -> None:
    named = b'"container":"cntr_%d"'
    between = b" " * (SCANNED_MAX + 1_000)
    body = named % 1 + between + named % 2 + between + named % 3
    assert [kept.id for kept in ids_of_body(body)] == [b"cntr_1", b"cntr_3"]
    assert [kept.id for kept in ids_of_body(named % 1 + named % 2)] == [b"cntr_1", b"cntr_2"]
