"""The page: serves the files of `web/`, and swaps the one-time code in its address for the session's cookie."""

import hashlib
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

REFUSED = "/?signin=refused"
"""Where a used, old or wrong code leads: the page says so and asks for the key."""

FORM_BYTES = 1024
"""A form that brings a code is far smaller."""

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
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    b"font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_SAFETY = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class StaticFile(Struct, frozen=True):
    """One file as it was read last."""

    stamp: tuple[int, int]
    etag: bytes
    body: bytes


class Page:
    """An ASGI application for the files of one folder, known by name from the start: no path leads anywhere else.

    Files are read again when they change, so that editing one and reloading the page is all it takes. `used` is
    told of each code that a browser brings.
    """

    def __init__(
        self, folder: Path, sessions: Sessions, used: Callable[[str], None] = lambda _: None
    ) -> None:
        self._sessions = sessions
        self._used = used
        self._files = _files(folder)
        self._sheets: dict[str, StaticFile] = {}
        self.paths = frozenset(self._files)
        """The paths that are answered; they need no key."""

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
        if path == "/" and (elsewhere := _elsewhere(scope)):
            await _lead(elsewhere, send)
            return
        if path == "/" and method == "GET" and scope["query_string"]:
            codes = parse_qs(scope["query_string"].decode("latin-1")).get("code")
            if codes:
                await self._sign_in(codes[0], send)
                return
        sheet = self._sheet(path)
        if sheet is None:
            await error_response(NotFound(f"There is no file at {path[:200]}.")).send(send)
            return
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        headers = [(b"etag", sheet.etag), (b"cache-control", b"no-cache"), *_SAFETY]
        if sheet.etag in {tag.strip().removeprefix(b"W/") for tag in known.split(b",")}:
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body"})
            return
        headers += [
            (b"content-type", _TYPES[self._files[path].suffix]),
            (b"content-length", b"%d" % len(sheet.body)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else sheet.body})

    async def _enter(self, receive: Receive, send: Send) -> None:
        """Take a code that came as a form, from the file that a browser was given to open."""
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
        """Lead on to the page without the code in its address, with the cookie if the code was good."""
        self._used(code)
        token = self._sessions.exchange(code)
        headers = [
            (b"location", REFUSED.encode()),
            (b"content-length", b"0"),
            (b"cache-control", b"no-store"),
            *_SAFETY,
        ]
        if token is not None:
            headers[0] = (b"location", b"/")
            headers += [(b"set-cookie", cookie.encode()) for cookie in set_cookies(token)]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body"})

    def _sheet(self, path: str) -> StaticFile | None:
        """Return a file's content, read again if it changed; None if there is none."""
        file = self._files.get(path)
        if file is None:
            return None
        try:
            status = file.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            sheet = self._sheets.get(path)
            if sheet is None or sheet.stamp != stamp:
                body = file.read_bytes()
                etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:24].encode()
                sheet = self._sheets[path] = StaticFile(stamp, etag, body)
        except OSError:
            return None
        return sheet


def _elsewhere(scope: Scope) -> str:
    """Return where the page is when it was asked for by another name of this machine, else nothing.

    The session's cookie belongs to the name. `localhost` may be ::1 to a browser, and when this service has ended,
    another program there would be sent it.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").lower()
    for name in (b"localhost", b"[::1]"):
        if host == name or host.startswith(name + b":"):
            query = scope["query_string"].decode("latin-1")
            port = host[len(name) :].decode("ascii")
            return f"http://{HOST}{port}/" + (f"?{query}" if query else "")
    return ""


async def _lead(where: str, send: Send) -> None:
    headers = [
        (b"location", where.encode("latin-1")),
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
        *_SAFETY,
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
    """Return what may be served: path in the address → file. Hidden files and links out of the folder may not."""
    root = folder.resolve()
    files: dict[str, Path] = {}
    for file in sorted(root.rglob("*")):
        inside = file.relative_to(root)
        hidden = any(part.startswith((".", "_")) for part in inside.parts)
        if (
            hidden
            or file.suffix not in _TYPES
            or not file.is_file()
            or not file.resolve().is_relative_to(root)
        ):
            continue
        if inside.as_posix() == "index.html":
            files["/"] = file
        elif file.suffix != ".html":
            files[f"/{inside.as_posix()}"] = file
    return files
