"""Which id a backend of the file gets, and when two URLs are one backend."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from meshlight.domain.backend import ACCOUNT_KINDS, Kind

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONGEST_SLUG = 48
_LONGEST_URL = 2048
_DEFAULT_PORTS = {"http": 80, "https": 443}
_UNIX = "unix"


class Naming(Struct, frozen=True):
    """What an entry of the file says about its own names; each but the URL may be missing."""

    url: str
    id: str | None = None
    name: str | None = None


def slug(words: str) -> str:
    """Make an id out of words: small letters, digits and dashes; empty if none can be made of them."""
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode("ascii").lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LONGEST_SLUG].strip("-")


def name_backends(namings: Sequence[Naming]) -> list[tuple[str, str]]:
    """Return the (id, name) of each entry, in order.

    An id that is written down is kept. One that is not is the slug of the name, or else of the host; where
    that is taken already it gets `-2`, `-3`, … in the order of the file. Names default to the id, or else to
    the host.
    """
    taken = {naming.id for naming in namings if naming.id is not None}
    named: list[tuple[str, str]] = []
    for naming in namings:
        host = host_of(naming.url)
        if naming.id is not None:
            named.append((naming.id, naming.name or naming.id))
            continue
        base = slug(naming.name or "") or slug(host) or "backend"
        given, count = base, 1
        while given in taken:
            count += 1
            given = f"{base}-{count}"
        taken.add(given)
        named.append((given, naming.name or host))
    return named


def host_of(url: str) -> str:
    """Return the host of a URL that `url_fault` finds nothing wrong with; of a socket, its name without ending."""
    parts = urlsplit(url)
    if parts.scheme == _UNIX:
        return PurePosixPath(unquote(parts.path)).stem
    return parts.hostname or ""


def url_identity(url: str) -> tuple[str, str, int, str]:
    """Return what two spellings of one backend's URL have in common: `HTTP://Box/v1/` is `http://box:80`."""
    parts = urlsplit(url)
    if parts.scheme == _UNIX:
        return _UNIX, "", 0, unquote(parts.path)
    path = parts.path.rstrip("/").removesuffix("/v1").rstrip("/")
    path += f"?{parts.query}" if parts.query else ""
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0), path


def account_identity(kind: Kind, url: str, access_key: str) -> tuple[object, ...] | None:
    """Return what no two backends may share; None for an account that only its secret tells from another."""
    if kind not in ACCOUNT_KINDS:
        return url_identity(url)
    return (*url_identity(url), access_key) if access_key else None


def url_fault(url: str) -> str | None:
    """Say what keeps `url` from being a backend's address, or None. A password in it is never repeated."""
    if len(url) > _LONGEST_URL:
        return f"is longer than {_LONGEST_URL} characters"
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
