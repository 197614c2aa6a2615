"""Tests of calls of tools in pieces: when a call is whole, however it is cut and however often one asks."""

import msgspec
import pytest

from meshlight.gateway.translation import tool_call_pieces
from meshlight.gateway.translation.chat_schema import Function, ToolCall
from meshlight.gateway.translation.tool_call_pieces import CallList, ToolCallBuilder, find_call

TEXTS = [
    '{"a":"}{"}',
    '{"a":"\\\\"}',
    '{"a":"\\"}"}',
    '{"a":[{"b":"\\\\\\""},"]"]}',
    ' { "a" : { } } ',
    '{"ä":"\\ud83d\\ude00"}',
]


def piece(text: str, given: str = "c1", name: str = "f") -> ToolCall:
    return ToolCall(0, given, Function(name, msgspec.Raw(msgspec.json.encode(text))))


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("text", TEXTS)
def test_a_call_has_arguments_when_its_outer_bracket_has_closed(text: str, size: int) -> None:
    call = ToolCallBuilder(0, "own")
    end = text.rindex("}")
    for start in range(0, len(text), size):
        assert call.has_arguments() == (start > end)
        call.add(piece(text[start : start + size]))
    assert call.has_arguments()
    assert call.is_filled()


@pytest.mark.parametrize(
    "text", ["", "  ", '"a"', "}", "{]", '{"a":1}}', "{a}", "[1]", '{"a":1}{"b":2}', "x{}"]
)
def test_what_is_no_object_never_comes(text: str) -> None:
    call = ToolCallBuilder(0, "own")
    call.add(piece(text))
    assert not call.has_arguments()
    call.add(piece(" "))
    assert not call.has_arguments()


@pytest.mark.parametrize("end", ["}", '"}', " ", "]"])
def test_the_arguments_are_not_read_anew_for_each_piece(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = CallList()
    calls.begin(0, "own").add(piece('{"a":[' + "1," * 1_000 + "]}" if end == " " else '{"a":{"b":"'))
    read: list[int] = []

    class CountingDecoder:
        def decode(self, data: bytes) -> object:
            read.append(len(data))
            return msgspec.json.decode(data, type=dict[str, msgspec.Raw])

    monkeypatch.setattr(tool_call_pieces, "_any", CountingDecoder())
    for number in range(500):
        following = piece(end, f"d{number}")
        call = find_call(calls, following) or calls.begin(0, "own")
        call.add(following)
    assert sum(read) < 20_000
