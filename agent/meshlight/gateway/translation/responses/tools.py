"""Translates the tools of a Responses request to functions of chat completions, and their calls back.

Three kinds of tools are not functions but run at the client, so each becomes a function: a `custom` tool takes text,
so its function has one parameter, `input`; `local_shell` becomes the function that models know by that name; the
functions of a `namespace` have its name as prefix.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.domain.text import sanitize_line
from meshlight.gateway.translation.responses.schema import Action, Tool, ToolChoice
from meshlight.gateway.validation import LONGEST, validation_error

ELSEWHERE = "Leave it out, or use a model of a backend that has /v1/responses itself."
LOCAL_SHELL = "local_shell"
_OPTIONAL = ("web_search", "image_generation", "tool_search")
"""Tools hosted by OpenAI that agents offer with every request: optional, so they can be left out."""
_BETWEEN = "__"
_FIELDS = frozenset(Tool.__struct_fields__)
_INPUT = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The whole input of the tool, as text."}},
    "required": ["input"],
    "additionalProperties": False,
}
_SHELL = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "description": "The program and its words.",
        },
        "working_directory": {"type": "string"},
        "timeout_ms": {"type": "number"},
    },
    "required": ["command"],
    "additionalProperties": False,
}
_decoder = msgspec.json.Decoder(Tool)
_keys = msgspec.json.Decoder(dict[str, Raw])
_object = msgspec.json.Decoder(dict[str, Any])


class NamedTool(Struct, frozen=True):
    """The tool that a function was made from."""

    type: Literal["function", "custom", "local_shell"]
    name: str
    namespace: str | None = None


class Tools:
    """The functions that a request offers; `dropped` collects what is left out, by name."""

    def __init__(self, dropped: list[str]) -> None:
        self._dropped = dropped
        self._named: dict[str, NamedTool] = {}
        self.functions: list[dict[str, Any]] = []
        """In the format of chat completions."""

    def add(self, tools: Sequence[Raw], place: str = "tools") -> None:
        """Add tools; raises Untranslatable and BadRequest."""
        for number, raw in enumerate(tools):
            where = f"{place}[{number}]"
            self._add(_read(raw, where, self._dropped), where)

    def tool_of(self, function: str) -> NamedTool:
        """Return the tool of a function; a function that was not offered is its own tool."""
        return self._named.get(function) or NamedTool("function", function)

    def choose(self, choice: str | ToolChoice | None) -> dict[str, Any]:
        """Return `tool_choice`, and leave only the tools that are allowed; raises Untranslatable."""
        if choice is None:
            return {}
        if isinstance(choice, str):
            if choice not in {"auto", "none", "required"}:
                raise untranslatable("tool_choice", choice)
            return self._word(choice)
        if choice.type == "allowed_tools":
            allowed = {self._function_name(one, "tool_choice.tools") for one in choice.tools}
            self.functions = [f for f in self.functions if f["function"]["name"] in allowed]
            return self._word("required" if choice.mode == "required" else "auto")
        return {
            "tool_choice": {
                "type": "function",
                "function": {"name": self._function_name(choice, "tool_choice")},
            }
        }

    def _word(self, word: str) -> dict[str, Any]:
        if not self.functions:
            if word == "required":
                raise untranslatable("tool_choice", "required, without a tool that can be called here")
            return {}  # without tools, some servers refuse the other values
        return {"tool_choice": word}

    def _function_name(self, choice: ToolChoice, place: str) -> str:
        if choice.type not in {"function", "custom", LOCAL_SHELL}:
            raise untranslatable(f"{place}.type", choice.type)
        return function_name(choice.name or choice.type, choice.namespace)

    def _add(self, tool: Tool, place: str, namespace: Tool | None = None) -> None:
        match tool.type:
            case "function":
                parameters: Any = tool.parameters
                if bytes(parameters).strip() in {b"", b"null"}:
                    parameters = {"type": "object", "properties": {}}
                self._offer(tool, namespace, "function", parameters, tool.description)
            case "custom":
                self._offer(tool, namespace, "custom", _INPUT, _with_grammar(tool))
            case "local_shell":
                self._offer(tool, namespace, "local_shell", _SHELL, "Runs a command in the user's shell.")
            case "namespace" if namespace is None:
                for number, raw in enumerate(tool.tools):
                    where = f"{place}.tools[{number}]"
                    self._add(_read(raw, where, self._dropped), where, tool)
            case kind if kind.startswith(_OPTIONAL):
                self._dropped.append(f"{place} ({kind})")
            case kind:
                raise Untranslatable(
                    f"The tool {sanitize_line(kind)!r} ({place}) runs at OpenAI; the backend of this model has only "
                    "tools that the client runs itself.",
                    ELSEWHERE,
                    f"{place}.type",
                )

    def _offer(
        self,
        tool: Tool,
        namespace: Tool | None,
        kind: Literal["function", "custom", "local_shell"],
        parameters: Any,
        description: str | None,
    ) -> None:
        named = NamedTool(kind, tool.name or tool.type, namespace.name if namespace is not None else None)
        name = function_name(named.name, named.namespace)
        if namespace is not None and namespace.description and name not in self._named:
            description = f"{namespace.description}\n\n{description or ''}".rstrip()
        self._named[name] = named
        function: dict[str, Any] = {"name": name}
        if description:
            function["description"] = description
        function["parameters"] = parameters
        if tool.strict:
            function["strict"] = True
        self.functions.append({"type": "function", "function": function})


def function_name(name: str, namespace: str | None) -> str:
    """Return the name of the function for a tool."""
    return f"{namespace}{_BETWEEN}{name}" if namespace else name


def custom_arguments(text: str) -> str:
    """Return the input of a custom tool as arguments of its function."""
    return msgspec.json.encode({"input": text}).decode()


def custom_input(arguments: str) -> str:
    """Return the text that a custom tool is called with; arguments of another form are themselves the text."""
    found = decode_or_none(arguments, _object) or {}
    text = found.get("input")
    return text if isinstance(text, str) and len(found) == 1 else arguments


def shell_arguments(action: Action | None) -> str:
    """Return what a shell action_made as arguments of its function."""
    action_made: dict[str, Any] = {"command": action.command if action is not None else []}
    if action is not None and action.working_directory is not None:
        action_made["working_directory"] = action.working_directory
    if action is not None and action.timeout_ms is not None:
        action_made["timeout_ms"] = action.timeout_ms
    return msgspec.json.encode(action_made).decode()


def shell_action(arguments: str) -> dict[str, Any]:
    """Return the action in the arguments of a shell's function."""
    found = decode_or_none(arguments, _object) or {}
    command = found.get("command")
    if isinstance(command, str):
        command = ["bash", "-lc", command]
    words = [str(word) for word in command] if isinstance(command, list) else []
    folder, limit = found.get("working_directory"), found.get("timeout_ms")
    return {
        "type": "exec",
        "command": words,
        "env": {},
        "timeout_ms": int(limit) if isinstance(limit, int | float) else None,
        "working_directory": folder if isinstance(folder, str) else None,
    }


def untranslatable(param: str, what: str = "") -> Untranslatable:
    """Return the error for a field without a counterpart; `what` is its value."""
    param = sanitize_line(param, LONGEST)
    text = f"{param} ({sanitize_line(what)})" if what else param
    return Untranslatable(
        f"{text} can't be carried over to chat completions, which is all that this model's backend speaks.",
        ELSEWHERE,
        param,
    )


def _read(raw: Raw, place: str, dropped: list[str]) -> Tool:
    try:
        tool = _decoder.decode(raw)
        unknown: Iterable[str] = _keys.decode(raw).keys() - _FIELDS
    except msgspec.ValidationError as error:
        problem = validation_error(error, Tool)
        raise BadRequest(f"{place}: {problem.title}", problem.hint, place) from None
    if tool.type in {"function", "custom"}:
        if not tool.name:
            raise BadRequest(f"{place}.name is missing.", "Name the tool.", f"{place}.name")
        dropped.extend(f"{place}.{name}" for name in sorted(unknown))
    return tool


def _with_grammar(tool: Tool) -> str | None:
    form = tool.format or {}
    definition = form.get("definition")
    if form.get("type") != "grammar" or not isinstance(definition, str):
        return tool.description
    text = f"The input must keep to this {form.get('syntax', '')} grammar:\n{definition}"
    return f"{tool.description}\n\n{text}" if tool.description else text
