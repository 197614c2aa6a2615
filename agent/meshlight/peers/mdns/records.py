"""What a node says of itself on the local network, and how what strangers say is read: strictly."""

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from meshlight.domain.text import sanitize

VERSION = b"1"
MESHLIGHT = "_meshlight._tcp.local."
BAGO = "_bago._tcp.local."
"""Backend.AI GO's nodes: they are shown, and added by hand."""
NAME_LENGTH = 80
"""Characters of a name; a longer one is not one of ours."""
_NAME_BYTES = 240
"""A string of a TXT record holds 255 bytes, its key included (RFC 6763, section 6.1)."""
_LABEL_BYTES = 56
"""An instance name holds 63 bytes (RFC 6763, section 4.1.1); the rest is for the `-2` of a taken one."""
MOST_ADDRESSES = 8
MOST_COUNTED = 1_000_000
_ID = re.compile(rb"[0-9a-f]{64}")
_CATALOG = re.compile(rb"[0-9a-f]{8}")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,6}")


class Announcement(Struct, frozen=True, kw_only=True):
    """What this node lets others see: no model names and no secrets."""

    id: str
    """The node id: 64 hex digits."""
    name: str
    port: int
    door: int
    backends: int = 0
    models: int = 0
    catalog: str = "00000000"
    """8 hex digits that change when the list of models does; see `catalog_of`."""


class RawService(Struct, frozen=True, kw_only=True):
    """One announcement as it came from the network, nothing of it checked."""

    service: str
    instance: str
    """Its full name: `Meshlight Anna 3fa941c0._meshlight._tcp.local.`"""
    server: str
    port: int
    addresses: tuple[str, ...]
    properties: Mapping[bytes, bytes | None]


class ReceivedAnnouncement(Struct, frozen=True, kw_only=True):
    """One announcement that reads as it should; that it is true is another matter."""

    service: Literal["meshlight", "bago"]
    instance: str
    id: str
    name: str
    host: str
    addresses: tuple[str, ...]
    port: int
    door: int = 0
    backends: int = 0
    models: int = 0
    catalog: str = ""


def catalog_of(models: Iterable[str]) -> str:
    """Return the 8 hex digits that stand for a list of model ids, whatever its order."""
    return hashlib.sha256("\n".join(sorted(set(models))).encode()).hexdigest()[:8]


def to_txt(told: Announcement) -> dict[str, str]:
    """Return the TXT record of an announcement."""
    return {
        "v": VERSION.decode(),
        "id": told.id,
        "name": sanitize_name(told.name) or "Meshlight",
        "port": str(told.port),
        "door": str(told.door),
        "backends": str(min(told.backends, MOST_COUNTED)),
        "models": str(min(told.models, MOST_COUNTED)),
        "catalog": told.catalog,
    }


def instance_of(told: Announcement) -> str:
    """Return the full instance name: who it is for people, with the start of the id so that it is unique."""
    tail = f" {told.id[:8]}"
    head = cut(f"Meshlight {sanitize_name(told.name)}".rstrip(), _LABEL_BYTES - len(tail))
    return f"{head.replace('.', ' ')}{tail}.{MESHLIGHT}"


def read(raw: RawService, *, on_loopback: bool = False) -> ReceivedAnnouncement | None:
    """Return what an announcement says; None unless every field is as it should be.

    Addresses that lead to no other machine (loopback, link-local IPv6, multicast) are left out, and without any
    other it is none. `on_loopback` is for a network that is this machine alone: then loopback counts.
    """
    addresses = usable(raw.addresses, on_loopback=on_loopback)
    if not addresses or not 1 <= raw.port <= 65535:
        return None
    if raw.service == BAGO:
        return _bago(raw, addresses)
    return _meshlight(raw, addresses) if raw.service == MESHLIGHT else None


def usable(addresses: Iterable[str], *, on_loopback: bool = False) -> tuple[str, ...]:
    """Return the addresses that another machine may be reached at, IPv4 first, at most eight.

    A link-local IPv6 address means nothing without the zone, which neither a URL nor an AAAA record carries:
    it is left out. Link-local IPv4 (two machines on one cable) needs none and stays.
    """
    kept: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        is_far = not (address.is_loopback or address.is_multicast or address.is_unspecified)
        is_zoned = address.version == 6 and (address.is_link_local or address.ipv4_mapped is not None)
        if (is_far and not is_zoned and text != "255.255.255.255") or (on_loopback and address.is_loopback):
            kept.add(address)
    ordered = sorted(kept, key=lambda address: (address.version, int(address)))
    return tuple(str(address) for address in ordered[:MOST_ADDRESSES])


def sanitize_name(text: str) -> str:
    """Return a name that is safe to show, within the length of a name and the bytes of its record."""
    return cut(sanitize(text, NAME_LENGTH), _NAME_BYTES)


def cut(text: str, most: int) -> str:
    """Return the text in at most so many bytes of UTF-8, no character broken."""
    return text.encode()[:most].decode(errors="ignore").rstrip()


def _meshlight(raw: RawService, addresses: tuple[str, ...]) -> ReceivedAnnouncement | None:
    said = raw.properties
    node_id = said.get(b"id") or b""
    catalog = said.get(b"catalog") or b""
    name = _name(said.get(b"name"))
    port, door = _number(said, b"port"), _number(said, b"door")
    backends, models = _number(said, b"backends"), _number(said, b"models")
    if said.get(b"v") != VERSION or not _ID.fullmatch(node_id) or not _CATALOG.fullmatch(catalog):
        return None
    if name is None or port is None or door is None or backends is None or models is None:
        return None
    if not 1 <= port <= 65535 or not 1 <= door <= 65535 or max(backends, models) > MOST_COUNTED:
        return None
    return ReceivedAnnouncement(
        service="meshlight",
        instance=raw.instance,
        id=node_id.decode(),
        name=name,
        host=_host(raw.server),
        addresses=addresses,
        port=port,
        door=door,
        backends=backends,
        models=models,
        catalog=catalog.decode(),
    )


def _bago(raw: RawService, addresses: tuple[str, ...]) -> ReceivedAnnouncement:
    """Read a node of another program: it has no id of ours, so its instance name stands for one."""
    label = raw.instance.removesuffix(raw.service).rstrip(".")
    return ReceivedAnnouncement(
        service="bago",
        instance=raw.instance,
        id="bago:" + hashlib.sha256(raw.instance.lower().encode(errors="replace")).hexdigest()[:16],
        name=sanitize_name(label) or "Backend.AI GO",
        host=_host(raw.server),
        addresses=addresses,
        port=raw.port,
    )


def _name(said: bytes | None) -> str | None:
    try:
        name = (said or b"").decode()
    except UnicodeDecodeError:
        return None
    is_good = name.strip() and name.isprintable() and len(name) <= NAME_LENGTH
    return name.strip() if is_good else None


def _number(said: Mapping[bytes, bytes | None], key: bytes) -> int | None:
    text = said.get(key) or b""
    return int(text) if _NUMBER.fullmatch(text) else None


def _host(server: str) -> str:
    return sanitize_name(server.removesuffix("."))
