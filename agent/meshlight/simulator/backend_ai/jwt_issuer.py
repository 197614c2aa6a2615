"""The tokens of one demo service: JSON Web Tokens (HS256, RFC 7519) that end."""

import base64
import hmac
import secrets
from hashlib import sha256

import msgspec


class JwtIssuer:
    """Makes and checks the tokens of one service."""

    def __init__(self, service_id: str) -> None:
        self._service_id = service_id
        self._key = secrets.token_bytes(32)
        self._serial = 0

    def revoke(self) -> None:
        """Make all tokens so far worthless."""
        self._key = secrets.token_bytes(32)

    def issue(self, now: float, life_s: float) -> str:
        """Make a token that is good for `life_s` seconds from the Unix second `now` on."""
        self._serial += 1
        claims = {"id": self._service_id, "user": "demo", "jti": self._serial, "exp": int(now + life_s)}
        head = _pack(msgspec.json.encode({"alg": "HS256", "typ": "JWT"}))
        text = f"{head}.{_pack(msgspec.json.encode(claims))}"
        return f"{text}.{self._signature(text)}"

    def flaw(self, given: str | None, now: float) -> str | None:
        """Return the code of the refusal that an Authorization header earns; None when its token is good."""
        if given is None:
            return "E20006"
        scheme, _, token = given.partition(" ")
        if scheme not in {"BackendAI", "Bearer"}:
            return "E20007"
        text, _, signature = token.rpartition(".")
        if not text or not hmac.compare_digest(signature.encode(), self._signature(text).encode()):
            return "E20008"
        part = text.split(".")[1]
        exp = msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["exp"]
        return "E20008" if now >= exp else None

    def _signature(self, text: str) -> str:
        return _pack(hmac.digest(self._key, text.encode(), sha256))


def _pack(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
