"""How a client's disconnect is reported."""

import pytest

from meshlight.gateway.server.disconnect import DisconnectListeners


def test_everybody_is_told_once_and_in_order() -> None:
    answer: list[int] = []
    disconnect = DisconnectListeners()
    disconnect.add(lambda: answer.append(1))
    disconnect.add(lambda: answer.append(2))
    disconnect.fire()
    disconnect.fire()

    assert answer == [1, 2]
    assert disconnect.gone


def test_who_is_discarded_is_not_told() -> None:
    answer: list[int] = []

    def tell() -> None:
        answer.append(1)

    disconnect = DisconnectListeners()
    disconnect.add(tell)
    disconnect.discard(tell)
    disconnect.discard(tell)
    disconnect.add(tell)
    disconnect.clear()
    disconnect.fire()

    assert answer == []


def test_a_listener_that_breaks_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    answer: list[int] = []

    def broken() -> None:
        raise ValueError("secret words")

    disconnect = DisconnectListeners()
    disconnect.add(broken)
    disconnect.add(lambda: answer.append(1))
    disconnect.fire()

    assert answer == [1]
    assert "ValueError" in caplog.text
    assert "secret words" not in caplog.text
