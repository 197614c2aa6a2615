"""Gathers what the rules of `meshlight.domain.findings` look at, and keeps what they found last.

The relay reports only what goes wrong (`failed`, `left`, `prompt`); all else is read every half minute, and when
somebody asks, from the registry, the traffic counts and this machine. What is kept has a limit for each route and for
all of them together.
"""

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from meshlight.backends.engine_clients import Clients
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Backend
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.findings import (
    LOADS_S,
    WINDOW_S,
    CutPrompts,
    Disk,
    Finding,
    Others,
    RouteSigns,
    Signs,
    SlowRoute,
    Waiting,
    find,
    suffering,
)
from meshlight.domain.prompt_size import estimate
from meshlight.domain.snapshot import Node
from meshlight.http_client.address import ring_of
from meshlight.mesh.backend_admin import server_key
from meshlight.mesh.registry import Change, Registry
from meshlight.mesh.symptoms import Symptoms
from meshlight.mesh.traffic import Traffic

log = logging.getLogger(__name__)

EVERY_S = 30.0
AT_REST = 10
"""While nothing is asked, one of so many looks is at the machine too: its tables take the kernel milliseconds."""
LOOK_S = 5.0
"""How long a look at this machine is waited for."""
ROUTES_MAX = 2_000
"""Routes of which something is kept; those longest without news are dropped first."""
LOADS_MAX = 100
"""Loads of one model."""
STEP_S = 10.0
"""Failures and clients that left are counted in steps of this length."""
LEFT_AFTER_S = 5.0
"""A client that leaves sooner did not give up waiting: somebody pressed Stop."""
CUT_BYTES = 6
"""A prompt with more bytes for each counted token than this may have been cut; then it is looked at more closely."""
CUT_BODY_MIN, CUT_BODY_MAX = 8_192, 8 << 20
CUT_FACTOR = 1.5
"""So many times the counted tokens, a prompt was longer than what was read of it."""


_NONE: frozenset[str] = frozenset()


class Slow(Protocol):
    """A route that is slower than half its usual speed."""

    @property
    def backend(self) -> str:
        """The backend's id."""

    @property
    def model(self) -> str:
        """The model's id."""

    @property
    def since(self) -> float:
        """Monotonic seconds."""


class MachineLook(Struct, frozen=True, kw_only=True):
    """What can be seen of this machine alone; both functions are called in a thread.

    Each may raise OSError for what it can't read.
    """

    clients: Callable[[Mapping[str, int]], Mapping[str, Clients]] = lambda _: {}
    """Returns who else is connected to the ports of these backends."""
    disks: Callable[[list[Backend]], Sequence[Disk]] = lambda _: ()
    """Returns the disks on which these backends store their models."""

    def look(
        self, ports: Mapping[str, int], backends: list[Backend]
    ) -> tuple[Mapping[str, Clients], Sequence[Disk]]:
        """Return both; what can't be read is empty."""
        clients: Mapping[str, Clients] = {}
        disks: Sequence[Disk] = ()
        if ports:
            with suppress(OSError):
                clients = self.clients(ports)
        with suppress(OSError):
            disks = self.disks(backends)
        return clients, disks


class _Recent:
    """How often something happened in the last `WINDOW_S` seconds, however often that was."""

    __slots__ = ("_steps", "total")

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()
        self.total = 0

    def add(self, now: float) -> None:
        """Count it once."""
        self.drop(now)
        step = now - now % STEP_S
        count = self._steps.pop()[1] if self._steps and self._steps[-1][0] == step else 0
        self._steps.append((step, count + 1))
        self.total += 1

    def drop(self, now: float) -> None:
        """Forget what is too old."""
        while self._steps and self._steps[0][0] < now - WINDOW_S:
            self.total -= self._steps.popleft()[1]


class _Route:
    """What is kept of one model at one backend."""

    __slots__ = ("cold_since", "cut", "cuts", "failed", "left", "loads", "marks", "total", "used_at")

    def __init__(self, now: float) -> None:
        self.failed = _Recent()
        self.left = _Recent()
        self.cuts = _Recent()
        self.loads: deque[float] = deque(maxlen=LOADS_MAX)
        self.cut = (0, 0)
        """Tokens sent and tokens counted of the longest one."""
        self.marks: deque[tuple[float, int]] = deque(((now, 0),))
        """How many requests had begun at a few instants, the first one not later than where the window begins."""
        self.total = 0
        self.used_at = now
        self.cold_since: float | None = None

    def count(self, now: float, total: int, running: int) -> None:
        """Note how many requests have begun, and how many run."""
        if total < self.total:  # the backend was removed meanwhile, and is new
            self.marks.clear()
            self.marks.append((now, 0))
        if total != self.total or running:
            self.used_at = now
        if total != self.total:
            self.total = total
            if len(self.marks) > 1 and now - self.marks[-2][0] < EVERY_S:
                self.marks.pop()
            self.marks.append((now, total))
            self._drop_marks(now)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing went wrong here lately."""
        went_wrong = self.failed.total or self.left.total or self.cuts.total
        return not (went_wrong or self.loads or self.cold_since is not None)

    def signs(self, backend: str, model: str, now: float) -> RouteSigns:
        """Return what the rules look at, and drop what is too old for them."""
        for recent in (self.failed, self.left, self.cuts):
            recent.drop(now)
        while self.loads and self.loads[0] < now - LOADS_S:
            self.loads.popleft()
        self._drop_marks(now)
        return RouteSigns(
            backend=backend,
            model=model,
            requests=self.total - self.marks[0][1],
            failed=self.failed.total,
            left=self.left.total,
            cut=CutPrompts(times=self.cuts.total, sent=self.cut[0], counted=self.cut[1])
            if self.cuts.total
            else None,
            loads=tuple(self.loads),
            idle_s=now - self.used_at,
            cold_s=0.0 if self.cold_since is None else now - self.cold_since,
        )

    def _drop_marks(self, now: float) -> None:
        while len(self.marks) > 1 and self.marks[1][0] <= now - WINDOW_S:
            self.marks.popleft()


class Findings(Symptoms):
    """The collector; for the event loop's thread.

    `slow` returns the routes that are slower than usual, `wall` Unix time. `on_change` is called when the number of
    findings, or what makes requests suffer, is another than before.
    """

    def __init__(
        self,
        registry: Registry,
        traffic: Traffic,
        clock: Clock,
        wall: Clock,
        later: CallLater,
        *,
        slow: Callable[[], Sequence[Slow]] = tuple,
        machine: MachineLook | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._registry = registry
        self._traffic = traffic
        self._clock = clock
        self._wall = wall
        self._later = later
        self._slow = slow
        self._machine = machine
        self._on_change = on_change
        self._routes: OrderedDict[tuple[str, str], _Route] = OrderedDict()
        self._loaded: dict[str, frozenset[str]] = {}
        """The models in memory, by backend, as far as it says."""
        self._waiting: dict[str, float] = {}
        """Since when some requests wait, by model."""
        self._seen: dict[str, int] = {}
        """At how many looks in a row others were connected, by backend."""
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None
        self._total = 0
        """The requests up to the last look."""
        self._since_machine = 0
        """Looks since the last one at the machine."""
        self._of_machine: tuple[Sequence[Others], Sequence[Disk]] = [], ()
        """What that has shown."""
        self._machine_look: asyncio.Task[tuple[Mapping[str, Clients], Sequence[Disk]]] | None = None
        self._is_on = False
        self.found: tuple[Finding, ...] = ()
        """As of the last look."""
        registry.listen(self._on_registry)
        traffic.symptoms = self

    @property
    def suffering(self) -> str:
        """What makes requests suffer, as of the last look; empty when nothing does."""
        return suffering(self.found)

    def start(self) -> None:
        """Look every half minute from now on."""
        if not self._is_on:
            self._is_on = True
            self._timer = self._later(EVERY_S, self._go)

    async def close(self) -> None:
        """Stop looking."""
        self._is_on = False
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def now(self) -> tuple[Finding, ...]:
        """Look now, and return what is found; joins a look that runs."""
        self._since_machine = AT_REST
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())
        await asyncio.wait((self._task,))
        return self.found

    def failed(self, backend: str, model: str) -> None:
        """Note an answer of 5xx, one that broke off, or none in time."""
        self._route(backend, model).failed.add(self._clock())

    def left(self, backend: str, model: str, after_s: float) -> None:
        """Note a client that left before the first byte; without a backend, it waited for a slot."""
        if after_s >= LEFT_AFTER_S:
            self._route(backend, model).left.add(self._clock())

    def prompt(self, backend: str, model: str, body: bytes, counted: int) -> None:
        """Note how many tokens a backend counted in a prompt; it is looked at only if they seem to be too few."""
        size = len(body)
        if size <= CUT_BYTES * counted or not CUT_BODY_MIN <= size <= CUT_BODY_MAX or not counted:
            return
        node = self._registry.snapshot.nodes.get(backend)
        if node is None or node.backend.is_metered or b";base64," in body:
            return
        context = _context(node, model)
        if context is None or not context // 2 <= counted <= context:
            return
        sent = estimate(body)
        if sent >= CUT_FACTOR * counted:
            route = self._route(backend, model)
            route.cuts.add(self._clock())
            route.cut = max(route.cut, (sent, counted)) if route.cuts.total > 1 else (sent, counted)

    def loaded(self, backend: str, model: str) -> None:
        """Note that a model came into memory, where the registry does not show it."""
        self._route(backend, model).loads.append(self._clock())

    def _go(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())
        if self._is_on:
            self._timer = self._later(EVERY_S, self._go)

    async def _look(self) -> None:
        total = self._traffic.router.total
        self._since_machine += 1
        is_used = total != self._total or self._traffic.router.in_flight > 0
        if is_used or self._since_machine >= AT_REST:
            self._total, self._since_machine = total, 0
            self._of_machine = await self._look_at_machine()
        self._judge(*self._of_machine)

    async def _look_at_machine(self) -> tuple[list[Others], Sequence[Disk]]:
        """Return who else uses engines of this machine, and the disks of their models."""
        if self._machine is None:
            return [], ()
        nodes = self._registry.snapshot.nodes.values()
        engines = [node.backend for node in nodes if node.backend.enabled and _is_engine(node.backend)]
        ports = {backend.id: port for backend in engines if (port := _local_port(backend)) is not None}
        own = [node.backend for node in nodes if node.backend.enabled and node.backend.kind == "local"]
        local = [backend for backend in engines if backend.id in ports] + own
        if not local:
            return [], ()
        if self._machine_look is None:
            self._machine_look = asyncio.create_task(asyncio.to_thread(self._machine.look, ports, local))
        looking = self._machine_look
        done, _ = await asyncio.wait((looking,), timeout=LOOK_S)
        if not done:  # a disk that hangs is not looked at a second time meanwhile
            return [], ()
        self._machine_look = None
        clients, disks = looking.result()
        self._seen = {key: self._seen.get(key, 0) + 1 for key in clients}
        others = [
            Others(backend=key, connections=one.connections, programs=one.programs, seen=self._seen[key])
            for key, one in clients.items()
        ]
        return others, disks

    def _judge(self, others: Sequence[Others], disks: Sequence[Disk]) -> None:
        now = self._clock()
        nodes = self._registry.snapshot.nodes
        self._count(now, nodes)
        waiting = self._demand(nodes)
        self._waiting = {model: self._waiting.get(model, now) for model, number in waiting.items() if number}
        since_epoch = self._wall() - now
        before = len(self.found), self.suffering
        self.found = find(
            Signs(
                now=now,
                time_of_day=lambda at: time.strftime("%H:%M", time.localtime(since_epoch + at)),
                nodes=nodes,
                routes=self._signs(now),
                waiting=[
                    Waiting(model=model, count=waiting[model], since=since)
                    for model, since in self._waiting.items()
                ],
                slow=[SlowRoute(backend=s.backend, model=s.model, since=s.since) for s in self._slow()],
                disks=disks,
                others=others,
            )
        )
        if before != (len(self.found), self.suffering):
            self._on_change()

    def _signs(self, now: float) -> list[RouteSigns]:
        """Return the signs of the routes that a rule may look at: of a thousand quiet ones, nearly none."""
        wanted = self._waiting.keys() | {key[1] for key, route in self._routes.items() if route.left.total}
        return [
            route.signs(*key, now)
            for key, route in self._routes.items()
            if not route.is_quiet or key[1] in wanted or key[1] in self._loaded.get(key[0], _NONE)
        ]

    def _demand(self, nodes: Mapping[str, Node]) -> dict[str, int]:
        """Return how many requests wait for each model: here, and beyond the slots that are set inside an engine."""
        waiting = dict(self._traffic.waiting())
        for backend, model, _, running in self._traffic.by_route():
            node = nodes.get(backend)
            slots = None if node is None else node.backend.slots
            if slots is not None and running > slots:
                waiting[model] = waiting.get(model, 0) + running - slots
        return waiting

    def _count(self, now: float, nodes: Mapping[str, Node]) -> None:
        """Bring the counts of all routes up to date, and note which run on a model that is not in memory."""
        for backend, model, total, running in self._traffic.by_route():
            node = nodes.get(backend)
            if node is None or not total:
                continue
            route = self._route(backend, model)
            route.count(now, total, running)
            detail = node.details.get(model)
            if not running or detail is None or detail.loaded is not False:
                route.cold_since = None
            elif route.cold_since is None:
                route.cold_since = now

    def _on_registry(self, change: Change) -> None:
        if change.removed or change.shape:  # what was seen is of other backends
            self._since_machine = AT_REST
        nodes = self._registry.snapshot.nodes
        for backend in change.removed:
            self._loaded.pop(backend, None)
            for key in [key for key in self._routes if key[0] == backend]:
                del self._routes[key]
        for backend in change.shape:
            node = nodes.get(backend)
            if node is None or not node.details:
                continue
            loaded = frozenset(model for model, detail in node.details.items() if detail.loaded)
            before = self._loaded.get(backend)
            self._loaded[backend] = loaded
            for model in loaded - (before or frozenset()):
                if before is None:
                    self._route(backend, model)  # it may be there for nothing
                else:
                    self.loaded(backend, model)

    def _route(self, backend: str, model: str) -> _Route:
        key = (backend, model)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.popitem(last=False)
            route = self._routes[key] = _Route(self._clock())
        else:
            self._routes.move_to_end(key)
        return route


def _context(node: Node, model: str) -> int | None:
    detail = node.details.get(model) or node.details.get(node.names.get(model, ""))
    return None if detail is None else detail.context


def _is_engine(backend: Backend) -> bool:
    return KINDS[backend.kind].group == "engine"


def _local_port(backend: Backend) -> int | None:
    """Return the port of this machine where a backend listens; None if it is elsewhere, or has none."""
    address = server_key(backend.url)
    if address is None or address.socket or ring_of(address) != "machine":
        return None
    return address.port
