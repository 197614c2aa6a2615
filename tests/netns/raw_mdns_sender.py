"""Announcements made byte by byte, as an attacker might, sent from a machine of the tests' network."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Self

from zeroconf import ServiceInfo
from zeroconf._protocol.outgoing import DNSOutgoing

from meshlight.peers.mdns.records import MESHLIGHT, Announcement, instance_of, to_txt
from netns.namespaces import Machine

GROUP = ("224.0.0.251", 5353)
_RESPONSE = 0x8400


class Crier:
    """Sends announcements from a machine, and answers no queries."""

    def __init__(self, machine: Machine) -> None:
        self._socket = machine.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((machine.address, 5353))
        mine = socket.inet_aton(machine.address)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def cry(
        self, told: Announcement, address: str, ttl_s: int = 120, txt: Mapping[str, str] | None = None
    ) -> None:
        """Announce a machine that may not exist; the pointer to it lasts 75 minutes, the rest `ttl_s`."""
        info = ServiceInfo(
            MESHLIGHT,
            instance_of(told),
            port=told.port,
            properties=dict(txt if txt is not None else to_txt(told)),
            server=f"host-{address.replace('.', '-')}.local.",
            parsed_addresses=[address],
            host_ttl=ttl_s,
            other_ttl=4500,
        )
        out = DNSOutgoing(_RESPONSE)
        for record in (info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()):
            out.add_answer_at_time(record, 0)
        self.send(*out.packets())

    def send(self, *packets: bytes) -> None:
        """Send packets of any content."""
        for packet in packets:
            self._socket.sendto(packet, GROUP)
