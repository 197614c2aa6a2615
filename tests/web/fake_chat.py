"""Answers of models for the fake service: what is said, by whom, and when."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec
from msgspec import Struct

USAGE = {"prompt_tokens": 9, "completion_tokens": 42}


class FakeAnswer(Struct):
    """The answer to one question; `gate` holds back all but the first piece."""

    pieces: tuple[str, ...] = ("Hello ", "there.")
    reasoning: tuple[str, ...] = ()
    backend: str = "llamacpp-0"
    headers: dict[str, str] = {}
    status: int = 200
    body: bytes = b""
    """Instead of a stream."""
    usage: bool = True
    ends: bool = True
    error: dict[str, Any] | None = None
    """An event at the end."""
    gate: asyncio.Event | None = None
    left: asyncio.Event | None = None
    """Set when the one who asked has gone."""

    def head(self) -> bytes:
        """Return the head of the response."""
        told = {
            "content-type": "application/json" if self.body else "text/event-stream",
            "x-meshlight-backend": self.backend,
            "x-meshlight-attempts": "1",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in told.items())]
        return "\r\n".join([*lines, "connection: close", "", ""]).encode()

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        if self.body:
            yield self.body
            return
        for number, event in enumerate(self._events()):
            if number == 1 and self.gate is not None:
                await self.gate.wait()
            yield b"data: " + (msgspec.json.encode(event) if event else b"[DONE]") + b"\n\n"

    def _events(self) -> Iterable[dict[str, Any] | None]:
        for text in self.reasoning:
            yield {"choices": [{"delta": {"reasoning_content": text}}]}
        for text in self.pieces:
            yield {"choices": [{"delta": {"content": text}}]}
        if self.error:
            yield {"error": self.error}
        elif self.ends:
            yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}
            if self.usage:
                yield {"choices": [], "usage": USAGE}
            yield None
