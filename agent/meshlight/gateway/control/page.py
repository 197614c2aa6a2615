"""The page: serves the files of `web/`, and exchanges a one-time code for the session's cookie."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

from msgspec import Struct

from meshlight.domain.config import HOST
from meshlight.domain.errors import BadRequest, MethodNotAllowed, NotFound, ServiceError
from meshlight.gateway.access.guard import ENTER
from meshlight.gateway.access.sessions import Sessions, set_cookies
from meshlight.gateway.errors import error_response
from meshlight.gateway.server.asgi import Receive, Scope, Send

SIGN_IN_REFUSED = "/?signin=refused"
"""The address for a used, old or wrong code: the page says so and asks for the key."""

FORM_BYTES = 1024
"""Bytes of a form with a code, which is far smaller."""

_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".ico": b"image/x-icon",
    ".js": b"text/javascript; charset=utf-8",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
    ".webmanifest": b"application/manifest+json",
    ".woff2": b"font/woff2",
}
_CONTENT_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SECURITY_HEADERS = (
    (b"content-security-policy", _CONTENT_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class StaticFile(Struct, frozen=True):
    """A file as it was last read."""

    stamp: tuple[int, int]
    etag: bytes
    body: bytes


class Page:
    """An ASGI application for the files of one folder; their names are fixed at the start, other paths are not found.

    Files are read again when they change, so that an edit shows when the page is reloaded. `used` is called with each
    code that a browser sends.
    """

    def __init__(
        self, folder: Path, sessions: Sessions, used: Callable[[str], None] = lambda _: None
    ) -> None:
        self._sessions = sessions
        self._used = used
        self._files = _files(folder)
        self._cache: dict[str, StaticFile] = {}
        self.paths = frozenset(self._files)
        """The served paths; they need no key."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path, method = scope["path"], scope["method"]
        if path == ENTER and method == "POST":
            await self._enter(receive, send)
            return
        if method not in {"GET", "HEAD"}:
            await error_response(
                MethodNotAllowed(f"{method} is not answered at {path[:200]}.", "Use GET.")
            ).send(send)
            return
        if path == "/" and (address := _canonical_address(scope)):
            await _redirect(address, send)
            return
        if path == "/" and method == "GET" and scope["query_string"]:
            codes = parse_qs(scope["query_string"].decode("latin-1")).get("code")
            if codes:
                await self._sign_in(codes[0], send)
                return
        static_file = self._read_file(path)
        if static_file is None:
            await error_response(NotFound(f"There is no file at {path[:200]}.")).send(send)
            return
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        headers = [(b"etag", static_file.etag), (b"cache-control", b"no-cache"), *_SECURITY_HEADERS]
        if static_file.etag in {tag.strip().removeprefix(b"W/") for tag in known.split(b",")}:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        headers += [
            (b"content-type", _TYPES[self._files[path].suffix]),
            (b"content-length", b"%d" % len(static_file.body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else static_file.body})

    async def _enter(self, receive: Receive, send: Send) -> None:
        """Sign in with a code from a form, which a file posts that a browser has opened."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > FORM_BYTES:
                await error_response(BadRequest("This is not the form that opens the page.")).send(send)
                return
        codes = parse_qs(body.decode("latin-1")).get("code")
        await self._sign_in(codes[0] if codes else "", send)

    async def _sign_in(self, code: str, send: Send) -> None:
        """Redirect to the page without the code, with the cookie if the code was valid."""
        self._used(code)
        token = self._sessions.exchange(code)
        headers = [
            (b"location", SIGN_IN_REFUSED.encode()),
            (b"content-length", b"0"),
            (b"cache-control", b"no-store"),
            *_SECURITY_HEADERS,
        ]
        if token is not None:
            headers[0] = (b"location", b"/")
            headers += [(b"set-cookie", cookie.encode()) for cookie in set_cookies(token)]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body"})

    def _read_file(self, path: str) -> StaticFile | None:
        """Return a file, read again if it changed; None if there is none."""
        file = self._files.get(path)
        if file is None:
            return None
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            static_file = self._cache.get(path)
            if static_file is None or static_file.stamp != stamp:
                body = file.read_bytes()
                etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:24].encode()
                static_file = self._cache[path] = StaticFile(stamp, etag, body)
        except OSError:
            return None
        return static_file


def _canonical_address(scope: Scope) -> str:
    """Return the page's address by IP if it was requested by another name of this machine; else an empty text.

    The session's cookie belongs to the name. `localhost` may mean ::1 to a browser, which would send it to another
    program there after this service has ended.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").lower()
    for name in (b"localhost", b"[::1]"):
        if host == name or host.startswith(name + b":"):
            query = scope["query_string"].decode("latin-1")
            port = host[len(name) :].decode("ascii")
            return f"http://{HOST}{port}/" + (f"?{query}" if query else "")
    return ""


async def _redirect(address: str, send: Send) -> None:
    headers = [
        (b"location", address.encode("latin-1")),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
        *_SECURITY_HEADERS,
    ]
    await send({"type": "http.response.start", "status": 307, "headers": headers})
    await send({"type": "http.response.body"})


def web_folder() -> Path:
    """Return the folder of the page: inside the package when installed, beside it in a checkout.

    Raises `ServiceError` when neither is there.
    """
    package = Path(__file__).resolve().parents[2]
    for folder in (package / "_web", package.parents[1] / "web"):
        if (folder / "index.html").is_file():
            return folder
    raise ServiceError("The files of the page are missing.", "Install Meshlight anew.")


def _files(folder: Path) -> dict[str, Path]:
    """Return the served files by their path in the address, without hidden files and links out of the folder."""
    root = folder.resolve()
    files: dict[str, Path] = {}

    def look(inside: Path, address: str) -> None:
        with os.scandir(inside) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith((".", "_")):
                continue
            file = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                look(file, f"{address}{entry.name}/")
            elif (
                file.suffix in _TYPES
                and entry.is_file()
                and (not entry.is_symlink() or file.resolve().is_relative_to(root))
            ):
                if address == "/" and entry.name == "index.html":
                    files["/"] = file
                elif file.suffix != ".html":
                    files[f"{address}{entry.name}"] = file

    look(root, "/")
    return files
