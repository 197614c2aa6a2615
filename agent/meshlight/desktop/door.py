"""The way to the running service: where it says it is, the proof that it is there, the key it wants."""

import re
import secrets
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msgspec

from meshlight.desktop.replies import Alive
from meshlight.domain.errors import ServiceError
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.domain.proof import CHALLENGE_BYTES, is_proof
from meshlight.domain.runtime import Runtime

START_HINT: Final = "Start it with: meshlight serve"
CONNECT_S: Final = 2.0
ANSWER_S: Final = 30.0
"""Adding or checking a backend waits for that backend, which may take a while to refuse."""
_NO_ROOTS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: the service speaks plain HTTP on this machine. Reading the system's roots takes 40 ms each time."""


_ANSWER_BYTES: Final = 16_384
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,5})(?=\r|$)")


class Stream(Protocol):
    """A connection that nothing was sent on yet."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what comes."""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of it."""

    def close(self) -> None:
        """Close it."""


def read_runtime(runtime_file: Path) -> Runtime:
    """Read the runtime file; raise ServiceError when there is none or it says nothing."""
    try:
        return msgspec.json.decode(runtime_file.read_bytes(), type=Runtime)
    except FileNotFoundError as error:
        raise ServiceError("Meshlight isn't running.", START_HINT) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise ServiceError(
            f"The runtime file {runtime_file} can't be read: {error}.",
            "Stop the service if it runs, delete this file, and start it again: meshlight serve",
        ) from error


def enter(runtime: Runtime) -> httpx.Client:
    """Return a client that carries the key, for the service that wrote the runtime file.

    Whoever answers has to prove, on each new connection and before anything else is sent on it, that it holds the
    key itself: a stranger on the port gets to see nothing, also one who takes it over while this client lives.
    Raises ServiceError when nobody, or somebody else, is there.
    """
    http = httpx.Client(
        base_url=runtime.url,
        verify=_NO_ROOTS,
        trust_env=False,  # the proxies of the environment are for the world outside; none may see the key
        follow_redirects=False,
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
    )

    def trace(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            _prove(info["return_value"], runtime)

    def traced(request: httpx.Request) -> None:
        request.extensions["trace"] = trace

    http.event_hooks = {"request": [traced]}
    try:
        _knock(http, runtime)
        http.headers["authorization"] = f"Bearer {_read_key(Path(runtime.key_file))}"
    except BaseException:
        http.close()
        raise
    return http


def silent(runtime: Runtime) -> ServiceError:
    """Return the error for a service that was there and now says nothing."""
    return ServiceError(
        f"The service at {runtime.url} (pid {runtime.pid}) doesn't answer.",
        "It may have just stopped, or hang. Start it again with: meshlight serve",
    )


def _knock(http: httpx.Client, runtime: Runtime) -> None:
    """Open the first connection, and say in plain words why that can't be."""
    try:
        answer = http.get("/healthz", timeout=CONNECT_S)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServiceError(
            f"Meshlight isn't running: nobody answers at {runtime.url}, where it last ran.",
            START_HINT,
        ) from error
    except httpx.TimeoutException as error:
        raise silent(runtime) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _foreign(runtime) from error
    if answer.status_code != 200:
        raise _foreign(runtime)


def _prove(stream: Stream, runtime: Runtime) -> None:
    """Have whoever is at the other end of a new connection prove itself, or close it; raises ServiceError."""
    try:
        _demand_proof(stream, runtime)
    except BaseException:
        stream.close()
        raise


def _demand_proof(stream: Stream, runtime: Runtime) -> None:
    challenge = secrets.token_hex(CHALLENGE_BYTES)
    host = httpx.URL(runtime.url).netloc.decode("ascii")
    question = f"GET /healthz?challenge={challenge} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    stream.write(question.encode(), timeout=CONNECT_S)
    try:
        proof = msgspec.json.decode(_read_answer(stream), type=Alive).proof
    except (ValueError, msgspec.MsgspecError) as error:
        raise _foreign(runtime) from error
    if not is_proof(proof, _read_key(Path(runtime.key_file)), challenge, runtime.instance):
        raise _foreign(runtime)


def _read_answer(stream: Stream) -> bytes:
    """Return the body of one small answer, and leave the connection as it is; raises ValueError for any other."""
    until = time.monotonic() + CONNECT_S
    data = b""
    start, end = 0, -1
    while end < 0 or len(data) < end:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise httpx.ReadTimeout("The proof took too long.")
        piece = stream.read(_ANSWER_BYTES, timeout=left_s)
        data += piece
        if not piece or len(data) > _ANSWER_BYTES:
            raise ValueError("It is cut off, or too long.")
        head, gap, _ = data.partition(b"\r\n\r\n")
        if gap and end < 0:
            length = _LENGTH.search(head)
            if length is None or not head.startswith(b"HTTP/1.1 200 "):
                raise ValueError("It is no plain answer.")
            start = len(head) + len(gap)
            end = start + int(length[1])
    if len(data) > end:
        raise ValueError("Something follows that nobody asked for.")
    return data[start:]


def _foreign(runtime: Runtime) -> ServiceError:
    return ServiceError(
        f"Another program answers at {runtime.url}, not the Meshlight that was started there. "
        "The key was not sent to it.",
        "Stop that program, or start Meshlight on another port: meshlight serve --port 6375. "
        "If Meshlight was updated while it ran, end it and start it again.",
    )


def _read_key(key_file: Path) -> str:
    if given := OWN_VARIABLES.get("MESHLIGHT_KEY", "").strip():
        return given  # a key that the environment gives is in no file
    try:
        return key_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"The local key in {key_file} can't be read: {error}.",
            "Run this as the user who started the service.",
        ) from error
