"""Which id a backend of the file gets, and when two URLs mean the same backend."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from meshlight.domain.backend import ACCOUNT_KINDS, Kind
from meshlight.domain.local_models import LOCAL_ID

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SLUG_MAX = 48
_URL_MAX = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNIX = "unix"


class EntryNames(Struct, frozen=True):
    """The values of an entry that its id and name follow from; only the URL is required."""

    url: str
    id: str | None = None
    name: str | None = None


def slug(text: str) -> str:
    """Return text as an id of small letters, digits and dashes; empty if nothing is left."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_MAX].strip("-")


def name_backends(entries: Sequence[EntryNames]) -> list[tuple[str, str]]:
    """Return the (id, name) of each entry, in order.

    An id in the file is kept. A missing one is the slug of the name, or else of the host; where that is taken
    it gets `-2`, `-3`, … in the order of the file. Names default to the id, or else to the host.
    """
    taken = {LOCAL_ID, *(entry.id for entry in entries if entry.id is not None)}
    named: list[tuple[str, str]] = []
    for entry in entries:
        host = host_of(entry.url)
        if entry.id is not None:
            named.append((entry.id, entry.name or entry.id))
            continue
        base = slug(entry.name or "") or slug(host) or "backend"
        new_id, count = base, 1
        while new_id in taken:
            count += 1
            new_id = f"{base}-{count}"
        taken.add(new_id)
        named.append((new_id, entry.name or host))
    return named


def host_of(url: str) -> str:
    """Return the host of a URL that `url_fault` accepts; of a socket, its file name without the ending."""
    parts = urlsplit(url)
    if parts.scheme == _UNIX:
        return PurePosixPath(unquote(parts.path)).stem
    return parts.hostname or ""


def url_identity(url: str) -> tuple[str, str, int, str]:
    """Return the same key for each spelling of a backend's URL: `HTTP://Box/v1/` and `http://box:80`."""
    parts = urlsplit(url)
    if parts.scheme == _UNIX:
        return _UNIX, "", 0, unquote(parts.path)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    path += f"?{parts.query}" if parts.query else ""
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0), path


def account_identity(kind: Kind, url: str, access_key: str) -> tuple[object, ...] | None:
    """Return a key that no two backends may share; None for an account that only its secret identifies."""
    if kind not in ACCOUNT_KINDS:
        return url_identity(url)
    return (*url_identity(url), access_key) if access_key else None


def url_fault(url: str) -> str | None:
    """Return why `url` can't be a backend's address, or None. A password in it is never repeated."""
    if len(url) > _URL_MAX:
        return f"is longer than {_URL_MAX} characters"
    if not url.isprintable() or " " in url:
        return "has a space or a control character in it"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL (host or port can't be read)"
    is_socket = parts.scheme == _UNIX and not parts.netloc and parts.path.startswith("/")
    if not is_socket and parts.scheme not in _DEFAULT_PORTS:
        return "must begin with http://, https:// or unix:///"
    if "@" in parts.netloc:
        return "has a user name or a password in it; secrets don't belong in this file"
    if not is_socket and (not host or port == 0):
        return "names no host" if not host else "has the port 0"
    if parts.fragment or url.endswith(("?", "#")) or (is_socket and parts.query):
        return "must end before the ? or #"
    return None
