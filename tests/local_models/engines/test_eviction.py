from hypothesis import given
from hypothesis import strategies as st

from meshlight.local_models.engines.eviction import (
    Held,
    Offer,
    Room,
    could_leave_bytes,
    plan,
    victims,
)


def held(
    model: str,
    need: int,
    idle_s: float | None = 60.0,
    load_s: float = 1.0,
    *,
    kept: bool = False,
    leaving: bool = False,
) -> Held:
    return Held(model=model, need_bytes=need, idle_s=idle_s, load_s=load_s, is_kept=kept, is_leaving=leaving)


def offers(*needs: int) -> list[Offer]:
    return [Offer(context=1024 << (len(needs) - at), need_bytes=need) for at, need in enumerate(needs)]


def room(budget: int, places: int = 3) -> Room:
    return Room(budget_bytes=budget, max_loaded=places)


def test_the_longest_idle_for_its_load_time_leaves_first() -> None:
    slow, quick = held("slow", 4, 600.0, load_s=100.0), held("quick", 4, 60.0, load_s=1.0)
    assert victims([slow, quick], 1) == ("quick",)
    assert victims([slow, quick], 5) == ("quick", "slow")


def test_among_equals_the_least_recently_used_leaves_first() -> None:
    older, newer = held("older", 4, 200.0, load_s=2.0), held("newer", 4, 100.0, load_s=1.0)
    assert victims([newer, older], 1) == ("older",)


def test_nobody_leaves_in_vain() -> None:
    small, large = held("small", 1, 900.0), held("large", 8, 60.0)
    assert victims([small, large], 8) == ("large",)
    assert victims([small, large], 0) == ()


def test_busy_kept_and_leaving_models_stay() -> None:
    staying = [held("busy", 8, None), held("kept", 8, kept=True), held("leaving", 8, leaving=True)]
    assert victims(staying, 1) is None
    assert victims([*staying, held("idle", 2)], 2) == ("idle",)
    assert could_leave_bytes([*staying, held("idle", 2)]) == 10


def test_a_place_counts_as_memory_does() -> None:
    assert victims([held("a", 1), held("b", 1, 90.0)], -5, 1) == ("b",)


def test_it_starts_with_the_largest_context_that_fits_beside_what_is_loaded() -> None:
    found = plan(offers(9, 7, 5), [held("a", 3)], room(10), may_evict=True)
    assert (found.step, found.offer.need_bytes) == ("start", 7)


def test_room_for_kept_models_that_are_not_loaded_is_spared_but_not_by_the_smallest_context() -> None:
    found = plan(offers(9, 7, 5), [], room(10), may_evict=True, spared_bytes=2)
    assert (found.step, found.offer.need_bytes) == ("start", 7)
    found = plan(offers(9, 7, 5), [], room(5), may_evict=True, spared_bytes=2)
    assert (found.step, found.offer.need_bytes) == ("start", 5)


def test_it_waits_for_what_leaves_instead_of_evicting_more() -> None:
    found = plan(offers(7), [held("a", 4, leaving=True), held("b", 3)], room(10), may_evict=True)
    assert (found.step, found.victims) == ("wait-leaving", ())
    found = plan(offers(1), [held("a", 1, leaving=True)], room(10, 1), may_evict=True)
    assert found.step == "wait-leaving"


def test_as_few_as_possible_leave_and_then_the_largest_context_is_taken() -> None:
    loaded = [held("a", 5, 900.0), held("b", 5, 60.0)]
    found = plan(offers(10, 5, 4), loaded, room(10), may_evict=True)
    assert (found.step, found.victims, found.offer.need_bytes) == ("evict", ("a",), 5)


def test_busy_models_are_waited_for() -> None:
    found = plan(offers(7), [held("a", 8, None)], room(10), may_evict=True)
    assert found.step == "wait-busy"


def test_what_can_never_fit_is_refused_and_nobody_leaves() -> None:
    loaded = [held("kept", 4, kept=True), held("idle", 4)]
    found = plan(offers(9, 7), loaded, room(10), may_evict=True)
    assert (found.step, found.offer.need_bytes) == ("refuse", 7)
    assert plan(offers(1), [held("kept", 1, kept=True)], room(10, 1), may_evict=True).step == "refuse"


def test_a_guest_takes_free_memory_and_evicts_nobody() -> None:
    assert plan(offers(7, 2), [held("idle", 8)], room(10), may_evict=False).step == "start"
    assert plan(offers(7), [held("idle", 8)], room(10), may_evict=False).step == "refuse"
    assert plan(offers(7), [held("busy", 8, None)], room(10), may_evict=False).step == "refuse"


some_held = st.lists(
    st.builds(
        Held,
        model=st.text("abcdefgh", min_size=1, max_size=3),
        need_bytes=st.integers(0, 20),
        idle_s=st.none() | st.floats(0, 1000),
        load_s=st.floats(0, 100),
        is_kept=st.booleans(),
        is_leaving=st.booleans(),
    ),
    max_size=7,
    unique_by=lambda one: one.model,
)


@given(some_held, st.integers(-5, 60), st.integers(-2, 4))
def test_victims_are_idle_enough_and_each_is_needed(
    loaded: list[Held], short_bytes: int, short_places: int
) -> None:
    chosen = victims(loaded, short_bytes, short_places)
    may_leave = {one.model: one.need_bytes for one in loaded if one.may_leave}
    if chosen is None:
        assert sum(may_leave.values()) < short_bytes or len(may_leave) < short_places
        return
    assert set(chosen) <= set(may_leave)
    assert len(set(chosen)) == len(chosen)
    freed = sum(may_leave[model] for model in chosen)
    assert freed >= short_bytes
    assert len(chosen) >= short_places
    for model in chosen:
        assert freed - may_leave[model] < short_bytes or len(chosen) - 1 < short_places


@given(
    some_held,
    st.lists(st.integers(0, 40), min_size=1, max_size=4),
    st.integers(0, 60),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 20),
)
def test_a_plan_never_exceeds_the_budget_and_refuses_only_what_can_never_fit(
    loaded: list[Held], needs: list[int], budget: int, places: int, may_evict: bool, spared: int
) -> None:
    choice = offers(*sorted(needs, reverse=True))
    found = plan(choice, loaded, room(budget, places), may_evict=may_evict, spared_bytes=spared)
    staying = [one for one in loaded if one.model not in found.victims and not one.is_leaving]
    after = sum(one.need_bytes for one in staying) + found.offer.need_bytes
    if found.step == "start":
        assert sum(one.need_bytes for one in loaded) + found.offer.need_bytes <= budget
        assert len(loaded) < places
    elif found.step in {"evict", "wait-leaving"}:
        assert after <= budget
        assert len(staying) < places
        assert bool(found.victims) == (found.step == "evict")
        assert may_evict or not found.victims
    elif found.step == "refuse" and may_evict:
        kept = [one for one in loaded if one.is_kept and not one.is_leaving]
        assert sum(one.need_bytes for one in kept) + min(needs) > budget or len(kept) >= places
