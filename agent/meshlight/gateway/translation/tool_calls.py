"""Tool calls of earlier turns as the backend gets them: with its own ids, and with the state that it wants back."""

import hashlib
from typing import Any, Final

from meshlight.gateway.translation.carried_schema import MessageExtras
from meshlight.gateway.translation.carried_state import ExtrasCollector, StateReader

PLACEHOLDER: Final = "skip_thought_signature_validator"
"""What Gemini accepts in place of a missing signature (ai.google.dev, "Thought signatures")."""
_ID_MAX: Final = 40
"""Characters that OpenAI accepts as the id of a call."""


class BackendTraits:
    """What the history of a conversation depends on at the backend that it is sent to."""

    __slots__ = ("extensions", "signs")

    def __init__(self, extensions: bool, signs: bool) -> None:
        self.extensions = extensions
        """Whether it accepts fields that are not OpenAI's."""
        self.signs = signs
        """Whether it signs thoughts, and demands its signatures back: Gemini."""


class ToolCallHistory:
    """Writes the calls and results of one request's conversation, and the state that its ids and signatures carry.

    `add_signature` and `call` collect the state of the current message; `take_extras` returns it.
    """

    __slots__ = ("_extras", "_reader", "_traits")

    def __init__(self, traits: BackendTraits) -> None:
        self._traits = traits
        self._reader = StateReader()
        self._extras = ExtrasCollector()

    def call(self, client_id: str, name: str, arguments: str, *, is_first: bool) -> dict[str, Any]:
        """Return a call for the backend; `is_first` says that it is the first of its message."""
        state = self._reader.read_call_id(client_id)
        self._extras.add(state.message)
        function = {"name": name, "arguments": arguments}
        call: dict[str, Any] = {"id": self._sent_id(state.id), "type": "function", "function": function}
        extra = state.call if self._traits.extensions or self._traits.signs else None
        if self._traits.signs and is_first and not _has_signature(extra):
            extra = _with_placeholder(extra)
        if extra:
            call["extra_content"] = extra
        return call

    def result_id(self, client_id: str) -> str:
        """Return the id of the call to which a result belongs."""
        return self._sent_id(self._reader.own_id(client_id))

    def add_signature(self, text: object) -> None:
        """Collect the state in a signature, or in the data of redacted thoughts."""
        self._extras.add(self._reader.read_signature(text))

    def take_extras(self) -> dict[str, Any]:
        """Return the fields of the current message that hold its state, as far as this backend accepts them."""
        extras: MessageExtras = self._extras.take()
        fields: dict[str, Any] = {}
        if extras.reasoning_details and self._traits.extensions:
            fields["reasoning_details"] = extras.reasoning_details
        if extras.extra_content and (self._traits.extensions or self._traits.signs):
            fields["extra_content"] = extras.extra_content
        return fields

    def _sent_id(self, own_id: str) -> str:
        if self._traits.extensions or len(own_id) <= _ID_MAX:
            return own_id
        return f"call_{hashlib.blake2b(own_id.encode('utf-8', 'replace'), digest_size=12).hexdigest()}"


def _has_signature(extra: Any) -> bool:
    google = extra.get("google") if isinstance(extra, dict) else None
    return isinstance(google, dict) and bool(google.get("thought_signature"))


def _with_placeholder(extra: Any) -> dict[str, Any]:
    fields = dict(extra) if isinstance(extra, dict) else {}
    google = fields.get("google")
    return {
        **fields,
        "google": {**(google if isinstance(google, dict) else {}), "thought_signature": PLACEHOLDER},
    }
