"""Tokens of the simulated app proxy: JSON Web Tokens (HS256, RFC 7519) that expire."""

import base64
import hmac
import secrets
from hashlib import sha256

import msgspec

_PROXY_KEY = secrets.token_bytes(32)
"""An app proxy signs the tokens of all its services with one key; the token names the service."""


class JwtIssuer:
    """Issues and checks the tokens of one service."""

    def __init__(self, service_id: str) -> None:
        self._service_id = service_id
        self._serial = 0
        self._revoked_to = 0

    def revoke(self) -> None:
        """Make every token issued so far invalid."""
        self._revoked_to = self._serial

    def issue(self, now: float, life_s: float) -> str:
        """Return a token that is valid for `life_s` seconds from the Unix second `now` on."""
        self._serial += 1
        claims = {"id": self._service_id, "user": "demo", "jti": self._serial, "exp": int(now + life_s)}
        head = _encode(msgspec.json.encode({"alg": "HS256", "typ": "JWT"}))
        text = f"{head}.{_encode(msgspec.json.encode(claims))}"
        return f"{text}.{_signature(text)}"

    def error_code(self, authorization: str | None, now: float) -> str | None:
        """Return the app proxy's error code for an Authorization header; None when its token is valid."""
        if authorization is None:
            return "E20006"
        scheme, _, token = authorization.partition(" ")
        if scheme not in {"BackendAI", "Bearer"}:
            return "E20007"
        text, _, signature = token.rpartition(".")
        if not text or not hmac.compare_digest(signature.encode(), _signature(text).encode()):
            return "E20008"
        part = text.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        if claims["id"] != self._service_id:
            return "E20009"
        return "E20008" if now >= claims["exp"] or claims["jti"] <= self._revoked_to else None


def _signature(text: str) -> str:
    return _encode(hmac.digest(_PROXY_KEY, text.encode(), sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
