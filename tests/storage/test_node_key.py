"""The identity of a node: made once, kept in the keyring, and the same as long as the key is."""

import asyncio
import base64
import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from keyring.errors import KeyringLocked

from meshlight.domain.errors import SecretError
from meshlight.storage.config.backend_ids import ID_PATTERN
from meshlight.storage.node_identity import OWNER, NodeIdentityStore
from meshlight.storage.node_key import identity_of, new_key, node_id_of
from meshlight.storage.secrets.keyring import KeyringBackend
from meshlight.storage.secrets.secret import Secret
from meshlight.storage.secrets.store import Secrets
from storage.memory_storage import FailingKeyring, ForgetfulKeyring, MemoryKeyring

Made = Callable[[KeyringBackend], Secrets]


def kept(key: ec.EllipticCurvePrivateKey) -> str:
    return base64.b64encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()


KNOWN = kept(ec.derive_private_key(1, ec.SECP256R1()))
"""The key that everybody knows."""


@pytest.fixture
def environ() -> dict[str, str]:
    return {}


@pytest.fixture
def secrets_with(tmp_path: Path, environ: dict[str, str]) -> Iterator[Made]:
    made: list[Secrets] = []

    def make(keyring: KeyringBackend) -> Secrets:
        made.append(Secrets(file=tmp_path / "secrets.json", keyring=keyring, environ=environ, longest=1280))
        return made[-1]

    yield make
    for secrets in made:
        secrets.close()


async def test_a_node_is_the_same_after_a_restart_certificate_and_all(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    first = await NodeIdentityStore(secrets_with(keyring)).open()
    second = await NodeIdentityStore(secrets_with(keyring)).open()
    assert second.node_id == first.node_id
    assert second.certificate_pem == first.certificate_pem
    assert second.certificate_der == first.certificate_der


async def test_two_nodes_are_not_the_same(secrets_with: Made) -> None:
    first = await NodeIdentityStore(secrets_with(MemoryKeyring())).open()
    second = await NodeIdentityStore(secrets_with(MemoryKeyring())).open()
    assert first.node_id != second.node_id


def test_a_key_gives_the_certificate_that_it_gave_in_every_version() -> None:
    identity = identity_of(Secret(KNOWN))
    assert identity.node_id == "5cd252fb0ce8932436faf8ccd1040981b89ee4ad6b9fe9e2a2b7e71aacb27cd3"
    assert (
        hashlib.sha256(identity.certificate_der).hexdigest()
        == "28ee3b507413bee88235f7a7d501b601fae47e78f3c80bc34ea57cfab999194f"
    )


def test_the_certificate_is_what_peers_expect() -> None:
    identity = identity_of(new_key())
    read = x509.load_pem_x509_certificate(identity.certificate_pem)
    public = read.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"
    assert read.public_bytes(Encoding.DER) == identity.certificate_der
    assert read.subject.rfc4514_string() == read.issuer.rfc4514_string() == "CN=meshlight"
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert read.not_valid_before_utc.year == 1970
    assert read.not_valid_after_utc.year == 9999
    assert 0 < read.serial_number.bit_length() <= 159  # RFC 5280, section 4.1.2.2: at most 20 octets, signed
    read.verify_directly_issued_by(read)


def test_the_node_id_is_the_hash_of_the_public_key() -> None:
    identity = identity_of(new_key())
    public = x509.load_der_x509_certificate(identity.certificate_der).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert identity.node_id == hashlib.sha256(spki).hexdigest() == node_id_of(identity.certificate_der)


@pytest.mark.parametrize("der", [b"", b"garbage"])
def test_what_is_no_certificate_has_no_node_id(der: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        node_id_of(der)


async def test_a_signature_is_that_of_the_key(secrets_with: Made) -> None:
    identity = await NodeIdentityStore(secrets_with(MemoryKeyring())).open()
    public = x509.load_der_x509_certificate(identity.certificate_der).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(identity.sign(b"text"), b"text", ec.ECDSA(hashes.SHA256()))


def test_the_key_leaves_only_encrypted() -> None:
    sealed = identity_of(Secret(KNOWN)).encrypted_key(b"password")
    assert sealed.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    opened = load_pem_private_key(sealed, b"password")
    assert isinstance(opened, ec.EllipticCurvePrivateKey)
    assert kept(opened) == KNOWN


async def test_the_key_does_not_give_itself_away(
    secrets_with: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    keyring = MemoryKeyring()
    identity = await NodeIdentityStore(secrets_with(keyring)).open()
    (text,) = keyring.kept.values()
    assert text not in f"{identity!r} {identity} {caplog.text}"
    with pytest.raises(TypeError):
        pickle.dumps(identity)
    with pytest.raises(TypeError):
        msgspec.json.encode(identity)


async def test_the_key_fits_into_every_keyring_and_no_backend_can_take_its_place(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    await NodeIdentityStore(secrets_with(keyring)).open()
    assert [len(text) for text in keyring.kept.values()] == [184]  # Windows takes 1280
    assert list(keyring.kept) == [("meshlight", f"{OWNER}/api_key")]
    assert not ID_PATTERN.fullmatch(OWNER)


async def test_of_many_that_ask_at_once_all_get_the_same(secrets_with: Made) -> None:
    identities = NodeIdentityStore(secrets_with(MemoryKeyring()))
    found = await asyncio.gather(*(identities.open() for _ in range(5)))
    assert len({identity.node_id for identity in found}) == 1
    assert await identities.find() == found[0]


async def test_looking_for_an_identity_makes_none(secrets_with: Made) -> None:
    keyring = MemoryKeyring()
    identities = NodeIdentityStore(secrets_with(keyring))
    assert await identities.find() is None
    assert keyring.kept == {}
    made = await identities.open()
    assert await identities.find() == made


async def test_the_environment_may_give_the_key(secrets_with: Made, environ: dict[str, str]) -> None:
    environ["MESHLIGHT_SECRET_NODE_IDENTITY"] = KNOWN
    keyring = MemoryKeyring()
    identity = await NodeIdentityStore(secrets_with(keyring)).open()
    assert identity.node_id == identity_of(Secret(KNOWN)).node_id
    assert keyring.asked == 0


async def test_a_locked_keyring_gets_no_new_identity(secrets_with: Made) -> None:
    keyring = FailingKeyring(KeyringLocked())
    keyring.kept["meshlight", f"{OWNER}/api_key"] = KNOWN
    identities = NodeIdentityStore(secrets_with(keyring))
    with pytest.raises(SecretError) as caught:
        await identities.open()
    assert caught.value.state == "locked"
    assert keyring.kept["meshlight", f"{OWNER}/api_key"] == KNOWN


async def test_a_key_that_can_not_be_kept_is_not_used(secrets_with: Made) -> None:
    identities = NodeIdentityStore(secrets_with(ForgetfulKeyring()))
    with pytest.raises(SecretError):
        await identities.open()
    assert await identities.find() is None


@pytest.mark.parametrize(
    "text",
    [
        "not base64!",
        base64.b64encode(b"not a key").decode(),
        kept(ec.derive_private_key(1, ec.SECP384R1())),
        KNOWN[:-8],
    ],
    ids=["no base64", "no key", "another curve", "cut off"],
)
async def test_a_damaged_key_is_told_with_the_fix_and_not_replaced(secrets_with: Made, text: str) -> None:
    keyring = MemoryKeyring()
    keyring.kept["meshlight", f"{OWNER}/api_key"] = text
    with pytest.raises(SecretError) as caught:
        await NodeIdentityStore(secrets_with(keyring)).open()
    assert "damaged" in caught.value.title
    assert "MESHLIGHT_SECRET_NODE_IDENTITY" in caught.value.hint
    assert text not in f"{caught.value.title} {caught.value.hint}"
    assert keyring.kept["meshlight", f"{OWNER}/api_key"] == text
