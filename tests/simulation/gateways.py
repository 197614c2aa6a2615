"""The choices that are compared: as Meshlight makes them, with its own code, and the two usual ones.

`Meshlight` does what `gateway/inference` does around that code, without HTTP: `route_choice.py` and `queue.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from meshlight.domain.backend import OK, Backend, ModelDetail
from meshlight.domain.choice import Prompt, fits, may_begin
from meshlight.domain.fair_queue import Route, SlotQueues, Waiter
from meshlight.domain.health import Health
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import rank
from meshlight.domain.rules import Policy, Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.mesh.conversations import Conversations
from meshlight.mesh.route_memory import Plan, RouteMemory
from meshlight.mesh.traffic import Traffic
from simulation.demand import Conversation, Turn
from simulation.machines import Job, Machine, Timeline

LOOK_EVERY_S = 10.0
"""How often the engines are asked what is in memory."""
LATENCY_S = 0.01


class Request:
    """One turn on its way."""

    __slots__ = (
        "asked_at",
        "conversation",
        "done",
        "ended_at",
        "job",
        "machine",
        "refused",
        "sent_at",
        "turn",
    )

    def __init__(
        self, conversation: Conversation, turn: Turn, asked_at: float, done: Callable[["Request"], None]
    ) -> None:
        self.conversation = conversation
        self.turn = turn
        self.asked_at = asked_at
        self.sent_at = self.ended_at = asked_at
        self.done = done
        self.refused = 0
        """Attempts at places whose context was too small."""
        self.machine = ""
        self.job: Job


class Gateway(Protocol):
    """Sends requests to machines."""

    def submit(self, request: Request) -> None:
        """Send a request somewhere, sooner or later; `request.done` is called at its end."""


class Plain:
    """Least-busy, or round-robin, by nothing but the number of requests: without memory, contexts or a queue."""

    def __init__(self, timeline: Timeline, machines: Sequence[Machine], policy: Policy) -> None:
        self._timeline = timeline
        self._machines = machines
        self._policy = policy
        self._running = {machine.name: 0 for machine in machines}
        self._turn = 0

    def submit(self, request: Request) -> None:
        """Send it to the first in order that does not refuse it."""
        usable = [machine for machine in self._machines if request.conversation.model in machine.hosted]
        self._turn += 1
        start = self._turn % len(usable)
        ordered = usable[start:] + usable[:start]
        if self._policy == "least-busy":
            ordered.sort(key=lambda machine: self._running[machine.name])
        for machine in ordered:
            if _holds(machine, request):
                break
            request.refused += 1
        else:
            raise AssertionError("no context holds the prompt")
        self._running[machine.name] += 1

        def done() -> None:
            self._running[machine.name] -= 1
            request.done(request)

        _send(self._timeline, machine, request, lambda: None, done)


class _Waiting(Waiter):
    __slots__ = ("request",)

    def __init__(self, request: Request, kind: tuple[str, int]) -> None:
        super().__init__(request.conversation.app, kind)
        self.request = request


class Meshlight:
    """The product's choice."""

    def __init__(self, timeline: Timeline, machines: Sequence[Machine], policy: Policy) -> None:
        self._timeline = timeline
        self._machines = {machine.name: machine for machine in machines}
        self._policy = policy
        self.traffic = Traffic()
        self.memory = RouteMemory(self.traffic, timeline.clock)
        self.conversations = Conversations(timeline.clock)
        self.queues: SlotQueues[_Waiting] = SlotQueues(self._slots, self.traffic.in_flight, self._routes)
        self._plans: dict[str, Plan] = {}
        self._numbers: dict[Route, int] = {}
        self._snapshot = Snapshot()
        self._looked_at = -LOOK_EVERY_S
        self._turn = 0

    def submit(self, request: Request) -> None:
        """Send it to the best place, or let it wait for one."""
        self._turn += 1
        self._look()
        model = request.conversation.model
        plan = self._plan(model)
        prompt = self._prompt(request)
        best = plan.scores[self.memory.choose(plan, prompt, self._turn).first]
        if not self.queues.is_full(_route(best)):
            self._begin(request, best, prompt)
            return
        self._begin_or_wait(request, prompt)

    def _begin_or_wait(self, request: Request, prompt: Prompt, *, first: bool = False) -> None:
        score = self._first_free(request.conversation.model, prompt)
        if score is not None:
            self._begin(request, score, prompt)
            return
        model = request.conversation.model
        holding = sum(fits(score.facts, prompt) << at for at, score in enumerate(self._plan(model).scores))
        if not self.queues.add(model, _Waiting(request, (model, holding)), first=first):
            raise AssertionError("the queue is full")
        self._show(model)

    def _first_free(self, model: str, prompt: Prompt) -> RouteScore | None:
        """Return the best route that the request may take now; None if it is to wait."""
        ordered = self._ordered(model, prompt)
        may_take = may_begin([score.facts for score in ordered], prompt)
        return next(
            (
                score
                for score, may in zip(ordered, may_take, strict=True)
                if may and not self.queues.is_full(_route(score))
            ),
            None,
        )

    def _ordered(self, model: str, prompt: Prompt) -> Sequence[RouteScore]:
        """Return the routes, best first."""
        return rank(
            self._snapshot,
            model,
            self.traffic.load,
            self._timeline.now,
            self._turn,
            knowledge=self.memory,
            prompt=prompt,
        ).candidates

    def _begin(self, request: Request, score: RouteScore, prompt: Prompt) -> None:
        machine = self._machines[score.backend]
        if not _holds(machine, request):  # by an estimate that was wrong
            request.refused += 1
            machine = next(
                m for m in self._machines.values() if score.model in m.hosted and _holds(m, request)
            )
            score = next(s for s in self._plan(score.model).scores if s.backend == machine.name)
        ticket = self.traffic.reserve(score.backend, score.model)
        sent_at = self._timeline.now
        is_cold = score.facts.loaded is False and self.memory.is_cold(score)

        def first() -> None:
            ticket.first_byte(self._timeline.now - sent_at)
            self.memory.answered(score)
            self.conversations.record(request.conversation.mark, score.backend, "")

        def done() -> None:
            turn = request.turn
            ticket.close("ok")
            self.memory.sizes.learn(score.model, round(turn.prompt * turn.error), turn.prompt)
            self.memory.learn(
                ticket,
                self._timeline.now - sent_at,
                (turn.prompt, turn.answer),
                is_cold=is_cold,
                is_cached=prompt.home == (score.backend, ""),
            )
            self._freed(score.model)
            request.done(request)

        _send(self._timeline, machine, request, first, done)

    def _freed(self, model: str) -> None:
        """Let those go whose turn it is."""
        if not self.queues.waiting(model):
            return
        self._look()
        for waiting, route in self.queues.grants(model):
            if route is None:
                raise AssertionError("a request waits for nothing")
            self.queues.release(route)
            self._begin_or_wait(waiting.request, self._prompt(waiting.request), first=True)
        self._show(model)

    def _show(self, model: str) -> None:
        self.traffic.wait(model, self.queues.waiting(model))

    def _routes(self, waiting: _Waiting) -> list[Route]:
        """Return the routes that a request waits for, best first."""
        prompt = self._prompt(waiting.request)
        ordered = self._ordered(waiting.request.conversation.model, prompt)
        may_take = may_begin([score.facts for score in ordered], prompt)
        free = [_route(score) for score, may in zip(ordered, may_take, strict=True) if may]
        # Those that are full now: one of them is a reason to wait.
        return free or [_route(score) for score in ordered if score.facts.is_full]

    def _slots(self, backend: str, _place: str, model: str) -> int | None:
        return self._plan(model).facts[self._numbers[backend, "", model]].slots

    def _prompt(self, request: Request) -> Prompt:
        turn, conversation = request.turn, request.conversation
        return Prompt(
            tokens=self.memory.sizes.tokens(conversation.model, round(turn.prompt * turn.error)),
            answer_tokens=turn.limit,
            home=self.conversations.home(conversation.mark),
        )

    def _plan(self, model: str) -> Plan:
        plan = self._plans.get(model)
        if plan is None or plan.snapshot is not self._snapshot:
            found = rank(self._snapshot, model, self.traffic.load, self._timeline.now)
            plan = self._plans[model] = self.memory.plan(self._snapshot, self._policy, found.scores)
            self._numbers.update((_route(score), number) for number, score in enumerate(plan.scores))
        return plan

    def _look(self) -> None:
        """Ask the engines what is in memory, from time to time."""
        now = self._timeline.now
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        nodes = {name: _node(machine, now) for name, machine in self._machines.items()}
        self._snapshot = Snapshot(nodes=nodes, routes=index(nodes), routing=Routing(policy=self._policy))


def _node(machine: Machine, now: float) -> Node:
    make = machine.make
    return Node(
        backend=Backend(
            id=machine.name, name=machine.name, kind=make.kind, ring="lan", url=f"http://{machine.name}.test"
        ),
        health=Health(state="healthy", reason=OK, latencies=(LATENCY_S,)),
        models=tuple(machine.hosted),
        details=_details(machine),
        details_at=now,
    )


def _details(machine: Machine) -> Mapping[str, ModelDetail]:
    make = machine.make
    return {
        name: ModelDetail(
            loaded=machine.is_loaded(name),
            context=make.context,
            slots=hosted.slots if make.tells_slots else None,
        )
        for name, hosted in machine.hosted.items()
    }


def _route(score: RouteScore) -> Route:
    return score.backend, score.place, score.model


def _holds(machine: Machine, request: Request) -> bool:
    return request.turn.prompt + request.turn.answer <= machine.make.context


def _send(
    timeline: Timeline,
    machine: Machine,
    request: Request,
    first: Callable[[], None],
    done: Callable[[], None],
) -> None:
    conversation, turn = request.conversation, request.turn
    request.machine = machine.name
    request.sent_at = timeline.now
    request.job = Job(conversation.model, conversation.number, turn.prompt, turn.answer, first, done)
    machine.take(request.job)
