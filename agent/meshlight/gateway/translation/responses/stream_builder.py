"""Builds the items of a response from the chunks of chat completions."""

from collections.abc import Callable
from typing import Any

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.writer import HELD_MAX
from meshlight.gateway.translation.carried_state import ExtrasCollector, call_id
from meshlight.gateway.translation.chat import CUT, REFUSED, check_ending, count, finish_reason_of, number
from meshlight.gateway.translation.chat_schema import Chunk, MessageDelta, ToolCall
from meshlight.gateway.translation.responses.memory import PREFIX
from meshlight.gateway.translation.responses.request import seal
from meshlight.gateway.translation.responses.tools import Tools, custom_input, shell_action
from meshlight.gateway.translation.responses.writer import Writer
from meshlight.gateway.translation.tool_call_pieces import CallList, ToolCallBuilder, find_call

ITEMS_MAX = 1_000
"""Items of one response."""
REASONING = "rs_mesh_"
"""The prefix of the ids of reasoning items made here."""
_PARTS = {"output_text": "response.output_text", "refusal": "response.refusal"}


class AnswerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the translation of the answer needs from the request."""

    number: str
    """Makes the ids of this response and its items unique."""
    created_at: int
    echo: dict[str, Any]
    """The fields of the request that the response repeats."""
    tools: Tools
    is_stream: bool = False
    with_summary: bool = False
    """Whether the client requested a summary of the thoughts; they are sent there then."""
    seals: bool = False
    """Whether it requested thoughts that it can send back, so that nobody stores them here."""
    keep: Callable[[bytes], None] | None = None
    """Stores the finished response; None if it is not to be stored."""

    @property
    def response_id(self) -> str:
        """The id of the response."""
        return f"{PREFIX}{self.number}"


class _TextItem:
    """A message or reasoning item while its pieces arrive."""

    __slots__ = ("index", "item", "part", "pieces")

    def __init__(self, index: int, item: dict[str, Any]) -> None:
        self.index = index
        self.item = item
        self.part = ""
        """The type of its open part."""
        self.pieces: list[str] = []


class StreamBuilder:
    """Writes items in the order in which they begin; `finish` ends the response."""

    def __init__(self, options: AnswerOptions, writer: Writer, clock: Callable[[], float]) -> None:
        self._options = options
        self._writer = writer
        self._clock = clock
        self._output: list[dict[str, Any]] = []
        self._open: _TextItem | None = None
        self._calls = CallList()
        self._extras = ExtrasCollector()
        self._usage: dict[str, Any] | None = None
        self._reason = ""
        self._size = 0
        self.has_begun = False
        self.is_finished = False

    def take(self, chunk: Chunk) -> None:
        """Write what a chunk adds; raises TranslationFailed."""
        if isinstance(chunk.usage, dict):
            self._usage = chunk.usage
        if not self.has_begun and chunk.choices:
            self.has_begun = True
            shown = self._response("in_progress")
            self._writer.event("response.created", response=shown)
            self._writer.event("response.in_progress", response=shown)
        for choice in chunk.choices or ():
            if number(choice.index):
                continue
            if choice.delta is not None:
                self._add_delta(choice.delta)
            elif choice.message is not None:
                self._add_delta(choice.message, is_complete=True)
            if reason := finish_reason_of(choice):
                self._reason = reason

    def finish(self, *, has_end_mark: bool) -> None:
        """End the response; raises TranslationFailed if the answer is incomplete.

        `has_end_mark` says that the backend marked the end in another way than by a reason.
        """
        check_ending(self._reason, has_begun=self.has_begun, has_end_mark=has_end_mark)
        why = None
        if self._reason in CUT:
            why = "max_output_tokens"
        elif self._reason in REFUSED:
            why = "content_filter"
        if why is None:
            for call in self._calls.calls:
                call.check()
        self._close_text("completed" if why is None else "incomplete")
        for call in self._calls.calls:
            if call.is_open:
                self._close_call(call)
        self.is_finished = True
        status = "completed" if why is None else "incomplete"
        response = self._response(status, incomplete_details=None if why is None else {"reason": why})
        self._writer.event(f"response.{status}", response=response)
        if self._options.keep is not None:
            self._options.keep(msgspec.json.encode(response))

    def fail(self, code: str, message: str) -> None:
        """End the response with an error; what was sent of it stays valid."""
        self.is_finished = True
        response = self._response("failed", error={"code": code, "message": message})
        self._writer.event("response.failed", response=response)

    def ping(self) -> None:
        """Write a sign of life, once there is a response."""
        if self.has_begun and not self.is_finished:
            self._writer.ping()

    def _response(
        self, status: str, *, error: dict[str, str] | None = None, incomplete_details: Any = None
    ) -> dict[str, Any]:
        """Return the response as far as it is known; `usage` is last, for readers of a stream's end."""
        return {
            "id": self._options.response_id,
            "object": "response",
            "created_at": self._options.created_at,
            "status": status,
            "background": False,
            "completed_at": int(self._clock()) if status == "completed" else None,
            "error": error,
            "incomplete_details": incomplete_details,
            **self._options.echo,
            "output": self._output,
            "usage": None if status == "in_progress" or self._usage is None else _usage(self._usage),
        }

    def _add_delta(self, delta: MessageDelta, *, is_complete: bool = False) -> None:
        self._extras.add_delta(delta)
        thought: Any = delta.reasoning_content or delta.reasoning
        if isinstance(thought, str) and thought:
            self._add_thought(thought)
        if isinstance(delta.content, str):
            if delta.content:
                self._add_text("output_text", delta.content)
        elif delta.content:
            for part in delta.content:
                self._add_part(part)
        if delta.refusal:
            self._add_text("refusal", delta.refusal)
        for piece in delta.tool_calls or ():
            self._call(piece, None if is_complete else find_call(self._calls, piece))

    def _add_part(self, part: Any) -> None:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            if part["text"]:
                self._add_text("output_text", part["text"])
        elif kind == "thinking" and isinstance(part.get("thinking"), list | tuple):
            for inner in part["thinking"]:
                if isinstance(inner, dict) and isinstance(inner.get("text"), str) and inner["text"]:
                    self._add_thought(inner["text"])
        else:
            raise TranslationFailed("It sent a content part that is neither text nor thoughts.")

    def _count_size(self, size: int) -> None:
        self._size += size
        if self._size > HELD_MAX:
            raise TranslationFailed(f"It sent an answer of more than {HELD_MAX >> 20} million characters.")

    def _begin(self, item: dict[str, Any]) -> int:
        """Add an item, write its event, and return its index."""
        index = len(self._output)
        if index >= ITEMS_MAX:
            raise TranslationFailed(f"It sent an answer of more than {ITEMS_MAX} parts.")
        self._output.append(item)
        self._writer.event("response.output_item.added", output_index=index, item=item)
        return index

    def _next_id(self, prefix: str) -> str:
        return f"{prefix}{self._options.number}_{len(self._output)}"

    def _text_item(self, kind: str) -> _TextItem:
        found = self._open
        if found is not None and found.item["type"] == kind:
            return found
        self._close_text()
        self._close_complete_calls()
        if kind == "reasoning":
            item: dict[str, Any] = {"id": self._next_id(REASONING), "type": kind, "summary": []}
        else:
            item = {"id": self._next_id("msg_mesh_"), "type": kind, "status": "in_progress"}
            item |= {"role": "assistant", "content": []}
        self._open = found = _TextItem(self._begin(item), item)
        return found

    def _add_thought(self, piece: str) -> None:
        self._count_size(len(piece))
        thoughts = self._text_item("reasoning")
        if not thoughts.part:
            thoughts.part = "summary_text" if self._options.with_summary else "reasoning_text"
            name = "reasoning_summary_part" if self._options.with_summary else "content_part"
            part = {"type": thoughts.part, "text": ""}
            self._writer.event(f"response.{name}.added", **self._place(thoughts), part=part)
        thoughts.pieces.append(piece)
        kind = "reasoning_summary_text" if self._options.with_summary else "reasoning_text"
        self._writer.event(f"response.{kind}.delta", **self._place(thoughts), delta=piece)

    def _add_text(self, part: str, piece: str) -> None:
        self._count_size(len(piece))
        message = self._text_item("message")
        if message.part != part:
            self._close_part(message)
            message.part = part
            self._writer.event("response.content_part.added", **self._place(message), part=_part(part, ""))
        message.pieces.append(piece)
        logprobs: dict[str, Any] = {"logprobs": []} if part == "output_text" else {}
        self._writer.event(f"{_PARTS[part]}.delta", **self._place(message), delta=piece, **logprobs)

    def _place(self, open_item: _TextItem) -> dict[str, Any]:
        item = open_item.item
        place: dict[str, Any] = {"item_id": item["id"], "output_index": open_item.index}
        if open_item.part == "summary_text":
            return place | {"summary_index": 0}
        return place | {"content_index": len(item.get("content", ()))}

    def _close_part(self, open_item: _TextItem) -> None:
        if not open_item.part:
            return
        text = "".join(open_item.pieces)
        place, part = self._place(open_item), _part(open_item.part, text)
        match open_item.part:
            case "summary_text":
                self._writer.event("response.reasoning_summary_text.done", **place, text=text)
                self._writer.event("response.reasoning_summary_part.done", **place, part=part)
                open_item.item["summary"] = [part]
            case "reasoning_text":
                self._writer.event("response.reasoning_text.done", **place, text=text)
                self._writer.event("response.content_part.done", **place, part=part)
                open_item.item["content"] = [part]
            case "refusal":
                self._writer.event("response.refusal.done", **place, refusal=text)
                self._writer.event("response.content_part.done", **place, part=part)
                open_item.item["content"].append(part)
            case _:
                self._writer.event("response.output_text.done", **place, text=text, logprobs=[])
                self._writer.event("response.content_part.done", **place, part=part)
                open_item.item["content"].append(part)
        open_item.part = ""
        if open_item.item["type"] == "reasoning" and self._options.seals:
            open_item.item["encrypted_content"] = seal(text)
        open_item.pieces = []

    def _close_text(self, status: str = "completed") -> None:
        found, self._open = self._open, None
        if found is None:
            return
        self._close_part(found)
        if found.item["type"] == "message":
            found.item["status"] = status
        self._writer.event("response.output_item.done", output_index=found.index, item=found.item)

    def _call(self, piece: ToolCall, call: ToolCallBuilder | None) -> None:
        if call is None:
            self._close_complete_calls()
            own_id = f"call_{self._options.number}_{len(self._calls.calls)}"
            call = self._calls.begin(number(piece.index), own_id)
        call.add(piece)
        if piece.function is not None:
            self._count_size(len(bytes(piece.function.arguments)))
        if call.block < 0:
            if not call.name:
                return  # a block needs the name
            self._close_text()
            call.is_open = True
            call.block = self._begin(self._call_item(call))
        if new := call.take_new():
            if not call.is_open:
                raise TranslationFailed(f"It went on with a call of the tool {call.shown} after its end.")
            self._add_arguments(call, new)

    def _add_arguments(self, call: ToolCallBuilder, arguments: str) -> None:
        """Write more arguments of a function; those of other tools are written when they are complete."""
        if arguments and self._output[call.block]["type"] == "function_call":
            self._delta("response.function_call_arguments.delta", call, delta=arguments)

    def _call_item(self, call: ToolCallBuilder) -> dict[str, Any]:
        named = self._options.tools.tool_of(call.name)
        item: dict[str, Any] = {"type": f"{named.type}_call", "status": "in_progress"}
        item["call_id"] = call_id(call.id, call.extra, self._extras.take())
        match named.type:
            case "function":
                item |= {"id": self._next_id("fc_mesh_"), "name": named.name, "arguments": ""}
            case "custom":
                item["type"] = "custom_tool_call"
                item |= {"id": self._next_id("ctc_mesh_"), "name": named.name, "input": ""}
            case "local_shell":
                item |= {"id": self._next_id("lsh_mesh_"), "action": shell_action("")}
        if named.namespace:
            item["namespace"] = named.namespace
        return item

    def _delta(self, kind: str, call: ToolCallBuilder, **fields: Any) -> None:
        self._writer.event(kind, item_id=self._output[call.block]["id"], output_index=call.block, **fields)

    def _close_call(self, call: ToolCallBuilder) -> None:
        """End a call; one that the limit cut off is sent as it is, with the status `incomplete`."""
        call.is_open = False
        item = self._output[call.block]
        self._add_arguments(call, call.take_new(is_last=True))
        text = call.text()
        match item["type"]:
            case "function_call":
                if not text.strip():
                    text += "{}"
                    self._delta("response.function_call_arguments.delta", call, delta="{}")
                item["arguments"] = text
                self._delta("response.function_call_arguments.done", call, name=item["name"], arguments=text)
            case "custom_tool_call":
                item["input"] = text = custom_input(text)
                self._delta("response.custom_tool_call_input.delta", call, delta=text)
                self._delta("response.custom_tool_call_input.done", call, input=text)
            case _:
                item["action"] = shell_action(text)
        item["status"] = "completed" if call.is_complete() else "incomplete"
        self._writer.event("response.output_item.done", output_index=call.block, item=item)

    def _close_complete_calls(self) -> None:
        """Close the last call if it is complete, since another item begins; others end with the answer."""
        call = self._calls.newest(None)
        if call is not None and call.is_open and call.has_arguments():
            self._close_call(call)


def _part(kind: str, text: str) -> dict[str, Any]:
    if kind == "output_text":
        return {"type": kind, "text": text, "annotations": [], "logprobs": []}
    return {"type": kind, "refusal" if kind == "refusal" else "text": text}


def _usage(found: dict[str, Any]) -> dict[str, Any]:
    """Read the counts; anything but a number counts as 0, since counting must never break an answer."""
    prompt, answer = count(found, "prompt_tokens"), count(found, "completion_tokens")
    cached = count(found.get("prompt_tokens_details"), "cached_tokens")
    thought = count(found.get("completion_tokens_details"), "reasoning_tokens")
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
        "output_tokens": answer,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": prompt + answer,
    }
