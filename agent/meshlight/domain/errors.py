"""All errors of Meshlight, in one tree.

MeshlightError
├── RequestError               the caller can fix it
│   ├── BadRequest             400  the body or a parameter is wrong
│   │   ├── BadAddress         400  a URL that can't be a backend's
│   │   ├── NoModelInBody      400  the body is no JSON object, or names no model
│   │   ├── ContextExceeded    400  the request is longer than every context of the model
│   │   └── Untranslatable     400  a field that the backend's protocol does not have
│   │       ├── PreviousResponseUnknown  400  it continues a response that is not stored
│   │       └── TooMuch        413  a body too large to be translated
│   ├── Unauthorized           401  the local key is missing or wrong
│   ├── OriginForbidden        403  a foreign Host, Origin or site
│   ├── NotFound               404  no such thing
│   │   └── ModelNotFound      404  no backend serves a model of that name
│   ├── MethodNotAllowed       405  the address exists, the method does not
│   ├── Conflict               409  it exists already
│   ├── PayloadTooLarge        413  the body is over the limit
│   ├── UnsupportedMediaType   415  the body does not have the required media type
│   ├── BackendCheckFailed     422  a backend was tried before saving, and the check failed
│   └── TooManyRequests        429  the maximum number is reached
├── RouteError                 no backend could answer
│   ├── AllBusy                429  no slot for the model became free in time, or too many wait for one
│   ├── Paused                 503  the user turned routing off for now
│   ├── RoutingLoop            508  the request went in a circle between nodes
│   ├── EveryRouteDown         503  each route was tried or is known to be down
│   ├── FirstByteTooLate       504  a backend accepted the request and sent nothing in time
│   └── BackendFailed          502  a backend sent an invalid response
├── UpstreamError              the failure of one attempt; the relay turns it into one of the above
│   ├── ConnectError                no connection: nothing was sent
│   ├── ReadError                   the connection ended before the response did
│   ├── ReadTimeout                 nothing arrived in time
│   ├── RemoteProtocolError         invalid HTTP
│   ├── RouteUnavailable            there is no route to this model of the backend now
│   ├── ResponseTooLarge            more than this caller reads
│   └── TranslationFailed           the response can't be translated to the caller's protocol
├── ConfigError                409  the configuration file can't be used (line, what is wrong)
├── SecretError                409  a secret can't be read or stored (state, three fixes)
├── PairingError               409  two machines were not paired (cause)
└── ServiceError               the service can't start or can't be reached
    ├── NotRunning             it does not run: it may be started
    └── NoWindow               this machine can't show a window

Each has `code` (for programs), `title` (a sentence for people), `hint` (what to do next) and `status`.
"""

from typing import ClassVar, Literal

from msgspec import Struct

from meshlight.domain.backend import Reason


class MeshlightError(Exception):
    """The root: a sentence that says what failed and where, and a hint that says what to do next."""

    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "api_error"
    status: ClassVar[int] = 500

    def __init__(self, title: str, hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.hint = hint


class RequestError(MeshlightError):
    """The caller can fix it; `param` names the wrong parameter, where it is one."""

    code = "invalid_request"
    type = "invalid_request_error"
    status = 400

    def __init__(self, title: str, hint: str = "", param: str | None = None) -> None:
        super().__init__(title, hint)
        self.param = param


class BadRequest(RequestError):
    """The body or a parameter is wrong."""


class NoModelInBody(BadRequest):
    """The body is no JSON object, or names no model."""


class ContextExceeded(BadRequest):
    """The request is longer than every context of the model; the clients of each protocol get its own words for it.

    `limit` is the largest context in tokens (0 if it is not known), `tokens` what the prompt has, and
    `answer_tokens` what the answer may have (0 if the request does not say); `attempts` were made.
    """

    code = "context_length_exceeded"

    def __init__(
        self,
        limit: int,
        tokens: int,
        hint: str = "",
        *,
        answer_tokens: int = 0,
        param: str | None = None,
        attempts: int = 0,
    ) -> None:
        if not limit:
            title = "Your input exceeds the context window of this model."
        elif tokens <= limit < tokens + answer_tokens:
            title = (
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{tokens + answer_tokens} tokens ({tokens} in the messages, {answer_tokens} in the completion). "
                "Please reduce the length of the messages or completion."
            )
        else:
            title = (
                f"This model's maximum context length is {limit} tokens. However, your messages resulted in "
                f"{tokens} tokens. Please reduce the length of the messages."
            )
        super().__init__(title, hint, param)
        self.limit = limit
        self.tokens = tokens
        self.answer_tokens = answer_tokens
        self.attempts = attempts


class BadAddress(BadRequest):
    """A URL that can't be a backend's address."""

    code = "bad_address"


class Untranslatable(BadRequest):
    """The caller's protocol has a field that the backend's has not; `param` names it."""

    code = "untranslatable"


class PreviousResponseUnknown(Untranslatable):
    """The request continues a response that is not stored here (any more); another backend may have it."""

    code = "previous_response_not_found"


class TooMuch(Untranslatable):
    """The body is too large to be translated; a backend that takes it as it is may have it."""

    code = "too_large"
    status = 413


class Unauthorized(RequestError):
    """The local key is missing or wrong; OpenAI clients map the type to their AuthenticationError."""

    code = "invalid_api_key"
    type = "authentication_error"
    status = 401


class OriginForbidden(RequestError):
    """The request comes from a foreign Host, Origin or site."""

    code = "boundary"
    type = "permission_error"
    status = 403


class NotFound(RequestError):
    """No such thing."""

    code = "not_found"
    status = 404


class ModelNotFound(NotFound):
    """No backend serves a model of that name."""

    code = "model_not_found"


class MethodNotAllowed(RequestError):
    """The address exists, the method does not."""

    code = "method_not_allowed"
    status = 405


class Conflict(RequestError):
    """It exists already."""

    code = "conflict"
    status = 409


class PayloadTooLarge(RequestError):
    """The body is over the limit."""

    code = "too_large"
    status = 413


class UnsupportedMediaType(RequestError):
    """The body does not have the required media type."""

    code = "unsupported_media_type"
    status = 415


class BackendCheckFailed(RequestError):
    """A backend was tried before saving, and the check failed."""

    code = "check_failed"
    status = 422


class TooManyRequests(RequestError):
    """The maximum number is reached: one has to end before the next."""

    code = "too_many"
    status = 429


class RouteError(MeshlightError):
    """No backend could answer; a retry may help after `retry_after_s` seconds; `attempts` were made."""

    def __init__(
        self,
        title: str,
        hint: str = "",
        retry_after_s: float | None = None,
        attempts: int = 0,
        *,
        is_warming: bool = False,
    ) -> None:
        super().__init__(title, hint)
        self.retry_after_s = retry_after_s
        self.attempts = attempts
        self.is_warming = is_warming
        """Whether a route is loading its model, so that a retry helps though each was tried."""


class EveryRouteDown(RouteError):
    """Each route was tried or is known to be down."""

    code = "every_route_down"
    status = 503


class FirstByteTooLate(RouteError):
    """A backend accepted the request and sent nothing in time."""

    code = "first_byte_too_late"
    status = 504


class AllBusy(RouteError):
    """Every slot for the model is busy, and the wait for one was too long or could not begin."""

    code = "all_busy"
    type = "rate_limit_error"
    status = 429


class Paused(RouteError):
    """The user turned routing off for now."""

    code = "paused"
    status = 503


class RoutingLoop(RouteError):
    """The request went in a circle between nodes."""

    code = "loop_found"
    status = 508


class BackendFailed(RouteError):
    """A backend sent an invalid response."""

    code = "backend_broke"
    status = 502


ConnectCause = Literal["refused", "name", "tls", "timeout", "unreachable", "forbidden", "proxy"]


class UpstreamError(MeshlightError):
    """The failure of one attempt."""

    code = "upstream"


class ConnectError(UpstreamError):
    """No connection: nothing was sent, so the request may always go elsewhere."""

    def __init__(self, cause: ConnectCause, title: str, hint: str = "") -> None:
        super().__init__(title, hint)
        self.cause = cause


class ReadError(UpstreamError):
    """The connection ended before the response did."""

    def __init__(self, title: str, *, reused: bool, got_bytes: bool) -> None:
        super().__init__(title)
        self.reused = reused
        """Whether the connection had carried an earlier exchange (it may have been closing already)."""
        self.got_bytes = got_bytes
        """Whether any byte of this response had arrived."""


class ReadTimeout(UpstreamError):
    """Nothing arrived in time."""


class RouteUnavailable(UpstreamError):
    """There is no route to this model of the backend now; nothing was sent, so the request may go elsewhere.

    A retry may help after `retry_after_s` seconds, where that is known.
    """

    def __init__(self, why: Reason, retry_after_s: float | None = None) -> None:
        super().__init__(why.text, why.fix)
        self.why = why
        self.retry_after_s = retry_after_s


class RemoteProtocolError(UpstreamError):
    """The response is not valid HTTP."""


class ResponseTooLarge(UpstreamError):
    """The response is larger than this caller reads."""


class TranslationFailed(UpstreamError):
    """The response can't be translated to the caller's protocol: it contains an error, or is incomplete."""

    code = "untranslated"


class ConfigError(MeshlightError):
    """The configuration file can't be used; `line` (from 1) says where, when it is known."""

    code = "config"
    type = "invalid_request_error"
    status = 409

    def __init__(self, title: str, hint: str = "", line: int | None = None) -> None:
        super().__init__(title, hint)
        self.line = line


SecretState = Literal["missing", "locked", "no-keyring", "refused", "other-address"]


class SecretError(MeshlightError):
    """A secret can't be read or stored."""

    code = "secret"
    type = "invalid_request_error"
    status = 409

    def __init__(self, state: SecretState, title: str, hint: str = "") -> None:
        super().__init__(title, hint)
        self.state = state


class PairingError(MeshlightError):
    """Two machines were not paired; `cause` is a `PairingEnding` of `domain/pairing.py`."""

    code = "pairing"
    type = "invalid_request_error"
    status = 409

    def __init__(self, cause: str, title: str, hint: str = "") -> None:
        super().__init__(title, hint)
        self.cause = cause


class ServiceError(MeshlightError):
    """The service can't start or can't be reached."""

    code = "service"


class NotRunning(ServiceError):
    """The service does not run: it may be started."""


class NoWindow(ServiceError):
    """This machine can't show a window."""


class ErrorBody(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """The content of OpenAI's error envelope, with Meshlight's hint added."""

    message: str
    type: str
    code: str
    param: str | None = None
    hint: str = ""


class Envelope(Struct, frozen=True):
    """OpenAI's error envelope: `{"error": {"message", "type", "code", "param"}}`."""

    error: ErrorBody


def envelope(error: MeshlightError) -> Envelope:
    """Return an error in the shape that all errors of the gateway have."""
    message = f"{error.title} {error.hint}".strip() if error.hint else error.title
    param = error.param if isinstance(error, RequestError) else None
    return Envelope(
        ErrorBody(message=message, type=error.type, code=error.code, param=param, hint=error.hint)
    )
