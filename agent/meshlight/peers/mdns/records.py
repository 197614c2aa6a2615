"""The DNS records of an announcement: how this node's are written, and how received ones are read, strictly."""

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
"""Nodes of Backend.AI GO: they are listed, and added by hand."""
NAME_LENGTH = 80
"""Characters of a name; Meshlight never announces a longer one."""
_NAME_BYTES = 240
"""A string of a TXT record holds 255 bytes, its key included (RFC 6763, section 6.1)."""
_LABEL_BYTES = 56
"""An instance name holds 63 bytes (RFC 6763, section 4.1.1); the rest is for the `-2` of a taken one."""
ADDRESSES_MAX = 8
COUNT_MAX = 1_000_000
_ID = re.compile(rb"[0-9a-f]{64}")
_CATALOG = re.compile(rb"[0-9a-f]{8}")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,6}")


class Announcement(Struct, frozen=True, kw_only=True):
    """What this node announces: no model names and no secrets."""

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
    """One announcement as received, nothing of it checked."""

    service: str
    instance: str
    """Its full name: `Meshlight Anna 3fa941c0._meshlight._tcp.local.`"""
    server: str
    port: int
    addresses: tuple[str, ...]
    properties: Mapping[bytes, bytes | None]


class ReceivedAnnouncement(Struct, frozen=True, kw_only=True):
    """One announcement that is well-formed; nothing says that it is true."""

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
    """Return 8 hex digits that identify a set of model ids."""
    return hashlib.sha256("\n".join(sorted(set(models))).encode()).hexdigest()[:8]


def to_txt(announcement: Announcement) -> dict[str, str]:
    """Return the TXT record of an announcement."""
    return {
        "v": VERSION.decode(),
        "id": announcement.id,
        "name": sanitize_name(announcement.name) or "Meshlight",
        "port": str(announcement.port),
        "door": str(announcement.door),
        "backends": str(min(announcement.backends, COUNT_MAX)),
        "models": str(min(announcement.models, COUNT_MAX)),
        "catalog": announcement.catalog,
    }


def instance_of(announcement: Announcement) -> str:
    """Return the full instance name: the name for people, and the start of the id to make it unique."""
    suffix = f" {announcement.id[:8]}"
    head = cut(f"Meshlight {sanitize_name(announcement.name)}".rstrip(), _LABEL_BYTES - len(suffix))
    return f"{head.replace('.', ' ')}{suffix}.{MESHLIGHT}"


def read(raw: RawService, *, on_loopback: bool = False) -> ReceivedAnnouncement | None:
    """Return a received announcement; None unless every field is valid.

    Addresses that lead to no other machine (loopback, link-local IPv6, multicast) are left out; one with no other
    address is invalid. With `on_loopback`, for a network inside this machine, loopback addresses count.
    """
    addresses = usable(raw.addresses, on_loopback=on_loopback)
    if not addresses or not 1 <= raw.port <= 65535:
        return None
    if raw.service == BAGO:
        return _bago(raw, addresses)
    return _meshlight(raw, addresses) if raw.service == MESHLIGHT else None


def usable(addresses: Iterable[str], *, on_loopback: bool = False) -> tuple[str, ...]:
    """Return the addresses at which another machine may be reached, IPv4 first, at most eight.

    A link-local IPv6 address needs a zone, which neither a URL nor an AAAA record carries, so it is left out.
    Link-local IPv4 (two machines on one cable) needs none and stays.
    """
    kept: set[ipaddress.IPv4Address | ipaddress.IPv6Address] = set()
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        is_elsewhere = not (address.is_loopback or address.is_multicast or address.is_unspecified)
        needs_zone = address.version == 6 and (address.is_link_local or address.ipv4_mapped is not None)
        if (is_elsewhere and not needs_zone and text != "255.255.255.255") or (
            on_loopback and address.is_loopback
        ):
            kept.add(address)
    ordered = sorted(kept, key=lambda address: (address.version, int(address)))
    return tuple(str(address) for address in ordered[:ADDRESSES_MAX])


def sanitize_name(text: str) -> str:
    """Return a name that is safe to show, within the length of a name and the bytes of its record."""
    return cut(sanitize(text, NAME_LENGTH), _NAME_BYTES)


def cut(text: str, limit: int) -> str:
    """Return the text cut to at most so many bytes of UTF-8, at a character's end."""
    return text.encode()[:limit].decode(errors="ignore").rstrip()


def _meshlight(raw: RawService, addresses: tuple[str, ...]) -> ReceivedAnnouncement | None:
    txt = raw.properties
    node_id = txt.get(b"id") or b""
    catalog = txt.get(b"catalog") or b""
    name = _name(txt.get(b"name"))
    port, door = _number(txt, b"port"), _number(txt, b"door")
    backends, models = _number(txt, b"backends"), _number(txt, b"models")
    if txt.get(b"v") != VERSION or not _ID.fullmatch(node_id) or not _CATALOG.fullmatch(catalog):
        return None
    if name is None or port is None or door is None or backends is None or models is None:
        return None
    if not 1 <= port <= 65535 or not 1 <= door <= 65535 or max(backends, models) > COUNT_MAX:
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
    """Read a node of Backend.AI GO: it has no node id, so one is made from its instance name."""
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


def _name(raw: bytes | None) -> str | None:
    try:
        name = (raw or b"").decode()
    except UnicodeDecodeError:
        return None
    is_good = name.strip() and name.isprintable() and len(name) <= NAME_LENGTH
    return name.strip() if is_good else None


def _number(txt: Mapping[bytes, bytes | None], key: bytes) -> int | None:
    text = txt.get(key) or b""
    return int(text) if _NUMBER.fullmatch(text) else None


def _host(server: str) -> str:
    return sanitize_name(server.removesuffix("."))
