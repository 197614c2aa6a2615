"""Who is let in without a key: the one browser that asked, once the user says so, and nobody else."""

import pytest

from fake_clock import Clock
from meshlight.domain.errors import Conflict, NotFound, TooManyRequests
from meshlight.gateway.access.let_in import (
    LIFE_S,
    PAUSE_S,
    REFUSED_PAUSE_S,
    REQUESTS_MAX,
    WINDOW_S,
    LetIn,
    asking_cookie,
)
from meshlight.gateway.access.sessions import Sessions


class Door:
    """A `LetIn`, its clock, and how often it told of a change."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sessions = Sessions(self.clock)
        self.changes = 0
        self.let_in = LetIn(self.sessions, self.clock, self.clock.later, self._changed)

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def door() -> Door:
    return Door()


def test_the_browser_that_asked_gets_a_session_once_the_user_allows_its_code(door: Door) -> None:
    token, pending = door.let_in.ask()
    assert len(pending.code) == 4
    assert door.let_in.pending == pending
    assert door.let_in.answer(token) is None, "nobody has allowed it yet"
    door.let_in.allow(pending.code)
    assert door.let_in.pending.code == ""
    session = door.let_in.answer(token)
    assert session is not None
    assert door.sessions.accepts(session)
    with pytest.raises(NotFound):
        door.let_in.answer(token)


def test_another_browser_gets_nothing_of_what_was_allowed(door: Door) -> None:
    token, pending = door.let_in.ask()
    door.let_in.allow(pending.code)
    for other in ("", "x", token[:-1], f"{token}x", "é\udcff"):
        with pytest.raises(NotFound):
            door.let_in.answer(other)
    assert door.let_in.answer(token) is not None


def test_only_one_browser_asks_at_a_time_and_it_may_ask_again(door: Door) -> None:
    token, pending = door.let_in.ask()
    with pytest.raises(TooManyRequests, match="Another browser"):
        door.let_in.ask("of somebody else")
    again, same = door.let_in.ask(token)
    assert (again, same.code) == (token, pending.code)
    assert door.changes == 1


def test_a_wrong_code_lets_nobody_in(door: Door) -> None:
    token, pending = door.let_in.ask()
    wrong = f"{(int(pending.code) + 1) % 10_000:04d}"
    with pytest.raises(Conflict):
        door.let_in.allow(wrong)
    assert door.let_in.answer(token) is None


def test_after_a_minute_it_is_over_by_itself_and_the_tray_is_told(door: Door) -> None:
    token, pending = door.let_in.ask()
    door.clock.pass_time(LIFE_S)
    assert door.changes == 2
    assert door.let_in.pending.code == ""
    with pytest.raises(Conflict):
        door.let_in.allow(pending.code)
    with pytest.raises(NotFound):
        door.let_in.answer(token)
    with pytest.raises(TooManyRequests, match="just now"):
        door.let_in.ask()
    door.clock.pass_time(PAUSE_S)
    door.let_in.ask()


def test_a_refusal_is_final_and_keeps_everybody_quiet_for_a_while(door: Door) -> None:
    token, pending = door.let_in.ask()
    door.let_in.refuse(pending.code)
    with pytest.raises(NotFound):
        door.let_in.answer(token)
    door.clock.pass_time(REFUSED_PAUSE_S - 1)
    with pytest.raises(TooManyRequests):
        door.let_in.ask()
    door.clock.pass_time(1)
    door.let_in.ask()


def test_who_asks_again_and_again_is_not_heard(door: Door) -> None:
    for _ in range(REQUESTS_MAX):
        _, pending = door.let_in.ask()
        door.clock.pass_time(LIFE_S - 10)
        door.let_in.allow(pending.code)
        door.let_in.close()
    with pytest.raises(TooManyRequests, match="too often"):
        door.let_in.ask()
    door.clock.pass_time(WINDOW_S)
    door.let_in.ask()


def test_the_cookie_is_for_the_asking_alone() -> None:
    cookie = asking_cookie("abc")
    assert cookie.startswith("meshlight_asking=abc; Path=/mesh/session/request; ")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
