"""Reads the token counts out of an answer that passes by, without touching it."""

import re
from collections import deque

_HEAD = 2_048
_TAIL = 8_192
_USAGE = re.compile(rb'"(?:usage|usageMetadata)"\s*:\s*\{')
_PROMPT = re.compile(rb'"(?:prompt_tokens|input_tokens|promptTokenCount|prompt_eval_count)"\s*:\s*(\d{1,12})')
_COMPLETION = re.compile(
    rb'"(?:completion_tokens|output_tokens|candidatesTokenCount|eval_count)"\s*:\s*(\d{1,12})'
)
_NEAR = 1_024
"""How far behind its beginning the counts of a `usage` stand."""


class UsageTap:
    """Keeps the first and the last bytes of an answer; `usage` stands in one of the two.

    Text of a model can't be mistaken for it: inside a JSON string the quotes are escaped.
    """

    __slots__ = ("_head", "_size", "_tail")

    def __init__(self) -> None:
        self._head = b""
        self._tail: deque[bytes] = deque()
        self._size = 0

    def feed(self, data: bytes) -> None:
        """See a piece of the body."""
        if len(self._head) < _HEAD:
            self._head += data[: _HEAD - len(self._head)]
        self._tail.append(data)
        self._size += len(data)
        while self._size - len(self._tail[0]) >= _TAIL:
            self._size -= len(self._tail.popleft())

    def tail(self) -> bytes:
        """Return the last bytes that have passed."""
        return b"".join(self._tail)[-_TAIL:]

    def read(self) -> tuple[int, int] | None:
        """Return (prompt tokens, completion tokens), or None when the answer did not say."""
        prompt, completion = _read(self.tail())
        if prompt is None and completion is None:
            prompt, completion = _read(self._head)
        elif prompt is None and (begun := _USAGE.search(self._head)):
            # Anthropic's streams count the prompt when they begin, and at their end often the answer alone.
            prompt = _number(_PROMPT.search(self._head, begun.end(), begun.end() + _NEAR))
        return None if prompt is None and completion is None else (prompt or 0, completion or 0)


def _read(text: bytes) -> tuple[int | None, int | None]:
    end = len(text)
    found = None
    while found is None and (end := text.rfind(b'"usage', 0, end)) != -1:  # the last one counts
        found = _USAGE.match(text, end)
    if found is not None:
        start = found.end()
    else:  # Ollama's stand beside the answer; a prompt that it remembers it does not count
        start = text.rfind(b'"prompt_eval_count"')
        start = text.rfind(b'"eval_count"') if start == -1 else start
    if start == -1:
        return None, None
    rest = text[start : start + _NEAR]
    return _number(_PROMPT.search(rest)), _number(_COMPLETION.search(rest))


def _number(found: re.Match[bytes] | None) -> int | None:
    return int(found[1]) if found else None
