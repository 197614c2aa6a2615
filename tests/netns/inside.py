"""Connections that leave from another network namespace, opened by the test's own process."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import ssl
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpcore
import httpx

_NEW_NET = 0x40000000  # CLONE_NEWNET of linux/sched.h


def socket_in(namespace: Path, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Return a socket that belongs to a namespace, whoever uses it; not blocking. Raises OSError."""
    made: list[socket.socket | OSError] = []

    def make() -> None:
        # The namespace is the thread's own, and a thread that ends here takes it along.
        try:
            with namespace.open("rb") as file:
                _enter(file.fileno())
            made.append(socket.socket(family, kind))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if isinstance(made[0], OSError):
        raise made[0]
    made[0].setblocking(False)
    return made[0]


def _enter(namespace_fd: int) -> None:
    """Move this thread into a network namespace; os.setns is there only from Python 3.12 on. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace_fd, _NEW_NET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


async def connect(
    namespace: Path, host: str, port: int, tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection from a namespace. Raises OSError."""
    sock = socket_in(namespace, socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=host if tls else None)
    except BaseException:
        sock.close()
        raise


def namespaced_client(
    namespace: Path,
    *,
    base_url: str,
    headers: Mapping[str, str] | None,
    tls: ssl.SSLContext | None,
    timeout_s: float,
) -> httpx.AsyncClient:
    """Return a client whose connections leave from a namespace."""
    transport = httpx.AsyncHTTPTransport(verify=tls or True, trust_env=False)
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=tls, max_connections=None, network_backend=_Backend(namespace)
    )
    return httpx.AsyncClient(base_url=base_url, headers=headers, transport=transport, timeout=timeout_s)


class _Backend(httpcore.AsyncNetworkBackend):
    def __init__(self, namespace: Path) -> None:
        self._namespace = namespace

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        del local_address, socket_options
        try:
            async with asyncio.timeout(timeout):
                return _Stream(*await connect(self._namespace, host, port))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - the same
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the same
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        self._writer.close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the same
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                await self._writer.start_tls(ssl_context, server_hostname=server_hostname)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:  # ssl.SSLError too
            raise httpcore.ConnectError(str(error)) from error
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return self._reader.at_eof()
        names = {
            "ssl_object": "ssl_object",
            "socket": "socket",
            "client_addr": "sockname",
            "server_addr": "peername",
        }
        return self._writer.get_extra_info(names[info]) if info in names else None
