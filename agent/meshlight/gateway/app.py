"""The gateway as one ASGI application: the guard before everything, Litestar with the faces behind it."""

from collections.abc import Callable
from functools import cache
from typing import Any

from litestar import Litestar, MediaType, Response, asgi, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.params import JSONBody
from msgspec import Struct

from meshlight.domain.errors import KeyRefused
from meshlight.gateway.asgi import ASGIApp
from meshlight.gateway.control import BackendsController, MeshController
from meshlight.gateway.description import describe, problems
from meshlight.gateway.errors import HANDLERS
from meshlight.gateway.events import Events
from meshlight.gateway.front import Front
from meshlight.gateway.guard import Guard
from meshlight.gateway.inference import Inference
from meshlight.gateway.json_request import JsonRequest
from meshlight.gateway.kinds_view import KindsController
from meshlight.gateway.metrics import CONTENT_TYPE, Metrics
from meshlight.gateway.page import Page
from meshlight.gateway.peers import PeersController
from meshlight.gateway.qr import QrController
from meshlight.gateway.session import Sessions, set_cookies
from meshlight.gateway.settings import SettingsController


class Identity(Struct, frozen=True, kw_only=True):
    """Which service this is; `instance` is new at each start and stands in the runtime file too."""

    status: str = "ok"
    instance: str
    version: str


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """The local key, to be swapped for the page's cookie."""

    key: str


class Link(Struct, frozen=True):
    """A one-time link to the page; it works for a minute."""

    url: str


class Faces(Struct, frozen=True, kw_only=True):
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
    require_key: Callable[[], bool]
    knowledge: dict[str, object]
    """What the control handlers ask, by the name of their parameter: feed, registry, prober, roster …"""


def build_app(faces: Faces) -> ASGIApp:
    """Join the faces into one application."""

    @get(
        "/healthz",
        summary="Is it alive, and which one is it",
        tags=["service"],
        security=[{}],
        responses=problems(),
    )
    async def healthz() -> Identity:
        """Say that the service lives; needs no key."""
        return faces.identity

    @get(
        "/metrics",
        summary="Prometheus metrics",
        tags=["service"],
        media_type=MediaType.TEXT,
        responses=problems(),
    )
    async def metrics() -> Response[bytes]:
        """Return the service's numbers in Prometheus' text format."""
        return Response(faces.metrics.text(), media_type=CONTENT_TYPE)

    @post(
        "/mesh/session",
        status_code=204,
        summary="Sign the page in",
        tags=["page"],
        security=[{}],
        responses=problems(has_body=True),
    )
    async def sign_in(data: JSONBody[SignIn]) -> Response[None]:
        """Swap the local key for the page's cookie."""
        if not faces.is_key(data.key.encode()):
            raise KeyRefused(
                "That is not the local key.", "`meshlight key` prints it; `meshlight open` needs none."
            )
        response = Response(None, status_code=204)
        token = faces.sessions.open()
        response.headers["set-cookie"] = set_cookies(token)[0]
        return response

    @post(
        "/mesh/session/code", status_code=200, summary="A one-time link", tags=["page"], responses=problems()
    )
    async def code() -> Link:
        """Make a link that opens the page once, within a minute."""
        return Link(f"{faces.url}/?code={faces.sessions.code()}")

    @get(
        "/mesh/schema",
        summary="This description",
        tags=["service"],
        cache_control=CacheControlHeader(no_cache=True),
        responses=problems(),
    )
    async def schema() -> Response[dict[str, Any]]:
        """Return the OpenAPI description of `/mesh`."""
        return Response(description(), media_type=MediaType.JSON)

    handlers: list[Any] = [
        healthz,
        metrics,
        sign_in,
        code,
        schema,
        MeshController,
        BackendsController,
        KindsController,
        QrController,
        SettingsController,
        PeersController,
        asgi("/mesh/events", copy_scope=False)(faces.events),
        # By name and not as a mount: a mount at / would take every other mount's requests.
        asgi(sorted(faces.page.paths), copy_scope=False)(faces.page),
    ]
    app = Litestar(
        handlers,
        dependencies={name: _known(thing) for name, thing in faces.knowledge.items()},
        exception_handlers=HANDLERS,
        openapi_config=None,
        request_class=JsonRequest,
        logging_config=None,
        debug=False,
    )

    @cache
    def description() -> Any:
        return describe(app, faces.identity.version)  # 30 ms that only who asks shall pay

    return Guard(
        Front(app, faces.inference),  # type: ignore[arg-type]
        port=faces.port,
        is_key=faces.is_key,
        sessions=faces.sessions,
        require_key=faces.require_key,
        free=faces.page.paths,
    )


def _known(thing: object) -> Provide:
    return Provide(lambda: thing, sync_to_thread=False)
