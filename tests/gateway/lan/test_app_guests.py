"""Which peers may send requests now, and how many at once."""

import pytest

from meshlight.domain.errors import OriginForbidden, Paused, TooManyRequests
from meshlight.domain.peers import Peer
from meshlight.gateway.lan.app import Guests

ANNA = Peer(id="a" * 64, name="Anna", url="", max_in_flight=2)
BEN = Peer(id="b" * 64, name="Ben", url="", max_in_flight=1)


@pytest.fixture
def guests() -> Guests:
    return Guests(lambda: {ANNA.id: ANNA, BEN.id: BEN})


def test_only_a_peer_is_known(guests: Guests) -> None:
    assert guests.find(ANNA.id) is ANNA
    with pytest.raises(OriginForbidden, match="not paired"):
        guests.find("c" * 64)


def test_a_peer_that_is_no_more_is_known_no_more() -> None:
    peers = {ANNA.id: ANNA}
    guests = Guests(lambda: peers)
    del peers[ANNA.id]

    with pytest.raises(OriginForbidden):
        guests.find(ANNA.id)


def test_each_peer_has_a_cap_of_its_own(guests: Guests) -> None:
    guests.enter(ANNA)
    guests.enter(ANNA)
    guests.enter(BEN)
    with pytest.raises(TooManyRequests, match="2 requests of this peer run already"):
        guests.enter(ANNA)
    assert (guests.running(ANNA.id), guests.running(BEN.id)) == (2, 1)

    guests.leave(ANNA)
    guests.enter(ANNA)
    for peer in (ANNA, ANNA, BEN):
        guests.leave(peer)
    assert (guests.running(ANNA.id), guests.running(BEN.id)) == (0, 0)


def test_a_paused_peer_is_told_when_to_ask_again_and_is_not_counted(guests: Guests) -> None:
    with pytest.raises(Paused) as caught:
        guests.enter(Peer(id=ANNA.id, name="Anna", url="", paused=True))

    assert caught.value.retry_after_s
    assert guests.running(ANNA.id) == 0
