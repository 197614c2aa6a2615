"""Who goes next: nobody is lost, sent twice or starved, and no route has more requests than slots."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.fair_queue import OWNERS_PER_GUEST, FairQueue, Route, SlotQueues, Waiter

KINDS: dict[str, tuple[str, ...]] = {"any": ("a", "b"), "only-a": ("a",), "only-b": ("b",)}


def anybody(_: Waiter) -> bool:
    return True


def order(queue: FairQueue[Waiter]) -> list[str]:
    found = []
    while (waiter := queue.take(anybody)) is not None:
        found.append(waiter.caller)
    return found


def filled(*callers: str, guests: str = "") -> FairQueue[Waiter]:
    queue: FairQueue[Waiter] = FairQueue()
    for caller in callers:
        assert queue.add(Waiter(caller, "any", is_guest=caller in guests.split()))
    return queue


def test_callers_take_turns_and_each_sends_its_oldest() -> None:
    assert order(filled("a", "a", "a", "a", "b", "c", "b")) == ["a", "b", "c", "a", "b", "a", "a"]


def test_one_request_does_not_wait_behind_the_many_of_another_caller() -> None:
    queue = filled(*["greedy"] * 400)
    assert queue.take(anybody) is not None
    queue.add(Waiter("modest", "any"))
    assert order(queue)[:2] == ["greedy", "modest"]


def test_the_owner_goes_before_peers_and_a_peer_still_gets_its_share() -> None:
    queue = filled("peer", *["app"] * 20, guests="peer")
    assert order(queue) == ["app"] * OWNERS_PER_GUEST + ["peer"] + ["app"] * (20 - OWNERS_PER_GUEST)
    assert order(filled("p", "q", "p", "app", guests="p q")) == ["app", "p", "q", "p"]


def test_one_that_waited_already_goes_first_even_into_a_full_queue() -> None:
    queue: FairQueue[Waiter] = FairQueue(longest=2)
    again = Waiter("peer", "any", is_guest=True)
    assert [queue.add(Waiter("app", "any")) for _ in range(3)] == [True, True, False]
    assert queue.add(again, first=True)
    assert len(queue) == len(list(queue)) == 3
    assert queue.take(anybody) is again
    assert not queue.remove(again)


def test_one_that_may_not_go_holds_nobody_up_and_keeps_its_turn() -> None:
    queue: FairQueue[Waiter] = FairQueue()
    waiters = [Waiter("a", "x"), Waiter("a", "y"), Waiter("b", "y")]
    for waiter in waiters:
        queue.add(waiter)
    assert queue.take(lambda waiter: waiter.kind == "y") is waiters[1]
    assert queue.take(lambda waiter: waiter.kind == "x") is waiters[0]
    assert queue.take(lambda waiter: waiter.kind == "x") is None
    assert order(queue) == ["b"]


class Mesh:
    """Two routes with slots, and what became of each request."""

    def __init__(self) -> None:
        self.slots: dict[str, int | None] = {"a": 2, "b": 1}
        self.running: list[tuple[str, Waiter]] = []
        self.waiting: list[Waiter] = []
        self.begun: list[Waiter] = []
        self.gone = False
        self.queues: SlotQueues[Waiter] = SlotQueues(
            lambda backend, place, model: self.slots[backend],  # noqa: ARG005 - Slots
            lambda backend, place, model: Counter(name for name, _ in self.running)[backend],  # noqa: ARG005
            self.routes,
            longest=6,
        )

    def routes(self, waiter: Waiter) -> Sequence[Route]:
        return () if self.gone else tuple((name, "", "m") for name in KINDS[str(waiter.kind)])

    def arrive(self, waiter: Waiter) -> None:
        free = next((r for r in self.routes(waiter) if not self.queues.is_full(r)), None)
        if free is not None:
            self.begin(waiter, free)
        elif self.queues.add("m", waiter):
            self.waiting.append(waiter)
        else:
            assert self.queues.waiting("m") == 6

    def begin(self, waiter: Waiter, route: Route) -> None:
        assert waiter not in self.begun
        self.begun.append(waiter)
        self.running.append((route[0], waiter))

    def grant(self) -> None:
        for waiter, route in self.queues.grants("m"):
            self.waiting.remove(waiter)
            if route is not None:
                self.queues.release(route)
                self.begin(waiter, route)

    def check(self) -> None:
        counts = Counter(name for name, _ in self.running)
        assert all(limit is None or counts[name] <= limit for name, limit in self.slots.items())
        assert self.queues.waiting("m") == len(self.waiting), "nobody is lost"
        assert list(self.queues.queues) == (["m"] if self.waiting else [])
        for waiter in self.waiting:
            assert all(map(self.queues.is_full, self.routes(waiter))), "no slot is free for one that waits"


ACTS = st.lists(
    st.one_of(
        st.tuples(
            st.just("arrive"),
            st.tuples(st.sampled_from("pqr"), st.sampled_from(sorted(KINDS)), st.booleans()),
        ),
        st.tuples(st.sampled_from(["end", "leave"]), st.integers(0, 5)),
    ),
    max_size=60,
)


@given(ACTS)
def test_nobody_is_lost_or_sent_twice_and_no_slot_is_idle_or_taken_twice(
    acts: list[tuple[str, object]],
) -> None:
    mesh = Mesh()
    for act, what in acts:
        if isinstance(what, tuple):
            caller, kind, is_guest = what
            mesh.arrive(Waiter(f"{caller}{is_guest}", kind, is_guest=is_guest))
        elif act == "end" and mesh.running:
            mesh.running.pop(int(str(what)) % len(mesh.running))
            mesh.grant()
        elif act == "leave" and mesh.waiting:
            left = mesh.waiting.pop(int(str(what)) % len(mesh.waiting))
            assert mesh.queues.remove("m", left)
            assert not mesh.queues.remove("m", left)
        mesh.check()
    while mesh.running:
        mesh.running.pop(0)
        mesh.grant()
        mesh.check()
    assert mesh.waiting == [], "everybody has had a turn"


@given(st.lists(st.tuples(st.sampled_from("pqrs"), st.booleans()), min_size=1, max_size=40))
def test_how_long_a_request_waits_is_bounded(crowd: list[tuple[str, bool]]) -> None:
    """A new request of a new caller goes within a turn of each other caller; a peer's within nine such turns."""
    for is_guest in (False, True):
        queue: FairQueue[Waiter] = FairQueue()
        for caller, guest in crowd:
            queue.add(Waiter(f"{caller}{guest}", "any", is_guest=guest))
        callers = {pair for pair in crowd if pair[1] == is_guest}
        queue.add(Waiter("new", "any", is_guest=is_guest))
        turns = (len(callers) + 1) * (OWNERS_PER_GUEST + 1)
        taken = [waiter.caller for _ in range(turns) if (waiter := queue.take(anybody)) is not None]
        assert "new" in taken


def test_a_held_slot_is_not_free_and_a_request_without_a_route_is_let_go() -> None:
    mesh = Mesh()
    mesh.slots = {"a": 1, "b": 0}
    first, second = Waiter("p", "any"), Waiter("p", "only-a")
    for waiter in (first, second):
        assert mesh.queues.add("m", waiter)
    assert mesh.queues.grants("m") == [(first, ("a", "", "m"))]
    assert mesh.queues.is_full(("a", "", "m"))
    assert mesh.queues.grants("m") == []
    mesh.queues.release(("a", "", "m"))
    mesh.gone = True
    assert mesh.queues.grants("m") == [(second, None)]
    assert mesh.queues.grants("m") == []


def test_a_route_without_a_known_limit_is_never_full() -> None:
    mesh = Mesh()
    mesh.slots["a"] = None
    for _ in range(50):
        mesh.arrive(Waiter("p", "only-a"))
    assert len(mesh.running) == 50
