"""The conversation of a Responses request, item by item, as the messages of chat completions."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.calls_sent import Asked, call_sent, message_extras, result_id
from meshlight.gateway.translation.keepsake import Collected
from meshlight.gateway.translation.responses_schema import Item, Part
from meshlight.gateway.translation.responses_tools import (
    ELSEWHERE,
    LOCAL_SHELL,
    custom_arguments,
    function_name,
    shell_arguments,
    untranslatable,
)

_PARAGRAPH = "\n\n"
_TEXTS = frozenset({"input_text", "output_text", "text", "summary_text", "reasoning_text"})
_SEALED = "meshlight.1."
"""Before thoughts that a client keeps for us as `encrypted_content`."""
LEFT_OUT = frozenset({"web_search_call", "image_generation_call", "tool_search_call", "tool_search_output"})
"""What OpenAI's own tools did in earlier turns; what came of it, the assistant's messages say."""
_RESULTS = frozenset({"function_call_output", "custom_tool_call_output", "local_shell_call_output"})
KNOWN = (
    frozenset({"message", "reasoning", "function_call", "custom_tool_call", "local_shell_call"})
    | _RESULTS
    | LEFT_OUT
)
"""The types of items that have a counterpart, or need none."""

Piece = str | dict[str, Any]
"""A text, or an image as a content part of chat completions."""


def seal(thoughts: str) -> str:
    """Return thoughts in a form that a client keeps unread and sends back; it is no secret to anybody."""
    return _SEALED + base64.urlsafe_b64encode(thoughts.encode()).decode()


def unseal(sealed: str) -> str | None:
    """Return thoughts that were sealed here; None for what another service has encrypted."""
    if not sealed.startswith(_SEALED):
        return None
    try:
        return base64.urlsafe_b64decode(sealed[len(_SEALED) :]).decode()
    except (binascii.Error, ValueError):
        return None


def thoughts_of(item: Item) -> str:
    """Return what a reasoning item says as far as it can be read."""
    sealed = unseal(item.encrypted_content) if item.encrypted_content else None
    if sealed is not None:
        return sealed
    parts = item.content if isinstance(item.content, tuple) and item.content else item.summary or ()
    return _PARAGRAPH.join(part.text for part in parts if part.text)


class Conversation:
    """Collects the messages; neighbours of one role become one message, as many chat templates demand."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._kept = Collected()
        self._messages: list[dict[str, Any]] = []
        self._system: list[str] = []
        self._user: list[Piece] = []
        self._said: list[str] = []
        self._thought: list[str] = []
        self._calls: list[dict[str, Any]] = []

    def messages(self) -> list[dict[str, Any]]:
        """Return all that was added."""
        self._flush_assistant()
        self._flush_user()
        system = _PARAGRAPH.join(self._system)
        return [{"role": "system", "content": system}, *self._messages] if system else self._messages

    def add_instructions(self, text: str | None) -> None:
        """Add what stands before the conversation."""
        if text:
            self._system.append(text)

    def add(self, item: Item, place: str) -> None:
        """Add one item of a type in KNOWN; raises Untranslatable and BadRequest."""
        match item.type or "message":
            case "message":
                self._add_message(item, place)
            case "reasoning":
                self._flush_user()
                if self._said or self._calls:
                    self._flush_assistant()  # thoughts begin a turn
                if thoughts := thoughts_of(item):
                    self._thought.append(thoughts)
            case "function_call":
                self._call(item, place, function_name(_needed(item.name, place, "name"), item.namespace))
            case "custom_tool_call":
                name = function_name(_needed(item.name, place, "name"), item.namespace)
                self._call(item, place, name, custom_arguments(item.input or ""))
            case "local_shell_call":
                self._call(item, place, LOCAL_SHELL, shell_arguments(item.action))
            case kind if kind in _RESULTS:
                self._result(item, place)
            case _:
                pass  # what is left out

    def _add_message(self, item: Item, place: str) -> None:
        content = item.content
        parts = (Part(text=content),) if isinstance(content, str) else content or ()
        match item.role:
            case "user":
                self._flush_assistant()
                self._user += _pieces(parts, f"{place}.content")
            case "assistant":
                self._flush_user()
                if self._calls:
                    self._flush_assistant()
                self._said += [text for part in parts if (text := part.text or part.refusal)]
            case "system" | "developer":
                self._add_system(parts, place)
            case _:
                raise BadRequest(
                    f"{place}.role must be user, assistant, system or developer.", "", f"{place}.role"
                )

    def _add_system(self, parts: Sequence[Part], place: str) -> None:
        """Add a message above the user's.

        Most chat templates take a system message in the first place only, so a later one goes where it stands as
        a marked part of the user's turn.
        """
        pieces = _pieces(parts, f"{place}.content")
        texts = [piece for piece in pieces if isinstance(piece, str) and piece]
        if len(texts) < len([piece for piece in pieces if piece]):
            raise untranslatable(f"{place}.content", "an image in a system message")
        if not texts:
            return
        if self._messages or self._user or self._has_assistant:
            self._flush_assistant()
            text = _PARAGRAPH.join(texts)
            self._user.append(f"<system-reminder>\n{text}\n</system-reminder>")
        else:
            self._system += texts

    def _call(self, item: Item, place: str, name: str, arguments: str | None = None) -> None:
        self._flush_user()
        call_id = _needed(item.call_id or item.id, place, "call_id")
        arguments = arguments or item.arguments or "{}"
        is_first = not self._calls
        call = call_sent(call_id, name, arguments, self._asked, self._kept, is_first=is_first)
        self._calls.append(call)

    def _result(self, item: Item, place: str) -> None:
        """Add the answer of a tool; its images follow in the user's message, the only one that may hold them."""
        self._flush_assistant()
        output = item.output
        parts = (Part(text=output),) if isinstance(output, str) else output or ()
        pieces = _pieces(parts, f"{place}.output")
        text = _PARAGRAPH.join(piece for piece in pieces if isinstance(piece, str) and piece)
        call_id = result_id(_needed(item.call_id or item.id, place, "call_id"), self._asked)
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
        images = [piece for piece in pieces if not isinstance(piece, str)]
        if images:
            self._user += [f"From the result of tool call {call_id}:", *images]

    @property
    def _has_assistant(self) -> bool:
        return bool(self._said or self._thought or self._calls)

    def _flush_user(self) -> None:
        if not self._user:
            return
        content: str | list[dict[str, Any]]
        if all(isinstance(piece, str) for piece in self._user):
            content = _PARAGRAPH.join(piece for piece in self._user if isinstance(piece, str) and piece)
        else:
            content = [
                {"type": "text", "text": piece} if isinstance(piece, str) else piece
                for piece in self._user
                if piece
            ]
        self._messages.append({"role": "user", "content": content})
        self._user = []

    def _flush_assistant(self) -> None:
        if not self._has_assistant:
            return
        text = _PARAGRAPH.join(self._said)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self._calls:
            # Chat templates of engines print a null as a word; OpenAI takes nothing else there.
            message["content"] = text or ("" if self._asked.extensions else None)
            message["tool_calls"] = self._calls
        if self._thought and self._asked.extensions:
            message["reasoning_content"] = _PARAGRAPH.join(self._thought)
        message |= message_extras(self._kept, self._asked)
        if message["content"] or len(message) > 2:
            self._messages.append(message)
        self._said, self._thought, self._calls = [], [], []


def _needed(value: str | None, place: str, name: str) -> str:
    if not value:
        raise BadRequest(f"{place}.{name} is missing.", "", f"{place}.{name}")
    return value


def _pieces(parts: Sequence[Part], place: str) -> list[Piece]:
    found: list[Piece] = []
    for number, part in enumerate(parts):
        if part.type in _TEXTS:
            found.append(part.text or "")
        elif part.type == "refusal":
            found.append(part.refusal or "")
        elif part.type == "input_image" and part.image_url:
            image = {"url": part.image_url}
            if part.detail in {"low", "high"}:
                image["detail"] = part.detail
            found.append({"type": "image_url", "image_url": image})
        elif part.type == "input_image":
            raise Untranslatable(
                f"{place}[{number}] is a picture without image_url: files kept at OpenAI are not there for others.",
                "Send the picture itself as a data: URL, or " + ELSEWHERE[0].lower() + ELSEWHERE[1:],
                f"{place}[{number}].image_url",
            )
        else:
            raise untranslatable(f"{place}[{number}].type", part.type)
    return found
