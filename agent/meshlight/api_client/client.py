"""The client of the local API: how the command line, the tray and the window speak to the running service.

The way to the running service: where it says it is, the proof that it is there, the key it wants.
"""

import re
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from meshlight.api_client.events import EventFeed, FeedItem
from meshlight.domain import errors
from meshlight.domain.api_types import (
    BackendList,
    BackendView,
    CheckReport,
    Identity,
    ModelTestReport,
    RefreshProgress,
    RouteExplanation,
    SignInFile,
    SignInLink,
    SnapshotView,
)
from meshlight.domain.config import Runtime
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import Envelope, MeshlightError, RequestError, ServiceError
from meshlight.domain.events import PeersEvent, RefreshEvent
from meshlight.domain.peers import PeersView
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.domain.proof import CHALLENGE_BYTES, is_proof

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


def connect(runtime: Runtime) -> httpx.Client:
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
        proof = msgspec.json.decode(_read_answer(stream), type=Identity).proof
    except (ValueError, msgspec.MsgspecError) as error:
        raise _foreign(runtime) from error
    if not isinstance(proof, str) or not is_proof(
        proof, _read_key(Path(runtime.key_file)), challenge, runtime.instance
    ):
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
        "Stop that program, or start Meshlight on another port: meshlight serve --port 6385. "
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


T = TypeVar("T")

REFRESH_S: Final = 120.0
"""A probe of an engine that loads a model is given a minute."""
TEST_S: Final = 900.0
"""A trial may meet a model that is loaded for minutes before its first token."""
SILENCE_S: Final = 40.0
"""The feed pings every 15 s: silence of this length means that the service hangs."""
PAIRING_S: Final = 60.0
"""Another machine is asked at each of its addresses, some seconds at most at each."""

_ERRORS: Final[Mapping[str, type[MeshlightError]]] = {
    kind.code: kind
    for kind in (
        errors.BadRequest,
        errors.BadAddress,
        errors.Unauthorized,
        errors.OriginForbidden,
        errors.NotFound,
        errors.ModelNotFound,
        errors.MethodNotAllowed,
        errors.Conflict,
        errors.PayloadTooLarge,
        errors.UnsupportedMediaType,
        errors.TooManyRequests,
        errors.BackendCheckFailed,
        errors.EveryRouteDown,
        errors.FirstByteTooLate,
        errors.BackendFailed,
    )
}


class ApiClient:
    """The running service, after it has proved to be the one that wrote the runtime file.

    Every method raises ServiceError when the service stops answering, and else the error the service sent.
    """

    def __init__(self, http: httpx.Client, runtime: Runtime) -> None:
        self._http = http
        self.runtime = runtime

    @classmethod
    def connect(cls, runtime_file: Path) -> Self:
        """Find the service by its runtime file; raise ServiceError when it isn't running or isn't ours."""
        runtime = read_runtime(runtime_file)
        return cls(connect(runtime), runtime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def snapshot(self) -> SnapshotView:
        """Return the whole mesh as it is now."""
        return self._ask("GET", "/mesh/snapshot", SnapshotView)

    def backends(self) -> tuple[BackendView, ...]:
        """Return every backend, switched off or not."""
        return self._ask("GET", "/mesh/backends", BackendList).backends

    def add(self, wish: Mapping[str, object]) -> BackendView:
        """Add a backend (`kind`, `url`, and what else the API takes); it is tried before it is saved."""
        return self._ask("POST", "/mesh/backends", BackendView, wish)

    def change(self, id_: str, wish: Mapping[str, object]) -> BackendView:
        """Change the named settings of a backend."""
        return self._ask("PATCH", _backend(id_), BackendView, wish)

    def remove(self, id_: str) -> None:
        """Remove a backend and its secret."""
        self._send("DELETE", _backend(id_))

    def check(self, id_: str) -> CheckReport:
        """Probe one backend now."""
        return self._ask("POST", f"{_backend(id_)}/check", CheckReport, wait_s=REFRESH_S)

    def switch(self, id_: str, *, on: bool) -> BackendView:
        """Switch a backend on or off."""
        return self._ask("POST", f"{_backend(id_)}/{'enable' if on else 'disable'}", BackendView)

    def pause(self, *, on: bool) -> None:
        """Let requests through no more (`on`), or again; the backends are watched all the same."""
        self._send("PATCH", "/mesh/settings", {"paused": on})

    def can_pause(self) -> bool:
        """Whether this service knows of pausing (`pause`)."""
        return "paused" in self._ask("GET", "/mesh/settings", dict[str, object])

    def route(self, model: str) -> RouteExplanation:
        """Ask which backend would answer a request for `model` now, and why not the others."""
        return self._ask("GET", f"/mesh/route?model={quote(model, safe='')}", RouteExplanation)

    def test_model(self, model: str | None, count: int) -> ModelTestReport:
        """Have the service send `count` small real requests to `model` (None: one that is ready)."""
        wish: dict[str, object] = {"count": count} if model is None else {"count": count, "model": model}
        return self._ask("POST", "/mesh/test", ModelTestReport, wish, wait_s=TEST_S)

    def one_time_link(self) -> str:
        """Return a link that opens the page once, within a minute, without asking for the key."""
        return self._ask("POST", "/mesh/session/code", SignInLink).url

    def link_file(self, fragment: str = "", snap: str = "") -> str:
        """Return the path of a file that opens the page once, within a minute, in a browser that is given it.

        `fragment` is what the page is to show, `snap` the name of the snap that the browser is, if it is one.
        """
        wish = {"fragment": fragment, "snap": snap}
        return self._ask("POST", "/mesh/session/file", SignInFile, wish).path

    def refresh(self, on_progress: Callable[[int, int], None]) -> None:
        """Have every backend probed and new engines looked for, now; return when that is over.

        `on_progress` gets (done, total) from the feed. The end is told by the answer to the request, since
        the look for new engines may take longer than the probes.
        """
        with self._feed() as feed, ThreadPoolExecutor(1) as other_thread:
            next(feed, None)  # what is subscribed to before the start can't miss it
            asked = other_thread.submit(
                self._ask, "POST", "/mesh/refresh?wait=true", RefreshProgress, wait_s=REFRESH_S
            )
            asked.add_done_callback(lambda _: feed.stop())
            for event in feed:
                if isinstance(event, RefreshEvent):
                    on_progress(event.done, event.total)
            over = asked.result()
            on_progress(over.total, over.total)

    def refresh_now(self) -> None:
        """Do as `refresh`, for those who follow `events` anyway and see the progress there."""
        self._ask("POST", "/mesh/refresh?wait=true", RefreshProgress, wait_s=REFRESH_S)

    def events(self) -> Iterator[FeedItem]:
        """Yield the whole mesh, then each change as it happens, until the service ends (ServiceError)."""
        with self._feed() as feed:
            yield from feed
        raise ServiceError(f"The service at {self.runtime.url} has stopped.", START_HINT)

    def peers(self) -> PeersView:
        """Return everything about other Meshlights."""
        return self._ask("GET", "/mesh/peers", PeersView)

    def set_visibility(self, *, visible: bool | None = None, browse: bool | None = None) -> PeersView:
        """Show this machine to others or hide it; look for others or don't; None leaves it as it is."""
        wish = {"visible": visible, "browse": browse}
        given = {name: on for name, on in wish.items() if on is not None}
        return self._ask("PATCH", "/mesh/peers", PeersView, given)

    def ask_to_pair(self, wish: Mapping[str, object]) -> PeersView:
        """Ask somebody who is seen (`id`), or whoever is at a `host` and `port`; there are digits then."""
        return self._ask("POST", "/mesh/peers/pairing", PeersView, wish, wait_s=PAIRING_S)

    def confirm_pairing(self) -> PeersView:
        """Say that the digits are the same on both machines."""
        return self._ask("POST", "/mesh/peers/pairing/confirm", PeersView)

    def refuse_pairing(self) -> PeersView:
        """End the pairing under way."""
        return self._ask("POST", "/mesh/peers/pairing/refuse", PeersView)

    def set_terms(self, peer_id: str, terms: Mapping[str, object]) -> PeersView:
        """Change what a peer may use here."""
        return self._ask("PATCH", _peer(peer_id), PeersView, terms)

    def unpair(self, peer_id: str) -> PeersView:
        """End a pairing."""
        return self._ask("DELETE", _peer(peer_id), PeersView)

    def follow_peers(self) -> Iterator[PeersView]:
        """Yield how it stands with other Meshlights now, and whenever that changes."""
        with self._feed() as feed:
            next(feed, None)  # what is subscribed to before the question can't miss the answer's next change
            yield self.peers()
            for news in feed:
                if isinstance(news, PeersEvent):
                    yield news.peers
                elif isinstance(news, SnapshotView):
                    yield self.peers()  # after a gap, in which there may have been news
        raise ServiceError(f"The service at {self.runtime.url} has stopped.", START_HINT)

    @contextmanager
    def _feed(self) -> Iterator[EventFeed]:
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        try:
            with self._http.stream("GET", "/mesh/events", timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise _error(answer)
                yield EventFeed(answer)
        except httpx.TransportError as error:
            raise silent(self.runtime) from error

    def _ask(
        self,
        method: str,
        path: str,
        shape: type[T],
        wish: Mapping[str, object] | None = None,
        wait_s: float = ANSWER_S,
    ) -> T:
        answer = self._send(method, path, wish, wait_s)
        try:
            return msgspec.json.decode(answer.content, type=shape)
        except msgspec.MsgspecError as error:
            raise ServiceError(
                f"The service's answer to {method} {path} can't be read: {error}.",
                "The service and this program may be of different versions: restart the service.",
            ) from error

    def _send(
        self, method: str, path: str, wish: Mapping[str, object] | None = None, wait_s: float = ANSWER_S
    ) -> httpx.Response:
        body = None if wish is None else msgspec.json.encode(wish)
        headers = {} if body is None else {"content-type": "application/json"}
        timeout = httpx.Timeout(wait_s, connect=CONNECT_S)
        try:
            answer = self._http.request(method, path, content=body, headers=headers, timeout=timeout)
        except httpx.TransportError as error:
            raise silent(self.runtime) from error
        if answer.status_code >= 400:
            raise _error(answer)
        return answer


def _error(answer: httpx.Response) -> MeshlightError:
    """Turn an error answer back into the error that the service raised."""
    reply = decode_or_none(answer.content, Envelope)
    if reply is None:
        return RequestError(f"The service answered {answer.status_code} to {answer.request.url.path}.")
    error = reply.error
    kind = _ERRORS.get(error.code, RequestError)
    return kind(error.message.removesuffix(error.hint).rstrip(), error.hint)


def _peer(id_: str) -> str:
    return f"/mesh/peers/{quote(id_, safe='')}"


def _backend(id_: str) -> str:
    return f"/mesh/backends/{quote(id_, safe='')}"
