"""Whom the user lets in besides the programs of this machine: other names of this service, other sites' pages.

Both only ever with the local key: a name or an origin proves nothing of who asks.
"""

import re
from collections.abc import Collection

_PORT = r"(?::[1-9][0-9]{0,4})?"
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:(?:\*\.)?{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\]){_PORT}")
_ORIGIN = re.compile(rf"https?://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\]){_PORT}")
_EXTENSION = re.compile(r"[a-z]{2,12}-extension://(?:[a-zA-Z0-9-]{1,80}|\*)")
_APP = re.compile(r"(?:app|tauri|capacitor|ionic|vscode-webview|file)://[a-zA-Z0-9.-]{0,80}")
_CONTAINER = re.compile(r"(?:host|gateway)\.[a-z0-9-]{1,40}\.internal")
"""How containers call the machine that they run on: host.docker.internal, host.containers.internal, …"""
_LONGEST = 300


def host_fault(host: str) -> str | None:
    """Say what is wrong with a name of this service that the user allows; None when nothing is."""
    if "://" in host or "/" in host:
        return "is a URL; write the name alone, as mesh.example"
    if host in {"*", "*.*"}:
        return "would let in every name; write each one, or *.example for those under it"
    if len(host) > _LONGEST or not _HOST.fullmatch(host.lower()):
        return "is not the name of a host, such as mesh.example, *.example or mesh.example:8443"
    return None


def origin_fault(origin: str) -> str | None:
    """Say what is wrong with an origin that the user allows; None when nothing is."""
    if origin == "*":
        return "would let in every site's pages; write each origin, as https://app.example"
    if origin == "null":
        return "is the origin of every local file and sandbox; serve the page from a server, and write that"
    known = (_ORIGIN, _EXTENSION, _APP)
    if len(origin) > _LONGEST or not any(shape.fullmatch(origin) for shape in known):
        return (
            "is not an origin: scheme, host and port without a path, such as https://app.example, "
            "http://localhost:3000 or chrome-extension://ID"
        )
    return None


def is_allowed_host(host: bytes, allowed: Collection[str]) -> bool:
    """Whether a request with this `Host`, which is not this machine's own, is answered to who has the key."""
    named = host.decode("latin-1").lower()
    if len(named) > _LONGEST or not _HOST.fullmatch(named):
        return False
    name = re.sub(r":[0-9]+$", "", named)
    if _CONTAINER.fullmatch(name):
        return True
    for each in allowed:
        one = each.lower()
        if one in {name, named}:
            return True
        if one.startswith("*.") and (name.endswith(one[1:]) or named.endswith(one[1:])):
            return True
    return False


def is_allowed_origin(origin: bytes, allowed: Collection[str]) -> bool:
    """Whether the pages of an origin may ask, with the key."""
    named = origin.decode("latin-1")
    if named in allowed:
        return True
    scheme, gap, rest = named.partition("://")
    return bool(gap and rest and scheme.endswith("-extension")) and f"{scheme}://*" in allowed
