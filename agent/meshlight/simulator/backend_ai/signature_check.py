"""Checks the signature of a request as strictly as a manager does; written from the protocol, not from a signer."""

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
    """What of a request's headers is signed as it stands there."""

    date_text: str
    date: datetime
    version: str


class SignatureCheck:
    """Lets through what is signed by one of `keys` (access key → secret key), around the time of `clock`.

    `legacy` answers as 23.09.10 does.
    """

    def __init__(self, keys: Mapping[str, str], clock: Callable[[], float], *, legacy: bool = False) -> None:
        self._keys = keys
        self._clock = clock
        self._legacy = legacy

    def refuse(self, seen: LoggedRequest) -> Reply | None:
        """Return the refusal of a request, or None if its signature is good."""
        given = seen.header("authorization")
        date_text = seen.header("date") or seen.header("x-backendai-date")
        if given is None:
            if self._legacy and date_text is None:
                return self._say("invalid-auth-params", "Date/time sync error")
            return self._say("auth-failed", "Unauthorized access")
        version = seen.header("x-backendai-version")
        if version is None:
            return self._say("invalid-api-params", "API version missing in request headers")
        if version not in VERSIONS or (self._legacy and int(version[1]) > int(NEWEST_LEGACY[1])):
            return self._say("invalid-api-params", "Unsupported API version.")
        date = _date(date_text)
        if date is None or abs(date.timestamp() - self._clock()) >= SKEW_S:
            return self._say("invalid-auth-params", "Date/time sync error")
        return self._check(seen, given, _Signed(date_text or "", date, version))

    def _check(self, seen: LoggedRequest, given: str, signed: _Signed) -> Reply | None:
        scheme, _, parameters = given.partition(" ")
        if scheme != "BackendAI":
            return self._say("invalid-auth-params", "Invalid authorization type name")
        match = _CREDENTIAL.fullmatch(parameters)
        if match is None:
            return self._say("internal-server-error")
        secret = self._keys.get(match[1])
        if secret is None:
            return self._say("auth-failed", "Access key not found" + ("" if self._legacy else " in HMAC"))
        if not compare_digest(_expected(seen, secret, signed), match[2]):
            return self._say(
                "auth-failed", "Signature mismatch" if self._legacy else "HMAC signature mismatch"
            )
        return None

    def _say(self, kind: str, msg: str = "") -> Reply:
        return problem(kind, msg, legacy=self._legacy)


def access_key(seen: LoggedRequest) -> str:
    """Return the access key of a request that the gate has let through."""
    match = _CREDENTIAL.search(seen.header("authorization") or "")
    return match[1] if match else ""


def _expected(seen: LoggedRequest, secret: str, signed: _Signed) -> str:
    kind = (seen.header("content-type") or "application/octet-stream").split(";")[0].strip().lower()
    host = seen.header("host") or ""
    text = (
        f"{seen.method}\n{seen.target}\n{signed.date_text}\nhost:{host}\ncontent-type:{kind}\n"
        f"x-backendai-version:{signed.version}\n{sha256(b'').hexdigest()}"
    )
    day = f"{signed.date.year:04}{signed.date.month:02}{signed.date.day:02}"
    of_day = HMAC(secret.encode(), day.encode(), sha256).digest()
    of_host = HMAC(of_day, host.encode(), sha256).digest()
    return HMAC(of_host, text.encode(), sha256).hexdigest()


def _date(text: str | None) -> datetime | None:
    """Read a date in ISO 8601 or as in mail; one without a zone is UTC."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            date = read(text or "")
        except ValueError:
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None
