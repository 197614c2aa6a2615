"""The gateway as one ASGI application: the guard before everything, Litestar with the faces behind it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from litestar import Litestar, MediaType, Response, asgi, get, post
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace

from meshlight.domain.errors import BadRequest, KeyRefused, MeshlightError
from meshlight.domain.proof import is_challenge
from meshlight.gateway.asgi import ASGIApp
from meshlight.gateway.control import BackendsController, MeshController
from meshlight.gateway.description import describe, problems
from meshlight.gateway.errors import HANDLERS
from meshlight.gateway.events import Events
from meshlight.gateway.front import Front
from meshlight.gateway.guard import ENTER, Guard
from meshlight.gateway.inference import Inference
from meshlight.gateway.json_request import JsonRequest
from meshlight.gateway.kinds_view import KindsController
from meshlight.gateway.metrics import CONTENT_TYPE, Metrics
from meshlight.gateway.page import Page
from meshlight.gateway.peers import PeersController
from meshlight.gateway.qr import QrController
from meshlight.gateway.session import Sessions, set_cookies
from meshlight.gateway.settings import SettingsController

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


class Identity(Struct, frozen=True, kw_only=True):
    """Which service this is: what anybody on this machine may know, and so without the id of this start."""

    status: str = "ok"
    service: str = "meshlight"
    version: str
    proof: str | UnsetType = UNSET
    """The answer to a challenge, which only a holder of the local key can give."""


class SignIn(Struct, frozen=True, forbid_unknown_fields=True):
    """The local key, to be swapped for the page's cookie."""

    key: str


class Link(Struct, frozen=True):
    """A one-time link to the page; it works for a minute."""

    url: str


class FileWish(Struct, frozen=True, forbid_unknown_fields=True):
    """What the page is to show, as the fragment of its address, and the snap that the browser is, if it is one."""

    fragment: Fragment = ""
    snap: Snap = ""


class LinkFile(Struct, frozen=True):
    """A file that opens the page once when a browser is given its path; it works for a minute."""

    path: str


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
    prove: Callable[[str], str]
    """Answers a challenge by the local key."""
    require_key: Callable[[], bool]
    allowed_hosts: Callable[[], tuple[str, ...]]
    allowed_origins: Callable[[], tuple[str, ...]]
    write_link: Callable[[str, str, str], Path]
    """Writes the file that posts a code (the second) to an address (the first), for a browser (the third)."""
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
    async def healthz(challenge: Challenge = None) -> Identity:
        """Say that the service lives; needs no key.

        With a challenge of 64 hex digits it proves by the local key that it is the service of the runtime file,
        before a client shows the key: HMAC-SHA256(key, "meshlight|" challenge "|" instance).
        """
        if challenge is None:
            return faces.identity
        if not is_challenge(challenge):
            raise BadRequest("The challenge is not 64 hex digits.", "Send 32 random bytes.", "challenge")
        return replace(faces.identity, proof=faces.prove(challenge))

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

    @post(
        "/mesh/session/file",
        status_code=200,
        summary="A file that opens the page",
        tags=["page"],
        responses=problems(has_body=True),
    )
    async def file(data: JSONBody[FileWish]) -> LinkFile:
        """Write a file that opens the page once, within a minute: a browser gets its path, and no code.

        Other users of this machine can read each program's command line, and what a browser opens stands there.
        """
        action = f"{faces.url}{ENTER}" + (f"#{data.fragment}" if data.fragment else "")
        try:
            return LinkFile(str(faces.write_link(action, faces.sessions.code(), data.snap)))
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
        file,
        schema,
        MeshController,
        BackendsController,
        KindsController,
        QrController,
        SettingsController,
        PeersController,
        asgi("/mesh/events", copy_scope=False)(faces.events),
        # By name and not as a mount: a mount at / would take every other mount's requests.
        asgi([*sorted(faces.page.paths), ENTER], copy_scope=False)(faces.page),
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
        allowed_hosts=faces.allowed_hosts,
        allowed_origins=faces.allowed_origins,
    )


def _known(thing: object) -> Provide:
    return Provide(lambda: thing, sync_to_thread=False)
