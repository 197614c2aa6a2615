"""The client of the local API: how the command line, the tray and the window talk to the running service.

The runtime file says where the service is. The client proves the service's identity on every new TCP connection,
before it sends the local key or anything else. All methods block; the tray calls them from worker threads.
"""

import re
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hmac import compare_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from meshlight.api_client.chat import ChatAnswer, refusal_text
from meshlight.api_client.events import EventFeed, FeedItem
from meshlight.api_client.local_mirror import LocalMirror
from meshlight.domain import errors
from meshlight.domain.api_types import (
    BackendList,
    BackendView,
    CheckReport,
    Identity,
    ModelTestReport,
    PendingSignIn,
    RefreshProgress,
    RouteExplanation,
    SignInFile,
    SignInLink,
    SnapshotView,
)
from meshlight.domain.app_views import AppList
from meshlight.domain.config import Runtime
from meshlight.domain.errors import (
    Envelope,
    MeshlightError,
    NotRunning,
    RequestError,
    SecretError,
    ServiceError,
)
from meshlight.domain.events import LocalEvent, PeersEvent, RefreshEvent
from meshlight.domain.findings import Finding, FindingList
from meshlight.domain.local_views import DownloadView, EngineLog, LocalModelView, LocalView, RepositoryView
from meshlight.domain.peers import PeersView
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.domain.proof import CHALLENGE_BYTES, is_proof
from meshlight.domain.settings_views import KeyringView, SettingsView
from meshlight.domain.welcome import Step, WelcomeView

if TYPE_CHECKING:
    from httpcore import NetworkStream

T = TypeVar("T")

START_HINT: Final = "Start it with: meshlight"
CONNECT_TIMEOUT_S: Final = 2.0
RESPONSE_TIMEOUT_S: Final = 30.0
"""Adding or checking a backend waits for that backend, which may take long to refuse."""
REFRESH_TIMEOUT_S: Final = 120.0
"""The probe of an engine that is loading a model may take a minute."""
TEST_TIMEOUT_S: Final = 900.0
"""A test request may reach a model that loads for minutes before its first token."""
FEED_TIMEOUT_S: Final = 40.0
"""The event feed sends a ping every 15 s: silence of this length means that the service hangs."""
LOAD_TIMEOUT_S: Final = 1_860.0
"""The service gives up a load before."""
DEMO_TIMEOUT_S: Final = 60.0
"""The demo's process gets half of this to start."""
UNLOAD_TIMEOUT_S: Final = 60.0
"""Running answers get some seconds to end, and the reply comes when the engine's process is gone."""
HUB_TIMEOUT_S: Final = 90.0
"""The service asks the hub, perhaps several times, before it says what is wrong there."""
PAIRING_TIMEOUT_S: Final = 60.0
"""The service tries each address of the other machine, for some seconds each."""
KEEP_ALIVE_S: Final = 60.0
"""An idle connection is reused for this long. The service closes it after 75 s: ending it first avoids a race."""

_NO_CERTIFICATES: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts no certificate: the service speaks plain HTTP on this machine, and loading the system's takes 40 ms."""
_MAX_RESPONSE_BYTES: Final = 16_384
_CONTENT_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: *([0-9]{1,5})(?=\r|$)")

_ERRORS: Final[Mapping[str, type[MeshlightError]]] = {
    error.code: error
    for error in (
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
"""The errors of the local API by their codes, to raise them here as the service raised them there."""


class ApiClient:
    """A connection to the running service, which has proved that it is the one that wrote the runtime file.

    Every method raises ServiceError when the service stops answering, or else the error that the service sent.
    """

    def __init__(self, http: httpx.Client, runtime: Runtime) -> None:
        self._http = http
        self.runtime = runtime

    @classmethod
    def connect(cls, runtime_file: Path) -> Self:
        """Find the service by its runtime file; raises ServiceError when it isn't running or isn't ours."""
        runtime = read_runtime(runtime_file)
        return cls(_connect(runtime), runtime)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def has_key(self, key: str) -> bool:
        """Whether this is the key that the client shows; the service's may have been replaced since."""
        return compare_digest(self._http.headers.get("authorization", "").encode(), f"Bearer {key}".encode())

    def snapshot(self) -> SnapshotView:
        """Return the current snapshot of the mesh."""
        return self._fetch("GET", "/mesh/snapshot", SnapshotView)

    def backends(self) -> tuple[BackendView, ...]:
        """Return every backend, disabled ones too."""
        return self._fetch("GET", "/mesh/backends", BackendList).backends

    def add(self, body: Mapping[str, object]) -> BackendView:
        """Add a backend (`kind`, `url` and the other fields of the API); it is checked before it is saved."""
        return self._fetch("POST", "/mesh/backends", BackendView, body)

    def change(self, id_: str, body: Mapping[str, object]) -> BackendView:
        """Change the given settings of a backend."""
        return self._fetch("PATCH", _backend(id_), BackendView, body)

    def remove(self, id_: str) -> None:
        """Remove a backend and its secret."""
        self._request("DELETE", _backend(id_))

    def check(self, id_: str) -> CheckReport:
        """Probe one backend now."""
        return self._fetch("POST", f"{_backend(id_)}/check", CheckReport, timeout_s=REFRESH_TIMEOUT_S)

    def switch(self, id_: str, *, on: bool) -> BackendView:
        """Switch a backend on or off."""
        return self._fetch("POST", f"{_backend(id_)}/{'enable' if on else 'disable'}", BackendView)

    def pause(self, *, on: bool) -> None:
        """Stop routing requests (`on`) or resume; the backends are still probed while paused."""
        self._request("PATCH", "/mesh/settings", {"paused": on})

    def welcome(self) -> WelcomeView:
        """Return how far the user has come in the first run, and whether the demo runs."""
        return self._fetch("GET", "/mesh/welcome", WelcomeView)

    def finish_step(self, step: Step) -> WelcomeView:
        """Keep that a step of the first run was done."""
        return self._fetch("PATCH", "/mesh/welcome", WelcomeView, {"done": step})

    def end_welcome(self, *, is_over: bool) -> WelcomeView:
        """End the first run, or begin it again."""
        return self._fetch("PATCH", "/mesh/welcome", WelcomeView, {"is_over": is_over})

    def run_demo(self, *, on: bool) -> WelcomeView:
        """Start the demo inside this mesh, or end it."""
        return self._fetch("POST" if on else "DELETE", "/mesh/demo", WelcomeView, timeout_s=DEMO_TIMEOUT_S)

    def can_pause(self) -> bool:
        """Whether this service supports `pause`."""
        return "paused" in self._fetch("GET", "/mesh/settings", dict[str, object])

    def settings(self) -> SettingsView:
        """Return the settings."""
        return self._fetch("GET", "/mesh/settings", SettingsView)

    def change_settings(self, body: Mapping[str, object]) -> SettingsView:
        """Change the given settings; either all of them or none."""
        return self._fetch("PATCH", "/mesh/settings", SettingsView, body)

    def keyring(self) -> KeyringView:
        """Return where the keys of backends are kept."""
        return self._fetch("GET", "/mesh/settings/keyring", KeyringView)

    def pending_sign_in(self) -> PendingSignIn:
        """Return the browser that asks to be let in; its code is empty if none does."""
        return self._fetch("GET", "/mesh/session/request", PendingSignIn)

    def answer_sign_in(self, code: str, *, allow: bool) -> None:
        """Let the browser in that shows this code, or turn it away."""
        self._request("POST", f"/mesh/session/request/{'allow' if allow else 'refuse'}", {"code": code})

    def route(self, model: str, tokens: int = 0) -> RouteExplanation:
        """Return which backend would answer a request of so many tokens for `model` now, and why not the others."""
        size = f"&tokens={tokens}" if tokens else ""
        return self._fetch("GET", f"/mesh/route?model={quote(model, safe='')}{size}", RouteExplanation)

    @contextmanager
    def chat(self, body: Mapping[str, object]) -> Iterator[ChatAnswer]:
        """Ask a model as any app does, at `/v1/chat/completions`; leaving the block ends the request."""
        timeout = httpx.Timeout(TEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        headers = {"content-type": "application/json"}
        try:
            with self._http.stream(
                "POST",
                "/v1/chat/completions",
                content=msgspec.json.encode(body),
                headers=headers,
                timeout=timeout,
            ) as response:
                if response.status_code >= 400:
                    response.read()
                    raise _error(response)
                yield ChatAnswer(response)
        except httpx.TransportError as error:
            raise _not_answering(self.runtime) from error

    def apps(self, model: str = "") -> AppList:
        """Return how each client app uses Meshlight, with this model or the best; holds the local key."""
        return self._fetch("GET", f"/mesh/apps?model={quote(model, safe='')}", AppList)

    def findings(self) -> tuple[Finding, ...]:
        """Return what hurts now; nothing from a service that does not know this yet."""
        try:
            return self._fetch("GET", "/mesh/findings", FindingList).findings
        except errors.NotFound:
            return ()

    def test_model(self, model: str | None, count: int) -> ModelTestReport:
        """Have the service send `count` small real requests to `model` (None: any model that is ready)."""
        body: dict[str, object] = {"count": count} if model is None else {"count": count, "model": model}
        return self._fetch("POST", "/mesh/test", ModelTestReport, body, timeout_s=TEST_TIMEOUT_S)

    def one_time_link(self) -> str:
        """Return a link that opens the page once, within a minute, without the key."""
        return self._fetch("POST", "/mesh/session/code", SignInLink).url

    def link_file(self, fragment: str = "", snap: str = "") -> str:
        """Return the path of a file that opens the page once, within a minute, when a browser loads it.

        `fragment` selects what the page shows; `snap` is the browser's snap package, if it is installed as one.
        """
        body = {"fragment": fragment, "snap": snap}
        return self._fetch("POST", "/mesh/session/file", SignInFile, body).path

    def refresh(self, on_progress: Callable[[int, int], None]) -> None:
        """Probe every backend and search for new engines; returns when both are finished.

        `on_progress` gets (done, total) from the event feed. The response to the request marks the end, because
        the search for new engines may take longer than the probes.
        """
        with self._feed() as feed, ThreadPoolExecutor(1) as other_thread:
            next(feed, None)  # subscribed before the refresh starts, so no progress is missed
            pending = other_thread.submit(
                self._fetch, "POST", "/mesh/refresh?wait=true", RefreshProgress, timeout_s=REFRESH_TIMEOUT_S
            )
            pending.add_done_callback(lambda _: feed.stop())
            for event in feed:
                if isinstance(event, RefreshEvent):
                    on_progress(event.done, event.total)
            result = pending.result()
            on_progress(result.total, result.total)

    def refresh_now(self) -> None:
        """Like `refresh`, for callers that get the progress from `events` already."""
        self._fetch("POST", "/mesh/refresh?wait=true", RefreshProgress, timeout_s=REFRESH_TIMEOUT_S)

    def events(self) -> Iterator[FeedItem]:
        """Yield a snapshot, then each change as it happens; raises ServiceError when the service ends."""
        with self._feed() as feed:
            yield from feed
        raise ServiceError(f"The service at {self.runtime.url} has stopped.", START_HINT)

    def local_models(self) -> LocalView:
        """Return this machine's own models, what runs them, and what is on its way here."""
        return self._fetch("GET", "/mesh/models", LocalView)

    def follow_local_models(self) -> Iterator[LocalView]:
        """Yield this machine's models now, and after each change; raises ServiceError when the service ends."""
        with self._feed() as feed:
            next(feed, None)  # subscribed before the request, so no change is missed
            mirror = LocalMirror(self.local_models())
            yield mirror.view
            for event in feed:
                if isinstance(event, LocalEvent):
                    yield mirror.apply(event)
                elif isinstance(
                    event, SnapshotView
                ):  # after a gap in the feed, which may have hidden changes
                    mirror = LocalMirror(self.local_models())
                    yield mirror.view
        raise ServiceError(f"The service at {self.runtime.url} has stopped.", START_HINT)

    def load_model(self, model: str, *, wait: bool = False) -> LocalModelView:
        """Load one of this machine's models; with `wait`, return when it is loaded or that has failed."""
        body = {"model": model, "wait": wait}
        timeout_s = LOAD_TIMEOUT_S if wait else RESPONSE_TIMEOUT_S
        return self._fetch("POST", "/mesh/models/load", LocalModelView, body, timeout_s)

    def unload_model(self, model: str, *, force: bool = False) -> LocalModelView:
        """Unload one of this machine's models; raises Conflict while it answers requests, unless forced."""
        body = {"model": model, "force": force}
        return self._fetch("POST", "/mesh/models/unload", LocalModelView, body, UNLOAD_TIMEOUT_S)

    def load_on_backend(self, id_: str, model: str) -> None:
        """Have another engine or a peer load a model, if it can."""
        self._request("POST", f"{_backend(id_)}/models/load", {"model": model}, LOAD_TIMEOUT_S)

    def unload_on_backend(self, id_: str, model: str) -> None:
        """Have another engine or a peer unload a model, if it can."""
        self._request("POST", f"{_backend(id_)}/models/unload", {"model": model}, UNLOAD_TIMEOUT_S)

    def change_model(self, model: str, body: Mapping[str, object]) -> LocalModelView:
        """Change the given settings of one of this machine's models (`keep`, `idle_s`, `context`, `hidden`)."""
        return self._fetch("PATCH", "/mesh/models", LocalModelView, {"model": model, **body})

    def delete_model(self, model: str) -> None:
        """Delete a model's files from Meshlight's own folder; raises Conflict for one that lies elsewhere."""
        self._request("DELETE", f"/mesh/models?model={quote(model, safe='')}")

    def engine_log(self, model: str) -> EngineLog:
        """Return the last lines that a model's engine wrote."""
        return self._fetch("GET", f"/mesh/models/log?model={quote(model, safe='')}", EngineLog)

    def repository(self, name: str) -> RepositoryView:
        """Return which models a repository of the hub offers (`owner/repo`)."""
        path = f"/mesh/models/repository?name={quote(name, safe='')}"
        return self._fetch("GET", path, RepositoryView, timeout_s=HUB_TIMEOUT_S)

    def pull_model(self, name: str) -> DownloadView:
        """Begin a download; raises Conflict if a choice has to be made, or the disk has too little room."""
        return self._fetch("POST", "/mesh/models/pull", DownloadView, {"name": name}, HUB_TIMEOUT_S)

    def pause_download(self, id_: str) -> DownloadView:
        """Pause a download; what is here stays."""
        return self._fetch("POST", f"{_download(id_)}/pause", DownloadView)

    def resume_download(self, id_: str) -> DownloadView:
        """Go on with a download where it stopped."""
        return self._fetch("POST", f"{_download(id_)}/resume", DownloadView)

    def cancel_download(self, id_: str) -> None:
        """Forget a download, and delete what is here of it."""
        self._request("DELETE", _download(id_))

    def peers(self) -> PeersView:
        """Return this machine as a peer, the paired peers, the discovered ones, and the current pairing."""
        return self._fetch("GET", "/mesh/peers", PeersView)

    def set_visibility(self, *, visible: bool | None = None, browse: bool | None = None) -> PeersView:
        """Turn announcing (`visible`) and browsing on the local network on or off; None leaves it unchanged."""
        body = {"visible": visible, "browse": browse}
        given = {name: on for name, on in body.items() if on is not None}
        return self._fetch("PATCH", "/mesh/peers", PeersView, given)

    def ask_to_pair(self, body: Mapping[str, object]) -> PeersView:
        """Request a pairing with a discovered machine (`id`) or an address (`host`, `port`); the view has digits."""
        return self._fetch("POST", "/mesh/peers/pairing", PeersView, body, timeout_s=PAIRING_TIMEOUT_S)

    def confirm_pairing(self) -> PeersView:
        """Confirm that both machines show the same digits."""
        return self._fetch("POST", "/mesh/peers/pairing/confirm", PeersView)

    def refuse_pairing(self) -> PeersView:
        """Refuse and end the current pairing."""
        return self._fetch("POST", "/mesh/peers/pairing/refuse", PeersView)

    def set_terms(self, peer_id: str, terms: Mapping[str, object]) -> PeersView:
        """Change what a peer may use here."""
        return self._fetch("PATCH", _peer(peer_id), PeersView, terms)

    def unpair(self, peer_id: str) -> PeersView:
        """End a pairing."""
        return self._fetch("DELETE", _peer(peer_id), PeersView)

    def follow_peers(self) -> Iterator[PeersView]:
        """Yield the peers now, and after each change; raises ServiceError when the service ends."""
        with self._feed() as feed:
            next(feed, None)  # subscribed before the request, so no change is missed
            yield self.peers()
            for event in feed:
                if isinstance(event, PeersEvent):
                    yield event.peers
                elif isinstance(event, SnapshotView):
                    yield self.peers()  # after a gap in the feed, which may have hidden changes
        raise ServiceError(f"The service at {self.runtime.url} has stopped.", START_HINT)

    @contextmanager
    def _feed(self) -> Iterator[EventFeed]:
        timeout = httpx.Timeout(FEED_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        try:
            with self._http.stream("GET", "/mesh/events", timeout=timeout) as response:
                if response.status_code != 200:
                    response.read()
                    raise _error(response)
                yield EventFeed(response)
        except httpx.TransportError as error:
            raise _not_answering(self.runtime) from error

    def _fetch(
        self,
        method: str,
        path: str,
        result_type: type[T],
        body: Mapping[str, object] | None = None,
        timeout_s: float = RESPONSE_TIMEOUT_S,
    ) -> T:
        response = self._request(method, path, body, timeout_s)
        try:
            return msgspec.json.decode(response.content, type=result_type)
        except msgspec.MsgspecError as error:
            raise ServiceError(
                f"The service's answer to {method} {path} can't be read: {error}.",
                "The service and this program may be of different versions: restart the service.",
            ) from error

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        timeout_s: float = RESPONSE_TIMEOUT_S,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {} if content is None else {"content-type": "application/json"}
        timeout = httpx.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S)
        try:
            response = self._http.request(method, path, content=content, headers=headers, timeout=timeout)
        except httpx.TransportError as error:
            raise _not_answering(self.runtime) from error
        if response.status_code >= 400:
            raise _error(response)
        return response


class SharedClient:
    """One client for a program that lives long, usable from any thread.

    It connects at first use and is reused until the service is started again or its key is replaced, so its open
    connection needs no second proof. A connection that was lost in between is opened and proven again.
    """

    def __init__(self, runtime_file: Path) -> None:
        self._runtime_file = runtime_file
        self._lock = threading.Lock()
        self._is_closed = False
        self._client: ApiClient | None = None
        self._users: dict[ApiClient, int] = {}

    @contextmanager
    def use(self) -> Iterator[ApiClient]:
        """Lend the client; raises ServiceError when the service isn't running or isn't ours."""
        with self._lock:
            client = self._connected()
            self._users[client] += 1
        try:
            yield client
        finally:
            with self._lock:
                self._users[client] -= 1
                self._close_unused()

    def close(self) -> None:
        """Close the connections, those in use when their user has finished; later uses connect for themselves."""
        with self._lock:
            self._is_closed = True
            self._client = None
            self._close_unused()

    def _connected(self) -> ApiClient:
        runtime = read_runtime(self._runtime_file)
        if (
            self._client is not None
            and self._client.runtime == runtime
            and self._client.has_key(_read_key(Path(runtime.key_file)))
        ):
            return self._client
        self._client = None
        self._close_unused()
        client = ApiClient(_connect(runtime), runtime)
        self._users[client] = 0
        if not self._is_closed:
            self._client = client
        return client

    def _close_unused(self) -> None:
        for client in [one for one, users in self._users.items() if one is not self._client and not users]:
            del self._users[client]
            client.close()


def read_runtime(runtime_file: Path) -> Runtime:
    """Read the runtime file; raises ServiceError when it is missing or unreadable."""
    try:
        return msgspec.json.decode(runtime_file.read_bytes(), type=Runtime)
    except FileNotFoundError as error:
        raise NotRunning("Meshlight isn't running.", START_HINT) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise ServiceError(
            f"The runtime file {runtime_file} can't be read: {error}.",
            "Stop the service if it runs, delete this file, and start it again: meshlight",
        ) from error


def _connect(runtime: Runtime) -> httpx.Client:
    """Return an HTTP client that sends the key, for the service that wrote the runtime file.

    On each new connection, before anything else is sent, the other side has to prove that it holds the key itself.
    So another program on the port learns nothing, even one that takes it over while this client exists.
    Raises ServiceError when no service, or another program, answers.
    """
    http = httpx.Client(
        base_url=runtime.url,
        verify=_NO_CERTIFICATES,
        trust_env=False,  # no proxy of the environment may see the key
        follow_redirects=False,
        timeout=httpx.Timeout(RESPONSE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
    )

    def prove_new_connection(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            _require_proof(info["return_value"], runtime)

    def add_trace(request: httpx.Request) -> None:
        request.extensions["trace"] = prove_new_connection

    http.event_hooks = {"request": [add_trace]}
    try:
        _open_first_connection(http, runtime)
        http.headers["authorization"] = f"Bearer {_read_key(Path(runtime.key_file))}"
    except BaseException:
        http.close()
        raise
    return http


def _open_first_connection(http: httpx.Client, runtime: Runtime) -> None:
    """Open the first connection, and turn each way in which that fails into a clear ServiceError."""
    try:
        response = http.get("/healthz", timeout=CONNECT_TIMEOUT_S)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise NotRunning(
            f"Meshlight isn't running: nothing answers at {runtime.url}, where it last ran.",
            START_HINT,
        ) from error
    except httpx.TimeoutException as error:
        raise _not_answering(runtime) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _wrong_service(runtime) from error
    if response.status_code != 200:
        raise _wrong_service(runtime)


def _require_proof(stream: "NetworkStream", runtime: Runtime) -> None:
    """Check the proof of the other side of a new connection; closes it and raises ServiceError if it is wrong."""
    try:
        _check_proof(stream, runtime)
    except BaseException:
        stream.close()
        raise


def _check_proof(stream: "NetworkStream", runtime: Runtime) -> None:
    challenge = secrets.token_hex(CHALLENGE_BYTES)
    host = httpx.URL(runtime.url).netloc.decode("ascii")
    request = f"GET /healthz?challenge={challenge} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    stream.write(request.encode(), timeout=CONNECT_TIMEOUT_S)
    try:
        proof = msgspec.json.decode(_read_response(stream), type=Identity).proof
    except (ValueError, msgspec.MsgspecError) as error:
        raise _wrong_service(runtime) from error
    key = _read_key(Path(runtime.key_file))
    if not isinstance(proof, str) or not is_proof(proof, key, challenge, runtime.instance):
        raise _wrong_service(runtime)


def _read_response(stream: "NetworkStream") -> bytes:
    """Return the body of one small response and leave the connection open; raises ValueError for any other."""
    until = time.monotonic() + CONNECT_TIMEOUT_S
    data = b""
    start, end = 0, -1
    while end < 0 or len(data) < end:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise httpx.ReadTimeout("The proof took too long.")
        chunk = stream.read(_MAX_RESPONSE_BYTES, timeout=left_s)
        data += chunk
        if not chunk or len(data) > _MAX_RESPONSE_BYTES:
            raise ValueError("The response is cut off or too long.")
        head, separator, _ = data.partition(b"\r\n\r\n")
        if separator and end < 0:
            length = _CONTENT_LENGTH.search(head)
            if length is None or not head.startswith(b"HTTP/1.1 200 "):
                raise ValueError("It is not a response with status 200 and a content length.")
            start = len(head) + len(separator)
            end = start + int(length[1])
    if len(data) > end:
        raise ValueError("More data follows the response.")
    return data[start:]


def _read_key(key_file: Path) -> str:
    if key := OWN_VARIABLES.get("MESHLIGHT_KEY", "").strip():
        return key  # a key from the environment is in no file
    try:
        return key_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"The local key in {key_file} can't be read: {error}.",
            "Run this as the user who started the service.",
        ) from error


def _not_answering(runtime: Runtime) -> ServiceError:
    return ServiceError(
        f"The service at {runtime.url} (pid {runtime.pid}) doesn't answer.",
        "It may have just stopped, or hang. Start it again with: meshlight",
    )


def _wrong_service(runtime: Runtime) -> ServiceError:
    return ServiceError(
        f"Another program answers at {runtime.url}, not the Meshlight that was started there. "
        "The key was not sent to it.",
        "Stop that program, or start Meshlight on another port: meshlight serve --port 6385. "
        "If Meshlight was updated while it ran, end it and start it again.",
    )


def _error(response: httpx.Response) -> MeshlightError:
    """Turn an error response back into the error that the service raised."""
    try:
        failure = msgspec.json.decode(response.content, type=Envelope).error
    except msgspec.MsgspecError:
        title = f"The service answered {response.status_code} to {response.request.url.path}."
        # A model's own server refuses a request in words of its own.
        return RequestError(f"{title} {refusal_text(response.content)}".strip())
    title = failure.message.removesuffix(failure.hint).rstrip()
    if failure.code == SecretError.code:
        return SecretError("refused", title, failure.hint)  # the state is not told
    return _ERRORS.get(failure.code, RequestError)(title, failure.hint)


def _peer(id_: str) -> str:
    return f"/mesh/peers/{quote(id_, safe='')}"


def _backend(id_: str) -> str:
    return f"/mesh/backends/{quote(id_, safe='')}"


def _download(id_: str) -> str:
    return f"/mesh/models/downloads/{quote(id_, safe='')}"
