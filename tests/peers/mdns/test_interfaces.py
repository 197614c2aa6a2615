"""Which interfaces others can be met on."""

from __future__ import annotations

import pytest

from meshlight.peers.mdns.interfaces import find_interfaces, is_outside


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("eth0", ("192.0.2.2",)),
        ("enp3s0", ("169.254.7.8",)),
        ("wlan0", ("fe80::1", "2001:db8::1")),
        ("br0", ("192.168.1.5",)),
        ("Realtek PCIe GbE Family Controller", ("192.168.1.5", "fe80::1")),
    ],
)
def test_a_network_with_an_address_of_its_own_is_looked_at(name: str, addresses: tuple[str, ...]) -> None:
    assert is_outside(name, addresses)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("lo", ("127.0.0.1", "::1")),
        ("lo0", ("127.0.0.1", "::1", "fe80::1")),
        ("vethc9f1a2b", ("fe80::1",)),
        ("end of some cable", ("fe80::1",)),
        ("docker0", ("172.17.0.1",)),
        ("br-0123456789ab", ("172.18.0.1", "fe80::1")),
        ("virbr0", ("192.168.122.1",)),
        ("eth1", ()),
    ],
)
def test_loopback_and_what_is_inside_this_machine_is_not(name: str, addresses: tuple[str, ...]) -> None:
    assert not is_outside(name, addresses)


def test_this_machines_own_are_found_without_an_error() -> None:
    assert all(interface.v4 or interface.v6 for interface in find_interfaces())
