"""A real little server that plays Continuum Router: a list, a health page, backends of its own, a socket."""

import asyncio
import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Kind
from meshlight.simulator.clouds.anthropic import answer_openly
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
    """Plays the router on a loopback port, and on a Unix socket too where `socket` names one.

    With `key`, its API is in blocking mode; `/admin/…` wants `admin_key`, or nothing where there is none.
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
        """Whether it says that it is warming up."""
        self._socket = socket
        self._listener: asyncio.AbstractServer | None = None

    @property
    def kind(self) -> Kind:
        """What the mesh takes it for."""
        return "continuum"

    @property
    def label(self) -> str:
        """The name of the router that it plays."""
        return "Continuum Router"

    @property
    def url(self) -> str:
        """Where it answers: its socket where it has one."""
        return super().url if self._socket is None else f"unix://{self._socket}"

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen on port and socket."""
        await super().start(anywhere=anywhere)
        if self._socket is not None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_unix_server(self._door.connection, str(self._socket))

    async def stop(self) -> None:
        """Stop, and take the socket away."""
        if self._listener is not None and self._socket is not None:
            self._listener.close()
            self._listener = None
            self._socket.unlink(missing_ok=True)
        await super().stop()

    async def answer(self, seen: LoggedRequest) -> Reply:
        """Answer a request that no fault spoils."""
        if seen.path in {"/health", "/healthz"}:
            return json_reply({"status": "healthy", "service": "continuum-router"})
        if seen.path.startswith("/admin/"):
            return self._admin(seen)
        if self.is_warming:
            error = {"message": "Service is warming up", "type": "service_unavailable", "code": 503}
            return json_reply({"error": error}, 503, ("retry-after", "1"))
        if not seen.path.startswith(_ANTHROPIC):
            return await answer_as_openai(self.facts, seen, self.key)
        if self.key is not None and not _has(seen, self.key):
            return anthropic_error(401, "authentication_error", "Unauthorized")
        return await answer_openly(self.facts, replace(seen, target=seen.target.removeprefix(_ANTHROPIC)))

    def _admin(self, seen: LoggedRequest) -> Reply:
        if self.admin_key is not None and not _has(seen, self.admin_key):
            return json_reply({"error": {"message": "Unauthorized", "type": "authentication_error"}}, 401)
        if (seen.method, seen.path) != ("GET", "/admin/backends"):
            return json_reply({"error": {"message": "Not Found", "type": "not_found"}}, 404)
        good = sum(each.is_healthy for each in self.behind)
        return json_reply({"backends": self.behind, "healthy_count": good, "total_count": len(self.behind)})


def _has(seen: LoggedRequest, key: str) -> bool:
    return hmac.compare_digest(seen.header("authorization") or "", f"Bearer {key}")
