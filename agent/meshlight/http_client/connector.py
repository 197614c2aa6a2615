"""Opens a connection to an address: resolves the name, connects, checks the certificate, and explains failures.

Lookups run in threads of their own, so that a dead name server or a missing machine delays no other backend. A
backend may have its own certificate authorities, in a PEM file.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from ipaddress import ip_address
from pathlib import Path
from stat import S_ISREG
from threading import Thread
from time import monotonic

from meshlight.domain.errors import ConnectCause, ConnectError
from meshlight.http_client.address import Address, forbid, plain_ip
from meshlight.http_client.connection import Connection, ConnectionOwner
from meshlight.http_client.fair_timeout import fair_timeout

Lookup = Callable[[str], Sequence[str]]
DNS_CACHE_S = 30.0


def system_lookup(host: str) -> list[str]:
    """Resolve a name by the system, which may take many seconds; the best address comes first."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Resolves names, each only once at a time, and caches the result for half a minute.

    The loop's own `getaddrinfo` shares a few threads among all callers (uvloop: two), and looking up the `.local`
    name of a sleeping machine occupies one for five seconds. So each lookup has a short-lived daemon thread of its
    own: no name waits for another, and none delays the end of the program.
    """

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] = monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._cache: dict[str, tuple[tuple[str, ...], float]] = {}
        """The addresses of a name, and since when they are known."""
        self._pending: dict[str, asyncio.Future[tuple[str, ...] | Exception]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a name, best first.

        Raises OSError (mostly `socket.gaierror`) or UnicodeError.
        """
        cached = self._cache.get(host)
        if cached is not None and self._clock() - cached[1] < DNS_CACHE_S:
            return cached[0]
        pending = self._pending.get(host)
        if pending is None:
            pending = self._start(host)
        # Shielded: a caller that stops waiting does not cancel the lookup for the others.
        found = await asyncio.shield(pending)
        if isinstance(found, Exception):
            raise found
        return found

    def forget(self, host: str) -> None:
        """Remove a name from the cache, because nothing answered at its addresses."""
        self._cache.pop(host, None)

    def _start(self, host: str) -> asyncio.Future[tuple[str, ...] | Exception]:
        loop = asyncio.get_running_loop()
        pending = self._pending[host] = loop.create_future()

        def settle(found: tuple[str, ...] | Exception) -> None:
            del self._pending[host]
            if isinstance(found, tuple):
                self._cache[host] = found, self._clock()
            pending.set_result(found)

        def work() -> None:
            found: tuple[str, ...] | Exception
            try:
                found = tuple(self._lookup(host))
            except (OSError, UnicodeError) as error:
                found = error
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        Thread(target=work, name=f"resolve {host}", daemon=True).start()
        return pending


_INFORMATION: dict[ConnectCause, int] = {
    "forbidden": 0,
    "name": 0,
    "unreachable": 1,
    "timeout": 2,
    "refused": 2,
    "tls": 3,
    "proxy": 3,
}
"""How much a cause says: a refusal proves that the machine exists, a failed handshake that a server does."""

_CERTIFICATE_PROBLEMS = {
    9: "its certificate is not valid yet (is a clock wrong?)",
    10: "its certificate has expired (or this machine's clock is wrong)",
    18: "its certificate is self-signed",
    19: "its certificate is signed by an authority that this machine does not know (self-signed)",
    20: "its certificate is signed by an authority that this machine does not know",
    21: "its certificate is signed by an authority that this machine does not know",
    23: "its certificate was revoked",
    62: "its certificate is for another host name",
    64: "its certificate is for another IP address",
}
"""OpenSSL's X509_V_ERR_* numbers (x509_vfy.h), as the end of a sentence."""


@cache
def tls_context() -> ssl.SSLContext:
    """Return the shared context that verifies servers by the system's authorities; created on first use."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connector:
    """Connects to one address directly, and never to an address that `forbid` or `own` excludes.

    `own` are the (ip, port) pairs of our own listeners: a gateway that is its own backend would call itself for
    ever. `tls` replaces the system's authorities.
    """

    def __init__(
        self,
        address: Address,
        owner: ConnectionOwner,
        *,
        own: Collection[tuple[str, int]],
        resolver: Resolver,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self.address = address
        self._host_port = address.host_port
        self._owner = owner
        self._own = own
        self._resolver = resolver
        self._tls = tls
        is_clear = address.scheme == "http" and not address.socket
        self._clear_ip = _literal(address.host) if is_clear else None

    @property
    def clear_ip(self) -> str | None:
        """The one IP address that it connects to, in clear; None where there is more to do, or it must not."""
        ip = self._clear_ip
        return ip if ip is not None and self._why_not(ip) is None else None

    def new_connection(self, loop: asyncio.AbstractEventLoop) -> Connection:
        """Return a connection for a transport to its address."""
        return Connection(self._owner, self._host_port, loop)

    async def connect(self, timeout_s: float) -> Connection:
        """Return a connection, opened within `timeout_s` seconds; raises ConnectError.

        The addresses of a name are tried in order and share the time, so that a dead first one leaves enough for the
        second.
        """
        loop = asyncio.get_running_loop()
        if self.address.socket:
            return await self._connect_socket(loop, timeout_s)
        deadline = loop.time() + timeout_s
        ips = await resolve_host(self.address.host, self._resolver, timeout_s)
        failed: ConnectError | None = None
        for index, ip in enumerate(ips):
            share_s = (deadline - loop.time()) / (len(ips) - index)
            try:
                return await self._connect_ip(loop, ip, share_s)
            except ConnectError as error:
                failed = error if failed is None else more_specific_error(failed, error)
        self._resolver.forget(self.address.host)
        raise failed or ConnectError("name", f"The name {self.address.host} has no address.")

    async def _connect_ip(self, loop: asyncio.AbstractEventLoop, ip: str, limit_s: float) -> Connection:
        address = self.address
        self._check(ip)
        tls = self._context() if address.scheme == "https" else None
        where = address.host_port if ip == address.host else f"{address.host_port} ({ip})"
        try:
            async with fair_timeout(limit_s):
                transport, connection = await loop.create_connection(
                    lambda: self.new_connection(loop),
                    ip,
                    address.port,
                    ssl=tls,
                    server_hostname=address.host if tls else None,
                )
        except OSError as error:  # among them TimeoutError and ssl.SSLError
            raise explain(error, where, is_tls=tls is not None, limit_s=limit_s) from error
        if is_to_itself(transport, address.port):
            connection.abort()
            raise ConnectError("refused", f"Connection refused at {where}.")
        return connection

    async def _connect_socket(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> Connection:
        """Connect to a Unix socket."""
        path = self.address.socket
        try:
            async with fair_timeout(limit_s):
                _, connection = await loop.create_unix_connection(
                    lambda: Connection(self._owner, path, loop), path
                )
        except FileNotFoundError as error:
            raise ConnectError("refused", f"There is no socket at {path}.") from error
        except PermissionError as error:
            raise ConnectError("unreachable", f"This user may not use the socket {path}.") from error
        except OSError as error:  # among them TimeoutError
            raise explain(error, path, is_tls=False, limit_s=limit_s) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        """Return the TLS context; raises ConnectError when the user's own authorities can't be read."""
        if self._tls is None:
            return tls_context()
        return self._tls if isinstance(self._tls, ssl.SSLContext) else self._tls()

    def _check(self, ip: str) -> None:
        """Refuse forbidden addresses; checked for each address on each connect, because names may change."""
        address = self.address
        why = self._why_not(ip)
        if why is not None:
            name = address.host_port if ip == address.host else f"{address.host_port} ({ip})"
            raise ConnectError("forbidden", f"{name} is not connected to: it is {why}.")

    def _why_not(self, ip: str) -> str | None:
        why = forbid(ip)
        if why is None and (plain_ip(ip), self.address.port) in self._own:
            why = "Meshlight's own address, which can't be its own backend"
        return why


def is_to_itself(transport: asyncio.BaseTransport, port: int) -> bool:
    """Whether a connection is to itself: nobody listens, and the system chose the same port for our end."""
    own = transport.get_extra_info("sockname")  # None where the server has hung up already
    return own is not None and own[1] == port and own == transport.get_extra_info("peername")


async def resolve_host(host: str, resolver: Resolver, timeout_s: float) -> tuple[str, ...]:
    """Return the IP addresses of a name, best first, or the address itself; raises ConnectError (`name`)."""
    ip = _literal(host)
    if ip is not None:
        return (ip,)
    try:
        async with asyncio.timeout(timeout_s):
            return await resolver.resolve(host)
    except TimeoutError:
        text = f"The name {host} was not found within {timeout_s:g} s: no name server answers for it."
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            text = f"The name {host} could not be looked up: no name server answers for it."
        else:
            text = f"The name {host} was not found."
    except (OSError, UnicodeError) as error:
        text = f"The name {host} could not be looked up: {error}."
    raise ConnectError("name", text)


@lru_cache(4096)
def _literal(host: str) -> str | None:
    """Return the IP address that a host is; None for a name."""
    try:
        return str(ip_address(host))
    except ValueError:
        return None


def explain(error: OSError, where: str, *, is_tls: bool, limit_s: float) -> ConnectError:
    """Return the error for people of a failed connection to `where` ("host:port", or a socket's path)."""
    match error:
        case TimeoutError():
            return ConnectError("timeout", f"No connection to {where} within {limit_s:.2g} s.")
        case ssl.SSLError():
            return ConnectError("tls", f"No TLS with {where}: {_tls_problem(error)}.")
        case ConnectionRefusedError():
            return ConnectError("refused", f"Connection refused at {where}.")
        case ConnectionError() if is_tls:
            return ConnectError("tls", f"No TLS with {where}: it closed the connection during the handshake.")
        case _:
            return ConnectError("unreachable", f"{where} can't be reached: {_os_problem(error)}.")


def more_specific_error(old: ConnectError, new: ConnectError) -> ConnectError:
    """Return the failure that says more; of two equal ones, the new one."""
    return new if _INFORMATION[new.cause] >= _INFORMATION[old.cause] else old


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_PROBLEMS.get(
            error.verify_code, f"its certificate is refused: {error.verify_message}"
        )
    reason: str = getattr(error, "reason", None) or str(error)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "it does not speak TLS (is it http:// instead of https://?)"
    return reason.replace("_", " ").lower()


def _os_problem(error: OSError) -> str:
    number = error.errno
    if number in {errno.EHOSTUNREACH, errno.EHOSTDOWN}:
        return "no route to that machine"
    if number == errno.ENETUNREACH:
        return "no route to that network"
    return error.strerror or str(error) or type(error).__name__


SIZE_MAX = 4 << 20
"""Bytes of a CA file; the system's own bundle has a quarter of a megabyte."""


def context_for(ca_file: str) -> ssl.SSLContext:
    """Return a context that trusts the authorities in a PEM file, and no others.

    The file is read again when it has changed. Raises ConnectError (`tls`) when it can't be used.
    """
    try:
        found = Path(ca_file).stat()
        if not S_ISREG(found.st_mode) or found.st_size > SIZE_MAX:
            raise ConnectError("tls", f"The CA file {ca_file} is not a file of certificates in PEM form.")
        return _context(ca_file, found.st_mtime_ns, found.st_size)
    except ssl.SSLError:
        raise ConnectError("tls", f"The CA file {ca_file} contains no certificate in PEM form.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ConnectError("tls", f"The CA file {ca_file} can't be read: {why}.") from None


@lru_cache(64)
def _context(ca_file: str, changed_ns: int, size: int) -> ssl.SSLContext:  # noqa: ARG001 — part of the cache key
    context = ssl.create_default_context(cafile=ca_file)
    # A company's own certificates often lack extensions that strict RFC 5280 checks require (the default since Python
    # 3.13), and the file may contain an intermediate authority, or the server's certificate itself.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    return context
