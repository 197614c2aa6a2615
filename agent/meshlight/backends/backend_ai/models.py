"""What the services of a cluster really serve: each is asked for its models now and then, beside the probes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable

from meshlight.backends.backend_ai.diagnostics import token_refused
from meshlight.backends.backend_ai.services import Service, place_of_service
from meshlight.backends.backend_ai.tokens import Tokens
from meshlight.backends.base import ModelRoute
from meshlight.backends.model_list import read_models
from meshlight.domain.backend import Reason
from meshlight.domain.errors import RouteUnavailable, UpstreamError
from meshlight.domain.health import Answered, Fact, Failed, Refused
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.error_text import is_html
from meshlight.http_client.response import Headers, Reply

LOOK_EVERY_S = 60.0
LOOK_AGAIN_S = 10.0
"""After one that brought nothing: a container that has just begun is still loading."""
LOOK_S = 5.0
CAUSE_S = 1.9
"""How long a look may take that a waiting or failed request gave cause to."""
CAUSE_GAP_S = 1.0
"""Requests cause looks at one service no more often than this."""
LOOKS_AT_ONCE = 4
LIST_LIMIT = 1 << 20
_NOT_OPENAI = "not OpenAI-compatible"
_ACCEPT = (b"accept", b"application/json, text/event-stream")
"""The app proxy answers its refusals as JSON only where JSON is named first."""


class _ServiceState:
    """One service that can be used, and what is known of it; instants are seconds of the channel's clock."""

    __slots__ = ("due", "ids", "looked_at", "place", "refusal", "service", "task", "trouble", "upstream")

    def __init__(self, service: Service, upstream: Upstream | None, trouble: str = "") -> None:
        self.service = service
        self.place = service.name
        """What it is called as a place behind the cluster: its name, told apart where two have the same."""
        self.upstream = upstream
        """None where its address can't be used."""
        self.ids: tuple[str, ...] | None = None
        """None until it was asked with success."""
        self.trouble = trouble
        self.refusal: Reason | None = None
        """Why it can't be used, where its token was refused when it was looked at last."""
        self.due = self.looked_at = float("-inf")
        self.task: asyncio.Task[None] | None = None


class ServiceModels:
    """Knows the ids behind each service, and the way to each.

    Looks run in the background, at most four at once; what they find is there for the next probe.
    """

    def __init__(
        self,
        manager: Address,
        tokens: Tokens,
        upstream_for: Callable[[Address], Upstream],
        clock: Callable[[], float],
        tell: Callable[[str, Fact], None],
    ) -> None:
        """`tell` hears what each look says of its service, by the name of its place."""
        self._tell = tell
        self._manager = manager
        self._tokens = tokens
        self._upstream_for = upstream_for
        self._clock = clock
        self._desks: dict[str, _ServiceState] = {}
        self._found: dict[str, _ServiceState | None] = {}
        """What `_find` has found since anything changed."""
        self._slots = asyncio.Semaphore(LOOKS_AT_ONCE)

    @property
    def models(self) -> tuple[str, ...]:
        """The ids that are served, in the order of the services."""
        return tuple(dict.fromkeys(model for desk in self._desks.values() for model in desk.ids or ()))

    @property
    def names(self) -> dict[str, str]:
        """The services that may be asked for by their names, and the id behind each ("" while unknown)."""
        models, names = set(self.models), dict[str, str]()
        for desk in self._desks.values():
            name = desk.service.name
            if desk.upstream is not None and desk.ids != () and name not in models:
                names.setdefault(name, desk.ids[0] if desk.ids else "")
        return names

    @property
    def places(self) -> dict[str, tuple[str, ...]]:
        """The services that serve each id or name, each a place of its own: the one of that name first."""
        found: dict[str, list[_ServiceState]] = {}
        for desk in self._desks.values():
            if desk.upstream is not None and desk.ids != ():
                for model in desk.ids or ():
                    found.setdefault(model, []).append(desk)
        for desk in self._desks.values():
            if desk.upstream is not None and desk.ids != ():
                named = found.setdefault(desk.service.name, [])
                if all(desk.service.name not in (other.ids or ()) for other in named) and desk not in named:
                    named.append(desk)
        return {
            model: tuple(d.place for d in sorted(desks, key=lambda d: d.service.name != model))
            for model, desks in found.items()
        }

    @property
    def troubles(self) -> dict[str, str]:
        """Why some services can't be used, by their names."""
        return {desk.service.name: desk.trouble for desk in self._desks.values() if desk.trouble}

    @property
    def plain(self) -> tuple[str, ...]:
        """The services that are reached without TLS though the manager is reached by it."""
        if self._manager.scheme != "https":
            return ()
        return tuple(
            desk.service.name
            for desk in self._desks.values()
            if desk.upstream is not None and desk.upstream.address.scheme == "http"
        )

    def follow(self, services: Iterable[Service]) -> None:
        """Bring the desks to what the manager lists now, and look at those that are due."""
        now, old = self._clock(), self._desks
        self._desks = {s.id: self._desk(s, old.get(s.id)) for s in services if s.is_up}
        self._found.clear()
        names = Counter(desk.service.name for desk in self._desks.values())
        for desk in self._desks.values():
            name = desk.service.name
            desk.place = name if names[name] == 1 else f"{name} ({desk.service.id})"
        kept = set(self._desks.values())
        for desk in old.values():
            if desk not in kept:
                _leave(desk)
        self._tokens.keep(set(self._desks))
        for desk in kept:
            if desk.upstream is not None and now >= desk.due:
                self._look(desk)

    async def first(self, within_s: float) -> None:
        """Wait for the looks at services that nobody has seen yet, but no longer than that."""
        tasks = [
            d.task for d in self._desks.values() if d.task is not None and d.ids is None and not d.trouble
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)

    def knows(self, model: str) -> bool:
        """Whether a service is known for this id or name."""
        return self._find(model) is not None

    async def way(self, model: str, place: str = "") -> ModelRoute:
        """Return the way to a model's id, or to a service by its name, at one place if given; raises WayClosed."""
        desk = self._at(place) if place else self._find(model)
        if desk is None:
            raise RouteUnavailable(
                Reason(
                    "no-service",
                    f"No service of the cluster with an active route serves {model} now.",
                    "Start it in Backend.AI, or choose another model.",
                )
            )
        if desk.ids is None:
            await asyncio.wait((self._look(desk),))
        if not desk.ids or desk.upstream is None:
            text = desk.trouble or "it was changed meanwhile"
            raise RouteUnavailable(
                desk.refusal
                or Reason(
                    "service-unusable",
                    f"The service {desk.service.name} can't be used: {text}",
                    "Look at it in Backend.AI.",
                )
            )
        return ModelRoute(
            desk.upstream, await self._auth(desk.service), model if model in desk.ids else desk.ids[0]
        )

    def refused(self, model: str, place: str = "") -> None:
        """Forget the token of the service that has refused it."""
        desk = self._at(place) if place else self._find(model)
        if desk is not None:
            self._tokens.refused(desk.service.id)

    def look(self, place: str) -> None:
        """Look at a service soon, because a request waits there or has failed."""
        desk = self._at(place)
        if desk is not None and desk.upstream is not None and self._clock() - desk.looked_at >= CAUSE_GAP_S:
            self._look(desk, CAUSE_S)

    def close(self) -> None:
        """End the looks and let the connections go."""
        for desk in self._desks.values():
            _leave(desk)
        self._desks = {}
        self._found.clear()

    def _desk(self, service: Service, old: _ServiceState | None) -> _ServiceState:
        if old is not None and old.service == service:
            return old
        if old is not None and (old.service.endpoint, old.service.is_public) == (
            service.endpoint,
            service.is_public,
        ):
            old.service, old.due = service, float("-inf")
            return old
        place = place_of_service(service.endpoint, self._manager)
        if isinstance(place, str):
            return _ServiceState(service, None, place)
        return _ServiceState(service, self._upstream_for(place))

    def _find(self, model: str) -> _ServiceState | None:
        """Return the service of a model: the one of that name if it serves it too, else the first that does."""
        if model not in self._found:
            desks = [desk for desk in self._desks.values() if desk.upstream is not None]
            serving = [desk for desk in desks if model in (desk.ids or ())]
            named = [desk for desk in desks if desk.service.name == model]
            both = [desk for desk in serving if desk in named]
            self._found[model] = next(iter((*both, *serving, *named)), None)
        return self._found[model]

    def _at(self, place: str) -> _ServiceState | None:
        return next((desk for desk in self._desks.values() if desk.place == place), None)

    async def _auth(self, service: Service) -> Headers:
        if service.is_public:
            return (_ACCEPT,)
        token = await self._tokens.get(service.id)
        return ((b"authorization", b"BackendAI " + token.encode("ascii")), _ACCEPT)

    def _look(self, desk: _ServiceState, cause_s: float | None = None) -> asyncio.Task[None]:
        if desk.task is None:
            desk.looked_at = self._clock()
            desk.task = asyncio.get_running_loop().create_task(self._look_at(desk, cause_s))
            desk.task.add_done_callback(lambda _: setattr(desk, "task", None))
        return desk.task

    async def _look_at(self, desk: _ServiceState, cause_s: float | None) -> None:
        """Look at a service; with a cause it may take `cause_s` seconds, and waits for no other look."""
        desk.due = float("inf")
        wait_s = LOOK_AGAIN_S
        fact: Fact | None = None
        try:
            if cause_s is None:
                async with self._slots:
                    reply = await self._list(desk, LOOK_S)
            else:
                reply = await self._list(desk, cause_s)
            wait_s = _learn(desk, reply)
            fact = _fact(desk, reply)
            desk.refusal = fact.reason if isinstance(fact, Refused) else None
        except (
            RouteUnavailable
        ) as error:  # the manager has no token for it, which says nothing of the service
            desk.trouble = error.why.text
        except UpstreamError as error:
            desk.trouble = error.title
            fact = Failed(Reason("service-unreachable", f"The service {desk.service.name}: {error.title}"))
        finally:
            self._found.clear()
            desk.due = self._clock() + wait_s
        if fact is not None:
            self._tell(desk.place, fact)

    async def _list(self, desk: _ServiceState, within_s: float) -> Reply:
        """Ask a service for its models, with a new token if it refuses the old one."""
        upstream = desk.upstream
        if upstream is None:
            raise RouteUnavailable(Reason("service-unusable", desk.trouble))
        reply = await self._ask(desk, upstream, within_s)
        if is_token_refusal(reply.status, reply.body):
            self._tokens.refused(desk.service.id)
            reply = await self._ask(desk, upstream, within_s)
        return reply

    async def _ask(self, desk: _ServiceState, upstream: Upstream, within_s: float) -> Reply:
        auth = await self._auth(desk.service)
        return await upstream.fetch("GET", "/v1/models", headers=auth, timeout_s=within_s, limit=LIST_LIMIT)


def is_token_refusal(status: int, body: bytes) -> bool:
    """Whether it is the app proxy that refuses a token: E20006 (none) to E20009 (of another service)."""
    return status == 401 and b"E2000" in body[: 1 << 16]


def _learn(desk: _ServiceState, reply: Reply) -> float:
    """Take in what a service answers for its models; return the seconds until it is asked again."""
    listing = read_models(reply.body) if reply.status == 200 else None
    if listing is not None:
        desk.ids, desk.trouble = listing.models, "" if listing.models else "it lists no model"
        return LOOK_EVERY_S
    if reply.status in {200, 404, 405} or (is_html(reply) and reply.status < 400):
        desk.ids, desk.trouble = (), _NOT_OPENAI
        return LOOK_EVERY_S
    if is_token_refusal(reply.status, reply.body):
        desk.trouble = "its app proxy refuses a new token"
        return LOOK_EVERY_S
    desk.trouble = f"it answers {reply.status} when asked for its models"
    return LOOK_AGAIN_S


def _fact(desk: _ServiceState, reply: Reply) -> Fact:
    """Say what the answer to a look tells of the service's health."""
    if not desk.trouble or desk.ids == ():
        return Answered()
    if is_token_refusal(reply.status, reply.body):
        return Refused(token_refused(desk.service.name))
    return Failed(Reason("service-failing", f"The service {desk.service.name}: {desk.trouble}."))


def _leave(desk: _ServiceState) -> None:
    if desk.task is not None:
        desk.task.cancel()
    if desk.upstream is not None:
        desk.upstream.close()
