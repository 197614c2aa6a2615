"""The scripted answers of all engines: their tokens, the pace of the tokens, and tool calls.

The text names the engine and says that it is a demo. Two words in a prompt change it: LOOP asks for "tick tock"
without end (a full context), COUNT for consecutive numbers, which show a lost or duplicated piece. `Speech` says how
fast the tokens come; a test can let them pass one by one with a `StepGate`. `call_for` decides whether a request is
answered with a tool call.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle, islice
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

CONTEXT = 65_536
"""Tokens after which a LOOP ends, as a real engine's context does."""

COUNT_TO = 48
"""Numbers in an answer to COUNT, if the engine has no length."""

TEXT = (
    "This is a demo, no model is running here: {name} plays {label} and answers as {model}."
    " Its words are scripted, its pace is that of a small model on a desk, and every byte of héllo,"
    " 한국어 and 🚀 should arrive as it was sent. Ask for COUNT to see numbers, or for LOOP to see"
    " tick tock for as long as you listen."
)


class Script(Struct, frozen=True, kw_only=True):
    """The tokens of one answer; iterating yields them."""

    words: tuple[str, ...]
    """Repeated until `total` is reached; empty for consecutive numbers."""
    total: int
    is_cut: bool
    """Whether a limit ends it early."""
    prompt_tokens: int

    def __iter__(self) -> Iterator[str]:
        """Yield the tokens."""
        if not self.words:
            return (f" {number}" if number else "0" for number in range(self.total))
        return islice(cycle(self.words), self.total)

    @property
    def finish(self) -> str:
        """OpenAI's `finish_reason`."""
        return "length" if self.is_cut else "stop"


def write_script(speaker: tuple[str, str, str], prompt: str, limit: int | None, length: int | None) -> Script:
    """Write the answer of `speaker` (name, label, model): of `length` tokens, or fewer where `limit` says so.

    A `length` of None is the text once.
    """
    words = _split(TEXT.format(name=speaker[0], label=speaker[1], model=speaker[2]))
    requested = len(words) if length is None else length
    if "LOOP" in prompt:
        words, requested = (" tick", " tock"), CONTEXT
    elif "COUNT" in prompt:
        words, requested = (), COUNT_TO if length is None else length
    total = requested if limit is None else min(requested, limit)
    is_cut = total < requested or total == CONTEXT
    return Script(words=words, total=total, is_cut=is_cut, prompt_tokens=count_tokens(prompt))


def count_tokens(text: str) -> int:
    """Count tokens roughly: one per word, and four for the chat template."""
    return len(text.split()) + 4


def prompt_of(content: Any) -> str:
    """Return the text of a message, prompt or input in any of its allowed shapes."""
    match content:
        case str():
            return content
        case list():
            return " ".join(filter(None, map(prompt_of, content)))
        case {"text": text} | {"content": text}:
            return prompt_of(text)
        case _:
            return ""


def _split(text: str) -> tuple[str, ...]:
    first, *rest = text.split(" ")
    return (first, *(f" {word}" for word in rest))


Pace = Callable[[float], Awaitable[None]]
"""Waits the given seconds: `asyncio.sleep`, or a fake in tests."""


class StepGate:
    """A pace for tests: each wait lasts until `step` releases it, or `open` releases all for good.

    An engine with `speed=1, pace=gate` then sends exactly one more token per `step`.
    """

    def __init__(self) -> None:
        self._free = 0
        self._is_open = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, seconds: float) -> None:  # noqa: ARG002  # a Pace takes the wait's length
        """Wait to be released."""
        if self._is_open:
            await asyncio.sleep(0)
            return
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)

    @property
    def waiting(self) -> int:
        """The number of waits that are held now."""
        return len(self._waiting)

    def step(self, count: int = 1) -> None:
        """Release `count` waits, including future ones."""
        for _ in range(count):
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._free += 1

    def open(self) -> None:
        """Release every wait from now on."""
        self._is_open = True
        while self._waiting:
            self._waiting.popleft().set_result(None)


class Speech(Struct, frozen=True, kw_only=True):
    """The pace and length of an engine's answers."""

    speed: float | None = None
    """Tokens per second; None for no wait between tokens."""
    first_token_s: float = 0.0
    """Seconds before the first token."""
    length: int | None = None
    """Tokens of an answer that no `max_tokens` shortens; None for the text once."""
    pace: Pace = asyncio.sleep

    async def beat(self, index: int) -> None:
        """Wait until the token with this index (from 0) is due."""
        if index == 0:
            if self.first_token_s > 0:
                await self.pace(self.first_token_s)
        elif self.speed is not None:
            await self.pace(1 / self.speed)
        else:
            # Without a pause, the loop would never notice that the reader of an endless answer has disconnected.
            await asyncio.sleep(0)


_EXAMPLES: dict[str, Any] = {
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


class Call(Struct, frozen=True, kw_only=True):
    """A call of a function."""

    id: str
    name: str
    arguments: dict[str, Any]

    @property
    def text(self) -> str:
        """The arguments as JSON text, as in OpenAI's API."""
        return msgspec.json.encode(self.arguments).decode()


def call_for(body: dict[str, Any], prompt: str) -> Call | None:
    """Return the tool call to answer with; None for a text.

    A call is requested by `tool_choice` (required, or a name), or by a prompt that contains "tool", "weather" or a
    function's name; never directly after a tool's result.
    """
    functions = [tool["function"] for tool in body.get("tools") or () if _is_function(tool)]
    choice = body.get("tool_choice")
    if not functions or choice == "none" or _has_result(body):
        return None
    if isinstance(choice, dict):
        named = choice.get("function", choice).get("name")
        functions = [function for function in functions if function["name"] == named]
        return _call(functions[0]) if functions else None
    text = prompt.lower()
    mentioned = next((function for function in functions if function["name"].lower() in text), None)
    if mentioned is not None:
        return _call(mentioned)
    is_wanted = choice == "required" or "tool" in text or "weather" in text
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
