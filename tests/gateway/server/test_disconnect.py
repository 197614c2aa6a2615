"""How the departure of a client is told."""

import pytest

from meshlight.gateway.server.disconnect import DisconnectListeners


def test_everybody_is_told_once_and_in_order() -> None:
    told: list[int] = []
    leave = DisconnectListeners()
    leave.add(lambda: told.append(1))
    leave.add(lambda: told.append(2))
    leave.fire()
    leave.fire()

    assert told == [1, 2]
    assert leave.gone


def test_who_is_discarded_is_not_told() -> None:
    told: list[int] = []

    def tell() -> None:
        told.append(1)

    leave = DisconnectListeners()
    leave.add(tell)
    leave.discard(tell)
    leave.discard(tell)
    leave.add(tell)
    leave.clear()
    leave.fire()

    assert told == []


def test_a_listener_that_breaks_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    def broken() -> None:
        raise ValueError("secret words")

    leave = DisconnectListeners()
    leave.add(broken)
    leave.add(lambda: told.append(1))
    leave.fire()

    assert told == [1]
    assert "ValueError" in caplog.text
    assert "secret words" not in caplog.text
