"""The words an engine says. They name the engine, say that it is a demo, and come token by token.

Two words in a prompt change them: LOOP asks for "tick tock" without end (a context's worth), COUNT for
numbers in a row, by which a lost or doubled piece shows.

How time passes between tokens: really, or as a test lets it.

Tool calls: whether a prompt asks for one, and what the call says.
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
"""Where even a LOOP ends, as a real engine's context does."""

COUNT_TO = 48
"""How many numbers COUNT gives where nobody says how many."""

TEXT = (
    "This is a demo, no model is running here: {name} plays {label} and answers as {model}."
    " Its words are scripted, its pace is that of a small model on a desk, and every byte of héllo,"
    " 한국어 and 🚀 should arrive as it was sent. Ask for COUNT to see numbers, or for LOOP to see"
    " tick tock for as long as you listen."
)


class Script(Struct, frozen=True, kw_only=True):
    """The tokens of one answer; iterating it gives each in turn."""

    words: tuple[str, ...]
    """Said over and over until `total` is reached; empty for numbers in a row."""
    total: int
    is_cut: bool
    """Whether a limit ends it rather than the speaker."""
    prompt_tokens: int

    def __iter__(self) -> Iterator[str]:
        """Give one token after the other."""
        if not self.words:
            return (f" {number}" if number else "0" for number in range(self.total))
        return islice(cycle(self.words), self.total)

    @property
    def finish(self) -> str:
        """OpenAI's word for how it ended."""
        return "length" if self.is_cut else "stop"


def script(who: tuple[str, str, str], prompt: str, limit: int | None, length: int | None) -> Script:
    """Write the answer of `who` (name, label, model): of `length` tokens, or fewer where `limit` says so.

    A `length` of None says the text once.
    """
    words = _split(TEXT.format(name=who[0], label=who[1], model=who[2]))
    wanted = len(words) if length is None else length
    if "LOOP" in prompt:
        words, wanted = (" tick", " tock"), CONTEXT
    elif "COUNT" in prompt:
        words, wanted = (), COUNT_TO if length is None else length
    total = wanted if limit is None else min(wanted, limit)
    is_cut = total < wanted or total == CONTEXT
    return Script(words=words, total=total, is_cut=is_cut, prompt_tokens=count_tokens(prompt))


def count_tokens(text: str) -> int:
    """Count tokens as a rough tokenizer does: one a word, and four that a chat template adds."""
    return len(text.split()) + 4


def prompt_of(content: Any) -> str:
    """Return the text of a message, a prompt or an input, whatever of the allowed shapes it has."""
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
"""Waits for so many seconds; `asyncio.sleep` is the real one."""


class StepGate:
    """A pace for tests: each wait lasts until `step` lets it pass, or `open` lets all pass for good.

    An engine with `speed=1, pace=gate` then gives exactly one more token per `step`.
    """

    def __init__(self) -> None:
        self._free = 0
        self._is_open = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, seconds: float) -> None:  # noqa: ARG002  # a Pace takes the wait's length
        """Wait to be let pass."""
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
        """How many waits are held back now."""
        return len(self._waiting)

    def step(self, count: int = 1) -> None:
        """Let `count` waits pass, those to come included."""
        for _ in range(count):
            if self._waiting:
                self._waiting.popleft().set_result(None)
            else:
                self._free += 1

    def open(self) -> None:
        """Let every wait pass from now on."""
        self._is_open = True
        while self._waiting:
            self._waiting.popleft().set_result(None)


class Speech(Struct, frozen=True, kw_only=True):
    """How fast an engine talks, and how long."""

    speed: float | None = None
    """Tokens per second; None puts no wait between two tokens."""
    first_token_s: float = 0.0
    """Seconds before the first token."""
    length: int | None = None
    """Tokens of an answer that no `max_tokens` cuts shorter; None says the text once."""
    pace: Pace = asyncio.sleep

    async def beat(self, index: int) -> None:
        """Wait for the token of that index (from 0) to be ready."""
        if index == 0:
            if self.first_token_s > 0:
                await self.pace(self.first_token_s)
        elif self.speed is not None:
            await self.pace(1 / self.speed)
        else:
            # Without a pause an endless answer would never let the loop see that its reader has gone.
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
