"""A node's certificate, read strictly: what is pinned must not be able to vouch for anybody else."""

import ssl
from typing import TYPE_CHECKING

from msgspec import Struct

from meshlight.domain.peer import node_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

# The library takes 8 MB and 50 ms: who has no peer shall not pay for it, so it is imported where it is used.

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
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        try:
            _read(self.der)[0].verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def read_certificate(der: bytes) -> Certificate:
    """Read a certificate of the only form that nodes have: P-256, signed by itself, no authority.

    Raises ValueError for any other. An authority is refused because whatever it signs would pass as its own.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    if len(der) > LARGEST:
        raise ValueError("The certificate is too large.")
    try:
        key, is_authority = _read(der)
    except Exception as error:
        # The parser has many errors, and a stranger would find the one that is left out here.
        raise ValueError("The certificate is not one of a node.") from error
    if is_authority:
        raise ValueError("The certificate is that of an authority.")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(node_id=node_id(spki), der=der)


def _read(der: bytes) -> "tuple[EllipticCurvePublicKey, bool]":
    """Return the key of a certificate that has signed itself, and whether it says that it is an authority."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    read = x509.load_der_x509_certificate(der)
    key = read.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("The certificate's key is not one of a node.")  # noqa: TRY004 - of this type, it is none
    read.verify_directly_issued_by(read)
    return key, read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
