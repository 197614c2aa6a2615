"""The conversation of a Messages request, turn by turn, as the messages of chat completions."""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw

from meshlight.domain.errors import BadRequest, Untranslatable
from meshlight.gateway.translation.calls_sent import Asked, call_sent, message_extras, result_id
from meshlight.gateway.translation.keepsake import Collected, kept_in_signature
from meshlight.gateway.translation.messages_shape import (
    Base64Source,
    Block,
    BlocksSource,
    DocumentBlock,
    FallbackBlock,
    ImageBlock,
    RedactedBlock,
    ResultBlock,
    SearchResultBlock,
    TextBlock,
    ThinkingBlock,
    ToolReferenceBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    UrlSource,
)

ELSEWHERE = "Leave it out, or use a model of a backend that speaks Anthropic's protocol itself."
_BILLING = "x-anthropic-billing-header:"
_PARAGRAPH = "\n\n"

Part = str | dict[str, Any]
"""A text, or an image as a content part of chat completions."""


class History:
    """Collects the messages; neighbours of one role become one message, as Anthropic's API has it."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._messages: list[dict[str, Any]] = []
        self._system: list[str] = []
        self._user: list[Part] = []
        self._said: list[str] = []
        self._thought: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._kept = Collected()

    def messages(self) -> list[dict[str, Any]]:
        """Return all that was added."""
        self._flush_assistant()
        self._flush_user()
        system = _PARAGRAPH.join(self._system)
        return [{"role": "system", "content": system}, *self._messages] if system else self._messages

    def add_system(self, system: str | Sequence[TextBlock] | None) -> None:
        """Add the system prompt.

        A block of Claude Code's that only says which build of it asks is not part of it: it changes with each
        request, so that no engine could reuse what it has read before.
        """
        texts = [system] if isinstance(system, str) else [block.text for block in system or ()]
        self._system += [t for t in texts if t and not (t.startswith(_BILLING) and "\n" not in t.strip())]

    def add(self, turn: Turn, place: str, *, is_last_word: bool) -> None:
        """Add one turn; `is_last_word` says that no user turn follows it.

        Raises Untranslatable and BadRequest.
        """
        content = turn.content
        blocks = (TextBlock(text=content),) if isinstance(content, str) else content or ()
        if turn.role == "system":
            if turn.clear_at != "next_user_message" or is_last_word:
                self._add_reminder(blocks, place)
        elif turn.role == "user":
            self._add_user(blocks, place)
        else:
            self._add_assistant(blocks, place)

    def _add_reminder(self, blocks: Sequence[Block], place: str) -> None:
        """Add a system message inside the conversation.

        Most chat templates take a system message in the first place only, so a later one goes where it stands as
        a marked part of the user's turn.
        """
        texts: list[str] = []
        for number, block in enumerate(blocks):
            if not isinstance(block, TextBlock):
                raise _foreign(block, f"{place}.content[{number}]")
            texts.append(block.text)
        text = _PARAGRAPH.join(filter(None, texts))
        if not text:
            return
        if self._messages or self._user or self._has_assistant:
            self._flush_assistant()
            self._user.append(f"<system-reminder>\n{text}\n</system-reminder>")
        else:
            self._system.append(text)

    def _add_user(self, blocks: Sequence[Block], place: str) -> None:
        self._flush_assistant()
        shown: list[Part] = []
        said: list[Part] = []
        for number, block in enumerate(blocks):
            where = f"{place}.content[{number}]"
            if isinstance(block, ToolResultBlock):
                shown += self._add_result(block, where)
            elif isinstance(block, TextBlock | ImageBlock | DocumentBlock | SearchResultBlock):
                said += _parts(block, where)
            elif not isinstance(block, RedactedBlock | FallbackBlock):
                raise _foreign(block, where)
        self._user += shown
        self._user += said

    def _add_result(self, block: ToolResultBlock, place: str) -> list[Part]:
        """Add the answer of a tool and return its images: only a user's message may hold them."""
        content = block.content
        parts: list[Part] = [content] if isinstance(content, str) else []
        if content is not None and not isinstance(content, str):
            for number, inner in enumerate(content):
                parts += _parts(inner, f"{place}.content[{number}]")
        text = _PARAGRAPH.join(part for part in parts if isinstance(part, str) and part)
        if block.is_error and not text.lstrip("<").lower().startswith(("error", "tool_use_error")):
            text = f"Error: {text}" if text else "Error"
        answered = result_id(block.tool_use_id, self._asked)
        self._messages.append({"role": "tool", "tool_call_id": answered, "content": text})
        images = [part for part in parts if not isinstance(part, str)]
        return [f"From the result of tool call {answered}:", *images] if images else []

    def _add_assistant(self, blocks: Sequence[Block], place: str) -> None:
        self._flush_user()
        for number, block in enumerate(blocks):
            where = f"{place}.content[{number}]"
            if isinstance(block, TextBlock):
                if block.text:
                    self._said.append(block.text)
            elif isinstance(block, ThinkingBlock):
                if block.thinking:
                    self._thought.append(block.thinking)
                self._kept.add(kept_in_signature(block.signature))
            elif isinstance(block, RedactedBlock):
                self._kept.add(kept_in_signature(block.data))
            elif isinstance(block, ToolUseBlock):
                arguments = _object(block.input, f"{where}.input")
                self._calls.append(
                    call_sent(
                        block.id, block.name, arguments, self._asked, self._kept, is_first=not self._calls
                    )
                )
            elif not isinstance(block, FallbackBlock):
                raise _foreign(block, where)

    @property
    def _has_assistant(self) -> bool:
        return bool(self._said or self._thought or self._calls)

    def _flush_user(self) -> None:
        if not self._user:
            return
        content: str | list[dict[str, Any]]
        if all(isinstance(part, str) for part in self._user):
            content = _PARAGRAPH.join(part for part in self._user if isinstance(part, str) and part)
        else:
            content = [
                {"type": "text", "text": part} if isinstance(part, str) else part
                for part in self._user
                if part
            ]
        self._messages.append({"role": "user", "content": content})
        self._user = []

    def _flush_assistant(self) -> None:
        if not self._has_assistant:
            self._kept.take()  # it belongs to nothing
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


def _parts(block: ResultBlock, place: str) -> list[Part]:
    """Return what a block says as texts and images."""
    if isinstance(block, TextBlock):
        return [block.text]
    if isinstance(block, ImageBlock):
        return [{"type": "image_url", "image_url": {"url": _url(block.source)}}]
    if isinstance(block, ToolReferenceBlock):
        return [f"The tool {block.tool_name} can be called."]
    if block.citations is not None and block.citations.enabled:
        raise Untranslatable(
            f"{place}.citations asks for citations, which chat completions can't give.",
            ELSEWHERE,
            f"{place}.citations",
        )
    if isinstance(block, SearchResultBlock):
        return ["\n".join((block.title, block.source, "", *(text.text for text in block.content)))]
    head = [line for line in (block.title, block.context) if line]
    if not isinstance(block.source, BlocksSource):
        return ["\n".join((*head, block.source.data))]
    content = block.source.content
    inner = [content] if isinstance(content, str) else [p for b in content for p in _parts(b, place)]
    return [*head, *inner]


def _url(source: Base64Source | UrlSource) -> str:
    if isinstance(source, UrlSource):
        return source.url
    return f"data:{source.media_type};base64,{source.data}"


def _object(value: Raw, place: str) -> str:
    """Return a JSON object as text, as it was written."""
    text = str(value, "utf-8", "replace").strip()
    if not text.startswith("{"):
        raise BadRequest(f"{place} must be an object.", "", place)
    return text


def _foreign(block: Block, place: str) -> BadRequest:
    word = block.__struct_config__.tag
    return BadRequest(f"{place}: a block of type {word} has no place in a message of this role.", "", place)
