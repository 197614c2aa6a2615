"""Servers on loopback that translate, each with an engine behind it that always answers the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from gateway.translation.anthropic.requests import JSON
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.ollama.writer import Immediate
from servers.api_server import Answer, ApiServer, Request

Translate = Callable[[str, bytes], TranslatedRequest | Immediate]
"""Takes the path and the body of a request."""
Start = Callable[..., str]
"""Starts a server whose engine answers `data` (then perhaps `content_type` and `status`); returns its URL."""


@contextmanager
def stage(translate: Translate) -> Iterator[Start]:
    """Start servers, and stop them all at the end; each answer is translated in pieces of 7 bytes."""
    with ExitStack() as servers:

        def start(data: bytes, content_type: bytes = JSON, status: int = 200) -> str:
            def respond(request: Request) -> Answer:
                made = translate(request.path, request.raw)
                if isinstance(made, Immediate):
                    return Answer(made.body, status, made.content_type.decode())
                back = made.back
                back.begin(content_type)
                if status != 200:
                    return Answer(back.error(status, data), status)

                def pieces() -> Iterator[bytes]:
                    try:
                        for index in range(0, len(data), 7):
                            yield back.feed(data[index : index + 7])
                        yield back.end()
                    except TranslationFailed as fault:
                        yield back.broken(fault.title) or b""

                return Answer(pieces(), content_type=back.content_type.decode())

            server = servers.enter_context(ApiServer({("POST", "*"): respond}))
            server.hangs_up = True  # the clients of the tests are never closed
            return server.url

        yield start
