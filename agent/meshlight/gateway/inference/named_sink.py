"""An answer names the model by the word that its client asked for, also where another one led to it.

Some clients refuse an answer of another model than they asked for, and whether a backend's answer is translated or
passed must not decide it. Only requests that used another name (an alias, `backend/model`, a tag) come by here; the
value is changed where it is exactly the model's id, and every other byte stays.
"""

import msgspec

from meshlight.gateway.inference.streaming import Sink
from meshlight.http_client.client import Headers

_TEXTS = (b"json", b"event-stream")


class NamedSink:
    """Passes an answer on to another sink, with `asked` for `model` as the model's name."""

    __slots__ = ("_forms", "_held", "_inner", "_is_text", "_longest")

    def __init__(self, inner: Sink, model: str, asked: str) -> None:
        self._inner = inner
        old, new = msgspec.json.encode(model), msgspec.json.encode(asked)
        self._forms = tuple((key + old, key + new) for key in (b'"model":', b'"model": '))
        self._longest = max(len(form) for form, _ in self._forms)
        self._held = b""
        """The end of what came, where it may be the beginning of a name."""
        self._is_text = False

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head, without a length that the body may not keep."""
        kind = next((value.lower() for name, value in headers if name == b"content-type"), b"")
        self._is_text = any(word in kind for word in _TEXTS)
        if self._is_text:
            headers = [pair for pair in headers if pair[0] != b"content-length"]
        await self._inner.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        made, self._held = self._named(data)
        if made:
            await self._inner.write(made)

    def offer(self, data: bytes) -> bool:
        """Send a piece of the body now, if there is room."""
        made, held = self._named(data)
        if made and not self._inner.offer(made):
            return False
        self._held = held
        return True

    async def end(self, last: bytes = b"") -> None:
        """Send the rest."""
        made, held = self._named(last)
        self._held = b""
        await self._inner.end(made + held)

    def abort(self) -> None:
        """Cut the answer off."""
        self._inner.abort()

    def _named(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what can be sent, and what has to wait for the next piece."""
        if not self._is_text:
            return data, b""
        data = self._held + data
        for old, new in self._forms:
            if old in data:
                data = data.replace(old, new)
        if data.endswith(b"\n"):  # as events and lines do: no name goes beyond them
            return data, b""
        place = data.find(b'"', max(0, len(data) - self._longest + 1))
        while place >= 0:
            if any(form.startswith(data[place:]) for form, _ in self._forms):
                return data[:place], data[place:]
            place = data.find(b'"', place + 1)
        return data, b""
