"""Why a backend did not answer as it should: each failure with its cause and its fix, for people.

A server's own message is quoted only as `quoted_error` returns it.
"""

import re

from meshlight.backends.clouds.diagnostics import QUOTA_S, cloud_reason, wait_s
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.cloud_keys import is_provider
from meshlight.domain.errors import (
    BadAddress,
    ConnectError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    UpstreamError,
)
from meshlight.domain.health import Failed, Limited, Loading, ProbeFact, Refused
from meshlight.domain.text import QUOTE_MAX, sanitize_line
from meshlight.http_client.address import parse_address
from meshlight.http_client.error_text import is_html, quoted_error
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

_VERSION_IN_PATH = re.compile(r"^(.*?/v\d+[a-z0-9]*)/")
_ENGINES = frozenset({"llamacpp", "ollama", "vllm", "mlx", "lmstudio"})
_AUTHORITY = "Set the PEM file of its authority as this backend's CA file, or install it on this machine."
_TLS_FIXES = {
    "the ca file": "Check the path of the CA file, or leave it out to trust the system's authorities.",
    "does not speak tls": "Write http:// instead of https:// in the URL, or check the port.",
    "expired": "Renew it on the server; if it is new, this machine's clock is wrong.",
    "not valid yet": "Correct this machine's clock, or the server's.",
    "for another": "Use the name that is in the certificate, or renew it with this one.",
    "signed": _AUTHORITY,
    "revoked": "Get the server a new certificate.",
    "during the handshake": "Check the port, and whether a proxy lies in between.",
}
"""Words of a failed handshake's error → what to do about it."""
_TLS_FIX = "Check the URL and the server's certificate."
_OR_REMOVE = ", or remove this backend"
_OTHER = "Remove this backend: what is there now is detected, or can be added as what it is."
_SET = "`meshlight backends set "
_FOR_NEW = {
    "Give it": "Give its API key.",
    "Give the right one": "Copy the key once more, from its first letter to its last.",
}
"""What stands before the command that sets a key → what to do if the backend is not listed yet."""
_LOG = "Look at its log."
_NO_NETWORK = "No network? Check this machine's connection and its DNS: the address is the provider's own."
_BLOCKED = (
    "No network? Check this machine's connection, and whether a firewall lies in between. If this network is left "
    "through a proxy, set HTTPS_PROXY, or this backend's own proxy."
)
_IN_BETWEEN = (
    "Something in between answers in the provider's place. In a network with a login page, open any web page and log "
    "in. A company's proxy: set the PEM file of its authority as this backend's CA file."
)
_PROVIDER_FIXES = {"name": _NO_NETWORK, "refused": _BLOCKED, "timeout": _BLOCKED, "unreachable": _BLOCKED}
"""Why there is no connection to an address that nobody typed → what to do about it."""
_CLOCK = ("expired", "not valid yet")


def where(backend: Backend) -> str:
    """Return `host:port` of a backend, for a sentence."""
    try:
        return parse_address(backend.url).host_port
    except BadAddress:
        return sanitize_line(backend.url)


def reason(error: UpstreamError, backend: Backend, label: str, start: str = "") -> Reason:
    """Return why a request got no answer; `label` names the kind, `start` says how it is started."""
    at = where(backend)
    who = _who(backend, label)
    match error:
        case ConnectError():
            why = _connect_reason(error, at, who, start or f"Start {who}")
            return _of_provider(why, error) if is_provider(at.rpartition(":")[0]) else why
        case ReadTimeout():
            return Reason(
                "timed-out",
                f"{_upper(who)} at {at} took the connection but did not answer in time.",
                f"It may be busy or hung. {_LOG} Restart it if this lasts.",
            )
        case ReadError():
            return Reason(
                "connection-lost",
                f"{at} closed the connection before its answer was complete.",
                f"{_upper(who)} may have crashed or be restarting. {_LOG}",
            )
        case ResponseTooLarge():
            return Reason(
                "reply-too-large",
                f"{at} sends more than a list of models can be.",
                f"Check that the URL leads to {who}.",
            )
        case RemoteProtocolError():
            return Reason(
                "bad-reply",
                sanitize_line(error.title),
                "Check the port, and whether the URL should begin with https:// instead of http://.",
            )
    return Reason("upstream", sanitize_line(error.title), f"Check {who} at {at}.")


def status_reason(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> Reason:
    """Return what an answer other than 200 means."""
    of_account = account_reason(reply, backend, label, secret)
    return of_account if of_account is not None else _status_reason(reply, backend, label, secret)


def _status_reason(reply: Reply, backend: Backend, label: str, secret: str | None) -> Reason:
    at, status = where(backend), reply.status
    who = _who(backend, label)
    quoted = quoted_error(reply, secret)
    if status == 401:
        return _unauthorized(backend, at, who, has_secret=backend.has_secret or bool(secret))
    if status == 403:
        return Reason(
            "forbidden",
            f"{at} forbids this (403).{quoted}",
            "Check what the API key may do, and whether a proxy lies in between.",
        )
    if status == 429:
        return Reason(
            "rate-limited",
            f"{at} asks to come back later (429, too many requests).{quoted}",
            "Wait, or raise the limit of the account or server.",
        )
    if is_loading(reply):
        return Reason(
            "loading", f"{_upper(who)} at {at} is loading a model.", "Wait: large models take minutes."
        )
    if 300 <= status < 400:
        target = sanitize_line(header_value(reply.headers, b"location")) or "elsewhere"
        return Reason(
            "redirected", f"{at} redirects to {target}.", "Use that address as the URL of this backend."
        )
    if status in {404, 405, 410}:
        return _missing_reason(reply, backend, at, who)
    if status >= 500:
        return _server_reason(reply, at, who, quoted)
    return Reason(
        "bad-reply", f"{at} answers {status} when asked for its models.{quoted}", f"Check that it is {who}."
    )


def account_reason(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> Reason | None:
    """Return what a failing answer means for the whole account at a cloud, whatever the request; quotes nothing.

    None if it is about the request alone, or the backend is no cloud.
    """
    has_secret = backend.has_secret or bool(secret)
    return cloud_reason(reply, backend, label, where(backend), has_secret=has_secret)


def status_fact(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> ProbeFact:
    """Return what an answer other than 200 means for the backend's health."""
    why = status_reason(reply, backend, label, secret)
    match why.code:
        case "unauthorized" | "forbidden" | "region":
            return Refused(why)
        case "rate-limited":
            return Limited(why, wait_s(reply))
        case "quota":
            return Limited(why, QUOTA_S)
        case "loading":
            return Loading(why)
    return Failed(why)


def no_list_reason(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> Reason:
    """Return what a 200 without a list of models means."""
    at = where(backend)
    if is_html(reply):
        return _web_page(at, _who(backend, label))
    if backend.kind in _ENGINES:
        return not_this_kind(backend, label)
    return Reason(
        "bad-reply",
        f"{at} answers, but not with a list of models.{quoted_error(reply, secret)}",
        "Check the URL: GET …/v1/models must answer with a JSON list.",
    )


def not_this_kind(backend: Backend, label: str) -> Reason:
    """Return that another server answers where an engine of this kind was."""
    return Reason("not-this-kind", f"Something else than {label} answers at {where(backend)}.", _OTHER)


def for_new(why: Reason) -> Reason:
    """Return a reason for a backend that is not listed yet, which can't be changed or removed."""
    fix = why.fix.replace(_OR_REMOVE, "")
    what, has_command, _ = fix.partition(f": {_SET}")
    if fix == _OTHER:
        fix = "Check the port, or choose the kind of what is there."
    elif has_command:
        fix = _FOR_NEW.get(what, f"{what}.")
    return Reason(why.code, why.text, fix)


def is_loading(reply: Reply) -> bool:
    """Whether an answer says that a model is still being loaded (llama.cpp: 503 `Loading model`)."""
    return reply.status == 503 and not is_html(reply) and b"loading" in reply.body[:4096].lower()


def _base(backend: Backend) -> tuple[str, bool]:
    """Return the path below which its API should be, and whether `/v1` follows it."""
    try:
        address = parse_address(backend.url)
    except BadAddress:
        return "", True
    return sanitize_line(address.base), address.has_v1


def _who(backend: Backend, label: str) -> str:
    return label if backend.kind != "openai-compatible" else "the server"


def _upper(text: str) -> str:
    return text if text == "llama.cpp" else text[:1].upper() + text[1:]


def _connect_reason(error: ConnectError, at: str, who: str, start: str) -> Reason:
    text = sanitize_line(error.title)
    match error.cause:
        case "refused":
            problem = text.rstrip(".") if at.startswith("/") else f"Connection refused at {at}"
            text = f"{problem} — is {who} running?"
            return Reason("refused", text, f"{start}{_OR_REMOVE}.")
        case "name":
            fix = "Check the spelling in the URL, and the network or VPN that knows the name."
            return Reason("name-not-found", text, fix)
        case "timeout":
            fix = "Check that the machine is on, and that no firewall lies in between."
            return Reason("timed-out", text, fix)
        case "unreachable":
            fix = "Check the network or VPN, and the address."
            if at.startswith("/"):
                fix = f"Check the path, and have {who} let this user read and write the socket."
            return Reason("unreachable", text, fix)
        case "proxy":
            return Reason("proxy", text, sanitize_line(error.hint, 2 * QUOTE_MAX))
        case "forbidden":
            fix = "Use a server's own address; link-local, metadata and Meshlight's own are refused."
            return Reason("forbidden-address", text, fix)
        case "tls":
            fix = next((fix for mark, fix in _TLS_FIXES.items() if mark in text.lower()), _TLS_FIX)
            return Reason("tls", text, fix)


def _of_provider(why: Reason, error: ConnectError) -> Reason:
    """Return a reason for the address of a well-known cloud: the fault is on the way there, not in the URL."""
    text = sanitize_line(error.title)
    if error.cause == "tls" and "CA file" not in text:
        is_clock = any(word in text.lower() for word in _CLOCK)
        return Reason(why.code, text, "Correct this machine's clock." if is_clock else _IN_BETWEEN)
    fix = _PROVIDER_FIXES.get(error.cause)
    return why if fix is None else Reason(why.code, text, fix)


def _unauthorized(backend: Backend, at: str, who: str, *, has_secret: bool) -> Reason:
    set_key = f"{_SET}{sanitize_line(backend.id)} --key`"
    if has_secret:
        text = f"{_upper(who)} at {at} refuses the API key (401)."
        return Reason("unauthorized", text, f"Give the right one: {set_key}.")
    text = f"{_upper(who)} at {at} wants an API key (401)."
    return Reason("unauthorized", text, f"Give it: {set_key}.")


def _missing_reason(reply: Reply, backend: Backend, at: str, who: str) -> Reason:
    path, has_v1 = _base(backend)
    text = f"There is no list of models at {at}{path} ({reply.status})."
    name_them = (
        f"If this server has no list, name its models: {_SET}{sanitize_line(backend.id)} --model NAME`."
    )
    doubled = _VERSION_IN_PATH.match(path)
    if doubled and has_v1:
        return Reason(
            "v1-doubled",
            f"There is no list of models at {at}: the path {path} goes on behind the version.",
            f"End the URL with {doubled[1]}. If its API is at {path} all the same, end it with "
            f"{path}/chat/completions.",
        )
    if not has_v1 and not is_html(reply):
        return Reason("v1-missing", text, f"Check the path of the URL. {name_them}")
    if is_html(reply):
        return _web_page(at, who)
    if backend.kind in _ENGINES:
        return (
            Reason("v1-missing", text, f"Try the URL without {path}.")
            if path
            else not_this_kind(backend, who)
        )
    if path:
        fix = f"Try the URL without {path}. If no /v1 follows {path} there, end it with {path}/chat/completions."
        return Reason("v1-missing", text, fix)
    fix = "Give the URL under which /v1/models answers, or one that ends in the API's own version."
    return Reason("v1-missing", text, f"{fix} {name_them}")


def _server_reason(reply: Reply, at: str, who: str, quoted: str) -> Reason:
    if reply.status in {502, 503, 504} and is_html(reply):
        text = f"A proxy at {at} can't reach {who} behind it ({reply.status})."
        return Reason("server-error", text, f"Start {who} behind the proxy.")
    return Reason(
        "server-error", f"{_upper(who)} at {at} answers with an error ({reply.status}).{quoted}", _LOG
    )


def _web_page(at: str, who: str) -> Reason:
    return Reason(
        "not-an-api",
        f"{at} answers with HTML: this is a web page, not an API.",
        f"Check the port and the path; {who} answers GET /v1/models with JSON.",
    )
