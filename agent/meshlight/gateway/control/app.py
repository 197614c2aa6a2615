"""The gateway as one ASGI application: the guard before everything, Litestar with the faces behind it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, MediaType, Response, asgi, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.params import JSONBody, QueryParameter
from msgspec import Meta, Struct
from msgspec.structs import replace

from meshlight.domain.api_types import Identity, SignInFile, SignInLink
from meshlight.domain.errors import BadRequest, MeshlightError, Unauthorized
from meshlight.domain.proof import is_challenge
from meshlight.gateway.access.guard import ENTER, Guard
from meshlight.gateway.access.sessions import Sessions, set_cookies
from meshlight.gateway.control.errors import HANDLERS
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.kinds import KindsController
from meshlight.gateway.control.mesh import BackendsController, MeshController
from meshlight.gateway.control.metrics import CONTENT_TYPE, Metrics
from meshlight.gateway.control.openapi import describe, documented_errors
from meshlight.gateway.control.page import Page
from meshlight.gateway.control.peers import PeersController
from meshlight.gateway.control.qr import QrController
from meshlight.gateway.control.settings import SettingsController
from meshlight.gateway.control.validation import JsonRequest
from meshlight.gateway.inference.app import Inference, InferenceDispatch
from meshlight.gateway.server.asgi import ASGIApp

Challenge = Annotated[
    str | None,
    QueryParameter(
        description="32 random bytes in small hex digits.",
        min_length=64,
        max_length=64,
        pattern="^[0-9a-f]+$",
    ),
]
Fragment = Annotated[str, Meta(max_length=4096, pattern=r"^[\x21-\x7e]*$")]
Snap = Annotated[str, Meta(max_length=41, pattern=r"^[a-z0-9-]*$")]


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """The local key, to be swapped for the page's cookie."""

    key: str


class SignInFileRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What the page is to show, as the fragment of its address, and the snap that the browser is, if it is one."""

    fragment: Fragment = ""
    snap: Snap = ""


class GatewayParts(Struct, frozen=True, kw_only=True):
    """Everything that answers, made by main."""

    inference: Inference
    events: Events
    page: Page
    metrics: Metrics
    sessions: Sessions
    identity: Identity
    url: str
    port: int
    is_key: Callable[[bytes], bool]
    prove: Callable[[str], str]
    """Answers a challenge by the local key."""
    require_key: Callable[[], bool]
    allowed_hosts: Callable[[], tuple[str, ...]]
    allowed_origins: Callable[[], tuple[str, ...]]
    write_link: Callable[[str, str, str], Path]
    """Writes the file that posts a code (the second) to an address (the first), for a browser (the third)."""
    knowledge: dict[str, object]
    """What the control handlers ask, by the name of their parameter: feed, registry, prober, roster …"""


def build_app(operations: GatewayParts) -> ASGIApp:
    """Join the faces into one application."""

    @get(
        "/healthz",
        summary="Is it alive, and which one is it",
        tags=["service"],
        security=[{}],
        responses=documented_errors(),
    )
    async def healthz(challenge: Challenge = None) -> Identity:
        """Say that the service lives; needs no key.

        With a challenge of 64 hex digits it proves by the local key that it is the service of the runtime file,
        before a client shows the key: HMAC-SHA256(key, "meshlight|" challenge "|" instance).
        """
        if challenge is None:
            return operations.identity
        if not is_challenge(challenge):
            raise BadRequest("The challenge is not 64 hex digits.", "Send 32 random bytes.", "challenge")
        return replace(operations.identity, proof=operations.prove(challenge))

    @get(
        "/metrics",
        summary="Prometheus metrics",
        tags=["service"],
        media_type=MediaType.TEXT,
        responses=documented_errors(),
    )
    async def metrics() -> Response[bytes]:
        """Return the service's numbers in Prometheus' text format."""
        return Response(operations.metrics.text(), media_type=CONTENT_TYPE)

    @post(
        "/mesh/session",
        status_code=204,
        summary="Sign the page in",
        tags=["page"],
        security=[{}],
        responses=documented_errors(has_body=True),
    )
    async def sign_in(data: JSONBody[SignIn]) -> Response[None]:
        """Swap the local key for the page's cookie."""
        if not operations.is_key(data.key.encode()):
            raise Unauthorized(
                "That is not the local key.", "`meshlight key` prints it; `meshlight open` needs none."
            )
        response = Response(None, status_code=204)
        token = operations.sessions.open()
        response.headers["set-cookie"] = set_cookies(token)[0]
        return response

    @post(
        "/mesh/session/code",
        status_code=200,
        summary="A one-time link",
        tags=["page"],
        responses=documented_errors(),
    )
    async def code() -> SignInLink:
        """Make a link that opens the page once, within a minute."""
        return SignInLink(f"{operations.url}/?code={operations.sessions.code()}")

    @post(
        "/mesh/session/file",
        status_code=200,
        summary="A file that opens the page",
        tags=["page"],
        responses=documented_errors(has_body=True),
    )
    async def file(data: JSONBody[SignInFileRequest]) -> SignInFile:
        """Write a file that opens the page once, within a minute: a browser gets its path, and no code.

        Other users of this machine can read each program's command line, and what a browser opens stands there.
        """
        action = f"{operations.url}{ENTER}" + (f"#{data.fragment}" if data.fragment else "")
        try:
            return SignInFile(str(operations.write_link(action, operations.sessions.code(), data.snap)))
        except OSError as error:
            raise MeshlightError(
                f"The file that opens the page can't be written: {error.strerror or type(error).__name__}.",
                "Free some space, or take a link: meshlight open --print",
            ) from error

    @get(
        "/mesh/schema",
        summary="This description",
        tags=["service"],
        cache_control=CacheControlHeader(no_cache=True),
        responses=documented_errors(),
    )
    async def schema() -> Response[dict[str, Any]]:
        """Return the OpenAPI description of `/mesh`."""
        return Response(description(), media_type=MediaType.JSON)

    handlers: list[Any] = [
        healthz,
        metrics,
        sign_in,
        code,
        file,
        schema,
        MeshController,
        BackendsController,
        KindsController,
        QrController,
        SettingsController,
        PeersController,
        asgi("/mesh/events", copy_scope=False)(operations.events),
        # By name and not as a mount: a mount at / would take every other mount's requests.
        asgi([*sorted(operations.page.paths), ENTER], copy_scope=False)(operations.page),
    ]
    app = Litestar(
        handlers,
        dependencies={name: _known(thing) for name, thing in operations.knowledge.items()},
        exception_handlers=HANDLERS,
        openapi_config=None,
        request_class=JsonRequest,
        logging_config=None,
        debug=False,
    )

    @cache
    def description() -> Any:
        return describe(app, operations.identity.version)  # 30 ms that only who asks shall pay

    return Guard(
        InferenceDispatch(app, operations.inference),  # type: ignore[arg-type]
        port=operations.port,
        is_key=operations.is_key,
        sessions=operations.sessions,
        require_key=operations.require_key,
        free=operations.page.paths,
        allowed_hosts=operations.allowed_hosts,
        allowed_origins=operations.allowed_origins,
    )


def _known(thing: object) -> Provide:
    return Provide(lambda: thing, sync_to_thread=False)
