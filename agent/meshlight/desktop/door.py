"""The way to the running service: where it says it is, the proof that it is there, the key it wants."""

import os
import ssl
from pathlib import Path
from typing import Final

import httpx
import msgspec

from meshlight.desktop.replies import Alive
from meshlight.domain.errors import ServiceError
from meshlight.domain.runtime import Runtime

START_HINT: Final = "Start it with: meshlight serve"
CONNECT_S: Final = 2.0
ANSWER_S: Final = 30.0
"""Adding or checking a backend waits for that backend, which may take a while to refuse."""
_NO_ROOTS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: the service speaks plain HTTP on this machine. Reading the system's roots takes 40 ms each time."""


def read_runtime(runtime_file: Path) -> Runtime:
    """Read the runtime file; raise ServiceError when there is none or it says nothing."""
    try:
        return msgspec.json.decode(runtime_file.read_bytes(), type=Runtime)
    except FileNotFoundError as error:
        raise ServiceError("Meshlight isn't running.", START_HINT) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise ServiceError(
            f"The runtime file {runtime_file} can't be read: {error}.",
            "Stop the service if it runs, delete this file, and start it again: meshlight serve",
        ) from error


def enter(runtime: Runtime) -> httpx.Client:
    """Return a client that carries the key, for the service that wrote the runtime file.

    The key is read and sent only after `/healthz` has told the instance id of the runtime file: a stranger
    on the port gets to see nothing. Raises ServiceError when nobody, or somebody else, is there.
    """
    http = httpx.Client(
        base_url=runtime.url,
        verify=_NO_ROOTS,
        trust_env=False,  # the proxies of the environment are for the world outside; none may see the key
        follow_redirects=False,
        timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
    )
    try:
        _prove(http, runtime)
        http.headers["authorization"] = f"Bearer {_read_key(Path(runtime.key_file))}"
    except BaseException:
        http.close()
        raise
    return http


def silent(runtime: Runtime) -> ServiceError:
    """Return the error for a service that was there and now says nothing."""
    return ServiceError(
        f"The service at {runtime.url} (pid {runtime.pid}) doesn't answer.",
        "It may have just stopped, or hang. Start it again with: meshlight serve",
    )


def _prove(http: httpx.Client, runtime: Runtime) -> None:
    try:
        answer = http.get("/healthz", timeout=CONNECT_S)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ServiceError(
            f"Meshlight isn't running: nobody answers at {runtime.url}, where it last ran.",
            START_HINT,
        ) from error
    except httpx.TimeoutException as error:
        raise silent(runtime) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise _foreign(runtime) from error
    try:
        alive = msgspec.json.decode(answer.content, type=Alive)
    except msgspec.MsgspecError as error:
        raise _foreign(runtime) from error
    if alive.instance != runtime.instance:
        raise _foreign(runtime)


def _foreign(runtime: Runtime) -> ServiceError:
    return ServiceError(
        f"Another program answers at {runtime.url}, not the Meshlight that was started there. "
        "The key was not sent to it.",
        "Stop that program, or start Meshlight on another port: meshlight serve --port 6375",
    )


def _read_key(key_file: Path) -> str:
    if given := os.environ.get("MESHLIGHT_KEY", "").strip():
        return given  # a key that the environment gives is in no file
    try:
        return key_file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"The local key in {key_file} can't be read: {error}.",
            "Run this as the user who started the service.",
        ) from error
