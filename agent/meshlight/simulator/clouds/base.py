"""Small HTTP servers that imitate OpenAI, Anthropic and Gemini: formats, keys, limits, pages and errors.

They follow the providers' documentation; no model is running.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Kind
from meshlight.simulator.clouds import anthropic as cloud_anthropic
from meshlight.simulator.clouds import gemini as cloud_gemini
from meshlight.simulator.clouds.errors import Trouble, trouble
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.http.reply import Reply
from meshlight.simulator.profile import EngineFacts
from meshlight.simulator.request_log import LoggedRequest

Provider = Literal["openai", "anthropic", "gemini"]
KEY = "demo-key-of-nobody"
LIMIT = 500


class CloudProfile(Struct, frozen=True):
    """How the clouds differ."""

    label: str
    models: tuple[str, ...]
    answer: Callable[[EngineFacts, LoggedRequest, str], Awaitable[Reply]] | None = None
    """None for OpenAI's API, which all engines have."""
    limits: Callable[[int, int], tuple[tuple[str, str], ...]] = lambda _left, _limit: ()
    """Builds the headers with the requests left, and the limit."""


def _openai_limits(left: int, limit: int) -> tuple[tuple[str, str], ...]:
    return (
        ("x-ratelimit-limit-requests", str(limit)),
        ("x-ratelimit-remaining-requests", str(left)),
        ("x-ratelimit-reset-requests", "12s"),
    )


_CLOUDS: Mapping[Provider, CloudProfile] = {
    "openai": CloudProfile("OpenAI", ("gpt-5-mini", "text-embedding-3-small"), None, _openai_limits),
    "anthropic": CloudProfile(
        "Anthropic", ("claude-sonnet-4-6", "claude-haiku-4-5"), cloud_anthropic.answer, cloud_anthropic.limits
    ),
    "gemini": CloudProfile("Gemini", ("gemini-3-flash", "gemini-embedding-001"), cloud_gemini.answer),
}


class SimulatedCloud(SimulatedEngine):
    """Imitates one cloud on a loopback port: `async with SimulatedCloud("anthropic") as cloud:`.

    It accepts only `key`, in the header that the provider documents. `trouble` makes it refuse as the provider does;
    the faults of engines work too.
    """

    def __init__(
        self,
        provider: Provider,
        name: str = "",
        models: Sequence[str] = (),
        *,
        key: str = KEY,
        limit: int = LIMIT,
        **same: Any,
    ) -> None:
        profile = _CLOUDS[provider]
        super().__init__("openai", name or f"demo {profile.label}", models or profile.models, key=key, **same)
        self.facts.profile = replace(self.facts.profile, label=profile.label, headers=())
        self.provider: Provider = provider
        self.trouble: Trouble | None = None
        self._profile = profile
        self._key = key
        self._limit = limit
        self._left = limit

    @property
    def kind(self) -> Kind:
        """The kind of backend that the mesh detects."""
        return self.provider

    @property
    def label(self) -> str:
        """The name of the cloud that it imitates."""
        return self._profile.label

    def revoke(self) -> None:
        """Revoke its key, as a person does in the provider's console: no key is accepted any more."""
        self.key = self._key = uuid4().hex

    async def answer(self, logged: LoggedRequest) -> Reply:
        """Return the answer to a request that meets no fault."""
        if self.trouble is not None and (reply := trouble(self.provider, self.trouble, logged)) is not None:
            return reply
        if self._profile.answer is None:
            reply = await super().answer(logged)
        else:
            reply = await self._profile.answer(self.facts, logged, self._key)
        if logged.method == "POST" and reply.status == 200:
            self._left = max(self._left - 1, 0)
            reply = replace(reply, headers=(*reply.headers, *self._profile.limits(self._left, self._limit)))
        return reply
