"""Requests as Claude Code sends them: headers, system blocks, tools, and the newer fields."""

from typing import Any

HEADERS = {
    "accept": "application/json",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "prompt-caching-scope-2026-01-05,effort-2025-11-24",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "user-agent": "claude-cli/2.1.34 (external, cli)",
    "x-app": "cli",
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
}
BILLING = "x-anthropic-billing-header: cc_version=2.1.34.9a3; cc_entrypoint=cli; cch=00000;"
_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
_CACHED = {"type": "ephemeral"}


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {
        "$schema": _SCHEMA,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "input_schema": schema}


TOOLS = [
    _tool(
        "Bash",
        "Executes a given bash command with optional timeout.",
        {
            "command": {"type": "string", "description": "The command to execute"},
            "timeout": {"type": "number", "description": "Optional timeout in milliseconds"},
            "run_in_background": {"type": "boolean"},
        },
        ["command"],
    ),
    _tool(
        "TodoWrite",
        "Creates a list of tasks.",
        {
            "todos": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "content": {"type": "string", "minLength": 1},
                        "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                    },
                    "required": ["content", "status"],
                    "additionalProperties": False,
                },
            }
        },
        ["todos"],
    ),
    {
        **_tool("get_weather", "A tool of an MCP server.", {"city": {"type": "string"}}, ["city"]),
        "cache_control": _CACHED,
    },
]
SYSTEM: list[dict[str, Any]] = [
    {"type": "text", "text": BILLING},
    {
        "type": "text",
        "text": "You are Claude Code, Anthropic's official CLI for Claude.",
        "cache_control": _CACHED,
    },
    {
        "type": "text",
        "text": "You are an interactive agent that helps users with software engineering tasks.",
        "cache_control": {"type": "ephemeral", "ttl": "1h"},
    },
]
FIRST = {
    "role": "user",
    "content": [
        {"type": "text", "text": "<system-reminder>\nToday's date is 2026-02-10.\n</system-reminder>\n"},
        {"type": "text", "text": "What is the weather in Seoul?", "cache_control": _CACHED},
    ],
}


def turn(model: str, messages: list[Any]) -> dict[str, Any]:
    """Return the body of a turn of the conversation."""
    return {
        "model": model,
        "messages": messages,
        "system": SYSTEM,
        "tools": TOOLS,
        "metadata": {"user_id": '{"device_id":"3f2a","account_uuid":"","session_id":"0c7e"}'},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "medium"},
        "stream": True,
    }


def answered(call: dict[str, Any]) -> list[Any]:
    """Return the messages of the turn after a tool call: thoughts, the call, and its result."""
    thought = {"type": "thinking", "thinking": "The user asks for the weather.", "signature": "c2lnbmVk"}
    result = {
        "tool_use_id": call["id"],
        "type": "tool_result",
        "content": [{"type": "text", "text": "21 degrees"}],
        "is_error": False,
        "cache_control": _CACHED,
    }
    return [FIRST, {"role": "assistant", "content": [thought, call]}, {"role": "user", "content": [result]}]


def title(model: str) -> dict[str, Any]:
    """Return the body of the small request that names a conversation."""
    schema = {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }
    return {
        "model": model,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What is the weather in Seoul?"}]}
        ],
        "system": [{"type": "text", "text": BILLING}, {"type": "text", "text": "Name this conversation."}],
        "tools": [],
        "metadata": {"user_id": "{}"},
        "max_tokens": 64,
        "temperature": 1,
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "stream": True,
    }
