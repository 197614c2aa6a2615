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
_COUNTS = rb'"prompt_eval_count"'


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
        return _read(self.tail()) or _read(self._head)


def _read(text: bytes) -> tuple[int, int] | None:
    end = len(text)
    found = None
    while found is None and (end := text.rfind(b'"usage', 0, end)) != -1:  # the last one counts
        found = _USAGE.match(text, end)
    start = text.rfind(_COUNTS) if found is None else found.end()  # Ollama's stand beside the answer
    if start == -1:
        return None
    rest = text[start : start + 1_024]
    prompt, completion = _PROMPT.search(rest), _COMPLETION.search(rest)
    if prompt is None and completion is None:
        return None
    return int(prompt[1]) if prompt else 0, int(completion[1]) if completion else 0
