"""Which connections stay open when there are too many."""

from meshlight.gateway.server.admission import ConnectionAdmission
from meshlight.gateway.server.limits import Limits


class Line:
    """A connection, by name."""

    def __init__(self, name: str, *, has_key: bool = False) -> None:
        self.name = name
        self.has_key = has_key
        self.is_evicted = False

    def show_key(self) -> None:
        self.has_key = True

    def evict(self) -> None:
        self.is_evicted = True


def test_the_one_without_the_key_that_rests_longest_goes_and_one_that_works_goes_last() -> None:
    room = ConnectionAdmission(Limits(connections=3))
    a, b, c, d, e, f = (Line(name) for name in "abcdef")
    assert all(room.admit(line, taken) for taken, line in enumerate((a, b, c)))
    room.request_started(a)
    room.request_started(b)
    room.request_ended(b)
    gone = []
    for line in (d, e, f):
        assert room.admit(line, 3)
        room.request_started(line)
        gone.append([one.name for one in (a, b, c, d, e, f) if one.is_evicted])
    assert gone == [["c"], ["b", "c"], ["a", "b", "c"]]


def test_who_has_shown_the_key_or_is_gone_is_never_chosen() -> None:
    room = ConnectionAdmission(Limits(connections=2))
    a, b = Line("a"), Line("b")
    assert room.admit(a, 0)
    assert room.admit(b, 1)
    a.show_key()
    room.forget(a)
    room.forget(b)
    assert not room.admit(Line("c"), 2)
    assert [a.is_evicted, b.is_evicted] == [False, False]


def test_a_part_of_the_places_is_kept_for_those_with_the_key() -> None:
    room = ConnectionAdmission(Limits(connections=16))
    strangers = [Line(str(number)) for number in range(20)]
    for number, line in enumerate(strangers):
        assert room.admit(line, min(number, 14))
    assert [line.is_evicted for line in strangers].count(True) == 20 - 14
    assert room.admit(Line("owner", has_key=True), 14)
    assert [line.is_evicted for line in strangers].count(True) == 20 - 14


def test_one_that_was_evicted_does_not_come_back_with_its_last_answer() -> None:
    room = ConnectionAdmission(Limits(connections=1))
    a, b = Line("a"), Line("b")
    assert room.admit(a, 0)
    room.request_started(a)
    assert room.admit(b, 1)
    room.request_ended(a)
    room.forget(b)
    assert a.is_evicted
    assert not room.admit(Line("c"), 1)
