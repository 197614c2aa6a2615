"""What the chunks of an answer say, in the terms of Ollama's API."""

from collections.abc import Iterator
from typing import Any

from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import Said, count, ending_of, number
from meshlight.gateway.translation.ending import CUT, REFUSED, check_ending
from meshlight.gateway.translation.ollama_calls import Calls
from meshlight.gateway.translation.ollama_lines import Ask, End, Piece
from meshlight.gateway.translation.ollama_reader import TextChoice, TextChunk

_LONGEST_MS = 1e9


class Assembly:
    """Takes chunks and gives pieces as they come; `finish` gives what is only known at the end."""

    __slots__ = ("_ask", "_calls", "_reason", "_timings", "_usage", "has_begun")

    def __init__(self, ask: Ask, seed: str) -> None:
        self._ask = ask
        self._calls = Calls(seed)
        self._reason = ""
        self._usage: Any = None
        self._timings: Any = None
        self.has_begun = False
        """Whether there is an answer, if only an empty one."""

    def take(self, chunk: TextChunk) -> Iterator[Piece]:
        """Give what a chunk adds to text, thoughts and chances; raises Untranslated."""
        if isinstance(chunk.usage, dict):
            self._usage = chunk.usage
        if isinstance(chunk.timings, dict):
            self._timings = chunk.timings
        for choice in chunk.choices or ():
            if number(choice.index):
                continue
            self.has_begun = True
            piece = self._piece(choice)
            if piece != Piece():
                yield piece
            if reason := ending_of(choice):
                self._reason = reason

    def finish(self, *, is_told: bool) -> tuple[Piece, End]:
        """Return the calls, and how it ended; raises Untranslated when the answer is not whole.

        `is_told` says that the backend told its end in another way than by a reason.
        """
        check_ending(self._reason, has_begun=self.has_begun, is_told=is_told)
        is_cut = self._reason in CUT
        reason = "length" if is_cut else "content_filter" if self._reason in REFUSED else "stop"
        end = End(
            reason,
            prompt_eval_count=count(self._usage, "prompt_tokens"),
            prompt_eval_duration=_spent(self._timings, "prompt_ms"),
            eval_count=count(self._usage, "completion_tokens"),
            eval_duration=_spent(self._timings, "predicted_ms"),
        )
        return Piece(calls=self._calls.whole(is_cut=is_cut)), end

    def _piece(self, choice: TextChoice) -> Piece:
        said = choice.delta if choice.delta is not None else choice.message
        texts: list[str] = [choice.text] if choice.text else []
        thoughts: list[str] = []
        if said is not None:
            _say(said, texts, thoughts)
            self._calls.kept.hear(said)
            for call in said.tool_calls or ():
                self._calls.add(call, is_whole=choice.delta is None)
        return Piece(
            text="".join(texts),
            thinking="" if self._ask.hides_thinking else "".join(thoughts),
            logprobs=tuple(_chances(choice.logprobs, inner=False)),
        )


def _say(said: Said, texts: list[str], thoughts: list[str]) -> None:
    thought: Any = said.reasoning_content or said.reasoning
    if isinstance(thought, str):
        thoughts.append(thought)
    if isinstance(said.content, str):
        texts.append(said.content)
    else:
        for part in said.content or ():
            _say_part(part, texts, thoughts)
    if said.refusal:
        texts.append(said.refusal)


def _say_part(part: Any, texts: list[str], thoughts: list[str]) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        texts.append(part["text"])
    elif kind == "thinking" and isinstance(part.get("thinking"), list | tuple):
        inner = (item.get("text") for item in part["thinking"] if isinstance(item, dict))
        thoughts.extend(text for text in inner if isinstance(text, str))
    else:
        raise Untranslated("It sent a content part that is neither text nor thoughts.")


def _chances(found: Any, *, inner: bool) -> Iterator[dict[str, Any]]:
    """Give the tokens with their chances; what has not both is left out."""
    listed = found if inner else found.get("content") if isinstance(found, dict) else None
    for entry in listed if isinstance(listed, list | tuple) else ():
        if not isinstance(entry, dict):
            continue
        token, chance, data = entry.get("token"), entry.get("logprob"), entry.get("bytes")
        if not isinstance(token, str) or not isinstance(chance, int | float):
            continue
        told: dict[str, Any] = {"token": token, "logprob": chance}
        if isinstance(data, list):
            told["bytes"] = data
        if not inner and (others := list(_chances(entry.get("top_logprobs"), inner=True))):
            told["top_logprobs"] = others
        yield told


def _spent(timings: Any, name: str) -> int:
    """Read milliseconds as nanoseconds."""
    value = timings.get(name) if isinstance(timings, dict) else None
    return int(value * 1_000_000) if isinstance(value, int | float) and 0 < value < _LONGEST_MS else 0
