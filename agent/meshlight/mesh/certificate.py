"""A node's certificate, read strictly: what is pinned must not be able to vouch for anybody else."""

import ssl

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct

from meshlight.domain.peer import node_id

LARGEST = 4096
"""Bytes of DER; ours have about 430."""


class Certificate(Struct, frozen=True, kw_only=True):
    """A certificate that can be pinned, and the id of the node that it belongs to."""

    node_id: str
    der: bytes

    @property
    def pem(self) -> bytes:
        """The same in PEM."""
        return ssl.DER_cert_to_PEM_cert(self.der).encode()

    def signed(self, data: bytes, signature: bytes) -> bool:
        """Whether the owner of the certificate's key has signed the data (ECDSA with SHA-256)."""
        try:
            _key_in(x509.load_der_x509_certificate(self.der)).verify(
                signature, data, ec.ECDSA(hashes.SHA256())
            )
        except InvalidSignature:
            return False
        return True


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate of the only form that nodes have: P-256, signed by itself, no authority.

    Raises ValueError for any other. An authority is refused because whatever it signs would pass as its own.
    """
    if len(der) > LARGEST:
        raise ValueError("The certificate is too large.")
    try:
        read = x509.load_der_x509_certificate(der)
        key = _key_in(read)
        read.verify_directly_issued_by(read)
        basic = read.extensions.get_extension_for_class(x509.BasicConstraints).value
    except Exception as error:
        # The parser has many errors, and a stranger would find the one that is left out here.
        raise ValueError("The certificate is not one of a node.") from error
    if basic.ca:
        raise ValueError("The certificate is that of an authority.")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(node_id=node_id(spki), der=der)


def _key_in(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError("The certificate's key is not one of a node.")
