"""One cluster as a channel: checks its manager, and gives the routes to its services.

The first probe asks for the version, signs in and lists the services; each later one is a single signed request.
Where an account may send few requests, signed probes are rare: those in between are unsigned, which is counted
against nothing and shows whether the manager is there.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from statistics import median

from msgspec.structs import replace

from meshlight.backends.backend_ai.client import REQUEST_S, Manager, ManagerVersion, read_token
from meshlight.backends.backend_ai.diagnostics import (
    disagreement,
    failing,
    keys_reason,
    no_list_reason,
    no_manager_reason,
    paused,
    quota_note,
    refusal_fact,
    service_refused,
    token_reason,
    token_refused,
    token_withheld,
    unanswered_reason,
)
from meshlight.backends.backend_ai.limits import (
    INTERVAL_MIN_S,
    ClusterClock,
    Quota,
    named_pause_s,
    pause_s,
    read_quota,
)
from meshlight.backends.backend_ai.models import ServiceModels, is_token_refusal
from meshlight.backends.backend_ai.services import (
    ClusterSummary,
    Service,
    degraded_text,
    read_services,
    summary_lines,
    warnings,
)
from meshlight.backends.backend_ai.tokens import KeptTokens, Tokens
from meshlight.backends.base import Channel, ChannelDeps, ModelRoute, Probe
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import ReadError, ReadTimeout, RouteUnavailable, UpstreamError
from meshlight.domain.health import LATENCIES_KEPT, Answered, Failed, Limited, ProbeFact, Refused
from meshlight.http_client.error_text import is_html
from meshlight.http_client.reply import Reply

FIRST_CHECK_S = 1.0
"""How long a probe waits for the models of services of which nothing is known: a later one brings the rest."""
GREETING_S = 3.0
"""How long the manager may take for an unsigned request, when it has answered one before."""
FIRST_PROBE_S = 8.0
"""How long a request waits for the first probe, which may send three requests."""
ASK_AGAIN_S = 10.0
"""How soon after a 429 that names no pause a person's check may send a request."""


class ClusterChannel(Channel):
    """Checks a cluster, and knows the routes to its services."""

    def __init__(self, deps: ChannelDeps, first_check_s: float = FIRST_CHECK_S) -> None:
        self._deps = deps
        self._first_check_s = first_check_s
        self._address = deps.probes.address
        self._backend = deps.backend
        self._keys: tuple[str, str] | None = None
        self._why: Reason | None = None
        """Why the last probe failed; None when it did not."""
        self._is_requested = False
        """Whether a person wants the next probe."""
        self._is_probed = asyncio.Event()
        """Whether a probe has ended with the present keys."""
        self._begin("", "")

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health once; whatever goes wrong becomes the fact."""
        self._backend = backend
        try:
            probe = await self._probe(secret)
        finally:
            self._is_probed.set()
        self._why = None if isinstance(probe.fact, Answered) else probe.fact.reason
        return probe

    def check_now(self) -> None:
        """Have the next probe send a signed request, or say when it can: a person wants to know."""
        self._is_requested = True

    async def route(self, model: str, secret: str | None) -> ModelRoute:  # noqa: ARG002 — the probe has brought the keys
        """Return the route to a model or, by its name, to a service; raises RouteUnavailable."""
        return await self.route_at("", model)

    async def route_at(self, place: str, model: str) -> ModelRoute:
        """Return the route to a model at one place (a service); raises RouteUnavailable.

        The list of models may be known before the first probe of this channel has ended: it is from an earlier one.
        """
        if not self._is_probed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_PROBE_S):
                    await self._is_probed.wait()
        if self._why is not None and not self._models.knows(model):
            raise RouteUnavailable(self._why)
        return await self._models.route(model, place)

    def renew(self, model: str, status: int, body: bytes) -> bool:
        """Whether it was the token that was refused; the next route has a new one then."""
        return self._renew(model, "", status, body)

    def renew_at(self, place: str, status: int, body: bytes) -> bool:
        """Whether it was a service's token that was refused; the next route has a new one then."""
        return self._renew("", place, status, body)

    def check_soon(self, place: str) -> None:
        """Check a service soon, because traffic gave cause."""
        self._models.check_soon(place)

    def refusal_reason(self, place: str, refusal: Reply) -> Reason:
        """Return why a service refuses a request, with a new token too."""
        if is_token_refusal(refusal.status, refusal.body):
            return token_refused(place)
        return service_refused(place, refusal.status)

    def close(self) -> None:
        """Cancel what runs in the background, and close the connections to the services."""
        self._models.close()
        self._tokens.close()

    def _renew(self, model: str, place: str, status: int, body: bytes) -> bool:
        if not is_token_refusal(status, body):
            return False
        self._models.token_refused(model, place)
        return True

    def _use_keys(self, access_key: str, secret: str) -> None:
        """Start anew with other keys: they are another account's."""
        keys = (access_key, secret.strip())
        if keys != self._keys:
            if self._keys is not None:
                self.close()
            self._keys = keys
            self._begin(*keys)

    def _begin(self, access_key: str, secret: str) -> None:
        deps = self._deps
        self._clock = ClusterClock(deps.wall, follows=self._backend.follow_clock)
        self._manager = Manager(deps.probes, self._clock, access_key, secret)
        kept = None
        if deps.token_store is not None and secret:
            kept = KeptTokens(deps.token_store, f"{self._address.url}\n{access_key}", secret)
        self._tokens = Tokens(self._issue, deps.clock, self._clock.unix, kept)
        self._models = ServiceModels(self._address, self._tokens, deps.upstream_for, deps.clock, deps.report)
        self._services: tuple[Service, ...] = ()
        self._greeting: ManagerVersion | None = None
        self._is_signed_in = False
        self._latencies = deque[float](maxlen=LATENCIES_KEPT)
        self._quota: Quota | None = None
        self._due = float("-inf")
        """When the next signed probe may be sent."""
        self._limited: Reason | None = None
        """Why nothing signed is sent until then, where that is a 429."""
        self._limited_at = float("-inf")
        self._is_pause_named = False
        self._refusals = 0
        self._why = None
        self._is_probed.clear()

    async def _issue(self, service_id: str) -> str | Reason:
        """Request a token; return the reason when there is none."""
        name = next((service.name for service in self._services if service.id == service_id), service_id)
        wait_s = self._due - self._deps.clock()
        if self._limited is not None and wait_s > 0:
            return token_withheld(name, paused(self._limited, wait_s))
        try:
            reply = await self._signed(partial(self._manager.issue_token, service_id))
        except UpstreamError as error:
            return token_withheld(name, unanswered_reason(error, self._backend))
        if reply.status not in {200, 201}:
            why = token_reason(reply, name, self._backend, self._clock)
            if reply.status == 429:
                self._pause(refusal_fact(reply, self._backend, self._clock), reply)
            return why
        self._quota = read_quota(reply.headers) or self._quota
        token = read_token(reply.body)
        text = f"The manager answers without a token for the service {name}."
        return token or Reason("no-token", text, "Ask the cluster's administrator to look at its log.")

    async def _probe(self, secret: str | None) -> Probe:
        why = keys_reason(self._backend.access_key, secret)
        if why is not None:
            return Probe(fact=Refused(why))
        self._use_keys(self._backend.access_key, secret or "")
        is_requested, self._is_requested = self._is_requested, False
        now = self._deps.clock()
        if now < self._due and not (is_requested and self._may_ask(now)):
            return await self._probe_unsigned(self._due - now, is_requested=is_requested)
        if is_requested:
            self._tokens.forget_refusals()
        try:
            fact = await self._check(recheck=is_requested)
        except UpstreamError as error:
            fact = await self._unanswered(error)
        if isinstance(fact, Limited):
            return self._limited_probe(fact.reason, is_requested=is_requested)
        if not isinstance(fact, Answered):
            return Probe(fact=fact)
        await self._models.first(self._first_check_s)
        return self._answered(fact)

    def _may_ask(self, now: float) -> bool:
        """Whether a person's check may send a signed request before the next is due."""
        if self._limited is not None:
            return not self._is_pause_named and now - self._limited_at >= ASK_AGAIN_S
        return self._quota is None or self._quota.left > 0

    async def _probe_unsigned(self, wait_s: float, *, is_requested: bool) -> Probe:
        """Probe while no signed request may be sent for `wait_s` seconds."""
        if self._limited is not None and not is_requested:
            return self._limited_probe(self._limited, is_requested=False)
        try:
            fact = await self._greet(GREETING_S)
        except UpstreamError as error:
            fact = Failed(unanswered_reason(error, self._backend))
        if fact is not None and not isinstance(fact, Limited):
            return Probe(fact=fact)
        if self._limited is not None:
            return self._limited_probe(self._limited, is_requested=is_requested)
        self._models.follow(self._services, recheck=is_requested)
        return self._answered(Answered(), quota_note(wait_s) if is_requested else "")

    async def _check(self, *, recheck: bool) -> ProbeFact:
        if self._greeting is None:
            fact = await self._greet()
            if fact is not None:
                return fact
        if not self._is_signed_in:
            reply = await self._signed(self._manager.check_keys)
            if reply.status != 200:
                return await self._refused(reply)
            self._is_signed_in = True
        return await self._listed(await self._signed(self._manager.services), recheck=recheck)

    async def _greet(self, timeout_s: float = REQUEST_S) -> ProbeFact | None:
        """Get version and time; return the fact when it is no manager that answers."""
        reply, greeting = await self._manager.greet(timeout_s)
        if greeting is None:
            is_web_ui = is_html(reply) and reply.status < 400 and await self._manager.is_web_ui()
            why = no_manager_reason(reply, self._backend, is_web_ui=is_web_ui)
            return self._pause(Limited(why), reply) if why.code == "rate-limited" else Failed(why)
        self._greeting = greeting
        return None

    async def _signed(self, send: Callable[[], Awaitable[Reply]]) -> Reply:
        """Send, and once more with the cluster's time and version of now if it disagreed with those."""
        reply = await send()
        if disagreement(reply) != "other" and await self._greet() is None:
            reply = await send()
        return reply

    async def _listed(self, reply: Reply, *, recheck: bool) -> ProbeFact:
        """Judge the answer to the request for the services."""
        if reply.status != 200:
            return await self._refused(reply)
        services = read_services(reply.body)
        if services is None:
            return Failed(no_list_reason(reply, self._backend))
        self._services = services
        self._latencies.append(reply.elapsed_s)
        self._limited, self._refusals = None, 0
        self._quota = read_quota(reply.headers)
        interval_s = self._quota.interval_s if self._quota is not None else INTERVAL_MIN_S
        # At the usual interval the prober decides: it probes faster while something changes.
        self._due = self._deps.clock() + interval_s if interval_s > INTERVAL_MIN_S else float("-inf")
        self._models.follow(services, recheck=recheck)
        return Answered(reply.elapsed_s)

    async def _refused(self, reply: Reply) -> ProbeFact:
        """Judge a refusal of a signed request; with a 5xx, an unsigned one tells who fails."""
        if reply.status in {401, 403}:
            self._is_signed_in = False
        fact = refusal_fact(reply, self._backend, self._clock)
        if reply.status >= 500:
            return await self._second_opinion(fact)
        return self._pause(fact, reply)

    async def _unanswered(self, error: UpstreamError) -> ProbeFact:
        """Judge a signed request that got no answer."""
        fact = Failed(unanswered_reason(error, self._backend))
        if self._greeting is None:
            return fact
        if isinstance(error, ReadTimeout):
            return await self._second_opinion(Failed(failing(self._backend, "it does not answer in time")))
        if isinstance(error, ReadError):
            return await self._second_opinion(Failed(failing(self._backend, "it breaks off its answer")))
        return fact

    async def _second_opinion(self, if_up: ProbeFact) -> ProbeFact:
        """Send the unsigned request, which a manager answers even when its database is down."""
        try:
            return await self._greet(GREETING_S) or if_up
        except UpstreamError as error:
            return Failed(unanswered_reason(error, self._backend))

    def _pause(self, fact: ProbeFact, reply: Reply) -> ProbeFact:
        """After a 429, send nothing signed for as long as it says or, without a word, longer each time."""
        if not isinstance(fact, Limited):
            return fact
        self._refusals += 1
        named_s = named_pause_s(reply.headers, self._clock.unix())
        wait_s = pause_s(self._refusals) if named_s is None else named_s
        self._limited_at = self._deps.clock()
        self._due = self._limited_at + wait_s
        self._limited, self._is_pause_named = fact.reason, named_s is not None
        if self._quota is not None:
            self._quota = replace(self._quota, left=0)
        return Limited(fact.reason, wait_s)

    def _limited_probe(self, why: Reason, *, is_requested: bool) -> Probe:
        wait_s = max(self._due - self._deps.clock(), 0.0)
        return Probe(
            fact=Limited(paused(why, wait_s) if is_requested else why, wait_s),
            about=None if self._greeting is None else summary_lines(self._summary(), self._clock),
        )

    def _answered(self, fact: Answered, note: str = "") -> Probe:
        """Return a good probe with all that is known."""
        models, summary = self._models, self._summary()
        return Probe(
            fact=fact,
            models=models.models,
            names=models.names,
            places=models.places,
            unusable=models.unusable,
            about=summary_lines(summary, self._clock),
            warnings=warnings(summary, self._clock),
            degraded=degraded_text(summary),
            note=note,
        )

    def _summary(self) -> ClusterSummary:
        return ClusterSummary(
            address=self._address,
            access_key=self._backend.access_key,
            greeting=self._greeting or ManagerVersion(self._manager.version),
            version=self._manager.version,
            services=self._services,
            quota=self._quota,
            latency_s=median(self._latencies) if self._latencies else None,
            problems=self._models.problems,
            plain=self._models.plain,
        )
