"""`/mesh/session/request`: a browser without a key asks to be let in, and the tray answers (`access/let_in.py`)."""

from typing import Annotated

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import Meta, Struct

from meshlight.domain.api_types import PendingSignIn
from meshlight.gateway.access.let_in import COOKIE, PATH, asking_cookie
from meshlight.gateway.access.sessions import set_cookies
from meshlight.gateway.access.sign_in import SignIn, SignInAsked
from meshlight.gateway.control.openapi import documented_errors

AnyRequest = Request[object, object, State]


class SignInCode(Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the browser shows."""

    code: Annotated[str, Meta(pattern="^[0-9]{4}$")]


class SignInAnswer(Struct, frozen=True, kw_only=True):
    """Whether the browser has been let in."""

    allowed: bool


SignInDep = NamedDependency[SkipValidation[SignIn]]


class SignInController(Controller):
    """Browsers that ask to be let in."""

    path = PATH
    tags = ["page"]  # noqa: RUF012 Litestar's own pattern

    @get("/", summary="The browser that asks to be let in", responses=documented_errors())
    async def pending(self, sign_in: SignInDep) -> PendingSignIn:
        """Return the browser that asks now; its code is empty if none does."""
        return sign_in.let_in.pending

    @post("/", status_code=200, summary="Ask to be let in", security=[{}], responses=documented_errors(429))
    async def ask(self, sign_in: SignInDep, request: AnyRequest) -> Response[SignInAsked]:
        """Ask the user of this machine, in the tray, to let this browser in; needs no key.

        One browser can ask at a time, for a minute. The answer sets a cookie, without which nobody gets the session.
        """
        token, asked = await sign_in.ask(request.scope["client"], request.cookies.get(COOKIE, ""))
        response = Response(asked)
        response.headers["set-cookie"] = asking_cookie(token)
        return response

    @post(
        "/answer",
        status_code=200,
        summary="Wait to be let in",
        security=[{}],
        responses=documented_errors(404),
    )
    async def answer(self, sign_in: SignInDep, request: AnyRequest) -> Response[SignInAnswer]:
        """Return whether this browser may come in, and then give it the page's cookies; 404 when it may not."""
        token = sign_in.let_in.answer(request.cookies.get(COOKIE, ""))
        response = Response(SignInAnswer(allowed=token is not None))
        if token is not None:
            response.headers["set-cookie"] = set_cookies(token)[0]
        return response

    @post(
        "/allow", status_code=204, summary="Let a browser in", responses=documented_errors(409, has_body=True)
    )
    async def allow(self, sign_in: SignInDep, data: JSONBody[SignInCode]) -> None:
        """Let the browser in that shows this code."""
        sign_in.let_in.allow(data.code)

    @post(
        "/refuse",
        status_code=204,
        summary="Turn a browser away",
        responses=documented_errors(409, has_body=True),
    )
    async def refuse(self, sign_in: SignInDep, data: JSONBody[SignInCode]) -> None:
        """Turn the browser away that shows this code; for a minute, none can ask again."""
        sign_in.let_in.refuse(data.code)
