"""Which models the services of a cluster serve, and the route to each.

The manager lists services, not models: each service is asked for its models now and then, in the background beside
the probes. A service that is listed and can't be used stays known with its reason.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from meshlight.backends.backend_ai.diagnostics import service_reason, token_refused
from meshlight.backends.backend_ai.services import Service, address_of_service
from meshlight.backends.backend_ai.tokens import Tokens
from meshlight.backends.base import ModelRoute
from meshlight.backends.model_list import read_models
from meshlight.domain.backend import Reason
from meshlight.domain.errors import RouteUnavailable, UpstreamError
from meshlight.domain.health import Answered, Fact, Failed, Refused
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.error_text import is_html
from meshlight.http_client.headers import retry_after_s
from meshlight.http_client.reply import Headers, Reply

CHECK_EVERY_S = 60.0
CHECK_AGAIN_S = 10.0
"""After a check that failed: a container that has just started is still loading its model."""
CHECK_S = 5.0
TRAFFIC_CHECK_S = 1.9
"""How long a check may take that a waiting or failed request has caused."""
TRAFFIC_CHECK_GAP_S = 1.0
"""Requests cause checks of one service no more often than this."""
CHECKS_AT_ONCE = 4
LIST_LIMIT = 1 << 20
_NOT_OPENAI = "not OpenAI-compatible"
_ACCEPT = (b"accept", b"application/json, text/event-stream")
"""The app proxy writes its errors as JSON only where JSON is named first."""


class ServiceModels:
    """Knows the ids that each service serves, and the route to each.

    At most four services are checked at once; the results are there for the next probe.
    """

    def __init__(
        self,
        manager: Address,
        tokens: Tokens,
        upstream_for: Callable[[Address], Upstream],
        clock: Callable[[], float],
        report: Callable[[str, Fact], None],
    ) -> None:
        """`report` is called after each check with the service's place and what was seen."""
        self._report = report
        self._manager = manager
        self._tokens = tokens
        self._upstream_for = upstream_for
        self._clock = clock
        self._states: dict[str, _ServiceState] = {}
        self._found: dict[str, _ServiceState | None] = {}
        """Results of `_find` since the last change."""
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    @property
    def models(self) -> tuple[str, ...]:
        """The ids that can be used now, in the order of the services."""
        return tuple(dict.fromkeys(model for state in self._usable() for model in state.ids or ()))

    @property
    def names(self) -> dict[str, str]:
        """The services that may be requested by their names, and the id behind each ("" while unknown)."""
        models, names = set(self.models), dict[str, str]()
        for state in self._usable():
            if state.service.name not in models:
                names.setdefault(state.service.name, state.ids[0] if state.ids else "")
        return names

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """The services that serve each id or name, each a route of its own: the one of that name first."""
        found: dict[str, list[_ServiceState]] = {}
        for state in self._usable():
            for model in state.ids or ():
                found.setdefault(model, []).append(state)
        for state in self._usable():
            name = state.service.name
            named = found.setdefault(name, [])
            if all(name not in (other.ids or ()) for other in named) and state not in named:
                named.append(state)
        return {
            model: tuple(state.place for state in sorted(states, key=lambda s: s.service.name != model))
            for model, states in found.items()
        }

    @property
    def unusable(self) -> dict[str, Reason]:
        """The names and last known ids of services that can't be used now, and why."""
        usable = self.places
        found: dict[str, Reason] = {}
        for state in self._states.values():
            why = state.why_unusable()
            for name in (state.service.name, *(state.ids or ())) if why is not None else ():
                if name not in usable and why is not None:
                    found.setdefault(name, why)
        return found

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with some services in a few words, by their places."""
        return {
            state.place: text
            for state in self._states.values()
            if (text := state.service.state or state.problem)
        }

    @property
    def plain(self) -> tuple[str, ...]:
        """The services that are reached without TLS though the manager is reached with it."""
        if self._manager.scheme != "https":
            return ()
        return tuple(
            state.service.name
            for state in self._states.values()
            if state.upstream is not None and state.upstream.address.scheme == "http"
        )

    def follow(self, services: Iterable[Service], *, recheck: bool = False) -> None:
        """Take over what the manager lists now, and check the services that are due.

        With `recheck` those with a problem are due too.
        """
        now, old = self._clock(), self._states
        self._states = {service.id: self._state(service, old.get(service.id)) for service in services}
        self._found.clear()
        names = Counter(state.service.name for state in self._states.values())
        for state in self._states.values():
            name = state.service.name
            state.place = name if names[name] == 1 else f"{name} ({state.service.id})"
        current = set(self._states.values())
        for state in old.values():
            if state not in current:
                state.close()
        for state in current:
            if state.can_answer and (now >= state.due or (recheck and state.problem)):
                self._check(state)

    async def first(self, within_s: float) -> None:
        """Wait for the checks of services of which nothing is known yet, but no longer than that."""
        tasks = [
            state.task
            for state in self._states.values()
            if state.task is not None and state.ids is None and not state.problem
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def knows(self, model: str) -> bool:
        """Whether a service is known for this id or name."""
        return self._find(model) is not None

    async def route(self, model: str, place: str = "") -> ModelRoute:
        """Return the route to a model's id or a service's name, at one place if given; raises RouteUnavailable."""
        state = self._at(place) if place else self._find(model)
        if state is None:
            raise RouteUnavailable(
                Reason(
                    "no-service",
                    f"No service of the cluster with an active route serves {model} now.",
                    "Start it in Backend.AI, or choose another model.",
                )
            )
        if state.ids is None and state.can_answer:
            await asyncio.wait((self._check(state),))
        if (why := state.why_unusable()) is not None:
            raise RouteUnavailable(why)
        if not state.ids or state.upstream is None:
            raise RouteUnavailable(service_reason(state.service.name, "it was changed meanwhile"))
        return ModelRoute(
            state.upstream, await self._auth(state.service), model if model in state.ids else state.ids[0]
        )

    def token_refused(self, model: str, place: str = "") -> None:
        """Drop the token of the service that has refused it."""
        state = self._at(place) if place else self._find(model)
        if state is not None:
            self._tokens.refused(state.service.id)

    def check_soon(self, place: str) -> None:
        """Check a service, because a request waits there or has failed."""
        state = self._at(place)
        if state is not None and state.can_answer and self._clock() - state.checked_at >= TRAFFIC_CHECK_GAP_S:
            self._check(state, TRAFFIC_CHECK_S)

    def close(self) -> None:
        """Cancel the checks and close the connections."""
        for state in self._states.values():
            state.close()
        self._states = {}
        self._found.clear()

    def _usable(self) -> list["_ServiceState"]:
        return [state for state in self._states.values() if state.why_unusable() is None]

    def _state(self, service: Service, old: "_ServiceState | None") -> "_ServiceState":
        """Return the state of a service, the old one unless it is at another address now."""
        if (
            old is not None
            and service.endpoint in {"", old.endpoint}
            and service.is_public == old.service.is_public
        ):
            if old.service != service:
                old.service, old.due = service, float("-inf")
            return old
        address = address_of_service(service.endpoint, self._manager) if service.endpoint else ""
        if isinstance(address, str):
            return _ServiceState(service, None, address)
        return _ServiceState(service, self._upstream_for(address))

    def _find(self, model: str) -> "_ServiceState | None":
        """Return the service of a model: the one of that name if it serves it too, else the first that does."""
        if model not in self._found:
            states = self._usable()
            serving = [state for state in states if model in (state.ids or ())]
            named = [state for state in states if state.service.name == model]
            both = [state for state in serving if state in named]
            unusable = [
                state for state in self._states.values() if model in {state.service.name, *(state.ids or ())}
            ]
            self._found[model] = next(iter((*both, *serving, *named, *unusable)), None)
        return self._found[model]

    def _at(self, place: str) -> "_ServiceState | None":
        return next((state for state in self._states.values() if state.place == place), None)

    async def _auth(self, service: Service) -> Headers:
        if service.is_public:
            return (_ACCEPT,)
        token = await self._tokens.get(service.id)
        return ((b"authorization", b"BackendAI " + token.encode("ascii")), _ACCEPT)

    def _check(self, state: "_ServiceState", traffic_s: float | None = None) -> "asyncio.Task[None]":
        """Start a check, or return the one that runs; one that traffic caused waits for no other check."""
        if state.task is None:
            state.checked_at = self._clock()
            state.task = asyncio.get_running_loop().create_task(self._run_check(state, traffic_s))
            state.task.add_done_callback(lambda _: setattr(state, "task", None))
        return state.task

    async def _run_check(self, state: "_ServiceState", traffic_s: float | None) -> None:
        state.due = float("inf")
        wait_s = CHECK_AGAIN_S
        fact: Fact | None = None
        try:
            if traffic_s is None:
                async with self._slots:
                    reply = await self._fetch_list(state, CHECK_S)
            else:
                reply = await self._fetch_list(state, traffic_s)
            wait_s = state.record(reply)
            fact = state.fact_of(reply)
        except RouteUnavailable as error:  # there is no token for it, which says nothing of the service
            state.problem, state.why = error.why.text, error.why
        except UpstreamError as error:
            state.problem, state.why = error.title, None
            fact = Failed(Reason("service-unreachable", f"The service {state.service.name}: {error.title}"))
        finally:
            self._found.clear()
            state.due = self._clock() + wait_s
        if fact is not None:
            self._report(state.place, fact)

    async def _fetch_list(self, state: "_ServiceState", within_s: float) -> Reply:
        """Request a service's models, with a new token if it refuses the old one."""
        upstream = state.upstream
        if upstream is None:
            raise RouteUnavailable(service_reason(state.service.name, state.problem))
        reply = await self._fetch(state, upstream, within_s)
        if is_token_refusal(reply.status, reply.body):
            self._tokens.refused(state.service.id)
            reply = await self._fetch(state, upstream, within_s)
        return reply

    async def _fetch(self, state: "_ServiceState", upstream: Upstream, within_s: float) -> Reply:
        auth = await self._auth(state.service)
        return await upstream.fetch("GET", "/v1/models", headers=auth, timeout_s=within_s, limit=LIST_LIMIT)


class _ServiceState:
    """One listed service, and what is known of it; instants are seconds of the channel's clock."""

    __slots__ = (
        "checked_at",
        "due",
        "endpoint",
        "ids",
        "place",
        "problem",
        "service",
        "task",
        "upstream",
        "why",
    )

    def __init__(self, service: Service, upstream: Upstream | None, problem: str = "") -> None:
        self.service = service
        self.endpoint = service.endpoint
        """The listed address that `upstream` leads to."""
        self.place = service.name
        """Its name as a place behind the cluster, with its id where two have the same name."""
        self.upstream = upstream
        """None where it has no address that can be used."""
        self.ids: tuple[str, ...] | None = None
        """None until a check succeeded."""
        self.problem = problem
        """What was wrong at the last check, in a few words."""
        self.why: Reason | None = None
        """The same as a reason of its own, where it is about the token."""
        self.due = self.checked_at = float("-inf")
        self.task: asyncio.Task[None] | None = None

    @property
    def can_answer(self) -> bool:
        """Whether it is worth asking."""
        return self.service.is_up and self.upstream is not None

    def why_unusable(self) -> Reason | None:
        """Return why no request can be sent there; None when one can, though it may fail."""
        name, state = self.service.name, self.service.state
        if state:
            return service_reason(name, state, is_down=True)
        if self.upstream is not None and (self.ids or not self.problem):
            return None
        return self.why or service_reason(name, self.problem)

    def record(self, reply: Reply) -> float:
        """Record what it answers for its models; return the seconds until the next check."""
        self.why = None
        listing = read_models(reply.body) if reply.status == 200 else None
        if listing is not None:
            self.ids, self.problem = listing.models, "" if listing.models else "it lists no model"
            return CHECK_EVERY_S
        if reply.status in {200, 404, 405} or (is_html(reply) and reply.status < 400):
            self.ids, self.problem = (), _NOT_OPENAI
            return CHECK_EVERY_S
        if is_token_refusal(reply.status, reply.body):
            self.problem, self.why = "its app proxy refuses a new token", token_refused(self.service.name)
            return CHECK_EVERY_S
        self.problem = f"it answers {reply.status} when asked for its models"
        return max(retry_after_s(reply.headers) or 0.0, CHECK_AGAIN_S)

    def fact_of(self, reply: Reply) -> Fact:
        """Return what the answer to a check says of the service's health."""
        if not self.problem or self.ids == ():
            return Answered()
        if self.why is not None and is_token_refusal(reply.status, reply.body):
            return Refused(self.why)
        return Failed(Reason("service-failing", f"The service {self.service.name}: {self.problem}."))

    def close(self) -> None:
        """Cancel its check and close its connections."""
        if self.task is not None:
            self.task.cancel()
        if self.upstream is not None:
            self.upstream.close()


def is_token_refusal(status: int, body: bytes) -> bool:
    """Whether it is the app proxy that refuses a token: E20006 (none) to E20009 (another service's)."""
    return status == 401 and b"E2000" in body[: 1 << 16]
