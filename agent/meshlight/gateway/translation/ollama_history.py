"""The messages of Ollama's chat as the messages of chat completions."""

import binascii
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from meshlight.backends.quote import clean
from meshlight.domain.errors import BadRequest
from meshlight.gateway.translation.calls_sent import Asked, call_sent, message_extras, result_id
from meshlight.gateway.translation.keepsake import Collected
from meshlight.gateway.translation.ollama_shape import CalledTool, Message

_ROLES = ("system", "user", "assistant", "tool")
_BLANKS = " \t\r\n"
_SNIFFED = 64
"""Characters of base64 in which a picture shows what it is."""


def chat_messages(messages: Sequence[Message], asked: Asked) -> list[dict[str, Any]]:
    """Return the conversation; raises Untranslatable and BadRequest."""
    history = History(asked)
    for number, message in enumerate(messages):
        history.add(message, f"messages[{number}]")
    return history.finish()


def picture_parts(text: str, images: Iterable[str], place: str) -> list[dict[str, Any]]:
    """Return a text with its pictures as content parts; raises BadRequest."""
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for number, image in enumerate(images):
        data = image
        for blank in _BLANKS:
            data = data.replace(blank, "")
        url = f"data:{_media_type(data, f'{place}[{number}]')};base64,{data}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


class History:
    """Collects the messages, and remembers which calls of tools wait for their results."""

    def __init__(self, asked: Asked) -> None:
        self._messages: list[dict[str, Any]] = []
        self._asked = asked
        self._pictures: list[dict[str, Any]] = []
        """Pictures that only a message of the user may hold, until there is one."""
        self._count = 0
        """Calls and results that were given an id of ours."""
        self._waiting: dict[str, None] = {}
        """The ids of the calls that have no result yet."""
        self._by_age: deque[str] = deque()
        """All ids that have waited, oldest first; and the same by the tool's name."""
        self._by_name: dict[str | None, deque[str]] = {}

    def add(self, message: Message, place: str) -> None:
        """Take the next message; `place` is its name for people. Raises Untranslatable and BadRequest."""
        role = message.role.lower()
        if role not in _ROLES:
            raise BadRequest(
                f"{place}.role {clean(message.role, 40)!r} is not known.",
                f"Use one of {', '.join(_ROLES)}.",
                f"{place}.role",
            )
        text = message.content or ""
        made: dict[str, Any] = {"role": role, "content": text}
        shown = picture_parts("", message.images or (), f"{place}.images")
        if role == "user" and (shown or self._pictures):
            made["content"] = [*self._pictures, *([{"type": "text", "text": text}] if text else ()), *shown]
            self._pictures = []
        elif role != "tool":
            self._show()
        if role == "assistant":
            if message.thinking and self._asked.extensions:
                made["reasoning_content"] = message.thinking
            if message.tool_calls:
                made["content"] = text or None
                kept = Collected()
                made["tool_calls"] = self._calls(message.tool_calls, place, kept)
                made |= message_extras(kept, self._asked)
        elif role == "tool":
            made["tool_call_id"] = self._answered(message)
        elif message.name:
            made["name"] = message.name
        self._messages.append(made)
        if shown and role != "user":
            whence = f"the result of tool call {made['tool_call_id']}" if role == "tool" else f"the {role}"
            self._pictures += [{"type": "text", "text": f"From {whence}:"}, *shown]

    def finish(self) -> list[dict[str, Any]]:
        """Return all messages."""
        self._show()
        return self._messages

    def _show(self) -> None:
        """Add a message of the user with the pictures that wait for one."""
        if self._pictures:
            self._messages.append({"role": "user", "content": self._pictures})
            self._pictures = []

    def _calls(self, calls: Sequence[CalledTool], place: str, kept: Collected) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        self._waiting.clear()
        self._by_age.clear()
        self._by_name.clear()
        for number, call in enumerate(calls):
            arguments = bytes(call.function.arguments).strip()
            if arguments in {b"", b"null"}:
                arguments = b"{}"
            if not arguments.startswith(b"{"):
                where = f"{place}.tool_calls[{number}].function.arguments"
                raise BadRequest(f"{where} must be an object.", "", where)
            given = call.id or self._own_id()
            self._waiting[given] = None
            self._by_age.append(given)
            self._by_name.setdefault(call.function.name, deque()).append(given)
            text = arguments.decode("utf-8", "replace")
            made.append(call_sent(given, call.function.name, text, self._asked, kept, is_first=number == 0))
        return made

    def _answered(self, message: Message) -> str:
        """Return the id of the call that a result belongs to: by id, by the tool's name, or the oldest."""
        name = message.tool_name or message.name
        if message.tool_call_id:
            self._waiting.pop(message.tool_call_id, None)
            return result_id(message.tool_call_id, self._asked)
        found = self._oldest(self._by_name.get(name)) or self._oldest(self._by_age)
        return result_id(found, self._asked) if found else self._own_id()

    def _oldest(self, ids: deque[str] | None) -> str:
        """Return the first of them that still waits, which it does no longer; empty when none does."""
        while ids:
            found = ids.popleft()
            if found in self._waiting:
                del self._waiting[found]
                return found
        return ""

    def _own_id(self) -> str:
        """Return an id of nine letters and digits: Mistral's models take no others."""
        self._count += 1
        return f"call{self._count:05d}"


def _media_type(image: str, place: str) -> str:
    try:
        start = binascii.a2b_base64(image[:_SNIFFED], strict_mode=True)
    except (binascii.Error, ValueError):
        raise BadRequest(f"{place} is not base64.", "Send the picture's bytes in base64.", place) from None
    if start.startswith(b"\x89PNG"):
        return "image/png"
    if start.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if start.startswith(b"GIF8"):
        return "image/gif"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "image/webp"
    raise BadRequest(f"{place} is neither PNG, JPEG, GIF nor WebP.", "Convert the picture first.", place)
