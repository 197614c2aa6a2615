"""The address of a backend: its URL, parsed once, and the IP addresses that are never connected to."""

import re
import sys
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network, ip_address
from posixpath import normpath
from typing import Literal, NoReturn
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from meshlight.domain.backend import Ring
from meshlight.domain.errors import BadAddress
from meshlight.domain.text import sanitize

Scheme = Literal["http", "https"]
IPAddress = IPv4Address | IPv6Address

URL_MAX = 2048
SOCKET_MAX = 100
"""Bytes in the path of a Unix socket: `sun_path` holds 108 on Linux and 104 on macOS, the last one a NUL."""
UNIX = "unix://"
_SCHEMES: dict[str, Scheme] = {"http": "http", "https": "https"}
_DEFAULT_PORTS: dict[Scheme, int] = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_PATH = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@%-]*")
_WITHOUT_V1 = re.compile(r"/(v\d[^/]*|openai|openai/deployments/[^/]+|inference|compat)$")
"""A base with this ending is not followed by `/v1`: `/chat/completions` comes next.

It has its version already (`/api/paas/v4`), or its provider has none there: `/openai/deployments/NAME` (Azure),
`/inference` (GitHub Models, Azure AI), `/compat` (Cloudflare's AI Gateway)."""
_ENDPOINT = "/chat/completions"
"""A URL with this ending is that of the chat endpoint itself: what is before it is the base, without a `/v1`."""
_QUERY = re.compile(r"[A-Za-z0-9._~-]+=[A-Za-z0-9._~:%,/+-]*(&[A-Za-z0-9._~-]+=[A-Za-z0-9._~:%,/+-]*)*")
_SECRET_PARAMETER = re.compile(
    r"(^|&|[_.-])(key|token|secret|password|sig|signature|code|auth)=", re.IGNORECASE
)
_V1BETA = re.compile(r"/v1beta(/openai)?$")
"""A base with this ending has the version of Gemini's own paths already."""
_METADATA = frozenset({"fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"})
"""Cloud metadata services outside the link-local range: AWS (v6), Alibaba, Azure, Oracle."""
_NAT64 = IPv6Network("64:ff9b::/96")
_SHARED = re.compile(r"100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.")
"""100.64.0.0/10: carrier-grade NAT (RFC 6598), and the addresses of Tailscale's nodes."""
_LAN_SUFFIXES = (".local", ".lan", ".home.arpa")


class Address(Struct, frozen=True):
    """The parts of a backend's URL, always valid (see `parse_address`)."""

    scheme: Scheme
    host: str
    """A lower-case ASCII name or an IP literal, IPv6 without brackets."""
    port: int
    base: str = ""
    """The prefix of every request path, without a trailing slash and without a trailing `/v1`."""
    query: str = ""
    """What follows the `?` of every request, such as `api-version=2024-10-21`; empty for nothing."""
    is_exact: bool = False
    """Whether the URL named the chat endpoint itself, so that no `/v1` follows the base, whatever its ending."""
    socket: str = ""
    """The path of the Unix socket that replaces host and port; empty for TCP."""

    @property
    def authority(self) -> str:
        """`host:port` for the Host header, without the default port."""
        if self.socket:
            return self.host
        return self._bracketed if self.port == _DEFAULT_PORTS[self.scheme] else self.host_port

    @property
    def host_port(self) -> str:
        """`host:port` for people, always with the port; for a socket, its path."""
        return self.socket or f"{self._bracketed}:{self.port}"

    @property
    def url(self) -> str:
        """The URL from which `parse_address` returns this address again."""
        if self.socket:
            return UNIX + quote(self.socket)
        end = _ENDPOINT if self.is_exact else ""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{self.authority}{self.base}{end}{query}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: a secret is given for one origin, whatever the path."""
        return UNIX + quote(self.socket) if self.socket else f"{self.scheme}://{self.host_port}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def has_v1(self) -> bool:
        """Whether `/v1` follows the base."""
        return not self.is_exact and not _is_without_v1(self.base)

    def target(self, path: str) -> str:
        """Return the request target of an API path such as `/v1/chat/completions`, with the query of the URL.

        A base that is not followed by `/v1` (`has_v1`) takes its place, and a `/v1beta` is never there twice.
        """
        base = self.base
        if path.startswith("/v1/") and not self.has_v1:
            path = path[len("/v1") :]
        elif path.startswith("/v1beta/"):
            base = _V1BETA.sub("", base)
        return base + (_with_query(path, self.query) if self.query else path)


@lru_cache(4096)
def _is_without_v1(base: str) -> bool:
    return _WITHOUT_V1.search(base) is not None


@lru_cache(4096)
def parse_address(url: str) -> Address:
    """Parse a backend's URL; raises BadAddress with the reason when it can't be one."""
    if len(url) > URL_MAX:
        _refuse(f"{url[:40]}…", f"is longer than {URL_MAX} characters")
    if any(letter <= " " or letter == "\x7f" for letter in url):
        _refuse(
            repr(url),
            "holds spaces or control characters",
            "Give one address, such as http://192.168.1.20:8000.",
        )
    if "#" in url:
        _refuse(url, "holds a fragment", "Leave out everything from # on.")
    url, has_query, query = url.partition("?")
    if has_query:
        _check_query(url, query)
    if url[: len(UNIX)].lower() == UNIX:
        if has_query:
            _refuse(url, "is a socket and holds a query", "Leave out everything from ? on.")
        return Address("http", "localhost", 0, socket=socket_path(url))
    scheme = _scheme(url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        _refuse(url, f"can't be read ({error})")
    if "@" in parts.netloc:
        # The URL is not repeated here: the part before the @ is a secret.
        _refuse("A URL", "holds a user name or password", "Give the key separately; it goes to the keyring.")
    if port == 0 or parts.netloc.endswith(":"):
        _refuse(url, "has no usable port")
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path):
        _refuse(url, "has letters in its path that must be %-escaped")
    base = path.removesuffix(_ENDPOINT).rstrip("/")
    is_exact = path.endswith(_ENDPOINT)
    if not is_exact or base.endswith("/v1"):
        base, is_exact = _base(base), False
    is_exact = is_exact and not _WITHOUT_V1.search(base)
    return Address(scheme, _host(url, host), port or _DEFAULT_PORTS[scheme], base, query, is_exact)


def socket_path(url: str, platform: str = sys.platform) -> str:
    """Return the path of the socket that a `unix:///…` URL names; `platform` is this machine's.

    Raises BadAddress.
    """
    if platform == "win32":
        _refuse(
            url, "is a Unix socket, which Windows does not offer here", "Use its http:// address instead."
        )
    path = unquote(url[len(UNIX) :])
    if not path.startswith("/") or path.startswith("//"):
        _refuse(url, "names no absolute path", "Write three slashes: unix:///run/router.sock.")
    if not path.isprintable() or normpath(path) != path or path == "/":
        _refuse(url, "is no plain path of a socket", "Leave out . and .., doubled and trailing slashes.")
    if len(path.encode()) > SOCKET_MAX:
        _refuse(url, f"has a path of more than {SOCKET_MAX} bytes, which no socket can have")
    return path


@lru_cache(4096)
def forbid(ip: str) -> str | None:
    """Return why an IP address must not be connected to; None when it may be.

    Link-local addresses include the metadata services that give out a cloud machine's credentials; multicast and
    unspecified addresses belong to no single machine. An IPv6 address that contains an IPv4 address (mapped, 6to4,
    NAT64) is judged by that one.
    """
    try:
        address: IPAddress = _unwrapped(ip_address(ip))
    except ValueError:
        return "not an IP address"
    if str(address) in _METADATA:
        return "the metadata service of a cloud"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return "the unspecified address"
    return "the broadcast address" if str(address) == "255.255.255.255" else None


@lru_cache(4096)
def plain_ip(ip: str) -> str:
    """Return the canonical form of an IP address: compressed, and IPv4 where IPv6 only wraps it."""
    return str(_unwrapped(ip_address(ip)))


def ring_of(address: Address) -> Ring:
    """Return how far a prompt travels, by the host alone; only the user can say `company`."""
    if address.socket:
        return "machine"
    host = address.host.rstrip(".")
    try:
        ip = _unwrapped(ip_address(host))
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return "machine"
        return "lan" if "." not in host or host.endswith(_LAN_SUFFIXES) else "cloud"
    if ip.is_loopback:
        return "machine"
    return "lan" if ip.is_private or ip.is_link_local or _SHARED.match(str(ip)) else "cloud"


def _unwrapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address inside an IPv6 one (mapped, 6to4, NAT64), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address.ipv4_mapped or address.sixtofour or address


def _check_query(url: str, query: str) -> None:
    """Refuse a query that can't follow every request, or that holds a secret (which is then not repeated)."""
    if _SECRET_PARAMETER.search(query):
        _refuse(f"{url}?…", "holds a key in its query", "Give the key separately; it goes to the keyring.")
    if not _QUERY.fullmatch(query):
        _refuse(
            f"{url}?…",
            "holds a query that is not NAME=VALUE",
            "Leave out the ?, or write ?api-version=2024-10-21.",
        )


def _with_query(path: str, query: str) -> str:
    """Add the query of the base to a path; a parameter that the path has already is not repeated."""
    path, _, own = path.partition("?")
    if not own:
        return f"{path}?{query}"
    fixed = {pair.partition("=")[0] for pair in query.split("&")}
    others = [pair for pair in own.split("&") if pair.partition("=")[0] not in fixed]
    return f"{path}?{'&'.join((*others, query))}"


def _scheme(url: str) -> Scheme:
    name, separator, _ = url.partition("://")
    scheme = _SCHEMES.get(name.lower()) if separator else None
    if scheme is None:
        hint = "No other protocol is supported." if separator else f"Write http://{url}, perhaps?"
        if url.startswith("unix:/"):
            hint = f"Write {UNIX}{url[len('unix:') :]}."
        _refuse(url, "does not begin with http:// or https://", hint)
    return scheme


def _host(url: str, host: str) -> str:
    """Return the host in the form that is resolved and sent: lower-case ASCII."""
    if not host:
        _refuse(url, "names no host")
    if "[" in url:
        try:
            return str(IPv6Address("" if "%" in host else host))  # a zone only goes with link-local addresses
        except AddressValueError:
            _refuse(url, "holds no IPv6 address between its brackets")
    try:
        name = host.encode("idna").decode("ascii").lower() if not host.isascii() else host
    except UnicodeError:
        name = ""
    if len(name) > 253 or not _HOST.fullmatch(name):
        _refuse(url, f"has no host name that could exist: {host!r}")
    last = name.rstrip(".").rpartition(".")[2]
    if last.isdigit() or re.fullmatch("0x[0-9a-f]*", last):
        # 127.1, 0x7f.0.0.1 and 2130706433 are addresses to the resolver, though they look like names.
        try:
            return str(IPv4Address(name))
        except AddressValueError:
            _refuse(url, f"has a number for a host that is not an IPv4 address: {host!r}")
    return name


def _base(path: str) -> str:
    """Strip the part that every request path has: `http://h/v1/` and `http://h` are the same backend."""
    path = path.rstrip("/")
    stripped = path.removesuffix("/v1").rstrip("/")
    # Without its /v1, a base such as /openai/v1 would look like one that has its version already.
    return path if stripped != path and _WITHOUT_V1.search(stripped) else stripped


def _refuse(url: str, why: str, hint: str = "") -> NoReturn:
    raise BadAddress(f"{sanitize(url)} {why}.", hint, param="url")
