"""The listening socket: bound before anything heavy is imported, so that a taken port is told at once."""

import errno
import http.client
import socket
import sys
from typing import Literal

import msgspec
from msgspec import Struct

from meshlight.domain.config import HOST, HOST_V6
from meshlight.domain.errors import ServiceError

BACKLOG = 2048
PORT_TRIES = 16
"""Ports that are tried until one is free on both loopback addresses."""
HEALTH_TIMEOUT_S = 0.5
WITHOUT_LIMIT = 65_536
"""How many files to ask for where the hard limit is "no limit", which no system accepts as a number."""


_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})


class Listener(Struct, frozen=True):
    """What a port's owner says of itself at `/healthz`; only its answer to a challenge proves it."""

    service: Literal["meshlight"]
    version: str = ""


def bind(host: str, port: int, *, is_lan: bool = False) -> socket.socket:
    """Bind and listen; port 0 takes a free one.

    Raises `ServiceError` when the address can't be had, and says who has it where that can be found out; with
    `is_lan`, for a port of the peers, nobody is asked, as this is done while the service runs.
    """
    try:
        return _listening(host, port)
    except OSError as error:
        raise (_cannot_on_lan(port, error) if is_lan else _cannot(host, port, error)) from error


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens and does not block; raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by its number: without it asyncio leaves Nagle's algorithm on, which holds tokens back.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let two programs share the port, and SO_EXCLUSIVEADDRUSE forbids it.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
        # Two sockets may be bound to one port as long as none listens, so only this tells.
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _without_v6(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of [{HOST_V6}] is taken by another program, which programs that ask for `localhost` may "
            f"reach instead of Meshlight. Give them http://{HOST}:{port}, or stop that program and start Meshlight "
            "again."
        )
    return f"Meshlight listens at {HOST}:{port} alone: [{HOST_V6}] refuses ({error.strerror or 'no reason'})."


class Loopbacks(Struct, frozen=True):
    """The sockets of this service, that of 127.0.0.1 first; `problem` tells why there is none of ::1."""

    sockets: tuple[socket.socket, ...]
    problem: str = ""


def bind_loopbacks(port: int) -> Loopbacks:
    """Bind and listen on both loopback addresses, so that `localhost` is this service whatever it resolves to.

    Raises `ServiceError` when 127.0.0.1 can't be had. Without ::1 the service goes on: a machine without IPv6 has
    none, and where another program has it, `problem` says so.
    """
    first = bind(HOST, port)
    for tries_left in reversed(range(PORT_TRIES if port == 0 else 1)):
        free: int = first.getsockname()[1]
        try:
            return Loopbacks((first, _listening(HOST_V6, free)))
        except OSError as error:
            if error.errno in _NO_IPV6:
                return Loopbacks((first,))
            if not tries_left:
                return Loopbacks((first,), _without_v6(free, error))
        # A free port was asked for, and this one is free in one of the two alone.
        other = bind(HOST, 0)
        first.close()
        first = other
    raise AssertionError("It has returned.")


def who_listens(host: str, port: int) -> Listener | None:
    """Ask the owner of a port whether it is a Meshlight; None when it is not, or does not say in time."""
    connection = http.client.HTTPConnection(host, port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        if response.status != 200:
            return None
        return msgspec.json.decode(response.read(4096), type=Listener)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError, UnicodeError):
        return None
    finally:
        connection.close()


def raise_file_limit() -> int:
    """Raise the number of files (and so connections) this process may have open to what the system allows.

    Returns the limit that holds afterwards; 8,192 on Windows, where there is none of this kind.
    """
    if sys.platform == "win32":
        return 8192
    import resource  # noqa: PLC0415 - does not exist on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = (WITHOUT_LIMIT, 10_240) if hard == resource.RLIM_INFINITY else (hard,)
    for limit in wished:
        if soft != resource.RLIM_INFINITY and limit > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):  # macOS takes no more than kern.maxfilesperproc
                continue
            return limit
    return soft if soft != resource.RLIM_INFINITY else WITHOUT_LIMIT


def _cannot(host: str, port: int, error: OSError) -> ServiceError:
    """Say why the address can't be had."""
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        if who_listens(host, port) is not None:
            return ServiceError(
                f"Meshlight is already running at {at}.",
                "Use `meshlight status` to see it, or start this one with another --port.",
            )
        return ServiceError(
            f"Port {port} is taken by another program (at {at}).",
            "Stop that program, or start Meshlight with another --port.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return ServiceError(f"No permission to listen at {at}.", "Choose a --port above 1023.")
    if error.errno == errno.EADDRNOTAVAIL:
        return ServiceError(f"This machine has no address {host}.", "Listen on 127.0.0.1.")
    return ServiceError(f"Can't listen at {at}: {error.strerror or type(error).__name__}.")


def _cannot_on_lan(port: int, error: OSError) -> ServiceError:
    fix = "set another `port` or `door` under `[lan]` in the configuration."
    if error.errno == errno.EADDRINUSE:
        return ServiceError(
            f"Port {port}, at which peers find this machine, is taken by another program.",
            f"Stop that program, or {fix}",
        )
    return ServiceError(
        f"Can't listen for peers at port {port}: {error.strerror or type(error).__name__}.",
        fix.capitalize() if error.errno in {errno.EACCES, errno.EPERM} else "",
    )
