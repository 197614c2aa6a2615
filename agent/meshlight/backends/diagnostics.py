"""Why a backend did not answer as it should: each failure with its cause and its fix, in plain words.

What a server said is quoted only as `quote` lets it through.
"""

import re

from meshlight.backends.clouds.diagnostics import QUOTA_S, cloud_reason, wait_s
from meshlight.domain.backend import Backend, Reason
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
from meshlight.domain.text import sanitize_line
from meshlight.http_client.address import parse_address
from meshlight.http_client.error_text import is_html, quoted_error
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply

_VERSION_IN_PATH = re.compile(r"^(.*?/v\d+[a-z0-9]*)/")
_ENGINES = frozenset({"llamacpp", "ollama", "vllm", "mlx", "lmstudio"})
_AUTHORITY = "Give the PEM file of its authority as this backend's CA file, or install it on this machine."
_TLS_FIXES = {
    "the ca file": "Check the path of the CA file, or leave it out to trust the system's authorities.",
    "does not speak tls": "Write http:// instead of https:// in the URL, or check the port.",
    "expired": "Renew it on the server; if it is new, this machine's clock is wrong.",
    "not valid yet": "Set this machine's clock right, or the server's.",
    "for another": "Use the name that is in the certificate, or renew it with this one.",
    "signed": _AUTHORITY,
    "revoked": "Get the server a new certificate.",
    "during the handshake": "Check the port, and whether a proxy lies in between.",
}
"""What the upstream says went wrong in a handshake → what to do about it."""
_TLS_FIX = "Check the URL and the server's certificate."
_OR_REMOVE = ", or remove this backend"
_OTHER = "Remove this backend: what is there now is found by itself, or can be added as what it is."
_SET = "`meshlight backends set "
_FOR_NEW = {
    "Give it": "Give its API key.",
    "Give the right one": "Copy the key once more, from its first letter to its last.",
}
"""What stands before the word that sets a key → what to do where there is nothing to set it on yet."""
_LOG = "Look at its log."


def where(backend: Backend) -> str:
    """Return `host:port` of a backend, for a sentence."""
    try:
        return parse_address(backend.url).host_port
    except BadAddress:
        return sanitize_line(backend.url)


def reason(error: UpstreamError, backend: Backend, label: str, start: str = "") -> Reason:
    """Say why an attempt got no answer; `label` names the kind, `start` says how it is started."""
    at = where(backend)
    who = _who(backend, label)
    match error:
        case ConnectError():
            return _connect_reason(error, at, who, start or f"Start {who}")
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
    """Say what an answer other than 200 means."""
    own = account_reason(reply, backend, label, secret)
    return own if own is not None else _status_reason(reply, backend, label, secret)


def _status_reason(reply: Reply, backend: Backend, label: str, secret: str | None) -> Reason:
    at, status = where(backend), reply.status
    who = _who(backend, label)
    told = quoted_error(reply, secret)
    if status == 401:
        return _unauthorized(backend, at, who, has_secret=backend.has_secret or bool(secret))
    if status == 403:
        return Reason(
            "forbidden",
            f"{at} forbids this (403).{told}",
            "Check what the API key may do, and whether a proxy lies in between.",
        )
    if status == 429:
        return Reason(
            "rate-limited",
            f"{at} asks to come back later (429, too many requests).{told}",
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
        return _server_reason(reply, at, who, told)
    return Reason(
        "bad-reply", f"{at} answers {status} when asked for its models.{told}", f"Check that it is {who}."
    )


def account_reason(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> Reason | None:
    """Say what a failing answer tells of the whole account at a cloud, whatever was asked; it quotes nothing."""
    has_secret = backend.has_secret or bool(secret)
    return cloud_reason(reply, backend, label, where(backend), has_secret=has_secret)


def status_fact(reply: Reply, backend: Backend, label: str, secret: str | None = None) -> ProbeFact:
    """Turn an answer other than 200 into what it says of the backend's health."""
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
    """Say what a 200 means that is no list of models."""
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
    """Say that something else answers where an engine of this kind was."""
    return Reason("not-this-kind", f"Something else than {label} answers at {where(backend)}.", _OTHER)


def for_new(why: Reason) -> Reason:
    """Return a reason as it is told of a backend that is not listed yet, and can't be changed or removed."""
    fix = why.fix.replace(_OR_REMOVE, "")
    do, has_word, _ = fix.partition(f": {_SET}")
    if fix == _OTHER:
        fix = "Check the port, or choose the kind of what is there."
    elif has_word:
        fix = _FOR_NEW.get(do, f"{do}.")
    return Reason(why.code, why.text, fix)


def is_loading(reply: Reply) -> bool:
    """Whether an answer says that a model is still being loaded (llama.cpp: 503 `Loading model`)."""
    return reply.status == 503 and not is_html(reply) and b"loading" in reply.body[:4096].lower()


def _base(backend: Backend) -> str:
    """Return the path below which its API is looked for."""
    try:
        return sanitize_line(parse_address(backend.url).base)
    except BadAddress:
        return ""


def _who(backend: Backend, label: str) -> str:
    return label if backend.kind != "openai-compatible" else "the server"


def _upper(text: str) -> str:
    return text if text == "llama.cpp" else text[:1].upper() + text[1:]


def _connect_reason(error: ConnectError, at: str, who: str, start: str) -> Reason:
    text = sanitize_line(error.title)
    match error.cause:
        case "refused":
            said_at = text.rstrip(".") if at.startswith("/") else f"Connection refused at {at}"
            text = f"{said_at} — is {who} running?"
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
        case "forbidden":
            fix = "Use a server's own address; link-local, metadata and Meshlight's own are refused."
            return Reason("forbidden-address", text, fix)
        case "tls":
            fix = next((fix for mark, fix in _TLS_FIXES.items() if mark in text.lower()), _TLS_FIX)
            return Reason("tls", text, fix)


def _unauthorized(backend: Backend, at: str, who: str, *, has_secret: bool) -> Reason:
    set_key = f"{_SET}{sanitize_line(backend.id)} --key`"
    if has_secret:
        text = f"{_upper(who)} at {at} refuses the API key (401)."
        return Reason("unauthorized", text, f"Give the right one: {set_key}.")
    text = f"{_upper(who)} at {at} wants an API key (401)."
    return Reason("unauthorized", text, f"Give it: {set_key}.")


def _missing_reason(reply: Reply, backend: Backend, at: str, who: str) -> Reason:
    path = _base(backend)
    doubled = _VERSION_IN_PATH.match(path)
    if doubled:
        return Reason(
            "v1-doubled",
            f"There is no list of models at {at}: the path {path} goes on behind the version.",
            f"End the URL with {doubled[1]}.",
        )
    if is_html(reply):
        return _web_page(at, who)
    if backend.kind in _ENGINES and not path:
        return not_this_kind(backend, who)
    return Reason(
        "v1-missing",
        f"There is no list of models at {at}{path} ({reply.status}).",
        f"Try the URL without {path}."
        if path
        else "Give the URL under which /v1/models answers, or one that ends in the API's own version.",
    )


def _server_reason(reply: Reply, at: str, who: str, told: str) -> Reason:
    if reply.status in {502, 503, 504} and is_html(reply):
        text = f"A proxy at {at} can't reach {who} behind it ({reply.status})."
        return Reason("server-error", text, f"Start {who} behind the proxy.")
    return Reason(
        "server-error", f"{_upper(who)} at {at} answers with an error ({reply.status}).{told}", _LOG
    )


def _web_page(at: str, who: str) -> Reason:
    return Reason(
        "not-an-api",
        f"{at} answers with HTML: this is a web page, not an API.",
        f"Check the port and the path; {who} answers GET /v1/models with JSON.",
    )
