"""What the tests of the Ollama translation share: bodies, a clock that stands still unless moved, and lines."""

import json
from itertools import count
from typing import Any

from gateway.translation.anthropic.requests import Json, output_of
from meshlight.gateway.translation.base import ResponseTranslator, TranslatedRequest
from meshlight.gateway.translation.ollama.generate import translate_chat, translate_generate
from meshlight.gateway.translation.ollama.writer import Clock, Immediate

STILL = Clock(wall=lambda: 1_700_000_000.5, steady=lambda: 7.0)
MADE_AT = "2023-11-14T22:13:20.500000Z"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def ticking() -> Clock:
    """Return a clock that is a second later each time it is asked."""
    seconds = count()
    return Clock(wall=STILL.wall, steady=lambda: float(next(seconds)))


def chat_body(**fields: Any) -> bytes:
    """Return a body of `/api/chat`."""
    return json.dumps(
        {"model": "llama3:latest", "messages": [{"role": "user", "content": "Hi"}]} | fields
    ).encode()


def generate_body(**fields: Any) -> bytes:
    """Return a body of `/api/generate`."""
    return json.dumps({"model": "llama3", "prompt": "Hi"} | fields).encode()


def sent(made: TranslatedRequest | Immediate) -> TranslatedRequest:
    """Return a translation that has to be sent."""
    assert isinstance(made, TranslatedRequest)
    return made


def answered(made: TranslatedRequest | Immediate) -> Json:
    """Return an answer that was given at once."""
    assert isinstance(made, Immediate)
    found: Json = json.loads(made.body)
    return found


def chat(*, extensions: bool = True, **fields: Any) -> Json:
    """Return what the backend is asked for a body of `/api/chat`."""
    made = sent(translate_chat(chat_body(**fields), "tiny", extensions=extensions, clock=STILL))
    assert made.operation == "chat/completions"
    found: Json = json.loads(made.body)
    return found


def back(*, clock: Clock = STILL, **fields: Any) -> ResponseTranslator:
    """Return the way back of a chat."""
    return sent(translate_chat(chat_body(**fields), "tiny", clock=clock)).back


def generate_back(**fields: Any) -> ResponseTranslator:
    """Return the way back of a generate."""
    return sent(translate_generate(generate_body(**fields), "tiny", clock=STILL)).back


def lines(data: bytes) -> list[Json]:
    """Return the objects of a stream, each in a line of its own."""
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.split(b"\n")[:-1]]


def output_lines(way: ResponseTranslator, *pieces: bytes) -> list[Json]:
    """Return the lines that a client gets when the upstream sends these pieces."""
    return lines(output_of(way, *pieces))
