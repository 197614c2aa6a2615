"""What goes through is counted once, where it went, and a place that was taken is always given back."""

from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.api_types import Requests, Workload
from meshlight.domain.events import RouteTraffic
from meshlight.mesh.traffic import FIRST_BYTES_KEPT, Outcome, Ticket, Traffic

OUTCOMES: tuple[Outcome, ...] = ("ok", "failed", "cancelled")


def test_a_reserved_place_counts_at_once_so_that_a_burst_spreads() -> None:
    traffic = Traffic()
    first = traffic.reserve("a", "m")
    traffic.reserve("a", "m")
    assert traffic.load == {"a": 2}
    first.close("ok")
    assert traffic.load == {"a": 1}


def test_a_place_is_given_back_once() -> None:
    traffic = Traffic()
    ticket = traffic.reserve("a", "m")
    ticket.close("cancelled")
    ticket.close("failed")
    assert traffic.load == {"a": 0}
    assert traffic.by_backend()["a"] == Workload(total=1, cancelled=1)


def test_a_request_that_took_two_attempts_is_one_request_and_two_attempts() -> None:
    traffic = Traffic()
    traffic.start()
    traffic.reserve("a", "m").close("failed")
    traffic.reserve("b", "m").close("ok")
    traffic.end("ok")
    assert traffic.router.requests() == Requests(total=1, successful=1)
    assert traffic.by_backend() == {"a": Workload(total=1, failed=1), "b": Workload(total=1, successful=1)}
    assert traffic.by_model() == {"m": Workload(total=2, failed=1, successful=1)}


def test_times_and_tokens_are_those_that_the_answers_told() -> None:
    traffic = Traffic()
    for number in range(FIRST_BYTES_KEPT + 10):
        ticket = traffic.reserve("a", "m")
        ticket.first_byte(9.0 if number < 10 else 0.250)
        ticket.tokens(10, 5)
        ticket.close("ok")
    work = traffic.by_backend()["a"]
    assert work.first_byte_ms == 250.0, "of the last answers, not of those long ago"
    assert (work.tokens_in, work.tokens_out) == (300, 150)
    assert traffic.by_model()["m"].first_byte_ms == 250.0


def test_estimated_tokens_are_counted_apart() -> None:
    traffic = Traffic()
    ticket = traffic.reserve("a", "m")
    ticket.estimated_tokens(12)
    ticket.close("ok")
    for work in (traffic.by_backend()["a"], traffic.by_model()["m"]):
        assert (work.tokens_in, work.tokens_out, work.tokens_out_estimated) == (0, 0, 12)


def test_each_look_tells_only_what_happened_since_the_last() -> None:
    traffic = Traffic()
    assert traffic.drain() is None
    ticket = traffic.reserve("a", "m")
    assert traffic.drain() == (RouteTraffic(backend="a", model="m", started=1, in_flight=1),)
    assert traffic.drain() is None
    ticket.close("failed")
    assert traffic.drain() == (RouteTraffic(backend="a", model="m", failed=1),)


def test_one_call_arms_the_next_look() -> None:
    calls: list[int] = []
    traffic = Traffic(lambda: calls.append(1))
    traffic.start()
    traffic.reserve("a", "m").close("ok")
    traffic.end("ok")
    assert calls == [1]
    traffic.drain()
    traffic.start()
    assert calls == [1, 1]


def test_a_backend_that_is_gone_is_forgotten() -> None:
    traffic = Traffic()
    traffic.reserve("a", "m").close("ok")
    traffic.forget("a")
    assert traffic.by_backend() == {}
    assert traffic.load == {}
    assert traffic.drain() == ()


def test_one_that_is_gone_with_requests_on_it_is_forgotten_with_the_last_of_them() -> None:
    traffic = Traffic()
    first, last = traffic.reserve("a", "m"), traffic.reserve("a", "m")
    traffic.forget("a")
    first.close("ok")
    assert traffic.load == {"a": 1}
    last.close("ok")
    assert traffic.by_backend() == {}
    assert traffic.load == {}


def test_one_that_comes_back_meanwhile_is_counted_on() -> None:
    traffic = Traffic()
    old = traffic.reserve("a", "m")
    traffic.forget("a")
    new = traffic.reserve("a", "m")
    old.close("ok")
    new.close("ok")
    assert traffic.by_backend()["a"].total == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("mn"), st.sampled_from(OUTCOMES))))
def test_when_all_is_over_nothing_is_in_flight_and_the_counts_add_up(
    acts: list[tuple[str, str, Outcome]],
) -> None:
    traffic = Traffic()
    tickets: list[tuple[Ticket, Outcome]] = []
    for backend, model, outcome in acts:
        traffic.start()
        tickets.append((traffic.reserve(backend, model), outcome))
    for ticket, outcome in reversed(tickets):
        ticket.close(outcome)
        traffic.end(outcome)
    assert set(traffic.load.values()) <= {0}
    total = traffic.router.requests()
    assert total.total == total.successful + total.failed + total.cancelled == len(acts)
    for works in (traffic.by_backend(), traffic.by_model()):
        assert sum(work.total for work in works.values()) == len(acts)
        assert sum(work.failed for work in works.values()) == total.failed
        assert all(work.in_flight == 0 for work in works.values())


def test_whoever_owns_a_backends_engines_hears_of_each_end_there_and_counts_what_runs() -> None:
    ended: list[tuple[str, int]] = []
    traffic = Traffic(on_end={"a": lambda model: ended.append((model, traffic.in_flight("a", "", model)))})
    first, second = traffic.reserve("a", "m"), traffic.reserve("a", "m")
    other = traffic.reserve("b", "m")
    assert traffic.in_flight("a", "", "m") == 2
    assert traffic.in_flight("a", "", "n") == 0
    for ticket in (first, first, other, second):
        ticket.close("ok")
    assert ended == [("m", 1), ("m", 0)]


def test_a_routes_requests_are_those_of_its_model_or_of_its_place() -> None:
    traffic = Traffic()
    for model, place in (("m", ""), ("m", ""), ("n", ""), ("m", "chat")):
        traffic.reserve("a", model, place)
    assert [
        traffic.in_flight("a", place, model) for model, place in (("n", ""), ("m", "chat"), ("x", ""))
    ] == [
        1,
        1,
        0,
    ]


def test_those_that_wait_are_told_when_their_number_changes() -> None:
    calls: list[int] = []
    traffic = Traffic(lambda: calls.append(1))
    traffic.wait("m", 0)
    assert calls == []
    traffic.wait("m", 2)
    traffic.wait("m", 2)
    assert (traffic.drain(), dict(traffic.drain_waiting()), traffic.waiting()) == ((), {"m": 2}, {"m": 2})
    traffic.wait("m", 0)
    assert (traffic.drain(), dict(traffic.drain_waiting()), traffic.waiting()) == ((), {"m": 0}, {})
    assert (len(calls), traffic.drain(), traffic.drain_waiting()) == (2, None, {})


def test_each_route_says_how_many_began_there_also_after_an_event() -> None:
    traffic = Traffic()
    traffic.reserve("a", "m").close("ok")
    traffic.drain()
    traffic.reserve("a", "m")
    traffic.reserve("b", "m").close("failed")
    assert list(traffic.by_route()) == [("a", "m", 2, 1), ("b", "m", 1, 0)]
