"""OpenAI's Codex itself, at a model whose server has chat completions only.

It speaks nothing but the Responses API. It runs without its own sandbox: what the scripted
model has it do is one `echo`.
"""

import json
from pathlib import Path
from typing import Any

from clients.agents import run_agent
from clients.rig import added
from clients.scripted import Delta, call, questions, scripted
from node import Node

MODEL = "tiny-script"


async def codex(node: Node, home: Path, prompt: str) -> list[dict[str, Any]]:
    """Run `codex exec` against the node; return the events that it prints."""
    provider = {
        "name": '"Meshlight"',
        "base_url": f'"{node.url}/v1"',
        "env_key": '"MESHLIGHT_KEY"',
        "wire_api": '"responses"',
    }
    settings = [
        'model_provider="meshlight"',
        *(f"model_providers.meshlight.{name}={value}" for name, value in provider.items()),
        "analytics.enabled=false",
        "check_for_update_on_startup=false",
        'history.persistence="none"',
    ]
    flags = ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--json", "-m", MODEL]
    words = ["exec", *flags, *(word for setting in settings for word in ("-c", setting)), prompt]
    out = await run_agent(
        "@openai/codex/bin/codex.js", words, home, CODEX_HOME=str(home), MESHLIGHT_KEY=node.key
    )
    return [json.loads(line) for line in out.splitlines()]


def model(body: dict[str, Any]) -> list[Delta]:
    """Answer with a command, and after its result with a text about it."""
    last = body["messages"][-1]
    if last["role"] != "tool":
        return [{"reasoning": "I count."}, call(0, "exec_command", {"cmd": "echo mesh-$((40 + 2))"})]
    found = "mesh-42" if "mesh-42" in last["content"] else "nothing"
    return [{"content": "It says "}, {"content": f"{found}."}]


async def test_it_runs_a_command_that_the_model_asks_for_and_tells_its_answer(
    node: Node, tmp_path: Path
) -> None:
    async with scripted("a", MODEL, model) as backend:
        await added(node, "openai-compatible", backend.url)
        told = await codex(node, tmp_path / "codex", "count")
        asked = questions(backend)
    items = [event["item"] for event in told if event["type"] == "item.completed"]
    ran = next(item for item in items if item["type"] == "command_execution")
    assert (ran["exit_code"], ran["aggregated_output"]) == (0, "mesh-42\n")
    assert [item["text"] for item in items if item["type"] == "agent_message"] == ["It says mesh-42."]
    done = next(event for event in told if event["type"] == "turn.completed")
    assert (done["usage"]["input_tokens"], done["usage"]["output_tokens"]) == (18, 6)

    assert len(asked) == 2
    names = {tool["function"]["name"] for tool in asked[0]["tools"]}
    assert "exec_command" in names
    assert "web_search" not in names
    assert [turn["role"] for turn in asked[1]["messages"]] == ["system", "user", "assistant", "tool"]
    assert asked[1]["messages"][2]["reasoning_content"] == "I count."
