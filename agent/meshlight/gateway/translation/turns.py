"""The messages of a conversation while they are collected, in the form of chat completions.

A message of the assistant holds its texts, thoughts and tool calls; consecutive parts of one role become one message.
"""

from typing import Any, Final

from meshlight.gateway.translation.tool_calls import BackendTraits, ToolCallHistory

PARAGRAPH: Final = "\n\n"
"""Between texts that become one."""

Piece = str | dict[str, Any]
"""A text, or an image as a content part of chat completions."""


class Turns:
    """Collects the messages.

    The open message is the user's (`user`) or the assistant's (`texts`, `thoughts`, `calls`).
    One of the other role is ended by `end_user` or `end_assistant` before anything is added to it.
    """

    __slots__ = ("_history", "_messages", "_traits", "calls", "system", "texts", "thoughts", "user")

    def __init__(self, traits: BackendTraits) -> None:
        self._traits = traits
        self._messages: list[dict[str, Any]] = []
        self.system: list[str] = []
        self.user: list[Piece] = []
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self._history: ToolCallHistory | None = None

    def messages(self) -> list[dict[str, Any]]:
        """End the open message, and return all."""
        self.end_assistant()
        self.end_user()
        system = PARAGRAPH.join(self.system)
        return [{"role": "system", "content": system}, *self._messages] if system else self._messages

    @property
    def tool_calls(self) -> ToolCallHistory:
        """The calls and results so far, and the state that they carry."""
        if self._history is None:
            self._history = ToolCallHistory(self._traits)
        return self._history

    @property
    def has_assistant(self) -> bool:
        """Whether a message of the assistant is open."""
        return bool(self.texts or self.thoughts or self.calls)

    def add_reminder(self, text: str) -> None:
        """Add a system message inside the conversation.

        Most chat templates allow a system message only at the start, so a later one becomes a marked part of the
        user's turn at its position.
        """
        if self._messages or self.user or self.has_assistant:
            self.end_assistant()
            self.user.append(f"<system-reminder>\n{text}\n</system-reminder>")
        else:
            self.system.append(text)

    def add_result(self, client_id: str, text: str, pieces: list[Piece]) -> list[Piece]:
        """Add the result of a tool, and return its images with their title: only a user's message may have images."""
        call_id = self.tool_calls.result_id(client_id)
        self._messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
        images = [piece for piece in pieces if not isinstance(piece, str)]
        return [f"From the result of tool call {call_id}:", *images] if images else []

    def end_user(self) -> None:
        """End the user's message, if one is open."""
        if not self.user:
            return
        content: str | list[dict[str, Any]]
        texts = [piece for piece in self.user if isinstance(piece, str)]
        if len(texts) == len(self.user):
            content = texts[0] if len(texts) == 1 else PARAGRAPH.join([text for text in texts if text])
        else:
            content = [
                {"type": "text", "text": piece} if isinstance(piece, str) else piece
                for piece in self.user
                if piece
            ]
        self._messages.append({"role": "user", "content": content})
        self.user = []

    def end_assistant(self) -> None:
        """End the assistant's message, if one is open."""
        if not self.has_assistant:
            self._take_extras()  # state without a message
            return
        text = PARAGRAPH.join(self.texts)
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if self.calls:
            # Chat templates of engines print null as a word; OpenAI accepts nothing else here.
            message["content"] = text or ("" if self._traits.extensions else None)
            message["tool_calls"] = self.calls
        if self.thoughts and self._traits.extensions:
            message["reasoning_content"] = PARAGRAPH.join(self.thoughts)
        message |= self._take_extras()
        if message["content"] or len(message) > 2:
            self._messages.append(message)
        self.texts, self.thoughts, self.calls = [], [], []

    def _take_extras(self) -> dict[str, Any]:
        return {} if self._history is None else self._history.take_extras()
