"""Signing requests the way a Backend.AI manager checks them."""

import hashlib
import hmac
from collections.abc import Callable, Generator
from datetime import datetime

import httpx


class ClusterAuth(httpx.Auth):
    """Signs method, target, date, host, media type and API version with a pair of keys.

    The body takes no part in it (the server hashes an empty string in its place), and nothing keeps a request from
    being sent twice: only TLS protects what is sent. `clock` gives the date that is sent, with its UTC offset; the
    key of the day is that of the date in its own offset. Source: `sign_request` of backend.ai-manager 23.09 to 26.9.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        version: str,
        clock: Callable[[], datetime],
        digest: str = "sha256",
    ) -> None:
        self.access_key = access_key
        self.version = version
        self._secret_key = secret_key
        self._clock = clock
        self._digest = digest

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add date, version and signature to a request that is otherwise ready to be sent."""
        date = self._clock()
        request.headers["date"] = date.isoformat()
        request.headers["x-backendai-version"] = self.version
        request.headers["authorization"] = self._header(request, date)
        yield request

    def _header(self, request: httpx.Request, date: datetime) -> str:
        host = request.headers["host"]
        kind = request.headers["content-type"].partition(";")[0].strip().lower()
        lines = (
            request.method.upper(),
            request.url.raw_path.decode("ascii"),
            date.isoformat(),
            f"host:{host}",
            f"content-type:{kind}",
            f"x-backendai-version:{self.version}",
            hashlib.new(self._digest).hexdigest(),
        )
        key = self._mac(self._mac(self._secret_key.encode(), date.strftime("%Y%m%d")), host)
        signature = self._mac(key, "\n".join(lines)).hex()
        return f"BackendAI signMethod=HMAC-{self._digest.upper()}, credential={self.access_key}:{signature}"

    def _mac(self, key: bytes, text: str) -> bytes:
        return hmac.digest(key, text.encode(), self._digest)
