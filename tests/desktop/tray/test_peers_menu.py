from collections.abc import Iterator

from msgspec.structs import replace

from desktop.neighbours import BO, EVA, around, pairing, peer, sighting
from desktop.samples import backend, mesh
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action, Item
from meshlight.desktop.tray.peers_menu import request_notification, request_text
from meshlight.desktop.tray.state import TrayState
from meshlight.domain.peers import PeersView
from meshlight.domain.text import sanitize, width

NASTY = "\x1b[31mred\x1b[0m \u202egnp.exe\u2066 z\u200bw \r\nnext" + "x" * 200
ASKED = pairing(role="asked", name="Bo", id=BO)
BOS = backend("peer-77aa0011", name="Bo", kind="peer", ring="lan", models=("a", "b"))


def lines(peers: PeersView | None) -> tuple[Item, ...]:
    """The lines below "Peers"; none where there is no such entry."""
    shown = menu(mesh(BOS), TrayState(service="running", peers=peers))
    return next((item.items for item in shown if item.key == "peers"), ())


def walk(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from walk(item.items)


def test_the_entry_lists_who_is_paired_and_who_may_be() -> None:
    shown = lines(
        around(peers=(peer(),), seen=(sighting(), sighting("Bo", BO, is_paired=True, can_pair=False)))
    )
    assert [(item.text, item.action) for item in shown if not item.is_separator] == [
        ("Visible on this network", Action("show-here")),
        ("● Bo: healthy, 2 models", Action("open", "peer-77aa0011")),
        ("Pair with Eva (1a2b 3c4d)…", Action("open", "peers?")),
    ]


def test_being_visible_is_checked_and_can_be_ended() -> None:
    first = lines(around(visible=True))[0]
    assert (first.checked, first.action) == (True, Action("hide-here"))
    assert lines(around())[0].checked is False


def test_nobody_around_a_problem_and_not_looking_are_said() -> None:
    texts = [item.text for item in lines(around(browse=False, problem="Port 6376 is taken. Stop it."))]
    assert "! Port 6376 is taken. Stop it." in texts
    assert "No paired machines yet" in texts
    assert "Search for other machines is off" in texts
    assert "No other machines found to pair with" in [item.text for item in lines(around())]


def test_a_peer_that_is_paused_or_not_used_says_so() -> None:
    texts = [item.text for item in lines(around(peers=(peer(paused=True), peer("Cy", EVA, backend=None))))]
    assert "● Bo: healthy, 2 models, paused for it" in texts
    assert "- Cy: not used here" in texts


def test_a_request_that_waits_is_the_first_line_of_all_and_leads_to_the_answer() -> None:
    first = menu(mesh(BOS), TrayState(service="running", peers=around(pairing=ASKED)))[0]
    assert (first.text, first.action) == ("! Bo asks to pair: 123 456", Action("open", "peers?"))
    for other in (replace(ASKED, state="confirmed"), replace(ASKED, state="over"), pairing()):
        shown = menu(mesh(BOS), TrayState(service="running", peers=around(pairing=other)))
        assert shown[0].key == "status"


def test_a_service_that_knows_no_peers_has_no_such_entry() -> None:
    assert lines(None) == ()


def test_a_crowd_makes_no_menu_taller_than_the_screen() -> None:
    seen = tuple(sighting(f"box {n}", f"{n:064x}") for n in range(64))
    peers = tuple(peer(f"peer {n}", f"{n:063x}f") for n in range(40))
    shown = lines(around(seen=seen, peers=peers))
    assert len(shown) < 35
    assert [item.text for item in shown if "more" in item.text] == ["28 more peers…", "52 more machines…"]


def test_names_of_strangers_keep_to_their_line_and_their_length() -> None:
    pairing_view = replace(ASKED, name=NASTY)
    crowd = around(peers=(peer(NASTY),), seen=(sighting(NASTY),), problem=NASTY, pairing=pairing_view)
    for item in walk(menu(mesh(BOS), TrayState(service="running", peers=crowd))):
        assert item.text == sanitize(item.text)
        assert width(item.text) <= 72
    assert request_text(pairing_view).endswith("asks to pair: 123 456")
    assert request_notification(pairing_view).title.endswith("asks to pair: 123 456")
