"""Nodes with keys of their own, and the certificates of those that are none."""

from base64 import b64decode
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import NameOID
from msgspec import Struct

from meshlight.storage.node_key import NodeIdentity, identity_of, new_key

DISTANT = datetime(2100, 1, 1, tzinfo=UTC)


def node() -> NodeIdentity:
    return identity_of(new_key())


class Impostor(Struct, frozen=True, kw_only=True):
    """Shows any certificate with a key that goes with it."""

    private: ec.EllipticCurvePrivateKey
    certificate_der: bytes
    certificate_pem: bytes
    node_id: str = "0" * 64

    def sign(self, data: bytes) -> bytes:
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))

    def encrypted_key(self, password: bytes) -> bytes:
        return self.private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password)
        )


def impostor(
    *,
    signed_by: Impostor | None = None,
    until: datetime = DISTANT,
    is_authority: bool = False,
    curve: ec.EllipticCurve | None = None,
) -> Impostor:
    """Make a certificate that calls itself as all nodes do, with a key of its own."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshlight")])
    start = datetime(2000, 1, 1, tzinfo=UTC)
    # OpenSSL takes a certificate that names one and the same as subject and issuer for signed by itself.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "minted")]) if signed_by else name
    serial = x509.random_serial_number()
    builder = x509.CertificateBuilder(name, subject, private.public_key(), serial, start, until)
    builder = builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    certificate = builder.sign(signed_by.private if signed_by else private, hashes.SHA256())
    chain = signed_by.certificate_pem if signed_by else b""
    return Impostor(
        private=private,
        certificate_der=certificate.public_bytes(Encoding.DER),
        certificate_pem=certificate.public_bytes(Encoding.PEM) + chain,
    )


def as_impostor(identity: NodeIdentity) -> Impostor:
    """Give a node's key into the hands of somebody who signs certificates with it."""
    private = load_der_private_key(b64decode(identity.key.reveal()), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return Impostor(
        private=private,
        certificate_der=identity.certificate_der,
        certificate_pem=identity.certificate_pem,
        node_id=identity.node_id,
    )
