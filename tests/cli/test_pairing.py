import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from cli.terminal import Terminal
from desktop.neighbours import BO, EVA, around, pairing, peer, sighting
from desktop.samples import mesh
from meshlight.domain.events import PeersEvent
from meshlight.domain.peers import PairingView, PeersView
from meshlight.gateway.control.qr import PairLink, parse_deep_link

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
Type = Callable[..., Any]
ASKED = pairing("comparing", "asked", name="Bo", id=BO)
KEPT = peer("Eva", EVA)
LINK = f"meshlight://pair?host=192.168.1.7&port=6376&id={EVA}&name=Eva"


@pytest.fixture
def scenario(api: LocalApi) -> LocalApi:
    """A service that sees Eva, and whose pairing with her goes well if it is confirmed."""
    api.says("GET", "/mesh/peers", around(seen=(sighting(),)))
    api.says("POST", "/mesh/peers/pairing", around(pairing=pairing()))
    api.says("POST", "/mesh/peers/pairing/refuse", around(pairing=pairing("over")))

    def confirmed() -> PeersView:
        api.says("GET", "/mesh/peers", paired())
        return around(pairing=pairing("confirmed"))

    api.says("POST", "/mesh/peers/pairing/confirm", confirmed)
    api.send(mesh())
    return api


def paired(how: PairingView | None = None) -> PeersView:
    return around(peers=(KEPT,), pairing=how or pairing("paired"))


def sent(api: LocalApi) -> list[tuple[str, Any]]:
    """What was asked for beyond looking, by the end of its path."""
    return [(one.path.rpartition("/")[2], one.body) for one in api.asked if one.method != "GET"]


def test_two_people_compare_large_digits_and_a_yes_pairs(scenario: LocalApi, tmp_path: Path) -> None:
    with Terminal(tmp_path, "pair", "eva") as term:
        term.until("Do both machines show the same digits? [y/N]")
        assert "██  ██████" in term.screen
        assert "\n  123 456\n" in term.screen
        assert "within 55 s" in term.screen
        term.type("y")
        assert term.end() == 0
    assert sent(scenario) == [("pairing", {"id": EVA}), ("confirm", None)]
    assert "✓ Paired with Eva." in term.screen
    assert "It may use every model of this machine (2 models now), 4 requests at once." in term.screen
    assert "meshlight peers share 1a2b3c4d" in term.screen


def test_the_wait_for_the_other_side_is_seen_and_ends_with_its_word(
    scenario: LocalApi, tmp_path: Path
) -> None:
    scenario.says("POST", "/mesh/peers/pairing/confirm", around(pairing=pairing("confirmed")))
    with Terminal(tmp_path, "pair", "1a2b") as term:
        term.until("[y/N]")
        term.type("y")
        term.until("Waiting for confirmation on Eva…")
        over = pairing(
            "over", why="The pairing was refused on Eva. If the digits differed, somebody may be in between."
        )
        scenario.send(PeersEvent(seq=8, peers=around(pairing=over)))
        assert term.end() == 1
    assert "✗ The pairing was refused on Eva." in term.screen


@pytest.mark.parametrize("answer", ["n", "", "maybe\nn"])
def test_anything_but_a_yes_refuses(scenario: LocalApi, tmp_path: Path, answer: str) -> None:
    with Terminal(tmp_path, "pair", "eva") as term:
        term.until("[y/N]")
        term.type(answer)
        assert term.end() == 1
    assert sent(scenario)[-1] == ("refuse", None)
    assert "✗ Refused: no machine was paired." in term.screen


def test_ctrl_c_refuses_for_both_and_says_so(scenario: LocalApi, tmp_path: Path) -> None:
    with Terminal(tmp_path, "pair", "eva") as term:
        term.until("[y/N]: ")
        term.ctrl_c()
        assert term.end() == 1
    assert sent(scenario)[-1] == ("refuse", None)
    assert "Ended. No machine was paired." in term.screen
    assert "Traceback" not in term.screen


def test_a_yes_that_comes_too_late_is_told_what_has_happened(scenario: LocalApi, tmp_path: Path) -> None:
    late = pairing("over", why="The pairing with Eva was not confirmed on both machines in time. Ask anew.")
    with Terminal(tmp_path, "pair", "eva") as term:
        term.until("[y/N]")
        scenario.fails("POST", "/mesh/peers/pairing/confirm", 404, "not_found", "No pairing is under way.")
        scenario.says("GET", "/mesh/peers", around(pairing=late))
        term.type("y")
        assert term.end() == 1
    assert "✗ The pairing with Eva was not confirmed on both machines in time." in term.screen


def test_without_a_name_one_is_chosen_by_its_number(scenario: LocalApi, tmp_path: Path) -> None:
    with Terminal(tmp_path, "pair") as term:
        term.until("Pair with which (number, name or address; empty for none)")
        assert "1  Eva   1a2b 3c4d  5 models on 2 backends  192.168.1.7" in term.screen
        term.type("1")
        term.until("[y/N]")
        term.type("y")
        assert term.end() == 0
    assert sent(scenario)[0] == ("pairing", {"id": EVA})


def test_a_machine_that_asked_is_answered_by_the_same_word(scenario: LocalApi, tmp_path: Path) -> None:
    scenario.says("GET", "/mesh/peers", around(visible=True, pairing=ASKED))
    how = replace(ASKED, state="paired")

    def confirmed() -> PeersView:
        scenario.says("GET", "/mesh/peers", replace(paired(how), peers=(peer(),)))
        return around(pairing=replace(ASKED, state="confirmed"))

    scenario.says("POST", "/mesh/peers/pairing/confirm", confirmed)
    with Terminal(tmp_path, "pair") as term:
        term.until("Bo asks to pair.")
        term.until("[y/N]")
        term.type("y")
        assert term.end() == 0
    assert "✓ Paired with Bo." in term.screen


def test_to_accept_it_is_seen_for_that_time_only(scenario: LocalApi, tmp_path: Path) -> None:
    scenario.says("PATCH", "/mesh/peers", around(visible=True), around())
    with Terminal(tmp_path, "pair", "--accept") as term:
        term.until("Make it visible on this network until it is paired? [Y/n]")
        term.type("")
        term.until("Waiting for another machine")
        assert "On the other machine, run: meshlight pair desk\n" in term.screen
        assert "If that doesn't find this machine: meshlight pair 192.168.1.5:6376" in term.screen
        scenario.send(PeersEvent(seq=8, peers=around(visible=True, pairing=ASKED)))
        term.until("[y/N]")
        term.type("n")
        assert term.end() == 1
    assert sent(scenario) == [("peers", {"visible": True}), ("refuse", None), ("peers", {"visible": False})]


def test_ctrl_c_while_it_waits_hides_it_again(scenario: LocalApi, tmp_path: Path) -> None:
    scenario.says("PATCH", "/mesh/peers", around(visible=True), around())
    with Terminal(tmp_path, "pair", "--accept", "--visible") as term:
        term.until("Waiting for another machine")
        term.ctrl_c()
        assert term.end() == 1
    assert sent(scenario)[-1] == ("peers", {"visible": False})


def test_who_does_not_want_to_be_seen_stays_hidden(scenario: LocalApi, tmp_path: Path) -> None:
    with Terminal(tmp_path, "pair", "--accept") as term:
        term.until("[Y/n]")
        term.type("n")
        assert term.end() == 1
    assert sent(scenario) == []


def test_a_script_is_told_the_digits_and_gives_them_back(scenario: LocalApi, type_words: Type) -> None:
    asked = type_words("pair", "Eva")
    assert asked.code == 3
    assert "If they are the same, run: meshlight pair --yes-digits 123456" in asked.lines
    scenario.says("GET", "/mesh/peers", around(pairing=pairing()))
    scenario.send(mesh())
    said = type_words("pair", "--yes-digits", "123 456")
    assert said.code == 0
    assert sent(scenario) == [("pairing", {"id": EVA}), ("confirm", None)]


def test_other_digits_refuse(scenario: LocalApi, type_words: Type) -> None:
    said = type_words("pair", "Eva", "--yes-digits", "123457")
    assert said.code == 1
    assert sent(scenario)[-1] == ("refuse", None)


def test_a_yes_from_a_pipe_counts_for_nothing(scenario: LocalApi, type_words: Type) -> None:
    assert type_words("pair", "Eva", given="y\n").code == 3
    assert sent(scenario) == [("pairing", {"id": EVA})]


def test_a_link_names_the_other_and_the_digits_are_compared_all_the_same(
    scenario: LocalApi, type_words: Type
) -> None:
    said = type_words("pair", LINK, given="y\n")
    assert said.code == 3
    assert sent(scenario) == [("pairing", {"id": EVA, "host": "192.168.1.7", "port": 6376})]
    assert "Eva shows six digits now. Compare them with these:" in said.lines


def test_what_was_confirmed_in_another_window_waits_for_the_other_side(
    scenario: LocalApi, type_words: Type
) -> None:
    scenario.says("POST", "/mesh/peers/pairing", around(pairing=pairing("confirmed")))
    how = paired()
    scenario.says("GET", "/mesh/peers", around(), how)
    said = type_words("pair", LINK)
    assert said.code == 0
    assert "This machine has confirmed. Now confirm these digits on Eva:" in said.lines


@pytest.mark.parametrize(
    ("typed", "wish"),
    [
        ("192.168.1.9", {"host": "192.168.1.9"}),
        ("box.lan:7000", {"host": "box.lan", "port": 7000}),
        ("[fd00::7]:7000", {"host": "fd00::7", "port": 7000}),
        ("fd00::7", {"host": "fd00::7"}),
    ],
)
def test_one_that_is_not_seen_is_asked_by_its_address(
    scenario: LocalApi, type_words: Type, typed: str, wish: dict[str, object]
) -> None:
    type_words("pair", typed)
    assert sent(scenario) == [("pairing", wish)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("big", "box"), "No machine called 'big box' was found, and it is not an address."),
        (("box.lan:70000",), "No machine called 'box.lan:70000' was found"),
        (("--accept", "Eva"), "These options can't be combined."),
        (("--visible",), "These options can't be combined."),
        (("--accept",), "This machine is hidden, so no other machine can ask it to pair."),
        (("--yes-digits", "1"), "There is no pairing to confirm."),
        (("--link",), "This machine is hidden, so no other machine could use its link."),
        (("meshlight://add?kind=ollama&url=http://x",), "This link adds a backend; it is not for pairing."),
        (("meshlight://pair?host=x&port=1&id=2",), "The link names no id of 64 hex digits."),
    ],
)
def test_what_can_t_be_meant_is_said_and_nobody_is_asked(
    scenario: LocalApi, type_words: Type, words: tuple[str, ...], said: str
) -> None:
    answer = type_words("pair", *words)
    assert answer.code == 1
    assert said in answer.err
    assert sent(scenario) == []


def test_one_that_is_paired_or_can_t_be_is_said_to_be(api: LocalApi, type_words: Type) -> None:
    seen = (sighting("Bo", BO, is_paired=True, can_pair=False), sighting(can_pair=False))
    api.says("GET", "/mesh/peers", around(peers=(peer("Old", "9" * 64),), seen=seen))
    for name, said in (
        ("Bo", "Bo is paired already."),
        ("old", "Old is paired already."),
        ("Eva", "Eva can't be paired with now."),
    ):
        api.send(mesh())
        assert said in type_words("pair", name).err


def test_a_pairing_under_way_is_not_disturbed(scenario: LocalApi, type_words: Type) -> None:
    scenario.fails("POST", "/mesh/peers/pairing", 409, "conflict", "A pairing is under way already.")
    said = type_words("pair", "Eva")
    assert said.err.splitlines()[1] == "To continue it: meshlight pair. To end it: meshlight pair --refuse"


def test_the_own_link_is_one_that_the_other_can_read(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/peers", around(visible=True, name="Bo's \u202edesk"))
    first, second = [parse_deep_link(line) for line in type_words("pair", "--link").lines]
    assert isinstance(first, PairLink)
    assert isinstance(second, PairLink)
    assert (first.host, first.port, first.name, second.host) == ("192.168.1.5", 6376, "Bo's desk", "fd00::5")
    [named] = [parse_deep_link(line) for line in type_words("pair", "--link", "desk.lan").lines]
    assert isinstance(named, PairLink)
    assert named.host == "desk.lan"


def test_at_a_terminal_the_link_is_a_picture_too(api: LocalApi, tmp_path: Path) -> None:
    api.says("GET", "/mesh/peers", around(visible=True))
    with Terminal(tmp_path, "pair", "--link", width=100) as term:
        assert term.end() == 0
    assert "██ ▄▄▄▄▄ █" in term.screen
    assert "On the other machine, run: meshlight pair 'LINK'" in term.screen
