"""From an address to an open connection, or to the plain words for why there is none."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Collection
from functools import cache
from ipaddress import ip_address

from meshlight.backends.address import Address, forbid, plain_ip
from meshlight.backends.connection import Connection, Keeper
from meshlight.backends.resolver import Resolver
from meshlight.domain.errors import ConnectCause, ConnectFailed

_WEIGHT: dict[ConnectCause, int] = {
    "forbidden": 0,
    "name": 0,
    "unreachable": 1,
    "timeout": 2,
    "refused": 2,
    "tls": 3,
}
"""What a cause tells: a refusal proves that the machine is there, a failed handshake that a server is."""

_CERTIFICATE_FLAWS = {
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
"""OpenSSL's X509_V_ERR_* numbers in words (x509_vfy.h)."""


@cache
def tls_context() -> ssl.SSLContext:
    """Return the one context that verifies servers against the system's authorities; made on first use."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Connects to one address; never through a proxy, and never to what `forbid` or `own` names.

    `own` are the (ip, port) pairs of our own listeners: a gateway that is its own backend would call itself
    for ever. `tls` replaces the system's authorities.
    """

    def __init__(
        self,
        address: Address,
        keeper: Keeper,
        *,
        own: Collection[tuple[str, int]],
        resolver: Resolver,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._address = address
        self._keeper = keeper
        self._own = own
        self._resolver = resolver
        self._tls = tls

    async def dial(self, timeout_s: float) -> Connection:
        """Open a connection within `timeout_s` seconds, or raise ConnectFailed.

        The addresses of a name are tried in order, and share the time among them, so that a dead first one
        leaves enough for the second.
        """
        loop = asyncio.get_running_loop()
        if self._address.socket:
            return await self._knock(loop, timeout_s)
        deadline = loop.time() + timeout_s
        ips = await self._resolve(timeout_s)
        failed: ConnectFailed | None = None
        for place, ip in enumerate(ips):
            share_s = (deadline - loop.time()) / (len(ips) - place)
            try:
                return await self._try(loop, ip, share_s)
            except ConnectFailed as error:
                failed = error if failed is None else heavier(failed, error)
        self._resolver.forget(self._address.host)
        raise failed or ConnectFailed("name", f"The name {self._address.host} has no address.")

    async def _resolve(self, timeout_s: float) -> tuple[str, ...]:
        host = self._address.host
        try:
            return (str(ip_address(host)),)
        except ValueError:
            pass  # a name, then
        try:
            async with asyncio.timeout(timeout_s):
                return await self._resolver.resolve(host)
        except TimeoutError:
            said = f"The name {host} was not found within {timeout_s:g} s: no name server answers for it."
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                said = f"The name {host} could not be looked up: no name server answers for it."
            else:
                said = f"The name {host} was not found."
        except (OSError, UnicodeError) as error:
            said = f"The name {host} could not be looked up: {error}."
        raise ConnectFailed("name", said)

    async def _try(self, loop: asyncio.AbstractEventLoop, ip: str, limit_s: float) -> Connection:
        address = self._address
        self._check(ip)
        tls = self._context() if address.scheme == "https" else None
        where = address.place if ip == address.host else f"{address.place} ({ip})"
        try:
            async with asyncio.timeout(limit_s):
                transport, connection = await loop.create_connection(
                    lambda: Connection(self._keeper, address.place, loop),
                    ip,
                    address.port,
                    ssl=tls,
                    server_hostname=address.host if tls else None,
                )
        except OSError as error:  # among them TimeoutError and ssl.SSLError
            raise explain(error, where, is_tls=tls is not None, limit_s=limit_s) from error
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            # Nobody listens, and the system chose this very port for our end: the connection is to itself.
            connection.abort()
            raise ConnectFailed("refused", f"Connection refused at {where}.")
        return connection

    async def _knock(self, loop: asyncio.AbstractEventLoop, limit_s: float) -> Connection:
        """Connect to a Unix socket."""
        path = self._address.socket
        try:
            async with asyncio.timeout(limit_s):
                _, connection = await loop.create_unix_connection(
                    lambda: Connection(self._keeper, path, loop), path
                )
        except FileNotFoundError as error:
            raise ConnectFailed("refused", f"There is no socket at {path}.") from error
        except PermissionError as error:
            raise ConnectFailed("unreachable", f"This user may not use the socket {path}.") from error
        except OSError as error:  # among them TimeoutError
            raise explain(error, path, is_tls=False, limit_s=limit_s) from error
        return connection

    def _context(self) -> ssl.SSLContext:
        """Return what the certificate is checked against; ConnectFailed when the user's own can't be read."""
        if self._tls is None:
            return tls_context()
        return self._tls if isinstance(self._tls, ssl.SSLContext) else self._tls()

    def _check(self, ip: str) -> None:
        """Refuse what may not be spoken to; asked for each address on each connect, as names may move."""
        address = self._address
        why = forbid(ip)
        if why is None and (plain_ip(ip), address.port) in self._own:
            why = "Meshlight's own address, which can't be its own backend"
        if why is not None:
            shown = address.place if ip == address.host else f"{address.place} ({ip})"
            raise ConnectFailed("forbidden", f"{shown} is not spoken to: it is {why}.")


def explain(error: OSError, where: str, *, is_tls: bool, limit_s: float) -> ConnectFailed:
    """Say in plain words why the connection to `where` ("host:port", or a socket's path) could not be made."""
    match error:
        case TimeoutError():
            return ConnectFailed("timeout", f"No connection to {where} within {limit_s:.2g} s.")
        case ssl.SSLError():
            return ConnectFailed("tls", f"No TLS with {where}: {_flaw(error)}.")
        case ConnectionRefusedError():
            return ConnectFailed("refused", f"Connection refused at {where}.")
        case ConnectionError() if is_tls:
            return ConnectFailed(
                "tls", f"No TLS with {where}: it closed the connection during the handshake."
            )
        case _:
            return ConnectFailed("unreachable", f"{where} can't be reached: {_words(error)}.")


def heavier(old: ConnectFailed, new: ConnectFailed) -> ConnectFailed:
    """Return the failure that tells more of two, and of equals the new one."""
    return new if _WEIGHT[new.cause] >= _WEIGHT[old.cause] else old


def _flaw(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_FLAWS.get(
            error.verify_code, f"its certificate is refused: {error.verify_message}"
        )
    reason: str = getattr(error, "reason", None) or str(error)
    if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "it does not speak TLS (is it http:// instead of https://?)"
    return reason.replace("_", " ").lower()


def _words(error: OSError) -> str:
    number = error.errno
    if number in {errno.EHOSTUNREACH, errno.EHOSTDOWN}:
        return "no way to that machine"
    if number == errno.ENETUNREACH:
        return "no way to that network"
    return error.strerror or str(error) or type(error).__name__
