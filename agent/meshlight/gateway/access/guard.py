"""The guard: checks every request before anything else does, by Host, Origin, key and size."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshlight.domain.allowed_callers import is_allowed_host
from meshlight.domain.config import Config
from meshlight.domain.errors import (
    BadRequest,
    MeshlightError,
    MethodNotAllowed,
    OriginForbidden,
    PayloadTooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from meshlight.gateway.access.cors import allowed_origin, answer_preflight, is_preflight, with_cors
from meshlight.gateway.access.let_in import PATH as LET_IN_PATH
from meshlight.gateway.access.sessions import Sessions, read_cookie
from meshlight.gateway.errors import error_response
from meshlight.gateway.server.admission import CONNECTION
from meshlight.gateway.server.asgi import ASGIApp, Message, Receive, Scope, Send
from meshlight.gateway.server.lane import Lane
from meshlight.gateway.server.path_spelling import normalize_path

INFERENCE_BYTES = 64 * 1024 * 1024
CONTROL_BYTES = 64 * 1024
ALWAYS_OPEN = frozenset({"/healthz"})
SIGN_IN = "/mesh/session"
"""A POST here has the key in its body, so the handler checks it."""
ENTER = "/mesh/session/enter"
"""A POST here has a one-time code in a form, from a file that a browser was given to open."""
PAGE_CHAT = "/mesh/chat/completions"
"""A POST here is one to `/v1/chat/completions` under the rules of control, so the page's session may make it.

Browsers send cookies to every port of a host. A cookie for `/v1` would reach other engines of this machine, whose own
pages ask at that very path; one for `/mesh` reaches nobody else."""

_BY_BODY = frozenset({SIGN_IN, ENTER})
_ASKS = frozenset({LET_IN_PATH, f"{LET_IN_PATH}/answer"})
"""A POST here is from a page without a key, which asks to be let in; only from the page itself."""
_INFERENCE = ("/v1/", "/api/", "/v1beta/")
_INFERENCE_ROOTS = frozenset({"/v1", "/api", "/v1beta"})
_OF_FILES = frozenset({"/api/pull", "/api/delete"})
"""Paths of Ollama's API that change this machine's disk: they are control, and never open without the key."""
_READ = frozenset({"GET", "HEAD"})
_WATCHED = frozenset(
    b"host origin sec-fetch-site sec-fetch-mode sec-fetch-dest authorization x-api-key x-goog-api-key cookie "
    b"content-type content-length transfer-encoding".split()
)
_OWN_SITE = frozenset({b"same-origin", b"none"})
_FORM = b"application/x-www-form-urlencoded"
_KEY_HINT = "`meshlight key` prints it; send it as `Authorization: Bearer KEY`."

_NONE: Mapping[str, Any] = {}

WatchedHeaders = Mapping[bytes, bytes]


class Guard:
    """ASGI middleware that lets through requests of programs and pages on this machine that are allowed to send them.

    `is_key` compares a key in constant time, `is_app_key` knows the keys that open inference only, `settings` returns
    the configuration in force (`require_key`, `allowed_hosts`, `allowed_origins`), `free` are the paths of the page's
    own files, which every program on this machine may read.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        is_key: Callable[[bytes], bool],
        sessions: Sessions,
        settings: Callable[[], Config],
        free: frozenset[str] = frozenset(),
        is_app_key: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self.lane: Lane[Any] | None = None
        """What answers ordinary requests without a task; it asks `admits`."""
        self._app = app
        self._is_key = is_key
        self._is_app_key = is_app_key
        self._sessions = sessions
        self._settings = settings
        self._free = free | ALWAYS_OPEN
        names = (b"127.0.0.1", b"localhost", b"[::1]")
        ends = (b":%d" % port, b"") if port == 80 else (b":%d" % port,)
        self._hosts = frozenset(name + end for name in names for end in ends)
        self._origins = frozenset(b"http://" + host for host in self._hosts)
        ports = "|".join(re.escape(end.decode()) for end in ends)
        self._loopback = re.compile(rf"(?:127(?:\.(?:0|[1-9]\d{{0,2}})){{3}}|localhost)(?:{ports})".encode())

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Let the request through, or answer it with an error.

        It checks at once and returns what is to be awaited: a coroutine of its own would cost with each wait.
        """
        if scope["type"] == "http":
            normalize_path(scope)
            origin = b""
            settings = self._settings()
            if (allowed := settings.allowed_origins) and _is_inference(scope["path"]):
                origin = allowed_origin(scope, allowed)
                if origin:
                    send = with_cors(origin, send)
            try:
                if origin and is_preflight(scope):
                    self._check_host(dict(scope["headers"]), settings)
                    return answer_preflight(scope, send)
                limit = self._check(scope, settings, origin)
            except MeshlightError as error:
                return error_response(error, scope["path"]).send(send)
            if limit:
                return self._limit_body(scope, receive, send, limit)
            return self._app(scope, receive, send)
        if scope["type"] == "lifespan":
            return self._app(scope, receive, send)
        return send({"type": "websocket.close", "code": 1008})

    def admits(self, scope: Scope, settings: Config) -> bool | None:
        """Whether a request of known size that comes from no page shows the key; None if it is not let through."""
        try:
            headers, is_inference, shows_key = self._judge(scope, settings, b"")
            return None if self._check_body(headers, scope["path"], is_inference=is_inference) else shows_key
        except MeshlightError:
            return None

    def _check(self, scope: Scope, settings: Config, shared: bytes) -> int:
        """Raise the error for a refused request; return the limit for a body whose size is not known, else 0."""
        headers, is_inference, shows_key = self._judge(scope, settings, shared)
        if shows_key:
            _confirm_key(scope)
        return self._check_body(headers, scope["path"], is_inference=is_inference)

    def _judge(self, scope: Scope, settings: Config, shared: bytes) -> tuple[WatchedHeaders, bool, bool]:
        """Check all but the body; return the headers, whether it is inference, whether key or session was shown."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _WATCHED:
                if name in headers:
                    raise BadRequest(f"The header {name.decode()} came twice.")
                headers[name] = value
        method, path = scope["method"], scope["path"]
        wants_key = self._check_host(headers, settings)
        if shared:
            wants_key = True
        elif b"origin" in headers or b"sec-fetch-site" in headers:
            self._check_site(headers, method, path)
        if method == "OPTIONS":
            raise MethodNotAllowed(
                "OPTIONS is not answered here.", "Pages of other sites may not use this service."
            )
        if ".." in path and "/../" in path + "/":
            raise BadRequest("The path has a `..` in it.")
        is_inference = _is_inference(path)
        if wants_key and not self._has_key(headers, is_inference=is_inference):
            raise _refused_key(headers)
        requires_key = settings.require_key or not (is_inference or path == "/metrics")
        shows_key = self._check_key(
            headers, method, path, requires_key=requires_key, is_inference=is_inference
        )
        return headers, is_inference, shows_key

    def _check_body(self, headers: WatchedHeaders, path: str, *, is_inference: bool) -> int:
        """Refuse a body that is too large or of the wrong type; return what `_check` does."""
        size = headers.get(b"content-length")
        if size is None and b"transfer-encoding" not in headers:
            return 0
        limit = INFERENCE_BYTES if is_inference or path == PAGE_CHAT else CONTROL_BYTES
        if size is not None:
            length = int(size)
            if length > limit:
                raise _too_large(limit)
            limit = 0
            if not length:
                return 0
        if not is_inference:
            kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
            if kind != (_FORM if path == ENTER else b"application/json"):
                raise UnsupportedMediaType(
                    "The body is not announced as JSON.", "Send `Content-Type: application/json`."
                )
        return limit

    def _check_host(self, headers: WatchedHeaders, settings: Config) -> bool:
        """Refuse every name that is not ours; return whether this one needs the key."""
        host = headers.get(b"host")
        if host is None:
            raise BadRequest("The request names no Host.")
        if host in self._hosts or self._is_loopback(host):
            return False
        if not is_allowed_host(host, settings.allowed_hosts):
            raise OriginForbidden(
                f"The Host {host[:100].decode('latin-1')!r} is not an address of this service.",
                "Use http://127.0.0.1 with its port, or name it in `allowed_hosts` in the configuration.",
            )
        return True

    def _check_site(self, headers: WatchedHeaders, method: str, path: str) -> None:
        """Refuse what a page of another origin sends, directly or by a link or form."""
        origin = headers.get(b"origin")
        # A page from a file has no origin. Its code is the proof, as the key is elsewhere.
        is_file = origin == b"null" and path == ENTER and method == "POST"
        if origin is not None and origin not in self._origins and not is_file:
            raise OriginForbidden(
                "A page of another origin may not use this service.",
                "Use a program, with the key, or name it in `allowed_origins` in the configuration.",
            )
        if headers.get(b"sec-fetch-site", b"none") not in _OWN_SITE and not (
            # A link that a user follows: it only opens the page.
            # Or the file that a browser was given to open, which posts its code.
            ((path == "/" and method == "GET") or (path == ENTER and method == "POST"))
            and headers.get(b"sec-fetch-mode") == b"navigate"
            and headers.get(b"sec-fetch-dest") == b"document"
        ):
            raise OriginForbidden(
                "A page of another site may not use this service.", "Use a program, with the key."
            )

    def _is_loopback(self, host: bytes) -> bool:
        """Whether a Host is one of the rarer spellings of this machine: 127.0.0.2, LOCALHOST."""
        lower = host.lower()
        if self._loopback.fullmatch(lower) is None:
            return False
        return lower[:3] != b"127" or all(int(part) < 256 for part in lower.partition(b":")[0].split(b"."))

    def _check_key(
        self, headers: WatchedHeaders, method: str, path: str, *, requires_key: bool, is_inference: bool
    ) -> bool:
        """Raise Unauthorized if the key is needed and missing; return whether the key or a session was shown."""
        if path in self._free:
            if method not in _READ:
                raise MethodNotAllowed(f"{method} is not answered at {path}.", "Use GET.")
            return False
        if not requires_key:
            return False
        if self._has_key(headers, is_inference=is_inference):
            return True
        if method == "POST" and path in _BY_BODY:
            return False
        if method == "POST" and path in _ASKS:
            _require_page(headers)
            return False
        cookie = headers.get(b"cookie")
        token = None if is_inference or cookie is None else read_cookie(cookie)
        if token is None:
            raise _refused_key(headers)
        if not self._sessions.accepts(token):
            raise Unauthorized(
                "The page's session has ended.", "Sign in with the local key: `meshlight key` prints it."
            )
        if method not in _READ:
            _require_page(headers)
        return True

    def _has_key(self, headers: WatchedHeaders, *, is_inference: bool) -> bool:
        bearer = headers.get(b"authorization")
        if bearer is not None and bearer[:7].lower() == b"bearer ":
            key = bearer[7:].strip()
            if self._is_key(key) or (is_inference and self._is_app_key(key)):
                return True
        for name in (b"x-api-key", b"x-goog-api-key"):
            key = headers.get(name, b"")
            if key and (self._is_key(key) or (is_inference and self._is_app_key(key))):
                return True
        return False

    async def _limit_body(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        """Let a request of unknown size through, and refuse it once it exceeds the limit."""
        size = 0
        is_started = False

        async def limited_receive() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        async def noting_send(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._app(scope, limited_receive, noting_send)
        except PayloadTooLarge as error:
            if is_started:
                raise
            await error_response(error, scope["path"]).send(send)


def _require_page(headers: WatchedHeaders) -> None:
    """Refuse a change that does not say that it comes from the page; `_check_site` has looked at the origin."""
    if b"origin" not in headers and headers.get(b"sec-fetch-site") != b"same-origin":
        # A browser says where an unsafe request comes from; clients that do not say it have to use the key.
        raise OriginForbidden("A change by session must come from the page itself.", "Use the key instead.")


def _is_inference(path: str) -> bool:
    return (path.startswith(_INFERENCE) or path in _INFERENCE_ROOTS) and path not in _OF_FILES


def _refused_key(headers: WatchedHeaders) -> Unauthorized:
    given = any(name in headers for name in (b"authorization", b"x-api-key", b"x-goog-api-key"))
    return Unauthorized("The local key is wrong." if given else "The local key is missing.", _KEY_HINT)


def _confirm_key(scope: Scope) -> None:
    connection = scope.get("extensions", _NONE).get(CONNECTION)
    if connection is not None and not connection.has_key:
        connection.show_key()


def _too_large(limit: int) -> PayloadTooLarge:
    size = f"{limit // (1024 * 1024)} MB" if limit >= 1024 * 1024 else f"{limit // 1024} kB"
    return PayloadTooLarge(f"The request body is over {size}.", "Send less, or split the request.")
