"""From an address to an open connection through an HTTP proxy: `CONNECT`, then TLS with the server inside the tunnel.

The proxy sees the host and port of the server, and for https:// nothing else. It resolves the name, so this machine
needs no name server that knows it. Source: RFC 9110, sections 9.3.6 (CONNECT) and 11.7 (proxy authentication).
"""

import asyncio
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Collection

from meshlight.domain.errors import ConnectError
from meshlight.domain.proxy import Proxy, UnusableProxy
from meshlight.http_client.address import Address, forbid, plain_ip
from meshlight.http_client.connection import Connection, ConnectionOwner
from meshlight.http_client.connector import Resolver, explain, resolve_host, tls_context
from meshlight.http_client.fair_timeout import fair_timeout

HEAD_MAX = 16 * 1024
"""Bytes of a proxy's answer that are read."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r|$)")
_WITHOUT = 'set the proxy of this backend to "none" if it can be reached without'


class TunnelConnector:
    """Connects to one address through a proxy, like `Connector` without one.

    `own` are the (ip, port) pairs of our own listeners: none of them may be the proxy.
    """

    def __init__(
        self,
        address: Address,
        owner: ConnectionOwner,
        *,
        proxy: Proxy | UnusableProxy,
        own: Collection[tuple[str, int]],
        resolver: Resolver,
        tls: ssl.SSLContext | Callable[[], ssl.SSLContext] | None,
    ) -> None:
        self._address = address
        self._owner = owner
        self._proxy = proxy
        self._own = own
        self._resolver = resolver
        self._tls = tls

    async def connect(self, timeout_s: float) -> Connection:
        """Open a connection within `timeout_s` seconds, or raise ConnectError, whose hint says what to do."""
        proxy = self._proxy
        if isinstance(proxy, UnusableProxy):
            fix = "Correct it and restart Meshlight" if proxy.variable else "Correct it"
            raise ConnectError("proxy", f"{proxy.what} {proxy.fault}.", f"{fix}, or {_WITHOUT}.")
        host_port = self._address.host_port
        if (why := _forbidden(self._address.host)) is not None:
            raise ConnectError("forbidden", f"{host_port} is not connected to: it is {why}.")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        try:
            ips = await resolve_host(proxy.host, self._resolver, timeout_s)
        except ConnectError as error:
            raise _unreachable(proxy, error) from error
        failed: ConnectError | None = None
        for index, ip in enumerate(ips):
            # The addresses of a name share the time, so that a dead first one leaves enough for the second.
            share_s = (deadline - loop.time()) / (len(ips) - index)
            try:
                transport, reply = await self._reach(loop, proxy, ip, share_s)
            except ConnectError as error:
                failed = error
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    return await self._open(loop, proxy, transport, reply)
            except TimeoutError as error:
                transport.abort()
                title = f"No connection to {host_port} through the proxy {proxy.host_port} within {timeout_s:.2g} s."
                raise ConnectError("timeout", title) from error
            except BaseException:
                transport.abort()
                raise
        self._resolver.forget(proxy.host)
        raise failed or _unreachable(proxy, ConnectError("name", f"The name {proxy.host} has no address."))

    async def _reach(
        self, loop: asyncio.AbstractEventLoop, proxy: Proxy, ip: str, limit_s: float
    ) -> tuple[asyncio.Transport, "_ConnectReply"]:
        """Connect to the proxy itself."""
        why = forbid(ip)
        if why is None and (plain_ip(ip), proxy.port) in self._own:
            why = "Meshlight's own address, which can't be its own proxy"
        if why is not None:
            raise ConnectError("forbidden", f"The proxy {proxy.host_port} is not used: it is {why}.")
        try:
            async with fair_timeout(limit_s):
                transport, reply = await loop.create_connection(lambda: _ConnectReply(loop), ip, proxy.port)
        except OSError as error:  # among them TimeoutError
            cause = explain(error, proxy.host_port, is_tls=False, limit_s=limit_s)
            raise _unreachable(proxy, cause) from error
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            # Nobody listens, and the system chose this very port for our end: the connection is to itself.
            transport.abort()
            raise _unreachable(proxy, ConnectError("refused", f"Connection refused at {proxy.host_port}."))
        return transport, reply

    async def _open(
        self,
        loop: asyncio.AbstractEventLoop,
        proxy: Proxy,
        transport: asyncio.Transport,
        reply: "_ConnectReply",
    ) -> Connection:
        """Ask the proxy for a tunnel, and speak TLS inside where the address wants it."""
        address = self._address
        transport.write(_connect_head(address, proxy))
        try:
            status = await reply.status
        except (ConnectionError, ValueError) as error:
            title = f"The proxy {proxy.host_port} answers with something that is not HTTP."
            if isinstance(error, ConnectionError):
                title = f"The proxy {proxy.host_port} closed the connection without an answer."
            raise ConnectError("proxy", title, f"Check {_setting(proxy)}, or {_WITHOUT}.") from error
        if not 200 <= status < 300:
            raise _refused(status, address, proxy)
        connection = Connection(self._owner, address.host_port, loop)
        inner = await self._handshake(loop, transport, reply) if address.scheme == "https" else transport
        if reply.has_more:
            title = f"{address.host_port} spoke before it was asked: it is no HTTP server."
            raise ConnectError("unreachable", title)
        inner.set_protocol(connection)
        connection.connection_made(inner)
        return connection

    async def _handshake(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, reply: "_ConnectReply"
    ) -> asyncio.Transport:
        address = self._address
        context = self._tls() if callable(self._tls) else self._tls or tls_context()
        try:
            inner = await loop.start_tls(transport, reply, context, server_hostname=address.host)
        except TimeoutError:
            raise
        except OSError as error:  # among them ssl.SSLError
            raise explain(error, address.host_port, is_tls=True, limit_s=0.0) from error
        if inner is None:
            raise ConnectError("tls", f"No TLS with {address.host_port}: the connection closed.")
        return inner


class _ConnectReply(asyncio.Protocol):
    """Reads a proxy's answer to `CONNECT`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.status: asyncio.Future[int] = loop.create_future()
        """The status of the answer; fails with ConnectionError, or with ValueError for what is not HTTP."""
        self.has_more = False
        """Whether bytes came behind the head of the answer, or behind a TLS handshake, before anything was asked."""
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Read on until the head is complete; interim (1xx) answers are skipped."""
        if self.status.done():
            self.has_more = True
            return
        self._received += data
        while not self.status.done():
            head, is_complete, rest = self._received.partition(b"\r\n\r\n")
            if not is_complete:
                if len(self._received) > HEAD_MAX or not b"HTTP/1.".startswith(self._received[:7]):
                    self._fail(ValueError("no HTTP answer"))
                return
            match = _STATUS.match(head)
            self._received = rest
            if match is None:
                self._fail(ValueError("no HTTP answer"))
            elif not 100 <= int(match[1]) < 200:
                self.has_more = bool(rest)
                self.status.set_result(int(match[1]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the answer is not complete."""
        self._fail(exc if isinstance(exc, ConnectionError) else ConnectionResetError("closed"))

    def _fail(self, error: Exception) -> None:
        if not self.status.done():
            self.status.set_exception(error)
            self.status.exception()  # counts as read: nobody may be waiting any more


def _connect_head(address: Address, proxy: Proxy) -> bytes:
    lines = [f"CONNECT {address.host_port} HTTP/1.1", f"Host: {address.host_port}"]
    if proxy.credentials:
        lines.append(f"Proxy-Authorization: Basic {b64encode(proxy.credentials.encode()).decode('ascii')}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _refused(status: int, address: Address, proxy: Proxy) -> ConnectError:
    """Return what a proxy's refusal of a tunnel means; nothing of its page is quoted."""
    host_port = address.host_port
    if status == 407:
        variable = proxy.variable or "HTTPS_PROXY"
        if proxy.credentials:
            title = f"The proxy {proxy.host_port} refuses the user name and password (407)."
            return ConnectError(
                "proxy", title, f"Correct them in the variable {variable} and restart Meshlight."
            )
        fix = f"Set {variable}=http://NAME:PASSWORD@{proxy.host_port} where Meshlight starts, and restart it."
        if not proxy.variable:
            fix = f'{fix} Set the proxy of this backend to "env".'
        return ConnectError(
            "proxy", f"The proxy {proxy.host_port} wants a user name and password (407).", fix
        )
    if status >= 500:
        title = f"The proxy {proxy.host_port} can't reach {host_port} ({status})."
        fix = "Check that the server is up and its name is known there"
        return ConnectError("proxy", title, f"{fix}, or {_WITHOUT}.")
    what = "forbids connections to" if status == 403 else "does not connect to"
    more = " Many proxies allow port 443 only." if address.port != 443 else ""
    title = f"The proxy {proxy.host_port} {what} {host_port} ({status})."
    return ConnectError("proxy", title, f"Ask who runs the proxy to allow it, or {_WITHOUT}.{more}")


def _unreachable(proxy: Proxy, cause: ConnectError) -> ConnectError:
    text = cause.title.rstrip(".")
    title = f"The proxy {proxy.host_port} can't be reached: {text[:1].lower()}{text[1:]}."
    return ConnectError("proxy", title, f"Start it or check {_setting(proxy)}, or {_WITHOUT}.")


def _setting(proxy: Proxy) -> str:
    return f"the variable {proxy.variable}" if proxy.variable else "the proxy of this backend"


def _forbidden(host: str) -> str | None:
    """Say why a host given as an IP address may not be connected to; names are the proxy's to resolve."""
    try:
        plain_ip(host)
    except ValueError:
        return None
    return forbid(host)
