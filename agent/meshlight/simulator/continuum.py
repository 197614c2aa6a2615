"""A small HTTP server that imitates Continuum Router: models, health, its backends, and a Unix socket."""

import asyncio
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Kind
from meshlight.simulator.clouds.anthropic import answer_without_key
from meshlight.simulator.clouds.errors import anthropic_error
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.http.reply import Reply, json_reply
from meshlight.simulator.request_log import LoggedRequest
from meshlight.simulator.routes import answer as answer_as_openai

_ANTHROPIC = "/anthropic"
DEFAULT_MODELS = ("qwen3-32b", "llama-3.3-70b")


class SimulatedUpstream(Struct, frozen=True, kw_only=True):
    """One backend of the router."""

    name: str
    url: str
    is_healthy: bool = True
    last_error: str | None = None


class SimulatedContinuum(SimulatedEngine):
    """Imitates the router on a loopback port, and on the Unix socket `socket` if given.

    With `key`, its API is in blocking mode; `/admin/…` needs `admin_key` if there is one.
    """

    def __init__(
        self,
        name: str = "demo Continuum Router",
        models: Sequence[str] = DEFAULT_MODELS,
        *,
        behind: Sequence[SimulatedUpstream] = (),
        admin_key: str | None = None,
        socket: Path | None = None,
        **same: Any,
    ) -> None:
        super().__init__("openai", name, models, **same)
        self.facts.profile = replace(self.facts.profile, label=self.label, headers=())
        self.behind = list(behind)
        self.admin_key = admin_key
        self.is_warming = False
        """Whether it answers that it is warming up."""
        self._socket = socket
        self._socket_server: asyncio.AbstractServer | None = None

    @property
    def kind(self) -> Kind:
        """The kind of backend that the mesh detects."""
        return "continuum"

    @property
    def label(self) -> str:
        """The name of the router that it imitates."""
        return "Continuum Router"

    @property
    def url(self) -> str:
        """Its base URL; `unix://…` if it has a socket."""
        return super().url if self._socket is None else f"unix://{self._socket}"

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen on the port and the socket."""
        await super().start(anywhere=anywhere)
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            self._socket_server = await loop.create_unix_server(self._listener.connection, str(self._socket))

    async def stop(self) -> None:
        """Stop, and remove the socket."""
        if self._socket_server is not None and self._socket is not None:
            self._socket_server.close()
            self._socket_server = None
            self._socket.unlink(missing_ok=True)
        await super().stop()

    async def answer(self, logged: LoggedRequest) -> Reply:
        """Return the answer to a request that meets no fault."""
        if logged.path in {"/health", "/healthz"}:
            return json_reply({"status": "healthy", "service": "continuum-router"})
        if logged.path.startswith("/admin/"):
            return self._admin(logged)
        if self.is_warming:
            error = {"message": "Service is warming up", "type": "service_unavailable", "code": 503}
            return json_reply({"error": error}, 503, ("retry-after", "1"))
        if not logged.path.startswith(_ANTHROPIC):
            return await answer_as_openai(self.facts, logged, self.key)
        if self.key is not None and not _has(logged, self.key):
            return anthropic_error(401, "authentication_error", "Unauthorized")
        return await answer_without_key(
            self.facts, replace(logged, target=logged.target.removeprefix(_ANTHROPIC))
        )

    def _admin(self, logged: LoggedRequest) -> Reply:
        if self.admin_key is not None and not _has(logged, self.admin_key):
            return json_reply({"error": {"message": "Unauthorized", "type": "authentication_error"}}, 401)
        if (logged.method, logged.path) != ("GET", "/admin/backends"):
            return json_reply({"error": {"message": "Not Found", "type": "not_found"}}, 404)
        good = sum(each.is_healthy for each in self.behind)
        return json_reply({"backends": self.behind, "healthy_count": good, "total_count": len(self.behind)})


def _has(logged: LoggedRequest, key: str) -> bool:
    return hmac.compare_digest(logged.header("authorization") or "", f"Bearer {key}")
