"""The identity of this node: a key in the keyring, and the certificate derived from it.

The same key always gives the same certificate, byte for byte: fixed dates, a serial number from the key, and
deterministic signatures (RFC 6979). So only the key has to be stored, and a node that has lost everything else is
still the one that its peers have pinned.
"""

import base64
import binascii
import hashlib
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from meshlight.domain.errors import SecretError
from meshlight.domain.peers import node_id
from meshlight.storage.node_identity import OWNER
from meshlight.storage.secrets.environment import variable
from meshlight.storage.secrets.secret import Secret

_NOT_BEFORE = datetime(1970, 1, 1, tzinfo=UTC)
"""So that a machine with a wrong clock is still recognised by its key."""
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, section 4.1.2.5: for a certificate without a well-defined end."""


class NodeIdentity(Struct, frozen=True, kw_only=True):
    """The key of this node and its certificate. Printed or logged, the key is `***`; it is never encoded."""

    certificate_pem: bytes
    certificate_der: bytes
    node_id: str
    key: Secret

    def sign(self, data: bytes) -> bytes:
        """Return the signature of `data` by the key (ECDSA with SHA-256, in DER)."""
        return _key_of(self.key).sign(data, _ecdsa())

    def encrypted_key(self, password: bytes) -> bytes:
        """Return the key in PEM, encrypted with a password."""
        encryption = BestAvailableEncryption(password)
        return _key_of(self.key).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def node_id_of(certificate: bytes) -> str:
    """Return the id of the node with this certificate (DER); raises ValueError if it is none."""
    try:
        return node_id(_spki(x509.load_der_x509_certificate(certificate).public_key()))
    except UnsupportedAlgorithm as error:
        raise ValueError("The certificate is not one of Meshlight's.") from error


def new_key() -> Secret:
    """Return a new P-256 key in the stored form: PKCS #8 in base64, on one line (184 characters)."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Secret(
        base64.b64encode(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())).decode()
    )


def identity_of(key: Secret) -> NodeIdentity:
    """Return the identity of a key; raises SecretError if the key is damaged."""
    certificate = _certificate(_key_of(key))
    der = certificate.public_bytes(Encoding.DER)
    return NodeIdentity(
        certificate_pem=certificate.public_bytes(Encoding.PEM),
        certificate_der=der,
        node_id=node_id_of(der),
        key=key,
    )


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Return the certificate. It is not an authority: its key can't sign other certificates."""
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshlight")])
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    serial = int.from_bytes(hashlib.sha256(_spki(public)).digest()[:16], "big") | 1
    return (
        x509.CertificateBuilder(name, name, public, serial, _NOT_BEFORE, _NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_SIGNS_HANDSHAKES, critical=True)
        .add_extension(_BOTH_SIDES, critical=False)
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(key_id.digest, None, None), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )


_SIGNS_HANDSHAKES = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
_BOTH_SIDES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])


def _key_of(secret: Secret) -> ec.EllipticCurvePrivateKey:
    """Return the key; the error never quotes it."""
    try:
        key = load_der_private_key(base64.b64decode(secret.reveal(), validate=True), None)
    except (ValueError, TypeError, binascii.Error):
        key = None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise SecretError(
        "refused",
        "The key of this machine, by which its peers know it, is damaged.",
        f"Give it again in {variable(OWNER, 'api_key')} (a P-256 key as PKCS #8 in base64, on one line); "
        "or remove it from the keyring, and pair again.",
    )


def _spki(public: object) -> bytes:
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise ValueError("The certificate is not one of Meshlight's.")  # noqa: TRY004 - of this type, it is none
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _ecdsa() -> ec.ECDSA:
    return ec.ECDSA(hashes.SHA256())
