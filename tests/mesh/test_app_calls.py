"""Requests of client apps are noticed while somebody waits for them, and at no other time."""

from meshlight.mesh.app_calls import WATCH_S, AppCalls


def test_nobody_watches_until_it_is_asked_and_only_for_a_while() -> None:
    now = 10.0
    calls = AppCalls(lambda: now)
    assert not calls.is_watching
    calls.watch()
    calls.notice(b"claude-cli/2.1")
    assert (calls.is_watching, calls.drain(), calls.drain()) == (True, ("claude",), ())
    now += WATCH_S + 1
    calls.notice(b"curl/8.5")
    assert (calls.is_watching, calls.drain()) == (False, ())
    assert calls.ages_s() == {"claude": WATCH_S + 1}


def test_of_an_unknown_app_nothing_is_kept() -> None:
    calls = AppCalls(lambda: 0.0)
    calls.watch()
    calls.notice(b"Mozilla/5.0 (someone's browser)")
    assert calls.ages_s() == {}
