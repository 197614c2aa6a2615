"""A server on loopback that translates, with an engine behind it that always says the same."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from gateway.translation.anthropic.requests import JSON
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.ollama.writer import Immediate

Translate = Callable[[str, bytes], TranslatedRequest | Immediate]
"""Takes the path and the body of a request."""
Start = Callable[..., str]
"""Starts a server whose engine says `data` (then perhaps `content_type` and `status`); returns its URL."""


@contextmanager
def stage(translate: Translate) -> Iterator[Start]:
    """Start servers, and stop them all at the end; each answer is translated in pieces of 7 bytes."""
    servers: list[ThreadingHTTPServer] = []

    def start(data: bytes, content_type: bytes = JSON, status: int = 200) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                made = translate(self.path, self.rfile.read(int(self.headers["content-length"])))
                self.send_response(status)
                if isinstance(made, Immediate):
                    self.send_header("content-type", made.content_type.decode())
                    self.end_headers()
                    self.wfile.write(made.body)
                    return
                way = made.back
                way.begin(content_type)
                media = way.content_type.decode() if status == 200 else "application/json"
                self.send_header("content-type", media)
                self.end_headers()
                if status != 200:
                    self.wfile.write(way.error(status, data))
                    return
                try:
                    for place in range(0, len(data), 7):
                        self.wfile.write(way.feed(data[place : place + 7]))
                    self.wfile.write(way.end())
                except TranslationFailed as fault:
                    self.wfile.write(way.broken(fault.title) or b"")

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
