"""Machines with engines on a simulated clock: memory for a few models, slots, prompt caches, and one speed for all.

An engine queues by itself what exceeds its slots, as Ollama and llama-server do, and loads a model when the first
request for it comes, in the place of those that were not used for longest.
"""

import heapq
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import count

from msgspec import Struct

from meshlight.domain.backend import Kind
from simulation.demand import Model

CROWD = 0.4
"""How much slower each of n requests gets: n to the power of this."""
REFERENCE_GB = 6.0
"""Size of the model for which a machine's speeds are given; others are slower by their size."""


class Timeline:
    """A clock that jumps from one call to the next."""

    def __init__(self) -> None:
        self.now = 0.0
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()

    def clock(self) -> float:
        """Return the seconds since the start."""
        return self.now

    def at(self, time_s: float, call: Callable[[], None]) -> None:
        """Call something at that time."""
        heapq.heappush(self._calls, (max(time_s, self.now), next(self._numbers), call))

    def run(self) -> None:
        """Make all calls, and those that they add."""
        while self._calls:
            self.now, _, call = heapq.heappop(self._calls)
            call()


class Make(Struct, frozen=True):
    """What a kind of machine can do."""

    name: str
    kind: Kind
    read: float
    """Tokens of a prompt in a second, for a model of the reference size."""
    write: float
    """Tokens of an answer in a second, for one request alone."""
    memory: float
    """GB for models."""
    disk: float
    """GB in a second that a load takes."""
    slots: int
    context: int
    share: float
    tells_slots: bool = False
    keep_s: float = float("inf")
    """How long a model stays in memory after its last answer."""


MAKES = (
    Make("laptop", "ollama", 300, 22, 12, 1.2, 1, 16_384, 0.30, keep_s=300),
    Make("mini", "lmstudio", 500, 30, 20, 2.0, 2, 32_768, 0.24, keep_s=3_600),
    Make("desktop", "ollama", 3_000, 85, 24, 1.5, 4, 32_768, 0.22, tells_slots=True, keep_s=300),
    Make("studio", "llamacpp", 900, 50, 96, 2.5, 4, 131_072, 0.18, tells_slots=True),
    Make("server", "llamacpp", 7_000, 70, 140, 3.0, 12, 131_072, 0.06, tells_slots=True),
)


class Job:
    """One request at a machine."""

    __slots__ = (
        "answer",
        "began_at",
        "conversation",
        "is_cold",
        "is_hit",
        "left_s",
        "model",
        "on_done",
        "on_first",
        "prompt",
        "write_s",
    )

    def __init__(
        self,
        model: str,
        conversation: int,
        prompt: int,
        answer: int,
        on_first: Callable[[], None],
        on_done: Callable[[], None],
    ) -> None:
        self.model = model
        self.conversation = conversation
        self.prompt = prompt
        self.answer = answer
        self.on_first = on_first
        self.on_done = on_done
        self.began_at = 0.0
        self.is_cold = False
        self.is_hit = False
        self.left_s = 0.0
        """Of its present part, the prompt or the answer, if it ran alone."""
        self.write_s: float | None = None
        """The seconds of the answer; None while it is written."""


class Hosted:
    """One model at a machine."""

    def __init__(self, model: Model, slots: int) -> None:
        self.model = model
        self.slots = slots
        self.is_loaded = False
        self.is_loading = False
        self.used_at = 0.0
        self.taken = 0
        self.line: deque[Job] = deque()
        self.active: list[Job] = []
        self.cache: OrderedDict[int, int] = OrderedDict()
        """The tokens of the last conversations, one for each slot."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs it now."""
        return not (self.line or self.active or self.is_loading)


class Machine:
    """One machine with its engine."""

    def __init__(self, timeline: Timeline, name: str, make: Make, models: Sequence[Model]) -> None:
        self.name = name
        self.make = make
        self.hosted = {model.name: Hosted(model, make.slots) for model in models}
        self.slowness = 1.0
        self.loads = 0
        self.most_taken = 0
        """The most requests that one of its models had at the same time."""
        self._timeline = timeline
        self._pending: deque[Job] = deque()
        """Jobs whose model is not in memory, and all after them, in their order."""
        self._at = 0.0
        self._version = 0

    def take(self, job: Job) -> None:
        """Do a job, now or later."""
        hosted = self.hosted[job.model]
        hosted.taken += 1
        self.most_taken = max(self.most_taken, hosted.taken)
        self._pending.append(job)
        self._dispatch()

    def preload(self, model: str) -> bool:
        """Put a model into memory; False if there is no room."""
        hosted = self.hosted[model]
        if not hosted.is_loaded and self._used() + hosted.model.size > self.make.memory:
            return False
        hosted.is_loaded = True
        return True

    def is_loaded(self, model: str) -> bool:
        """Whether a model is in memory now."""
        hosted = self.hosted[model]
        if hosted.is_loaded and hosted.is_idle and self._timeline.now - hosted.used_at > self.make.keep_s:
            self._unload(hosted)
        return hosted.is_loaded

    def slow_down(self, slowness: float) -> None:
        """Take so many times as long as usual from now on."""
        self._advance()
        self.slowness = slowness
        self._plan_next()

    def _used(self) -> float:
        return sum(h.model.size for h in self.hosted.values() if h.is_loaded or h.is_loading)

    @staticmethod
    def _unload(hosted: Hosted) -> None:
        hosted.is_loaded = False
        hosted.cache.clear()

    def _dispatch(self) -> None:
        """Let the jobs go to their models, in order, up to one that has no room."""
        while self._pending:
            job = self._pending[0]
            hosted = self.hosted[job.model]
            if not (self.is_loaded(job.model) or hosted.is_loading):
                if not self._make_room(hosted.model.size):
                    break
                self._load(hosted)
                job.is_cold = True
            elif hosted.is_loading:
                job.is_cold = True
            self._pending.popleft()
            hosted.line.append(job)
        self._begin()

    def _make_room(self, size: float) -> bool:
        idle = sorted(
            (h for h in self.hosted.values() if h.is_loaded and h.is_idle), key=lambda hosted: hosted.used_at
        )
        room = self.make.memory - self._used()
        if room + sum(hosted.model.size for hosted in idle) < size:
            return False
        for hosted in idle:
            if room >= size:
                break
            room += hosted.model.size
            self._unload(hosted)
        return True

    def _load(self, hosted: Hosted) -> None:
        def loaded() -> None:
            hosted.is_loading = False
            hosted.is_loaded = True
            hosted.used_at = self._timeline.now
            self._begin()

        hosted.is_loading = True
        self.loads += 1
        self._timeline.at(
            self._timeline.now + 2.0 + hosted.model.size / self.make.disk * self.slowness, loaded
        )

    def _begin(self) -> None:
        """Begin the jobs for which there are slots."""
        self._advance()
        for hosted in self.hosted.values():
            while hosted.is_loaded and hosted.line and len(hosted.active) < hosted.slots:
                job = hosted.line.popleft()
                slower = hosted.model.size / REFERENCE_GB
                cached = hosted.cache.pop(job.conversation, 0)
                job.began_at = self._timeline.now
                job.is_hit = cached > 0
                job.left_s = 0.05 + max(job.prompt - cached, 0) / self.make.read * slower
                job.write_s = job.answer / self.make.write * slower
                while len(hosted.cache) >= hosted.slots:
                    hosted.cache.popitem(last=False)
                hosted.cache[job.conversation] = job.prompt + job.answer
                hosted.active.append(job)
        self._plan_next()

    def _rate(self) -> float:
        """Return how many seconds of work alone each job gets done in a second."""
        active = sum(len(hosted.active) for hosted in self.hosted.values())
        return float(1.0 / (max(active, 1) ** CROWD * self.slowness))

    def _advance(self) -> None:
        done_s = (self._timeline.now - self._at) * self._rate()
        self._at = self._timeline.now
        for hosted in self.hosted.values():
            for job in hosted.active:
                job.left_s -= done_s

    def _plan_next(self) -> None:
        self._version += 1
        soonest_s = min((job.left_s for h in self.hosted.values() for job in h.active), default=None)
        if soonest_s is None:
            return
        version = self._version
        self._timeline.at(
            self._timeline.now + max(soonest_s, 0.0) / self._rate(), lambda: self._milestone(version)
        )

    def _milestone(self, version: int) -> None:
        """A prompt was read, or an answer is complete."""
        if version != self._version:
            return
        self._advance()
        first: list[Job] = []
        done: list[Job] = []
        for hosted in self.hosted.values():
            for job in [job for job in hosted.active if job.left_s <= 1e-9]:
                if job.write_s is not None:
                    job.left_s, job.write_s = job.write_s, None
                    first.append(job)
                else:
                    hosted.active.remove(job)
                    hosted.taken -= 1
                    hosted.used_at = self._timeline.now
                    done.append(job)
        self._plan_next()
        for job in first:
            job.on_first()
        for job in done:
            job.on_done()
        if done:
            self._dispatch()


def machines(timeline: Timeline, seed: int, number: int, models: Sequence[Model]) -> list[Machine]:
    """Return so many machines; each model is on some of them, and in memory on some of those."""
    chance = random.Random(seed)  # noqa: S311 - it is to be the same each time
    found: list[Machine] = []
    for at in range(number):
        # The kinds come in a fixed proportion, so that a small mesh has all of them too.
        make = _make_at((at + 0.5) * 0.618034 % 1.0)
        usable = [model for model in models if model.size <= make.memory]
        wanted = min(len(usable), chance.randint(2, 4) + (1 if make.memory > 64 else 0))
        chosen: list[Model] = []
        while len(chosen) < wanted:
            model = chance.choices(usable, [model.share for model in usable])[0]
            if model not in chosen:
                chosen.append(model)
        machine = Machine(timeline, f"{make.name}-{at}", make, chosen)
        for model in chance.sample(chosen, len(chosen)):
            if chance.random() < 0.6:
                machine.preload(model.name)
        found.append(machine)
    return found


def _make_at(share: float) -> Make:
    for make in MAKES:
        share -= make.share
        if share < 0:
            return make
    return MAKES[-1]
