"""Builds the Litestar application: `/mesh`, the page, `/healthz` and `/metrics`."""

from functools import cache
from typing import Annotated, Any

from litestar import Litestar, MediaType, Response, asgi, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody, QueryParameter
from litestar.types import Receive as LitestarReceive
from litestar.types import Scope as LitestarScope
from litestar.types import Send as LitestarSend
from msgspec import Meta, Struct

from meshlight.domain.api_types import Identity, SignInFile, SignInLink
from meshlight.domain.errors import MeshlightError, Unauthorized
from meshlight.gateway.access.guard import ENTER
from meshlight.gateway.access.sessions import set_cookies
from meshlight.gateway.control.apps import AppsController
from meshlight.gateway.control.errors import HANDLERS
from meshlight.gateway.control.json_request import JsonRequest
from meshlight.gateway.control.keys import KeysController
from meshlight.gateway.control.kinds import KindsController
from meshlight.gateway.control.local_models import LocalModelsController
from meshlight.gateway.control.mesh import BackendsController, MeshController
from meshlight.gateway.control.metrics import CONTENT_TYPE, Metrics
from meshlight.gateway.control.openapi import describe, documented_errors
from meshlight.gateway.control.peers import PeersController
from meshlight.gateway.control.qr import QrController
from meshlight.gateway.control.settings import SettingsController
from meshlight.gateway.control.sign_in import SignInController
from meshlight.gateway.control.welcome import WelcomeController
from meshlight.gateway.parts import GatewayParts
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send

PartsDep = NamedDependency[GatewayParts]
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

_PARTS = "meshlight.parts"
"""Where the scope of a request has the parts of its service."""


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """The local key, exchanged for the page's cookie."""

    key: str


class SignInFileRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The view that the page opens, as the fragment of its address, and the browser's snap, if it is one."""

    fragment: Fragment = ""
    snap: Snap = ""


def build_control(parts: GatewayParts) -> ASGIApp:
    """Return the application of everything but inference."""
    app = _described(frozenset(parts.dependencies), parts.page.paths)

    async def control(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_PARTS] = parts
        await app(scope, receive, send)  # type: ignore[arg-type]

    return control


@cache
def _described(dependencies: frozenset[str], pages: frozenset[str]) -> Litestar:
    """Return the handlers of a service with these dependencies and files.

    Litestar takes a tenth of a second to read them, so services of one process, as tests have, share them: each
    request brings the parts of its service in its scope.
    """

    @get(
        "/healthz",
        summary="Health and identity of the service",
        tags=["service"],
        security=[{}],
        responses=documented_errors(),
    )
    async def healthz(parts: PartsDep, challenge: Challenge = None) -> Identity:
        """Return that the service is alive; needs no key.

        With a challenge of 64 hex digits it proves by the local key that it is the service of the runtime file,
        before a client shows the key: HMAC-SHA256(key, "meshlight|" challenge "|" instance).
        """
        return parts.identify(challenge)

    @get(
        "/metrics",
        summary="Prometheus metrics",
        tags=["service"],
        media_type=MediaType.TEXT,
        responses=documented_errors(),
    )
    async def metrics(parts: PartsDep) -> Response[bytes]:
        """Return the service's numbers in Prometheus' text format."""
        return Response(Metrics(parts.view, parts.local_view).text(), media_type=CONTENT_TYPE)

    @post(
        "/mesh/session",
        status_code=204,
        summary="Sign the page in",
        tags=["page"],
        security=[{}],
        responses=documented_errors(has_body=True),
    )
    async def sign_in(parts: PartsDep, data: JSONBody[SignIn]) -> Response[None]:
        """Exchange the local key for the page's cookie."""
        if not parts.is_key(data.key.encode()):
            raise Unauthorized(
                "That is not the local key.", "`meshlight key` prints it; `meshlight open` needs none."
            )
        response = Response(None, status_code=204)
        token = parts.sessions.open()
        response.headers["set-cookie"] = set_cookies(token)[0]
        return response

    @post(
        "/mesh/session/code",
        status_code=200,
        summary="A one-time link",
        tags=["page"],
        responses=documented_errors(),
    )
    async def code(parts: PartsDep) -> SignInLink:
        """Make a link that opens the page once, within a minute."""
        return SignInLink(f"{parts.url}/?code={parts.sessions.code()}")

    @post(
        "/mesh/session/file",
        status_code=200,
        summary="A file that opens the page",
        tags=["page"],
        responses=documented_errors(has_body=True),
    )
    async def file(parts: PartsDep, data: JSONBody[SignInFileRequest]) -> SignInFile:
        """Write a file that opens the page once, within a minute: a browser is given its path, without the code.

        Other users of this machine can read each program's command line, and so the address that a browser opens.
        """
        action = f"{parts.url}{ENTER}" + (f"#{data.fragment}" if data.fragment else "")
        try:
            return SignInFile(str(parts.write_link(action, parts.sessions.code(), data.snap)))
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
    async def schema(parts: PartsDep) -> Response[dict[str, Any]]:
        """Return the OpenAPI description of `/mesh`."""
        return Response(description(parts.identity.version), media_type=MediaType.JSON)

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
        KeysController,
        SignInController,
        PeersController,
        AppsController,
        LocalModelsController,
        WelcomeController,
        asgi("/mesh/events", copy_scope=False)(_events),
        # By name and not as a mount: a mount at / would take every other mount's requests.
        asgi([*sorted(pages), ENTER], copy_scope=False)(_page),
    ]
    app = Litestar(
        handlers,
        dependencies={"parts": Provide(_parts, sync_to_thread=False)}
        | {name: _provide(name) for name in dependencies},
        exception_handlers=HANDLERS,
        openapi_config=None,
        request_class=JsonRequest,
        logging_config=None,
        debug=False,
    )

    @cache
    def description(version: str) -> Any:
        return describe(app, version)  # takes 30 ms: only made on request

    return app


def _parts(scope: LitestarScope) -> GatewayParts:
    parts: GatewayParts = scope[_PARTS]  # type: ignore[literal-required]
    return parts


def _provide(name: str) -> Provide:
    def provided(scope: LitestarScope) -> Any:
        return _parts(scope).dependencies[name]

    return Provide(provided, sync_to_thread=False)


async def _events(scope: LitestarScope, receive: LitestarReceive, send: LitestarSend) -> None:
    await _parts(scope).events(scope, receive, send)  # type: ignore[arg-type]


async def _page(scope: LitestarScope, receive: LitestarReceive, send: LitestarSend) -> None:
    await _parts(scope).page(scope, receive, send)  # type: ignore[arg-type]
