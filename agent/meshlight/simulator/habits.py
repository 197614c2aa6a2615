"""Habits of strict and sloppy servers, by which the simulator shows what a gateway must cope with.

A **strict** habit refuses a request that the real provider refuses, with the provider's own error:

- `groq`: fields that it does not know, at the top and in messages (400).
- `mistral`: the same, as FastAPI reports it (422); ids of tool calls other than nine letters and digits (400).
- `azure`: `max_tokens` (newer OpenAI models want `max_completion_tokens`), unknown arguments, ids of tool calls above
  40 characters (400).
- `gemini`: unknown names, and tool calls that come back without their thought signature (400).
- `anthropic`: empty messages, thoughts that it has not signed, ids of tool calls with other characters than letters,
  digits, `_` and `-` (400).

The **sloppy** habit refuses nothing, but answers as small servers do: complete in content, careless in all the rest.
The id is a number and the index is text, no piece says why the answer ends, each piece of a tool call has another id,
and its arguments start with an empty `{}` before the real ones.

Sources: the providers' documentation, and answers that were observed.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any

from meshlight.simulator.clouds.errors import anthropic_error, gemini_error
from meshlight.simulator.http.reply import Reply, data_event, json_reply
from meshlight.simulator.profile import EngineRequest, Habit
from meshlight.simulator.protocols.text import Call, Script

THOUGHT_SIGNATURE = "EpwCCpkCAdHtim9"
"""The start of the signature that the simulated Gemini sends with a call and demands back; the call's id follows."""
PLACEHOLDER = "skip_thought_signature_validator"
SIGNATURE = "EqQBCkYIARgCKkDemo" + "A" * 64 + "=="
"""The signature of the simulated Anthropic's thoughts."""
_SLOPPY_DONE = b"data: [DONE] \n\n"
_PIECE_LENGTH = 12

_OPENAI = frozenset(
    {
        "messages",
        "model",
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "metadata",
        "modalities",
        "n",
        "parallel_tool_calls",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "reasoning_effort",
        "response_format",
        "safety_identifier",
        "seed",
        "service_tier",
        "stop",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "user",
        "verbosity",
        "web_search_options",
    }
)
_GROQ = (_OPENAI | {"max_tokens", "include_reasoning", "reasoning_format", "documents"}) - {
    "audio",
    "verbosity",
}
_MISTRAL = frozenset(
    {
        "messages",
        "model",
        "temperature",
        "top_p",
        "max_tokens",
        "stream",
        "stop",
        "random_seed",
        "metadata",
        "response_format",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "n",
        "prediction",
        "parallel_tool_calls",
        "prompt_mode",
        "safe_prompt",
    }
)
_GEMINI = (_OPENAI | {"max_tokens", "extra_body"}) - {"logit_bias", "store"}
_GROQ_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning"})
_MISTRAL_MESSAGE = frozenset({"role", "content", "tool_calls", "tool_call_id", "prefix", "name"})
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
_ANTHROPIC_ID = re.compile(r"[a-zA-Z0-9_-]+")
_OPENAI_ID_MAX = 40


def refusal(habit: Habit | None, body: dict[str, Any]) -> Reply | None:
    """Return the refusal of a request to chat completions or, for Anthropic, of messages; None if it is accepted."""
    check = None if habit is None else _CHECKS.get(habit)
    return None if check is None else check(body)


def sloppy_answer(answer: dict[str, Any]) -> dict[str, Any]:
    """Return a complete answer as a sloppy server gives it: no finish_reason, a number as id, an index as text."""
    choices = [
        {name: value for name, value in choice.items() if name != "finish_reason"} | {"index": "0"}
        for choice in answer["choices"]
    ]
    return answer | {"id": 123, "choices": choices}


async def sloppy_stream(
    request: EngineRequest, script: Script, call: Call | None, shape: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    """Stream an answer as a sloppy server does: no finish_reason, and another id in each piece of a tool call."""
    deltas = [{"content": word} for word in script] if call is None else _call_pieces(call)
    for index, delta in enumerate(deltas):
        await request.facts.speech.beat(index)
        choice = {"index": "0", "delta": delta, "finish_reason": None}
        yield data_event(shape | {"id": 123, "choices": [choice]})
    yield _SLOPPY_DONE


def _groq(body: dict[str, Any]) -> Reply | None:
    for name in body.keys() - _GROQ:
        return _openai_error(f"property '{name}' is unsupported")
    for number, message in enumerate(_messages(body)):
        for name in message.keys() - _GROQ_MESSAGE:
            place = f"'messages.{number}'"
            rule = f"for 'role:{message.get('role')}' the following must be satisfied"
            return _openai_error(f"{place} : {rule}[({place} : property '{name}' is unsupported)]")
    return None


def _mistral(body: dict[str, Any]) -> Reply | None:
    places: list[list[str | int]] = [["body", name] for name in body.keys() - _MISTRAL]
    for number, message in enumerate(_messages(body)):
        role = str(message.get("role"))
        places += [["body", "messages", number, role, name] for name in message.keys() - _MISTRAL_MESSAGE]
    if places:
        detail = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
        return json_reply({"detail": [detail | {"loc": place, "input": body} for place in places]}, 422)
    for call_id in _ids(body):
        if _MISTRAL_ID.fullmatch(call_id) is None:
            text = f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9."
            error = {"object": "error", "message": text, "type": "invalid_request_error", "code": "3280"}
            return json_reply(error, 400)
    return None


def _azure(body: dict[str, Any]) -> Reply | None:
    if "max_tokens" in body:
        text = "Unsupported parameter: 'max_tokens' is not supported with this model."
        return _openai_error(
            f"{text} Use 'max_completion_tokens' instead.", "max_tokens", "unsupported_parameter"
        )
    if unknown := sorted(body.keys() - _OPENAI):
        return _openai_error(f"Unrecognized request arguments supplied: {', '.join(unknown)}")
    for number, call_id in enumerate(_ids(body)):
        if len(call_id) > _OPENAI_ID_MAX:
            place = f"messages[{number}].tool_calls[0].id"
            return _openai_error(
                f"Invalid '{place}': string too long. Expected a string with maximum length 40.", place
            )
    return None


def _gemini(body: dict[str, Any]) -> Reply | None:
    for name in body.keys() - _GEMINI:
        text = f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.'
        return gemini_error(400, "INVALID_ARGUMENT", text)
    for message in _messages(body):
        for call in (message.get("tool_calls") or ())[:1]:
            google = (call.get("extra_content") or {}).get("google") or {}
            if google.get("thought_signature") not in {f"{THOUGHT_SIGNATURE}{call['id']}", PLACEHOLDER}:
                text = f"Function call `{call['function']['name']}` is missing a thought_signature"
                return gemini_error(400, "INVALID_ARGUMENT", f"{text} in functionCall parts.")
    return None


def _anthropic(body: dict[str, Any]) -> Reply | None:
    for number, message in enumerate(_messages(body)):
        content = message.get("content")
        if not content:
            return _anthropic_refusal(f"messages.{number}: all messages must have non-empty content")
        for index, block in enumerate(content if isinstance(content, list) else ()):
            place = f"messages.{number}.content.{index}"
            match block.get("type"):
                case "thinking" if block.get("signature") != SIGNATURE:
                    return _anthropic_refusal(f"{place}: Invalid `signature` in `thinking` block")
                case "redacted_thinking" if block.get("data") != SIGNATURE:
                    return _anthropic_refusal(f"{place}: Invalid `data` in `redacted_thinking` block")
                case "tool_use" if _ANTHROPIC_ID.fullmatch(str(block.get("id"))) is None:
                    rule = "String should match pattern '^[a-zA-Z0-9_-]+$'"
                    return _anthropic_refusal(f"{place}.tool_use.id: {rule}")
    return None


_CHECKS: Mapping[Habit, Callable[[dict[str, Any]], Reply | None]] = {
    "groq": _groq,
    "mistral": _mistral,
    "azure": _azure,
    "gemini": _gemini,
    "anthropic": _anthropic,
}


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    return [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []


def _ids(body: dict[str, Any]) -> Iterator[str]:
    for message in _messages(body):
        yield from (str(call.get("id")) for call in message.get("tool_calls") or ())
        if "tool_call_id" in message:
            yield str(message["tool_call_id"])


def _openai_error(message: str, param: str | None = None, code: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return json_reply({"error": error}, 400)


def _anthropic_refusal(message: str) -> Reply:
    return anthropic_error(400, "invalid_request_error", message)


def _call_pieces(call: Call) -> list[dict[str, Any]]:
    texts = [
        "{}",
        *(call.text[start : start + _PIECE_LENGTH] for start in range(0, len(call.text), _PIECE_LENGTH)),
    ]
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
