from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from api_client.local_api import LocalApi
from desktop.neighbours import BO, EVA, around, peer, sighting
from desktop.samples import backend, mesh
from meshlight.domain.peers import PeersView

Type = Callable[..., Any]
BOS = backend(
    "peer-77aa0011", name="Bo", kind="peer", ring="lan", models=("qwen3:4b", "llama3.2:3b"), latency_ms=3.1
)
CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0)) if n != 0x0A] + list("\u202e\u2066\u200b")
NASTY = "\x1b[31mred\x1b[0m \x1b]0;title\x07[bold]bold[/bold] \u202egnp.exe\u2066 z\u200bw \x9b2J\r\nnext"


@pytest.fixture
def scenario(api: LocalApi) -> LocalApi:
    view = around(visible=True, peers=(peer(),), seen=(sighting(), sighting("Bo", BO, is_paired=True)))
    api.says("GET", "/mesh/peers", view)
    api.says("GET", "/mesh/backends", {"backends": [BOS]})
    return api


@pytest.mark.usefixtures("scenario")
def test_one_screen_says_who_is_here_who_is_paired_and_who_is_seen(type_words: Type) -> None:
    said = type_words("peers")
    assert said.code == 0
    assert " ".join(said.lines[:2]) == (
        "desk (3fa9 41c0) is visible to other machines on this network (192.168.1.5, fd00::5)."
    )
    assert "Hide it with: meshlight peers visible off" in said.lines
    paired, seen = said.out.split("FOUND ON THIS NETWORK")
    assert "● healthy  Bo    77aa 0011  2: qwen3:4b" in paired
    assert "every model of this machine" in paired
    assert "0 of 4" in paired
    assert "Eva   1a2b 3c4d  5 models on 2 backends  192.168.1.7" in seen
    assert "Bo" not in seen.replace("Backend", "")
    assert "Pair with one: meshlight pair NAME" in said.lines
    assert max(map(len, said.lines)) <= 80


def test_a_machine_alone_says_how_to_be_seen_and_how_to_be_asked(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/peers", around(node_id="", short=""))
    api.says("GET", "/mesh/backends", {"backends": []})
    out = " ".join(type_words("peers").out.split())
    assert out.startswith("desk (no id until it is first visible or paired) is hidden:")
    assert "Show it with: meshlight peers visible on" in out
    assert "No paired machines yet." in out
    assert "Run this on the other machine: meshlight pair --accept" in out


def test_what_is_wrong_is_said_with_its_fix(api: LocalApi, type_words: Type) -> None:
    ill = backend(
        "peer-77aa0011", name="Bo", kind="peer", state="unhealthy", text="Bo has ended the pairing."
    )
    problem = "Port 6376 is taken by another program. Stop it, or set another [lan] door."
    lost = peer("Lost", EVA, backend=None)
    api.says("GET", "/mesh/peers", around(visible=True, problem=problem, peers=(peer(), lost)))
    api.says("GET", "/mesh/backends", {"backends": [ill]})
    out = " ".join(type_words("peers").out.split())
    assert f"! {problem}" in out
    assert "Bo (unhealthy for 3 min): Bo has ended the pairing. Fix: Start it" in out
    assert "! Lost is not used here: its backend was removed." in out


def test_a_node_of_another_program_is_shown_and_said_to_be_added_by_hand(
    api: LocalApi, type_words: Type
) -> None:
    go = sighting("GO", "bago:1", service="bago", short="", can_pair=False)
    api.says("GET", "/mesh/peers", around(seen=(go,)))
    api.says("GET", "/mesh/backends", {"backends": []})
    out = type_words("peers").out
    assert "can't be paired" in out
    assert "  meshlight backends add openai-compatible http://192.168.1.7:6375" in out


@pytest.mark.usefixtures("scenario")
def test_as_json_it_is_the_view_itself(type_words: Type) -> None:
    view = msgspec.json.decode(type_words("peers", "--json").out, type=PeersView)
    assert [one.name for one in view.peers] == ["Bo"]


@pytest.mark.parametrize("word", [("peers",), ("peers", "--json"), ("pair",), ("peers", "share", "77aa")])
def test_names_of_strangers_can_neither_paint_nor_hide_nor_reverse(
    api: LocalApi, type_words: Type, word: tuple[str, ...]
) -> None:
    hostile = around(
        name=NASTY,
        peers=(peer(NASTY, share_models=(NASTY,)),),
        seen=(sighting(NASTY, addresses=(NASTY,), conflict=NASTY),),
        problem=NASTY,
    )
    api.says("GET", "/mesh/peers", hostile)
    api.says("GET", "/mesh/backends", {"backends": [BOS]})
    api.send(mesh())
    said = type_words(*word)
    assert said.code == 0
    assert not [letter for letter in CONTROLS if letter in said.out]


@pytest.mark.parametrize(("word", "sent"), [("visible", "visible"), ("browse", "browse")])
def test_being_seen_and_looking_are_switched(api: LocalApi, type_words: Type, word: str, sent: str) -> None:
    api.says("PATCH", "/mesh/peers", around(visible=True), around(browse=False))
    on = type_words("peers", word, "on")
    off = type_words("peers", word, "off")
    assert (on.code, off.code) == (0, 0)
    assert [one.body for one in api.asked if one.body] == [{sent: True}, {sent: False}]
    assert ("Hide it with" if word == "visible" else "Searching on this network") in on.out


def test_what_a_peer_may_use_is_changed_and_said(scenario: LocalApi, type_words: Type) -> None:
    changed = peer(share_rings=("machine", "lan"), share_models=("qwen3:4b",), max_in_flight=2)
    scenario.says("PATCH", f"/mesh/peers/{BO}", around(peers=(changed,)))
    said = type_words(
        "peers", "share", "bo", "--rings", "lan,machine", "--models", "qwen3:4b", "--at-once", "2", "--resume"
    )
    assert scenario.asked[-1].body == {
        "share_rings": ["machine", "lan"],
        "share_models": ["qwen3:4b"],
        "max_in_flight": 2,
        "paused": False,
    }
    assert " ".join(said.out.split()) == (
        "✓ Bo may use qwen3:4b of this machine and the local network, 2 requests at once. It sees 2 models here now."
    )
    type_words("peers", "share", "Bo", "--models", "all")
    assert scenario.asked[-1].body == {"share_models": None}


@pytest.mark.parametrize(("word", "may_manage"), [("--may-manage", True), ("--no-may-manage", False)])
def test_whether_a_peer_may_load_and_unload_is_chosen_and_said(
    scenario: LocalApi, type_words: Type, word: str, may_manage: bool
) -> None:
    scenario.says("PATCH", f"/mesh/peers/{BO}", around(peers=(peer(may_manage=may_manage),)))
    said = type_words("peers", "share", "bo", word)
    assert scenario.asked[-1].body == {"may_manage": may_manage}
    assert ("It may load and unload them." in " ".join(said.out.split())) is may_manage


def test_what_is_used_from_a_peer_is_chosen(scenario: LocalApi, type_words: Type) -> None:
    scenario.says("PATCH", f"/mesh/peers/{BO}", around(peers=(peer(use=("qwen3*", "gemma3:4b")),)))
    said = type_words("peers", "share", "bo", "--use", "qwen3*, gemma3:4b")
    assert scenario.asked[-1].body == {"use": ["qwen3*", "gemma3:4b"]}
    assert "Used from it: qwen3*, gemma3:4b." in " ".join(said.out.split())
    type_words("peers", "share", "bo", "--use", "all")
    assert scenario.asked[-1].body == {"use": None}


def test_a_peer_may_load_and_unload_models_only_if_that_is_said(
    scenario: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = around(peers=(peer(may_manage=True),))
    scenario.says("PATCH", f"/mesh/peers/{BO}", manager, around(peers=(peer(),)))
    may = type_words("peers", "share", "bo", "--may-manage")
    may_not = type_words("peers", "share", "bo", "--no-may-manage")
    assert [one.body for one in scenario.asked if one.body] == [{"may_manage": True}, {"may_manage": False}]
    assert "It may load and unload them." in " ".join(may.out.split())
    assert "load" not in may_not.out
    monkeypatch.setenv("COLUMNS", "120")
    assert "MAY LOAD" not in type_words("peers").out
    scenario.says("GET", "/mesh/peers", manager)
    titles, row = type_words("peers").out.split("PAIRED\n")[1].splitlines()[:2]
    assert titles.split()[-3:] == ["MAY", "LOAD", "NOW"]
    assert row.split()[-4:] == ["yes", "0", "of", "4"]


def test_without_a_change_it_is_only_said(scenario: LocalApi, type_words: Type) -> None:
    said = type_words("peers", "share", "77aa 0011")
    assert said.out.startswith("✓ Bo may use every model of this machine, 4 requests at once.")
    assert scenario.asked[-1].method == "GET"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("share", "Bob"), "No peer is called 'Bob'.\nDid you mean Bo?"),
        (
            ("share", "Bo", "--rings", "moon"),
            "There is no ring 'moon'.\nRings are: machine, lan, company, cloud.",
        ),
        (
            ("share", "Bo", "--models", " ,"),
            "--models is empty.\nTo share nothing for now: --pause",
        ),
    ],
)
def test_what_can_t_be_meant_is_said(
    scenario: LocalApi, type_words: Type, words: list[str], said: str
) -> None:
    answer = type_words("peers", *words)
    assert answer.code == 1
    assert said in answer.err
    assert {one.method for one in scenario.asked} <= {"GET"}


def test_of_two_with_one_name_neither_is_chosen_and_the_ids_are_named(
    api: LocalApi, type_words: Type
) -> None:
    api.says("GET", "/mesh/peers", around(peers=(peer("Bo"), peer("BO", EVA))))
    said = type_words("unpair", "bo")
    assert said.code == 1
    assert said.err == "Error: 2 machines match 'bo'.\nName one by its id: 77aa0011, 1a2b3c4d.\n"


def test_a_name_that_poses_as_another_s_id_takes_nobody_s_place(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/peers", around(peers=(peer("Bo"), peer("77aa 0011", EVA))))
    assert "2 machines match" in type_words("unpair", "77aa 0011").err


def test_a_pairing_is_ended(scenario: LocalApi, type_words: Type) -> None:
    scenario.says("DELETE", f"/mesh/peers/{BO}", around())
    said = type_words("unpair", "Bo")
    assert (said.code, scenario.asked[-1].method) == (0, "DELETE")
    assert said.out == "Unpaired: Bo and this machine can't use each other's models any more.\n"


def test_an_older_service_says_that_it_knows_no_peers(api: LocalApi, type_words: Type) -> None:
    api.fails("GET", "/mesh/peers", 404, "not_found", "There is nothing at /mesh/peers.")
    said = type_words("peers")
    assert (said.code, said.err) == (1, "Error: There is nothing at /mesh/peers.\n")
