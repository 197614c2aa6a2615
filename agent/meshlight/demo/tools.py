"""Tool calls: whether a prompt asks for one, and what the call says."""

from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

_EXAMPLES: dict[str, Any] = {
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


class Call(Struct, frozen=True, kw_only=True):
    """One call of one function."""

    id: str
    name: str
    arguments: dict[str, Any]

    @property
    def text(self) -> str:
        """The arguments as the JSON text that OpenAI's shape has."""
        return msgspec.json.encode(self.arguments).decode()


def call_for(body: dict[str, Any], prompt: str) -> Call | None:
    """Return the call to answer with, or None where words are wanted.

    Asked for is a call by `tool_choice` (required, or a name), or by a prompt that says "tool", "weather"
    or a function's name; never right after a tool's result.
    """
    functions = [tool["function"] for tool in body.get("tools") or () if _is_function(tool)]
    choice = body.get("tool_choice")
    if not functions or choice == "none" or _has_result(body):
        return None
    if isinstance(choice, dict):
        named = choice.get("function", choice).get("name")
        functions = [function for function in functions if function["name"] == named]
        return _call(functions[0]) if functions else None
    said = prompt.lower()
    mentioned = next((function for function in functions if function["name"].lower() in said), None)
    if mentioned is not None:
        return _call(mentioned)
    is_wanted = choice == "required" or "tool" in said or "weather" in said
    return _call(functions[0]) if is_wanted else None


def _is_function(tool: Any) -> bool:
    match tool:
        case {"type": "function", "function": {"name": str()}}:
            return True
        case _:
            return False


def _has_result(body: dict[str, Any]) -> bool:
    messages = body.get("messages") or [None]
    return isinstance(messages[-1], dict) and messages[-1].get("role") == "tool"


def _call(function: dict[str, Any]) -> Call:
    properties = (function.get("parameters") or {}).get("properties") or {}
    arguments = {name: _example(name, schema) for name, schema in properties.items()}
    return Call(id=f"call_{uuid4().hex[:24]}", name=function["name"], arguments=arguments)


def _example(name: str, schema: Any) -> Any:
    if not isinstance(schema, dict):
        return "demo"
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _EXAMPLES:
        return _EXAMPLES[kind]
    return "Seoul" if name in {"city", "location"} else "demo"
