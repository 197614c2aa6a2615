"""Prompts, answers and keys are never logged, at any level, and never in what the mesh API shows."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from faults.raw import RawBackend, chat, chunked, complete, responds
from node import Node

CHAT = "/v1/chat/completions"
PROMPT = "canary-prompt-5e1f"
ANSWER = "canary-answer-77ab"
KEY = "sk-canary-backend-key-90c3"
ECHO = b'{"error":{"message":"can not do canary-prompt-5e1f, key sk-canary-backend-key-90c3"}}'
EVENT = b'data: {"choices":[{"delta":{"content":"canary-answer-77ab"}}]}\n\n'
JSON = b"content-type: application/json"


@pytest.fixture
def everything() -> Any:
    """Whatever the service's loggers say, formatted, with the text of every exception."""
    lines: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(logging.Formatter("%(name)s %(message)s").format(record))

    ours, ear = logging.getLogger("meshlight"), Ear(level=0)
    others = [logging.getLogger(name) for name in ("litestar", "asyncio")]
    before = [(logger, logger.level) for logger in (ours, *others)]
    for logger, _ in before:
        logger.addHandler(ear)
    ours.setLevel(logging.DEBUG)
    for logger in others:
        logger.setLevel(logging.INFO)
    yield lines
    for logger, level in before:
        logger.removeHandler(ear)
        logger.setLevel(level)


async def test_nothing_that_passes_is_ever_told(tmp_path: Path, everything: list[str]) -> None:
    async def breaking(writer: Any, request: Any) -> None:
        await responds(*chunked(EVENT)[:-1])(writer, request)
        writer.close()

    async def garbage(writer: Any, request: Any) -> None:
        await responds(f"{PROMPT} {ANSWER} is no HTTP\r\n\r\n".encode())(writer, request)
        writer.close()

    async def odd_header(writer: Any, request: Any) -> None:
        head = f"HTTP/1.1 200 OK\r\nx-{PROMPT}: \x01{ANSWER}\r\ncontent-length: 0\r\n\r\n"
        await responds(head.encode())(writer, request)
        writer.close()

    odd_chunk = responds(chunked()[0], f"zz{ANSWER}\r\n".encode())
    answers = [
        responds(complete(b'{"content": "%b"}' % ANSWER.encode(), JSON)),
        responds(*chunked(EVENT, b"data: [DONE]\n\n")),
        breaking,
        garbage,
        odd_header,
        odd_chunk,
        *[
            responds(complete(ECHO, JSON, status=b"%d Odd" % s))
            for s in (400, 401, 403, 404, 429, 500, 500, 500, 501, 503)
        ],
        responds(complete(ECHO, JSON, b"location: http://x/" + PROMPT.encode(), status=b"307 Odd")),
        responds(complete(b"<html>" + ANSWER.encode(), b"content-type: text/html")),
    ]
    response: list[str] = []
    async with RawBackend("a") as backend, Node(tmp_path) as node:
        added = await node.http.post(
            "/mesh/backends",
            json={"kind": "openai-compatible", "name": "a", "url": backend.url, "api_key": KEY},
        )
        assert added.status_code == 201, added.text
        await node.refresh()
        for answer in answers:
            backend.respond = answer
            for body in (chat("m", PROMPT), chat("m", PROMPT, stream=True)):
                with suppress(httpx.RemoteProtocolError):  # where it is cut off, as it should be
                    await node.http.post(f"{CHAT}?x={PROMPT}", json=body, headers={"x-odd": PROMPT})
                response.append((await node.http.get("/mesh/snapshot")).text)
        await node.http.post(CHAT, content=b'{"model": "m", "x": "' + PROMPT.encode())
        await node.http.post(CHAT, json=chat("m/x", PROMPT))
        async with node.http.stream("GET", "/mesh/events") as events:
            async for line in events.aiter_lines():
                response.append(line)
                if line.startswith("data: "):
                    break
        response.append((await node.http.get("/mesh/route?model=m")).text)
        response.append((await node.http.get("/metrics")).text)
        assert len(backend.posts) >= 2 * len(answers)
        local_key = node.key
    assert everything, "the log is empty: nothing was tested"
    for canary in (PROMPT, ANSWER, KEY, local_key):
        assert not [line for line in everything if canary in line]
        assert not [line for line in response if canary in line]
