"""What is announced reads back as it was, and what is odd in any way is not read at all."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec.structs import replace

from meshlight.peers.mdns.records import (
    BAGO,
    MESHLIGHT,
    Announcement,
    RawService,
    catalog_of,
    instance_of,
    read,
    sanitize_name,
    to_txt,
    usable,
)

TOLD = Announcement(id="a1" * 32, name="Anna", port=6375, door=6376, backends=2, models=7, catalog="0badcafe")


def heard(told: Announcement = TOLD, changed: Mapping[str, bytes | None] | None = None) -> RawService:
    """The announcement as it comes over the network, with some fields of the TXT record changed."""
    said: dict[bytes, bytes | None] = {key.encode(): value.encode() for key, value in to_txt(told).items()}
    said |= {key.encode(): value for key, value in (changed or {}).items()}
    return RawService(
        service=MESHLIGHT,
        instance=instance_of(told),
        server="anna-7f3a21.local.",
        port=6375,
        addresses=("192.168.1.20",),
        properties=said,
    )


def test_what_is_announced_reads_back() -> None:
    found = read(heard())
    assert found is not None
    assert (found.id, found.name, found.port, found.door) == (TOLD.id, "Anna", 6375, 6376)
    assert (found.backends, found.models, found.catalog) == (2, 7, "0badcafe")
    assert (found.host, found.addresses, found.service) == (
        "anna-7f3a21.local",
        ("192.168.1.20",),
        "meshlight",
    )


@given(some.text(max_size=400))
def test_any_name_a_user_gives_can_be_announced_and_read(name: str) -> None:
    told = replace(TOLD, name=name)
    label = instance_of(told).removesuffix("." + MESHLIGHT)
    assert len(label.encode()) <= 56
    assert label.startswith("Meshlight")
    assert label.endswith(" a1a1a1a1")
    assert "." not in label
    assert label.isprintable()
    assert all(len(f"{key}={value}".encode()) <= 255 for key, value in to_txt(told).items())
    found = read(heard(told))
    assert found is not None
    assert found.name == (sanitize_name(name) or "Meshlight")


def test_a_long_name_is_cut_at_a_character() -> None:
    label = instance_of(replace(TOLD, name="컴퓨터" * 20)).removesuffix("." + MESHLIGHT)
    assert label.startswith("Meshlight 컴퓨터")
    assert label.endswith(" a1a1a1a1")


@pytest.mark.parametrize(
    "changed",
    [
        {"v": None},
        {"v": b"2"},
        {"id": b"a1" * 31},
        {"id": b"A1" * 32},
        {"id": b"a1" * 33},
        {"id": None},
        {"name": b""},
        {"name": b"  "},
        {"name": b"a\nb"},
        {"name": "evil\u202etxt.exe".encode()},
        {"name": b"\x1b[31mred"},
        {"name": b"\xff\xfe"},
        {"name": b"n" * 81},
        {"port": b"0"},
        {"port": b"65536"},
        {"port": b"+6375"},
        {"port": b"06375"},
        {"port": "٦٣٧٥".encode()},
        {"door": None},
        {"backends": b"-1"},
        {"models": b"1000001"},
        {"models": b"1e3"},
        {"catalog": b"0badcaf"},
        {"catalog": b"0badcafeX"},
        {"catalog": b"0badcafe\n"},
    ],
)
def test_an_odd_field_makes_the_whole_of_it_unread(changed: dict[str, bytes | None]) -> None:
    assert read(heard(changed=changed)) is None


@given(some.dictionaries(some.binary(max_size=20), some.none() | some.binary(max_size=300)), some.text())
def test_whatever_is_in_it_reading_it_does_no_harm(said: dict[bytes, bytes | None], name: str) -> None:
    for service in (MESHLIGHT, BAGO, "_http._tcp.local."):
        found = read(
            replace(heard(), service=service, instance=f"{name}.{service}", server=name, properties=said)
        )
        if found is not None:
            assert found.name.isprintable()
            assert found.host.isprintable()
            assert len(found.name) <= 80


def test_a_node_of_backend_ai_go_is_shown_by_its_instance_name() -> None:
    raw = replace(heard(), service=BAGO, instance=f"Lab\x07 node.{BAGO}", port=8080, properties={b"x": b"y"})
    found = read(raw)
    assert found is not None
    assert (found.service, found.name, found.port, found.door) == ("bago", "Lab node", 8080, 0)
    assert found.id.startswith("bago:")
    assert read(replace(raw, port=0)) is None


def test_addresses_that_lead_to_no_other_machine_are_left_out() -> None:
    said = (
        "127.0.0.1",
        "::1",
        "fe80::1",
        "fe80::1%3",
        "224.0.0.251",
        "ff02::fb",
        "0.0.0.0",
        "::",
        "::ffff:10.0.0.1",
    )
    assert usable((*said, "nonsense", "")) == ()
    assert read(replace(heard(), addresses=said)) is None
    both = usable(("fd00::2", "192.168.1.20", "169.254.3.4", "192.168.1.20"))
    assert both == ("169.254.3.4", "192.168.1.20", "fd00::2")
    assert len(usable(f"10.0.0.{number}" for number in range(1, 99))) == 8


def test_a_catalog_changes_with_its_models_and_not_with_their_order() -> None:
    assert catalog_of(["b", "a"]) == catalog_of(["a", "b", "a"])
    assert catalog_of(["a"]) != catalog_of(["a", "b"])
    assert len(catalog_of([])) == 8
