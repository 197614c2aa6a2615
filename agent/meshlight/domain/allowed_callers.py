"""Which other host names and web origins the user allows, besides the programs of this machine.

Requests by either still need the local key: a host name or an origin does not authenticate a client.
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
"""The names of the host inside containers: host.docker.internal, host.containers.internal, …"""
_LENGTH_MAX = 300


def host_fault(host: str) -> str | None:
    """Return what is wrong with a host name that the user allows, as the end of a sentence; None when it is valid."""
    if "://" in host or "/" in host:
        return "is a URL; write the name alone, as mesh.example"
    if host in {"*", "*.*"}:
        return "would allow every name; write each one, or *.example for those under it"
    if len(host) > _LENGTH_MAX or not _HOST.fullmatch(host.lower()):
        return "is not the name of a host, such as mesh.example, *.example or mesh.example:8443"
    return None


def origin_fault(origin: str) -> str | None:
    """Return what is wrong with an origin that the user allows, as the end of a sentence; None when it is valid."""
    if origin == "*":
        return "would allow every site's pages; write each origin, as https://app.example"
    if origin == "null":
        return "is the origin of every local file and sandbox; serve the page from a server, and write that"
    shapes = (_ORIGIN, _EXTENSION, _APP)
    if len(origin) > _LENGTH_MAX or not any(shape.fullmatch(origin) for shape in shapes):
        return (
            "is not an origin: scheme, host and port without a path, such as https://app.example, "
            "http://localhost:3000 or chrome-extension://ID"
        )
    return None


def is_allowed_host(host: bytes, allowed: Collection[str]) -> bool:
    """Whether requests with this foreign `Host` are allowed for clients with the key."""
    host_port = host.decode("latin-1").lower()
    if len(host_port) > _LENGTH_MAX or not _HOST.fullmatch(host_port):
        return False
    name = re.sub(r":[0-9]+$", "", host_port)
    if _CONTAINER.fullmatch(name):
        return True
    for entry in allowed:
        pattern = entry.lower()
        if pattern in {name, host_port}:
            return True
        if pattern.startswith("*.") and (name.endswith(pattern[1:]) or host_port.endswith(pattern[1:])):
            return True
    return False


def is_allowed_origin(origin: bytes, allowed: Collection[str]) -> bool:
    """Whether the pages of an origin may send requests with the key."""
    text = origin.decode("latin-1")
    if text in allowed:
        return True
    scheme, separator, rest = text.partition("://")
    return bool(separator and rest and scheme.endswith("-extension")) and f"{scheme}://*" in allowed
