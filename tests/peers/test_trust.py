"""Whom this node believes, and what it says when it can't ask somebody."""

from pathlib import Path

import pytest

from meshlight.domain.errors import ConnectError, SecretError
from meshlight.peers.tls import PrivateIdentity
from meshlight.peers.trust import Trust
from meshlight.storage.peer_certificates import PeerCertificates
from peers.node_identities import impostor, node

HERE, ANNA, BEN = node(), node(), node()


class MemoryIdentity:
    """Where the key is, or is not."""

    def __init__(self, kept: PrivateIdentity | None = None, error: SecretError | None = None) -> None:
        self.kept = kept
        self.error = error

    async def find(self) -> PrivateIdentity | None:
        if self.error is not None:
            raise self.error
        return self.kept

    async def open(self) -> PrivateIdentity:
        self.kept = await self.find() or HERE
        return self.kept


class MemoryCertificates:
    """Certificates in memory, sound or not."""

    def __init__(self, kept: dict[str, bytes]) -> None:
        self.kept = kept
        self.reads = 0

    def put(self, node_id: str, pem: bytes) -> None:
        self.kept[node_id] = pem

    def remove(self, node_id: str) -> bool:
        return self.kept.pop(node_id, None) is not None

    def all(self) -> dict[str, bytes]:
        self.reads += 1
        return dict(self.kept)


def both() -> MemoryCertificates:
    return MemoryCertificates({ANNA.node_id: ANNA.certificate_pem, BEN.node_id: BEN.certificate_pem})


async def ready(pins: MemoryCertificates, *believed: str) -> Trust:
    trust = Trust(MemoryIdentity(HERE), pins)
    await trust.find()
    await trust.pin(believed)
    return trust


def why(trust: Trust, node_id: str) -> str:
    with pytest.raises(ConnectError) as caught:
        trust.client(node_id)
    return caught.value.title


async def test_a_node_without_a_key_has_no_id_until_it_needs_one() -> None:
    trust = Trust(MemoryIdentity(), both())
    assert await trust.find() is None
    assert trust.node_id == ""
    assert await trust.open() is HERE
    assert trust.node_id == HERE.node_id
    assert await trust.find() is HERE


async def test_a_keyring_that_can_not_be_opened_is_told_and_may_open_later() -> None:
    identity = MemoryIdentity(error=SecretError("locked", "The keyring is locked.", "Unlock it."))
    trust = Trust(identity, both())
    with pytest.raises(SecretError, match="locked"):
        await trust.open()
    identity.error = None
    assert await trust.open() is HERE


async def test_only_who_is_believed_and_whose_certificate_is_here_can_be_asked() -> None:
    trust = await ready(both(), ANNA.node_id, "c" * 64)

    assert trust.client(ANNA.node_id) is trust.client(ANNA.node_id)
    assert "no certificate of that peer" in why(trust, BEN.node_id)
    assert "no certificate of that peer" in why(trust, "c" * 64)


async def test_before_the_keys_were_read_it_is_said_that_they_are_being_read() -> None:
    assert "still being read" in why(Trust(MemoryIdentity(HERE), both()), ANNA.node_id)


async def test_a_certificate_that_is_no_nodes_is_told_and_breaks_nothing() -> None:
    mallory = impostor(is_authority=True)
    trust = await ready(
        MemoryCertificates({"d" * 64: mallory.certificate_pem, "e" * 64: b"garbage"}), "d" * 64, "e" * 64
    )

    for node_id in ("d" * 64, "e" * 64):
        assert "can't be used" in why(trust, node_id)


async def test_the_listener_follows_what_is_believed() -> None:
    trust = await ready(both(), ANNA.node_id)
    tls = trust.server(HERE)
    assert trust.server(HERE) is tls
    assert tls._ids == {ANNA.node_id}
    await trust.pin([BEN.node_id])
    assert tls._ids == {BEN.node_id}


async def test_peers_are_kept_and_dropped_on_the_disk(tmp_path: Path) -> None:
    trust = Trust(MemoryIdentity(HERE), PeerCertificates(tmp_path))
    await trust.find()
    await trust.save(ANNA.node_id, ANNA.certificate_pem)
    await trust.pin([ANNA.node_id])
    trust.client(ANNA.node_id)
    await trust.remove(ANNA.node_id)
    await trust.remove(ANNA.node_id)
    await trust.pin(list[str]())
    assert why(trust, ANNA.node_id)
    with pytest.raises(ValueError, match="not that of the peer"):
        await trust.save(BEN.node_id, ANNA.certificate_pem)
