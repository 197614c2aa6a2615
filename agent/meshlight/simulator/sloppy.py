"""Answers as small servers really send them: whole in what they say, careless in all that only frames it."""

from collections.abc import AsyncGenerator
from typing import Any

from meshlight.simulator.http.reply import data_event
from meshlight.simulator.profile import EngineRequest
from meshlight.simulator.protocols.text import Call, Script

DONE = b"data: [DONE] \n\n"
_PIECE = 12


def whole(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a whole answer without the reason for its end, and with a number for an id."""
    choices = [
        {name: value for name, value in choice.items() if name != "finish_reason"} | {"index": "0"}
        for choice in answer["choices"]
    ]
    return answer | {"id": 123, "choices": choices}


async def chat_stream(
    ask: EngineRequest, said: Script, call: Call | None, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """Give a stream whose pieces never say why it ends; each piece of a call has an id of its own."""
    deltas = [{"content": word} for word in said] if call is None else _pieces(call)
    for index, delta in enumerate(deltas):
        await ask.facts.speech.beat(index)
        choice = {"index": "0", "delta": delta, "finish_reason": None}
        yield data_event(shape | {"id": 123, "choices": [choice]})
    yield DONE


def _pieces(call: Call) -> list[dict[str, Any]]:
    texts = ["{}", *(call.text[start : start + _PIECE] for start in range(0, len(call.text), _PIECE))]
    return [
        {
            "tool_calls": [
                {
                    "index": "0",
                    "id": number,
                    "function": {"arguments": text} | ({"name": call.name} if number == 0 else {}),
                }
            ]
        }
        for number, text in enumerate(texts)
    ]
