"""Checks the signature of a request as strictly as a manager does.

Written from the protocol alone: it shares no code with the signer in `backends/backend_ai/client.py`.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from hmac import HMAC, compare_digest

from msgspec import Struct

from meshlight.simulator.backend_ai.errors import problem
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.request_log import LoggedRequest

SKEW_S = 15 * 60
NEWEST = "v9.20250722"
NEWEST_LEGACY = "v7.20230615"
VERSIONS = frozenset(
    {
        "v4.20190615",
        "v5.20191215",
        "v6.20200815",
        "v6.20220315",
        "v6.20220615",
        "v6.20230315",
        "v7.20230615",
        "v8.20240315",
        "v8.20240915",
        NEWEST,
    }
)
_CREDENTIAL = re.compile(r"signMethod=HMAC-SHA256, ?credential=([^:,\s]+):([0-9a-f]{64})")


class _Signed(Struct, frozen=True):
    """The header values that are signed literally."""

    date_text: str
    date: datetime
    version: str


class SignatureCheck:
    """Accepts what is signed by one of `keys` (access key → secret key) within 15 minutes of `clock` (Unix seconds).

    `legacy` answers as 23.09.10 does.
    """

    def __init__(self, keys: Mapping[str, str], clock: Callable[[], float], *, legacy: bool = False) -> None:
        self._keys = keys
        self._clock = clock
        self._legacy = legacy

    def refuse(self, request: LoggedRequest) -> Reply | None:
        """Return the refusal of a request, or None if its signature is good."""
        authorization = request.header("authorization")
        date_text = request.header("date") or request.header("x-backendai-date")
        if authorization is None:
            if self._legacy and date_text is None:
                return self._problem("invalid-auth-params", "Date/time sync error")
            return self._problem("auth-failed", "Unauthorized access")
        version = request.header("x-backendai-version")
        if version is None:
            return self._problem("invalid-api-params", "API version missing in request headers")
        if version not in VERSIONS or (self._legacy and int(version[1]) > int(NEWEST_LEGACY[1])):
            return self._problem("invalid-api-params", "Unsupported API version.")
        date = _date(date_text)
        if date is None or abs(date.timestamp() - self._clock()) >= SKEW_S:
            return self._problem("invalid-auth-params", "Date/time sync error")
        return self._check(request, authorization, _Signed(date_text or "", date, version))

    def _check(self, request: LoggedRequest, authorization: str, signed: _Signed) -> Reply | None:
        scheme, _, parameters = authorization.partition(" ")
        if scheme != "BackendAI":
            return self._problem("invalid-auth-params", "Invalid authorization type name")
        match = _CREDENTIAL.fullmatch(parameters)
        if match is None:
            return self._problem("internal-server-error")
        secret = self._keys.get(match[1])
        if secret is None:
            return self._problem("auth-failed", "Access key not found" + ("" if self._legacy else " in HMAC"))
        if not compare_digest(_expected(request, secret, signed), match[2]):
            return self._problem(
                "auth-failed", "Signature mismatch" if self._legacy else "HMAC signature mismatch"
            )
        return None

    def _problem(self, kind: str, msg: str = "") -> Reply:
        return problem(kind, msg, legacy=self._legacy)


def access_key(request: LoggedRequest) -> str:
    """Return the access key of a request whose signature was accepted."""
    match = _CREDENTIAL.search(request.header("authorization") or "")
    return match[1] if match else ""


def _expected(request: LoggedRequest, secret: str, signed: _Signed) -> str:
    media_type = (request.header("content-type") or "application/octet-stream").split(";")[0].strip().lower()
    host = request.header("host") or ""
    text = (
        f"{request.method}\n{request.target}\n{signed.date_text}\nhost:{host}\ncontent-type:{media_type}\n"
        f"x-backendai-version:{signed.version}\n{sha256(b'').hexdigest()}"
    )
    day = f"{signed.date.year:04}{signed.date.month:02}{signed.date.day:02}"
    day_key = HMAC(secret.encode(), day.encode(), sha256).digest()
    host_key = HMAC(day_key, host.encode(), sha256).digest()
    return HMAC(host_key, text.encode(), sha256).hexdigest()


def _date(text: str | None) -> datetime | None:
    """Read a date in ISO 8601 or as in mail (RFC 5322); one without a zone is UTC."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text or "")
        except ValueError:
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
