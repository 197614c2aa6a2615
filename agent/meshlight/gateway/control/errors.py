"""Litestar's exception handlers: every error of a handler is answered in the same envelope."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from meshlight.domain.errors import (
    BackendCheckFailed,
    BadRequest,
    Conflict,
    MeshlightError,
    MethodNotAllowed,
    NotFound,
    OriginForbidden,
    PayloadTooLarge,
    RequestError,
    Unauthorized,
    UnsupportedMediaType,
)
from meshlight.gateway.errors import ErrorResponse, error_response, unexpected
from meshlight.gateway.validation import type_error

AnyRequest = Request[Any, Any, Any]
Handler = Callable[[AnyRequest, Exception], Response[bytes]]

_MISSING = re.compile(r"Missing required query parameter '(\w+)'")
_BY_STATUS: Mapping[int, type[RequestError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: OriginForbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: BackendCheckFailed,
}


def translate(error: HTTPException, path: str) -> MeshlightError:
    """Return a Litestar error as one of ours; its texts for 5xx are not shown."""
    if error.status_code == 404:
        return NotFound(f"There is nothing at {path[:200]}.", "GET /mesh/schema lists what there is.")
    if error.status_code == 400:
        return _bad_request(error)
    if error.status_code == 405:
        allowed = ", ".join(sorted(_allowed(error) - {"OPTIONS"}))
        return MethodNotAllowed(f"{path[:200]} takes {allowed}.", f"Use {allowed}.")
    kind = _BY_STATUS.get(error.status_code)
    if kind is not None:
        return kind(_sentence(error.detail))
    return BadRequest(_sentence(error.detail)) if error.status_code < 500 else MeshlightError("")


def handle_own(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer a `MeshlightError`."""
    if not isinstance(error, MeshlightError):
        return handle_unexpected(request, error)
    return _response(error_response(error, request.scope["path"]))


def handle_litestar(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer an error that Litestar raised: no such route, wrong method, a body that does not decode."""
    if not isinstance(error, HTTPException) or error.status_code >= 500:
        return handle_unexpected(request, error)
    response = _response(error_response(translate(error, request.scope["path"]), request.scope["path"]))
    if allowed := _allowed(error):
        response.headers["allow"] = ", ".join(sorted(allowed))
    return response


def handle_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer any other error: a fault of this service, 500 with an id and no details."""
    return _response(unexpected(error, request.scope["path"]))


def handle_nesting(request: AnyRequest, error: Exception) -> Response[bytes]:  # noqa: ARG001 - Litestar's signature
    """Answer JSON that is nested too deeply to decode: Litestar does not catch the decoder's error."""
    return _response(error_response(BadRequest("The body is nested too deeply."), request.scope["path"]))


HANDLERS: dict[int | type[Exception], Handler] = {
    MeshlightError: handle_own,
    HTTPException: handle_litestar,
    RecursionError: handle_nesting,
    Exception: handle_unexpected,
}
"""For `Litestar(exception_handlers=...)`."""


def _bad_request(error: HTTPException) -> BadRequest:
    """Return an error that names the first invalid field."""
    details = error.extra if isinstance(error.extra, list) else []
    first = details[0] if details and isinstance(details[0], dict) else {}
    key, message = first.get("key"), first.get("message")
    if missing := _MISSING.match(error.detail):
        return BadRequest(f"The query parameter {missing[1]} is missing.", "", missing[1])
    if not isinstance(message, str):
        return BadRequest(_sentence(error.detail))
    if not isinstance(key, str) or key == "data":  # Litestar's name for the body as a whole
        return BadRequest(_sentence(message))
    return BadRequest(type_error(key, message), param=key)


def _allowed(error: HTTPException) -> set[str]:
    """Return the allowed methods, for an error about another method."""
    message = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), "")
    return {method.strip() for method in message.split(",") if method.strip()}


def _sentence(text: str) -> str:
    """Return `text` as one short line that ends with a full stop."""
    line = " ".join(text.split())[:500]
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _response(made: ErrorResponse) -> Response[bytes]:
    headers = {name.decode(): value.decode() for name, value in made.headers if name != b"content-type"}
    return Response(made.body, status_code=made.status, headers=headers, media_type=MediaType.JSON)
