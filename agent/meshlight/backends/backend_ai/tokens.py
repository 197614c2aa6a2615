"""The tokens with which a cluster's services are used: one for each, renewed in time, kept over a restart.

Each token is a row in the cluster's database, so none is requested while another is valid. What is kept is sealed
with a key that follows from the account's secret key, which is in the keyring: the file alone opens nothing.
"""

import asyncio
import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Callable
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from meshlight.backends.base import TokenStore
from meshlight.domain.backend import Reason
from meshlight.domain.errors import RouteUnavailable

RENEW_AT = 0.8
"""The part of its life after which a token is renewed, while it is still valid."""
LIFE_MAX_S = 86_400.0
LIFE_MIN_S = 60.0
"""A token counts as valid for at least this long: a wrong date in it must not cost a new one for each request."""
RETRY_S = 5.0
"""After a failed request for a token the next is sent no sooner; requests in between get the reason."""
FRESH_S = 10.0
"""A token younger than this is kept when one is refused: that was an older one, or a new one would not help."""
KEPT_MAX = 1_000
_NONCE = 12
_GONE = Reason("backend-changed", "The cluster was changed or removed meanwhile.", "Send the request again.")


class Tokens:
    """Holds one token for each service; callers that need the same new one wait for one request.

    `issue` requests a token from the manager, and returns it or the reason for none. `clock` is monotonic seconds,
    `unix` the cluster's time.
    """

    def __init__(
        self,
        issue: Callable[[str], Awaitable[str | Reason]],
        clock: Callable[[], float],
        unix: Callable[[], float],
        kept: "KeptTokens | None" = None,
    ) -> None:
        self._issue = issue
        self._clock = clock
        self._unix = unix
        self._kept = kept
        self._is_loaded = kept is None
        self._tokens: dict[str, _Token] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._requests: dict[str, asyncio.Task[str | Reason]] = {}

    async def get(self, service_id: str) -> str:
        """Return a valid token; raises RouteUnavailable with the reason when there is none to be had."""
        if not self._is_loaded:
            self._load()
        token, now = self._tokens.get(service_id), self._clock()
        if token is not None and now < token.ends_at:
            if now >= token.renew_at and not self._is_refused(service_id, now):
                self._request(service_id)
            return token.text
        if self._is_refused(service_id, now):
            raise RouteUnavailable(self._refusals[service_id].why)
        request = self._request(service_id)
        # Not awaited itself: a caller that gives up must not cancel it for the others.
        await asyncio.wait((request,))
        found = _GONE if request.cancelled() else request.result()
        if isinstance(found, Reason):
            raise RouteUnavailable(found)
        return found

    def refused(self, service_id: str) -> None:
        """Drop a token that its service refuses, so that the next `get` requests a new one."""
        token = self._tokens.get(service_id)
        if token is not None and self._clock() - token.since >= FRESH_S:
            del self._tokens[service_id]
            self._save()

    def forget_refusals(self) -> None:
        """Request anew at the next need what could not be had a moment ago."""
        self._refusals.clear()

    def close(self) -> None:
        """Cancel what is being requested; kept tokens stay kept."""
        self._tokens.clear()
        for request in self._requests.values():
            request.cancel()

    def _is_refused(self, service_id: str, now: float) -> bool:
        refusal = self._refusals.get(service_id)
        return refusal is not None and now < refusal.until

    def _request(self, service_id: str) -> asyncio.Task[str | Reason]:
        request = self._requests.get(service_id)
        if request is None:
            request = asyncio.get_running_loop().create_task(self._renew(service_id))
            self._requests[service_id] = request
            request.add_done_callback(lambda _: self._requests.pop(service_id, None))
        return request

    async def _renew(self, service_id: str) -> str | Reason:
        found = await self._issue(service_id)
        now = self._clock()
        if isinstance(found, Reason):
            self._refusals = {id_: old for id_, old in self._refusals.items() if now < old.until}
            self._refusals[service_id] = _Refusal(found, now + RETRY_S)
            return found
        self._refusals.pop(service_id, None)
        life_s = self._life_s(found)
        self._tokens[service_id] = _Token(found, now, now + RENEW_AT * life_s, now + life_s)
        self._save()
        return found

    def _load(self) -> None:
        """Take over what was kept and is still valid: the cluster's clock is known by the first need of a token."""
        self._is_loaded = True
        now, unix = self._clock(), self._unix()
        for kept in self._kept.load() if self._kept is not None else ():
            left_s = min(kept.ends_at - unix, LIFE_MAX_S)
            if left_s > 0:
                ends_at = now + left_s
                self._tokens[kept.service_id] = _Token(
                    kept.text, float("-inf"), min(now + kept.renew_at - unix, ends_at), ends_at
                )

    def _save(self) -> None:
        now, unix = self._clock(), self._unix()
        self._tokens = {id_: token for id_, token in self._tokens.items() if now < token.ends_at}
        if self._kept is not None:
            self._kept.save(
                [
                    KeptToken(id_, token.text, unix + token.renew_at - now, unix + token.ends_at - now)
                    for id_, token in self._tokens.items()
                ][-KEPT_MAX:]
            )

    def _life_s(self, token: str) -> float:
        """Return for how long a token is valid, by the date in it; its signature is not checked here."""
        part = token.split(".")[1] if token.count(".") == 2 else ""
        try:
            claims = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            exp = msgspec.json.decode(claims, type=_Claims).exp
        except (binascii.Error, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return LIFE_MAX_S
        return min(max(exp - self._unix(), LIFE_MIN_S), LIFE_MAX_S)


class KeptToken(Struct, frozen=True):
    """A token as it is kept; both instants are Unix seconds by the cluster's clock."""

    service_id: str
    text: str
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "KeptToken(***)"


class KeptTokens:
    """The tokens of one account in a store, sealed with a key that follows from the account's secret key."""

    def __init__(self, store: TokenStore, account: str, secret_key: str) -> None:
        self._store = store
        self._account = account
        key = hmac.digest(secret_key.encode(), f"meshlight service tokens\n{account}".encode(), sha256)
        self._cipher = AESGCM(key)

    def load(self) -> list[KeptToken]:
        """Return what was saved last; nothing if that was sealed with another key, or is damaged."""
        sealed = self._store.read(self._account)
        try:
            data = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self._account.encode())
            return _decoder.decode(data)
        except (InvalidTag, ValueError):  # msgspec's errors are ValueErrors
            return []

    def save(self, tokens: list[KeptToken]) -> None:
        """Seal and store these, in the place of what was saved before."""
        nonce = os.urandom(_NONCE)
        data = msgspec.msgpack.encode(tokens)
        self._store.write(self._account, nonce + self._cipher.encrypt(nonce, data, self._account.encode()))


_decoder = msgspec.msgpack.Decoder(list[KeptToken])


class _Claims(Struct, frozen=True):
    exp: float


class _Token(Struct, frozen=True):
    """A token in use; the instants are seconds of the monotonic clock."""

    text: str
    since: float
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "_Token(***)"


class _Refusal(Struct, frozen=True):
    why: Reason
    until: float
