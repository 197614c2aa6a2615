"""One-time codes and the sessions they are exchanged for."""

from meshlight.gateway.access.sessions import CODES, SESSIONS, Sessions, read_cookie, set_cookies


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(sessions: Sessions) -> str:
    token = sessions.exchange(sessions.code())
    assert token is not None
    return token


def test_a_code_opens_a_session_once() -> None:
    sessions = Sessions(Clock())
    code = sessions.code()
    token = sessions.exchange(code)

    assert token is not None
    assert sessions.accepts(token)
    assert sessions.exchange(code) is None


def test_a_code_is_good_for_a_minute() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    early, late = sessions.code(), sessions.code()
    clock.now = 60.0
    assert sessions.exchange(early) is not None
    clock.now = 60.1
    assert sessions.exchange(late) is None


def test_an_invented_code_opens_nothing() -> None:
    assert Sessions(Clock()).exchange("") is None
    assert Sessions(Clock()).exchange("x" * 43) is None


def test_the_oldest_code_gives_way() -> None:
    sessions = Sessions(Clock())
    codes = [sessions.code() for _ in range(CODES + 1)]

    assert sessions.exchange(codes[0]) is None
    assert sessions.exchange(codes[1]) is not None


def test_a_session_lives_for_thirty_days_after_its_last_use() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    token = opened(sessions)
    for _ in range(3):
        clock.now += 29 * 24 * 3600
        assert sessions.accepts(token)
    clock.now += 31 * 24 * 3600
    assert not sessions.accepts(token)
    assert not sessions.accepts(token)


def test_the_session_unused_for_longest_gives_way() -> None:
    sessions = Sessions(Clock())
    tokens = [opened(sessions) for _ in range(SESSIONS)]
    assert sessions.accepts(tokens[0])
    opened(sessions)

    assert sessions.accepts(tokens[0])
    assert not sessions.accepts(tokens[1])


def test_neither_codes_nor_tokens_are_kept_in_the_clear() -> None:
    sessions = Sessions(Clock())
    code = sessions.code()
    token = sessions.open()

    assert len(token) == 43  # 256 bit in base64
    assert code not in repr(vars(sessions))
    assert token not in repr(vars(sessions))


def test_scripts_and_other_sites_cannot_use_the_cookie() -> None:
    for cookie in set_cookies("abc"):
        assert cookie.startswith("meshlight_session=abc; ")
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie


def test_the_cookie_is_not_sent_to_the_pages_of_other_programs_on_this_machine() -> None:
    assert [cookie.split("; ")[1] for cookie in set_cookies("abc")] == ["Path=/mesh", "Path=/metrics"]


def test_the_cookie_is_found_among_others() -> None:
    assert read_cookie(b"a=b; meshlight_session=abc=; c=d") == "abc="
    assert read_cookie(b"meshlight_session=abc") == "abc"
    assert read_cookie(b"xmeshlight_session=abc; meshlight_sessionx=abc") is None
    assert read_cookie(b"") is None
