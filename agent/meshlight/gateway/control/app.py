"""Builds the gateway's ASGI application: the guard first, then inference, then Litestar with `/mesh` and the page."""

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
from meshlight.domain.config import Config
from meshlight.domain.errors import BadRequest, MeshlightError, Unauthorized
from meshlight.domain.proof import is_challenge
from meshlight.gateway.access.guard import ENTER, Guard
from meshlight.gateway.access.sessions import Sessions, set_cookies
from meshlight.gateway.control.errors import HANDLERS
from meshlight.gateway.control.events import Events
from meshlight.gateway.control.kinds import KindsController
from meshlight.gateway.control.local_models import LocalModelsController
from meshlight.gateway.control.mesh import BackendsController, MeshController
from meshlight.gateway.control.metrics import CONTENT_TYPE, Metrics
from meshlight.gateway.control.openapi import describe, documented_errors
from meshlight.gateway.control.page import Page
from meshlight.gateway.control.peers import PeersController
from meshlight.gateway.control.qr import QrController
from meshlight.gateway.control.settings import SettingsController
from meshlight.gateway.control.validation import JsonRequest
from meshlight.gateway.inference.app import Inference, InferenceDispatch
from meshlight.gateway.inference.lane import Lane

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
    """The local key, exchanged for the page's cookie."""

    key: str


class SignInFileRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """The view that the page opens, as the fragment of its address, and the browser's snap, if it is one."""

    fragment: Fragment = ""
    snap: Snap = ""


class GatewayParts(Struct, frozen=True, kw_only=True):
    """The parts that answer requests, made by the service's wiring."""

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
    """Answers a challenge with the local key."""
    settings: Callable[[], Config]
    """Returns the configuration in force."""
    write_link: Callable[[str, str, str], Path]
    """Writes a file that posts the code (second) to the address (first), for the browser (third)."""
    dependencies: dict[str, object]
    """The objects that the control handlers use, by the name of their parameter: publisher, registry, prober, …
    `local_models` is None where this machine's own models are switched off."""


def build_app(parts: GatewayParts) -> Guard:
    """Return the application."""

    @get(
        "/healthz",
        summary="Health and identity of the service",
        tags=["service"],
        security=[{}],
        responses=documented_errors(),
    )
    async def healthz(challenge: Challenge = None) -> Identity:
        """Return that the service is alive; needs no key.

        With a challenge of 64 hex digits it proves by the local key that it is the service of the runtime file,
        before a client shows the key: HMAC-SHA256(key, "meshlight|" challenge "|" instance).
        """
        if challenge is None:
            return parts.identity
        if not is_challenge(challenge):
            raise BadRequest("The challenge is not 64 hex digits.", "Send 32 random bytes.", "challenge")
        return replace(parts.identity, proof=parts.prove(challenge))

    @get(
        "/metrics",
        summary="Prometheus metrics",
        tags=["service"],
        media_type=MediaType.TEXT,
        responses=documented_errors(),
    )
    async def metrics() -> Response[bytes]:
        """Return the service's numbers in Prometheus' text format."""
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE)

    @post(
        "/mesh/session",
        status_code=204,
        summary="Sign the page in",
        tags=["page"],
        security=[{}],
        responses=documented_errors(has_body=True),
    )
    async def sign_in(data: JSONBody[SignIn]) -> Response[None]:
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
    async def code() -> SignInLink:
        """Make a link that opens the page once, within a minute."""
        return SignInLink(f"{parts.url}/?code={parts.sessions.code()}")

    @post(
        "/mesh/session/file",
        status_code=200,
        summary="A file that opens the page",
        tags=["page"],
        responses=documented_errors(has_body=True),
    )
    async def file(data: JSONBody[SignInFileRequest]) -> SignInFile:
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
        LocalModelsController,
        asgi("/mesh/events", copy_scope=False)(parts.events),
        # By name and not as a mount: a mount at / would take every other mount's requests.
        asgi([*sorted(parts.page.paths), ENTER], copy_scope=False)(parts.page),
    ]
    app = Litestar(
        handlers,
        dependencies={name: _provide(thing) for name, thing in parts.dependencies.items()},
        exception_handlers=HANDLERS,
        openapi_config=None,
        request_class=JsonRequest,
        logging_config=None,
        debug=False,
    )

    @cache
    def description() -> Any:
        return describe(app, parts.identity.version)  # takes 30 ms: only made on request

    guard = Guard(
        InferenceDispatch(app, parts.inference),  # type: ignore[arg-type]
        port=parts.port,
        is_key=parts.is_key,
        sessions=parts.sessions,
        settings=parts.settings,
        free=parts.page.paths,
    )
    guard.lane = Lane(guard, parts.inference, parts.settings)
    return guard


def _provide(thing: object) -> Provide:
    return Provide(lambda: thing, sync_to_thread=False)
