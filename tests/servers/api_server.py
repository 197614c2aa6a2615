"""An HTTP server in a thread of its own, for tests of synchronous clients: routes with their answers.

It records the requests. Servers of the tests that speak a whole API are routes or a subclass of this one.
"""

import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import msgspec

JSON = "application/json"


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    """By lower-case name."""
    raw: bytes
    """The body."""
    connection: socket.socket

    @property
    def body(self) -> Any:
        """The body's JSON; None without a body."""
        return msgspec.json.decode(self.raw) if self.raw else None

    def has_gone(self) -> bool:
        """Whether the client has hung up: after its request it sends nothing, so all there is to read is the end."""
        return bool(select.select([self.connection], [], [], 0)[0])


@dataclass(frozen=True)
class Answer:
    """What the server sends; a body in pieces is sent piece by piece, and closing the connection ends it."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(body: object, status: int = 200) -> Answer:
    """Return an answer of JSON; of None, it is empty."""
    return Answer(b"" if body is None else msgspec.json.encode(body), status)


def error_answer(status: int, message: str, code: str) -> Answer:
    """Return an error in the envelope of OpenAI's API."""
    return json_answer({"error": {"message": message, "type": "t", "code": code}}, status)


Responder = Callable[[Request], Answer]


class ApiServer:
    """Serves `routes` on a free loopback port, from its construction until it is closed.

    An error of a responder is raised when the server closes.
    """

    def __init__(self, routes: Mapping[tuple[str, str], Responder | Answer] | None = None) -> None:
        self.routes: dict[tuple[str, str], Responder | Answer] = dict(routes or {})
        """By method and path; the path `*` is for all others."""
        self.requests: list[Request] = []
        self.hangs_up = False
        """Whether it ends each connection with its answer, as a service does that stops."""
        self.errors: list[Exception] = []
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def respond(self, request: Request) -> Answer:
        """Return the answer to a request, by its route; without one, a 404."""
        for path in (request.path, "*"):
            if found := self.routes.get((request.method, path)):
                return found if isinstance(found, Answer) else found(request)
        return error_answer(404, f"No route for {request.path}.", "x")

    def close(self) -> None:
        """Stop, and close all connections."""
        self._server.shutdown()
        self._thread.join()
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RD)  # what is being answered is answered
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()
        if kind is None and self.errors:
            raise self.errors[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for them

    def __init__(self, api: ApiServer) -> None:
        self.api = api
        self.connections: set[Any] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the standard library's signature
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client has left
            super().handle()

    def _serve(self) -> None:
        api = self.server.api
        headers = {name.lower(): value for name, value in self.headers.items()}
        raw = self.rfile.read(int(headers.get("content-length", "0")))
        request = Request(self.command, self.path, headers, raw, self.connection)
        api.requests.append(request)
        try:
            self._send(api.respond(request))
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001 -- raised at the end of the test
            api.errors.append(error)
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 -- the standard library's names

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("content-type", answer.content_type)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if isinstance(answer.body, bytes):
            pieces: Iterable[bytes] = (answer.body,)
            if "transfer-encoding" not in answer.headers:
                self.send_header("content-length", str(len(answer.body)))
            ends = self.server.api.hangs_up
        else:
            pieces, ends = answer.body, True
        if ends:
            self.send_header("connection", "close")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
