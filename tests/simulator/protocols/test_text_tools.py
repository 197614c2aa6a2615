"""When a tool is called."""

import pytest

from meshlight.simulator.protocols.text import call_for
from simulator.clients import Json

TOOLS = [
    {
        "type": "function",
        "function": {"name": "look_up", "parameters": {"properties": {"a": {"type": "array"}}}},
    },
    {"type": "function", "function": {"name": "add"}},
    {"type": "other"},
]


@pytest.mark.parametrize(
    ("body", "prompt", "name"),
    [
        ({}, "weather", None),
        ({"tools": TOOLS}, "hello", None),
        ({"tools": TOOLS}, "use a tool", "look_up"),
        ({"tools": TOOLS}, "please add them", "add"),
        ({"tools": TOOLS, "tool_choice": "required"}, "hello", "look_up"),
        ({"tools": TOOLS, "tool_choice": "none"}, "weather", None),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "add"}}}, "hello", "add"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "nope"}}}, "hello", None),
    ],
)
def test_a_tool_is_called_when_asked_for(body: Json, prompt: str, name: str | None) -> None:
    call = call_for(body, prompt)
    assert (call and call.name) == name


def test_arguments_fit_their_schema() -> None:
    call = call_for({"tools": TOOLS}, "tool")
    assert call is not None
    assert call.text == '{"a":[]}'
