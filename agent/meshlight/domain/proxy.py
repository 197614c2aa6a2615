"""Which HTTP proxy, if any, a backend is reached through.

The setting of a backend is `env` (the variables HTTPS_PROXY and NO_PROXY of the service), `none`, or the URL of a
proxy. The variables are read as curl reads them (curl.se/docs/manpage.html, "Environment"), but for loopback
addresses, which are never asked through a proxy of the environment: there they would mean the proxy's own machine.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

PROXY_MAX = 2048
DEFAULT_PORT = 1080
"""curl's port for a proxy whose URL names none."""
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)


class Proxy(Struct, frozen=True):
    """An HTTP proxy that opens tunnels (`CONNECT`, RFC 9110, section 9.3.6)."""

    host: str
    """A name or an IP literal, IPv6 without brackets."""
    port: int
    credentials: str = ""
    """`user:password`; empty for none."""
    variable: str = ""
    """The variable of the environment that names it; empty when it is set for the backend."""

    @property
    def host_port(self) -> str:
        """`host:port`, for people; the credentials are never part of it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.host_port!r})"


class UnusableProxy(Struct, frozen=True):
    """What is set as the proxy can't be used."""

    fault: str
    """The end of a sentence that begins with `what`."""
    variable: str = ""
    """The variable of the environment that names it; empty when it is set for the backend."""

    @property
    def what(self) -> str:
        """What is wrong, as the beginning of a sentence."""
        return f"The variable {self.variable}" if self.variable else "The proxy of this backend"


def proxy_fault(setting: str) -> str | None:
    """Return what is wrong with a backend's `proxy` setting, as the end of a sentence; None when nothing is.

    A password in it is not repeated, and refused: the configuration file holds no secrets.
    """
    if setting in {"", "env", "none"}:
        return None
    if "@" in setting:
        return (
            "holds a user name or password; put the URL with them into the variable HTTPS_PROXY of the service, "
            'and set "env" here'
        )
    found = read_proxy(setting) if "://" in setting else 'is not "env", "none" or the URL of a proxy'
    return found if isinstance(found, str) else None


def read_proxy(url: str) -> Proxy | str:
    """Read a proxy's URL; returns what is wrong with it, as the end of a sentence, when it can't be used.

    Without a scheme it is `http://`, as with curl.
    """
    scheme, found, _ = url.partition("://")
    if found and scheme.lower() != "http":
        return "is not the URL of an HTTP proxy: only http://HOST:PORT is supported, not SOCKS or https://"
    unreadable = "is not the URL of a proxy, such as http://proxy.example:3128"
    if len(url) > PROXY_MAX or not url.isprintable() or " " in url:
        return unreadable
    try:
        parts = urlsplit(url if found else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return unreadable
    if not _is_host(host) or port == 0 or parts.path not in {"", "/"} or parts.query or parts.fragment:
        return unreadable
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    credentials = f"{unquote(user)}:{unquote(password)}" if user or has_password else ""
    return Proxy(host, port or DEFAULT_PORT, credentials)


def choose_proxy(
    setting: str, scheme: str, host: str, environment: Mapping[str, str]
) -> Proxy | UnusableProxy | None:
    """Return the proxy for a backend at `scheme://host`; None when it is reached directly."""
    if setting in {"", "none"}:
        return None
    if setting != "env":
        found = read_proxy(setting)
        return found if isinstance(found, Proxy) else UnusableProxy(found)
    if _is_loopback(host):
        return None
    # A program that serves CGI has the header `Proxy` of its clients in HTTP_PROXY, so curl reads it in small
    # letters only.
    names = ("http_proxy",) if scheme == "http" else ("https_proxy", "HTTPS_PROXY")
    variable = next((name for name in (*names, "all_proxy", "ALL_PROXY") if environment.get(name)), None)
    if variable is None:
        return None
    exceptions = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if is_excepted(host, exceptions):
        return None
    found = read_proxy(environment[variable].strip())
    return replace(found, variable=variable) if isinstance(found, Proxy) else UnusableProxy(found, variable)


def is_excepted(host: str, no_proxy: str) -> bool:
    """Whether NO_PROXY names this host.

    It holds names and IP addresses, separated by commas or blanks. A name stands for itself and all names below it,
    a leading dot makes no difference; addresses may be given as networks (`10.0.0.0/8`). `*` alone stands for every
    host.
    """
    if no_proxy.strip() == "*":
        return True
    name = host.rstrip(".").lower()
    try:
        address = ip_address(name)
    except ValueError:
        address = None
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        pattern = entry.strip("[]") if address is not None else entry.removeprefix(".").rstrip(".")
        if not pattern:
            continue
        if address is None:
            if name == pattern or name.endswith(f".{pattern}"):
                return True
            continue
        try:
            if address in ip_network(pattern.replace("]", ""), strict=False):
                return True
        except ValueError:
            continue
    return False


def _is_host(host: str) -> bool:
    if ":" not in host:
        return len(host) <= 253 and _HOST.fullmatch(host) is not None
    try:
        return ip_address(host).version == 6
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        name = host.rstrip(".").lower()
        return name == "localhost" or name.endswith(".localhost")
