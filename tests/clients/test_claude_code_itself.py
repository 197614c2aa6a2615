"""Claude Code itself, at a model whose server has chat completions only."""

import json
from pathlib import Path
from typing import Any

from clients.agents import run_agent
from clients.rig import added
from clients.scripted import Delta, call, questions, scripted
from node import Node

MODEL = "tiny-script"


def model(body: dict[str, Any]) -> list[Delta]:
    """Answer with a command, and after its result with a text about it."""
    if not any(tool["function"]["name"] == "Bash" for tool in body.get("tools", ())):
        return [{"content": '{"title": "Counting"}'}]
    results = [turn["content"] for turn in body["messages"] if turn["role"] == "tool"]
    if not results:
        return [{"reasoning": "I count."}, call(0, "Bash", {"command": "echo mesh-$((40 + 2))"})]
    return [
        {"content": "It says "},
        {"content": f"{'mesh-42' if 'mesh-42' in results[-1] else results[-1]}."},
    ]


async def test_it_runs_a_command_that_the_model_asks_for_and_tells_its_answer(
    node: Node, tmp_path: Path
) -> None:
    words = ["-p", "count", "--model", MODEL, "--output-format", "json", "--allowedTools", "Bash"]
    async with scripted("a", MODEL, model) as backend:
        await added(node, "openai-compatible", backend.url)
        out = await run_agent(
            "@anthropic-ai/claude-code/cli-wrapper.cjs",
            words,
            tmp_path / "claude",
            ANTHROPIC_BASE_URL=node.url,
            ANTHROPIC_API_KEY=node.key,
            ANTHROPIC_SMALL_FAST_MODEL=MODEL,
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
        )
        asked = questions(backend)
    told = json.loads(out)
    assert (told["is_error"], told["result"]) == (False, "It says mesh-42.")
    assert [turn["content"] for turn in asked[-1]["messages"] if turn["role"] == "tool"] == ["mesh-42"]
