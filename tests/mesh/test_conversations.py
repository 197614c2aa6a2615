"""Where conversations were: for a while, and not for ever more of them."""

from meshlight.mesh.conversations import KEPT_MAX, KEPT_S, Conversations


def test_a_conversation_is_remembered_for_a_quarter_of_an_hour() -> None:
    now = [0.0]
    conversations = Conversations(lambda: now[0])
    conversations.record(b"1", "a", "")
    now[0] = KEPT_S
    assert conversations.home(b"1") == ("a", "")
    conversations.record(b"1", "b", "x")
    now[0] += KEPT_S
    assert conversations.home(b"1") == ("b", "x")
    now[0] += 1
    assert conversations.home(b"1") == ("", "")


def test_the_oldest_are_dropped_and_those_of_a_removed_backend() -> None:
    conversations = Conversations(lambda: 0.0)
    for number in range(KEPT_MAX + 5):
        conversations.record(str(number).encode(), "a" if number % 2 else "b", "")
    assert len(conversations) == KEPT_MAX
    assert conversations.home(b"4") == ("", "")
    conversations.forget("a")
    assert len(conversations) == KEPT_MAX // 2
    assert conversations.home(b"10") == ("b", "")
