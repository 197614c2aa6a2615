"""Why a cluster does not answer as it should, in words for people.

A manager tells its refusals apart by `msg` alone: the `title` of every 401 is "Credential/signature mismatch."
"""

from typing import Literal

from msgspec import Struct

from meshlight.backends.backend_ai.limits import ClusterClock
from meshlight.backends.diagnostics import reason, where
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import ConnectError, UpstreamError
from meshlight.domain.health import Failed, Limited, ProbeFact, Refused
from meshlight.domain.text import sanitize_line
from meshlight.http_client.error_text import is_html
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply

Trouble = Literal["clock", "version", "other"]

_WHO = "the Backend.AI manager"
_ADMIN = "Ask the cluster's administrator"
_KEYS = "Give the pair of keys that the web UI shows under your user menu, My Account."
_API = "Give the address of the manager's API (an administrator knows it; its usual port is 8081 or 8091)."
_OWN_AUTHORITY = (
    "If your company has an authority of its own, give the file of its certificate (PEM) as the CA file of this "
    "backend. The certificate is always checked."
)


class _Problem(Struct, frozen=True):
    msg: str = ""
    title: str = ""


def trouble_of(reply: Reply) -> Trouble:
    """Say whether a refusal may be mended by asking for the time and the API version again."""
    told = _msg(reply).lower()
    if reply.status == 400 and "date/time" in told:
        return "clock"
    return "version" if reply.status == 400 and "api version" in told else "other"


def missed_reason(error: UpstreamError, backend: Backend) -> Reason:
    """Say why the manager gave no answer."""
    why = reason(error, backend, _WHO, "Check with the cluster's administrator whether it is down")
    if isinstance(error, ConnectError) and error.cause == "tls" and "CA file" not in why.text:
        return Reason("tls", why.text, f"{_OWN_AUTHORITY} {why.fix}")
    if isinstance(error, ConnectError) and error.cause == "tls":
        return Reason(
            "tls", why.text, "Check the path of the CA file; it holds one certificate or more in PEM form."
        )
    return why


def stranger_reason(reply: Reply, backend: Backend, *, is_web_ui: bool) -> Reason:
    """Say what else than a manager answers `GET /`."""
    at = where(backend)
    if is_web_ui:
        return Reason(
            "web-ui",
            f"{at} is the address of the Backend.AI web UI; requests are signed for the manager's API, "
            "and the web UI does not pass them on.",
            _API,
        )
    if 300 <= reply.status < 400:
        return redirected(reply, backend)
    if is_html(reply):
        return Reason(
            "not-an-api", f"{at} answers with a web page, not with the API of a Backend.AI manager.", _API
        )
    if reply.status == 429:
        return _limited(at)
    if reply.status >= 500:
        return Reason(
            "server-error",
            f"{at} answers with an error ({reply.status}): a proxy without its manager, perhaps.",
            f"{_ADMIN} whether the manager is running.",
        )
    return Reason(
        "not-this-kind",
        f"{at} is not the API of a Backend.AI manager: it names no API version ({reply.status}).",
        _API,
    )


def refusal_fact(reply: Reply, backend: Backend, clock: ClusterClock, wait_s: float) -> ProbeFact:
    """Turn an answer to a signed request, other than 200, into what it says of the cluster's health."""
    why = refusal_reason(reply, backend, clock)
    if why.code in {"unauthorized", "forbidden", "clock-off"}:
        return Refused(why)
    return Limited(why, wait_s) if why.code == "rate-limited" else Failed(why)


def refusal_reason(reply: Reply, backend: Backend, clock: ClusterClock) -> Reason:
    """Say what an answer to a signed request means that is not 200."""
    at, status = where(backend), reply.status
    if status == 401:
        return _unauthorized(reply, backend, _msg(reply).lower())
    if status == 403:
        return Reason(
            "forbidden",
            f"Signed in at {at}, but this account has no permission to list model services (403).",
            f"{_ADMIN} for that permission.",
        )
    if status == 429:
        return _limited(at)
    if 300 <= status < 400:
        return redirected(reply, backend)
    if status >= 500:
        return failing(backend, f"it answers {status}")
    return _bad_request(reply, backend, clock)


def failing(backend: Backend, how: str) -> Reason:
    """Say that the manager is there and can't do its work."""
    return Reason(
        "manager-failing",
        f"The manager at {where(backend)} is up but failing internally: {how} to a signed request.",
        f"{_ADMIN} to look at its database and its Redis.",
    )


def redirected(reply: Reply, backend: Backend) -> Reason:
    """Say that a signed request would have to be sent elsewhere, where its signature is worth nothing."""
    target = sanitize_line(header_value(reply.headers, b"location")) or "elsewhere"
    text = f"{where(backend)} redirects to {target}, and a signature holds for one address only."
    return Reason("redirected", text, "Use the address to which it leads as the URL of this backend.")


def token_reason(reply: Reply, name: str, backend: Backend, clock: ClusterClock) -> Reason:
    """Say why there is no token for a service."""
    if reply.status >= 500:
        return Reason(
            "no-token",
            f"There is no token for the service {name}: the cluster's app proxy is not reachable from its manager "
            f"({reply.status}).",
            f"{_ADMIN} to look at the app proxy.",
        )
    if reply.status in {403, 404}:
        return Reason(
            "no-token",
            f"The manager gives this account no token for the service {name} ({reply.status}).",
            f"Use a service of your own, or {_ADMIN[0].lower()}{_ADMIN[1:]}.",
        )
    why = refusal_reason(reply, backend, clock)
    return Reason(why.code, f"There is no token for the service {name}: {why.text}", why.fix)


def keys_reason(access_key: str, secret: str | None) -> Reason | None:
    """Say what is wrong with a pair of keys by itself; None when nothing is."""
    if not access_key:
        return Reason("unauthorized", "The access key of this cluster is not given.", _KEYS)
    if not secret or not secret.strip():
        return Reason("unauthorized", "The secret key of this cluster is not given.", _KEYS)
    is_plain = access_key.isascii() and access_key.isprintable() and not any(c in access_key for c in " :,=")
    if not is_plain:
        return Reason("unauthorized", "The access key holds letters that no access key has.", _KEYS)
    return (
        None if secret.isprintable() else Reason("unauthorized", "The secret key holds a line break.", _KEYS)
    )


def _unauthorized(reply: Reply, backend: Backend, told: str) -> Reason:
    at, key = where(backend), sanitize_line(backend.access_key)
    if "mismatch" in told:
        return Reason(
            "unauthorized",
            f"The secret key is wrong for the access key {key}, or a proxy before {at} changes the address.",
            "Give the secret key again. If it is right, the manager must be told of the proxy (trusted proxies): "
            "the signature covers host and path.",
        )
    if "key not found" in told:
        return Reason(
            "unauthorized",
            f"The access key {key} is unknown at {at}, or was deactivated.",
            f"Check it. {_KEYS}",
        )
    if "allowed ip" in told:
        return Reason(
            "forbidden",
            f"This computer's IP address is not allowed for this account at {at}. {_quoted(reply)}",
            f"{_ADMIN} to allow it, or use the network or VPN that is allowed.",
        )
    if backend.url.rstrip("/").endswith("/func"):
        return stranger_reason(reply, backend, is_web_ui=True)
    return Reason(
        "unauthorized",
        f"The access key {key} has no login rights at {at}: it may not be its user's main key.",
        f"Use the main pair of keys of your account. {_KEYS}",
    )


def _bad_request(reply: Reply, backend: Backend, clock: ClusterClock) -> Reason:
    at, status = where(backend), reply.status
    match trouble_of(reply):
        case "clock" if clock.follows and not clock.is_far_off:
            return Reason(
                "clock-off",
                f"{at} refuses the date of what is signed here, though its answers bear the same time.",
                f"{_ADMIN} to look at the clocks of the manager and of the proxy before it.",
            )
        case "clock":
            return Reason(
                "clock-off",
                f"This computer's clock is {clock.difference()}, so {at} refuses what it signs.",
                "Set this computer's clock, or the cluster's."
                if clock.follows
                else "Set the clock, or switch its correction (follow_clock) on for this backend.",
            )
        case "version":
            return Reason(
                "unsupported-version",
                f"The manager at {at} does not support the API versions that are spoken here.",
                "Update Meshlight, or the cluster.",
            )
    if status == 404:
        return Reason("no-services", f"The manager at {at} has no list of model services (404).", _API)
    if is_html(reply):
        return Reason("not-an-api", f"{at} answers a signed request with a web page ({status}).", _API)
    text = f"{at} answers {status} to a signed request. {_quoted(reply)}".strip()
    return Reason("bad-reply", text, f"{_ADMIN}.")


def no_list_reason(reply: Reply, backend: Backend) -> Reason:
    """Say what a 200 means that is no list of services."""
    at = where(backend)
    if is_html(reply):
        return Reason("not-an-api", f"{at} answers a signed request with a web page.", _API)
    return Reason("bad-reply", f"{at} answers, but not with a list of model services.", _API)


def _limited(at: str) -> Reason:
    return Reason(
        "rate-limited",
        f"{at} asks to come back later: this account has used up its number of requests (429).",
        "Wait; it is asked less often now. An administrator can raise the limit of the keys.",
    )


def _msg(reply: Reply) -> str:
    """Return what an answer gives as the message of its problem; of one without, the title."""
    if is_html(reply) or len(reply.body) > 1 << 16:
        return ""
    problem = decode_or_none(reply.body, _Problem)
    return (problem.msg or problem.title) if problem is not None else ""


def _quoted(reply: Reply) -> str:
    text = sanitize_line(_msg(reply))
    return f"It says: {text}" if text else ""


def token_refused(service: str) -> Reason:
    """Say that the app proxy takes no token for a service, not even a new one: no key of the user's is wrong."""
    return Reason(
        "token-refused",
        f"Service token refused: the cluster's app proxy takes no token for the service {sanitize_line(service)}, "
        "not even a new one.",
        "Ask the cluster's administrator to look at the app proxy: its secret or clock may differ from the "
        "manager's.",
    )


def service_refused(service: str, status: int) -> Reason:
    """Say that what runs in a service's container refuses requests that the app proxy lets through."""
    return Reason(
        "service-refused",
        f"The service {sanitize_line(service)} itself refuses requests ({status}), though its token was taken.",
        "Its container may want a key of its own: start the model server in it without one.",
    )
