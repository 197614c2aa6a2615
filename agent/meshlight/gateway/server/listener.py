"""The listening sockets: bound before anything heavy is imported, so that a taken port is reported at once."""

import errno
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
"""The number of files to request where the hard limit is "no limit", which no system accepts as a number."""


_NO_IPV6 = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT})


class ListenerInfo(Struct, frozen=True):
    """What a program answers at `/healthz`; only its answer to a challenge proves that it is ours."""

    service: Literal["meshlight"]
    version: str = ""


def bind(host: str, port: int, *, is_lan: bool = False) -> socket.socket:
    """Bind and listen; port 0 takes a free one.

    Raises `ServiceError` when the address can't be bound, and names the program that has it if that is a Meshlight;
    with `is_lan`, for the port for peers, this is not checked, as it is bound while the service runs.
    """
    try:
        return _listening(host, port)
    except OSError as error:
        raise (_lan_bind_error(port, error) if is_lan else _bind_error(host, port, error)) from error


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
        # Two sockets may be bound to one port as long as none listens, so only listening shows if it is taken.
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _no_v6_text(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of [{HOST_V6}] is taken by another program, which programs that ask for `localhost` may "
            f"reach instead of Meshlight. Give them http://{HOST}:{port}, or stop that program and start Meshlight "
            "again."
        )
    return f"Meshlight listens at {HOST}:{port} alone: [{HOST_V6}] refuses ({error.strerror or 'no reason'})."


class Loopbacks(Struct, frozen=True):
    """The sockets of this service, 127.0.0.1 first; `problem` is the text for people if ::1 is missing."""

    sockets: tuple[socket.socket, ...]
    problem: str = ""


def bind_loopbacks(port: int) -> Loopbacks:
    """Bind and listen on both loopback addresses, so that `localhost` is this service whatever it resolves to.

    Raises `ServiceError` when 127.0.0.1 can't be bound. Without ::1 the service starts all the same: a machine
    without IPv6 has none, and where another program has it, `problem` says so.
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
                return Loopbacks((first,), _no_v6_text(free, error))
        # A free port was requested, and this one is free at one of the two addresses only.
        other = bind(HOST, 0)
        first.close()
        first = other
    raise AssertionError("unreachable")


def identify_listener(host: str, port: int) -> ListenerInfo | None:
    """Return what the program at a port says it is; None if it is no Meshlight, or does not answer in time."""
    import http.client  # noqa: PLC0415 - it brings all of email, and a port is seldom taken

    connection = http.client.HTTPConnection(host, port, timeout=HEALTH_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        if response.status != 200:
            return None
        return msgspec.json.decode(response.read(4096), type=ListenerInfo)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError, UnicodeError):
        return None
    finally:
        connection.close()


def raise_file_limit() -> int:
    """Raise the number of files (and so connections) this process may have open to what the system allows.

    Returns the limit that then applies; 8,192 on Windows, which has no such limit.
    """
    if sys.platform == "win32":
        return 8192
    import resource  # noqa: PLC0415 - does not exist on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    candidates = (WITHOUT_LIMIT, 10_240) if hard == resource.RLIM_INFINITY else (hard,)
    for limit in candidates:
        if soft != resource.RLIM_INFINITY and limit > soft:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            except (OSError, ValueError):  # macOS allows no more than kern.maxfilesperproc
                continue
            return limit
    return soft if soft != resource.RLIM_INFINITY else WITHOUT_LIMIT


def _bind_error(host: str, port: int, error: OSError) -> ServiceError:
    """Return the error that says why the address can't be bound."""
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        if identify_listener(host, port) is not None:
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


def _lan_bind_error(port: int, error: OSError) -> ServiceError:
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
