"""What is kept for one cluster: its clock, its quota, the tokens and models of its services."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from meshlight.backends.backend_ai.client import Manager, ManagerVersion, read_token
from meshlight.backends.backend_ai.diagnostics import (
    failing,
    keys_reason,
    missed_reason,
    no_list_reason,
    refusal_fact,
    service_refused,
    stranger_reason,
    token_reason,
    token_refused,
    trouble_of,
)
from meshlight.backends.backend_ai.limits import (
    INTERVAL_MIN_S,
    ClusterClock,
    Quota,
    limited_wait_s,
    read_quota,
)
from meshlight.backends.backend_ai.models import ServiceModels, is_token_refusal
from meshlight.backends.backend_ai.services import (
    ClusterSummary,
    Service,
    read_services,
    summary_lines,
    warnings,
)
from meshlight.backends.backend_ai.tokens import Tokens
from meshlight.backends.base import Channel, ChannelDeps, ModelRoute, Probe
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import ReadError, ReadTimeout, RouteUnavailable, UpstreamError
from meshlight.domain.health import Answered, Failed, Limited, ProbeFact, Refused
from meshlight.http_client.error_text import is_html
from meshlight.http_client.headers import retry_after_s
from meshlight.http_client.response import Reply

FIRST_CHECK_S = 1.0
"""How long a probe waits for the models of services that were never seen: a list that grows later is no harm."""
SECOND_S = 3.0
"""How long the manager may take to say that it is there, when a signed request has failed."""
FIRST_PROBE_S = 8.0
"""How long a request waits for the first probe, which may have three questions to ask."""


class ClusterChannel(Channel):
    """Checks a cluster by one signed request, and knows the ways to its services.

    The first probe also signs in. A probe that is not due yet, by the cluster's quota, answers by what is known.
    """

    def __init__(self, means: ChannelDeps, first_look_s: float = FIRST_CHECK_S) -> None:
        self._means = means
        self._first_look_s = first_look_s
        self._address = means.probes.address
        self._backend = means.backend
        self._keys: tuple[str, str] | None = None
        self._why: Reason | None = None
        """Why the last probe was not answered as it should be."""
        self._is_probed = asyncio.Event()
        """Whether a probe has ended since the keys are what they are."""
        self._begin("", "")

    async def probe(self, backend: Backend, secret: str | None) -> Probe:
        """Check the health once; whatever goes wrong on the way becomes the fact."""
        self._backend = backend
        try:
            probe = await self._probe(secret)
        finally:
            self._is_probed.set()
        self._why = None if isinstance(probe.fact, Answered) else probe.fact.reason
        return probe

    async def route(self, model: str, secret: str | None) -> ModelRoute:  # noqa: ARG002 — the probe has brought the keys
        """Return the way to a model or, by its name, to a service; raises WayClosed.

        Before the first probe has ended nothing is known here, though the list of models may be: the backend was
        tried before it was kept, or the link is a new one.
        """
        return await self.route_at("", model)

    async def route_at(self, place: str, model: str) -> ModelRoute:
        """Return the way to a model at one service, the one of the place; raises WayClosed."""
        if not self._is_probed.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_PROBE_S):
                    await self._is_probed.wait()
        if self._why is not None and not self._models.knows(model):
            raise RouteUnavailable(self._why)
        return await self._models.way(model, place)

    def renew(self, model: str, status: int, body: bytes) -> bool:
        """Say whether it was the token that was refused; the next `way` has a new one then."""
        if not is_token_refusal(status, body):
            return False
        self._models.refused(model)
        return True

    def renew_at(self, place: str, status: int, body: bytes) -> bool:
        """Say whether it was a service's token that was refused; the next way has a new one then."""
        if not is_token_refusal(status, body):
            return False
        self._models.refused("", place)
        return True

    def check_soon(self, place: str) -> None:
        """Look at a service soon, because traffic gave cause."""
        self._models.look(place)

    def refusal_reason(self, place: str, refusal: Reply) -> Reason:
        """Say why a service refuses a request, with a new token too."""
        if is_token_refusal(refusal.status, refusal.body):
            return token_refused(place)
        return service_refused(place, refusal.status)

    def close(self) -> None:
        """End what runs in the background, and let the connections to the services go."""
        self._models.close()
        self._tokens.close()

    async def _probe(self, secret: str | None) -> Probe:
        why = keys_reason(self._backend.access_key, secret)
        if why is not None:
            return Probe(fact=Refused(why))
        self._know(self._backend.access_key, secret or "")
        now = self._means.clock()
        if self._limited is not None and now < self._due:
            return Probe(fact=Limited(self._limited.reason, self._due - now))
        if now < self._due:
            self._models.follow(self._services)
            return self._seen(Answered())
        try:
            fact = await self._check()
        except UpstreamError as error:
            fact = await self._missed(error)
        if not isinstance(fact, Answered):
            return Probe(fact=fact)
        await self._models.first(self._first_look_s)
        return self._seen(fact)

    # what is kept

    def _know(self, access_key: str, secret: str) -> None:
        """Begin anew with other keys: they are somebody else."""
        keys = (access_key, secret.strip())
        if keys != self._keys:
            if self._keys is not None:
                self.close()
            self._keys = keys
            self._begin(*keys)

    def _begin(self, access_key: str, secret: str) -> None:
        means = self._means
        self._clock = ClusterClock(means.wall, follows=self._backend.follow_clock)
        self._manager = Manager(means.probes, self._clock, access_key, secret)
        self._tokens = Tokens(self._issue, means.clock, self._clock.unix)
        self._models = ServiceModels(
            self._address, self._tokens, means.upstream_for, means.clock, means.report
        )
        self._services: tuple[Service, ...] = ()
        self._hello: ManagerVersion | None = None
        self._is_signed_in = False
        self._quota: Quota | None = None
        self._due = float("-inf")
        self._limited: Limited | None = None
        self._refusals = 0
        self._why = None
        self._is_probed.clear()

    async def _issue(self, service_id: str) -> str | Reason:
        """Ask for a token; return the reason when there is none."""
        name = next((s.name for s in self._services if s.id == service_id), service_id)
        try:
            reply = await self._signed(partial(self._manager.issue, service_id))
        except UpstreamError as error:
            why = missed_reason(error, self._backend)
            return Reason(why.code, f"There is no token for the service {name}: {why.text}", why.fix)
        if reply.status not in {200, 201}:
            return token_reason(reply, name, self._backend, self._clock)
        token = read_token(reply.body)
        text = f"The manager answers without a token for the service {name}."
        return token or Reason("no-token", text, "Ask the cluster's administrator to look at its log.")

    # how a check goes

    async def _check(self) -> ProbeFact:
        if self._hello is None:
            fact = await self._greet()
            if fact is not None:
                return fact
        if not self._is_signed_in:
            reply = await self._signed(self._manager.check)
            if reply.status != 200:
                return await self._refused(reply)
            self._is_signed_in = True
        return await self._judge(await self._signed(self._manager.services))

    async def _greet(self) -> ProbeFact | None:
        """Learn version and time; return the fact when it is no manager that answers."""
        reply, hello = await self._manager.greet()
        if hello is None:
            is_web_ui = is_html(reply) and await self._manager.is_web_ui()
            why = stranger_reason(reply, self._backend, is_web_ui=is_web_ui)
            return self._stay_away(why, reply) if why.code == "rate-limited" else Failed(why)
        self._hello = hello
        return None

    async def _signed(self, ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """Ask, and once more by the cluster's time and version of now if that is what it minds."""
        reply = await ask()
        if trouble_of(reply) != "other" and await self._greet() is None:
            reply = await ask()
        return reply

    async def _judge(self, reply: Reply) -> ProbeFact:
        """Judge the answer to the question for services."""
        if reply.status != 200:
            return await self._refused(reply)
        services = read_services(reply.body)
        if services is None:
            return Failed(no_list_reason(reply, self._backend))
        self._services = services
        self._limited, self._refusals = None, 0
        self._quota = read_quota(reply.headers)
        interval_s = self._quota.interval_s if self._quota is not None else INTERVAL_MIN_S
        # At the usual pace the prober decides: it asks faster while something changes.
        self._due = self._means.clock() + interval_s if interval_s > INTERVAL_MIN_S else float("-inf")
        self._models.follow(services)
        return Answered(reply.elapsed_s)

    async def _refused(self, reply: Reply) -> ProbeFact:
        """Judge a refusal of a signed request; of an inner failure the unsigned greeting tells more."""
        if reply.status in {401, 403}:
            self._is_signed_in = False
        fact = refusal_fact(reply, self._backend, self._clock, 0.0)
        if isinstance(fact, Limited):
            return self._stay_away(fact.reason, reply)
        if reply.status >= 500:
            return await self._second_opinion(fact)
        return fact

    async def _missed(self, error: UpstreamError) -> ProbeFact:
        """Judge a request that got no answer."""
        fact = Failed(missed_reason(error, self._backend))
        if self._hello is None:
            return fact
        if isinstance(error, ReadTimeout):
            return await self._second_opinion(
                fact, Failed(failing(self._backend, "it does not answer in time"))
            )
        if isinstance(error, ReadError):
            return await self._second_opinion(
                fact, Failed(failing(self._backend, "it breaks off its answer"))
            )
        return fact

    async def _second_opinion(self, fact: ProbeFact, if_up: ProbeFact | None = None) -> ProbeFact:
        """Ask the unsigned greeting: a manager whose database is down still answers that one."""
        try:
            reply, hello = await self._manager.greet(SECOND_S)
        except UpstreamError as error:
            return Failed(missed_reason(error, self._backend))
        if hello is None:
            return Failed(stranger_reason(reply, self._backend, is_web_ui=False))
        self._hello = hello
        return if_up or fact

    def _stay_away(self, why: Reason, reply: Reply) -> Limited:
        """Ask nothing for a while, longer each time; the manager itself does not say for how long."""
        self._refusals += 1
        wait_s = limited_wait_s(self._refusals, retry_after_s(reply.headers))
        self._due = self._means.clock() + wait_s
        self._limited = Limited(why, wait_s)
        return self._limited

    def _seen(self, fact: ProbeFact) -> Probe:
        """Return a good probe with all that is known."""
        models = self._models
        shown = ClusterSummary(
            address=self._address,
            access_key=self._backend.access_key,
            hello=self._hello or ManagerVersion(self._manager.version),
            version=self._manager.version,
            services=self._services,
            quota=self._quota,
            troubles=models.troubles,
            plain=models.plain,
        )
        return Probe(
            fact=fact,
            models=models.models,
            names=models.names,
            places=models.places,
            about=summary_lines(shown, self._clock),
            warnings=warnings(shown, self._clock),
        )
