"""A node in a thread, its hostile backend and clients, and a measure of how long its event loop was blocked."""

import http.client
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from meshlight.domain.backend import Kind
from servers.api_server import Answer, ApiServer

HELD_S = 0.15
"""Seconds of processor time that one callback may take: 60 ms at most on a machine that does nothing else, and twice
that beside neighbours that share its caches."""
LIST = b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"x"}]}'
SPOKEN = {"/v1/chat/completions", "/v1/embeddings"}
JSON = b"application/json"


class Hostile(ApiServer):
    """A backend that speaks one protocol and answers what the test decides; its list of models is an ordinary one at
    first.
    """

    name = "hostile"
    kind: Kind = "openai-compatible"

    def __init__(self) -> None:
        self.status, self.media, self.body, self.list = 200, JSON, b"{}", LIST
        self.chunks = False
        """Whether each byte comes in a chunk of its own."""
        super().__init__()
        self.routes["GET", "*"] = lambda _: self._answer(200, JSON, self.list)
        self.routes["POST", "*"] = Answer(b"{}", 404)
        for path in SPOKEN:
            self.routes["POST", path] = lambda _: self._answer(self.status, self.media, self.body)

    def _answer(self, status: int, media: bytes, body: bytes) -> Answer:
        if not self.chunks:
            return Answer(body, status, media.decode())
        chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
        return Answer(chunked, status, media.decode(), {"transfer-encoding": "chunked"})


class LongestCallback:
    """The longest that one callback has held a loop."""

    def __init__(self) -> None:
        self.thread = 0
        self.held_s = 0.0
        self.by = ""


class AttackedNode:
    """The running node, as its clients see it."""

    def __init__(self, backend: Hostile, longest: LongestCallback, key: str, url: str) -> None:
        self.backend = backend
        self.longest = longest
        self._key = key
        self._where = url.removeprefix("http://")

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        method: str = "POST",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, bytes]:
        """Send one request; returns its status (0 for a broken answer) and body."""
        connection = http.client.HTTPConnection(self._where, timeout=60)
        usual = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        try:
            connection.request(method, path, body, {**usual, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, OSError):
            return 0, b""
        finally:
            connection.close()

    @contextmanager
    def free(self) -> Iterator[None]:
        """Fail when the loop was held while the block ran."""
        self.longest.held_s = 0.0
        yield
        assert self.longest.held_s <= HELD_S, f"{self.longest.held_s * 1000:.0f} ms in {self.longest.by}"


def named(name: bytes, rest: bytes = b"") -> bytes:
    return b'{"model":"%b"%b}' % (name, rest)


def many(item: bytes, size: int) -> bytes:
    """Return so many bytes of a repeated item, with commas between."""
    return b",".join([item] * (size // (len(item) + 1)))


def keys(size: int) -> bytes:
    return b",".join(b'"k%07d":1' % number for number in range(size // 13))


def grown(attacked_node: AttackedNode, operation: str, body: bytes) -> int:
    """Return how many bytes were held at most while one request was answered."""
    tracemalloc.start()
    try:
        attacked_node.ask(operation, body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
