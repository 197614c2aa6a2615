"""Why a cluster does not answer as it should, for people, with what to do next.

The status of an answer is judged before its body: a page with 502 is a proxy whose manager is away, whatever the
page looks like. A manager's refusals differ in `msg` alone: the `title` of every 401 is "Credential/signature
mismatch."
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
from meshlight.http_client.reply import Reply

Disagreement = Literal["clock", "version", "other"]

_MANAGER = "the Backend.AI manager"
_ADMIN = "Ask the cluster's administrator"
_KEYS = "Give the pair of keys that the web UI shows under your user menu, My Account."
_API = "Give the address of the manager's API (an administrator knows it; its usual port is 8081 or 8091)."
_OWN_AUTHORITY = (
    "If your company has an authority of its own, give the file of its certificate (PEM) as the CA file of this "
    "backend. The certificate is always checked."
)
_NO_MANAGER = frozenset({502, 503, 504})
"""What a proxy answers when there is no manager behind it."""


def disagreement(reply: Reply) -> Disagreement:
    """Return what a refusal disagrees with, if asking for time and API version again may fix it."""
    msg = _msg(reply).lower()
    if reply.status == 400 and "date/time" in msg:
        return "clock"
    return "version" if reply.status == 400 and "api version" in msg else "other"


def unanswered_reason(error: UpstreamError, backend: Backend) -> Reason:
    """Return why the manager gave no answer."""
    why = reason(error, backend, _MANAGER, "Check with the cluster's administrator whether it is down")
    if isinstance(error, ConnectError) and error.cause == "tls" and "CA file" not in why.text:
        return Reason("tls", why.text, f"{_OWN_AUTHORITY} {why.fix}")
    if isinstance(error, ConnectError) and error.cause == "tls":
        return Reason(
            "tls", why.text, "Check the path of the CA file; it holds one certificate or more in PEM form."
        )
    return why


def no_manager_reason(reply: Reply, backend: Backend, *, is_web_ui: bool) -> Reason:
    """Return what else than a manager answers `GET /`."""
    at, status = where(backend), reply.status
    if is_web_ui:
        return Reason(
            "web-ui",
            f"{at} is the address of the Backend.AI web UI; requests are signed for the manager's API, "
            "and the web UI does not pass them on.",
            _API,
        )
    if 300 <= status < 400:
        return redirected(reply, backend)
    if status == 429:
        return _limited(at)
    if status in _NO_MANAGER:
        return _proxy_alone(at, status)
    if status >= 500:
        return Reason(
            "server-error",
            f"{at} answers with an error ({status}).",
            f"{_ADMIN} whether the manager is running.",
        )
    if status in {401, 403} and is_html(reply):
        return _proxy_refuses(at, status)
    if is_html(reply):
        page = "a web page" if status == 200 else f"a web page ({status})"
        return Reason(
            "not-an-api", f"{at} answers with {page}, not with the API of a Backend.AI manager.", _API
        )
    return Reason(
        "not-this-kind",
        f"{at} is not the API of a Backend.AI manager: it names no API version ({status}).",
        _API,
    )


def refusal_fact(reply: Reply, backend: Backend, clock: ClusterClock) -> ProbeFact:
    """Return what an answer to a signed request, other than 200, says of the cluster's health."""
    why = refusal_reason(reply, backend, clock)
    if why.code in {"unauthorized", "forbidden", "clock-off"}:
        return Refused(why)
    return Limited(why) if why.code == "rate-limited" else Failed(why)


def refusal_reason(reply: Reply, backend: Backend, clock: ClusterClock) -> Reason:
    """Return what an answer to a signed request means that is not 200."""
    at, status = where(backend), reply.status
    if status == 429:
        return _limited(at)
    if 300 <= status < 400:
        return redirected(reply, backend)
    if status in _NO_MANAGER and is_html(reply):
        return _proxy_alone(at, status)
    if status >= 500:
        return failing(backend, f"it answers {status}")
    if status in {401, 403} and is_html(reply):
        return _proxy_refuses(at, status)
    if status == 401:
        return _unauthorized(reply, backend, _msg(reply).lower())
    if status == 403:
        return Reason(
            "forbidden",
            f"Signed in at {at}, but this account has no permission to list model services (403).",
            f"{_ADMIN} for that permission.",
        )
    return _bad_request(reply, backend, clock)


def failing(backend: Backend, how: str) -> Reason:
    """Return that the manager is there and can't do its work."""
    return Reason(
        "manager-failing",
        f"The manager at {where(backend)} is up but failing internally: {how} to a signed request.",
        f"{_ADMIN} to look at its database and its Redis.",
    )


def redirected(reply: Reply, backend: Backend) -> Reason:
    """Return that a request would have to be sent elsewhere, where its signature is not valid."""
    target = sanitize_line(header_value(reply.headers, b"location")) or "elsewhere"
    text = f"{where(backend)} redirects to {target}, and a signature is valid for one address only."
    return Reason("redirected", text, "Use the address to which it leads as the URL of this backend.")


def token_reason(reply: Reply, name: str, backend: Backend, clock: ClusterClock) -> Reason:
    """Return why there is no token for a service."""
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
    return token_withheld(name, refusal_reason(reply, backend, clock))


def token_withheld(name: str, why: Reason) -> Reason:
    """Return that there is no token for a service because of what is wrong with the manager."""
    return Reason(why.code, f"There is no token for the service {name}: {why.text}", why.fix)


def token_refused(service: str) -> Reason:
    """Return that the app proxy accepts no token for a service, not even a new one; the user's keys are right."""
    return Reason(
        "token-refused",
        f"Service token refused: the cluster's app proxy accepts no token for the service {sanitize_line(service)}, "
        "not even a new one.",
        "Ask the cluster's administrator to look at the app proxy: its secret or clock may differ from the "
        "manager's.",
    )


def service_refused(service: str, status: int) -> Reason:
    """Return that what runs in a service's container refuses requests that the app proxy lets through."""
    return Reason(
        "service-refused",
        f"The service {sanitize_line(service)} itself refuses requests ({status}), though its token was accepted.",
        "Its container may want a key of its own: start the model server in it without one.",
    )


def service_reason(service: str, problem: str, *, is_down: bool = False) -> Reason:
    """Return why a service can't be used, from a few words about it."""
    text = f"The service {sanitize_line(service)} can't be used: {sanitize_line(problem).rstrip('.')}."
    if is_down:
        return Reason(
            "service-down", text, "Start it in Backend.AI, or see there why its sessions don't start."
        )
    return Reason("service-unusable", text, "Look at it in Backend.AI.")


def keys_reason(access_key: str, secret: str | None) -> Reason | None:
    """Return what is wrong with a pair of keys by itself; None when nothing is."""
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


def no_list_reason(reply: Reply, backend: Backend) -> Reason:
    """Return what a 200 means that is no list of services."""
    at = where(backend)
    if is_html(reply):
        return Reason("not-an-api", f"{at} answers a signed request with a web page.", _API)
    return Reason("bad-reply", f"{at} answers, but not with a list of model services.", _API)


def paused(why: Reason, wait_s: float) -> Reason:
    """Return the reason of a pause with when the next request may be sent."""
    return Reason(why.code, why.text, f"It is asked again in {_duration(wait_s)}. {why.fix}")


def quota_note(wait_s: float) -> str:
    """Return what a check could not do whose account has no requests left."""
    return (
        "The manager is up. Keys and services were not checked, since this account has no requests left; "
        f"they are in {_duration(wait_s)}."
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min"


def _unauthorized(reply: Reply, backend: Backend, msg: str) -> Reason:
    at, key = where(backend), sanitize_line(backend.access_key)
    if "mismatch" in msg:
        return Reason(
            "unauthorized",
            f"The secret key is wrong for the access key {key}, or a proxy before {at} changes the address.",
            "Give the secret key again. If it is right, the manager must be told of the proxy (trusted proxies): "
            "the signature covers host and path.",
        )
    if "key not found" in msg:
        return Reason(
            "unauthorized",
            f"The access key {key} is unknown at {at}, or was deactivated.",
            f"Check it. {_KEYS}",
        )
    if "allowed ip" in msg:
        return Reason(
            "forbidden",
            f"This computer's IP address is not allowed for this account at {at}. {_quoted(reply)}",
            f"{_ADMIN} to allow it, or use the network or VPN that is allowed.",
        )
    if backend.url.rstrip("/").endswith("/func"):
        return no_manager_reason(reply, backend, is_web_ui=True)
    return Reason(
        "unauthorized",
        f"The access key {key} has no login rights at {at}: it may not be its user's main key.",
        f"Use the main pair of keys of your account. {_KEYS}",
    )


def _bad_request(reply: Reply, backend: Backend, clock: ClusterClock) -> Reason:
    at, status = where(backend), reply.status
    match disagreement(reply):
        case "clock" if clock.follows and not clock.is_far_off:
            return Reason(
                "clock-off",
                f"{at} refuses the date of signed requests, though its answers bear the same time.",
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


def _limited(at: str) -> Reason:
    return Reason(
        "rate-limited",
        f"{at} asks to come back later: this account has used up its number of requests (429).",
        "An administrator can raise the limit of the keys.",
    )


def _proxy_alone(at: str, status: int) -> Reason:
    return Reason(
        "server-error",
        f"{at} answers {status}: a proxy without its manager, which may be restarting.",
        f"Wait a minute; if it lasts, {_ADMIN[0].lower()}{_ADMIN[1:]} whether the manager is running.",
    )


def _proxy_refuses(at: str, status: int) -> Reason:
    return Reason(
        "proxy-refuses",
        f"A proxy before the manager at {at} refuses requests ({status}); the manager itself was not reached.",
        f"{_ADMIN} to let API requests through, or for another address of the manager's API.",
    )


class _Problem(Struct, frozen=True):
    msg: str = ""
    title: str = ""


def _msg(reply: Reply) -> str:
    """Return the `msg` of a manager's error; without one, its title."""
    if is_html(reply) or len(reply.body) > 1 << 16:
        return ""
    problem = decode_or_none(reply.body, _Problem)
    return (problem.msg or problem.title) if problem is not None else ""


def _quoted(reply: Reply) -> str:
    text = sanitize_line(_msg(reply))
    return f"It says: {text}" if text else ""
