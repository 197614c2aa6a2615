"""State that a backend wants back in the next turn, as it is packed into ids and signatures (see `carried_state`)."""

from typing import Any

from msgspec import Struct


class MessageExtras(Struct, frozen=True, omit_defaults=True):
    """State of a message as a whole."""

    reasoning_details: tuple[dict[str, Any], ...] = ()
    extra_content: dict[str, Any] | None = None

    def __bool__(self) -> bool:
        return bool(self.reasoning_details or self.extra_content)


class CarriedState(Struct, frozen=True, omit_defaults=True):
    """The content of one id or signature: the backend's own id of the call, the call's state and the message's."""

    id: str = ""
    call: Any = None
    message: MessageExtras = MessageExtras()
