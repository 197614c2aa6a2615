"""TLS between nodes: version 1.3, both sides present a certificate, and only pinned ones are accepted.

Nothing else proves who a peer is: no authority, no host name. A certificate that is an authority is never pinned (see
`read_certificate`), since OpenSSL would then also accept what it has signed.
"""

import logging
import os
import secrets
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from meshlight.domain.peers import node_id

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

# `cryptography` takes 8 MB and 50 ms, so it is imported only where it is used: most nodes have no peer.

CERTIFICATE_MAX = 4096
"""Bytes of DER; a node's certificate has about 430."""


class Certificate(Struct, frozen=True, kw_only=True):
    """A node's certificate, which may be pinned, and the id of the node."""

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
    """Read a certificate of the only form that nodes have: P-256, self-signed, not an authority.

    Raises ValueError for any other. Pinning an authority would also accept every certificate that it has signed.
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    if len(der) > CERTIFICATE_MAX:
        raise ValueError("The certificate is too large.")
    try:
        key, is_authority = _read(der)
    except Exception as error:
        # The parser raises many types of errors, and an attacker would find one that is not listed here.
        raise ValueError("The certificate is not one of a node.") from error
    if is_authority:
        raise ValueError("The certificate is that of an authority.")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(node_id=node_id(spki), der=der)


def _read(der: bytes) -> "tuple[EllipticCurvePublicKey, bool]":
    """Return the key of a self-signed certificate, and whether the certificate is an authority's."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    certificate = x509.load_der_x509_certificate(der)
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("The certificate's key is not one of a node.")  # noqa: TRY004 - the argument has its type
    certificate.verify_directly_issued_by(certificate)
    return key, certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


_ALPN = ["http/1.1"]

log = logging.getLogger(__name__)


class PrivateIdentity(Protocol):
    """This node's certificate and private key."""

    @property
    def certificate_pem(self) -> bytes:
        """The certificate, in PEM."""

    @property
    def certificate_der(self) -> bytes:
        """The same in DER."""

    @property
    def node_id(self) -> str:
        """The node id, which is a hash of the public key."""

    def sign(self, data: bytes) -> bytes:
        """Return a signature of the data (ECDSA with SHA-256, in DER)."""

    def encrypted_key(self, password: bytes) -> bytes:
        """Return the key in PEM, encrypted with a password."""


class ServerTls:
    """TLS of a listener whose peers come and go: `context` stays the same while `pin` changes who is accepted.

    The pinned certificates are chosen in the middle of each handshake, so they count for each connection that is made
    after `pin` has returned; open connections stay open.
    """

    def __init__(self, identity: PrivateIdentity, pinned: Iterable[bytes]) -> None:
        self._identity = identity
        self.context = server_context(identity, ())
        """For the listening socket; without the callback it would accept nobody."""
        self.context.sni_callback = self._choose
        self.pin(pinned)

    def pin(self, pinned: Iterable[bytes]) -> None:
        """Accept the peers with these certificates (PEM) from now on; one that is no node's is left out."""
        good = {}
        for pem in pinned:
            try:
                good[_read_pinned(pem).node_id] = pem
            except ValueError as error:
                log.warning("A peer is not accepted: %s Unpair it, and pair it anew.", error)
        self._current = server_context(self._identity, good.values())
        self._ids = frozenset(good)

    def who(self, session: ssl.SSLObject) -> str | None:
        """Return the id of the peer behind a connection; None if it is not pinned now."""
        found = peer_id(session)
        return found if found in self._ids else None

    def _choose(self, session: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Called by OpenSSL for each ClientHello, also for one without a server name."""
        del name, context
        session.context = self._current


def server_context(identity: PrivateIdentity, pinned: Iterable[bytes]) -> ssl.SSLContext:
    """Make a context that accepts clients with these certificates (PEM); ValueError for one of no node."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    _pin(context, pinned)
    _load_certificate(context, identity)
    # A resumed session presents no certificate, so it could outlive its pairing.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def client_context(identity: PrivateIdentity, pinned: bytes) -> ssl.SSLContext:
    """Make a context that accepts the server with this certificate (PEM); ValueError for one of no node."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    _pin(context, (pinned,))
    _load_certificate(context, identity)
    return context


def pairing_server_context(identity: PrivateIdentity) -> ssl.SSLContext:
    """Make the context of the pairing port: it presents this node's certificate, and asks clients for none."""
    context = _context(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE
    _load_certificate(context, identity)
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def pairing_client_context() -> ssl.SSLContext:
    """Make the context for another node's pairing port: it accepts any certificate, for people to compare."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_NONE
    return context


def peer_id(session: ssl.SSLObject) -> str | None:
    """Return the id of the node whose certificate the other side has presented, and so has its key.

    None if it has presented none, or one that is no node's.
    """
    certificate = presented_certificate(session)
    return None if certificate is None else certificate.node_id


def presented_certificate(session: ssl.SSLObject) -> Certificate | None:
    """Return the certificate that the other side has presented; None for none, or one that is no node's."""
    try:
        return read_certificate(session.getpeercert(binary_form=True) or b"")
    except ValueError:
        return None


def _context(protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(_ALPN)
    return context


def _pin(context: ssl.SSLContext, pinned: Iterable[bytes]) -> None:
    """Trust exactly these certificates, each for itself alone."""
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    for pem in pinned:
        context.load_verify_locations(cadata=_read_pinned(pem).der)


def _read_pinned(pem: bytes) -> Certificate:
    """Read a pinned certificate; ValueError if it is no node's."""
    return read_certificate(ssl.PEM_cert_to_DER_cert(pem.decode("ascii")))


def _load_certificate(context: ssl.SSLContext, identity: PrivateIdentity) -> None:
    """Present this node's certificate.

    Python loads a key from a file only, so it is written to one, encrypted with a password that is only in memory.
    """
    import tempfile  # noqa: PLC0415 - only whoever has an identity needs it

    password = secrets.token_hex(32).encode()
    descriptor, name = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(identity.encrypted_key(password) + identity.certificate_pem)
        context.load_cert_chain(name, password=password)
    finally:
        Path(name).unlink(missing_ok=True)
